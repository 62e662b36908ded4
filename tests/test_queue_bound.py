"""The queue of background loads: how long it may get, what a job in it costs, and what a worker's place costs."""

import gc
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, Final, cast

import pytest
from returns.result import Success

from lastcache import CachedValue, Config, ConfigError, LastCache, LoadDroppedError
from lastcache.events import RefreshRefused
from lastcache.testing import ManualExecutor
from tests.kit import PATIENCE, given, never, ticks
from tests.shells import LOOPS, Gated, Stage, Tasks, drive, each_of, giving
from tests.shells import never as never_async
from tests.steps import steps_of

# ``max_queued`` is no option yet.
config_of: Final = cast("Callable[..., Config]", Config)

JOBS: Final = 300
COSTLY: Final = 1500
"""The bytes that a job stays below, with its place in the queue and its callback, unless it has a future."""

WORKERS: Final = (4, 512)


async def stuck(stage: Stage, *keys: str, max_queued: int | None, **options: Any) -> tuple[Gated, object]:
    """Open a cache in which each of ``keys`` is expired, and whose one worker is held up by a load of ``stuck``."""
    config = config_of(global_ttl=ticks(100), max_queued=max_queued, **options)
    stage.cache = await stage.made(config, None, stage.events.append)
    for key in ("stuck", *keys):
        stage.cache.set(key, "old")
    stage.clock.advance(ticks(101))
    gated = stage.gated(Success("late"))
    refresh = await stage.behind("stuck", gated)
    await gated.started()
    return gated, refresh


def refused(stage: Stage) -> list[str]:
    return [event.key for event in stage.events if isinstance(event, RefreshRefused)]


async def test_the_oldest_job_makes_room(stage: Stage) -> None:
    """Above ``max_queued`` the oldest queued load is dropped, its ``refresh`` is told, and so is the observer."""
    gated, running = await stuck(stage, *"abcd", max_queued=2)
    refreshes = {key: await stage.behind(key, giving(Success(key))) for key in "abcd"}
    dropped = [await stage.failed(refreshes[key]) for key in "ab"]
    assert [LoadDroppedError] * 2 == [type(error) for error in dropped]
    assert ["a", "b"] == refused(stage)
    gated.let_go()
    assert [given("late"), given("c"), given("d")] == [
        await stage.ended(refresh) for refresh in (running, refreshes["c"], refreshes["d"])
    ]
    assert [CachedValue("old", stale=True)] * 2 == [stage.cache.peek(key).unwrap() for key in "ab"]


async def test_what_made_room_is_queued_again_when_asked_for(stage: Stage) -> None:
    """A key whose queued load was dropped is queued anew by the next stale read, which gets a ``refresh`` that runs."""
    gated, running = await stuck(stage, *"ab", max_queued=1)
    first = await stage.behind("a", never_async)
    pushing = await stage.behind("b", never_async)
    again = await stage.behind("a", giving(Success("again")))
    assert [LoadDroppedError] * 2 == [type(await stage.failed(refresh)) for refresh in (first, pushing)]
    gated.let_go()
    assert [given("late"), given("again")] == [await stage.ended(refresh) for refresh in (running, again)]


async def test_a_hanging_origin_leaves_no_burst(stage: Stage) -> None:
    """However many keys are asked for while the origin hangs, no more than ``max_queued`` loads run when it is back."""
    keys = [str(number) for number in range(50)]
    gated, running = await stuck(stage, *keys, max_queued=3)
    calls = list[str]()

    async def load(key: str) -> Any:
        calls.append(key)
        return Success(key)

    refreshes = [await stage.behind(key, load) for key in keys]
    gated.let_go()
    assert given("late") == await stage.ended(running)
    ended = [await stage.failed(refresh) for refresh in refreshes]
    assert [LoadDroppedError] * 47 + [type(None)] * 3 == [type(error) for error in ended]
    assert keys[-3:] == calls
    assert keys[:-3] == refused(stage)


