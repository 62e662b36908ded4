"""One connection to a store's file, for one thread; and what becomes of connections when a process forks.

SQLite counts in memory, per process and file, which locks it has. The child of a fork inherits that count, but none of
the locks. Were it to go on, it would believe in locks that it has not, and the parent's end would delete the log under
it. So no thread is inside SQLite while a process forks, and the child closes what it inherited before it opens anew:
that ends the wrong count, and deletes nothing, as the parent has the locks.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final, final
from weakref import WeakSet

_A_FORK_WAITS: Final = 1.0
"""The seconds that a fork waits for the threads that are inside SQLite."""


@final
class Line:
    """A connection, the file that it leads to, and the lock of whoever uses it."""

    __slots__ = ("__weakref__", "_pid", "at", "connection", "lock", "written")

    def __init__(self, connection: sqlite3.Connection, at: tuple[int, int] | None) -> None:
        self.connection: Final = connection
        self.at: Final = at
        self.lock: Final = threading.Lock()
        self.written = 0
        self._pid: Final = os.getpid()
        with opening:
            _lines.add(self)

    def close(self) -> None:
        """Close the connection, as soon as nobody uses it."""
        with self.lock:
            self.connection.close()

    def __del__(self) -> None:
        if self._pid == os.getpid():
            self.connection.close()

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Hold the write lock; what was written counts if nothing is raised."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except GeneratorExit:
            # An interrupt struck before its block began, and it is collected only now, perhaps inside another one.
            raise
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """End a transaction that was not finished, if there is one. It may be called again."""
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


opening: Final = threading.RLock()
"""Held by whoever opens a connection."""
_lines: Final[WeakSet[Line]] = WeakSet()
_held: Final[list[Line]] = []
_given_up: Final[list[Line]] = []
"""Lines that were in use when this process was forked: nobody can close them."""


def _hold_all() -> None:
    """Wait until no thread is inside SQLite, before a fork.

    Whoever uses a connection may open another one, never the other way round: so the connections come first.
    """
    until = time.monotonic() + _A_FORK_WAITS
    while True:
        with opening:
            found = [line for line in _lines if line not in _held]
        _held.extend([line for line in found if line.lock.acquire(timeout=max(0.0, until - time.monotonic()))])
        opening.acquire()
        if set(_held) >= set(_lines) or time.monotonic() >= until:
            return
        opening.release()


def _let_all_go() -> None:
    for line in _held:
        line.lock.release()
    _held.clear()
    opening.release()


def _begin_anew() -> None:
    """Close what the child of a fork inherited."""
    _given_up.extend([line for line in _lines if line not in _held])
    for line in _held:
        line.connection.close()
    _lines.clear()
    _let_all_go()


os.register_at_fork(before=_hold_all, after_in_parent=_let_all_go, after_in_child=_begin_anew)
