"""The processes of ``store_peers``, from without: each is told what to do, heard within a bound, and killed."""

import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, NamedTuple, final

from tests.benchmarks.store_peers_child import LONGEST, Answer, Watched
from tests.benchmarks.store_peers_origin import Origin
from tests.second.servers import Server

SLACK: Final = 5.0
"""The seconds that a process has beside its work, such as for its start on a busy machine."""
START: Final = 20.0
EVERY: Final = 0.03
"""The seconds between two calls of a process that goes on asking."""
WARM: Final = "warm"
_PIECE: Final = 65536
_ROOT: Final = Path(__file__).parent.parent.parent


class Bench(NamedTuple):
    """A cache, a server of its own, and the origin of this work."""

    name: str
    server: Server
    directory: Path

    @property
    def origin(self) -> Origin:
        return Origin(self.directory)


@final
class ProcessError(Exception):
    """A process ended or hung where it must not."""


@final
class Process:
    """A process with a cache of its own."""

    def __init__(self, name: str, url: str, directory: Path, ttl: float, log: IO[bytes]) -> None:
        self._log = log
        self._said = b""
        self._process = subprocess.Popen(  # noqa: S603  # our own
            [sys.executable, "-m", "tests.benchmarks.store_peers_child", name, url, str(directory), str(ttl)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=_ROOT,
            bufsize=0,
        )

    def begin_reading(
        self, keys: Sequence[str], *, at: float = 0.0, every: float = 0.0, until: float = float("inf")
    ) -> None:
        self._tell("read", keys=list(keys), at=at or time.monotonic(), every=every, until=until)

    def answers(self, until: float) -> list[Answer]:
        """Give the answers to what was asked, which must have begun by ``until``."""
        return [Answer(*each) for each in self._hear(until + LONGEST)]

    def read(self, key: str) -> Answer:
        """Ask for one key."""
        self.begin_reading([key])
        (answer,) = self.answers(time.monotonic() + START)
        return answer

    def begin_watching(self, key: str, old: str, *, every: float, until: float) -> None:
        self._tell("watch", key=key, old=old, every=every, until=until)

    def watched(self, until: float) -> Watched:
        return Watched(*self._hear(until + LONGEST))

    def delete(self, key: str) -> float:
        """Delete a key, and give the instant at which that had been done."""
        self._tell("delete", key=key)
        deleted_at: float = self._hear(time.monotonic() + LONGEST)
        return deleted_at

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            end.close()

    def _tell(self, work: str, **how: object) -> None:
        assert self._process.stdin is not None
        line = json.dumps({"work": work, **how}) + "\n"
        try:
            self._process.stdin.write(line.encode())
        except OSError as err:
            raise self._ended() from err

    def _hear(self, until: float) -> Any:
        assert self._process.stdout is not None
        said = self._process.stdout.fileno()
        while b"\n" not in self._said:
            if not select.select([said], [], [], max(0.0, until + SLACK - time.monotonic()))[0]:
                raise ProcessError("the process says nothing")
            piece = os.read(said, _PIECE)
            if not piece:
                raise self._ended()
            self._said += piece
        line, self._said = self._said.split(b"\n", 1)
        return json.loads(line)

    def _ended(self) -> ProcessError:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        last = [line for line in lines if line and not line.startswith(" ")][-1:]
        return ProcessError(f"the process ended: {''.join(last) or self._process.wait(SLACK)}")


@contextmanager
def processes(bench: Bench, urls: Sequence[str], ttl: float) -> Generator[list[Process], None, None]:
    """Start a process for each address, and have each make its connections; kill them at the end."""
    with ExitStack() as stack:
        made = list[Process]()
        for url in urls:
            log = stack.enter_context((bench.directory / f"log-{time.monotonic_ns()}").open("w+b"))
            made.append(Process(bench.name, url, bench.directory, ttl, log))
            stack.callback(made[-1].kill)
        for process in made:
            process.begin_reading([WARM])
        for process in made:
            process.answers(time.monotonic() + START)
        yield made


def must_give(answer: Answer, value: str) -> None:
    """Raise ``ProcessError`` where an answer is not that value."""
    if answer.value != value:
        raise ProcessError(f"gives {answer.error or answer.value} where all is well")
