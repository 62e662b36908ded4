"""The lock of a cache, and what becomes of a call that comes from inside it.

A finalizer, a signal handler or a key's ``__eq__`` may run any code at any line, also while its thread holds the lock.
Such a call must not see a half-changed table, nor wait for itself: the lock is an ``RLock``, it knows its own thread,
and a write from inside waits until the change under way is complete.

Every ``with`` here is one line on purpose: between its body and the release no line begins, and CPython looks for
signals only after the release, so that an interrupt cannot leave the lock held.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import ParamSpec, Protocol, TypeVar, cast, final

T = TypeVar("T")
P = ParamSpec("P")


class _OwnedLock(Protocol):
    """What ``threading.Condition`` asks of a lock, and typeshed leaves out."""

    def _is_owned(self) -> bool: ...


@final
class Guard:
    """Runs one change at a time, and lets no change begin inside another."""

    __slots__ = ("_later", "_lock", "held")

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._later = deque[Callable[[], object]]()
        self.held: Callable[[], bool] = cast("_OwnedLock", self._lock)._is_owned  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        """Whether the calling thread is inside a change already."""

    def run(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Give what ``act`` gives; nobody else is inside meanwhile. Not to be called where the guard is held."""
        try:
            with self._lock: return self._change(act, *args, **kwargs)  # noqa: E701  # fmt: skip
        finally:
            while self._later:
                with self._lock: self._catch_up()  # noqa: E701  # fmt: skip

    def write(self, act: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run ``act`` now, or, where the guard is held, as soon as the change under way is complete."""
        if self.held():
            self._later.append(partial(act, *args, **kwargs))
        else:
            self.run(act, *args, **kwargs)

    def _change(self, act: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return act(*args, **kwargs)
        finally:
            self._catch_up()

    def _catch_up(self) -> None:
        """Make the writes that waited. One that an interrupt strikes is made again, which changes nothing."""
        while self._later:
            try:
                self._later[0]()
            except Exception:
                logging.getLogger("lastcache").exception("a write from inside the cache's lock failed")
            self._later.popleft()
