"""Many keys in one call: those that have an answer are hits, as they are in a call for one key."""

from collections.abc import Mapping

import pytest
from returns.result import Failure, Success

from lastcache import Config, LastCache, failed
from lastcache.core.states import Outcome
from lastcache.tasks import AsyncLastCache
from tests.kit import given, never, ticks
from tests.shells import LOOPS, Stage, Tasks, drive, each_of, giving, never_many
from tests.steps import steps_of

HITS = 4
"""What a fresh key of a batch may cost, in hits: three by the clock, and steps are not all alike."""


async def test_what_has_an_answer_is_no_miss(stage: Stage) -> None:
    """A fresh, an extended and a remembered key of a batch are no misses; nor is a load begun for any of them."""
    cache = await stage.open("extended", extend=50, negative_ttl=ticks(50))
    await stage.ask("extended", giving(failed("down", use_stale=True)))
    await stage.ask("remembered", giving(failed("gone", use_stale=True)))
    cache.set("fresh", "v")
    before = cache.stats()
    assert {
        "fresh": given("v"),
        "extended": given("old", stale=True, err="down"),
        "remembered": Failure("gone"),
    } == await stage.ask_many(["fresh", "extended", "remembered"], never_many)
    assert before.misses == cache.stats().misses


async def test_only_what_is_loaded_is_a_miss(stage: Stage) -> None:
    """Of a batch the missing and the expired keys are misses, once each, and the fresh ones are not."""
    cache = await stage.open("expired")
    for key in "abc":
        cache.set(key, "v")

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: Success(key) for key in keys}

    await stage.ask_many(["a", "missing", "b", "expired", "c", "missing"], load)
    assert (2, 2) == (cache.stats().misses, cache.stats().loaded)


BOUNDS = pytest.mark.parametrize("max_entries", [None, 1000])


@BOUNDS
def test_a_fresh_key_of_a_batch_costs_little_more_than_a_hit(max_entries: int | None) -> None:
    """What one more fresh key adds to a call for many is no more than a few hits."""
    cache = LastCache[int, str, str](Config(max_entries=max_entries))
    for key in range(200):
        cache.set(key, "v")

    def cost(count: int) -> int:
        return steps_of(lambda: cache.load_or_store_many(range(count), lambda _keys: {}))

    hit = steps_of(lambda: cache.load_or_store(0, never))
    assert (cost(200) - cost(100)) / 100 < HITS * hit


@pytest.mark.parametrize("stage", each_of(LOOPS), indirect=True)
@BOUNDS
async def test_a_fresh_key_of_a_batch_of_tasks_costs_little_more_than_a_hit(
    stage: Tasks, max_entries: int | None
) -> None:
    """What one more fresh key adds to an awaited call for many is no more than a few hits."""
    cache = AsyncLastCache[int, str, str](Config(max_entries=max_entries))
    for key in range(200):
        cache.set(key, "v")

    async def load(_keys: tuple[int, ...]) -> Mapping[int, Outcome[str, str]]:
        return {}

    async def load_one(_key: int) -> Outcome[str, str]:
        raise AssertionError

    def cost(count: int) -> int:
        return steps_of(lambda: drive(cache.load_or_store_many(range(count), load)))

    hit = steps_of(lambda: drive(cache.load_or_store(0, load_one)))
    assert (cost(200) - cost(100)) / 100 < HITS * hit
