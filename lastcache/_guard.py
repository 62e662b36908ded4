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
from functools import partial
from typing import Final, ParamSpec, Protocol, TypeVar, cast, final

T = TypeVar("T")
P = ParamSpec("P")


class _OwnedLock(Protocol):
    """What ``threading.Condition`` asks of a lock, and typeshed leaves out."""

    def _is_owned(self) -> bool: ...


@final
class Guard:
    """Runs one change at a time, and lets no change begin inside another."""

    __slots__ = ("_afterwards", "_before_release", "_lock", "owned")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self.owned = cast("_OwnedLock", self._lock)._is_owned  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._before_release = deque[Callable[[], object]]()
        self._afterwards = deque[Callable[[], object]]()

    def run(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Give what ``act`` gives; nobody else is inside meanwhile. Not to be called from inside."""
        try:
            with self._lock: return self._change(act, *args, **kwargs)  # noqa: E701  # fmt: skip
        finally:
            while self._before_release:
                with self._lock: _catch_up(self._before_release)  # noqa: E701  # fmt: skip
            _catch_up(self._afterwards)

    def write(self, act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run ``act`` now, or, from inside a change, as soon as that is complete."""
        guard = inside()
        if guard is None:
            self.run(act, *args, **kwargs)
        elif guard is self:
            self._before_release.append(partial(act, *args, **kwargs))
        else:
            guard._afterwards.append(partial(self.write, act, *args, **kwargs))  # noqa: SLF001  # of the same class

    def _change(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        thread = threading.get_ident()
        _INSIDE[thread] = self
        try:
            return act(*args, **kwargs)
        finally:
            _catch_up(self._before_release)
            _INSIDE.pop(thread, None)


_INSIDE: Final[dict[int, Guard]] = {}
"""Which guard a thread is inside. After an interrupt an entry may be left, so the lock has the last word."""


def inside() -> Guard | None:
    """Give the guard, of whichever cache, that the calling thread is inside."""
    guard = _INSIDE.get(threading.get_ident())
    return guard if guard is not None and guard.owned() else None


def _catch_up(put_off: deque[Callable[[], object]]) -> None:
    """Make the writes that were put off. One that fails hurts nobody else's call: it is logged."""
    while put_off:
        try:
            put_off.popleft()()
        except Exception:
            logging.getLogger("lastcache").exception("a write from inside a change of a cache failed")
