"""Failures that say more: that the value is gone, and for how long they are remembered; on each shell."""

import copy
import pickle
from datetime import timedelta
from typing import Final

import pytest
from returns.maybe import Nothing, Some
from returns.result import Failure, Success

from lastcache import CachedValue, Config, LastCache, LoadFailure, failed
from lastcache.core.entries import Entries
from lastcache.core.policy import Policy
from lastcache.core.states import NegativelyCached, Outcome
from lastcache.core.transitions import fresh, settle
from lastcache.testing import ManualClock
from tests.kit import given, ticks
from tests.shells import Stage, giving, never

DOWN: Final = giving(failed("down", use_stale=True))
GONE: Final = giving(failed("gone", use_stale=False, forget=True))
NEW: Final = giving(Success("new"))


async def test_a_deleted_value_does_not_come_back(stage: Stage) -> None:
    """After a failure that forgets, the next outage has nothing to give."""
    cache = await stage.open("k", extend=10)
    assert await stage.ask("k", GONE) == Failure("gone")
    assert (cache.peek("k"), "k" in cache, len(cache)) == (Nothing, False, 0)
    assert await stage.ask("k", DOWN) == Failure("down")


async def test_what_is_only_refused_comes_back(stage: Stage) -> None:
    """Without ``forget`` the value is kept, and a later failure that allows it gives it again."""
    await stage.open("k")
    assert await stage.ask("k", giving(failed("gone", use_stale=False))) == Failure("gone")
    assert await stage.ask("k", DOWN) == given("old", stale=True, err="down")


async def test_a_background_load_forgets(stage: Stage) -> None:
    """Stale-while-revalidate gives the value once more; the load behind it finds that it is gone."""
    cache = await stage.open("k")
    revalidation = (await stage.revalidate("k", GONE)).unwrap()
    assert revalidation.cached == CachedValue("old", stale=True)
    assert await stage.ended(revalidation.refresh) == Failure("gone")
    assert cache.peek("k") == Nothing


async def test_an_early_load_forgets_a_fresh_value(stage: Stage) -> None:
    """Gone is gone, also where the value would have been fresh for longer."""
    cache = await stage.open(ttl=10, refresh_after=ticks(5))
    cache.set("k", "old")
    stage.clock.advance(ticks(6))
    assert await stage.ask("k", GONE) == given("old")
    await stage.until(lambda: "k" not in cache)
    assert await stage.ask("k", DOWN) == Failure("down")


async def test_who_joins_hears_that_it_is_gone(stage: Stage) -> None:
    """Everybody who waits for a load that forgets is told its failure."""
    cache = await stage.open("k")
    load = stage.gated(failed("gone", use_stale=False, forget=True))
    leader = stage.asking("k", load)
    await load.started()
    joiner = stage.asking("k", never)
    await stage.joined(1)
    load.let_go()
    assert (await leader.result(), await joiner.result()) == (Failure("gone"), Failure("gone"))
    assert cache.peek("k") == Nothing


async def test_a_load_that_was_outrun_forgets_nothing(stage: Stage) -> None:
    """What was set while the load ran is newer than what the load found."""
    cache = await stage.open("k")

    async def set_and_fail(_key: str) -> Outcome[str, str]:
        cache.set("k", "newer")
        return failed("gone", use_stale=False, forget=True)

    assert await stage.ask("k", set_and_fail) == given("newer")
    assert cache.peek("k") == Some(CachedValue("newer"))


@pytest.mark.parametrize("stored", [True, False])
async def test_a_404_is_remembered_and_an_outage_is_not(stage: Stage, *, stored: bool) -> None:
    """``remember_for`` wins over ``negative_ttl``, longer or shorter, and ends inclusively."""
    await stage.open(*(["k"] if stored else []), negative_ttl=ticks(3))
    gone = giving(failed("gone", use_stale=False, remember_for=ticks(10)))
    assert await stage.ask("k", gone) == Failure("gone")
    stage.clock.advance(ticks(10))
    assert await stage.ask("k", never) == Failure("gone")
    stage.clock.advance(ticks(1))
    down = giving(failed("down", use_stale=False, remember_for=timedelta(0)))
    assert await stage.ask("k", down) == Failure("down")
    assert await stage.ask("k", giving(failed("slow", use_stale=False))) == Failure("slow")
    assert await stage.ask("k", never) == Failure("slow")


