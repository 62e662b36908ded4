"""How calls and caches end over a store: records that are lost, calls that are struck, caches that are let go."""

import asyncio
import gc
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import wait
from datetime import timedelta
from typing import Any, Final, cast

import anyio
import pytest
from returns.result import Success

from lastcache import CacheClosedError, Config, LastCache
from lastcache.core.states import Answer
from lastcache.events import ChangedElsewhere, StoreOutran, StoreServed, WaitedElsewhere
from lastcache.second import Second
from lastcache.second.memory import MemoryStore
from lastcache.second.protocol import Expire, Fill, Release, StoreFailure, Trouble
from lastcache.tasks import AsyncLastCache
from tests.kit import given, in_thread, result_of, under_way, until
from tests.loops import stepping
from tests.second.accounts import PLAIN_JSON
from tests.second.scenes import COVERED, Process, Shared, move, process
from tests.shells import LOOPS, Call, Json, Stage, TaskCall, ThreadCall, each_of, giving, never
from tests.test_cancellation import Striking, by_scope, every_step, natively, struck_after

LATE: Final = timedelta(minutes=10)
SOON: Final = timedelta(seconds=2)
"""Far less than a lease lasts here, and more than a busy machine takes."""

IN_TASKS: Final = pytest.mark.parametrize("stage", each_of(LOOPS, quick=("asyncio",)), indirect=True)
AT_EACH_STEP: Final = pytest.mark.parametrize(
    ("stage", "strike"),
    [
        pytest.param(shell, strike, marks=() if shell == "asyncio" else pytest.mark.slow)
        for shell in LOOPS
        for strike in ([by_scope] if shell == "trio" else [by_scope, natively])
    ],
    indirect=["stage"],
)
IN_THREADS: Final = pytest.mark.parametrize("stage", ["threads"], indirect=True)


async def patient(stage: Stage, store: Shared) -> Process:
    """Open a process whose leases outlast every wait of a test."""
    return await process(stage, store, {"lease_for": LATE})


def waited_long(other: Process) -> list[timedelta]:
    """Give how long the calls of a process have waited for others, where that was long."""
    return [event.took for event in other.of(WaitedElsewhere) if event.took > SOON]


def lose(one: Process, store: Shared) -> None:
    """Lose the record that a process has asked for last."""
    ask = one.store.asked[-1]
    assert ask.generation is not None
    store.engine.evict(ask.name, ask.generation)


async def test_a_record_that_is_lost_during_a_load(stage: Stage, store: Shared) -> None:
    """What was loaded under a lease whose record was lost is given, and stored nowhere: the next call loads."""
    one, other = await patient(stage, store), await patient(stage, store)
    await one.ask("another", giving(Success("kept")))
    load = stage.gated(Success("v"))
    call = stage.asking("k", load, one.cache)
    await load.started()
    lose(one, store)
    load.let_go()
    assert await call.result() == given("v")
    assert [event.key for event in one.of(StoreOutran)] == ["k"]
    assert "k" not in one.cache
    assert await other.ask("k", giving(Success("next"))) == given("next")
    assert await one.ask("k", never) == given("next")
    assert await other.ask("another", never) == given("kept")


@pytest.mark.slow
async def test_a_record_that_is_lost_and_made_anew(stage: Stage, store: Shared) -> None:
    """A load from before the loss of its record never replaces what was stored since."""
    one, other = await patient(stage, store), await patient(stage, store)
    load = stage.gated(Success("older"))
    call = stage.asking("k", load, one.cache)
    await load.started()
    lose(one, store)
    assert await other.ask("k", giving(Success("newer"))) == given("newer")
    load.let_go()
    assert await call.result() == given("older")
    assert await one.ask("k", never) == given("newer")
    assert other.of(WaitedElsewhere) == []


