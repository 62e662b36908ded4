"""How the loads of several processes meet: who may load, who waits for whom, and whose value is kept."""

from collections.abc import Callable, Coroutine
from datetime import timedelta
from time import monotonic
from typing import Any, Final, TypeAlias

import pytest
from returns.result import Failure, Success

from lastcache.core.states import Answer, Outcome
from lastcache.events import ChangedElsewhere, StoreOutran, StoreServed, WaitedElsewhere
from lastcache.second.protocol import Fill, Release
from tests.kit import given, until
from tests.second.scenes import BROKEN, COVERED, FORGETTING, UNCOVERED, Process, Shared, move, process
from tests.shells import Call, Json, Stage, giving, never

SOON: Final = timedelta(milliseconds=50)
LATE: Final = timedelta(minutes=10)


async def test_two_processes_and_one_cold_key(stage: Stage, store: Shared) -> None:
    """Of two processes that miss one key, one calls the source, and the other waits and is given its value."""
    one, other = await process(stage, store), await process(stage, store)
    load = stage.gated(Success("v"))
    first = stage.asking("k", load, one.cache)
    await load.started()
    second = stage.asking("k", never, other.cache)
    await stage.until(lambda: other.store.counts["ask"] > 3)
    load.let_go()
    assert [await first.result(), await second.result()] == [given("v"), given("v")]
    assert load.calls == 1
    assert [event.stale for event in other.of(StoreServed)] == [False]
    assert len(other.of(WaitedElsewhere)) == 1


@pytest.mark.parametrize("stage", ["threads"], indirect=True)
async def test_two_processes_that_come_for_the_first_time(stage: Stage, store: Shared) -> None:
    """Two processes that have not spoken to the store yet make one call of the source, however their words meet."""
    one, other = await process(stage, store), await process(stage, store)
    load = stage.gated(Success("v"))
    calls: list[Call[Answer[Json, str]]] = []

    def come_between() -> None:
        # The other comes once the one has a lease, and has the time to ask again after each of its words.
        if one.store.counts["ask"] < 2:
            return
        if not calls:
            calls.append(stage.asking("k", load, other.cache))
        asks = other.store.counts["ask"]
        until(lambda: other.store.counts["ask"] > asks + 2 or load.calls > 0)

    one.store.after["ask"] = come_between
    first = stage.asking("k", load, one.cache)
    await load.started()
    one.store.heal()
    await stage.pause()
    load.let_go()
    load.let_go()
    assert [await first.result(), await calls[0].result()] == [given("v"), given("v")]
    assert load.calls == 1


async def test_a_holder_that_fails(stage: Stage, store: Shared) -> None:
    """Where the load that a call waits for fails, the call loads for itself at once, and does not wait again."""
    one, other = await process(stage, store, {"lease_for": LATE}), await process(stage, store, {"lease_for": LATE})
    failing, own = stage.gated(COVERED), stage.gated(Success("own")).opened()
    first = stage.asking("k", failing, one.cache)
    await failing.started()
    second = stage.asking("k", own, other.cache)
    await stage.until(lambda: other.store.counts["ask"] > 3)
    failing.let_go()
    assert await first.result() == Failure("down")
    assert await second.result() == given("own")


async def test_a_holder_that_raises(stage: Stage, store: Shared) -> None:
    """A callback that raises gives its lease back: another process loads without waiting."""
    one, other = await process(stage, store, {"lease_for": LATE}), await process(stage, store, {"lease_for": LATE})
    raising = stage.gated(ValueError("a bug")).opened()
    assert isinstance(await stage.asking("k", raising, one.cache).error(), ValueError)
    assert await other.ask("k", giving(Success("v"))) == given("v")
    assert other.of(WaitedElsewhere) == []


@pytest.mark.parametrize("outcome", [COVERED, UNCOVERED, FORGETTING, Success("v")])
async def test_no_end_of_a_load_leaves_a_lease(stage: Stage, store: Shared, outcome: Outcome[Json, str]) -> None:
    """However a load ends, another process that needs the key does not wait for it."""
    one, other = await process(stage, store, {"lease_for": LATE}), await process(stage, store, {"lease_for": LATE})
    await one.ask("k", stage.gated(outcome).opened())
    move(stage, store, 101)
    assert await other.ask("k", giving(Success("new"))) == given("new")
    assert other.of(WaitedElsewhere) == []


