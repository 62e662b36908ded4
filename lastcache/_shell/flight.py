"""One load for one key: a job that is left to the background, or a flight that is led, and how they end."""

from collections.abc import Callable
from contextvars import Context, copy_context
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, Never, Protocol, TypeAlias, TypeVar, final

from lastcache._shell.reentrancy import LoadNode
from lastcache.core.states import Answer, Outcome, Shared
from lastcache.core.values import value
from lastcache.errors import LoadDroppedError
from lastcache.records import CachedValue

if TYPE_CHECKING:
    from lastcache._shell.level import Loan

EMPTY: Final = Context()

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")


@final
@value
class Raised:
    """The callback raised ``err``, and returned no outcome; ``trace`` is the traceback as the callback left it."""

    err: BaseException
    trace: TracebackType | None

    def give(self) -> Never:
        """Raise it with its first traceback, so that it does not grow with each caller that is told."""
        raise self.err.with_traceback(self.trace)


@final
@value
class Dropped:
    """A background load will not run, or was cut off; ``why`` says so in half a sentence."""

    why: str

    @property
    def err(self) -> LoadDroppedError:
        """What is raised to who waits for it."""
        return LoadDroppedError(f"the background load was dropped: {self.why}")


Landing: TypeAlias = Answer[V, E] | Raised
"""How a load ended for those who wait for it."""


@final
class Job(Generic[K, V, E, C]):
    """A load that a reader left to the background; ``C`` is the type of its callback.

    ``context`` is that of the reader, who came at ``since``, in seconds of the place's timer.
    ``landing`` is how it ended. ``waiting`` has what is called then, so that who waits looks at it.
    ``refresh`` is what its place gives to who may wait for it: there once somebody asked.
    ``absorbed`` are jobs that are told how this one ends.
    """

    __slots__ = (
        "__weakref__",
        "absorbed",
        "callback",
        "context",
        "key",
        "landing",
        "refresh",
        "since",
        "waiting",
    )

    def __init__(self, key: K, callback: C, since: float) -> None:
        self.key: K = key
        self.callback: C = callback
        self.context: Context = copy_context()
        self.since: float = since
        self.landing: Landing[V, E] | Dropped | None = None
        self.refresh: object = None
        self.waiting: list[Callable[[], object]] = []
        self.absorbed: list[Job[K, V, E, C]] = []

    def release(self) -> None:
        """Let go of what the load needed: who waits may hold the job for long."""
        self.context = EMPTY
        self.absorbed = []
        del self.callback

    @property
    def over(self) -> bool:
        """Whether it ended."""
        return self.landing is not None

    def everyone(self) -> "list[Job[K, V, E, C]]":
        """Give this job and those that are told with it."""
        return [self, *(told for absorbed in self.absorbed for told in absorbed.everyone())]

    def is_for_all(self) -> bool:
        """Whether it ended in a way that concerns who waits softly: not dropped, and not interrupted."""
        landing = self.landing
        return not isinstance(landing, Dropped) and not (
            isinstance(landing, Raised) and not isinstance(landing.err, Exception)
        )

    def wake(self) -> None:
        """Let those go on who wait for this load. It may be called again."""
        for wake in self.waiting.copy():
            wake()


@final
@value
class Stale(Generic[K, V, E, C]):
    """There is a stale value to give at once; ``job`` is the load behind it."""

    cached: CachedValue[V, E]
    job: Job[K, V, E, C]


@final
@value
class Unchecked(Generic[V, E]):
    """There is an answer that stands, and that a store has to be asked for before it is given."""

    known: Shared[V, E, Any]


@final
class Again:
    """A call has to decide again: something was written while a store was asked."""


AGAIN: Final = Again()


class Event(Protocol):
    """What tasks wait for."""

    def set(self) -> object:
        """Let them go on."""
        ...

    async def wait(self) -> object:
        """Wait until it is set."""
        ...


@final
class Flight(Generic[V, E]):
    """A load under way, led while the latch of its ``node`` is held.

    The latch is a raw lock, held in a ``with``: its end frees those who joined, whatever happens in it.
    Tasks cannot wait for a lock; the first of them brings an ``event``, which is for whoever leads to set.
    A flight whose latch is free without a ``landing`` was abandoned; whoever finds it puts it out of the way.
    It began at ``began_at``, None until it is to be led, and landed at ``landed_at``, in nanoseconds of the cache's
    clock. ``outcome`` is what came of its callback. ``number`` is that of its load, once an observer was told of it.
    ``carries`` is the job that it leads, where it runs in the background; ``tells`` is that job once it has ended, for
    its leader to tell who waits for it.
    The flights of a batch share one node. ``replaced`` is what its landing replaced, released with it.
    ``loan`` is what it has to do with a store beside the cache, if there is one.
    """

    __slots__ = (
        "began_at",
        "carries",
        "event",
        "landed_at",
        "landing",
        "latch",
        "loan",
        "node",
        "number",
        "outcome",
        "replaced",
        "tells",
    )

    def __init__(self, node: LoadNode) -> None:
        self.node: LoadNode = node
        self.latch: Lock = node.latch
        self.landing: Landing[V, E] | None = None
        self.event: Event | None = None
        self.replaced: object = None
        self.carries: Job[Any, V, E, Any] | None = None
        self.tells: Job[Any, V, E, Any] | None = None
        self.outcome: Outcome[V, E] | Raised | None = None
        self.began_at: int | None = None
        self.landed_at: int = 0
        self.number: int = 0
        self.loan: Loan | None = None

    @property
    def over(self) -> bool:
        """Whether it has landed, or was abandoned."""
        return not self.latch.locked()

    @property
    def has_called(self) -> bool:
        """Whether its callback was called: not so where a store had an answer."""
        return self.outcome is not None or self.node.calling
