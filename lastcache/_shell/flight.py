"""One load for one key: queued behind a stale answer, or under way, with a latch for its joiners."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextvars import Context
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, NamedTuple, Never, Protocol, TypeAlias, TypeVar, final

from returns.result import Result, Success

from lastcache._shell.frames import forget_our_frames
from lastcache._shell.outcomes import check_outcome
from lastcache._shell.reentrancy import Asking
from lastcache.core.states import Answer, Outcome, Traffic
from lastcache.errors import LoadDroppedError
from lastcache.records import CachedValue

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")

Refresh: TypeAlias = Future[Answer[V, E]]
"""The future of the answer that a caller who waited would have got."""


@final
class Revalidation(NamedTuple, Generic[V, E]):
    """A value given at once, and the load that runs behind it.

    ``refresh`` is the future of the answer that a caller who waited would have got: ``None`` where no load was needed
    in the background. Nobody can cancel it. Its ``result()`` raises what the callback raised, or ``LoadDroppedError``.

    >>> Revalidation(CachedValue("value"), refresh=None).cached.value
    'value'
    """

    cached: CachedValue[V, E]
    refresh: Future[Result[CachedValue[V, E], E]] | None


@final
@dataclass(frozen=True, slots=True)
class Answered(Generic[V, E]):
    """There is an answer, and nothing runs behind it."""

    answer: Answer[V, E]

    def give(self) -> Answer[V, E]:
        return self.answer

    def give_revalidation(self) -> Result[Revalidation[V, E], E]:
        return self.answer.map(without_refresh)


@final
@dataclass(frozen=True, slots=True)
class Raised:
    """The callback broke its contract, in ``thread``; ``trace`` is the traceback as the callback left it."""

    err: BaseException
    trace: TracebackType | None
    thread: int

    def give(self) -> Never:
        self.forget_frames()
        try:
            # With the first traceback, so that it does not grow with each caller that is told.
            raise self.err.with_traceback(self.trace)
        finally:
            # This frame becomes a part of the traceback, which must not lead back to itself.
            del self

    give_revalidation = give

    def forget_frames(self) -> None:
        """Clear our frames around the callback, in the thread that led: to walk those of another can crash CPython."""
        if self.thread == threading.get_ident():
            forget_our_frames(self.trace)


@final
@dataclass(frozen=True, slots=True)
class Stale(Generic[V, E]):
    """There is a stale value to give at once, and ``refresh`` is the load behind it, asked for at ``since``.

    That is an instant in seconds of real time, whatever the cache's clock says: it is for those who wait in real time.
    """

    cached: CachedValue[V, E]
    refresh: Refresh[V, E]
    since: float

    def give(self) -> Answer[V, E]:
        return Success(self.cached)

    def give_revalidation(self) -> Result[Revalidation[V, E], E]:
        return Success(Revalidation(self.cached, self.refresh))


Landing: TypeAlias = Answered[V, E] | Raised
"""How a flight ended for those who wait for it."""


def without_refresh(cached: CachedValue[V, E]) -> Revalidation[V, E]:
    """Say that nothing runs behind ``cached``."""
    return Revalidation(cached, None)


@final
class Queued(Generic[K, V, E, C]):
    """A background load that waits for a worker, or to be taken over by a caller who must wait for the key.

    ``C`` is the type of its callback, which differs between the shells.
    ``context`` is that of the caller who left ``callback``, at ``since``. ``taken`` once somebody sees to it.
    """

    __slots__ = ("__weakref__", "callback", "context", "key", "refreshes", "since", "taken")

    def __init__(self, key: K, callback: C, context: Context) -> None:
        self.key = key
        self.callback = callback
        self.context = context
        self.since = time.monotonic()
        self.taken = False
        self.refreshes: list[Refresh[V, E]] = [new_refresh()]

    @property
    def refresh(self) -> Refresh[V, E]:
        """Give the future that stale readers of this load share; those of loads that it replaced are told with it."""
        return self.refreshes[0]

    @property
    def traffic(self) -> Traffic:
        return Traffic.QUEUED


class Event(Protocol):
    """What tasks wait for."""

    def set(self) -> object: ...

    async def wait(self) -> object: ...


@final
class Flight(Generic[K, V, E, C]):
    """A load under way, led inside ``with flight.latch``.

    The latch is a raw lock, so the end of that block frees the joiners whatever happens in it.
    Tasks cannot wait for a lock; the first of them brings an ``event``, which is for whoever leads to set.
    A flight whose latch is free without a ``landing`` was abandoned; whoever finds it puts it out of the way.
    The flights of a batch share one latch.
    ``asker`` is the flight whose callback asked for this one, if any.
    ``behind`` is the background load that it stands in for: there once somebody asked for a ``refresh``.
    ``calling`` while the callback runs; ``untidy`` while something of it may be left in the table.
    It took off at ``began_at``, and ``attempted`` is what came of its callback.
    """

    __slots__ = (
        "asker",
        "asks",
        "attempted",
        "began_at",
        "behind",
        "calling",
        "event",
        "landing",
        "latch",
        "untidy",
    )

    def __init__(self, asker: Asking | None, latch: "threading.Lock | None" = None) -> None:
        self.asker = asker
        self.latch = threading.Lock() if latch is None else latch
        self.landing: Landing[V, E] | None = None
        self.behind: Queued[K, V, E, C] | None = None
        self.event: Event | None = None
        self.asks: list[Asking] = []
        self.attempted: Returned[V, E] | Raised | None = None
        self.began_at = 0
        self.calling = False
        self.untidy = False

    @property
    def over(self) -> bool:
        return not self.latch.locked()

    @property
    def boarding(self) -> bool:
        """Whether its leader is in our own code, on the way to the callback or back."""
        return not self.calling and not self.over

    @property
    def traffic(self) -> Traffic:
        return Traffic.NONE if self.over else Traffic.RUNNING

    def wait(self) -> None:
        """Return once the flight has landed or was abandoned. One line, for the reason that ``_guard`` gives."""
        with self.latch: pass  # noqa: E701  # fmt: skip


Attached: TypeAlias = Queued[K, V, E, C] | Flight[K, V, E, C]
"""What a table has in flight."""


@final
class Returned(NamedTuple, Generic[V, E]):
    """What a callback returned, the instant at which it did, the value's own TTL if any, and a draw for jitter."""

    outcome: Outcome[V, E]
    now: int
    ttl: int | None = None
    draw: float = 0.0


