"""Real servers, which the tests start on free loopback ports, and end by pid. No other server is ever touched.

``LASTCACHE_SERVERS`` lists the kinds that must be there, such as ``redis,valkey``: elsewhere a test whose server is not
installed says so, and is skipped.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

KINDS: Final = ("redis", "valkey")
BOUND: Final = 10.0
"""The seconds within which a server must have started."""
_QUIET: Final = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes")
_LIBC: Final = ctypes.CDLL(None)
_DIE_WITH_PARENT: Final = 1


def executable_of(kind: str) -> str | None:
    """Give the path of a server, if it is installed."""
    return shutil.which(f"{kind}-server")


def need(kind: str) -> None:
    """Skip a test whose server is not installed; where it must be, that is a failure."""
    if executable_of(kind) is None:
        if kind in os.environ.get("LASTCACHE_SERVERS", "").split(","):
            pytest.fail(f"LASTCACHE_SERVERS names {kind}, and no {kind}-server is installed")
        pytest.skip(f"no {kind}-server is installed")


def free_port(below: int = 65536) -> int:
    """Give a port on which nobody listens."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < below:
            return port


class Server:
    """A server of its own, on a loopback port; what it holds dies with it."""

    def __init__(self, kind: str, directory: Path, options: Sequence[str], port: int) -> None:
        self.kind = kind
        self.port = port
        self._options = options
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, again perhaps, and wait until it answers."""
        executable = executable_of(self.kind)
        assert executable is not None
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                [executable, *_QUIET, "--port", str(self.port), "--dir", str(self._directory), *self._options],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,  # noqa: PLW1509  # no thread of the tests' holds a lock that this needs
            )
        ends_at = time.monotonic() + BOUND
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends_at:
                raise RuntimeError(f"{self.kind} did not start: {(self._directory / 'log').read_text()}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with suppress(Exception):
            return bool(self.command("PING"))
        return False

    def kill(self) -> None:
        """Kill it, as a machine that goes."""
        self._signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(BOUND)

    def suspend(self) -> None:
        """Stop it, so that it hears and says nothing, and its connections stay."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """End it, if it has not ended."""
        if self._process is not None and self._process.poll() is None:
            self.kill()

    def command(self, *words: str | bytes | int) -> Any:
        """Have it run one command, by a connection of its own."""
        import redis

        with redis.Redis(port=self.port, socket_timeout=5, socket_connect_timeout=5, protocol=2) as client:
            return client.execute_command(*words)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def _die_with_parent() -> None:
    _LIBC.prctl(_DIE_WITH_PARENT, signal.SIGKILL)


@contextmanager
def server(kind: str, *options: str, below: int = 65536) -> Generator[Server, None, None]:
    """Start a server, and end it at the end."""
    need(kind)
    with TemporaryDirectory() as directory:
        made = Server(kind, Path(directory), options, free_port(below))
        try:
            made.start()
            yield made
        finally:
            made.end()


@lru_cache
def shared_server(kind: str) -> Server:
    """Give one that all tests share which do it no harm. It ends with this process."""
    need(kind)
    made = Server(kind, Path(_scratch().name), (), free_port())
    made.start()
    return made


@lru_cache
def _scratch() -> "TemporaryDirectory[str]":
    return TemporaryDirectory()
