"""What a reader may demand, and what is given without a load: on each shell."""

from datetime import timedelta
from typing import Any, Final

import pytest
from returns.maybe import Nothing, Some
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import CachedValue, Config, ConfigError, LastCache, failed
from lastcache.core.states import Outcome
from lastcache.events import ServedStale
from lastcache.testing import ManualClock
from tests.kit import given, ticks
from tests.shells import Stage, giving, never

DOWN: Final = giving(failed("down", use_stale=True))
GONE: Final = giving(failed("gone", use_stale=False))
NEW: Final = giving(Success("new"))
COVERED: Final = given("old", stale=True, err="down")
NOT_STALE: Final = timedelta(0)


def demanding(cache: Any, max_stale: timedelta = NOT_STALE) -> Any:
    """Give the view of a reader, of whichever cache."""
    return cache.demanding(max_stale=max_stale)


async def test_a_strict_reader_gets_no_stale_value(stage: Stage) -> None:
    """It gets the failure where others get the value; its load is settled by the policy, for all."""
    cache = await stage.open("k", extend=10)
    strict = demanding(cache)
    assert await stage.ask("k", DOWN, strict) == Failure("down")
    assert await stage.ask("k", never) == COVERED
    assert cache.explain("k").state == "extended"


async def test_a_strict_reader_does_not_undo_the_pause(stage: Stage) -> None:
    """As long as the extension stands it is given the failure behind it, and the source is not asked."""
    cache = await stage.open("k", extend=10)
    assert await stage.ask("k", DOWN) == COVERED
    strict = demanding(cache)
    assert await stage.ask("k", never, strict) == Failure("down")
    assert await stage.revalidate("k", never, strict) == Failure("down")
    stage.clock.advance(ticks(11))
    assert await stage.ask("k", NEW, strict) == given("new")


@pytest.mark.parametrize(("demand", "answer"), [(2, Failure("down")), (3, COVERED), (4, COVERED)])
async def test_a_demand_is_a_bound(stage: Stage, demand: int, answer: object) -> None:
    """A value is given until it has been stale for ``max_stale``, inclusive."""
    cache = await stage.open("k", extend=10)
    stage.clock.advance(ticks(2))
    assert await stage.ask("k", DOWN, demanding(cache, ticks(demand))) == answer


async def test_a_fresh_value_is_given_to_all(stage: Stage) -> None:
    """Nothing is asked for that the strictest reader may have; also where its early load is due."""
    cache = await stage.open(refresh_after=ticks(50))
    cache.set("k", "v")
    assert await stage.ask("k", never, demanding(cache)) == given("v")
    stage.clock.advance(ticks(51))
    assert await stage.ask("k", NEW, demanding(cache)) == given("v")
    await stage.until(lambda: cache.peek("k") == Some(CachedValue("new")))


async def test_a_strict_joiner_gets_the_failure_that_a_tolerant_leader_is_covered_from(stage: Stage) -> None:
    """Leader and joiner share one load; each gets what it takes."""
    cache = await stage.open("k")
    load = stage.gated(failed("down", use_stale=True))
    tolerant = stage.asking("k", load)
    await load.started()
    strict = stage.start(lambda: stage.ask("k", never, demanding(cache)))
    await stage.joined(1)
    load.let_go()
    assert (await tolerant.result(), await strict.result()) == (COVERED, Failure("down"))


async def test_stale_while_revalidate_loads_in_the_foreground_for_a_strict_reader(stage: Stage) -> None:
    """Within the demand a stale value comes at once; past it the load is waited for, and a queued one is taken over."""
    cache = await stage.open("k", "busy")
    load = stage.gated(Success("done"))
    busy = await stage.behind("busy", load)
    await load.started()
    queued = await stage.behind("k", never)
    tolerant = (await stage.revalidate("k", never, demanding(cache, ticks(5)))).unwrap()
    assert (tolerant.cached, tolerant.refresh is None) == (CachedValue("old", stale=True), False)
    given_at_once = (await stage.revalidate("k", NEW, demanding(cache))).unwrap()
    assert (given_at_once.cached, given_at_once.refresh) == (CachedValue("new"), None)
    assert await stage.ended(queued) == given("new")
    load.let_go()
    assert await stage.ended(busy) == given("done")


async def test_a_soft_timeout_is_for_those_who_take_stale_values(stage: Stage) -> None:
    """A strict reader waits for the load, whatever the timeout; a tolerant one is given the old value after it."""
    cache = await stage.open("k", soft_timeout=timedelta(milliseconds=10))
    load = stage.gated(Success("new"))
    tolerant = await stage.ask("k", load, demanding(cache, ticks(100)))
    assert tolerant == given("old", stale=True)
    strict = stage.start(lambda: stage.ask("k", never, demanding(cache)))
    await stage.joined(1)
    await stage.pause()
    load.let_go()
    assert await strict.result() == given("new")


async def test_the_demand_of_a_view_of_a_view_is_the_smaller(stage: Stage) -> None:
    """A view narrows what it is a view of, and never widens it."""
    cache = await stage.open("k", extend=10)
    await stage.ask("k", DOWN)
    assert await stage.ask("k", never, demanding(demanding(cache), ticks(100))) == Failure("down")
    assert await stage.ask("k", never, demanding(demanding(cache, ticks(100)))) == Failure("down")
    assert await stage.ask("k", never, demanding(demanding(cache, ticks(100)), ticks(50))) == COVERED


