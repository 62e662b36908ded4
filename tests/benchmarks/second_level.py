"""What a second level costs, in one run: ``python -m tests.benchmarks.second_level``.

Each figure is the least of some rounds that take turns, in microseconds; bodies have 300 bytes.
"""

import gc
import sqlite3
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Final, TypeAlias

from returns.result import Result, Success

from lastcache import LastCache, LoadFailure
from lastcache.second import Second
from lastcache.second.codecs import bytes_codec
from lastcache.second.keys import record_name
from lastcache.second.memory import MemoryStore
from lastcache.second.protocol import Ask, Fill, Held, Lease, Put, Store, Want
from lastcache.second.sqlite import SqliteStore

Cache: TypeAlias = LastCache[int, bytes, str]
Row: TypeAlias = Callable[[int], object]

BODY: Final = b"x" * 300
SPACE: Final = b"messages"
HOUR: Final = timedelta(hours=1)
LEASE_FOR: Final = timedelta(seconds=5)
ROUNDS: Final = 5
CALLS: Final = 1000


def load(_key: int) -> Result[bytes, LoadFailure[str]]:
    return Success(BODY)


def cache_on(store: Store | None) -> Cache:
    """Give a cache that asks ``store`` again after a day."""
    if store is None:
        return Cache()
    codec = bytes_codec("bytes-1", encode=bytes, decode=bytes)
    return Cache(second=Second(store=store, codec=codec, namespace="bench", trust_for=timedelta(days=1)))


def of_caches(store: SqliteStore) -> Iterator[tuple[str, Row]]:
    """Give what calls of a cache cost, with no store, with one in memory, and with one in a file."""
    numbers = count(1)
    known = cache_on(store)
    for n in range(CALLS):
        known.load_or_store(-n, load)
    for name, each in (("none", None), ("memory", MemoryStore()), ("SQLite", store)):
        cache = cache_on(each)
        cache.load_or_store(0, load)
        yield f"hit, {name}", lambda _, cache=cache: cache.load_or_store(0, load)  # type: ignore[misc]
        yield f"miss that stores, {name}", lambda _, cache=cache: cache.load_or_store(next(numbers), load)  # type: ignore[misc]
        yield f"set, {name}", lambda n, cache=cache: cache.set(n, BODY)  # type: ignore[misc]
    readers = iter([cache_on(store) for _ in range(ROUNDS)])
    reader = [known]

    def found(n: int) -> None:
        if n == 0:
            reader[0] = next(readers)
        reader[0].load_or_store(-n, load)

    yield "first read of what the store has, SQLite", found


def of_the_store(store: SqliteStore, directory: Path) -> Iterator[tuple[str, Row]]:
    """Give what messages to the store cost, beside a plain ``SELECT`` of the same body."""
    (first,) = store.ask([Ask(SPACE, SPACE, None, None, Want.LOOK, LEASE_FOR)]).unwrap()
    generation = getattr(first, "generation", b"")
    plain = sqlite3.connect(directory / "plain")
    plain.execute("CREATE TABLE records (name BLOB PRIMARY KEY, head BLOB, body BLOB) WITHOUT ROWID")
    names = [record_name(SPACE, generation, b"i:%d" % n) for n in range(CALLS)]
    plain.executemany("INSERT INTO records VALUES (?, ?, ?)", [(name, b"h" * 68, BODY) for name in names])
    plain.commit()
    numbers = count(CALLS)

    def put(n: int) -> None:
        store.tell([Put(SPACE, names[n], generation, BODY, "bytes-1", HOUR, HOUR)])

    def look(n: int) -> None:
        (told,) = store.ask([Ask(SPACE, names[n], generation, None, Want.LOOK, LEASE_FOR)]).unwrap()
        assert isinstance(told, Held)

    def fill(_: int) -> None:
        name = record_name(SPACE, generation, b"i:%d" % next(numbers))
        (told,) = store.ask([Ask(SPACE, name, generation, None, Want.LEASE, LEASE_FOR)]).unwrap()
        lease = getattr(told, "grant", None)
        assert isinstance(lease, Lease)
        store.tell([Fill(SPACE, name, generation, lease, BODY, "bytes-1", HOUR, HOUR)])

    yield "put", put
    yield "ask, fresh", look
    yield "ask and fill", fill
    yield "SELECT", lambda n: plain.execute("SELECT head, body FROM records WHERE name = ?", (names[n],)).fetchone()


def times_of(rows: list[tuple[str, Row]], rounds: int = ROUNDS, calls: int = CALLS) -> dict[str, list[float]]:
    """Run the rows in turn, and give the time that a call of each took in each round, in microseconds."""
    times: dict[str, list[float]] = {name: [] for name, _ in rows}
    for _ in range(rounds):
        for name, row in rows:
            began = time.perf_counter()
            for n in range(calls):
                row(n)
            times[name].append((time.perf_counter() - began) / calls * 1e6)
    return times


def bytes_of_an_entry(store: Store | None, entries: int = 20_000) -> float:
    """Give how much an entry takes, without its key and its value."""
    cache = cache_on(store)
    keys = list(range(entries))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for key in keys:
        cache.load_or_store(key, load)
    gc.collect()
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return taken / entries


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = SqliteStore(Path(directory, "store"))
        for name, took in times_of([*of_caches(store), *of_the_store(store, Path(directory))]).items():
            print(f"| {name} | {min(took):.2f} |")  # noqa: T201
        for name, each in (("none", None), ("SQLite", store)):
            print(f"| bytes of an entry, {name} | {bytes_of_an_entry(each):.0f} |")  # noqa: T201
        store.close()


if __name__ == "__main__":
    main()