@pytest.mark.slow
async def test_a_record_that_is_lost_takes_nothing(stage: Stage, store: Shared) -> None:
    """The loss of a record takes no value from a process that has it, fresh or stale."""
    one = await patient(stage, store)
    await one.ask("k", giving(Success("v")))
    lose(one, store)
    move(stage, store, 1.5)
    assert await one.ask("k", never) == given("v")
    lose(one, store)
    move(stage, store, 101)
    assert await one.ask("k", giving(COVERED)) == given("v", stale=True, err="down")
    assert one.of(ChangedElsewhere) == []


async def test_a_waiter_whose_record_is_lost(stage: Stage, store: Shared) -> None:
    """A call that waits for another process loads at once where the record, and the lease in it, is lost."""
    one, other = await patient(stage, store), await patient(stage, store)
    load = stage.gated(Success("late"))
    first = stage.asking("k", load, one.cache)
    await load.started()
    second = stage.asking("k", giving(Success("own")), other.cache)
    await stage.until(lambda: other.store.counts["ask"] > 3)
    lose(one, store)
    assert await second.result() == given("own")
    load.let_go()
    assert await first.result() == given("late")
    assert await one.ask("k", never) == given("own")


@pytest.mark.slow
async def test_own_writes_are_no_news(stage: Stage, store: Shared) -> None:
    """What a process wrote itself is never reported to it as the change of another."""
    one = await patient(stage, store)
    for value in range(3):
        one.cache.set("k", value)
        await one.told()
        move(stage, store, 1.5)
        assert await one.ask("k", never) == given(value)
        one.cache.expire("k")
        await one.told()
        move(stage, store, 1.5)
        await one.ask("k", giving(Success("loaded")))
        move(stage, store, 1.5)
        await one.ask("k", never)
        one.cache.delete("k")
        one.cache.clear()
        await one.told()
        move(stage, store, 1.5)
        await one.ask("k", giving(Success("loaded")))
    assert one.of(ChangedElsewhere) == []
    assert one.of(StoreOutran) == []


async def test_late_messages_change_nothing(stage: Stage, store: Shared) -> None:
    """Words of a load that come once more, long after it, change nothing: not there, and in no process."""
    one, other = await patient(stage, store), await patient(stage, store)
    await one.ask("k", giving(Success("v")))
    await one.ask("k2", giving(Success({1})))
    await one.ask("k3", giving(COVERED))
    late = [tell for tell in one.store.told if isinstance(tell, Fill | Expire | Release)]
    assert len(late) == 3
    for key in ("k", "k2", "k3"):
        other.cache.set(key, "newer")
    await other.told()
    third = await patient(stage, store)
    for tell in (*late, *reversed(late)):
        assert len(store.engine.store.tell([tell]).unwrap()) == 1
        for key in ("k", "k2", "k3"):
            assert await third.ask(key, never) == given("newer")
        move(stage, store, 1.5)
    assert third.of(ChangedElsewhere) == []


@pytest.mark.slow
@AT_EACH_STEP
async def test_a_leader_that_is_cancelled_at_each_step(stage: Stage, store: Shared, strike: Striking) -> None:
    """Whenever a call is cancelled while it speaks to the store, who waits takes over, and all have its value."""
    one, other = await patient(stage, store), await patient(stage, store)

    async def trial(count: int) -> bool:
        key, joiners = f"k{count}", list[Call[Answer[Json, str]]]()

        async def lead() -> None:
            joiners.append(stage.asking(key, stepping("w"), one.cache))
            await one.ask(key, stepping("v"))

        in_time = await struck_after(count, lead, strike)
        if not joiners:
            return in_time
        answer = await joiners[0].result()
        assert answer in (given("v"), given("w"))
        assert await one.ask(key, never) == answer
        assert await other.ask(key, never) == answer
        return in_time

    assert await every_step(trial) > 4
    await one.quiet()
    assert waited_long(other) == []


