"""When an observer is told: in the order in which things happened, once, and while it holds up nobody else."""

import threading
from collections.abc import Mapping
from typing import Final

import pytest
from returns.result import Success

from lastcache import Config, LastCache
from lastcache.core.states import Outcome
from lastcache.events import Event, Loaded, RefreshRefused, RefreshStarted, Swept
from lastcache.testing import ManualClock
from tests.kit import given, gives, in_thread, never, result_of, ticks, until
from tests.shells import Stage, giving
from tests.test_processes import forks, run

HELD_UP: Final = 2.0
"""The seconds after which one is called held up."""


def test_a_slow_observer_holds_up_no_joiner() -> None:
    """While an observer is told that a background load starts, whoever must wait for the key is answered."""
    telling, answered, in_time = threading.Event(), threading.Event(), list[bool]()
    clock = ManualClock()

    def slow(event: Event[str, str]) -> None:
        if isinstance(event, RefreshStarted):
            telling.set()
            in_time.append(answered.wait(HELD_UP))

    cache = LastCache[str, str, str](Config(global_ttl=ticks(100)), clock=clock, observer=slow)
    cache.set("k", "old")
    clock.advance(ticks(101))
    refresh = cache.async_load_or_store("k", gives(Success("v"))).unwrap().refresh
    assert telling.wait(HELD_UP)
    joiner = in_thread(lambda: cache.load_or_store("k", gives(Success("v"))))
    assert given("v") == result_of(joiner)
    answered.set()
    assert given("v") == result_of(refresh)
    until(lambda: [True] == in_time)


def test_what_an_observer_of_a_start_loads_is_cached() -> None:
    """A load of another key that an observer makes as it hears of the start of a background load is stored."""
    clock, cache = ManualClock(), list[LastCache[str, str, str]]()

    def warm(event: Event[str, str]) -> None:
        if isinstance(event, RefreshStarted):
            cache[0].load_or_store("other", gives(Success("warm")))

    cache.append(LastCache(Config(global_ttl=ticks(100)), clock=clock, observer=warm))
    cache[0].set("k", "old")
    clock.advance(ticks(101))
    assert given("new") == result_of(cache[0].async_load_or_store("k", gives(Success("new"))).unwrap().refresh)
    assert "other" in cache[0]
    assert given("warm") == cache[0].load_or_store("other", never)


@pytest.mark.parametrize("asked_by", ["stale-if-error", "stale-while-revalidate", "a batch"])
async def test_a_key_is_swept_before_it_is_loaded(stage: Stage, asked_by: str) -> None:
    """Where a call meets a dead key the observer hears that it was swept, and then that a value was loaded for it."""
    cache = await stage.open(stale_if_error=ticks(10), stale_while_revalidate=ticks(10))
    cache.set("k", "old")
    stage.clock.advance(ticks(111))

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: Success("new") for key in keys}

    if asked_by == "a batch":
        await stage.ask_many(["k"], load)
    elif asked_by == "stale-if-error":
        await stage.ask("k", giving(Success("new")))
    else:
        await stage.revalidate("k", giving(Success("new")))
    assert [Swept("k"), Loaded("k", ticks(0), background=False)] == stage.events


async def test_an_observer_that_closes_is_told_once(stage: Stage) -> None:
    """An observer that closes the cache as it hears of a dropped load hears of each dropped load once."""
    told = list[Event[str, str]]()

    def closing(event: Event[str, str]) -> None:
        # Without an end an error would be logged, on top of what this test finds.
        if isinstance(event, RefreshRefused) and len(told) < 10:
            told.append(event)
            stage.cache.close()

    await stage.open("running", "one", "two", observer=closing)
    gated = stage.gated(Success("new"))
    running = await stage.behind("running", gated)
    await gated.started()
    queued = [await stage.behind(key, giving(Success("new"))) for key in ("one", "two")]
    stage.cache.close()
    errors = [await stage.failed(refresh) for refresh in queued]
    gated.let_go()
    assert given("new") == await stage.ended(running)
    assert ["the background load was dropped: the cache was closed"] * 2 == [str(error) for error in errors]
    assert [RefreshRefused(key, "the cache was closed") for key in ("one", "two")] == told


CHILD: Final = """
    told, heard = [], threading.Event()
    def hear(event):
        if isinstance(event, RefreshRefused):
            told.append(event)
            if len(told) == 2:
                heard.set()
    def check():
        assert heard.wait(2), f"the observer was told of {told}"
        assert sorted(told, key=lambda event: event.key) == [
            RefreshRefused(key, "the process forked") for key in ("queued", "running")
        ], told
"""


@forks
def test_a_fork_is_told_of_in_the_child() -> None:
    """The observer of the child hears of each refresh that the fork dropped, once; that of the parent of none."""
    run(f"""
    from lastcache.events import RefreshRefused
    {CHILD}
    cache = LastCache(Config(global_ttl=timedelta(microseconds=100)), clock=lambda: now[0], observer=hear)
    expired("running", "queued")
    gate, started = threading.Event(), threading.Event()
    def load(_):
        started.set(); gate.wait(20); return Success("parent")
    refreshes = [cache.async_load_or_store("running", load).unwrap().refresh]
    assert started.wait(20)
    refreshes.append(cache.async_load_or_store("queued", load).unwrap().refresh)
    def child():
        cache.set("other", "v")
        check()
        assert loads_again("queued") == Success(CachedValue("again"))
    in_child(child)
    gate.set()
    assert [refresh.result(20).unwrap().value for refresh in refreshes] == ["parent"] * 2
    assert told == []
    """)


@forks
def test_a_fork_of_an_event_loop_is_told_of_in_the_child() -> None:
    """The observer of the child of an event loop hears of each refresh that the fork dropped, once."""
    run(f"""
    import asyncio
    from lastcache.events import RefreshRefused
    from lastcache.tasks import AsyncLastCache
    {CHILD}
    cache = AsyncLastCache(Config(global_ttl=timedelta(microseconds=100)), clock=lambda: now[0], observer=hear)
    async def main():
        gate, started = asyncio.Event(), asyncio.Event()
        async def load(_):
            started.set(); await gate.wait(); return Success("parent")
        async with cache:
            refreshes = [(await cache.async_load_or_store("running", load)).unwrap().refresh]
            await started.wait()
            refreshes.append((await cache.async_load_or_store("queued", load)).unwrap().refresh)
            def child():
                cache.set("other", "v")
                check()
            in_child(child)
            gate.set()
            assert [(await refresh).unwrap().value for refresh in refreshes] == ["parent"] * 2
    expired("running", "queued")
    asyncio.run(main())
    assert told == []
    """)