async def test_a_failure_is_the_same_for_all(stage: Stage) -> None:
    """What is refused or remembered is nobody's stale value, and what a callback raises is raised."""
    cache = await stage.open("k", negative_ttl=ticks(10))
    strict = demanding(cache)
    assert await stage.ask("k", GONE, strict) == Failure("gone")
    assert await stage.ask("k", never, strict) == Failure("gone")

    async def raising(_key: str) -> Outcome[str, str]:
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        await stage.ask("other", raising, strict)


async def test_a_view_has_what_the_cache_has(stage: Stage) -> None:
    """It reads and writes the same entries; it explains its own demand."""
    cache = await stage.open("k", extend=10)
    strict = demanding(cache)
    await stage.ask("k", DOWN)
    assert strict.peek("k") == cache.peek("k")
    assert strict.explain("k").decision != cache.explain("k").decision
    assert strict.explain("k").decision.answer == Failure("down")
    strict.set("k", "set")
    assert (len(strict), "k" in strict, cache.peek("k")) == (1, True, Some(CachedValue("set")))
    strict.delete("k")
    assert (len(cache), strict.stats().entries) == (0, 0)
    assert not hasattr(strict, "close")


async def test_a_stale_value_that_nobody_got_is_not_told_of(stage: Stage) -> None:
    """Events and counts are those of what the reader was given."""
    cache = await stage.open("k", extend=10, count_hits=True)
    strict = demanding(cache)
    await stage.ask("k", DOWN, strict)
    await stage.ask("k", never, strict)
    assert [event for event in stage.events if isinstance(event, ServedStale)] == []
    assert (cache.stats().served_stale, cache.stats().misses, cache.stats().hits) == (0, 1, 1)
    await stage.ask("k", never, demanding(cache, ticks(100)))
    assert cache.stats().served_stale == 1


def test_a_batch_gives_each_key_what_its_reader_takes() -> None:
    """Of a key that is too stale the failure behind it is the answer; the others are as ever."""
    clock = ManualClock()
    cache = LastCache[str, str, str](Config(global_ttl=ticks(10), extend_ttl=ticks(100)), clock=clock)
    cache.set("old", "v")
    clock.advance(ticks(11))
    cache.set("new", "v")
    answers = cache.demanding(max_stale=NOT_STALE).load_or_store_many(
        ["old", "new", "absent"],
        lambda keys: {key: failed("down", use_stale=True) for key in keys},
    )
    assert answers == {"old": Failure("down"), "new": given("v"), "absent": Failure("down")}
    assert cache.peek("old") == Some(CachedValue("v", stale=True, err="down"))


@pytest.mark.parametrize(("wrong", "named"), [(timedelta(-1), "-datetime.timedelta(days=1)"), (5, "5")])
async def test_a_wrong_demand_is_refused(stage: Stage, wrong: Any, named: str) -> None:
    """The error names the argument, the value, and what is right."""
    cache: Any = await stage.open()
    with pytest.raises(ConfigError) as refused:
        cache.demanding(max_stale=wrong)
    assert str(refused.value) == f"max_stale={named}: must be a timedelta of zero or more"
    with pytest.raises(ConfigError) as refused:
        cache.if_cached("k", max_stale=wrong)
    assert str(refused.value) == f"max_stale={named}: must be a timedelta of zero or more, or None"


# --- only if cached


async def test_what_is_cached_is_given_without_a_load(stage: Stage) -> None:
    """Fresh; stale within both bounds; a remembered failure; else nothing. No load begins, then or later."""
    cache = await stage.open("k", stale_while_revalidate=ticks(10), negative_ttl=ticks(5))
    assert cache.if_cached("nobody") == Nothing
    assert cache.if_cached("k") == Some(given("old", stale=True))
    assert cache.if_cached("k", max_stale=ticks(1)) == Some(given("old", stale=True))
    assert cache.if_cached("k", max_stale=NOT_STALE) == Nothing
    stage.clock.advance(ticks(10))
    assert cache.if_cached("k") == Nothing
    assert cache.explain("k").traffic == "none"
    assert await stage.ask("k", GONE) == Failure("gone")
    assert cache.if_cached("k") == Some(Failure("gone"))
    stage.clock.advance(ticks(6))
    assert cache.if_cached("k") == Nothing
    cache.set("k", "fresh")
    assert cache.if_cached("k", max_stale=NOT_STALE) == Some(given("fresh"))


async def test_an_extended_value_is_given_as_a_reader_takes_it(stage: Stage) -> None:
    """As with ``demanding``, the failure is the answer of who takes no stale value."""
    cache = await stage.open("k", extend=10)
    await stage.ask("k", DOWN)
    assert cache.if_cached("k") == Some(COVERED)
    assert cache.if_cached("k", max_stale=NOT_STALE) == Some(Failure("down"))
    assert demanding(cache).if_cached("k", max_stale=ticks(50)) == Some(Failure("down"))


async def test_a_stale_value_that_is_given_is_told_of(stage: Stage) -> None:
    """An answer without a load is an answer."""
    cache = await stage.open("k")
    found = cache.if_cached("k").unwrap()
    assert is_successful(found)
    assert cache.stats().served_stale == 1


async def test_a_key_that_is_asked_for_so_is_not_evicted_first(stage: Stage) -> None:
    """It is a read: an eviction spares the key for a while."""
    cache = await stage.open(max_entries=2)
    cache.set("a", "v")
    cache.set("b", "v")
    cache.if_cached("a")
    cache.set("c", "v")
    assert ("a" in cache, "b" in cache) == (True, False)
