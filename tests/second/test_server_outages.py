"""A store in a real server that stops, dies, drops, cuts, refuses and runs full: what its caches answer then."""

import socket
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import Any, Final, TypeAlias, final

import pytest
import redis
from returns.result import Failure, Result, Success

from lastcache import CachedValue, Config, LastCache, LoadFailure
from lastcache.events import Event, StoreAway, StoreBack, StoreSkipped
from lastcache.second import Second
from lastcache.second.codecs import JsonValue, json_codec
from lastcache.second.protocol import Absent, Cleared, Gone, Held, Kept, Lease, StoreFailure, Trouble, Want
from lastcache.second.redis import RedisStore
from lastcache.second.redis._wire import record_key
from tests.kit import until
from tests.second.proxy import Proxy, proxy
from tests.second.servers import Server, free_port, server
from tests.second.stages import ONE, SPACE, WORD, ask, expire, failure_in, fill, forget, put

pytestmark = pytest.mark.slow

TIMEOUT: Final = timedelta(milliseconds=100)
MARGIN: Final = 0.4
"""The seconds by which a call may be late: two cores are shared with whatever else runs."""

Answer: TypeAlias = Result[CachedValue[JsonValue, str], str]


@pytest.fixture
def way(running: Server) -> Iterator[Proxy]:
    with proxy(running.port) as made:
        yield made


@contextmanager
def stored(url: str, timeout: timedelta = TIMEOUT) -> Generator[RedisStore, None, None]:
    store = RedisStore.from_url(url, timeout=timeout)
    try:
        yield store
    finally:
        store.close()


def trouble_in(result: Result[Any, StoreFailure]) -> Trouble:
    return failure_in(result).trouble


def begin(store: RedisStore) -> None:
    """Give the namespace its generation, and the record a body."""
    assert store.clear(SPACE, WORD) == Success(None)
    assert isinstance(store.tell([put()]).unwrap()[0], Kept)


def body_in(store: RedisStore) -> bytes | None:
    told = store.ask([ask()]).unwrap()[0]
    return told.body if isinstance(told, Held) else None


@final
class Loading:
    """A cache beside a store, what it told, and how long its calls took; its origin never fails."""

    def __init__(self, url: str, **options: Any) -> None:
        self.store = RedisStore.from_url(url, timeout=TIMEOUT)
        self.events: list[Event[str, str]] = []
        self.loads = count()
        self.cache: LastCache[str, JsonValue, str] = LastCache(
            Config(global_ttl=timedelta(seconds=options.pop("ttl", 60))),
            observer=self.events.append,
            second=Second(store=self.store, codec=json_codec("text-1"), namespace="words", **options),
        )

    def origin(self, key: str) -> Result[JsonValue, LoadFailure[str]]:
        next(self.loads)
        return Success(key.upper())

    def call(self, key: str) -> float:
        """Ask for a key, and give how long that took."""
        began_at = time.monotonic()
        assert self.cache.load_or_store(key, self.origin).unwrap().value == key.upper()
        return time.monotonic() - began_at

    def count(self, kind: type[object]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    def end(self) -> None:
        self.cache.close()
        self.store.close()


@pytest.fixture
def opened() -> Iterator[Callable[..., Loading]]:
    """Open caches, which are closed with the test."""
    with ExitStack() as stack:

        def new(url: str, **options: Any) -> Loading:
            made = Loading(url, **options)
            stack.callback(made.end)
            return made

        yield new


Opened: TypeAlias = Callable[..., Loading]


@final
class Under:
    """Threads that ask a cache without a pause, each for keys of its own and for some that all have."""

    def __init__(self, loading: Loading, threads: int = 4) -> None:
        self.loading = loading
        self.took: list[list[float]] = [[] for _ in range(threads)]
        self.raised: list[BaseException] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(n,), daemon=True) for n in range(threads)]

    def _run(self, number: int) -> None:
        try:
            for n in count():
                self.took[number].append(self.loading.call(f"shared {n % 50}"))
                self.took[number].append(self.loading.call(f"own {number} {n % 500}"))
                if n % 20 == 0:
                    self.loading.cache.delete(f"own {number} {n % 500}")
                if self._over.is_set():
                    return
        except BaseException as err:
            self.raised.append(err)

    def __enter__(self) -> "Under":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(30)
            assert not thread.is_alive()
        assert self.raised == []

    def go_through(self, strike: Callable[[], None], mend: Callable[[], None]) -> None:
        """Strike the store, and mend it once every thread has gone on for long without it."""
        until(lambda: min(map(len, self.took)) > 200)
        strike()
        until(lambda: self.loading.count(StoreAway) == 1)
        before = [len(mine) for mine in self.took]
        until(lambda: all(len(mine) > n + 500 for mine, n in zip(self.took, before, strict=True)))
        mend()
        until(lambda: self.loading.count(StoreBack) == 1)

    def waited(self, since: float = TIMEOUT.total_seconds() * 0.9) -> int:
        """Count the calls that took as long as a timeout, or longer."""
        return sum(took >= since for mine in self.took for took in mine)


