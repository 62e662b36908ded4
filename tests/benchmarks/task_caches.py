"""The caches for tasks, beside a yardstick: no cache of coroutines costs less than to await one.

As the peers for threads, they are imported where they are opened.
"""

import time
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final

from lastcache import Config, LastCache
from tests.benchmarks.caches import FLOOR, Case, Opened, Reader, Setup, TaskCase


@asynccontextmanager
async def floor(setup: Setup) -> Opened:
    """The floor as an async function."""
    entries: dict[int, tuple[int, int]] = {}
    get, clock, load, ttl = entries.get, time.monotonic_ns, setup.loads.task, int(setup.ttl * 1e9)

    async def read(key: int) -> int:
        value, until = get(key, (0, -1))
        if clock() <= until:
            return value
        value = await load(key)
        entries[key] = (value, clock() + ttl)
        return value

    yield Reader(read)


async def _empty() -> None:
    pass


@asynccontextmanager
async def yardstick(setup: Setup) -> Opened:
    """An empty coroutine that is awaited, and a hit of the cache for threads."""
    cache = LastCache[int, int, str](Config(global_ttl=timedelta(seconds=setup.ttl)))
    yield Reader(_empty, setup.loads.outcome, beside=cache.load_or_store)


@asynccontextmanager
async def lastcache(setup: Setup) -> Opened:
    """``AsyncLastCache.load_or_store``."""
    from lastcache.tasks import AsyncLastCache

    async with AsyncLastCache[int, int, str](Config(global_ttl=timedelta(seconds=setup.ttl))) as cache:
        yield Reader(cache.load_or_store, setup.loads.task_outcome)


@asynccontextmanager
async def revalidating(setup: Setup) -> Opened:
    """``AsyncLastCache.async_load_or_store``."""
    from lastcache.tasks import AsyncLastCache

    async with AsyncLastCache[int, int, str](Config(global_ttl=timedelta(seconds=setup.ttl))) as cache:
        yield Reader(cache.async_load_or_store, setup.loads.task_outcome)


@asynccontextmanager
async def async_lru(setup: Setup) -> Opened:
    """``alru_cache`` with a TTL."""
    from async_lru import alru_cache

    read = alru_cache(maxsize=setup.room, ttl=setup.ttl)(setup.loads.task)
    yield Reader(read)
    await read.cache_close()


@asynccontextmanager
async def cashews(setup: Setup) -> Opened:
    """``Cache`` as a decorator, with the backend for memory and a key that is named."""
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://", size=setup.room)
    yield Reader(cache(ttl=timedelta(seconds=setup.ttl), key="key:{key}")(setup.loads.task))
    await cache.close()


@asynccontextmanager
async def cashews_early(setup: Setup) -> Opened:
    """``Cache.early``, which loads in the background once ``early_ttl`` is over; here that is the TTL."""
    from cashews import Cache

    cache = Cache()
    cache.setup("mem://", size=setup.room)
    hard, early = timedelta(seconds=10 * setup.ttl), timedelta(seconds=setup.ttl)
    yield Reader(cache.early(ttl=hard, early_ttl=early, key="key:{key}")(setup.loads.task))
    await cache.close()


@asynccontextmanager
async def aiocache(setup: Setup) -> Opened:
    """``cached`` with ``SimpleMemoryCache``."""
    from aiocache import SimpleMemoryCache, cached

    yield Reader(cached(ttl=setup.ttl, cache=SimpleMemoryCache)(setup.loads.task))


@asynccontextmanager
async def theine(setup: Setup) -> Opened:
    """``Memoize`` on an async function, with a function for the key."""
    from theine import Memoize

    load = setup.loads.task

    async def loaded(key: int) -> int:
        return await load(key)

    memoized: Any = Memoize(setup.room, timedelta(seconds=setup.ttl))(loaded)
    memoized.key(lambda key: key)
    yield Reader(memoized)
    memoized._cache.close()  # noqa: SLF001  # there is no other way to end its thread's work


@asynccontextmanager
async def moka_py(setup: Setup) -> Opened:
    """``cached`` on an async function, where whoever comes during a load waits for it."""
    from moka_py import cached

    yield Reader(cached(setup.room, ttl=setup.ttl, wait_concurrent=True)(setup.loads.task))


TASKS: Final[tuple[TaskCase, ...]] = (
    Case(FLOOR, "time", floor),
    Case("yardstick", "lastcache", yardstick),
    Case("lastcache.tasks", "anyio", lastcache),
    Case("lastcache.tasks:async", "anyio", revalidating),
    Case("async-lru", "async_lru", async_lru),
    Case("cashews", "cashews", cashews),
    Case("aiocache", "aiocache", aiocache),
    Case("theine:memoize", "theine", theine),
    Case("moka-py", "moka_py", moka_py),
)
EXPIRING_TASKS: Final[tuple[TaskCase, ...]] = (
    Case("lastcache.tasks:async", "anyio", revalidating),
    Case("cashews:early", "cashews", cashews_early),
)
