"""A clock that holds a worker up while it starts a load."""

import threading
from collections.abc import Callable
from typing import Final

from lastcache.testing import ManualClock

MOMENT: Final = 0.3
"""The seconds for which somebody is held up, where nobody else can come by before it goes on."""


class HeldClock(ManualClock):
    """A clock that holds up the first worker that reads it, until ``passed`` is set; it gives the time of before.

    A cache that reads it inside its lock lets nobody come by: then the worker goes on after a moment.
    ``execute`` is the executor whose workers it knows.
    """

    def __init__(self) -> None:
        super().__init__()
        self.workers = set[int]()
        self.reached, self.passed = threading.Event(), threading.Event()

    def __call__(self) -> int:
        now = super().__call__()
        if threading.get_ident() in self.workers and not self.reached.is_set():
            self.reached.set()
            self.passed.wait(MOMENT)
        return now

    def execute(self, work: Callable[[], object]) -> None:
        """Run a worker of the cache in a thread of its own."""

        def run() -> None:
            self.workers.add(threading.get_ident())
            try:
                work()
            finally:
                self.workers.discard(threading.get_ident())

        threading.Thread(target=run, daemon=True).start()