async def test_a_waiter_whose_holder_stops(stage: Stage, store: Shared) -> None:
    """A call waits for a lease no longer than it lasts, then loads; what the first brings in the end is refused."""
    one, other = await process(stage, store), await process(stage, store)
    stopped = stage.gated(Success("late"))
    first = stage.asking("k", stopped, one.cache)
    await stopped.started()
    second = stage.asking("k", giving(Success("own")), other.cache)
    await stage.until(lambda: other.store.counts["ask"] > 2)
    move(stage, store, 6)
    assert await second.result() == given("own")
    stopped.let_go()
    assert await first.result() == given("late")
    assert [event.key for event in one.of(StoreOutran)] == ["k"]
    # It is stored nowhere: not here, and not there.
    assert await one.ask("k", never) == given("own")


async def test_a_waiter_waits_by_its_own_clock_as_well(stage: Stage, store: Shared) -> None:
    """Where the store's clock stands still, a call waits for another process no longer than a lease lasts."""
    one, other = await process(stage, store, {"lease_for": SOON}), await process(stage, store, {"lease_for": SOON})
    stopped = stage.gated(Success("late"))
    first = stage.asking("k", stopped, one.cache)
    await stopped.started()
    began = monotonic()
    assert await other.ask("k", giving(Success("own"))) == given("own")
    assert monotonic() - began < 2
    stopped.let_go()
    assert await first.result() == given("late")


async def test_the_later_lease_wins_whoever_ends_first(stage: Stage, store: Shared) -> None:
    """Of two loads of which the first outlasted its lease, the later lease is kept, also where it ends last."""
    one, other = await process(stage, store), await process(stage, store)
    slow, later = stage.gated(Success("slow")), stage.gated(Success("later"))
    first = stage.asking("k", slow, one.cache)
    await slow.started()
    move(stage, store, 6)
    second = stage.asking("k", later, other.cache)
    await later.started()
    slow.let_go()
    assert await first.result() == given("slow")
    later.let_go()
    assert await second.result() == given("later")
    move(stage, store, 2)
    assert await one.ask("k", never) == given("later")


async def deletes(other: Process) -> None:
    other.cache.delete("k")


async def sets(other: Process) -> None:
    other.cache.set("k", "set")


async def expires(other: Process) -> None:
    other.cache.expire("k")


async def clears(other: Process) -> None:
    other.cache.clear()


Write: TypeAlias = Callable[[Process], Coroutine[Any, Any, None]]
WRITES: Final[list[Write]] = [deletes, sets, expires, clears]


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_elsewhere_during_a_load(stage: Stage, store: Shared, write: Write) -> None:
    """What a load began before a write of another process is given to its own callers, and stored nowhere."""
    one, other = await process(stage, store), await process(stage, store)
    await one.ask("met", giving(Success("before")))
    load = stage.gated(Success("before"))
    call = stage.asking("k", load, one.cache)
    await load.started()
    await write(other)
    await other.told()
    load.let_go()
    assert await call.result() == given("before")
    assert [event.key for event in one.of(StoreOutran)] == ["k"]
    assert "k" not in one.cache
    expected: Answer[Json, str] = given("set") if write is sets else given("after")
    assert await one.ask("k", giving(Success("after"))) == expected
    assert await other.ask("k", never) == expected


@pytest.mark.parametrize("write", WRITES)
async def test_a_write_elsewhere_during_a_load_of_an_old_value(stage: Stage, store: Shared, write: Write) -> None:
    """A failed load is covered by what stands after a write elsewhere: never by what was deleted or cleared."""
    one, other = await process(stage, store), await process(stage, store)
    assert await one.ask("k", giving(Success("old"))) == given("old")
    move(stage, store, 101)
    load = stage.gated(COVERED)
    call = stage.asking("k", load, one.cache)
    await load.started()
    await write(other)
    await other.told()
    load.let_go()
    await call.result()
    expected: dict[Write, Answer[Json, str]] = {deletes: Failure("down"), clears: Failure("down"), sets: given("set")}
    move(stage, store, 2)
    assert await one.ask("k", giving(COVERED)) == expected.get(write, given("old", stale=True, err="down"))


