"""The file of a store: how it is made, opened, recognized and set aside.

Each connection is opened under a shared lock of the file ``<path>-lock``. A file is made, and one that is spoilt is set
aside, under the exclusive one: so that is done once, by one process, and nobody opens one file with the write-ahead log
of another. A file is made under another name, and moved into its place when it is whole.

A file is known by its device and inode. Each use looks whether the path still leads to the file that was opened.
"""

import fcntl
import os
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple, final

from lastcache.second.protocol import Trouble
from lastcache.second.sqlite._line import Line, opening
from lastcache.second.sqlite._troubles import RefusedError, SpoiltFileError, trouble_of

_APPLICATION: Final = 0x4C435331
"""The word by which a file says that it is a store of this package."""
_LAYOUT: Final = 1
PAGE: Final = 4096
_LOOK_AGAIN: Final = 0.001
"""The seconds between two tries to lock."""

_MAKE: Final = f"""
PRAGMA page_size = {PAGE};
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
BEGIN;
CREATE TABLE records (place INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, head BLOB NOT NULL, body BLOB);
CREATE TABLE generations (namespace BLOB PRIMARY KEY, word BLOB NOT NULL, sum INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_LAYOUT};
COMMIT;
"""


@final
class StoreFile(NamedTuple):
    """Where a store's file is, and how it is opened. ``timeout`` is in seconds."""

    path: Path
    timeout: float
    durable: bool
    pages: int
    log_room: int
    vfs: str | None

    def beside(self, suffix: str) -> Path:
        """Give the path of a file that goes with this one."""
        return self.path.with_name(self.path.name + suffix)


def identity(path: Path | str) -> tuple[int, int] | None:
    """Say which file ``path`` leads to; None where there is none, or an empty one."""
    try:
        found = os.stat(path)  # noqa: PTH116  # as short as can be: it is called at every use
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size else None


def opened(file: StoreFile) -> Line:
    """Open a connection, and make the file where there is none.

    Raises ``SpoiltFileError`` where the file must be set aside, and ``RefusedError`` where it cannot be a store.
    """
    with opening, _locked(file, fcntl.LOCK_SH):
        if (at := identity(file.path)) is not None:
            return _connected(file, at)
    with opening, _locked(file, fcntl.LOCK_EX):
        if (at := identity(file.path)) is None:
            _make(file)
            at = identity(file.path)
        return _connected(file, at)


def set_aside(file: StoreFile, spoilt: tuple[int, int] | None) -> None:
    """Move a spoilt file out of the way, unless somebody has done it; what was set aside earlier makes room.

    The file goes first: a log without its file is dropped, but a file without its log would give older values.
    """
    with _locked(file, fcntl.LOCK_EX):
        if spoilt is None or identity(file.path) != spoilt:
            return
        os.replace(file.path, file.beside(".spoilt"))  # noqa: PTH105  # beside the other calls of os
        if file.beside("-wal").exists():
            os.replace(file.beside("-wal"), file.beside(".spoilt-wal"))  # noqa: PTH105
        file.beside("-shm").unlink(missing_ok=True)


def _make(file: StoreFile) -> None:
    for suffix in ("-wal", "-shm", ".new", ".new-wal", ".new-shm"):
        file.beside(suffix).unlink(missing_ok=True)
    new = file.beside(".new")
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with closing(_connect(file, new)) as connection:
        connection.executescript(_MAKE)
    os.replace(new, file.path)  # noqa: PTH105  # beside the other calls of os


def _connected(file: StoreFile, at: tuple[int, int] | None) -> Line:
    connection = _connect(file, file.path)
    try:
        _prepare(file, connection)
        return Line(connection, at)
    except sqlite3.Error as err:
        connection.close()
        if trouble_of(err) is Trouble.CORRUPT:
            raise SpoiltFileError(at, str(err)) from err
        raise
    except BaseException:
        connection.close()
        raise


def _connect(file: StoreFile, path: Path) -> sqlite3.Connection:
    where = f"{path.as_uri()}?vfs={file.vfs}" if file.vfs else str(path)
    connection = sqlite3.connect(
        where, timeout=file.timeout, isolation_level=None, check_same_thread=False, uri=file.vfs is not None
    )
    # What is spoilt may be of any type, and no text is stored.
    connection.text_factory = bytes
    return connection


def _prepare(file: StoreFile, connection: sqlite3.Connection) -> None:
    """Check that the file is a store, and set what each connection has for itself.

    SQLite's own checkpoints are switched off: up to 3.51.2 one that meets a reset of the log loses commits
    (sqlite.org/wal.html#the_wal_reset_bug).
    """

    def ask(pragma: str) -> object:
        row = connection.execute(f"PRAGMA {pragma}").fetchone()
        return row[0] if row else None

    said = ask("application_id"), ask("user_version")
    if said != (_APPLICATION, _LAYOUT):
        raise RefusedError(f"{file.path} is a database, but none of this kind and layout")
    if ask("journal_mode = WAL") != b"wal":
        raise RefusedError(f"{file.path} can have no write-ahead log where it is")
    for pragma in (
        f"synchronous = {'FULL' if file.durable else 'NORMAL'}",
        "wal_autocheckpoint = 0",
        f"journal_size_limit = {file.log_room}",
        f"max_page_count = {file.pages}",
    ):
        ask(pragma)
    connection.execute(
        "SELECT place, name, head, body, word, namespace, sum FROM records, generations LIMIT 1"
    ).fetchone()
    _reserve(file)


def _reserve(file: StoreFile) -> None:
    """Take the room of the log from the disk beforehand, so that a full one can still be written to."""
    allocate = getattr(os, "posix_fallocate", None)
    if allocate is None:
        return
    try:
        log = os.open(file.beside("-wal"), os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        if os.fstat(log).st_size < file.log_room:
            allocate(log, 0, file.log_room)
    except OSError:
        # Then there is no reserve.
        return
    finally:
        os.close(log)


@contextmanager
def _locked(file: StoreFile, how: int) -> Generator[None, None, None]:
    """Hold the lock beside the file; raises ``TimeoutError`` where it cannot be had in time."""
    file.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = _lock(file.beside("-lock"), how, time.monotonic() + file.timeout)
    try:
        yield
    finally:
        # Said aloud: a child of a fork may have the same descriptor, and would keep the lock.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _lock(path: Path, how: int, until: float) -> int:
    """Give a descriptor of ``path`` that is locked; a file that somebody deleted meanwhile locks nobody out."""
    while True:
        lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(lock, how | fcntl.LOCK_NB)
            if _leads_to(path, lock):
                return lock
        except BlockingIOError:
            pass
        except BaseException:
            os.close(lock)
            raise
        os.close(lock)
        if time.monotonic() >= until:
            raise TimeoutError("another process is opening the file, or setting it aside")
        time.sleep(_LOOK_AGAIN)


def _leads_to(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
