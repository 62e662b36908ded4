"""A server's process as its parent holds it: started, heard, killed."""

import os
import select
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from lastcache._demo import origin

_CHUNK: Final = 4096


@dataclass(frozen=True, slots=True)
class Starting:
    """The process is not ready yet; ``trouble`` says why it has to wait, or is empty."""

    trouble: str


@dataclass(frozen=True, slots=True)
class Listening:
    """The server answers on ``port``."""

    port: int


@dataclass(frozen=True, slots=True)
class Removed:
    """The process ended before it could listen."""

    reason: str


Status = Starting | Listening | Removed


def status_of(said: str, exit_status: int | None) -> Status:
    r"""Tell the state of a server from what it has said so far and its exit status, if it has one.

    >>> status_of("taken 8000\n", None)
    Starting(trouble='another process has port 8000: trying again')
    >>> status_of("taken 8000\nlistening 8000\n", None)
    Listening(port=8000)
    """
    word, _, rest = said.rpartition("\n")[0].rpartition("\n")[2].partition(" ")
    if word == "listening":
        return Listening(int(rest))
    if word == "failed":
        return Removed(rest)
    if exit_status is not None:
        return Removed(f"it ended with status {exit_status}")
    return Starting(f"another process has port {rest}: trying again" if word == "taken" else "")


def origin_process(keys: int, seed: int) -> "ServerProcess":
    """Make the origin."""
    return ServerProcess("the origin", [sys.executable, "-I", origin.__file__, f"--keys={keys}", f"--seed={seed}"])


class ServerProcess:
    """A server, one life after the other. As a context manager it leaves no process behind."""

    def __init__(self, name: str, command: list[str], environ: Mapping[str, str] | None = None) -> None:
        self.name = name
        self._command = command
        self._environ = environ
        self._process: subprocess.Popen[bytes] | None = None
        self._said = ""

    def start(self, port: int) -> None:
        """Start a life of the server on ``port``, 0 for a free one; ``status`` tells when it is ready."""
        self.kill()
        self._said = ""
        # A session of its own: the terminal's Ctrl-C is for this process, which then ends the server.
        self._process = subprocess.Popen(  # noqa: S603  # our own file, and what was checked
            [*self._command, f"--port={port}"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env=self._environ,
        )

    @property
    def pid(self) -> int:
        """The number of the process, 0 without one."""
        return 0 if self._process is None else self._process.pid

    def status(self) -> Status:
        """Hear what the process has said, without waiting."""
        if self._process is None or self._process.stdout is None:
            return Removed("it was not started")
        exit_status = self._process.poll()
        pipe = self._process.stdout
        while select.select([pipe], [], [], 0)[0] and (chunk := os.read(pipe.fileno(), _CHUNK)):
            self._said += chunk.decode()
        return status_of(self._said, exit_status)

    def kill(self) -> None:
        """End the process by SIGKILL, as a crash would, and wait until it is gone. Twice does no harm."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.kill()
