"""What an observer is told, on each shell."""

import logging
from collections import Counter
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from returns.result import Failure, Success

from lastcache import CachedValue, LastCache, failed
from lastcache.core.states import Outcome
from lastcache.events import (
    Event,
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    LoadStarted,
    RefreshRefused,
    RefreshStarted,
    ServedStale,
    Swept,
)
from lastcache.testing import ManualClock
from tests.kit import given, gives, in_thread, result_of, ticks
from tests.shells import Stage, giving
from tests.shells import never as never_async

NOW = timedelta(0)
BROKEN = ValueError("broken")


async def test_a_load_is_told_of(stage: Stage) -> None:
    """Each load in the foreground is told of once, with its outcome, and how long it took by the cache's clock."""
    await stage.open(extend=10)

    async def slowly(key: str) -> Outcome[str, str]:
        stage.clock.advance(ticks(7))
        return Success(key)

    await stage.ask("a", slowly)
    await stage.ask("a", never_async)
    await stage.ask("b", giving(failed("down", use_stale=True)))
    await stage.ask("b", giving(failed("gone", use_stale=False)))
    assert stage.events == [
        Loaded("a", ticks(7), background=False),
        LoadFailed("b", "down", use_stale=True, took=NOW, background=False),
        LoadFailed("b", "gone", use_stale=False, took=NOW, background=False),
    ]


async def test_a_broken_contract_is_told_of(stage: Stage) -> None:
    """What a callback raises is told, and so is what it returns in place of an outcome."""
    await stage.open()
    with pytest.raises(ValueError, match="broken"):
        await stage.ask("k", stage.gated(BROKEN).opened())
    with pytest.raises(TypeError) as raised:
        await stage.ask("k", giving(None))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert stage.events == [
        LoadRaised("k", BROKEN, background=False),
        LoadRaised("k", raised.value, background=False),
    ]


async def test_a_stale_answer_is_told_of(stage: Stage) -> None:
    """Each stale value that is given is told of: where a failure is covered, and while the extension stands."""
    await stage.open("k", extend=10)
    await stage.ask("k", giving(failed("down", use_stale=True)))
    await stage.ask("k", never_async)
    assert stage.events == [
        LoadFailed("k", "down", use_stale=True, took=NOW, background=False),
        ServedStale("k", "down"),
        ServedStale("k", "down"),
    ]


async def test_a_refresh_is_told_of(stage: Stage) -> None:
    """Each stale answer ahead of a load, the start of that load, and its end, which is told before ``refresh`` ends."""
    await stage.open("k")
    gated = stage.gated(Success("new"))
    refresh = await stage.behind("k", gated)
    await stage.behind("k", never_async)
    await gated.started()
    gated.let_go()
    await stage.ended(refresh)
    assert Counter(stage.events) == Counter(
        [
            ServedStale("k", None),
            ServedStale("k", None),
            RefreshStarted("k"),
            Loaded("k", NOW, background=True),
        ]
    )


@pytest.mark.parametrize("end", [failed("down", use_stale=True), BROKEN])
async def test_a_refresh_that_fails_is_told_of(stage: Stage, end: Any) -> None:
    """A failed refresh is seen by the observer, whether it returned its failure or raised."""
    await stage.open("k")
    refresh = await stage.behind("k", stage.gated(end).opened())
    if end is BROKEN:
        await stage.failed(refresh)
        last: Event[str, str] = LoadRaised("k", BROKEN, background=True)
    else:
        await stage.ended(refresh)
        last = LoadFailed("k", "down", use_stale=True, took=NOW, background=True)
    assert Counter(stage.events) == Counter([ServedStale("k", None), RefreshStarted("k"), last])


async def test_a_dropped_refresh_is_told_of(stage: Stage) -> None:
    """A queued load that ``close`` drops is told of, with the reason that its ``refresh`` gives."""
    cache = await stage.open("running", "queued")
    gated = stage.gated(Success("new"))
    running = await stage.behind("running", gated)
    await gated.started()
    queued = await stage.behind("queued", never_async)
    cache.close()
    dropped = await stage.failed(queued)
    gated.let_go()
    await stage.ended(running)
    assert str(dropped).endswith("the cache was closed")
    assert [event for event in stage.events if isinstance(event, RefreshRefused)] == [
        RefreshRefused("queued", "the cache was closed")
    ]


async def test_who_joins_is_told_of(stage: Stage) -> None:
    """Each caller who waits for another's load is told of, before it waits; the load itself is told of once."""
    await stage.open()
    gated = stage.gated(Success("v"))
    calls = [stage.asking("k", gated) for _ in range(3)]
    await stage.joined(2)
    assert stage.events == [Joined("k")] * 2
    gated.let_go()
    for call in calls:
        await call.result()
    assert stage.events[2:] == [Loaded("k", NOW, background=False)]


