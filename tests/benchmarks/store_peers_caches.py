"""The caches of ``store_peers``, each beside one Redis, in the way that its own documentation recommends for that.

They are imported where they are opened, each in a process of its own.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from returns.pipeline import is_successful
from returns.result import Result, Success

from lastcache import Config, LastCache, LoadFailure, failed
from lastcache.second import Second
from lastcache.second.codecs import bytes_codec
from tests.benchmarks.peers import refresh_in_a_thread
from tests.benchmarks.store_peers_origin import Origin, OriginError

T = TypeVar("T")

HOUR: Final = timedelta(hours=1)
_THREADS: Final = 32
"""More than the calls that hang at once in one process."""


class Given(NamedTuple):
    """What a cache gave; ``is_stale`` is None where it does not say."""

    value: str
    is_stale: bool | None = None


class Setup(NamedTuple):
    """What a cache is opened with."""

    url: str
    origin: Origin
    ttl: timedelta


class Reader(NamedTuple):
    """Begins calls of a cache, each apart from who waits for it, so that a call that hangs holds up nobody."""

    read: Callable[[str], Future[Given]]
    delete: Callable[[str], Future[object]]


class Peer(NamedTuple):
    """A cache: how it is opened, whether it keeps copies in its process, and what a reader must know of it."""

    open: Callable[[Setup], Reader]
    has_copies: bool
    note: str


def _in_threads(read: Callable[[str], Given], delete: Callable[[str], object]) -> Reader:
    pool = ThreadPoolExecutor(_THREADS)
    return Reader(lambda key: pool.submit(read, key), lambda key: pool.submit(delete, key))


class _Loop:
    """An event loop that goes on beside the calls, as that of a server does."""

    def __init__(self) -> None:
        self._loop: Final = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)


def lastcache(setup: Setup, *, push: bool = False) -> Reader:
    """``LastCache.load_or_store`` with ``RedisStore``, and its defaults."""
    from lastcache.second.redis import RedisStore

    second = Second[str, str](
        store=RedisStore.from_url(setup.url, push=push),
        codec=bytes_codec("text-1", encode=str.encode, decode=bytes.decode),
        namespace="peers",
    )
    cache = LastCache[str, str, str](Config.resilient(setup.ttl), second=second)

    def load(key: str) -> Result[str, LoadFailure[str]]:
        try:
            return Success(setup.origin.load(key))
        except OriginError as err:
            return failed(str(err), use_stale=True)

    def read(key: str) -> Given:
        answer = cache.load_or_store(key, load)
        if not is_successful(answer):
            raise OriginError(answer.failure())
        cached = answer.unwrap()
        return Given(cached.value, cached.stale)

    return _in_threads(read, cache.delete)


def dogpile(setup: Setup) -> Reader:
    """``CacheRegion.get_or_create`` with the backend, lock and runner of the documentation's examples."""
    from dogpile.cache import make_region

    address = urlsplit(setup.url)
    region = make_region(async_creation_runner=refresh_in_a_thread).configure(
        "dogpile.cache.redis",
        expiration_time=setup.ttl,
        arguments={
            "host": address.hostname,
            "port": address.port,
            "db": 0,
            "redis_expiration_time": int(HOUR.total_seconds()),
            "distributed_lock": True,
            "thread_local_lock": False,
        },
    )

    def read(key: str) -> Given:
        return Given(region.get_or_create(key, partial(setup.origin.load, key)))

    return _in_threads(read, region.delete)


def cashews_locked(setup: Setup) -> Reader:
    """``Cache`` as a decorator with ``lock=True``, and ``Cache.failover`` around it, as in its README."""
    from cashews import Cache

    cache = Cache()
    cache.setup(setup.url, client_side=True, protocol=2)

    @cache.failover(ttl=HOUR, key="item:{key}")
    @cache(ttl=setup.ttl, key="item:{key}", lock=True)
    async def load(key: str) -> str:
        return await setup.origin.load_in_task(key)

    return _cashews(cache, load, "item:{}")


def cashews_soft(setup: Setup, *, protocol: int = 2) -> Reader:
    """``Cache.soft``, which asks the origin after ``soft_ttl``, and covers its failures until ``ttl``."""
    from cashews import Cache

    cache = Cache()
    cache.setup(setup.url, client_side=True, protocol=protocol)

    @cache.soft(ttl=HOUR, soft_ttl=setup.ttl, key="item:{key}")
    async def load(key: str) -> str:
        return await setup.origin.load_in_task(key)

    return _cashews(cache, load, "soft:item:{}")


def _cashews(cache: Any, load: Callable[[str], Coroutine[Any, Any, str]], name: str) -> Reader:
    loop = _Loop()

    async def read(key: str) -> Given:
        return Given(await load(key))

    async def delete(key: str) -> object:
        deleted: object = await cache.delete(name.format(key))
        return deleted

    return Reader(lambda key: loop.begin(read(key)), lambda key: loop.begin(delete(key)))


def aiocache(setup: Setup) -> Reader:
    """``cached_stampede``, which has the lock, with its defaults."""
    from aiocache import Cache, cached_stampede

    loop, address = _Loop(), urlsplit(setup.url)

    async def opened() -> Any:
        ttl = int(setup.ttl.total_seconds())
        here = {"endpoint": address.hostname, "port": address.port}
        return cached_stampede(ttl=ttl, key_builder=lambda _, key: key, cache=Cache.REDIS, **here)(
            setup.origin.load_in_task
        )

    load = loop.begin(opened()).result()

    async def read(key: str) -> Given:
        return Given(await load(key))

    return Reader(lambda key: loop.begin(read(key)), lambda key: loop.begin(load.cache.delete(key)))


PEERS: Final[dict[str, Peer]] = {
    "lastcache": Peer(
        lastcache,
        has_copies=True,
        note="`LastCache(Config.resilient(ttl), second=Second(store=RedisStore.from_url(url)))`, all else as by "
        "default: `trust_for` 1 s, `lease_for` 5 s, a timeout of 100 ms.",
    ),
    "lastcache, push": Peer(
        partial(lastcache, push=True),
        has_copies=True,
        note="the same with `RedisStore.from_url(url, push=True)`.",
    ),
    "dogpile.cache": Peer(
        dogpile,
        has_copies=False,
        note="`dogpile.cache.redis` as in its docstring: `distributed_lock=True`, `thread_local_lock=False`, "
        "`redis_expiration_time` of an hour; and the `async_creation_runner` of its documentation (a thread).",
    ),
    "cashews, lock and failover": Peer(
        cashews_locked,
        has_copies=True,
        note="`cache.setup(url, client_side=True, protocol=2)`, `@cache.failover` for an hour around "
        "`@cache(ttl=ttl, lock=True)`. Without `protocol=2` redis-py 8 speaks RESP3, and no change is heard.",
    ),
    "cashews, soft": Peer(
        cashews_soft,
        has_copies=True,
        note="the same setup, `@cache.soft(ttl=an_hour, soft_ttl=ttl)`, which has no lock.",
    ),
    "aiocache": Peer(
        aiocache,
        has_copies=False,
        note="`cached_stampede(ttl=ttl, cache=Cache.REDIS)`: its RedLock with the `lease` of 2 s.",
    ),
}
"""Those of the table."""

OTHERS: Final[dict[str, Peer]] = {
    "cashews, RESP3": Peer(
        partial(cashews_soft, protocol=3),
        has_copies=True,
        note="as `cashews, soft`, with `protocol=3`, the default of redis-py 8.",
    ),
}
"""Those that are measured only if they are named."""

KNOWN: Final = PEERS | OTHERS
