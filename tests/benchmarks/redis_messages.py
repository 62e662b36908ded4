"""What a message to a server costs, beside a plain GET and SET by the same client, in one run.

``python -m tests.benchmarks.redis_messages [redis|valkey]`` starts a server of its own. Each figure is the median of
rounds that take turns, in microseconds; bodies have 300 bytes.
"""

import sys
import threading
import time
from collections.abc import Callable
from itertools import count
from statistics import median
from typing import Any, Final

from returns.result import Success

from lastcache import Config, LastCache
from lastcache.second import Second
from lastcache.second.codecs import bytes_codec
from lastcache.second.keys import record_name
from lastcache.second.protocol import Ask, Fill, Forget, Held, Lease, Put, Same, Want
from lastcache.second.redis import RedisStore
from tests.benchmarks.second_level import BODY, HOUR, LEASE_FOR, SPACE, Row, cache_on, load, times_of
from tests.second.servers import Server, server

CALLS: Final = 300
ROUNDS: Final = 9
PUSHES: Final = 300


def rows_of(store: RedisStore, plain: Any) -> list[tuple[str, Row]]:  # noqa: C901  # a list
    """Give the messages of a store, and plain commands by the same client."""
    generation, numbers = b"genera01", count(CALLS)
    store.clear(SPACE, generation).unwrap()
    names = [record_name(SPACE, generation, b"i:%d" % n) for n in range(CALLS)]
    for n in range(CALLS):
        plain.execute_command("SET", b"plain %d" % n, BODY, "PX", 3_600_000)
        store.tell([Put(SPACE, names[n], generation, BODY, "bytes-1", HOUR, HOUR)]).unwrap()

    def ask_for(n: int, known: Any) -> object:
        return store.ask([Ask(SPACE, names[n], generation, known, Want.LOOK, LEASE_FOR)]).unwrap()[0]

    versions = [getattr(ask_for(n, None), "version", None) for n in range(CALLS)]

    def same(n: int) -> None:
        assert isinstance(ask_for(n, versions[n]), Same)

    def fresh(n: int) -> None:
        assert isinstance(ask_for(n, None), Held)

    def miss(_: int) -> None:
        name = record_name(SPACE, generation, b"i:%d" % next(numbers))
        (told,) = store.ask([Ask(SPACE, name, generation, None, Want.LEASE, LEASE_FOR)]).unwrap()
        lease = getattr(told, "grant", None)
        assert isinstance(lease, Lease)
        store.tell([Fill(SPACE, name, generation, lease, BODY, "bytes-1", HOUR, HOUR)]).unwrap()

    def put(n: int) -> None:
        store.tell([Put(SPACE, b"put %d" % n, generation, BODY, "bytes-1", HOUR, HOUR)]).unwrap()

    def forget(n: int) -> None:
        store.tell([Forget(SPACE, b"forgotten %d" % n, generation, HOUR)]).unwrap()

    cached = cache_on(store)
    cached.load_or_store(0, load)
    keys = count(1)
    return [
        ("GET", lambda n: plain.execute_command("GET", b"plain %d" % n)),
        ("SET", lambda n: plain.execute_command("SET", b"plain %d" % n, BODY, "PX", 3_600_000)),
        ("ask, the same", same),
        ("ask, fresh", fresh),
        ("ask and fill", miss),
        ("put", put),
        ("delete", forget),
        ("miss of a cache", lambda _: cached.load_or_store(next(keys), load)),
        ("hit of a cache", lambda _: cached.load_or_store(0, load)),
    ]


def pushed(running: Server) -> list[float]:
    """Give how long it takes until a delete in one cache has removed the value of another, in milliseconds."""
    stores = [RedisStore.from_url(running.url, push=True) for _ in range(2)]
    gone, made = threading.Event(), []
    codec = bytes_codec("bytes-1", encode=bytes, decode=bytes)
    hear: list[Callable[[object], None]] = [lambda _: gone.set(), lambda _: None]
    for store, observer in zip(stores, hear, strict=True):
        second = Second[int, bytes](store=store, codec=codec, namespace="bench", trust_for=HOUR)
        made.append(LastCache[int, bytes, str](Config(global_ttl=HOUR), observer=observer, second=second))
    hears, deletes = made
    took = list[float]()
    for n in range(PUSHES):
        hears.load_or_store(n, lambda _: Success(BODY))
        while not stores[0].hears:
            time.sleep(0.01)
        gone.clear()
        began = time.perf_counter()
        deletes.delete(n)
        assert gone.wait(5)
        took.append((time.perf_counter() - began) * 1e3)
        assert n not in hears
    for cache, store in zip(made, stores, strict=True):
        cache.close()
        store.close()
    return sorted(took)


def main(kind: str = "redis") -> None:
    """Print the table."""
    with server(kind) as running:
        store = RedisStore.from_url(running.url)
        times = times_of(rows_of(store, vars(store)["_client"]), ROUNDS, CALLS)
        took = {name: median(each) for name, each in times.items()}
        for name, each in took.items():
            beside = took["SET" if name in {"put", "delete"} else "GET"]
            print(f"| {name} | {each:.1f} | {each / beside:.2f} |")  # noqa: T201
        waits = pushed(running)
        print(f"| a delete is heard, ms: p50 {waits[len(waits) // 2]:.2f}, p99 {waits[len(waits) * 99 // 100]:.2f} |")  # noqa: T201
        store.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
