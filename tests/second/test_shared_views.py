"""What a cache over a store shows, and how its other ways to be called, with their bounds, meet other processes."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, TypeAlias

import pytest
from returns.maybe import Nothing, Some
from returns.result import Failure, Success

from lastcache.core.states import Answer, Check, Load, Serve, Strategy
from lastcache.events import StoreServed, WaitedElsewhere
from tests.kit import given
from tests.second.scenes import COVERED, UNCOVERED, Process, Shared, move, process
from tests.shells import Json, Stage, giving, never, never_many

LATE: Final = timedelta(minutes=10)
SOFTLY: Final = timedelta(milliseconds=10)
SECONDS: Final = timedelta(seconds=1)
OLD_STALE: Final[Answer[Json, str]] = given("old", stale=True)


def view(one: Process, max_stale: timedelta) -> Any:
    """Give what a reader with a demand sees, for whom the two caches have no type in common."""
    cache: Any = one.cache
    return cache.demanding(max_stale=max_stale)


async def shared_old(stage: Stage, store: Shared, *keys: str) -> Process:
    """Give a process that has loaded an old value for each key, all past their freshness."""
    other = await process(stage, store, {"lease_for": LATE})
    for key in keys or ("k",):
        await other.ask(key, giving(Success("old")))
    move(stage, store, 101)
    return other


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
async def test_a_soft_wait_for_another_process(stage: Stage, store: Shared, *, known: bool) -> None:
    """While another process loads, a stale value, here or there, is given after the soft timeout.

    The waiting goes on in the background, and ends in the value of the other process.
    """
    one = await process(stage, store, {"lease_for": LATE}, soft_timeout=SOFTLY)
    if known:
        await one.ask("k", giving(Success("old")))
    other = await shared_old(stage, store)
    load = stage.gated(Success("new"))
    first = stage.asking("k", load, other.cache)
    await load.started()
    assert await one.ask("k", never) == OLD_STALE
    assert await one.ask("k", never) == OLD_STALE
    load.let_go()
    assert await first.result() == given("new")
    await one.quiet()
    assert await one.ask("k", never) == given("new")
    assert load.calls == 1
    assert len(one.of(WaitedElsewhere)) <= 1


@pytest.mark.slow
async def test_a_soft_wait_for_another_process_that_fails(stage: Stage, store: Shared) -> None:
    """Where the other process fails, who waits behind a soft timeout loads for itself."""
    one = await process(stage, store, {"lease_for": LATE}, soft_timeout=SOFTLY)
    other = await shared_old(stage, store)
    load = stage.gated(COVERED)
    first = stage.asking("k", load, other.cache)
    await load.started()
    assert await one.ask("k", giving(Success("own"))) == OLD_STALE
    load.let_go()
    assert await first.result() == given("old", stale=True, err="down")
    await one.quiet()
    assert await one.ask("k", never) == given("own")


async def test_a_soft_wait_without_a_value(stage: Stage, store: Shared) -> None:
    """Where nobody has a value the soft timeout ends nothing: the call waits for the other process."""
    one, other = await process(stage, store, soft_timeout=SOFTLY), await process(stage, store)
    load = stage.gated(Success("new"))
    first = stage.asking("k", load, other.cache)
    await load.started()
    second = stage.asking("k", never, one.cache)
    await stage.until(lambda: one.store.counts["ask"] > 3)
    load.let_go()
    assert [await first.result(), await second.result()] == [given("new")] * 2


@pytest.mark.slow
async def test_a_soft_wait_of_an_own_load(stage: Stage, store: Shared) -> None:
    """What is loaded behind a soft timeout reaches the others as any other load does."""
    one = await process(stage, store, soft_timeout=SOFTLY)
    other = await shared_old(stage, store)
    load = stage.gated(Success("new"))
    assert await one.ask("k", load) == OLD_STALE
    await load.started()
    load.let_go()
    await one.quiet()
    assert await other.ask("k", never) == given("new")


@pytest.mark.slow
async def test_a_demand_on_a_value_elsewhere(stage: Stage, store: Shared) -> None:
    """A value of the store covers a failure for who takes it so stale, and for nobody else."""
    await shared_old(stage, store)
    one = await process(stage, store)
    move(stage, store, 10)
    assert await stage.ask("k", giving(COVERED), view(one, 5 * SECONDS)) == Failure("down")
    covered = given("old", stale=True, err="down")
    assert await stage.ask("k", giving(COVERED), view(one, 20 * SECONDS)) == covered
    assert await stage.ask("k", giving(UNCOVERED), view(one, 20 * SECONDS)) == Failure("broken")
    assert await stage.ask("k", giving(Success("new")), view(one, 5 * SECONDS)) == given("new")


@pytest.mark.slow
async def test_a_demand_on_a_fresh_value_elsewhere(stage: Stage, store: Shared) -> None:
    """What another process has loaded is given to who takes nothing that is stale, and no callback runs."""
    one = await process(stage, store)
    other = await shared_old(stage, store)
    await other.ask("k", giving(Success("new")))
    assert await stage.ask("k", never, view(one, timedelta(0))) == given("new")
    assert [event.stale for event in one.of(StoreServed)] == [False]


@pytest.mark.parametrize("takes", [True, False])
async def test_a_demand_on_what_is_given_ahead(stage: Stage, store: Shared, *, takes: bool) -> None:
    """A stale value of the store is given ahead of its load where it is not too stale; else the load is waited for."""
    await shared_old(stage, store)
    one = await process(stage, store)
    move(stage, store, 10)
    asked = (await stage.revalidate("k", giving(Success("new")), view(one, (20 if takes else 5) * SECONDS))).unwrap()
    assert Success(asked.cached) == (OLD_STALE if takes else given("new"))
    if takes:
        assert await stage.ended(asked.refresh) == given("new")
    await one.quiet()
    assert await one.ask("k", never) == given("new")


@pytest.mark.slow
async def test_a_demand_behind_a_soft_timeout(stage: Stage, store: Shared) -> None:
    """While another process loads, who takes nothing so stale waits for that, whatever the soft timeout."""
    one = await process(stage, store, {"lease_for": LATE}, soft_timeout=SOFTLY)
    other = await shared_old(stage, store)
    move(stage, store, 10)
    load = stage.gated(Success("new"))
    first = stage.asking("k", load, other.cache)
    await load.started()
    assert await stage.ask("k", never, view(one, 20 * SECONDS)) == OLD_STALE
    strict = stage.asking("k", never, view(one, 5 * SECONDS))
    await stage.pause()
    load.let_go()
    assert [await first.result(), await strict.result()] == [given("new")] * 2


@pytest.mark.slow
async def test_a_demand_of_many_keys(stage: Stage, store: Shared) -> None:
    """Of many keys each is held to the demand, whichever process loaded its value."""
    other = await shared_old(stage, store, "a", "b")
    one = await process(stage, store)
    await other.ask("b", giving(Success("new")))

    async def fails(keys: tuple[str, ...]) -> dict[str, Any]:
        return dict.fromkeys(keys, COVERED)

    move(stage, store, 10)
    strict = await stage.ask_many(("a", "b"), fails, view(one, 5 * SECONDS))
    assert strict == {"a": Failure("down"), "b": given("new")}
    tolerant = await stage.ask_many(("a", "b"), fails, view(one, 20 * SECONDS))
    assert tolerant == {"a": given("old", stale=True, err="down"), "b": given("new")}
    assert await stage.ask_many(("b",), never_many, view(one, timedelta(0))) == {"b": given("new")}


@pytest.mark.slow
async def test_one_early_load_for_two_processes(stage: Stage, store: Shared) -> None:
    """Two processes whose value is due early make one load; each takes the new value within its time of trust."""
    early = 50 * SECONDS
    both = [await process(stage, store, refresh_after=early) for _ in range(2)]
    load = stage.gated(Success("new"))
    await both[0].ask("k", giving(Success("old")))
    await both[1].ask("k", never)
    for round_ in range(3):
        expected: Answer[Json, str] = given("old") if round_ == 0 else given("new")
        move(stage, store, 60 if round_ == 0 else 51.5)
        for one in both:
            assert await one.ask("k", load) == expected
        await load.started()
        await stage.pause()
        for one in both:
            assert await one.ask("k", load) == expected
        assert load.calls == round_ + 1
        load.let_go()
        for one in both:
            await one.quiet()
        move(stage, store, 1.1)
        for one in both:
            await one.ask("k", never)
            await one.quiet()
            assert await one.ask("k", never) == given("new")
    assert [event for one in both for event in one.of(WaitedElsewhere)] == []


async def test_an_early_load_that_fails(stage: Stage, store: Shared) -> None:
    """An early load that fails leaves no lease, and the value stands, in every process."""
    one = await process(stage, store, {"lease_for": LATE}, refresh_after=50 * SECONDS)
    other = await process(stage, store, {"lease_for": LATE}, refresh_after=50 * SECONDS)
    await one.ask("k", giving(Success("old")))
    await other.ask("k", never)
    move(stage, store, 60)
    failing = stage.gated(COVERED).opened()
    assert await one.ask("k", failing) == given("old")
    await failing.started()
    await one.quiet()
    own = stage.gated(Success("new")).opened()
    assert await other.ask("k", own) == given("old")
    await own.started()
    await other.quiet()
    assert await other.ask("k", never) == given("new")


EXPLAINED: Final = """\
'k': a call is served, once the store has said that nothing newer is there (fresh: the value is fresh)
  fresh                  for 98.500 s more
  stands                 for 98.500 s more
  given ahead of a load  for 698.500 s more
  covers failures        for 3698.500 s more
  trusted                until 0.500 s ago
  the store              is asked before a load"""


async def test_an_explanation(stage: Stage, store: Shared) -> None:
    """An explanation says what becomes of the store in a call, and until when its last word is taken."""
    one = await process(stage, store, stale_if_error=timedelta(hours=1), stale_while_revalidate=LATE)
    assert (one.cache.explain("k").store, one.cache.explain("k").trusted_until) == (
        Some("is asked before a load"),
        Nothing,
    )
    await one.ask("k", giving(Success("v")))
    assert one.cache.explain("k").trusted_until == Some(SECONDS)
    assert isinstance(one.cache.explain("k").decision, Serve)
    move(stage, store, 1.5)
    explained = one.cache.explain("k")
    assert explained.trusted_until == Some(-0.5 * SECONDS)
    assert isinstance(explained.decision, Check)
    assert explained.state == "fresh"
    assert str(explained) == EXPLAINED
    await one.ask("k", never)
    assert one.cache.explain("k").trusted_until == Some(SECONDS)
    move(stage, store, 101)
    assert isinstance(one.cache.explain("k", strategy=Strategy.STALE_IF_ERROR).decision, Load)


@pytest.mark.slow
async def test_an_explanation_of_a_store_that_is_away(stage: Stage, store: Shared) -> None:
    """An explanation says that the store is away, and, once it is back, that it is still to be told."""
    one = await process(stage, store)
    await one.ask("k", giving(Success("v")))
    one.store.fail()
    one.cache.delete("k")
    await stage.until(lambda: one.cache.stats().store_away == 1)
    assert [str(one.cache.explain(key)).splitlines()[-1].split(maxsplit=2)[2] for key in ("k", "other")] == [
        "is away",
        "is away",
    ]
    one.store.heal()
    move(stage, store, 0.5)
    await one.told()
    assert one.cache.explain("k").store == Some("is asked before a load")


async def test_an_explanation_of_what_is_owed(stage: Stage, store: Shared) -> None:
    """While a change is on its way to the store, an explanation of its key says so, and that of another does not."""
    one = await process(stage, store)
    await one.ask("k", giving(Success("v")))
    words: list[Any] = []
    one.store.before["tell"] = lambda: words.extend(one.cache.explain(key).store for key in ("k", "other"))
    one.cache.delete("k")
    await one.told()
    assert words[:2] == [Some("is still to be told of a change"), Some("is asked before a load")]


async def test_counts(stage: Stage, store: Shared) -> None:
    """Each thing that happens with the store and with other processes is counted, once."""
    one = await process(stage, store, count_hits=True)
    other = await process(stage, store)
    await other.ask("k", giving(Success("old")))
    assert one.cache.stats().store_served == 0
    await one.ask("k", never)
    await one.ask("k", never)
    counted = one.cache.stats()
    assert (counted.store_served, counted.hits, counted.misses, counted.loaded) == (1, 1, 1, 0)
    await one.ask("refused", giving(Success({1, 2})))
    one.cache.set("refused", {1})
    assert one.cache.stats().store_skipped == 2
    other.cache.set("k", "set")
    await other.told()
    move(stage, store, 1.5)
    assert await one.ask("k", never) == given("set")
    other.cache.clear()
    await other.told()
    move(stage, store, 1.5)
    await one.ask("k", giving(Success("own")))
    assert one.cache.stats().changed_elsewhere == 2
    load = stage.gated(Success("theirs"))
    first = stage.asking("waited for", load, other.cache)
    await load.started()
    second = stage.asking("waited for", never, one.cache)
    asks = one.store.counts["ask"]
    await stage.until(lambda: one.store.counts["ask"] > asks + 1)
    load.let_go()
    assert [await first.result(), await second.result()] == [given("theirs")] * 2
    assert one.cache.stats().waited_elsewhere == 1
    outrun = stage.gated(Success("late"))
    third = stage.asking("outrun", outrun, one.cache)
    await outrun.started()
    other.cache.set("outrun", "newer")
    await other.told()
    outrun.let_go()
    assert await third.result() == given("late")
    assert one.cache.stats().store_outran == 1
    assert one.cache.stats().store_away == one.cache.stats().store_back == one.cache.stats().owed == 0


@pytest.mark.slow
async def test_counts_of_an_outage(stage: Stage, store: Shared) -> None:
    """An outage is counted once, however many calls it strikes; what is owed is counted while it is."""
    one = await process(stage, store)
    one.store.fail()
    for key in "abc":
        await one.ask(key, giving(Success("v")))
        one.cache.set(key, "set")
        one.cache.delete(key)
    await stage.until(lambda: one.cache.stats().store_away == 1)
    assert one.cache.stats().owed == 3
    one.cache.clear()
    assert one.cache.stats().owed == 1
    one.store.heal()
    move(stage, store, 0.5)
    await one.told()
    counted = one.cache.stats()
    assert (counted.store_away, counted.store_back, counted.owed) == (1, 1, 0)


async def nothing(_one: Process, _store: Shared) -> None:
    """Leave a value as it is: fresh."""


async def unchecked(one: Process, store: Shared) -> None:
    move(one.stage, store, 5)


async def expired(one: Process, store: Shared) -> None:
    move(one.stage, store, 101)


async def extended(one: Process, store: Shared) -> None:
    move(one.stage, store, 101)
    await one.ask("k", giving(COVERED))


async def refused(one: Process, store: Shared) -> None:
    move(one.stage, store, 101)
    await one.ask("k", giving(UNCOVERED))


async def gone(one: Process, _store: Shared) -> None:
    one.cache.delete("k")
    await one.told()


async def owed(one: Process, _store: Shared) -> None:
    one.store.fail()
    one.cache.set("k", "set")
    await one.stage.until(lambda: one.cache.stats().store_away == 1)


Before: TypeAlias = Callable[[Process, Shared], Coroutine[Any, Any, None]]
BEFORE: Final[dict[str, Before]] = {
    before.__name__: before for before in (nothing, unchecked, expired, extended, refused, gone, owed)
}


@pytest.mark.slow
@pytest.mark.parametrize("after", BEFORE)
async def test_lookups_do_no_io(stage: Stage, store: Shared, after: str) -> None:
    """No lookup of the table asks the store, whatever the state of the key."""
    one = await process(stage, store, extend=50)
    await one.ask("k", giving(Success("v")))
    await BEFORE[after](one, store)
    counts = one.store.counts
    for cache in (one.cache, view(one, LATE)):
        cached = cache.peek("k").value_or(None)
        if cached is not None:
            _ = cache.fresh_for(cached)
        _ = cache.ttl("k"), "k" in cache, len(cache), bool(cache), list(cache.entries()), repr(cache)
        _ = cache.if_cached("k"), cache.if_cached("k", max_stale=LATE), cache.explain("k"), cache.stats()
        _ = [cache.explain("k", strategy=strategy) for strategy in Strategy]
    await stage.pause()
    assert one.store.counts == counts
