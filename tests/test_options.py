"""What each option does, on each shell: just before its boundary, at it, and just after it."""

from datetime import timedelta
from time import monotonic
from typing import Any, Final

import pytest
from returns.maybe import Nothing, Some
from returns.result import Failure, Success

from lastcache import CachedValue, ConfigError, failed
from lastcache.core.policy import Policy
from lastcache.core.states import Answer
from lastcache.core.transitions import fresh
from tests.kit import given, ticks, under_way
from tests.shells import Cache, Given, Stage, each_of, giving, never

DOWN: Final = giving(failed("down", use_stale=True))
NEW: Final = giving(Success("new"))
COVERED: Final = given("old", stale=True, err="down")
EXPIRED: Final[Answer[str, str]] = given("old", stale=True)
SHORT: Final = timedelta(milliseconds=20)
LONG: Final = timedelta(seconds=60)


# --- the windows


@pytest.mark.parametrize(("passed", "answer"), [(9, COVERED), (10, COVERED), (11, Failure("down"))])
async def test_a_failure_is_covered_within_its_window(stage: Stage, passed: int, answer: object) -> None:
    """A value covers failures until ``stale_if_error`` past its freshness, inclusive, and none after it."""
    await stage.open("k", stale_if_error=ticks(10))
    stage.clock.advance(ticks(passed - 1))
    assert await stage.ask("k", DOWN) == answer


async def test_an_extension_ends_with_the_window(stage: Stage) -> None:
    """However long the extension, no value is given past ``stale_if_error``."""
    await stage.open("k", extend=50, stale_if_error=ticks(10))
    assert await stage.ask("k", DOWN) == COVERED
    stage.clock.advance(ticks(9))
    assert await stage.ask("k", never) == COVERED
    stage.clock.advance(ticks(1))
    assert await stage.ask("k", DOWN) == Failure("down")


async def test_a_window_of_zero_covers_nothing(stage: Stage) -> None:
    """With ``stale_if_error`` zero every failure is told."""
    await stage.open("k", stale_if_error=timedelta(0))
    assert await stage.ask("k", DOWN) == Failure("down")


@pytest.mark.parametrize(("passed", "at_once"), [(9, True), (10, True), (11, False)])
async def test_a_value_is_given_ahead_of_its_load_within_its_window(
    stage: Stage, passed: int, *, at_once: bool
) -> None:
    """An expired value is given at once until ``stale_while_revalidate``, inclusive; past it the load is waited for."""
    await stage.open("k", stale_while_revalidate=ticks(10))
    stage.clock.advance(ticks(passed - 1))
    answer = (await stage.revalidate("k", NEW)).unwrap()
    assert answer.cached == CachedValue("old" if at_once else "new", stale=at_once)
    assert (answer.refresh is not None) == at_once
    if at_once:
        assert await stage.ended(answer.refresh) == given("new")


async def test_that_window_does_not_bound_extensions(stage: Stage) -> None:
    """An extended answer stands past ``stale_while_revalidate``: ``stale_if_error`` alone bounds it."""
    await stage.open("k", extend=50, stale_while_revalidate=ticks(10))
    assert await stage.ask("k", DOWN) == COVERED
    stage.clock.advance(ticks(50))
    assert await stage.revalidate("k", never) == Success(Given(COVERED.unwrap(), None))


async def test_what_is_dead_is_dropped_when_it_is_met(stage: Stage) -> None:
    """A value past both windows is gone once its key is asked for; a failure then is a first failure."""
    cache = await stage.open("k", stale_if_error=ticks(10), stale_while_revalidate=ticks(5))
    stage.clock.advance(ticks(9))
    assert "k" in cache
    stage.clock.advance(ticks(1))
    assert await stage.ask("k", DOWN) == Failure("down")
    assert (len(cache), cache.peek("k")) == (0, Nothing)


