"""What SQLite's errors mean: which trouble a store is in, and what may be done about it."""

import sqlite3
from typing import Final, final

from lastcache.second.protocol import StoreFailure, Trouble

_TROUBLES: Final = {
    sqlite3.SQLITE_BUSY: Trouble.TIMEOUT,
    sqlite3.SQLITE_LOCKED: Trouble.TIMEOUT,
    sqlite3.SQLITE_PROTOCOL: Trouble.TIMEOUT,
    sqlite3.SQLITE_FULL: Trouble.FULL,
    sqlite3.SQLITE_CORRUPT: Trouble.CORRUPT,
    sqlite3.SQLITE_NOTADB: Trouble.CORRUPT,
    sqlite3.SQLITE_FORMAT: Trouble.CORRUPT,
    sqlite3.SQLITE_CANTOPEN: Trouble.UNREACHABLE,
    sqlite3.SQLITE_IOERR: Trouble.UNREACHABLE,
    sqlite3.SQLITE_READONLY: Trouble.REFUSED,
    sqlite3.SQLITE_PERM: Trouble.REFUSED,
    sqlite3.SQLITE_AUTH: Trouble.REFUSED,
}
_EXTENDED: Final = {
    # A file may not grow any more, by a limit or by a quota.
    sqlite3.SQLITE_IOERR_WRITE: Trouble.FULL,
    # The same for the index of the log.
    sqlite3.SQLITE_IOERR_SHMSIZE: Trouble.FULL,
    # The file ends before its pages do.
    sqlite3.SQLITE_IOERR_SHORT_READ: Trouble.CORRUPT,
}


@final
class SpoiltFileError(Exception):
    """A file is not the store that it was: some of its bytes are others."""

    def __init__(self, at: tuple[int, int] | None, detail: str) -> None:
        super().__init__(detail)
        self.at = at


@final
class RefusedError(Exception):
    """A file cannot be used as a store, and is nobody's to set aside."""


@final
class ClosedError(Exception):
    """The store was closed."""


_ANOTHER: Final = ("no such ", "unsupported file format", "table ")
"""How the errors begin that have no code of their own, and say that a table is none of ours."""
_KINDS: Final[tuple[tuple[tuple[type[Exception], ...], Trouble], ...]] = (
    ((SpoiltFileError,), Trouble.CORRUPT),
    ((RefusedError, PermissionError), Trouble.REFUSED),
    ((TimeoutError,), Trouble.TIMEOUT),
    ((OSError, ClosedError), Trouble.UNREACHABLE),
)
"""The first that fits counts."""


def trouble_of(err: Exception) -> Trouble:
    """Say which trouble ``err`` means."""
    for kinds, trouble in _KINDS:
        if isinstance(err, kinds):
            return trouble
    if isinstance(err, sqlite3.OperationalError) and str(err).startswith(_ANOTHER):
        return Trouble.CORRUPT
    return _of_code(getattr(err, "sqlite_errorcode", None))


def _of_code(code: object) -> Trouble:
    if not isinstance(code, int):
        return Trouble.BROKEN
    return _EXTENDED.get(code, _TROUBLES.get(code & 0xFF, Trouble.BROKEN))


def failure_of(err: Exception) -> StoreFailure:
    """Say that a store did not answer, and why."""
    return StoreFailure(trouble_of(err), f"{type(err).__name__}: {err}")