async def test_who_waits_softly_for_a_dropped_job_is_given_the_stale_value(stage: Stage) -> None:
    """A caller with a soft timeout whose queued load makes room for another does not wait out its time."""
    gated, running = await stuck(stage, *"ab", max_queued=1, soft_timeout=timedelta(seconds=10 * PATIENCE))
    waiter = stage.asking("a", never_async)
    await stage.until(lambda: stage.cache.stats().misses == 2)
    await stage.pause()
    pushing = await stage.behind("b", giving(Success("b")))
    assert given("old", stale=True) == await waiter.result()
    gated.let_go()
    assert [given("late"), given("b")] == [await stage.ended(refresh) for refresh in (running, pushing)]


async def test_a_queue_without_a_bound_drops_nothing(stage: Stage) -> None:
    """With ``max_queued=None``, the default, every queued load runs."""
    assert config_of() == config_of(max_queued=None)
    keys = [str(number) for number in range(50)]
    gated, running = await stuck(stage, *keys, max_queued=None)
    refreshes = [await stage.behind(key, giving(Success("new"))) for key in keys]
    gated.let_go()
    assert given("late") == await stage.ended(running)
    assert [given("new")] * 50 == [await stage.ended(refresh) for refresh in refreshes]
    assert [] == refused(stage)


@pytest.mark.parametrize("wrong", [-1, 1.5, "2", True], ids=repr)
def test_a_bound_that_is_no_count_is_refused(wrong: object) -> None:
    """What is no count is a ``ConfigError`` that names the option and the value."""
    with pytest.raises(ConfigError) as told:
        config_of(max_queued=wrong)
    assert str(told.value).startswith(f"max_queued={wrong!r}: ")


async def bytes_of_a_job(leave: Callable[[str], Awaitable[object]], keys: list[str]) -> float:
    """Measure what each of ``keys`` leaves allocated when a job is left for it."""
    for key in keys[:JOBS]:
        await leave(key)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for key in keys[JOBS:]:
            await leave(key)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / (len(keys) - JOBS)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("left_by", ["a soft wait", "an early load"])
async def test_a_job_that_nobody_holds_is_small(stage: Stage, left_by: str) -> None:
    """The future of a queued load is made when the first asks for it: a soft wait and an early load do not."""
    soft = left_by == "a soft wait"
    keys = [str(number) for number in range(3 * JOBS)]
    load = giving(Success("new"))
    if soft:
        cache = await stage.open("stuck", soft_timeout=timedelta(0))
    else:
        cache = await stage.open("stuck", refresh_after=ticks(50))
    gated = stage.gated(Success("late"))
    running = await stage.behind("stuck", gated)
    await gated.started()
    for key in keys:
        cache.set(key, "old")
    stage.clock.advance(ticks(101 if soft else 51))
    assert given("old", stale=soft) == await stage.ask(keys[0], load)
    size = await bytes_of_a_job(lambda key: stage.ask(key, load), keys)
    cache.close()
    gated.let_go()
    assert given("late") == await stage.ended(running)
    assert size < COSTLY, f"{size:.0f} bytes"


def test_a_stale_read_does_not_look_at_every_worker() -> None:
    """What a stale read costs does not grow with the number of workers that are on their way."""

    def cost(workers: int) -> int:
        executor = ManualExecutor()
        with LastCache[int, str, str](Config(async_semaphore=workers), executor=executor) as cache:
            for key in range(2 * workers):
                cache.set(key, "old")
                cache.expire(key)
            for key in range(2 * workers - 1):
                cache.async_load_or_store(key, never)
            assert len(executor) == workers
            return steps_of(lambda: cache.async_load_or_store(2 * workers - 1, never))

    few, many = map(cost, WORKERS)
    assert many < 2 * few


@pytest.mark.parametrize("stage", each_of(LOOPS), indirect=True)
async def test_a_stale_read_does_not_look_at_every_busy_worker(stage: Tasks) -> None:
    """What a stale read costs does not grow with the number of loads that are busy."""

    async def cost(workers: int) -> int:
        keys = [str(number) for number in range(workers + 2)]
        await stage.open(*keys, workers=workers)
        gated = stage.gated(Success("new"))
        for key in keys[:-1]:
            await stage.behind(key, gated)
        await stage.until(lambda: gated.calls == workers)
        spent = steps_of(lambda: drive(stage.behind(keys[-1], gated)))
        stage.cache.close()
        for _ in range(workers):
            gated.let_go()
        return spent

    few, many = [await cost(workers) for workers in WORKERS]
    assert many < 2 * few