async def test_the_dead_are_swept(stage: Stage) -> None:
    """Keys that are never asked for again are dropped as others are written."""
    cache = await stage.open(stale_if_error=ticks(10), stale_while_revalidate=ticks(10))
    for number in range(3000):
        cache.set(f"k{number}", "v")
        stage.clock.advance(ticks(1))
        assert len(cache) <= 2 * (100 + 10 + 2)


# --- failures that are remembered


async def test_a_first_failure_is_remembered(stage: Stage) -> None:
    """A failure is the answer until ``negative_ttl`` is over, inclusive; nothing of it shows as stored."""
    cache = await stage.open(negative_ttl=ticks(10))
    assert await stage.ask("k", DOWN) == Failure("down")
    stage.clock.advance(ticks(10))
    assert await stage.ask("k", never) == Failure("down")
    assert await stage.revalidate("k", never) == Failure("down")
    assert (len(cache), "k" in cache, list(cache.entries())) == (0, False, [])
    assert (cache.peek("k"), cache.ttl("k")) == (Nothing, Nothing)
    stage.clock.advance(ticks(1))
    assert await stage.ask("k", NEW) == given("new")
    assert (len(cache), "k" in cache) == (1, True)


async def test_a_refusal_is_remembered(stage: Stage) -> None:
    """So is a failure that an expired value does not cover; the value is kept, and covers a later one."""
    cache = await stage.open("k", negative_ttl=ticks(10))
    assert await stage.ask("k", giving(failed("gone", use_stale=False))) == Failure("gone")
    stage.clock.advance(ticks(10))
    assert await stage.ask("k", never) == Failure("gone")
    assert cache.peek("k") == Some(CachedValue("old", stale=True, err="gone"))
    stage.clock.advance(ticks(1))
    assert await stage.ask("k", DOWN) == COVERED


@pytest.mark.parametrize("write", ["set", "delete", "expire"])
async def test_a_write_ends_a_remembered_failure(stage: Stage, write: str) -> None:
    """Whoever writes to the key wants it asked for again."""
    cache = await stage.open(negative_ttl=ticks(10))
    await stage.ask("k", DOWN)
    if write == "set":
        cache.set("k", "new")
    else:
        {"delete": cache.delete, "expire": cache.expire}[write]("k")
    assert await stage.ask("k", NEW) == given("new")


# --- refresh-ahead


async def test_a_fresh_value_is_loaded_early(stage: Stage) -> None:
    """Past ``refresh_after`` a read gives the fresh value, and begins one load that nobody waits for."""
    cache = await stage.open(refresh_after=ticks(60))
    cache.set("k", "old")
    stage.clock.advance(ticks(60))
    assert await stage.ask("k", never) == given("old")
    stage.clock.advance(ticks(1))
    early = stage.gated(Success("new"))
    for _ in range(3):
        assert await stage.ask("k", early) == given("old")
        assert await stage.revalidate("k", never) == Success(Given(CachedValue("old"), None))
    await early.started()
    assert await stage.ask("k", never) == given("old")
    early.let_go()
    await stage.until(lambda: cache.peek("k") == Some(CachedValue("new")))
    assert (cache.ttl("k"), early.calls) == (Some(ticks(100)), 1)


async def after_a_failed_early_load(stage: Stage, *, extend: int, use_stale: bool) -> Cache:
    """Open a cache with a value of 61 ticks whose early load, due past 60, has just failed."""
    cache = await stage.open(extend=extend, refresh_after=ticks(60))
    cache.set("k", "old")
    stage.clock.advance(ticks(61))
    failing = stage.gated(failed("down", use_stale=use_stale)).opened()
    assert await stage.ask("k", failing) == given("old")
    await failing.started()
    await stage.until(lambda: not under_way(cache))
    return cache


