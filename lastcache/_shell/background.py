"""The queue of background loads, and the workers that run them.

Workers are daemon threads of our own: a pool of ``concurrent.futures`` keeps the interpreter from exiting while a
callback hangs, also after ``shutdown(wait=False, cancel_futures=True)``.
A worker lives as long as there is work, so that a cache at rest has no thread.
"""

import _thread
import sys
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import Generic, TypeVar, final

from lastcache._shell.flight import Landing, Queued, Refresh, dropped, resolve
from lastcache._shell.weakbag import WeakBag

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")


@final
class Worker:
    """The place of one worker thread, from before it starts.

    Only the thread, and who starts it, refer to it: a start that is lost to an interrupt gives the place back.
    """

    __slots__ = ("__weakref__",)


@final
class Background(Generic[K, V, E, C]):
    """What waits and who works; every method is called under the cache's lock.

    At most ``limit`` workers have a place, and a place is given only while there is more work than there are
    workers on their way to it.
    """

    __slots__ = ("_busy", "_coming", "limit", "queue")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.queue = OrderedDict[Queued[K, V, E, C], None]()
        self._coming = WeakBag[Worker]()
        self._busy = WeakBag[Worker]()

    def __len__(self) -> int:
        return len(self.queue)

    def add(self, queued: Queued[K, V, E, C]) -> None:
        self.queue[queued] = None

    def remove(self, queued: Queued[K, V, E, C]) -> None:
        self.queue.pop(queued, None)

    def waiting(self) -> list[Queued[K, V, E, C]]:
        """Show everything that waits."""
        return list(self.queue)

    def drain(self) -> list[Queued[K, V, E, C]]:
        """Take everything that waits."""
        drained = self.waiting()
        self.queue.clear()
        return drained

    def hire(self, worker: Worker) -> bool:
        """Give ``worker`` a place if the queue wants one more, and the limit allows it."""
        coming, busy = len(self._coming.all()), len(self._busy.all())
        if len(self.queue) <= coming or coming + busy >= self.limit:
            return False
        self._coming.add(worker)
        return True

    def next(self, worker: Worker) -> Queued[K, V, E, C] | None:
        """Take the oldest queued load; a worker who gets none has lost its place and ends."""
        if worker not in self._coming and worker not in self._busy:
            return None
        self._coming.discard(worker)
        self._busy.add(worker)
        if not self.queue:
            self._busy.discard(worker)
            return None
        return self.queue.popitem(last=False)[0]

    def take(self, worker: Worker) -> Queued[K, V, E, C] | None:
        """Give ``worker`` a place and the oldest queued load, if there are both."""
        return self.next(worker) if self.hire(worker) else None

    def dismiss(self, worker: Worker) -> None:
        """Take back the place of a worker whose start went wrong, unless it works all the same."""
        self._coming.discard(worker)

    def leave(self, worker: Worker) -> None:
        """Take back the place of a worker who ends."""
        self._coming.discard(worker)
        self._busy.discard(worker)

    def strand(self) -> list[Queued[K, V, E, C]]:
        """Take what waits if nobody is left to run it."""
        return [] if self._coming.all() or self._busy.all() else self.drain()


def start_thread(target: Callable[[], object], name: str, refused: Callable[[str], object]) -> None:
    """Start a daemon thread for ``target``; where none can be had, ``refused`` is told why.

    A ``Thread`` waits, in Python code, for its start, and an interrupt there would leave it half started for ever.
    So it is started from another thread, where no signal strikes; that one is started in a single step.
    """

    def start() -> None:
        try:
            threading.Thread(target=target, name=name, daemon=True).start()
        except Exception as err:
            refused(str(err))

    if sys.is_finalizing():
        refused("the interpreter is exiting")
        return
    try:
        _thread.start_new_thread(start, ())
    except RuntimeError as err:
        refused(str(err))


def resolve_all(refreshes: Iterable[Refresh[V, E]], landing: Landing[V, E]) -> None:
    """Resolve ``refreshes``, whatever the callback of one of them raises."""
    with ExitStack() as told:
        for refresh in refreshes:
            told.callback(resolve, refresh, landing)


def resolve_elsewhere(refreshes: Iterable[Refresh[V, E]], landing: Landing[V, E]) -> None:
    """Resolve ``refreshes`` in a thread of their own: their callbacks are the user's, and an interrupt of this thread
    must not strike in the middle. Where no thread can be had, resolve them here.
    """
    waiting = tuple(refreshes)
    if not waiting:
        return
    tell = partial(resolve_all, waiting, landing)
    start_thread(tell, "lastcache-resolve", refused=lambda _why: tell())


def drop(queued: Iterable[Queued[K, V, E, C]], why: str) -> None:
    """Tell who waits for these loads that they will not run."""
    resolve_elsewhere([refresh for unrun in queued for refresh in unrun.refreshes], dropped(why))
