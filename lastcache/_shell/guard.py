"""The lock of a cache, and what becomes of a call that comes from inside it.

A finalizer, a signal handler or a key's ``__eq__`` may run any code at any line, also while its thread holds the lock.
Such a call must not see a half-changed table, nor wait for its own thread, nor, with the lock of one cache in its hand,
for the lock of another. So a thread is inside one guard at most, and knows it; a write from inside is put off until
the change under way is complete.

Every ``with`` here is one line on purpose: between its body and the release no line begins, and CPython looks for
signals only after the release, so that an interrupt cannot leave the lock held.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Protocol, TypeVar, TypeVarTuple, cast, final

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")


class _OwnedLock(Protocol):
    """What ``threading.Condition`` asks of a lock, and typeshed leaves out."""

    def _is_owned(self) -> bool: ...


@final
class _Delayed:
    """A write that waits for the change under way; ``interrupted`` once something broke it off."""

    __slots__ = ("act", "interrupted")

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act
        self.interrupted = False


@final
class _Here(threading.local):
    """The guard that a thread is about to enter, is inside, or has just left: its lock has the last word."""

    guard: "Guard | None" = None


HERE: Final = _Here()


@final
class Guard:
    """Runs one change at a time, and lets no change begin inside another.

    ``run_now`` reads the clock inside, so that no change is decided by an instant that is over when it is made.
    """

    __slots__ = ("_afterwards", "_clock", "_delayed", "_lock", "owned")

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self.owned: Callable[[], bool] = cast("_OwnedLock", self._lock)._is_owned  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._delayed = deque[_Delayed]()
        self._afterwards = deque[_Delayed]()

    def run(self, act: Callable[[*Ts], T], *args: *Ts) -> T:
        """Give what ``act`` gives; nobody else is inside meanwhile. Not to be called from inside."""
        around = HERE.guard
        HERE.guard = self
        try:
            with self._lock: return act(*args) if not self._delayed else self._after_delayed(act, *args)  # noqa: E701  # fmt: skip
        finally:
            if self._delayed or self._afterwards:
                self._catch_up(around)
            HERE.guard = around

    def run_now(self, act: Callable[[int, *Ts], T], *args: *Ts) -> T:
        """Do as ``run`` does; ``act`` is given the instant first."""
        around = HERE.guard
        HERE.guard = self
        try:
            with self._lock: return act(self._clock(), *args) if not self._delayed else self._after_delayed(self._with_clock, act, *args)  # noqa: E501, E701  # fmt: skip
        finally:
            if self._delayed or self._afterwards:
                self._catch_up(around)
            HERE.guard = around

    def run_step(self, act: Callable[[int, T1, T2, T3, T4], T], first: T1, second: T2, third: T3, fourth: T4) -> T:
        """Do as ``run_now`` does, for a step of a call: to pack its arguments would take a third of the time."""
        around = HERE.guard
        HERE.guard = self
        try:
            with self._lock: return act(self._clock(), first, second, third, fourth) if not self._delayed else self._after_delayed(self._with_clock, act, first, second, third, fourth)  # noqa: E501, E701  # fmt: skip
        finally:
            if self._delayed or self._afterwards:
                self._catch_up(around)
            HERE.guard = around

    def _after_delayed(self, act: Callable[[*Ts], T], *args: *Ts) -> T:
        """Make the writes that another thread put off and could not make yet: whoever decides now must see them."""
        _make_all(self._delayed)
        return act(*args)

    def _catch_up(self, around: "Guard | None") -> None:
        """Make the writes that were put off; one that an interrupt broke off is made once more."""
        try:
            try:
                self._make_delayed()
            finally:
                self._make_delayed()
        finally:
            # A handler may have run while its thread was about to enter another guard, or had just left it.
            HERE.guard = around
            _make_all(self._afterwards)

    def _make_delayed(self) -> None:
        while self._delayed:
            with self._lock: _make_all(self._delayed)  # noqa: E701  # fmt: skip

    def write(self, act: Callable[[*Ts], object], *args: *Ts) -> None:
        """Run ``act`` now, or, from inside a change, as soon as that is complete."""
        guard = inside()
        if guard is None:
            self.run(act, *args)
        elif guard is self:
            self._delayed.append(_Delayed(partial(act, *args)))
        else:
            guard.put_off(partial(self.write, act, *args))

    def write_now(self, act: Callable[[int, *Ts], object], *args: *Ts) -> None:
        """Do as ``write`` does; ``act`` is given the instant first."""
        self.write(partial(self._with_clock, act, *args))

    def _with_clock(self, act: Callable[[int, *Ts], T], *args: *Ts) -> T:
        return act(self._clock(), *args)

    def put_off(self, act: Callable[[], object]) -> None:
        """Run ``act`` once the thread that is inside has left."""
        self._afterwards.append(_Delayed(act))


def inside() -> Guard | None:
    """Give the guard, of whichever cache, that the calling thread is inside."""
    guard = HERE.guard
    return guard if guard is not None and guard.owned() else None


def _make_all(delayed: deque[_Delayed]) -> None:
    """Make the writes that were put off.

    One that fails hurts nobody else's call: it is logged. One that an interrupt breaks off is made once more.
    """
    while delayed:
        with suppress(IndexError):
            _make(delayed, delayed.popleft())


def _make(delayed: deque[_Delayed], write: _Delayed) -> None:
    try:
        write.act()
    except Exception:
        logging.getLogger("lastcache").exception("a write from inside a change of a cache failed")
    except BaseException:
        if not write.interrupted:
            write.interrupted = True
            delayed.appendleft(write)
        raise
