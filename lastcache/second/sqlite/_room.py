"""Room: the log is copied into the file by size, and the oldest records make room in a full one.

A checkpoint runs only while another connection of ours has the write lock: so no writer can reset the log meanwhile,
which is what loses commits in SQLite up to 3.51.2 (sqlite.org/wal.html#the_wal_reset_bug).
"""

from contextlib import closing
from typing import Final

from lastcache.second.protocol import Trouble
from lastcache.second.sqlite._file import PAGE, StoreFile, opened
from lastcache.second.sqlite._line import Line
from lastcache.second.sqlite._troubles import trouble_of

_AT_A_TIME: Final = 64
"""How many records make room at once."""
_SPARE: Final = 64
"""The pages above the limit that deleting may take for a moment."""
_OLDEST: Final = "DELETE FROM records WHERE place IN (SELECT place FROM records ORDER BY place LIMIT ?)"


def tidy(line: Line, file: StoreFile) -> None:
    """Copy the log into the file; where the disk has no room for that, make some, as long as the log still has.

    What was written has succeeded, whatever becomes of this. What hinders it hinders a later write, too, which tells
    it.
    """
    try:
        _checkpoint(line, file)
    except Exception as err:
        if trouble_of(err) is not Trouble.FULL:
            line.written //= 2
            return
        try:
            make_room(line, file, 0)
        except Exception:
            line.written //= 2


def make_room(line: Line, file: StoreFile, pages: int) -> None:
    """Drop what was written longest ago, until ``pages`` are free, or as many as the disk has no room for.

    In that case the file is shortened, so that the log can be copied into it, and be written from its begin again.
    """
    missing = _pragma(line, "page_count") - file.path.stat().st_size // PAGE
    _pragma(line, f"max_page_count = {file.pages + _SPARE}")
    try:
        with line.transaction():
            _drop_oldest(line, max(pages, missing + _SPARE))
        if missing > 0:
            # It steps once for each page, and gives rows of no columns, which ``execute`` takes for its end.
            line.connection.executescript(f"PRAGMA incremental_vacuum({missing + _SPARE // 2})")
    finally:
        _pragma(line, f"max_page_count = {file.pages}")
    _checkpoint(line, file)


def _checkpoint(line: Line, file: StoreFile) -> None:
    """Copy the log into the file, unless somebody writes: then a later write does it."""
    with closing(opened(file._replace(timeout=0))) as keeper, keeper.transaction():
        if keeper.at == line.at:
            line.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            line.written = 0


def _drop_oldest(line: Line, pages: int) -> None:
    while _pragma(line, "freelist_count") < pages:
        if line.connection.execute(_OLDEST, (_AT_A_TIME,)).rowcount < 1:
            return


def _pragma(line: Line, pragma: str) -> int:
    row = line.connection.execute(f"PRAGMA {pragma}").fetchone()
    return int(row[0]) if row else 0