def attempt(
    callback: Callable[[K], Outcome[V, E]], key: K, measured: Callable[[Outcome[V, E]], Returned[V, E]]
) -> Returned[V, E] | Raised:
    """Call ``callback``. What it raises comes back as a value, except what is meant for one caller alone.

    ``KeyboardInterrupt``, ``SystemExit``, ``GeneratorExit`` and cancellation are no ``Exception``: they pass through.
    No flight is among the locals: a traceback that led to the flight that keeps it would never be freed.
    """
    try:
        outcome = callback(key)
        check_outcome(outcome)
        return measured(outcome)
    except Exception as err:
        return Raised(err, err.__traceback__, threading.get_ident())


def new_refresh() -> Refresh[V, E]:
    """Make a future that is running from birth, so that no holder can cancel it for the others."""
    refresh: Refresh[V, E] = Future()
    refresh.set_running_or_notify_cancel()
    return refresh


def resolve(refresh: Refresh[V, E], landing: Landing[V, E]) -> None:
    """Tell the holders of ``refresh`` how the flight ended, unless they know."""
    try:
        if isinstance(landing, Raised):
            refresh.set_exception(landing.err)
        else:
            refresh.set_result(landing.answer)
    except InvalidStateError:
        return


def dropped(why: str) -> Raised:
    """Say that a background load will not run."""
    return Raised(LoadDroppedError(f"the background load was dropped: {why}"), None, threading.get_ident())