async def test_a_covered_failure_is_not_remembered(stage: Stage) -> None:
    """Where stale data covers the failure, ``remember_for`` has no effect: an answer stands as long as before."""
    await stage.open("k", extend=2)
    assert await stage.ask("k", giving(failed("down", use_stale=True, remember_for=ticks(10)))) == given(
        "old", stale=True, err="down"
    )
    stage.clock.advance(ticks(3))
    assert await stage.ask("k", NEW) == given("new")


def test_a_remembered_failure_is_swept_also_where_values_are_kept_for_ever() -> None:
    """Failures with a memory of their own leave no entry behind, where neither windows nor ``negative_ttl`` are set."""
    policy = Policy(100)
    entries = Entries[str, str, str](policy)
    for number in range(100):
        _, remembered = settle(policy, None, failed("gone", use_stale=False, remember_for=timedelta(microseconds=1)), 0)
        assert isinstance(remembered, NegativelyCached)
        entries.put(f"gone {number}", remembered, 0)
    assert (len(entries.stored), len(entries)) == (100, 0)
    for number in range(100):
        entries.put(f"kept {number}", fresh(policy, "v", 5000), 5000)
    assert (len(entries.stored), len(entries), len(entries.failures)) == (100, 100, 0)


def test_a_value_after_a_remembered_failure_is_counted() -> None:
    """A key whose failure was remembered, and that has a value again, is one of the values."""
    clock = ManualClock()
    cache = LastCache[str, str, str](clock=clock)
    cache.load_or_store("k", lambda _: failed("gone", use_stale=False, remember_for=timedelta(seconds=1)))
    assert (len(cache), "k" in cache) == (0, False)
    cache.set("k", "v")
    assert (len(cache), "k" in cache, cache.peek("k")) == (1, True, Some(CachedValue("v")))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"err": None}, "err=None: must be an error: None says that there is none"),
        (
            {"use_stale": True, "forget": True},
            "forget=True, use_stale=True: a failure that forgets the value cannot be covered by it",
        ),
        (
            {"remember_for": timedelta(-1)},
            "remember_for=-datetime.timedelta(days=1): must be a timedelta of zero or more, or None",
        ),
    ],
)
def test_a_wrong_failure_is_refused(wrong: dict[str, object], message: str) -> None:
    """The error names the argument, the value, and what is right."""
    arguments: dict[str, object] = {"err": "gone", "use_stale": False, **wrong}
    with pytest.raises(ValueError, match=r".") as refused:
        LoadFailure(**arguments)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the very purpose
    assert str(refused.value) == message


def test_a_memory_that_is_no_duration_is_refused() -> None:
    """Seconds are not a timedelta."""
    with pytest.raises(TypeError, match=r"remember_for=60: must be a timedelta, or None"):
        LoadFailure("gone", use_stale=False, remember_for=60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the very purpose


# --- answers say how old they are


def test_an_answer_says_how_long_it_is_fresh() -> None:
    """From the end of its freshness a caller knows for how long it may be passed on, or how long it has been stale."""
    clock = ManualClock()
    cache = LastCache[str, str, str](Config(global_ttl=timedelta(seconds=60)), clock=clock)
    loaded = cache.load_or_store("k", lambda _: Success("v")).unwrap()
    assert cache.fresh_for(loaded) == timedelta(seconds=60)
    clock.advance(timedelta(seconds=100))
    stale = cache.load_or_store("k", lambda _: failed("down", use_stale=True)).unwrap()
    assert (stale.stale, cache.fresh_for(stale)) == (True, timedelta(seconds=-40))
    assert stale.fresh_until == loaded.fresh_until


def test_a_record_is_the_same_whenever_it_ends() -> None:
    """The end of freshness is no part of equality, hash or text, and does not leave the process."""
    here = CachedValue("v", fresh_until=5)
    assert (here, hash(here), repr(here)) == (CachedValue("v"), hash(CachedValue("v")), repr(CachedValue("v")))
    assert (pickle.loads(pickle.dumps(here)).fresh_until, copy.copy(here)) == (0, here)  # noqa: S301  # our own


def test_what_is_made_of_records_keeps_when_they_end() -> None:
    """``map`` keeps the end of freshness, ``zip`` takes the earlier one."""
    early, late = CachedValue("a", fresh_until=5), CachedValue("b", fresh_until=9)
    assert early.map(str.upper).fresh_until == 5
    assert (early.zip(late).fresh_until, late.zip(early).fresh_until) == (5, 5)
