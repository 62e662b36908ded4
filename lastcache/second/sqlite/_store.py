"""The store itself: messages in, answers out, and what is done about a file that is spoilt, gone or full."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeVar, final
from weakref import WeakSet

from returns.result import Failure, Result, Success

from lastcache._checks import MICROSECOND, check_count, check_duration, check_flag, refuse
from lastcache.errors import ConfigError
from lastcache.second.protocol import Ask, Fill, Put, StoreFailure, Tell, Told, Trouble, Verdict
from lastcache.second.rules import Moment
from lastcache.second.sqlite._file import PAGE, StoreFile, identity, opened, set_aside
from lastcache.second.sqlite._line import Line
from lastcache.second.sqlite._records import asked, cleared, told
from lastcache.second.sqlite._room import make_room, tidy
from lastcache.second.sqlite._troubles import ClosedError, RefusedError, SpoiltFileError, failure_of, trouble_of

T = TypeVar("T")

MILLISECOND: Final = timedelta(milliseconds=1)
LEAST: Final = 1 << 20
"""The bytes below which no store is worth its file."""
_LOG: Final = 4 << 20
"""After how many bytes written the log is copied into the file, at most."""
_TRIES: Final = 6
"""How often a message is tried: again once a spoilt file is set aside, and whenever more room was made."""
_PART: Final = 64
"""Which part of a full file makes room first; each further time it is four times as much."""


def _wall_clock() -> int:
    return time.time_ns() // 1_000_000


@final
class SqliteStore:
    """A store in the file ``path``, for the processes of one machine; it outlives them.

    The file takes up to ``max_bytes``, beside a log; what was written longest ago makes room. Whoever must wait for
    another writer waits ``timeout`` at most; a fresh record is read without waiting for any. Once a write was
    acknowledged it survives the death of the process, and with ``durable`` a power loss, too.

    A directory that is missing is made, for this user alone, as is the file. A file whose bytes are spoilt is moved to
    ``<path>.spoilt``, and the store begins anew: a loss, which brings nothing older back. Do not put an older copy in
    its place.

    Raises ``ConfigError`` for a wrong option, for a file that is a database of somebody else, and where SQLite can have
    no write-ahead log, as on network file systems. A file that cannot be reached raises nothing: it may come.
    After that nothing is raised any more. ``_clock`` gives milliseconds, and ``_vfs`` names SQLite's way to the system:
    both are for tests.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     store = SqliteStore(Path(directory, "store"))
    ...     print(store.probe(b"users"))
    ...     store.close()
    <Success: None>
    """

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int = 256 << 20,
        timeout: timedelta = timedelta(milliseconds=100),
        durable: bool = False,
        _clock: Callable[[], int] = _wall_clock,
        _vfs: str | None = None,
    ) -> None:
        _check(path, max_bytes, timeout, durable)
        self._log = max(LEAST // 2, min(_LOG, max_bytes // 32))
        self._file: Final = StoreFile(
            path.absolute(), timeout.total_seconds(), durable, max_bytes // PAGE, 3 * self._log, _vfs
        )
        self._where: Final = str(self._file.path)
        self._clock: Final = _clock
        self._closed = False
        self._begin()
        try:
            self._line()
        except RefusedError as err:
            raise ConfigError(f"path={path!r}: {err}") from err
        except Exception:  # noqa: S110  # it may come, and each message tries anew
            pass

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._own = threading.local()
        self._lines: WeakSet[Line] = WeakSet()
        self._guard = threading.Lock()

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        """Look up records, and take leases."""
        return self._try(lambda line: asked(line, asks, self._moment))

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        """Write records, and give leases back."""
        return self._try(lambda line: told(line, tells, self._moment), tells)

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        """Give ``namespace`` a new generation: no record of an older one is found any more."""
        return self._try(lambda line: cleared(line, namespace, generation))

    def probe(self, _: bytes, /) -> Result[None, StoreFailure]:
        """Say whether the store answers, writers included."""

        def write_nothing(line: Line) -> None:
            with line.transaction():
                pass

        return self._try(write_nothing)

    def reset_after_fork(self) -> None:
        """Forget every connection, as the child of a fork must; it has closed them already."""
        if self._pid != os.getpid():
            self._begin()

    def close(self) -> None:
        """End the use of the store; what is stored stays."""
        self._closed = True
        with self._guard:
            lines = list(self._lines)
        for line in lines:
            line.close()

    def _moment(self) -> Moment:
        return Moment(self._clock(), MILLISECOND)

    def _try(self, act: Callable[[Line], T], tells: Sequence[Tell] = ()) -> Result[T, StoreFailure]:
        """Do ``act``, which may write ``tells``; where the file is spoilt or full, mend that and do it again."""
        failed: Exception = ClosedError("the store was closed")
        for times in range(_TRIES):
            try:
                return Success(self._act(act))
            except Exception as err:
                failed = err
            if not self._mend(failed, times, tells):
                break
        return Failure(failure_of(ClosedError("the store was closed") if self._closed else failed))

    def _act(self, act: Callable[[Line], T]) -> T:
        line = self._line()
        with line.lock:
            try:
                try:
                    done = act(line)
                    if line.written > self._log:
                        tidy(line, self._file)
                    return done
                finally:
                    line.undo()
            except BaseException:
                # An interrupt may have struck inside the first: whoever writes would wait for this thread's next call.
                line.undo()
                raise

    def _line(self) -> Line:
        """Give this thread's connection to the file that the path leads to now."""
        if self._closed:
            raise ClosedError("the store was closed")
        if self._pid != os.getpid():
            self._begin()
        line: Line | None = getattr(self._own, "line", None)
        if line is not None and line.at == identity(self._where):
            return line
        if line is not None:
            self._own.line = None
            line.close()
        line = self._own.line = opened(self._file)
        with self._guard:
            self._lines.add(line)
        return line

    def _mend(self, err: Exception, times: int, tells: Sequence[Tell]) -> bool:
        """Do what can be done about ``err``, which came ``times`` before, and say whether it is worth to try again."""
        try:
            match trouble_of(err):
                case Trouble.CORRUPT if times < 2:  # noqa: PLR2004  # one may come while another is set aside
                    line: Line | None = getattr(self._own, "line", None)
                    at = err.at if isinstance(err, SpoiltFileError) else None if line is None else line.at
                    set_aside(self._file, at)
                    return True
                case Trouble.FULL if times < _TRIES - 1 and _size(tells) < self._file.pages * PAGE // 4:
                    line = self._line()
                    with line.lock:
                        make_room(line, self._file, self._file.pages * 4**times // _PART)
                    return True
                case _:
                    # The path leads to another file by now.
                    return getattr(err, "sqlite_errorcode", None) == sqlite3.SQLITE_READONLY_DBMOVED
        except Exception:
            return False


def _size(tells: Sequence[Tell]) -> int:
    return sum(len(tell.body or b"") for tell in tells if isinstance(tell, Put | Fill))


def _check(path: object, max_bytes: object, timeout: object, durable: object) -> None:
    if not isinstance(path, Path):
        refuse("path", path, "a Path")
    check_count("max_bytes", max_bytes, right=f"an int of {LEAST} or more")
    if isinstance(max_bytes, int) and max_bytes < LEAST:
        refuse("max_bytes", max_bytes, f"an int of {LEAST} or more")
    check_duration("timeout", timeout, at_least=MICROSECOND, right="a timedelta above zero")
    check_flag("durable", durable)
