"""Processes that each have a cache beside a store that all of them share, and do what a test tells them.

The store is in a file, or in the server whose address stands in the file ``server`` beside that.
"""

import json
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, final

from tests.second.processes import heard, program

CACHES: Final = """
import asyncio, concurrent.futures.thread, json
from lastcache import Config, LastCache, LoadFailure
from lastcache.second import Second
from lastcache.second.codecs import json_codec
from lastcache.tasks import AsyncLastCache

signal.alarm(45)
told = []
cache = runner = None
origin_calls, origin_is_down = path.with_name("calls"), path.with_name("down")

def second_of(store, trust_for=0.2, lease_for=5.0):
    return Second(
        store=store,
        codec=json_codec("word-1"),
        namespace="words",
        trust_for=timedelta(seconds=trust_for),
        lease_for=timedelta(seconds=lease_for),
    )

def store_at(at=path, timeout=20.0, max_bytes=256 << 20):
    server = at.with_name("server")
    if not server.exists():
        return SqliteStore(at, timeout=timedelta(seconds=timeout), max_bytes=max_bytes)
    from lastcache.second.redis import RedisStore
    return RedisStore.from_url(server.read_text(), timeout=timedelta(seconds=timeout))

def begin(kind="threads", ttl=60.0, timeout=20.0, shared=True, max_bytes=256 << 20, at=path, **options):
    global cache, runner
    runner = asyncio.Runner() if kind == "tasks" else None
    store = store_at(at, timeout, max_bytes) if shared else None
    cache = (LastCache if kind == "threads" else AsyncLastCache)(
        Config(global_ttl=timedelta(seconds=ttl)),
        observer=told.append,
        second=second_of(store, **options) if shared else None,
    )

def origin(value="new", takes=0.0, gated=False, fails=False):
    def load(key):
        with origin_calls.open("a") as calls:
            calls.write(f"{key}\\n")
        if gated:
            say("loading")
            wait()
        time.sleep(takes)
        if fails or origin_is_down.exists():
            return Failure(LoadFailure("down", use_stale=True))
        return Success(value)

    async def load_in_task(key):
        return await asyncio.to_thread(load, key)

    return load if runner is None else load_in_task

def call(key, value="new", at=0.0, **how):
    load = origin(value, **how)
    time.sleep(max(0.0, at - time.monotonic()))
    began_at = time.monotonic()
    given = cache.load_or_store(key, load) if runner is None else runner.run(cache.load_or_store(key, load))
    ended_at = time.monotonic()
    match given:
        case Success(cached):
            return cached.value, cached.stale, cached.err, ended_at - began_at, ended_at
        case Failure(err):
            return None, False, err, ended_at - began_at, ended_at

def change(how, *what):
    getattr(cache, how)(*what)
    assert cache.settled(patient) if runner is None else runner.run(cache.settled(patient))
    return time.monotonic()

def count(event):
    return sum(type(each).__name__ == event for each in told)
"""
"""What a program needs for a cache of its own, after the prelude of ``processes``."""

STRIKES: Final = """
import random
main, over, armed = threading.main_thread().ident, threading.Event(), False
chance = random.Random(7)

def strike(shortest, longest):
    global armed
    while not over.is_set():
        time.sleep(chance.uniform(shortest, longest))
        if armed:
            armed = False
            signal.pthread_kill(main, signal.SIGINT)
"""
"""What interrupts the main thread of a program, once each time that it is ``armed``."""

SERVE: Final = """
say()
while line := sys.stdin.readline():
    try:
        given = eval(line)
    except Exception as err:
        given = repr(err)
    say(json.dumps(given))
"""

LOCKER: Final = """
writer = sqlite3.connect(path, isolation_level=None)
writer.execute("BEGIN IMMEDIATE")
say()
wait()
"""
"""A program that writes to the store's file, and does not get on with it."""


@final
class Answered(NamedTuple):
    """How a call ended in a worker; ``ended_at`` is on the clock that all processes of a machine share."""

    value: str | None
    is_stale: bool
    err: str | None
    took: float
    ended_at: float

    @property
    def answer(self) -> tuple[str | None, bool, str | None]:
        return self[:3]


@final
class Worker:
    """A process with a cache, which does one thing after the other; it starts while others do."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._is_ready = False

    def get_ready(self) -> None:
        """Wait until the process has started."""
        if not self._is_ready:
            assert heard(self.process) == "ready"
            self._is_ready = True

    def tell(self, expression: str) -> None:
        """Have the worker evaluate ``expression``; its answer is to be heard later."""
        self.get_ready()
        assert self.process.stdin is not None
        self.process.stdin.write(expression + "\n")
        self.process.stdin.flush()

    def hear(self) -> object:
        """Give the answer to what the worker was told."""
        said: object = json.loads(heard(self.process))
        return said

    def do(self, expression: str) -> object:
        self.tell(expression)
        return self.hear()

    def begin(self, **options: object) -> "Worker":
        """Give the worker a new cache, which knows nothing."""
        said = self.do(f"begin(**{options!r})")
        assert said is None, said
        return self

    def call(self, key: str, value: str = "new", **how: object) -> Answered:
        """Have the worker ask its cache for ``key``, which its origin would answer with ``value``."""
        self.tell_call(key, value, **how)
        return self.hear_call()

    def tell_call(self, key: str, value: str = "new", **how: object) -> None:
        self.tell(f"call({key!r}, {value!r}, **{how!r})")

    def hear_call(self) -> Answered:
        said = self.hear()
        assert isinstance(said, list), said
        return Answered(*said)

    def load_gated(self, key: str, value: str) -> None:
        """Have the worker load ``key``, up to where its origin waits; ``open_gate`` lets it go on."""
        self.tell_call(key, value, gated=True)
        assert heard(self.process) == "loading"

    def open_gate(self) -> Answered:
        self.tell("")
        return self.hear_call()

    def change(self, how: str, *what: str) -> float:
        """Change the cache, and give the instant at which the store knew."""
        said = self.do(f"change({how!r}, *{what!r})")
        assert isinstance(said, float), said
        return said

    def count(self, event: str) -> object:
        return self.do(f"count({event!r})")


@contextmanager
def working(path: Path, **options: object) -> Generator[Worker, None, None]:
    """Start a worker whose cache shares the store at ``path``."""
    with program(f"{CACHES}\nbegin(**{options!r})\n{SERVE}", path) as process:
        yield Worker(process)


def calls_of_origin(path: Path) -> list[str]:
    """Give the keys that all workers have loaded, in their order."""
    calls = path.with_name("calls")
    return calls.read_text().split() if calls.exists() else []


def now() -> float:
    return time.monotonic()
