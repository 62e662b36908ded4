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
from typing import Final, ParamSpec, Protocol, TypeVar, cast, final

T = TypeVar("T")
P = ParamSpec("P")


class _OwnedLock(Protocol):
    """What ``threading.Condition`` asks of a lock, and typeshed leaves out."""

    def _is_owned(self) -> bool: ...


@final
class _PutOff:
    """A write that waits for the change under way; ``struck`` once something broke it off."""

    __slots__ = ("act", "struck")

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act
        self.struck = False


@final
class Guard:
    """Runs one change at a time, and lets no change begin inside another."""

    __slots__ = ("_afterwards", "_before_release", "_lock", "owned")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.owned = cast("_OwnedLock", self._lock)._is_owned  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._before_release = deque[_PutOff]()
        self._afterwards = deque[_PutOff]()

    def run(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Give what ``act`` gives; nobody else is inside meanwhile. Not to be called from inside."""
        thread = threading.get_ident()
        around = _GUARDS.get(thread)
        _GUARDS[thread] = self
        try:
            with self._lock: return self._change(act, *args, **kwargs)  # noqa: E701  # fmt: skip
        finally:
            while self._before_release:
                with self._lock: _catch_up(self._before_release)  # noqa: E701  # fmt: skip
            if around is None:
                _GUARDS.pop(thread, None)
            else:
                # A handler ran while its thread was about to enter another guard, or had just left it.
                _GUARDS[thread] = around
            if self._afterwards:
                _catch_up(self._afterwards)

    def write(self, act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run ``act`` now, or, from inside a change, as soon as that is complete."""
        guard = inside()
        if guard is None:
            self.run(act, *args, **kwargs)
        elif guard is self:
            self._before_release.append(_PutOff(partial(act, *args, **kwargs)))
        else:
            guard.put_off(partial(self.write, act, *args, **kwargs))

    def put_off(self, act: Callable[[], object]) -> None:
        """Run ``act`` once the thread that is inside has left."""
        self._afterwards.append(_PutOff(act))

    def _change(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return act(*args, **kwargs)
        finally:
            if self._before_release:
                _catch_up(self._before_release)


_GUARDS: Final[dict[int, Guard]] = {}
"""The guard that a thread is about to enter, is inside, or has just left: its lock has the last word."""


def inside() -> Guard | None:
    """Give the guard, of whichever cache, that the calling thread is inside."""
    guard = _GUARDS.get(threading.get_ident())
    return guard if guard is not None and guard.owned() else None


def _catch_up(put_off: deque[_PutOff]) -> None:
    """Make the writes that were put off.

    One that fails hurts nobody else's call: it is logged. One that an interrupt strikes is made once more.
    """
    while put_off:
        with suppress(IndexError):
            _make(put_off, put_off.popleft())


def _make(put_off: deque[_PutOff], write: _PutOff) -> None:
    try:
        write.act()
    except Exception:
        logging.getLogger("lastcache").exception("a write from inside a change of a cache failed")
    except BaseException:
        if not write.struck:
            write.struck = True
            put_off.appendleft(write)
        raise
