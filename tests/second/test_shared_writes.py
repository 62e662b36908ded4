"""What users write in one process, and how the others, and the store, come to know of it."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest
from returns.maybe import Nothing
from returns.result import Failure, Success

from lastcache.core.states import Answer
from lastcache.events import ChangedElsewhere, StoreAway, StoreBack, StoreSkipped
from lastcache.second.protocol import Expire, Forget, Put
from tests.kit import PATIENCE, given
from tests.second.scenes import COVERED, Process, Shared, move, process
from tests.shells import Json, Stage, giving, never

AT_ONCE: Final = timedelta(0)


async def test_a_set_is_seen_elsewhere(stage: Stage, store: Shared) -> None:
    """What one process sets is what the others answer, once they have asked; they are told that it was changed."""
    one, other = await process(stage, store), await process(stage, store)
    await other.ask("k", giving(Success("old")))
    one.cache.set("k", "set")
    await one.told()
    assert await other.ask("k", never) == given("old")
    move(stage, store, 1.001)
    assert await other.ask("k", never) == given("set")
    assert [(event.key, event.how) for event in other.of(ChangedElsewhere)] == [("k", "set")]


@pytest.mark.parametrize("write", ["delete", "clear", "expire"])
async def test_an_old_value_is_gone_elsewhere(stage: Stage, store: Shared, write: str) -> None:
    """Once a process has ended a value, no other gives it as fresh for longer than it trusts its own copy."""
    one, other = await process(stage, store), await process(stage, store)
    await other.ask("k", giving(Success("old")))
    await one.ask("k", never)
    one.cache.clear() if write == "clear" else getattr(one.cache, write)("k")
    await one.told()
    move(stage, store, 1.001)
    covered = given("old", stale=True, err="down") if write == "expire" else Failure("down")
    assert await other.ask("k", giving(COVERED)) == covered
    assert await other.ask("k", giving(Success("new"))) == given("new")


async def test_a_write_is_not_undone_by_the_next_load(stage: Stage, store: Shared) -> None:
    """A load that follows a write at once never takes the store's older word."""
    one = await process(stage, store)
    for count in range(20):
        one.cache.set("k", "old")
        await one.told()
        one.cache.delete("k")
        assert await one.ask("k", giving(Success(count))) == given(count)
        await one.told()


async def test_the_store_is_not_asked_while_it_does_not_know(stage: Stage, store: Shared) -> None:
    """While a delete is on its way to the store, a load of the key waits for that, and asks after it."""
    one = await process(stage, store)
    one.cache.set("k", "old")
    await one.told()
    gate = threading.Event()
    one.store.before["tell"] = lambda: gate.wait(PATIENCE)
    deleting = stage.start(lambda: delete(one, "k"))
    await stage.until(lambda: one.cache.stats().owed == 1)
    asks = one.store.counts["ask"]
    loading = stage.start(lambda: one.ask("k", giving(Success("new"))))
    await stage.until(lambda: one.cache.stats().running == 1)
    assert one.store.counts["ask"] == asks
    gate.set()
    await deleting.result()
    assert await loading.result() == given("new")
    assert one.store.counts["ask"] == asks + 1
    other = await process(stage, store)
    assert await other.ask("k", never) == given("new")


async def delete(one: Process, key: str) -> None:
    one.cache.delete(key)


async def test_whether_the_store_knows(stage: Stage, store: Shared) -> None:
    """``settled`` says whether the store knows of every change, and waits for that no longer than it is told."""
    one = await process(stage, store)
    assert await stage.settled(one.cache, AT_ONCE)
    one.store.fail()
    one.cache.set("k", "v")
    assert not await stage.settled(one.cache, timedelta(milliseconds=20))
    assert one.cache.stats().owed == 1
    one.store.heal()
    move(stage, store, 1)
    assert await stage.settled(one.cache)
    assert one.cache.stats().owed == 0


