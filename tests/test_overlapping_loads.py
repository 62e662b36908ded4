"""Loads that overlap for as long as tasks of one context live: what the cache keeps of them does not grow."""

import asyncio
import gc
from contextvars import copy_context
from typing import Final

import pytest

from lastcache import failed
from lastcache.core.states import Outcome
from lastcache.tasks import AsyncLastCache

EARLY: Final = 20
LATE: Final = 220


def objects_of_the_cache() -> int:
    """Count the objects alive of whatever class that the cache itself defines."""
    return sum(str(type(kept).__module__).startswith("lastcache.") for kept in gc.get_objects())


async def failing(_key: int) -> Outcome[str, str]:
    for _ in range(3):
        await asyncio.sleep(0)
    return failed("down", use_stale=True)


async def all_failing(keys: tuple[int, ...]) -> dict[int, Outcome[str, str]]:
    return {key: await failing(key) for key in keys}


async def counts_of_overlapping_loads(tasks: int, *, batch: bool) -> list[int]:
    """Count early and late while ``tasks`` of one context load, so that at no moment all have landed."""
    cache, counts = AsyncLastCache[int, str, str](), list[int]()

    async def load(key: int) -> object:
        return await (cache.load_or_store_many([key], all_failing) if batch else cache.load_or_store(key, failing))

    async def work(number: int) -> None:
        for _ in range(number):
            await asyncio.sleep(0)
        for turn in range(LATE + 1):
            await load(number)
            if number == 0 and turn in {EARLY, LATE}:
                counts.append(objects_of_the_cache())

    context = copy_context()
    await asyncio.gather(*(asyncio.create_task(work(number), context=context) for number in range(tasks)))
    return counts


@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("tasks", [2, 3, 4, 8])
def test_what_is_kept_of_overlapping_loads_does_not_grow(tasks: int, *, batch: bool) -> None:
    """Of the loads of tasks that share one context no more is kept after many than after a few."""
    early, late = asyncio.run(counts_of_overlapping_loads(tasks, batch=batch))
    assert late <= early + 4 * tasks