@AT_EACH_STEP
async def test_a_lonely_call_that_is_cancelled_at_each_step(stage: Stage, store: Shared, strike: Striking) -> None:
    """Whenever a call that nobody joined is cancelled, its lease is given back, and another process loads soon."""
    one, other = await patient(stage, store), await patient(stage, store)

    async def trial(count: int) -> bool:
        key = f"k{count}"
        in_time = await struck_after(count, lambda: one.ask(key, stepping("v")), strike)
        assert await other.ask(key, stepping("w")) in (given("v"), given("w"))
        assert under_way(one.cache) == []
        return in_time

    assert await every_step(trial) > 4
    assert waited_long(other) == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("kind", ["ask", "tell"])
@IN_TASKS
async def test_a_call_that_is_cancelled_in_a_message(stage: Stage, store: Shared, kind: str, when: str) -> None:
    """A call that is cancelled while a message is under way ends at once; what the store then says is not lost."""
    one, other = await patient(stage, store), await patient(stage, store)
    await one.ask("met", giving(Success("m")))
    inside, gate = threading.Event(), threading.Event()

    def hold() -> None:
        inside.set()
        gate.wait(20)

    (one.store.before if when == "before" else one.store.after)[kind] = hold
    call = cast("TaskCall[Answer[Json, str]]", stage.asking("k", giving(Success("v")), one.cache))
    await stage.until(inside.is_set)
    call.cancel()
    await call.over.wait()
    one.store.before, one.store.after = {}, {}
    gate.set()
    answer = await other.ask("k", giving(Success("own")))
    assert answer == given("own") or (kind == "tell" and answer == given("v"))
    assert waited_long(other) == []


@pytest.mark.slow
@AT_EACH_STEP
async def test_a_waiter_that_is_cancelled_at_each_step(stage: Stage, store: Shared, strike: Striking) -> None:
    """Whenever a call that waits for another process is cancelled, nobody else is struck, and nothing is left."""
    one, other = await patient(stage, store), await patient(stage, store)
    load = stage.gated(Success("v"))

    async def trial(count: int) -> bool:
        key = f"k{count}"
        leading = stage.asking(key, load, other.cache)
        await load.started()
        # It may come to lead, and then takes over from who was struck.
        waiting = stage.asking(key, giving(Success("own")), one.cache)
        in_time = await struck_after(4 * count + 1, lambda: one.ask(key, never), strike)
        load.let_go()
        assert await leading.result() == given("v")
        assert await waiting.result() in (given("v"), given("own"))
        return in_time and count < 10

    assert await every_step(trial) == 10
    assert under_way(one.cache) == []


@pytest.mark.slow
@IN_TASKS
async def test_who_takes_over_from_a_waiter_waits_on(stage: Stage, store: Shared) -> None:
    """Where a call is cancelled that waits for another process, who joined it waits on, and loads nothing."""
    one, other = await patient(stage, store), await patient(stage, store)
    asking: list[bool] = []
    one.store.before["ask"], one.store.after["ask"] = lambda: asking.append(True), asking.pop
    load = stage.gated(Success("v"))
    leading = stage.asking("k", load, other.cache)
    await load.started()
    struck = cast("TaskCall[Answer[Json, str]]", stage.asking("k", never, one.cache))
    await stage.until(lambda: one.store.counts["ask"] > 1)
    joined = stage.asking("k", never, one.cache)
    # By now it asks so seldom that the strike falls between two questions.
    await stage.until(lambda: one.store.counts["ask"] > 16)
    await stage.until(lambda: not asking)
    await anyio.sleep(0.002)
    struck.cancel()
    await struck.over.wait()
    asks = one.store.counts["ask"]
    await stage.until(lambda: one.store.counts["ask"] > asks + 1)
    load.let_go()
    assert [await leading.result(), await joined.result()] == [given("v")] * 2


