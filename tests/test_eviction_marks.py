"""What is asked for stays in a bounded cache, whichever way the question takes."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeAlias

import pytest
from returns.result import Success

from lastcache import failed
from lastcache.core.states import Outcome
from tests.kit import ticks
from tests.shells import Stage, giving, never, never_many

Read: TypeAlias = Callable[[Stage], Awaitable[object]]


async def left_after_one_more(stage: Stage) -> list[str]:
    """Store a third key where there is room for two, and give those that are left."""
    stage.cache.set("c", "v")
    return [entry.key for entry in stage.cache.entries()]


async def fresh_of_a_batch(stage: Stage) -> object:
    return await stage.ask_many(["a"], never_many)


async def fresh_by_revalidation(stage: Stage) -> object:
    return await stage.revalidate("a", never)


async def fresh(stage: Stage) -> object:
    return await stage.ask("a", never)


@pytest.mark.parametrize(
    ("read", "count_hits"),
    [
        (fresh, False),
        (fresh, True),
        (fresh_by_revalidation, False),
        (fresh_by_revalidation, True),
        (fresh_of_a_batch, False),
        (fresh_of_a_batch, True),
    ],
)
async def test_a_hit_keeps_its_key(stage: Stage, *, read: Read, count_hits: bool) -> None:
    """A key that was hit, by either strategy or in a batch, and counted or not, outlives one that was not asked for."""
    cache = await stage.open(max_entries=2, count_hits=count_hits)
    for key in "ab":
        cache.set(key, "v")
    await read(stage)
    assert ["a", "c"] == await left_after_one_more(stage)


COUNTED: Final = pytest.mark.parametrize("count_hits", [False, True], ids=["uncounted", "counted"])


@COUNTED
async def test_a_stale_read_keeps_its_key(stage: Stage, *, count_hits: bool) -> None:
    """A key whose stale value was given ahead of its load outlives one that was not asked for."""
    await stage.open("a", "b", max_entries=2, count_hits=count_hits)
    gated = stage.gated(Success("new"))
    refresh = await stage.behind("a", gated)
    left = await left_after_one_more(stage)
    gated.let_go()
    await stage.ended(refresh)
    assert ["a", "c"] == left


async def test_a_soft_wait_keeps_its_key(stage: Stage) -> None:
    """A key whose stale value was given because its load was slow outlives one that was not asked for."""
    await stage.open("a", "b", max_entries=2, soft_timeout=timedelta(0))
    gated = stage.gated(Success("new"))
    assert (await stage.ask("a", gated)).unwrap().stale
    left = await left_after_one_more(stage)
    gated.let_go()
    await stage.until(lambda: stage.cache.stats().loaded == 1)
    assert ["a", "c"] == left


async def test_a_covered_failure_keeps_its_key(stage: Stage) -> None:
    """A key whose stale value was given in place of a failure outlives one that was not asked for."""
    await stage.open("a", "b", max_entries=2, extend=50)
    assert (await stage.ask("a", giving(failed("down", use_stale=True)))).unwrap().stale
    assert ["a", "c"] == await left_after_one_more(stage)


async def early(stage: Stage, load: Any) -> object:
    return await stage.ask("a", load)


async def early_by_revalidation(stage: Stage, load: Any) -> object:
    return await stage.revalidate("a", load)


async def early_of_a_batch(stage: Stage, load: Any) -> object:
    async def load_many(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: await load(key) for key in keys}

    return await stage.ask_many(["a"], load_many)


@COUNTED
@pytest.mark.parametrize("read", [early, early_by_revalidation, early_of_a_batch])
async def test_a_read_that_finds_an_early_load_due_keeps_its_key(
    stage: Stage, *, read: Callable[[Stage, Any], Awaitable[object]], count_hits: bool
) -> None:
    """A key whose fresh value was given with a load queued behind it outlives one that was not asked for."""
    cache = await stage.open(max_entries=2, refresh_after=ticks(50), count_hits=count_hits)
    for key in "ab":
        cache.set(key, "v")
    stage.clock.advance(ticks(51))
    gated = stage.gated(Success("new"))
    await read(stage, gated)
    left = await left_after_one_more(stage)
    gated.let_go()
    await stage.until(lambda: cache.stats().loaded == 1)
    assert ["a", "c"] == left