def test_a_server_that_stands_still(running: Server, opened: Opened) -> None:
    """A stopped server keeps each thread waiting once, for the timeout at most; it is told once, and mends itself."""
    loading = opened(running.url, trust_for=timedelta(milliseconds=20))
    with Under(loading) as under:
        under.go_through(running.suspend, running.go_on)
        asked = loading.store.ask([ask()._replace(generation=None)])
        assert isinstance(asked.unwrap()[0], Cleared)
    assert loading.count(StoreAway) == 1
    # A call of two messages may wait twice: for its question, and for what was owed before.
    assert under.waited() <= 2 * len(under.took)
    longest = max(max(mine) for mine in under.took)
    print(f"waited {under.waited()}, longest {longest:.3f}")  # noqa: T201
    assert longest < 2 * TIMEOUT.total_seconds() + MARGIN


def test_a_server_that_is_killed(running: Server, opened: Opened) -> None:
    """A killed server is told once, raises nothing and keeps nobody waiting; started anew and empty, it is refilled."""
    loading = opened(running.url, trust_for=timedelta(milliseconds=20))
    with Under(loading) as under:
        under.go_through(running.kill, running.start)
    assert loading.count(StoreAway) == 1
    other = opened(running.url)
    loading.call("after")
    assert other.call("after") < 1
    assert next(other.loads) == 0


def test_a_server_that_is_not_there_at_the_start(opened: Opened) -> None:
    """Without its server a cache begins as without a second level, and joins it when it comes."""
    with server("redis") as running:
        running.kill()
        loading = opened(running.url)
        assert loading.call("k") < MARGIN
        assert loading.count(StoreAway) == 1
        running.start()
        until(lambda: loading.count(StoreBack) == 1)
        loading.call("later")
        other = opened(running.url)
        other.call("later")
        assert next(other.loads) == 0


def test_a_server_that_was_emptied(running: Server, opened: Opened) -> None:
    """A server that has lost everything takes nothing from a process: what is here stays, and loads refill it."""
    loading = opened(running.url, trust_for=timedelta(milliseconds=1))
    for n in range(20):
        loading.call(f"k{n}")
    running.command("FLUSHALL")
    time.sleep(0.01)
    for n in range(20):
        loading.call(f"k{n}")
    assert next(loading.loads) == 20
    loading.cache.expire("k0")
    loading.call("k0")
    other = opened(running.url)
    other.call("k0")
    assert next(other.loads) == 0


def test_a_host_that_drops_packets(running: Server, way: Proxy) -> None:
    """Where nothing comes back, on a connection that stands or on a new one, the timeout bounds the wait."""
    with stored(way.url) as store:
        begin(store)
        way.drop()
        began_at = time.monotonic()
        assert trouble_in(store.ask([ask()])) is Trouble.TIMEOUT
        assert trouble_in(store.ask([ask()])) is Trouble.TIMEOUT
        assert time.monotonic() - began_at < 2 * TIMEOUT.total_seconds() + MARGIN
        way.heal()
        assert body_in(store) == b"set"


