"""What tests of the cache for tasks share: the event loops that they run on, and what they wait with."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import anyio
import anyio.lowlevel
from returns.result import Success

from lastcache import Config
from lastcache.core.states import Answer, Outcome
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock
from tests.kit import given, ticks, under_way
from tests.shells import Load, giving

Cache: TypeAlias = AsyncLastCache[str, str, str]


def small_cache(clock: Callable[[], int], *, workers: int = 1) -> Cache:
    return AsyncLastCache(Config(global_ttl=ticks(100), async_semaphore=workers), clock=clock)


def expired(*keys: str, workers: int = 1) -> Cache:
    """A cache in which every key has the expired value ``old``."""
    clock = ManualClock()
    cache = small_cache(clock, workers=workers)
    for key in keys:
        cache.set(key, "old")
    clock.advance(ticks(101))
    return cache


async def behind(cache: Cache, key: str, load: Load) -> Awaitable[Answer[str, str]]:
    """Give the refresh of a stale answer."""
    revalidation = (await cache.async_load_or_store(key, load)).unwrap()
    assert revalidation.refresh is not None
    return revalidation.refresh


async def hang(_key: str) -> Outcome[str, str]:
    """Stand for a callback that never ends of itself."""
    await anyio.sleep_forever()
    raise AssertionError


async def steps(count: int) -> None:
    """Let the event loop go round ``count`` times."""
    for _ in range(count):
        await anyio.lowlevel.cancel_shielded_checkpoint()


def stepping(value: str, count: int = 4) -> Load:
    """Make a callback that takes some steps of the loop."""

    async def load(_key: str) -> Outcome[str, str]:
        for _ in range(count):
            await anyio.lowlevel.checkpoint()
        return Success(value)

    return load


async def check_at_rest(cache: Cache, *keys: str) -> None:
    """Nothing is in flight, and each key answers."""
    await anyio.wait_all_tasks_blocked()
    assert under_way(cache) == []
    for key in keys:
        assert await cache.load_or_store(key, giving(Success("at rest"))) in {given("at rest"), given("v"), given("w")}
