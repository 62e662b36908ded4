"""Room: the log is copied into the file by size, and the oldest records make room in a full one.

A checkpoint runs only while another connection of ours has the write lock: so no writer can reset the log meanwhile,
which is what loses commits in SQLite up to 3.51.2 (sqlite.org/wal.html#the_wal_reset_bug).
"""

from contextlib import closing
from typing import Final

from lastcache.second.sqlite._file import StoreFile, opened
from lastcache.second.sqlite._line import Line

_AT_A_TIME: Final = 64
"""How many records make room at once."""
_SPARE: Final = 64
"""The pages above the limit that deleting may take for a moment."""
_OLDEST: Final = "DELETE FROM records WHERE place IN (SELECT place FROM records ORDER BY place LIMIT ?)"


def checkpoint(line: Line, file: StoreFile) -> None:
    """Copy the log into the file, unless somebody writes: then a later write does it."""
    try:
        with closing(opened(file._replace(timeout=0))) as keeper, keeper.transaction():
            if keeper.at == line.at:
                line.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                line.written = 0
    except Exception:
        # The write itself has succeeded, whatever this is; what hinders the copying hinders a later write, too.
        line.written //= 2


def make_room(line: Line, file: StoreFile, pages: int) -> None:
    """Drop what was written longest ago, until ``pages`` are free.

    Where the disk is full the file is shortened, so that the log can be copied into it, and written from its begin.
    """
    checkpoint(line, file)
    _pragma(line, f"max_page_count = {file.pages + _SPARE}")
    try:
        with line.transaction():
            _drop_oldest(line, pages)
        if _pragma(line, "page_count") < file.pages:
            line.connection.execute("PRAGMA incremental_vacuum").fetchall()
    finally:
        _pragma(line, f"max_page_count = {file.pages}")
    checkpoint(line, file)


def _drop_oldest(line: Line, pages: int) -> None:
    while _pragma(line, "freelist_count") < pages:
        if line.connection.execute(_OLDEST, (_AT_A_TIME,)).rowcount < 1:
            return


def _pragma(line: Line, pragma: str) -> int:
    row = line.connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(row[0]) if row else 0