def test_a_full_backlog() -> None:
    """Where no connection is accepted any more, the timeout bounds the wait for one."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as stack:
        address = listener.getsockname()
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)  # noqa: FBT003  # its only argument
            waiting.connect_ex(address)
        with stored(f"redis://127.0.0.1:{address[1]}") as store:
            began_at = time.monotonic()
            assert trouble_in(store.ask([ask()])) is Trouble.TIMEOUT
            assert time.monotonic() - began_at < TIMEOUT.total_seconds() + MARGIN


@pytest.mark.parametrize(
    "url", [f"redis://127.0.0.1:{free_port()}", "redis://no-such-host.invalid:6379", "unix:///no/such/socket"]
)
def test_nobody_is_there(url: str) -> None:
    """A port where nobody listens, a name that nobody knows, a socket that is not there: the store is unreachable."""
    with stored(url) as store:
        assert trouble_in(store.ask([ask()])) is Trouble.UNREACHABLE
        assert trouble_in(store.tell([put()])) is Trouble.UNREACHABLE
        assert trouble_in(store.clear(SPACE, WORD)) is Trouble.UNREACHABLE
        assert trouble_in(store.probe(SPACE)) is Trouble.UNREACHABLE


def test_a_slow_way(running: Server, way: Proxy, opened: Opened) -> None:
    """Replies within the timeout count; later ones do not, and then the store is away, with no more flapping than
    the probes that find it there.
    """
    way.delay = 0.03
    loading = opened(way.url)
    loading.call("slow")
    assert loading.count(StoreAway) == 0
    way.delay = 0.25
    until(lambda: loading.call(f"k{next(loading.loads)}") >= 0 and loading.count(StoreAway) == 1)
    ends_at, answers = time.monotonic() + 1, 0
    while time.monotonic() < ends_at:
        loading.call(f"k{answers}")
        answers += 1
    assert answers > 100
    assert loading.count(StoreAway) == 1
    way.delay = 0.0
    until(lambda: loading.count(StoreBack) == 1)


def test_a_reply_that_is_cut_anywhere(running: Server, way: Proxy) -> None:
    """A reply cut after any number of bytes is a failure; the next call, and each one after, has its own answer."""
    with stored(way.url, timedelta(seconds=2)) as store, stored(running.url) as other:
        begin(other)
        other.tell([put(b"two", name=b"users:2")])
        assert body_in(store) == b"set"
        cut = 0
        for size in range(200):
            way.cut_after(size)
            cut += isinstance(store.ask([ask()]), Failure)
            way.heal()
            # The connection that was cut may be met once more.
            for name, body in ((ONE, b"set"), (b"users:2", b"two")):
                answers = [store.ask([ask(name=name)]) for _ in range(3)]
                told = [each.unwrap()[0] for each in answers if isinstance(each, Success)]
                assert told
                assert {each.body for each in told if isinstance(each, Held)} == {body}
        assert cut > 100


def test_connections_that_are_killed_between_steps(running: Server) -> None:
    """A connection that the server closes between two messages is one failure at most, and never a wrong answer."""
    with stored(running.url) as store:
        begin(store)
        for _ in range(30):
            running.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            first = store.ask([ask()])
            assert isinstance(first, Success) or failure_in(first).trouble is Trouble.UNREACHABLE
            assert body_in(store) == b"set"


def test_no_connection_to_be_had() -> None:
    """Where the server or the pool has no connection to give, that is a failure at once, and no queue."""
    with server("redis", "--maxclients", "3") as running, ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(("127.0.0.1", running.port)))
        with stored(running.url) as store:
            began_at = time.monotonic()
            assert trouble_in(store.ask([ask()])) in {Trouble.REFUSED, Trouble.UNREACHABLE}
            assert time.monotonic() - began_at < MARGIN
    with server("redis") as running, stored(f"{running.url}?max_connections=1") as store:
        begin(store)
        pool: Any = vars(store)["_client"].connection_pool
        lent = pool.get_connection()
        assert trouble_in(store.ask([ask()])) is Trouble.REFUSED
        pool.release(lent)
        assert body_in(store) == b"set"


def refuse_reads(running: Server) -> None:
    running.command("CONFIG", "SET", "replica-serve-stale-data", "no")
    running.command("REPLICAOF", "127.0.0.1", "1")


def refuse_writes(running: Server) -> None:
    running.command("REPLICAOF", "127.0.0.1", "1")


def ask_for_a_password(running: Server) -> None:
    running.command("CONFIG", "SET", "requirepass", "secret")


def permit_nothing(running: Server) -> None:
    running.command("ACL", "SETUSER", "default", "-evalsha", "-eval", "-unlink")


def be_busy(running: Server) -> None:
    running.command("CONFIG", "SET", "busy-reply-threshold", "1")
    client: Any = redis.Redis(port=running.port, socket_timeout=20, protocol=2)

    def spin() -> None:
        with suppress(redis.RedisError):
            client.execute_command("EVAL", "while true do end", 0)

    threading.Thread(target=spin, daemon=True).start()
    time.sleep(0.2)


@pytest.mark.parametrize("refuse", [refuse_reads, refuse_writes, ask_for_a_password, permit_nothing, be_busy])
def test_a_server_that_refuses(running: Server, refuse: Callable[[Server], None]) -> None:
    """A server that refuses what it is told is away for that reason, and its probe says the same."""
    with stored(running.url) as store:
        begin(store)
        refuse(running)
        vars(store)["_client"].connection_pool.disconnect()
        assert trouble_in(store.tell([put()])) is Trouble.REFUSED
        assert trouble_in(store.probe(SPACE)) is Trouble.REFUSED
        if refuse is not refuse_writes:
            assert trouble_in(store.ask([ask()])) is Trouble.REFUSED


@contextmanager
def full(running: Server) -> Generator[None, None, None]:
    """Let the server have no room for more, and evict nothing."""
    running.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    running.command("CONFIG", "SET", "maxmemory", "1")
    yield
    running.command("CONFIG", "SET", "maxmemory", "0")


def test_a_full_server(running: Server) -> None:
    """A full server gives what is fresh, takes no body, and still deletes and ends what it has."""
    with stored(running.url, timedelta(seconds=2)) as store:
        begin(store)
        store.tell([put(name=b"users:2"), put(name=b"users:3")])
        lease = store.ask([ask(Want.LEASE, name=b"users:4")]).unwrap()[0]
        assert isinstance(lease, Absent)
        assert isinstance(lease.grant, Lease)
        with full(running):
            assert body_in(store) == b"set"
            assert trouble_in(store.tell([fill(lease.grant, name=b"users:4")])) is Trouble.FULL
            assert trouble_in(store.tell([put(b"later")])) is Trouble.FULL
            assert trouble_in(store.ask([ask(Want.LEASE, name=b"users:5")])) is Trouble.FULL
            assert store.probe(SPACE) == Success(None)
            store.tell([forget()])
            assert isinstance(store.ask([ask()]).unwrap()[0], Gone | Absent)
            store.tell([expire(name=b"users:2")])
            told = store.ask([ask(name=b"users:2")]).unwrap()[0]
            assert isinstance(told, Held)
            assert told.fresh_for < timedelta(0)
            assert trouble_in(store.tell([forget(name=b"never met"), forget(name=b"users:3")])) is Trouble.FULL
            assert isinstance(store.ask([ask(name=b"users:3")]).unwrap()[0], Gone | Absent)


def test_a_cache_beside_a_full_server(running: Server, opened: Opened) -> None:
    """Beside a full server a cache serves and loads as ever, tells what is not shared, and is not away."""
    loading, other = opened(running.url), opened(running.url, trust_for=timedelta(milliseconds=1))
    loading.call("known")
    other.call("known")
    with full(running):
        loading.call("new")
        loading.cache.set("set", "SET")
        loading.cache.delete("known")
        assert loading.count(StoreSkipped) >= 1
        assert loading.count(StoreAway) == 0
        until(lambda: other.cache.if_cached("known").value_or(None) is None or next(other.loads) > 5)
    assert loading.cache.settled(timedelta(seconds=10))
    assert other.call("set") < 1


def test_scripts_that_are_forgotten(running: Server) -> None:
    """A server that forgets its scripts is told them anew within the same call."""
    with stored(running.url) as store:
        begin(store)
        running.command("SCRIPT", "FLUSH")
        assert body_in(store) == b"set"
        running.command("SCRIPT", "FLUSH")
        assert isinstance(store.tell([put()]).unwrap()[0], Kept)


def test_a_failover_that_loses_a_delete(running: Server) -> None:
    """What a failover loses is lost: a value whose delete it did not know comes back, and no longer than its time."""
    with server(running.kind) as replica, stored(running.url) as store, stored(replica.url) as after:
        begin(store)
        replica.command("REPLICAOF", "127.0.0.1", str(running.port))
        until(lambda: replica.command("EXISTS", record_key(SPACE, WORD, ONE)) == 1)
        replica.command("REPLICAOF", "NO", "ONE")
        store.tell([forget()])
        running.kill()
        assert body_in(after) == b"set"
        after.tell([forget()])
        assert isinstance(after.ask([ask()]).unwrap()[0], Gone)


def test_an_eviction_of_a_leased_record(running: Server) -> None:
    """A record that the server evicts while it is leased refuses the fill; whoever asks next may load."""
    with stored(running.url, timedelta(seconds=2)) as store:
        begin(store)
        told = store.ask([ask(Want.LEASE, name=b"users:2")]).unwrap()[0]
        assert isinstance(told, Absent)
        assert isinstance(told.grant, Lease)
        running.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        running.command("CONFIG", "SET", "maxmemory", "2mb")
        for n in count():
            running.command("SET", f"foreign {n}", b"x" * 50_000)
            if not running.command("EXISTS", record_key(SPACE, WORD, b"users:2")):
                break
        running.command("CONFIG", "SET", "maxmemory", "0")
        assert not isinstance(store.tell([fill(told.grant, name=b"users:2")]).unwrap()[0], Kept)
        again = store.ask([ask(Want.LEASE, name=b"users:2")]).unwrap()[0]
        while isinstance(again, Cleared):
            again = store.ask([ask(Want.LEASE, name=b"users:2", generation=again.generation)]).unwrap()[0]
        assert isinstance(again, Absent)
        assert isinstance(again.grant, Lease)