@pytest.mark.xfail(
    reason="nobody knows the number of a lease that was granted and never heard of: it ends with its time"
)
@pytest.mark.slow
@IN_THREADS
async def test_an_interrupt_that_strikes_in_the_store(stage: Stage, store: Shared) -> None:
    """An interrupt out of the store, which had granted a lease, reaches its caller; the lease is given back soon."""
    one, other = await patient(stage, store), await patient(stage, store)
    await one.ask("met", giving(Success("m")))
    one.store.after["ask"] = strike_once(one)
    assert isinstance(await stage.asking("k", never, one.cache).error(), KeyboardInterrupt)
    call = stage.asking("k", giving(Success("v")), other.cache)
    in_time = wait([cast("ThreadCall[Any]", call).future], 0.2).done
    store.engine.lose_all()  # Whoever waits goes on.
    assert await call.result() == given("v")
    assert in_time


@pytest.mark.parametrize("when", ["before", "after"])
@IN_THREADS
async def test_an_interrupt_that_strikes_as_a_load_is_told(stage: Stage, store: Shared, when: str) -> None:
    """An interrupt while the store is told of a load reaches its caller, and leaves no lease."""
    one, other = await patient(stage, store), await patient(stage, store)
    (one.store.before if when == "before" else one.store.after)["tell"] = strike_once(one)
    assert isinstance(await stage.asking("k", giving(Success("v")), one.cache).error(), KeyboardInterrupt)
    assert await other.ask("k", giving(Success("own"))) == given("own" if when == "before" else "v")
    assert waited_long(other) == []


def strike_once(one: Process) -> Callable[[], None]:
    """Make what raises an interrupt, once, and then strikes no more."""

    def strike() -> None:
        one.store.before, one.store.after = {}, {}
        raise KeyboardInterrupt

    return strike


async def test_a_cache_that_is_closed_while_a_call_waits(stage: Stage, store: Shared) -> None:
    """A call that waits for another process as its cache is closed waits no longer: it is refused, as any other."""
    one, other = await patient(stage, store), await patient(stage, store)
    load = stage.gated(Success("theirs"))
    first = stage.asking("k", load, other.cache)
    await load.started()
    waiting = stage.asking("k", never, one.cache)
    await stage.until(lambda: one.store.counts["ask"] > 3)
    one.cache.close()
    assert isinstance(await waiting.error(), CacheClosedError)
    load.let_go()
    assert await first.result() == given("theirs")
    assert await other.ask("k", never) == given("theirs")


@pytest.mark.slow
async def test_a_cache_that_is_closed_during_a_load(stage: Stage, store: Shared) -> None:
    """A load that runs as its cache is closed answers its caller, and leaves no lease behind."""
    one, other = await patient(stage, store), await patient(stage, store)
    load = stage.gated(Success("v"))
    call = stage.asking("k", load, one.cache)
    await load.started()
    one.cache.close()
    load.let_go()
    assert await call.result() == given("v")
    assert await other.ask("k", giving(Success("own"))) in (given("own"), given("v"))
    assert waited_long(other) == []


async def test_a_cache_that_is_closed_and_opened_again(stage: Stage, store: Shared) -> None:
    """A cache that is opened after another was closed has what that one stored, and what it deleted stays deleted."""
    one = await patient(stage, store)
    await one.ask("kept", giving(Success("v")))
    await one.ask("deleted", giving(Success("v")))
    one.cache.delete("deleted")
    await one.told()
    one.cache.close()
    again = await patient(stage, store)
    assert await again.ask("kept", never) == given("v")
    assert await again.ask("deleted", giving(Success("new"))) == given("new")
    move(stage, store, 101)
    again.cache.close()
    third = await patient(stage, store)
    assert await third.ask("kept", giving(COVERED)) == given("v", stale=True, err="down")
    assert [event.stale for event in again.of(StoreServed)] == [False]


def options(store: MemoryStore) -> Second[str, Json]:
    return Second(store=store, codec=PLAIN_JSON, namespace="users")