async def test_what_was_owed_is_told_once_the_store_is_back(stage: Stage, store: Shared) -> None:
    """Writes of a process that is cut off act there at once, and elsewhere once it is back; it is told of both ends."""
    one, other = await process(stage, store), await process(stage, store)
    for key in ("set", "deleted", "expired"):
        await other.ask(key, giving(Success("old")))
        await one.ask(key, never)
    one.store.fail()
    one.cache.set("set", "new")
    one.cache.delete("deleted")
    one.cache.expire("expired")
    assert await one.ask("set", never) == given("new")
    assert await one.ask("deleted", giving(COVERED)) == Failure("down")
    assert await one.ask("expired", giving(COVERED)) == given("old", stale=True, err="down")
    await stage.until(lambda: len(one.of(StoreAway)) == 1)
    one.store.heal()
    move(stage, store, 2)
    await one.told()
    assert [event.owed for event in one.of(StoreBack)] == [3]
    assert len(one.of(StoreAway)) == 1
    assert await other.ask("set", never) == given("new")
    assert await other.ask("deleted", giving(COVERED)) == Failure("down")
    assert await other.ask("expired", giving(COVERED)) == given("old", stale=True, err="down")


async def cut_off(one: Process) -> None:
    """Cut a process off from the store, which it notices."""
    one.store.fail()
    await one.ask("another", giving(COVERED))
    await one.stage.until(lambda: len(one.of(StoreAway)) == 1)


async def reach_again(one: Process, store: Shared) -> None:
    """Let a process reach the store again, and tell what it owes."""
    one.store.heal()
    move(one.stage, store, 0.5)
    await one.told()


async def met(*processes: Process) -> None:
    """Let each process meet the store."""
    for one in processes:
        await one.ask("met", giving(Success("m")))


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("noticed", [True, False])
async def test_a_late_set_does_not_undo_a_newer_one(stage: Stage, store: Shared, *, known: bool, noticed: bool) -> None:
    """What was set while the store was away never replaces what another process has set since."""
    one, other = await process(stage, store), await process(stage, store)
    await met(one, other)
    if known:
        await one.ask("k", giving(Success("first")))
    if noticed:
        await cut_off(one)
    one.store.fail()
    one.cache.set("k", "older")
    await stage.until(lambda: len(one.of(StoreAway)) == 1)
    other.cache.set("k", "newer")
    await other.told()
    await reach_again(one, store)
    move(stage, store, 2)
    newer: tuple[Answer[Json, str], ...] = (given("newer"),) if known else (given("newer"), given("loaded"))
    assert await one.ask("k", giving(Success("loaded"))) in newer
    assert await other.ask("k", giving(Success("loaded"))) in newer


async def test_a_late_set_is_kept_where_nobody_wrote_since(stage: Stage, store: Shared) -> None:
    """What was set while the store was away is what the others see, where the record is as it was known then."""
    one, other = await process(stage, store), await process(stage, store)
    await one.ask("k", giving(Success("first")))
    await cut_off(one)
    one.cache.set("k", "set")
    await reach_again(one, store)
    assert await other.ask("k", never) == given("set")
    assert [tell.only_if is not None for tell in one.store.told if isinstance(tell, Put)] == [True]


async def test_a_late_set_of_an_unknown_record_ends_it(stage: Stage, store: Shared) -> None:
    """What was set while the store was away, of a record that was not known, ends the record: nobody knows its order.

    The process itself loads as well, once it has asked.
    """
    one, other = await process(stage, store), await process(stage, store)
    await met(one, other)
    await cut_off(one)
    one.cache.set("k", "older")
    other.cache.set("k", "newer")
    await other.told()
    await reach_again(one, store)
    assert [type(tell) for tell in one.store.told if tell.name.endswith(b"s:k")] == [Expire]
    move(stage, store, 2)
    assert await one.ask("k", giving(Success("loaded"))) == given("loaded")


async def test_too_much_is_owed(stage: Stage, store: Shared) -> None:
    """Where more is owed than is kept, all is cleared once the store is back, and told once."""
    one, other = await process(stage, store, {"owe_at_most": 3}), await process(stage, store)
    for count in range(4):
        await other.ask(f"k{count}", giving(Success("old")))
        await one.ask(f"k{count}", never)
    await cut_off(one)
    for count in range(4):
        one.cache.delete(f"k{count}")
    await reach_again(one, store)
    move(stage, store, 1)
    assert one.store.counts["clear"] == 1
    for count in range(4):
        assert await other.ask(f"k{count}", giving(COVERED)) == Failure("down")
    assert [event.how for event in other.of(ChangedElsewhere)] == ["cleared"]


