"""The threads that call a store for tasks: a few daemon threads of our own.

They are not those of the event loop, of which a store that hangs would take every one from the application; and they do
not hold up the interpreter's exit.
"""

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Lock
from typing import Final, TypeAlias, final

from lastcache._shell.background import LINGER, start_thread

AT_MOST: Final = 8
"""How many calls of a store run at once."""

Act: TypeAlias = Callable[[], object]


@final
class StoreThreads:
    """Runs what it is given, in its order, in as many threads as are needed, and no more than ``AT_MOST``."""

    __slots__ = ("_acts", "_closed", "_free", "_lock", "_running")

    def __init__(self) -> None:
        self._acts = SimpleQueue[Act]()
        self._closed = False
        self._lock = Lock()
        self._running = 0
        self._free = 0

    def run(self, act: Act) -> None:
        """Have ``act`` run in one of the threads; where none can be had, here."""
        with self._lock:
            starts = self._free <= self._acts.qsize() and self._running < AT_MOST
            self._running += starts
            self._acts.put(act)
        if starts:
            start_thread(self._serve, "lastcache-store", self._refused)

    def close(self) -> None:
        """End the threads that wait for more; what was given is still run, and so is what comes later."""
        with self._lock:
            self._closed = True
            self._wake_one()

    def _refused(self, _why: str) -> None:
        with self._lock:
            self._running -= 1
        while self._running == 0 and not self._acts.empty():
            self._acts.get()()

    def _serve(self) -> None:
        while (act := self._next()) is not None:
            act()
            del act

    def _next(self) -> Act | None:
        """Wait for an act; None where the thread is to end."""
        with self._lock:
            self._free += 1
            linger = 0.0 if self._closed else LINGER
        act = self._wait(linger)
        with self._lock:
            self._free -= 1
            if act is None:
                act = self._wait(0)
            if act is None:
                self._running -= 1
                self._wake_one()
        return act

    def _wake_one(self) -> None:
        """Let a thread that waits go on, once closed: as it ends, it wakes the next."""
        if self._closed and self._free:
            self._acts.put(_nothing)

    def _wait(self, seconds: float) -> Act | None:
        try:
            return self._acts.get(timeout=seconds)
        except Empty:
            return None


def _nothing() -> None:
    """Stand for an act, to wake a thread."""
