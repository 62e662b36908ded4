"""The stores under test: each with a clock that is moved by hand, and with ways to lose what it holds."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

from returns.pipeline import is_successful
from returns.result import Result

from lastcache.second.memory import MemoryStore
from lastcache.second.protocol import (
    Ask,
    Expire,
    Fill,
    Forget,
    Held,
    Lease,
    Put,
    Release,
    Same,
    Store,
    StoreFailure,
    Tell,
    Told,
    Verdict,
    Version,
    Want,
)
from lastcache.second.redis import RedisStore
from lastcache.second.redis._wire import generation_key, record_key
from lastcache.second.sqlite import SqliteStore
from tests.second.servers import KINDS, Server, shared_server

NAMES: Final = "memory", "sqlite", "redis", "valkey"
SPACE: Final = b"users"
ONE: Final = b"users:1"
WORD: Final = b"genera01"
HOUR: Final = timedelta(hours=1)
LEASE_FOR: Final = timedelta(seconds=5)
MS: Final = timedelta(milliseconds=1)
STARTS_AT: Final = 1_700_000_000_000
"""A wall clock, in milliseconds."""

SERVER_CLOCK: Final = "tonumber(redis.call('GET', 'clock'))"

Answered: TypeAlias = Result[Sequence[Told], StoreFailure]


@dataclass(slots=True)
class Clock:
    """A clock of milliseconds that moves when it is told to."""

    now: int = STARTS_AT

    def move(self, by: timedelta) -> None:
        self.now += by // MS

    def milliseconds(self) -> int:
        return self.now

    def nanoseconds(self) -> int:
        return self.now * 1_000_000


@dataclass(slots=True)
class ServerClock(Clock):
    """The same, inside a server."""

    server: Server = field(kw_only=True)

    def move(self, by: timedelta) -> None:
        self.now += by // MS
        self.server.command("SET", "clock", self.now)


@dataclass(slots=True)
class Stage:
    """A store, its clock, and the file or the server where it has one."""

    store: Store
    clock: Clock
    memory: MemoryStore | None = None
    file: Path | None = None
    server: Server | None = None

    def ask(self, ask: Ask) -> Told:
        """Ask, and round down what is told to the millisecond: not every store counts finer."""
        told = self.store.ask([ask]).unwrap()[0]
        return told._replace(fresh_for=told.fresh_for // MS * MS) if isinstance(told, Held | Same) else told

    def tell(self, tell: Tell) -> Verdict:
        return self.store.tell([tell]).unwrap()[0]

    def evict(self, name: bytes = ONE, generation: bytes = WORD) -> None:
        """Lose one record."""
        if self.memory is not None:
            self.memory.evict(SPACE, name)
        self._command("DEL", record_key(SPACE, generation, name))
        self._delete("records WHERE name = ?", b"\0".join((SPACE, generation, name)))

    def lose_generation(self) -> None:
        """Lose the generation alone."""
        if self.memory is not None:
            self.memory.lose_generation(SPACE)
        self._command("DEL", generation_key(SPACE))
        self._delete("generations WHERE namespace = ?", SPACE)

    def lose_all(self) -> None:
        """Lose everything."""
        if self.memory is not None:
            self.memory.lose_all()
        self._command("FLUSHALL")
        self.clock.move(timedelta(0))
        self._delete("records")
        self._delete("generations")

    def _command(self, *words: str | bytes) -> None:
        if self.server is not None:
            self.server.command(*words)

    def _delete(self, what: str, *arguments: bytes) -> None:
        if self.file is not None:
            with closing(sqlite3.connect(self.file, isolation_level=None)) as other:
                other.execute(f"DELETE FROM {what}", arguments)  # noqa: S608  # our own text


@contextmanager
def staged(name: str) -> Generator[Stage, None, None]:
    """Make the store of this name, empty."""
    clock = Clock()
    if name == "memory":
        memory = MemoryStore(clock.nanoseconds)
        yield Stage(memory, clock, memory)
        memory.close()
        return
    if name in KINDS:
        server = shared_server(name)
        server.command("FLUSHALL")
        its_clock = ServerClock(server=server)
        its_clock.move(timedelta(0))
        redis_store = RedisStore.from_url(server.url, timeout=timedelta(seconds=5), _clock=SERVER_CLOCK)
        yield Stage(redis_store, its_clock, server=server)
        redis_store.close()
        return
    with TemporaryDirectory() as directory:
        path = Path(directory, "store")
        store = SqliteStore(path, timeout=timedelta(seconds=5), _clock=clock.milliseconds)
        yield Stage(store, clock, file=path)
        store.close()


def ask(
    want: Want = Want.LOOK,
    *,
    name: bytes = ONE,
    generation: bytes | None = WORD,
    known: Version | None = None,
    lease_for: timedelta = LEASE_FOR,
    early_by: timedelta = timedelta(0),
) -> Ask:
    return Ask(SPACE, name, generation, known, want, lease_for, early_by)


def fill(lease: Lease, body: bytes | None = b"filled", *, name: bytes = ONE, fresh_for: timedelta = HOUR) -> Fill:
    return Fill(SPACE, name, WORD, lease, body, "v1", fresh_for, HOUR)


def put(
    body: bytes = b"set",
    *,
    name: bytes = ONE,
    generation: bytes = WORD,
    fresh_for: timedelta = HOUR,
    only_if: Version | None = None,
) -> Put:
    return Put(SPACE, name, generation, body, "v1", fresh_for, HOUR, only_if)


def forget(*, name: bytes = ONE, keep_for: timedelta = HOUR) -> Forget:
    return Forget(SPACE, name, WORD, keep_for)


def expire(*, name: bytes = ONE, keep_for: timedelta = HOUR) -> Expire:
    return Expire(SPACE, name, WORD, keep_for)


def release(lease: Lease, *, name: bytes = ONE) -> Release:
    return Release(SPACE, name, WORD, lease)


def failure_in(result: Result[object, StoreFailure]) -> StoreFailure:
    """Give the failure that there must be."""
    assert not is_successful(result), result
    return result.failure()