async def test_too_much_is_owed_while_others_delete(stage: Stage, store: Shared) -> None:
    """A clear that is told late loses what the others deleted meanwhile: no old value lives on behind it."""
    one, other = await process(stage, store, {"owe_at_most": 1}), await process(stage, store)
    await other.ask("k", giving(Success("old")))
    await one.ask("k", never)
    await cut_off(one)
    for count in range(4):
        one.cache.set(f"k{count}", "set")
    other.cache.delete("k")
    await other.told()
    await reach_again(one, store)
    move(stage, store, 1.5)
    assert await one.ask("k", giving(Success("new"))) == given("new")


async def test_what_is_owed_as_the_cache_is_closed(stage: Stage, store: Shared) -> None:
    """A cache that is closed while it owes a change says of which the store was not told."""
    one = await process(stage, store)
    await cut_off(one)
    one.cache.delete("k")
    one.cache.set("other", "v")
    one.cache.close()
    assert [event.key for event in one.of(StoreSkipped)] == ["k", "other"]


async def test_a_clear_that_is_owed_as_the_cache_is_closed(stage: Stage, store: Shared) -> None:
    """A cache that is closed while it owes a clear says so."""
    one = await process(stage, store)
    await cut_off(one)
    one.cache.clear()
    one.cache.close()
    assert [event.key for event in one.of(StoreSkipped)] == [None]


async def test_leaving_the_block(stage: Stage, store: Shared) -> None:
    """Who leaves the block of a cache waits until the store knows what was written in it."""
    one, other = await process(stage, store), await process(stage, store)
    gate = threading.Event()
    one.store.before["tell"] = lambda: gate.wait(0.05)
    one.cache.set("k0", "v")
    await stage.until(lambda: "tell" in one.store.noted)
    await stage.leave(one.cache)
    assert len([tell for tell in one.store.told if isinstance(tell, Put)]) == 1
    assert await other.ask("k0", never) == given("v")
    assert one.of(StoreSkipped) == []


async def test_leaving_the_block_while_the_store_is_away(stage: Stage, store: Shared) -> None:
    """Who leaves the block of a cache does not wait for a store that is away."""
    one = await process(stage, store)
    one.store.fail()
    one.cache.set("k", "v")
    await stage.until(lambda: len(one.of(StoreAway)) == 1)
    calls = one.store.counts
    await stage.leave(one.cache)
    assert one.store.counts["tell"] == calls["tell"]


async def test_writes_are_told_in_their_order(stage: Stage, store: Shared) -> None:
    """The last write of a key is what the store has in the end, whoever tells it."""
    one, other = await process(stage, store), await process(stage, store)
    for count in range(50):
        one.cache.set("k", count)
        one.cache.delete("other")
    await one.told()
    assert await other.ask("k", never) == given(49)
    assert isinstance(one.store.told[-1], Forget | Put)


async def test_a_write_that_is_struck(stage: Stage, store: Shared) -> None:
    """What an interrupt kept a write from telling is told all the same, soon after."""
    one, other = await process(stage, store), await process(stage, store)
    writes: list[Callable[[], None]] = [
        lambda: one.cache.set("k", "set"),
        lambda: one.cache.expire("k"),
        lambda: one.cache.delete("k"),
        one.cache.clear,
    ]
    for write in writes:
        await other.ask("k", giving(Success("old")))
        one.store.before |= {kind: struck_once() for kind in ("ask", "tell", "clear")}
        try:
            write()
        except KeyboardInterrupt:
            pass
        one.store.before = {}
        await one.told()
        assert one.cache.stats().owed == 0
        assert one.of(StoreAway) == []
    move(stage, store, 2)
    assert await other.ask("k", giving(COVERED)) == Failure("down")
    assert one.cache.peek("k") == Nothing


def struck_once() -> Callable[[], None]:
    """Make what raises an interrupt when it is called for the first time."""
    strikes = [KeyboardInterrupt()]

    def strike() -> None:
        if strikes:
            raise strikes.pop()

    return strike