def began_since(before: "set[threading.Thread]") -> "list[str]":
    """Name the threads that have begun since, and still run."""
    return [thread.name for thread in threading.enumerate() if thread not in before and thread.is_alive()]


@pytest.mark.slow
@pytest.mark.parametrize("away", [False, True])
def test_a_dropped_cache_is_freed(*, away: bool) -> None:
    """A cache that nobody holds is freed, also while it owes a change, and its threads end."""
    store, before = MemoryStore(), set(threading.enumerate())
    cache = LastCache[str, Json, str](Config(global_ttl=LATE), second=options(store))
    cache.load_or_store("k", lambda _key: Success("v"))
    if away:
        store.fail_with(StoreFailure(Trouble.UNREACHABLE, "the test says so"))
    cache.delete("k")
    gone = weakref.ref(cache)
    del cache
    until(lambda: gc.collect() >= 0 and gone() is None)
    until(lambda: began_since(before) == [])


@pytest.mark.slow
@pytest.mark.parametrize("away", [False, True])
def test_a_dropped_cache_of_tasks_is_freed(*, away: bool) -> None:
    """A cache for tasks that nobody holds is freed, and so are the threads that called its store."""
    store, before = MemoryStore(), set(threading.enumerate())

    async def use() -> "weakref.ref[AsyncLastCache[str, Json, str]]":
        cache = AsyncLastCache[str, Json, str](Config(global_ttl=LATE), second=options(store))
        async with cache:
            assert await cache.load_or_store("k", giving(Success("v"))) == given("v")
            if away:
                store.fail_with(StoreFailure(Trouble.UNREACHABLE, "the test says so"))
            cache.delete("k")
        return weakref.ref(cache)

    gone = asyncio.run(use())
    until(lambda: gc.collect() >= 0 and gone() is None)
    until(lambda: began_since(before) == [])


@pytest.mark.slow
@pytest.mark.parametrize("away", [False, True])
def test_a_closed_cache_ends_its_threads(*, away: bool) -> None:
    """The threads of a cache that is closed end at once."""
    store, before = MemoryStore(), set(threading.enumerate())

    async def use() -> None:
        cache = AsyncLastCache[str, Json, str](Config(global_ttl=LATE), second=options(store))
        assert await cache.load_or_store("k", giving(Success("v"))) == given("v")
        if away:
            store.fail_with(StoreFailure(Trouble.UNREACHABLE, "the test says so"))
        cache.delete("k")
        cache.close()

    asyncio.run(use())
    until(lambda: began_since(before) == [])


def in_a_loop(act: Callable[[], Awaitable[Any]]) -> Any:
    """Run ``act`` in an event loop of its own, in a thread of its own."""

    async def run() -> Any:
        return await act()

    return in_thread(lambda: asyncio.run(run()))


def test_two_event_loops_on_one_cache() -> None:
    """Of two event loops that miss a key of one cache, one loads; what one deletes, the other does not give."""
    cache = AsyncLastCache[str, Json, str](Config(global_ttl=LATE), second=options(MemoryStore()))
    loading, gate, calls = threading.Event(), threading.Event(), list[str]()

    async def load(key: str) -> Any:
        calls.append(key)
        loading.set()
        await asyncio.to_thread(gate.wait, 20)
        return Success("v")

    async def ask() -> Any:
        return await cache.load_or_store("k", load)

    first = in_a_loop(ask)
    until(loading.is_set)
    second = in_a_loop(ask)
    until(lambda: cache.stats().running == 2)
    gate.set()
    assert [result_of(first), result_of(second)] == [given("v")] * 2
    assert calls == ["k"]

    async def delete() -> bool:
        cache.delete("k")
        return await cache.settled(timedelta(seconds=20))

    assert result_of(in_a_loop(delete))

    async def ask_anew() -> Any:
        return await cache.load_or_store("k", giving(Success("new")))

    assert result_of(in_a_loop(ask_anew)) == given("new")
    cache.close()