@pytest.mark.parametrize("use_stale", [True, False])
async def test_an_early_load_that_fails(stage: Stage, *, use_stale: bool) -> None:
    """A failed early load leaves value, answer and deadline alone; the next one comes after ``extend_ttl``."""
    cache = await after_a_failed_early_load(stage, extend=20, use_stale=use_stale)
    stage.clock.advance(ticks(20))
    assert await stage.ask("k", never) == given("old")
    stage.clock.advance(ticks(1))
    again = stage.gated(Success("new")).opened()
    assert await stage.ask("k", again) == given("old")
    await again.started()
    await stage.until(lambda: cache.peek("k") == Some(CachedValue("new")))


async def test_without_extensions_an_early_load_is_tried_once(stage: Stage) -> None:
    """With ``extend_ttl`` zero the next load after a failed early one is that of the expired value."""
    await after_a_failed_early_load(stage, extend=0, use_stale=True)
    stage.clock.advance(ticks(39))
    assert await stage.ask("k", never) == given("old")
    stage.clock.advance(ticks(1))
    assert await stage.ask("k", NEW) == given("new")


async def test_an_early_load_is_joined_once_the_value_expired(stage: Stage) -> None:
    """Who must wait joins the early load that still runs."""
    cache = await stage.open(refresh_after=ticks(60))
    cache.set("k", "old")
    stage.clock.advance(ticks(61))
    early = stage.gated(Success("new"))
    assert await stage.ask("k", early) == given("old")
    await early.started()
    stage.clock.advance(ticks(40))
    joiner = stage.asking("k", never)
    await stage.joined(1)
    early.let_go()
    assert await joiner.result() == given("new")


# --- TTLs


async def test_a_value_may_have_its_own_ttl(stage: Stage) -> None:
    """``ttl_for`` gives a value its TTL, loaded or set; zero stores it expired; the TTL that ``set`` is given wins."""
    cache = await stage.open(ttl_for=lambda value: ticks(int(value)))
    for value in ("5", "0"):
        assert await stage.ask(value, giving(Success(value))) == given(value)
    assert [cache.ttl("5"), cache.ttl("0")] == [Some(ticks(5)), Some(ticks(-1))]
    assert cache.peek("0") == Some(CachedValue("0", stale=True))
    cache.set("9", "9")
    cache.set("8", "8", ttl=ticks(3))
    assert [cache.ttl("9"), cache.ttl("8")] == [Some(ticks(9)), Some(ticks(3))]