async def test_what_has_to_go_is_told_of(stage: Stage) -> None:
    """An eviction names the key that made room; a sweep names the key that died."""
    cache = await stage.open(max_entries=2, stale_if_error=ticks(10), stale_while_revalidate=ticks(10))
    for key in "abc":
        cache.set(key, "v")
    stage.clock.advance(ticks(111))
    await stage.ask("b", giving(Success("v")))
    assert [event for event in stage.events if not isinstance(event, Loaded)] == [Evicted("a"), Swept("b"), Swept("c")]


async def test_a_batch_is_told_of_key_by_key(stage: Stage) -> None:
    """A call for many keys tells of each load and each stale answer."""
    await stage.open("old")

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: failed("down", use_stale=True) if key == "old" else Success("v") for key in keys}

    await stage.ask_many(["new", "old"], load)
    assert stage.events == [
        Loaded("new", NOW, background=False),
        LoadFailed("old", "down", use_stale=True, took=NOW, background=False),
        ServedStale("old", "down"),
    ]


async def test_a_batch_that_raises_gives_nothing_stale(stage: Stage) -> None:
    """Where a key of a batch is joined and its load raises, no stale answer is told of."""
    await stage.open("old", extend=10)
    gated = stage.gated(BROKEN)
    leader = stage.asking("k", gated)
    await gated.started()

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: failed("down", use_stale=True) for key in keys}

    batch = stage.start(lambda: stage.ask_many(["old", "k"], load))
    await stage.joined(1)
    gated.let_go()
    assert (await leader.error(), await batch.error()) == (BROKEN, BROKEN)
    assert [event for event in stage.events if isinstance(event, ServedStale)] == []


async def test_a_batch_with_a_surplus_is_told_of_all_the_same(stage: Stage) -> None:
    """What landed before a batch was found wrong is told of."""
    await stage.open()

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: Success("v") for key in (*keys, "surplus")}

    with pytest.raises(TypeError, match="surplus"):
        await stage.ask_many(["a", "b"], load)
    assert stage.events == [Loaded(key, NOW, background=False) for key in "ab"]


def is_free(cache: Any) -> bool:
    """Whether no change of ``cache`` is under way here: another thread can make one."""
    result_of(in_thread(lambda: cache.set("elsewhere", "v")))
    return "elsewhere" in cache


async def test_an_observer_may_use_the_cache(stage: Stage) -> None:
    """No lock is held while an observer is told, and the change that it hears of has been made."""
    seen: list[object] = []

    def look(event: Event[str, str]) -> None:
        if isinstance(event, Loaded):
            stage.cache.set("told", "v")
            seen.extend([is_free(stage.cache), stage.cache.peek(event.key).unwrap()])

    await stage.open(observer=look)
    assert await stage.ask("k", giving(Success("v"))) == given("v")
    assert seen == [True, CachedValue("v")]
    assert await stage.ask("told", never_async) == given("v")


async def test_an_observer_that_raises_is_reported_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """What an observer raises breaks no call, in the foreground or behind; the first is logged, and no more."""

    def broken(_event: Event[str, str]) -> None:
        raise BROKEN

    await stage.open("k", observer=broken)
    assert (await stage.revalidate("k", giving(Success("new")))).unwrap().cached == CachedValue("old", stale=True)
    await stage.until(lambda: stage.cache.peek("k").unwrap() == CachedValue("new"))
    assert await stage.ask("other", giving(failed("down", use_stale=True))) == Failure("down")
    logged = [(record.name, record.levelno, record.exc_info is not None) for record in caplog.records]
    assert logged == [("lastcache", logging.ERROR, True)]
    caplog.clear()


async def test_an_observer_that_exits_holds_up_no_refresh(stage: Stage) -> None:
    """Even what is no ``Exception`` keeps no ``refresh`` from ending, and no later load from running."""

    def exits(event: Event[str, str]) -> None:
        if isinstance(event, RefreshStarted | Loaded):
            raise SystemExit

    await stage.open("a", "b", observer=exits)
    refreshes = [await stage.behind(key, giving(Success("new"))) for key in "ab"]
    assert [await stage.ended(refresh) for refresh in refreshes] == [given("new")] * 2


def test_what_is_asked_from_inside_is_told_afterwards() -> None:
    """A call that a finalizer makes inside a change is told of once the lock is free, and its refresh as refused."""
    events, free = list[Event[object, str]](), list[bool]()

    def hear(event: Event[object, str]) -> None:
        events.append(event)
        free.append(is_free(cache))

    cache: LastCache[object, object, str] = LastCache(clock=(clock := ManualClock()), observer=hear)
    cache.set("k", "old")
    clock.advance(timedelta(minutes=2))

    class Asking:
        def __init__(self) -> None:
            self.armed = False

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if self.armed:
                self.armed = False
                cache.async_load_or_store("k", gives(Success("new")))
                cache.load_or_store("other", gives(Success("v")))
            return self is other

    one, other = Asking(), Asking()
    cache.set(one, "v")
    one.armed = True
    cache.delete(other)
    assert events == [
        RefreshRefused("k", "it was asked for inside a change of the cache"),
        ServedStale("k", None),
        LoadStarted("other", background=False),
        Loaded("other", NOW, background=False),
    ]
    assert free == [True] * 4