@pytest.mark.parametrize("loss", ["all", "generation"])
async def test_a_loss_during_a_load(stage: Stage, store: Shared, loss: str) -> None:
    """A load whose record is lost meanwhile is given; a loss of the generation alone clears nothing."""
    one = await process(stage, store)
    await one.ask("other", giving(Success("o")))
    load = stage.gated(Success("v"))
    call = stage.asking("k", load, one.cache)
    await load.started()
    if loss == "all":
        store.engine.lose_all()
    else:
        store.engine.lose_generation()
    load.let_go()
    assert await call.result() == given("v")
    assert len(one.of(StoreOutran)) == (loss == "all")
    again = stage.gated(Success("again")).opened()
    assert await one.ask("k", again) == given("again" if loss == "all" else "v")
    move(stage, store, 2)
    assert await one.ask("other", never) == given("o")
    assert one.of(ChangedElsewhere) == []


async def test_the_generation_is_restored(stage: Stage, store: Shared) -> None:
    """A store that has lost its generation is given it back by who knows it: nobody's records are cleared."""
    one, other = await process(stage, store), await process(stage, store)
    await one.ask("k", giving(Success("v")))
    await other.ask("k", never)
    store.engine.lose_generation()
    move(stage, store, 2)
    assert await one.ask("k", never) == given("v")
    assert await other.ask("k", never) == given("v")
    assert one.of(ChangedElsewhere) == other.of(ChangedElsewhere) == []


async def test_a_failure_that_forgets(stage: Stage, store: Shared) -> None:
    """A load that finds its key gone makes a tombstone: no other process covers a failure with the old value."""
    one, other = await process(stage, store), await process(stage, store)
    await one.ask("k", giving(Success("old")))
    await other.ask("k", never)
    move(stage, store, 101)
    assert await one.ask("k", giving(FORGETTING)) == Failure("no such key")
    assert await other.ask("k", giving(COVERED)) == Failure("down")


async def test_a_failure_that_forgets_and_was_outrun(stage: Stage, store: Shared) -> None:
    """A load that finds its key gone forgets nothing, here or there, where another process set the key meanwhile."""
    one, other = await process(stage, store), await process(stage, store)
    load = stage.gated(FORGETTING)
    call = stage.asking("k", load, one.cache)
    await load.started()
    other.cache.set("k", "set")
    await other.told()
    load.let_go()
    assert await call.result() == Failure("no such key")
    assert await one.ask("k", never) == given("set")


@pytest.mark.parametrize("to", [("ask", "tell"), ("tell",)])
async def test_a_failure_that_forgets_while_the_store_is_away(stage: Stage, store: Shared, to: tuple[str, ...]) -> None:
    """A load that finds its key gone, and cannot tell, has the record expired once the store is back."""
    one, other = await process(stage, store), await process(stage, store)
    await one.ask("k", giving(Success("old")))
    await other.ask("k", never)
    move(stage, store, 101)
    one.store.fail(to=to)
    assert await one.ask("k", giving(FORGETTING)) == Failure("no such key")
    assert one.cache.stats().owed == 1
    one.store.heal()
    move(stage, store, 1)
    await one.told()
    assert "k" not in one.cache


async def test_an_early_load(stage: Stage, store: Shared) -> None:
    """One process loads early, the other serves on without waiting, and picks the new value up by itself."""
    early = timedelta(seconds=50)
    one = await process(stage, store, refresh_after=early)
    other = await process(stage, store, refresh_after=early)
    assert await one.ask("k", giving(Success("old"))) == given("old")
    assert await other.ask("k", never) == given("old")
    move(stage, store, 60)
    load = stage.gated(Success("new"))
    assert await one.ask("k", load) == given("old")
    await load.started()
    asks = other.store.counts["ask"]
    assert await other.ask("k", never) == given("old")
    await stage.until(lambda: other.store.counts["ask"] > asks)
    await other.quiet()
    load.let_go()
    await one.quiet()
    assert await one.ask("k", never) == given("new")
    move(stage, store, 1.5)
    await other.ask("k", never)
    await other.quiet()
    assert await other.ask("k", never) == given("new")


async def test_what_a_load_says(stage: Stage, store: Shared) -> None:
    """A load says one thing at its end: its value where it succeeds, or that it gives its lease back."""
    one = await process(stage, store)
    await one.ask("k", giving(Success("v")))
    await one.ask("failed", giving(UNCOVERED))
    assert [type(tell) for tell in one.store.told] == [Fill, Release]
    assert await one.ask("failed", giving(UNCOVERED)) == BROKEN
