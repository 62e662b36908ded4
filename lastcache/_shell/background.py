"""The workers of the background: daemon threads of our own, and how they are started and woken.

A pool of ``concurrent.futures`` keeps the interpreter from exiting while a callback hangs, also after
``shutdown(wait=False, cancel_futures=True)``.
A worker that finds no work waits for more, for a second at most: to wake it takes a tenth of what a start takes.
"""

import _thread
import sys
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final, final
from weakref import ref

EXITING: Final = threading.Event()
"""Set once a thread was refused because the interpreter exits."""

LINGER: Final = 1.0
"""The seconds for which a worker without work waits for more."""

Mailbox = SimpleQueue[object]
"""Where an idle worker waits: it is sent its cache, which has work, or a dead reference to it."""


@final
class Worker:
    """The place of one worker. Only the thread, and who starts it, refer to one that has not begun: a start that is
    lost to an interrupt gives its place back.
    """

    __slots__ = ("__weakref__",)


@final
class Workers:
    """Who works, who waits for work, and who is on the way; every method is called under the cache's lock.

    At most ``limit`` have a place, and a place is given only while more is queued than workers are on the way to it.
    A worker on the way is counted as long as somebody refers to it; ``lost`` has those of whom nobody does any more.
    """

    __slots__ = ("_busy", "_coming", "_idle", "_limit", "_lost")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._busy = set[Worker]()
        self._idle: dict[Mailbox, Worker] = {}
        self._coming = set[ref[Worker]]()
        self._lost = deque[ref[Worker]]()

    def hire(self, worker: Worker, queued: int) -> Mailbox | Worker | None:
        """Give the mailbox of an idle worker, who is at work from now on, or ``worker`` if it is to be started."""
        self._forget_lost()
        if queued <= len(self._coming) or len(self._busy) + len(self._coming) >= self._limit:
            return None
        if self._idle:
            mailbox, idle = self._idle.popitem()
            self._busy.add(idle)
            return mailbox
        # A weak reference calls what is built in: Python code there would swallow a signal that strikes it.
        self._coming.add(ref(worker, self._lost.append))
        return worker

    def is_full(self) -> bool:
        """Say whether every place is taken: who has one looks at the queue before it rests. No lock is needed."""
        return len(self._busy) >= self._limit

    def _forget_lost(self) -> None:
        while self._lost:
            self._coming.discard(self._lost.pop())

    def begin(self, worker: Worker) -> bool:
        """Let ``worker`` be at work; say whether there is room."""
        self._coming.discard(ref(worker))
        if len(self._busy) >= self._limit:
            return False
        self._busy.add(worker)
        return True

    def rest(self, worker: Worker, mailbox: Mailbox) -> None:
        """Let ``worker`` wait for more work."""
        self._idle[mailbox] = worker
        self._busy.discard(worker)

    def forget(self, worker: Worker) -> None:
        """Count ``worker`` no longer as on the way; one that came all the same keeps its place."""
        self._coming.discard(ref(worker))

    def leave(self, worker: Worker) -> None:
        """Take back the place of ``worker``. It may be called again."""
        self._busy.discard(worker)

    def retire(self, mailbox: Mailbox) -> bool:
        """Let an idle worker end; not so if it was sent for meanwhile."""
        return self._idle.pop(mailbox, None) is not None

    def dismiss(self) -> list[Mailbox]:
        """Give the mailboxes of all who wait for work: each is to be told to end."""
        idle = list(self._idle)
        self._idle.clear()
        return idle

    def is_alone(self) -> bool:
        """Say whether nobody is at work, or on the way to it."""
        self._forget_lost()
        return not self._busy and not self._idle and not self._coming


def is_exiting() -> bool:
    """Whether the interpreter exits: from then on no thread can be had, and a call must not wait for its source.

    Python 3.12 refuses threads before it says so itself; whoever was refused one then has noted it.
    """
    return EXITING.is_set() or sys.is_finalizing() or not threading.main_thread().is_alive()


def start_thread(target: Callable[[], object], name: str, refused: Callable[[str], object]) -> None:
    """Start a daemon thread for ``target``; where none can be had, ``refused`` is told why.

    A ``Thread`` waits, in Python code, for its start, and an interrupt there would leave it half started for ever.
    So the main thread, which alone is interrupted, has it started by another one, which it starts in a single step.
    """

    def start() -> None:
        try:
            threading.Thread(target=target, name=name, daemon=True).start()
        except Exception as err:
            _refuse(err, refused)

    if sys.is_finalizing():
        refused("the interpreter is exiting")
    elif threading.get_ident() != threading.main_thread().ident:
        start()
    else:
        try:
            _thread.start_new_thread(start, ())
        except RuntimeError as err:
            _refuse(err, refused)


def _refuse(err: Exception, refused: Callable[[str], object]) -> None:
    if "interpreter shutdown" in str(err):
        EXITING.set()
    refused(str(err))
