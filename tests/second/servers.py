"""Real servers, which the tests start on free loopback ports, and end by pid. No other server is ever touched.

``LASTCACHE_SERVERS`` lists the kinds that must be there, such as ``redis,valkey``: elsewhere a test whose server is not
installed says so, and is skipped.

On Linux a server dies with the thread that started it, however that ends, so it is started in the main thread only.
"""

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

KINDS: Final = ("redis", "valkey")
BOUND: Final = 10.0
"""The seconds within which a server must have started."""
CLUSTER_BOUND: Final = 20.0
"""The seconds within which the nodes of a cluster must have agreed."""
SLOTS: Final = 16384
_ALL_PORTS: Final = 65536
_CLUSTER_PORTS: Final = 50000
"""A node talks to the others on a second port, which is higher by 10000."""
_PORTS_TRIED: Final = 3
_QUIET: Final = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--enable-debug-command", "yes")
_LIBC: Final = ctypes.CDLL(None) if sys.platform == "linux" else None
_DIE_WITH_PARENT: Final = 1


def executable_of(kind: str) -> str | None:
    """Give the path of a server, if it is installed."""
    return shutil.which(f"{kind}-server")


def required() -> bool:
    """Tell whether the environment says that servers must be there."""
    return bool(_listed())


def _listed() -> list[str]:
    words = os.environ.get("LASTCACHE_SERVERS", "").split(",")
    return [word.strip() for word in words if word.strip()]


def need(kind: str) -> None:
    """Skip a test whose server is not installed; where it must be, that is a failure."""
    if executable_of(kind) is None:
        if kind in _listed():
            pytest.fail(f"LASTCACHE_SERVERS names {kind}, and no {kind}-server is installed")
        pytest.skip(f"no {kind}-server is installed")


def free_port(below: int = _ALL_PORTS) -> int:
    """Give a port on which nobody listens."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port < below:
            return port


class PortTakenError(RuntimeError):
    """Somebody else took the port before the server did."""


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
        assert threading.current_thread() is threading.main_thread(), "a server dies with the thread that starts it"
        executable = executable_of(self.kind)
        assert executable is not None
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                [executable, *_QUIET, "--port", str(self.port), "--dir", str(self._directory), *self._options],
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent if _LIBC is not None else None,  # noqa: PLW1509  # no thread of the tests' holds a lock that this needs
            )
        try:
            self._wait_for_it()
        except BaseException:
            self.end()
            raise

    def _wait_for_it(self) -> None:
        ends_at = time.monotonic() + BOUND
        while not self._answers():
            if self._ended() or time.monotonic() > ends_at:
                raise self._not_started()
            time.sleep(0.01)

    def _answers(self) -> bool:
        """Tell whether it is this server that answers, and not another which took the port."""
        from redis import RedisError

        with suppress(RedisError, OSError):
            return bool(self.command("PING")) and self.command("INFO", "server")["process_id"] == self.pid
        return False

    def _not_started(self) -> RuntimeError:
        log = (self._directory / "log").read_text(errors="replace")
        error = PortTakenError if "already in use" in log else RuntimeError
        return error(f"{self.kind} did not start: {log}")

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
        if not self._ended():
            self.go_on()
            self.kill()

    def _ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def command(self, *words: str | bytes | int) -> Any:
        """Have it run one command, by a connection of its own, once: what goes wrong is raised and not tried again."""
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        once = Retry(NoBackoff(), 0)
        with redis.Redis(port=self.port, socket_timeout=5, socket_connect_timeout=5, protocol=2, retry=once) as client:
            return client.execute_command(*words)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def _die_with_parent() -> None:
    assert _LIBC is not None
    _LIBC.prctl(_DIE_WITH_PARENT, signal.SIGKILL)


@contextmanager
def server(kind: str, *options: str, below: int = _ALL_PORTS) -> Generator[Server, None, None]:
    """Start a server, and end it at the end."""
    need(kind)
    with TemporaryDirectory() as directory:
        made = _started(kind, Path(directory), options, below)
        try:
            yield made
        finally:
            made.end()


def _started(kind: str, directory: Path, options: Sequence[str], below: int) -> Server:
    """Start a server on a free port, on another where somebody else takes it in the meantime."""
    for nth in range(_PORTS_TRIED):
        own = directory / str(nth)
        own.mkdir()
        made = Server(kind, own, options, free_port(below))
        try:
            made.start()
        except PortTakenError:
            if nth == _PORTS_TRIED - 1:
                raise
        else:
            return made
    raise AssertionError("the last try returns or raises")


@lru_cache
def shared_server(kind: str) -> Server:
    """Give one that all tests share which do it no harm. It ends with this process."""
    need(kind)
    own = Path(_scratch().name) / kind
    own.mkdir()
    return _started(kind, own, (), _ALL_PORTS)


@lru_cache
def _scratch() -> "TemporaryDirectory[str]":
    return TemporaryDirectory()


@contextmanager
def cluster(kind: str, nodes: int = 3) -> Generator[list[Server], None, None]:
    """Start nodes that share the slots of one cluster, without replicas, and wait until each says that all is well."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    with ExitStack() as stack:
        made = [stack.enter_context(server(kind, *options, below=_CLUSTER_PORTS)) for _ in range(nodes)]
        for nth, node in enumerate(made):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", nth + 1)
            node.command("CLUSTER", "ADDSLOTSRANGE", SLOTS * nth // nodes, SLOTS * (nth + 1) // nodes - 1)
        for node in made[1:]:
            made[0].command("CLUSTER", "MEET", "127.0.0.1", node.port)
        ends_at = time.monotonic() + CLUSTER_BOUND
        while not all(_agrees(node, nodes) for node in made):
            if time.monotonic() > ends_at:
                raise RuntimeError(f"no cluster: {[node.command('CLUSTER', 'INFO') for node in made]}")
            time.sleep(0.02)
        yield made


def _agrees(node: Server, nodes: int) -> bool:
    """Tell whether a node knows the others, and an owner for each slot."""
    said = bytes(node.command("CLUSTER", "INFO")).decode().split()
    return {"cluster_state:ok", f"cluster_slots_ok:{SLOTS}", f"cluster_known_nodes:{nodes}"} <= set(said)
