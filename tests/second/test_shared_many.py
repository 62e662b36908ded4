"""A call for many keys over a store: what it asks and tells, whose loads it waits for, and what it leaves behind."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, cast

import pytest
from returns.result import Failure, Success

from lastcache.core.states import Answer, Outcome
from lastcache.events import (
    ChangedElsewhere,
    StoreAway,
    StoreOutran,
    StoreServed,
    StoreSkipped,
    StoreUnread,
    WaitedElsewhere,
)
from lastcache.second.protocol import Expire, Fill, Release
from tests.kit import given
from tests.second.scenes import COVERED, FORGETTING, UNCOVERED, Process, Shared, move, process
from tests.shells import Call, Gated, Json, LoadMany, Stage, giving, never, never_many

LATE: Final = timedelta(minutes=10)
KEYS: Final = ("a", "b", "c", "d")


class Batches:
    """A callback of many keys that notes the keys of its calls; a key without an outcome gets a success of its own.

    It may wait at a gate. ``omits`` has keys that it says nothing about.
    """

    def __init__(
        self, outcomes: Mapping[str, Outcome[Json, str]] | None = None, *, gate: Gated | None = None, omits: str = ""
    ) -> None:
        self.outcomes = outcomes or {}
        self.gate = gate
        self.omits = omits
        self.calls: list[tuple[str, ...]] = []

    async def __call__(self, keys: tuple[str, ...]) -> Mapping[str, Outcome[Json, str]]:
        self.calls.append(keys)
        if self.gate is not None:
            await self.gate(",".join(keys))
        return {key: self.outcomes.get(key, loaded(key)) for key in keys if key not in self.omits}


def loaded(key: str) -> Outcome[Json, str]:
    """Give what the callback loads for a key, unless it is told otherwise."""
    return Success(f"{key} here")


def here(key: str) -> Answer[Json, str]:
    """Give the answer of what was loaded so."""
    return given(f"{key} here")


def asking_many(one: Process, keys: tuple[str, ...], load: LoadMany) -> Call[dict[str, Answer[Json, str]]]:
    """Call ``load_or_store_many`` in a thread or task of its own."""
    return one.stage.start(lambda: one.stage.ask_many(keys, load, one.cache))


async def ask_many(one: Process, keys: tuple[str, ...], load: LoadMany) -> dict[str, Answer[Json, str]]:
    return await one.stage.ask_many(keys, load, one.cache)


async def two(stage: Stage, store: Shared) -> tuple[Process, Process]:
    """Open two processes, whose leases outlast every wait of a test."""
    return await process(stage, store, {"lease_for": LATE}), await process(stage, store, {"lease_for": LATE})


async def check_that_nobody_waits(stage: Stage, store: Shared, *keys: str) -> None:
    """Whoever comes next loads each key without waiting for a lease that was left."""
    after = await process(stage, store, {"lease_for": LATE})
    for key in keys:
        assert await after.ask(key, giving(Success("after"))) == given("after")
    assert after.of(WaitedElsewhere) == []


@pytest.mark.slow
async def test_all_are_known_elsewhere(stage: Stage, store: Shared) -> None:
    """What another process has loaded is given for all keys of a call, in one message, and no callback runs."""
    one, other = await two(stage, store)
    for key in KEYS:
        await other.ask(key, giving(loaded(key)))
    assert await ask_many(one, KEYS, never_many) == {key: here(key) for key in KEYS}
    assert sorted(event.key for event in one.of(StoreServed)) == sorted(KEYS)
    assert await ask_many(one, KEYS, never_many) == {key: here(key) for key in KEYS}
    assert one.store.told == []


async def test_half_is_known_elsewhere(stage: Stage, store: Shared) -> None:
    """Of a call for many keys only those are loaded that no process has; the others then have these, too."""
    one, other = await two(stage, store)
    for key in "bd":
        await other.ask(key, giving(Success("theirs")))
    load = Batches()
    answers = {"a": here("a"), "b": given("theirs"), "c": here("c"), "d": given("theirs")}
    assert list((await ask_many(one, KEYS, load)).items()) == list(answers.items())
    assert load.calls == [("a", "c")]
    assert await ask_many(other, KEYS, never_many) == answers


@pytest.mark.slow
async def test_stale_values_elsewhere_cover_failures(stage: Stage, store: Shared) -> None:
    """A stale value that another process had covers the failure of its key, in a process that never loaded it."""
    one, other = await two(stage, store)
    for key in KEYS:
        await other.ask(key, giving(Success("theirs")))
    move(stage, store, 101)
    load = Batches({"a": COVERED, "b": UNCOVERED})
    assert await ask_many(one, KEYS, load) == {
        "a": given("theirs", stale=True, err="down"),
        "b": Failure("broken"),
        "c": here("c"),
        "d": here("d"),
    }
    assert load.calls == [KEYS]
    assert await ask_many(other, ("c", "d"), never_many) == {"c": here("c"), "d": here("d")}


async def test_half_is_being_loaded_elsewhere(stage: Stage, store: Shared) -> None:
    """The own keys are loaded in one batch, and land before those of the other process are waited for."""
    one, other = await two(stage, store)
    theirs = Batches({"b": Success("b there"), "d": Success("d there")}, gate=stage.gated(Success(None)))
    first = asking_many(other, ("b", "d"), theirs)
    await cast("Gated", theirs.gate).started()
    own = Batches()
    second = asking_many(one, KEYS, own)
    await stage.until(lambda: "a" in one.cache and "c" in one.cache and one.store.counts["ask"] > 3)
    assert await one.ask("a", never) == here("a")
    # The process that is waited for has them as well, while the others are still under way.
    assert await other.ask("c", never) == here("c")
    cast("Gated", theirs.gate).let_go()
    assert await first.result() == {"b": given("b there"), "d": given("d there")}
    answers = {"a": here("a"), "b": given("b there"), "c": here("c"), "d": given("d there")}
    assert list((await second.result()).items()) == list(answers.items())
    assert (theirs.calls, own.calls) == ([("b", "d")], [("a", "c")])
    assert {event.key for event in one.of(WaitedElsewhere)} <= {"b", "d"}
    assert one.of(WaitedElsewhere) != []


@pytest.mark.slow
async def test_two_calls_that_wait_for_each_other(stage: Stage, store: Shared) -> None:
    """Two processes of which each has some of the keys of the other end each with all of them, loaded once."""
    one, other = await two(stage, store)
    loads = [Batches(gate=stage.gated(Success(None))) for _ in range(2)]
    gates = [cast("Gated", load.gate) for load in loads]
    first = asking_many(one, ("a", "b"), loads[0])
    await gates[0].started()
    second = asking_many(other, ("b", "c"), loads[1])
    await gates[1].started()
    third = asking_many(one, ("c", "a"), never_many)
    await stage.pause()
    for gate in gates:
        gate.let_go()
    assert await first.result() == {"a": here("a"), "b": here("b")}
    assert await second.result() == {"b": here("b"), "c": here("c")}
    assert await third.result() == {"c": here("c"), "a": here("a")}
    assert [load.calls for load in loads] == [[("a", "b")], [("c",)]]


@pytest.mark.slow
@pytest.mark.parametrize("outcome", [COVERED, UNCOVERED, FORGETTING])
async def test_the_other_process_fails(stage: Stage, store: Shared, outcome: Outcome[Json, str]) -> None:
    """Keys that another process failed to load are loaded here, and nobody waits until its lease is over."""
    one, other = await two(stage, store)
    theirs = Batches(dict.fromkeys("bd", outcome), gate=stage.gated(Success(None)))
    first = asking_many(other, ("b", "d"), theirs)
    await cast("Gated", theirs.gate).started()
    own = Batches()
    second = asking_many(one, KEYS, own)
    await stage.until(lambda: "a" in one.cache)
    cast("Gated", theirs.gate).let_go()
    await first.result()
    assert await second.result() == {key: here(key) for key in KEYS}
    assert sorted(key for call in own.calls for key in call) == sorted(KEYS)
    assert own.calls[0] == ("a", "c")


@pytest.mark.slow
async def test_the_other_process_raises(stage: Stage, store: Shared) -> None:
    """Keys whose callback raised in another process are loaded here at once."""
    one, other = await two(stage, store)
    theirs = Batches(gate=stage.gated(ValueError("a bug")))
    first = asking_many(other, ("b", "d"), theirs)
    await cast("Gated", theirs.gate).started()
    second = asking_many(one, KEYS, Batches())
    await stage.until(lambda: "a" in one.cache)
    cast("Gated", theirs.gate).let_go()
    assert isinstance(await first.error(), ValueError)
    assert await second.result() == {key: here(key) for key in KEYS}


@pytest.mark.slow
async def test_the_other_process_stops(stage: Stage, store: Shared) -> None:
    """Keys of a process that has stopped are loaded here once its leases are over; what it brings late is refused."""
    one, other = await process(stage, store), await process(stage, store)
    theirs = Batches({"b": Success("late")}, gate=stage.gated(Success(None)))
    first = asking_many(other, ("b",), theirs)
    await cast("Gated", theirs.gate).started()
    second = asking_many(one, ("a", "b"), Batches())
    await stage.until(lambda: "a" in one.cache)
    move(stage, store, 6)
    assert await second.result() == {"a": here("a"), "b": here("b")}
    cast("Gated", theirs.gate).let_go()
    assert await first.result() == {"b": given("late")}
    assert [event.key for event in other.of(StoreOutran)] == ["b"]
    assert await ask_many(other, ("a", "b"), never_many) == {"a": here("a"), "b": here("b")}


async def test_unchecked_keys_are_asked_for_in_the_same_message(stage: Stage, store: Shared) -> None:
    """What is to be checked, and what is to be loaded, is asked for in one message."""
    one, other = await two(stage, store)
    for key in "abc":
        await one.ask(key, giving(Success("old")))
    other.cache.set("b", "set")
    other.cache.delete("c")
    await other.told()
    move(stage, store, 1.5)
    asks, asked = one.store.counts["ask"], len(one.store.asked)
    load = Batches()
    assert await ask_many(one, KEYS, load) == {
        "a": given("old"),
        "b": given("set"),
        "c": here("c"),
        "d": here("d"),
    }
    assert sorted(key for call in load.calls for key in call) == ["c", "d"]
    assert {event.key: event.how for event in one.of(ChangedElsewhere)} == {"b": "set", "c": "deleted"}
    assert sorted(ask.name[-1:] for ask in one.store.asked[asked:][:4]) == [b"a", b"b", b"c", b"d"]
    # What was deleted is asked for once more: for a lease.
    assert one.store.counts["ask"] <= asks + 2
    move(stage, store, 0.5)
    counts = one.store.counts
    assert await ask_many(one, KEYS, never_many)
    assert one.store.counts == counts


@pytest.mark.slow
async def test_all_are_checked_in_one_message(stage: Stage, store: Shared) -> None:
    """A call whose values are all to be checked asks once, and they are trusted again."""
    one = await process(stage, store)
    await ask_many(one, KEYS, Batches())
    move(stage, store, 1.5)
    counts = one.store.counts
    for _ in range(3):
        assert await ask_many(one, KEYS, never_many) == {key: here(key) for key in KEYS}
    assert one.store.counts - counts == {"ask": 1}


@pytest.mark.slow
@pytest.mark.parametrize("write", ["delete", "clear", "set", "expire"])
async def test_a_write_elsewhere_during_a_batch(stage: Stage, store: Shared, write: str) -> None:
    """What a batch began before a write of another process is given to its callers, and stored nowhere."""
    one, other = await two(stage, store)
    await ask_many(one, ("met",), Batches())
    load = Batches(gate=stage.gated(Success(None)))
    call = asking_many(one, ("a", "b"), load)
    await cast("Gated", load.gate).started()
    writes: dict[str, Callable[[], object]] = {
        "set": lambda: other.cache.set("b", "set"),
        "delete": lambda: other.cache.delete("b"),
        "expire": lambda: other.cache.expire("b"),
        "clear": other.cache.clear,
    }
    writes[write]()
    await other.told()
    cast("Gated", load.gate).let_go()
    assert await call.result() == {"a": here("a"), "b": here("b")}
    outran = {"a", "b"} if write == "clear" else {"b"}
    assert {event.key for event in one.of(StoreOutran)} == outran
    assert {key for key in ("a", "b") if key not in one.cache} == outran
    again = Batches({"a": Success("after"), "b": Success("after")})
    answers = await ask_many(one, ("a", "b"), again)
    assert answers["b"] == given("set" if write == "set" else "after")
    assert again.calls == ([] if write == "set" else [tuple(sorted(outran))])


@pytest.mark.slow
async def test_a_clear_elsewhere_before_a_batch(stage: Stage, store: Shared) -> None:
    """A call that hears of a clear forgets what is here, and loads all of its keys in one batch."""
    one, other = await two(stage, store)
    await ask_many(one, KEYS, Batches())
    other.cache.clear()
    await other.told()
    move(stage, store, 1.5)
    load = Batches({key: Success("after") for key in KEYS})
    assert await ask_many(one, KEYS, load) == {key: given("after") for key in KEYS}
    assert sorted(key for call in load.calls for key in call) == sorted(KEYS)
    assert [event.how for event in one.of(ChangedElsewhere)] == ["cleared"]


async def test_the_store_is_away(stage: Stage, store: Shared) -> None:
    """While the store is away a batch loads as with no second level, and an old value covers its failures."""
    one = await process(stage, store)
    await ask_many(one, ("a", "b"), Batches())
    one.store.fail()
    move(stage, store, 101)
    load = Batches({"a": COVERED})
    answers = {"a": given("a here", stale=True, err="down"), "b": here("b"), "c": here("c")}
    assert await ask_many(one, ("a", "b", "c"), load) == answers
    assert load.calls == [("a", "b", "c")]
    await stage.until(lambda: len(one.of(StoreAway)) == 1)
    counts = one.store.counts
    assert await ask_many(one, ("d", "e"), Batches()) == {"d": here("d"), "e": here("e")}
    assert one.store.counts["ask"] == counts["ask"]
    assert one.store.counts["tell"] == counts["tell"]


@pytest.mark.slow
async def test_the_store_goes_away_during_a_batch(stage: Stage, store: Shared) -> None:
    """What was loaded under leases is given, and stays here, where the store does not take it."""
    one = await process(stage, store)
    load = Batches(gate=stage.gated(Success(None)))
    call = asking_many(one, KEYS, load)
    await cast("Gated", load.gate).started()
    one.store.fail()
    cast("Gated", load.gate).let_go()
    assert await call.result() == {key: here(key) for key in KEYS}
    assert await ask_many(one, KEYS, never_many) == {key: here(key) for key in KEYS}
    await stage.until(lambda: len(one.of(StoreAway)) == 1)


async def test_a_value_that_the_codec_refuses(stage: Stage, store: Shared) -> None:
    """One value of a batch that cannot be written is given, and not shared; the others are, in one message."""
    one, other = await two(stage, store)
    load = Batches({"b": Success({1, 2})})
    assert await ask_many(one, KEYS, load) == {**{key: here(key) for key in KEYS}, "b": given({1, 2})}
    assert [event.key for event in one.of(StoreSkipped)] == ["b"]
    assert one.store.counts["tell"] == 1
    assert [type(tell) for tell in one.store.told] == [Fill, Expire, Fill, Fill]
    own = Batches({"b": Success("own")})
    assert await ask_many(other, KEYS, own) == {**{key: here(key) for key in KEYS}, "b": given("own")}
    assert own.calls == [("b",)]
    assert other.of(WaitedElsewhere) == []


@pytest.mark.slow
async def test_a_value_that_cannot_be_read(stage: Stage, store: Shared) -> None:
    """A body of one key that cannot be read counts as none: that key alone is loaded."""
    one, other = await two(stage, store)
    for key in KEYS:
        await other.ask(key, giving(Success("theirs")))

    class Broken:
        """A codec that cannot read everything."""

        schema = "any-1"
        reads = 0

        def encode(self, value: Json, /) -> bytes:
            return repr(value).encode()

        def decode(self, body: bytes, _schema: str, /) -> Json:
            self.reads += 1
            if self.reads == 2:
                raise ValueError("a body of another kind")
            return body.decode()

    broken = await process(stage, store, {"codec": Broken(), "lease_for": LATE})
    load = Batches()
    assert await ask_many(broken, KEYS, load) == {key: given('"theirs"') if key != "b" else here("b") for key in KEYS}
    assert load.calls == [("b",)]
    assert [event.key for event in broken.of(StoreUnread)] == ["b"]
    assert await ask_many(one, KEYS, never_many) == {key: given("theirs") for key in KEYS}


async def test_a_batch_callback_that_raises(stage: Stage, store: Shared) -> None:
    """A batch whose callback raises gives all its leases back."""
    one = await process(stage, store, {"lease_for": LATE})
    load = Batches(gate=stage.gated(ValueError("a bug")).opened())
    assert isinstance(await asking_many(one, KEYS, load).error(), ValueError)
    assert [type(tell) for tell in one.store.told] == [Release] * 4
    assert one.store.counts["tell"] == 1
    await check_that_nobody_waits(stage, store, *KEYS)


async def test_a_batch_callback_that_omits_a_key(stage: Stage, store: Shared) -> None:
    """A batch that says nothing about one key raises, gives back the lease of that key, and shares the others."""
    one, other = await two(stage, store)
    assert await asking_many(one, KEYS, Batches(omits="b")).error() is not None
    assert [type(tell) for tell in one.store.told] == [Fill, Release, Fill, Fill]
    load = Batches()
    assert await ask_many(other, KEYS, load) == {key: here(key) for key in KEYS}
    assert load.calls == [("b",)]
    assert other.of(WaitedElsewhere) == []


@pytest.mark.slow
@pytest.mark.parametrize("returned", [None, 7, {"a": "no outcome"}])
async def test_a_batch_callback_that_returns_something_else(stage: Stage, store: Shared, returned: Any) -> None:
    """A batch whose callback returns no mapping of outcomes raises, and leaves no lease."""
    one = await process(stage, store, {"lease_for": LATE})

    async def load(_keys: tuple[str, ...]) -> Any:
        return returned

    assert isinstance(await asking_many(one, KEYS, load).error(), TypeError | KeyError)
    await check_that_nobody_waits(stage, store, *KEYS)


@pytest.mark.slow
async def test_a_failure_of_one_key_that_forgets(stage: Stage, store: Shared) -> None:
    """A batch that finds one of its keys gone makes that one a tombstone, and no other."""
    one, other = await two(stage, store)
    await ask_many(other, KEYS, Batches({key: Success("old") for key in KEYS}))
    await ask_many(one, KEYS, never_many)
    move(stage, store, 101)
    assert await ask_many(one, KEYS, Batches({"b": FORGETTING})) == {
        **{key: here(key) for key in KEYS},
        "b": Failure("no such key"),
    }
    assert "b" not in one.cache
    assert await ask_many(other, KEYS, Batches({"b": COVERED})) == {
        **{key: here(key) for key in KEYS},
        "b": Failure("down"),
    }


@pytest.mark.slow
async def test_what_is_owed_is_told_before_a_batch_asks(stage: Stage, store: Shared) -> None:
    """A call for keys that owe a change has the store told first, and takes nothing older from it."""
    one, other = await two(stage, store)
    for _ in range(10):
        await ask_many(other, KEYS, Batches({key: Success("old") for key in KEYS}))
        one.cache.delete("a")
        one.cache.set("b", "set")
        one.cache.expire("c")
        answers = await ask_many(one, KEYS, Batches())
        assert answers == {"a": here("a"), "b": given("set"), "c": here("c"), "d": given("old")}
        one.cache.clear()
        await one.told()
        move(stage, store, 1.5)


@pytest.mark.slow
async def test_what_is_owed_after_an_outage(stage: Stage, store: Shared) -> None:
    """Keys that still owe a change when the store is back are told before they are asked for."""
    one, other = await two(stage, store)
    await ask_many(other, KEYS, Batches({key: Success("old") for key in KEYS}))
    await ask_many(one, KEYS, never_many)
    one.store.fail()
    one.cache.delete("a")
    one.cache.delete("b")
    await stage.until(lambda: len(one.of(StoreAway)) == 1)
    assert await ask_many(one, ("a", "c"), Batches()) == {"a": here("a"), "c": given("old")}
    one.store.heal()
    move(stage, store, 0.5)
    await one.told()
    assert await ask_many(one, ("a", "b"), Batches({"b": Success("new")})) == {"a": here("a"), "b": given("new")}
    move(stage, store, 1.5)
    assert await ask_many(other, ("b",), never_many) == {"b": given("new")}


async def test_a_key_without_a_plain_form(stage: Stage, store: Shared) -> None:
    """One key that cannot be written is a ``TypeError`` of the call: no callback runs, and nothing has changed."""
    one = await process(stage, store, {"lease_for": LATE})
    keys = cast("tuple[str, ...]", ("a", 1.5, "b"))
    assert isinstance(await asking_many(one, keys, never_many).error(), TypeError)
    assert len(one.cache) == 0
    await stage.until(lambda: one.cache.stats().running == 0)
    assert await ask_many(one, ("a", "b"), Batches()) == {"a": here("a"), "b": here("b")}
    await check_that_nobody_waits(stage, store, "c", "d")


async def test_how_many_messages_a_batch_makes(stage: Stage, store: Shared) -> None:
    """A call for fifty keys asks once, and tells once."""
    one, other = await two(stage, store)
    await ask_many(one, ("met",), Batches())
    await ask_many(other, ("met",), never_many)
    keys = tuple(f"k{number}" for number in range(50))
    counts, load = one.store.counts, Batches()
    assert await ask_many(one, keys, load) == {key: here(key) for key in keys}
    assert load.calls == [keys]
    assert one.store.counts - counts == {"ask": 1, "tell": 1}
    counts = other.store.counts
    assert await ask_many(other, keys, never_many) == {key: here(key) for key in keys}
    assert other.store.counts - counts == {"ask": 1}