async def test_a_ttl_function_that_raises_is_a_part_of_the_callback(stage: Stage) -> None:
    """If ``ttl_for`` raises the callback raised; what it gives that is no duration is a ``ConfigError``."""
    cache = await stage.open(ttl_for=lambda value: timedelta(seconds=value["no such"]))
    with pytest.raises(TypeError):
        await stage.ask("k", NEW)
    with pytest.raises(TypeError):
        cache.set("k", "v")
    wrong: Any = lambda _value: 60  # noqa: E731  # the mistake under test
    await stage.open(ttl_for=wrong)
    with pytest.raises(ConfigError, match=r"^ttl=60: must be a timedelta"):
        await stage.ask("k", NEW)
    with pytest.raises(ConfigError, match=r"^ttl=60: must be a timedelta"):
        stage.cache.set("k", "v", ttl=60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    with pytest.raises(ConfigError, match=r"^ttl_for=60: must be a function"):
        await stage.open(ttl_for=60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert len(cache) == 0


async def test_jitter_spreads_what_was_loaded_at_once(stage: Stage) -> None:
    """Values stored at one instant expire at different ones, none later than its TTL nor earlier than the jitter."""
    cache = await stage.open(ttl=1000, jitter=0.5)
    for number in range(200):
        cache.set(f"k{number}", "v")
    lasting = {entry.ttl for entry in cache.entries()}
    assert len(lasting) > 100
    assert ticks(500) <= min(lasting) < ticks(550)
    assert ticks(950) < max(lasting) <= ticks(1000)


async def test_backoff_asks_a_failing_source_less_and_less(stage: Stage) -> None:
    """Each further covered failure doubles the extension, up to ``global_ttl``; a success begins anew."""
    cache = await stage.open("k", extend=10, backoff=2.0)
    for extension in (10, 20, 40, 80, 100, 100):
        assert await stage.ask("k", DOWN) == COVERED
        assert cache.ttl("k") == Some(ticks(extension))
        stage.clock.advance(ticks(extension + 1))
    assert await stage.ask("k", NEW) == given("new")
    stage.clock.advance(ticks(101))
    await stage.ask("k", DOWN)
    assert cache.ttl("k") == Some(ticks(10))


# --- the soft timeout


async def test_a_reader_waits_no_longer_than_the_soft_timeout(stage: Stage) -> None:
    """With a callback that hangs readers get the stale value within the timeout, and what it loads is stored."""
    cache = await stage.open("k", "other", soft_timeout=SHORT)
    hanging = stage.gated(Success("late"))
    began = monotonic()
    assert await stage.ask("k", hanging) == EXPIRED
    # The timers of an event loop may be a millisecond early.
    assert monotonic() - began > 0.8 * SHORT.total_seconds()
    assert await stage.ask("k", never) == EXPIRED
    assert await stage.ask("other", never) == EXPIRED
    assert (await stage.revalidate("k", never)).unwrap().cached == EXPIRED.unwrap()
    cache.delete("other")
    hanging.let_go()
    await stage.until(lambda: cache.peek("k") == Some(CachedValue("late")))
    await stage.until(lambda: not under_way(cache))


@pytest.mark.parametrize("stage", each_of(quick=("threads", "asyncio")), indirect=True)
@pytest.mark.slow
async def test_who_comes_late_gets_stale_at_once(stage: Stage) -> None:
    """The timeout runs from when the load was queued: who comes after it waits for nothing."""
    await stage.open("k", soft_timeout=timedelta(seconds=0.4))
    hanging = stage.gated(Success("late"))
    assert await stage.ask("k", hanging) == EXPIRED
    began = monotonic()
    for _ in range(10):
        assert await stage.ask("k", never) == EXPIRED
    assert monotonic() - began < 0.3
    hanging.let_go()


async def test_a_load_within_the_soft_timeout_is_waited_for(stage: Stage) -> None:
    """A load that ends in time is answered as ever: its value, the value that covers its failure, or what it raised."""
    cache = await stage.open("k", soft_timeout=LONG)
    assert await stage.ask("k", DOWN) == COVERED
    assert await stage.ask("k", NEW) == given("new")
    cache.expire("k")
    assert await stage.ask("k", giving(failed("gone", use_stale=False))) == Failure("gone")
    cache.set("k", "old")
    cache.expire("k")
    raised = ValueError("broken")
    with pytest.raises(ValueError, match="broken") as told:
        await stage.ask("k", stage.gated(raised).opened())
    assert told.value is raised


async def test_a_missing_key_is_waited_for(stage: Stage) -> None:
    """Where there is nothing to give, a call waits however long its load takes."""
    await stage.open(soft_timeout=SHORT)
    slow = stage.gated(Success("v"))
    caller = stage.asking("k", slow)
    await slow.started()
    began = monotonic()
    await stage.until(lambda: monotonic() - began > 2 * SHORT.total_seconds())
    slow.let_go()
    assert await caller.result() == given("v")


async def test_past_the_window_a_load_is_waited_for(stage: Stage) -> None:
    """The timeout gives nothing that stale-while-revalidate would not give."""
    await stage.open("k", soft_timeout=SHORT, stale_while_revalidate=ticks(5))
    stage.clock.advance(ticks(5))
    assert await stage.ask("k", NEW) == given("new")


def test_the_core_is_told_the_draw() -> None:
    """Jitter is a matter of an argument: the same draw gives the same entry."""
    policy = Policy(1000, jitter=0.5)
    assert [fresh(policy, "v", 0, draw=draw).until for draw in (0.0, 0.5, 1.0)] == [1000, 750, 500]
