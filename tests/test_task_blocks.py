"""The block of a cache for tasks: what entering allows, what leaving ends, and what ``close`` refuses."""
# A task group may swallow what its block raises, for all that pyright knows.
# pyright: reportPossiblyUnboundVariable=false

import asyncio
from collections.abc import Awaitable
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from returns.result import Success

from lastcache import CacheClosedError, CachedValue, Config, LoadDroppedError, failed
from lastcache.core.states import Answer, Outcome
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock
from tests.kit import PATIENCE, given, in_thread, result_of, ticks
from tests.loops import (
    Cache,
    behind,
    check_at_rest,
    expired,
    hang,
    small_cache,
    stepping,
)
from tests.shells import TaskCall, giving, never

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("state", ["missing", "fresh", "expired"])
async def test_a_refresh_needs_a_block(state: str) -> None:
    """Outside of its block ``async_load_or_store`` says so at the first call, whatever is stored; so does after it."""
    cache = expired("expired")
    cache.set("fresh", "v")
    with pytest.raises(RuntimeError, match="inside `async with cache:`"):
        await cache.async_load_or_store(state, never)
    async with cache:
        await cache.async_load_or_store(state, giving(Success("v")))
    with pytest.raises(RuntimeError, match="inside `async with cache:`"):
        await cache.async_load_or_store(state, never)


async def test_leaving_the_block_ends_its_loads() -> None:
    """Leaving the block cancels what runs, drops what is queued, and waits for it; the entries stay."""
    cache, ended = expired("running", "queued"), list[str]()

    async def slow_to_end(_key: str) -> Outcome[str, str]:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.01)
            ended.append("ended")
        raise AssertionError

    async with cache:
        refreshes = [await behind(cache, key, slow_to_end) for key in ("running", "queued")]
        await anyio.wait_all_tasks_blocked()
    assert ended == ["ended"]
    for refresh in refreshes:
        with pytest.raises(LoadDroppedError):
            await refresh
    assert [entry.cached for entry in cache.entries()] == [CachedValue("old", stale=True)] * 2
    assert await cache.load_or_store("running", giving(Success("new"))) == given("new")


async def test_a_foreground_caller_outlives_the_block() -> None:
    """Who waits for a background load that the end of the block cancels takes it over with its own callback."""
    cache, joiner = expired("k"), TaskCall[Answer[str, str]]()
    refreshes: list[Awaitable[Answer[str, str]]] = []
    async with anyio.create_task_group() as group, cache:
        refreshes.append(await behind(cache, "k", hang))
        await anyio.wait_all_tasks_blocked()
        _ = group.start_soon(joiner.run, partial(cache.load_or_store, "k", giving(Success("new"))))
        await anyio.wait_all_tasks_blocked()
    assert await joiner.result() == given("new")
    with pytest.raises(LoadDroppedError):
        await refreshes[0]


async def test_what_is_raised_in_the_block_comes_out_as_it_is() -> None:
    """An exception of the block is no group of exceptions."""
    raised = ValueError("broken")

    async def fail() -> None:
        async with expired("k") as cache:
            _refresh = await behind(cache, "k", hang)
            raise raised

    with pytest.raises(ValueError, match="broken") as told:
        await fail()
    assert told.value is raised


async def test_what_is_raised_in_the_block_survives_a_cancelled_scope() -> None:
    """An exception of the block comes out also where a scope around it was cancelled while loads run."""
    cache = expired("k")

    async def fail() -> None:
        with anyio.CancelScope() as scope:
            async with cache:
                _refresh = await behind(cache, "k", hang)
                scope.cancel()
                raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await fail()


async def test_what_a_background_load_raises_stays_out_of_the_block() -> None:
    """Errors of a callback that is cleaned up as the block is left end in its ``refresh``, and not in the block."""
    refreshes: list[Awaitable[Answer[str, str]]] = []

    async def fail_when_cancelled() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            raise ValueError("cleaning up")

    async def load(_key: str) -> Outcome[str, str]:
        async with anyio.create_task_group() as group:
            _ = group.start_soon(fail_when_cancelled)
        raise AssertionError

    async with expired("k") as cache:
        refreshes.append(await behind(cache, "k", load))
        await anyio.wait_all_tasks_blocked()
    with pytest.raises(ExceptionGroup) as told:
        await refreshes[0]
    assert told.value.subgroup(ValueError) is not None


async def test_the_block_may_be_entered_again() -> None:
    """A cache that was left can be entered again; what was stored is there, and loads run in the background again."""
    cache = expired("k")
    for value in ("one", "two"):
        async with cache as entered:
            assert entered is cache
            assert await (await behind(cache, "k", giving(Success(value)))) == given(value)
        assert await cache.load_or_store("k", never) == given(value)
        cache.expire("k")


async def test_blocks_of_one_loop_may_overlap() -> None:
    """While one block is left the loads that are queued go on in another; only its own loads are cancelled."""
    cache, gate = expired("a", "b", "c"), anyio.Event()

    async def load(key: str) -> Outcome[str, str]:
        await gate.wait()
        return Success(key)

    async with cache:
        first = await behind(cache, "a", load)
        async with cache:
            second = await behind(cache, "b", load)
        third = await behind(cache, "c", load)
        gate.set()
        assert [await first, await second, await third] == [given("a"), given("b"), given("c")]


async def test_a_block_that_is_being_left_takes_no_more_loads() -> None:
    """While one block waits for its loads to end, those that are asked for run in the other."""
    cache = expired("slow", "k", workers=2)
    entered, leaving, cleaned = anyio.Event(), anyio.Event(), anyio.Event()

    async def slow_to_end(_key: str) -> Outcome[str, str]:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await cleaned.wait()
        raise AssertionError

    async def first_block() -> None:
        async with cache:
            _refresh = await behind(cache, "slow", slow_to_end)
            entered.set()
            await leaving.wait()

    async with anyio.create_task_group() as group:
        _ = group.start_soon(first_block)
        await entered.wait()
        async with cache:
            leaving.set()
            await anyio.wait_all_tasks_blocked()
            assert await (await behind(cache, "k", stepping("new"))) == given("new")
            cleaned.set()


async def test_a_block_is_left_once() -> None:
    """Leaving a block that was left already is an error that says so."""
    cache = expired("k")
    async with cache:
        pass
    with pytest.raises(RuntimeError, match="it was left before"):
        await cache.__aexit__(None, None, None)


async def test_close_is_final() -> None:
    """After ``close`` no call is answered and no block begins; the block under way can be left."""
    cache = expired("k")
    async with cache:
        cache.close()
        for ask in (cache.load_or_store, cache.async_load_or_store):
            with pytest.raises(CacheClosedError):
                await ask("k", never)
        for ask_with in (cache.load_or_store_with_ctx, cache.async_load_or_store_with_ctx):
            with pytest.raises(CacheClosedError):
                await ask_with(1, "k", lambda _ctx, key: never(key))
    with pytest.raises(CacheClosedError):
        async with cache:
            raise AssertionError


async def test_close_while_a_call_decides() -> None:
    """A call whose decision the clock itself overtakes with a close answers its caller; all later ones are refused."""
    caches = list[Cache]()

    def closing() -> int:
        for cache in caches:
            cache.close()
        return 0

    cache = small_cache(closing)
    assert await cache.load_or_store("other", giving(Success("v"))) == given("v")
    caches.append(cache)
    assert await cache.load_or_store("k", giving(Success("v"))) == given("v")
    with pytest.raises(CacheClosedError):
        await cache.load_or_store("k", never)


async def test_close_in_another_thread() -> None:
    """A ``close`` from another thread wakes those of this loop who wait for what is queued."""
    cache, gate = expired("running", "queued"), anyio.Event()

    async def load(_key: str) -> Outcome[str, str]:
        await gate.wait()
        return Success("new")

    async with cache:
        running, queued = [await behind(cache, key, load) for key in ("running", "queued")]
        await anyio.wait_all_tasks_blocked()
        result_of(in_thread(cache.close))
        with anyio.fail_after(PATIENCE), pytest.raises(LoadDroppedError, match="closed"):
            await queued
        gate.set()
        assert await running == given("new")


def test_a_load_that_cannot_start_is_dropped() -> None:
    """If no task can be started stale is given all the same, ``refresh`` says why, and the next call tries again."""

    def refuse(*_args: object, **_kwargs: object) -> "asyncio.Task[Any]":
        raise RuntimeError("can't start new task")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with expired("k") as cache:
            for _ in range(3):
                loop.set_task_factory(refuse)
                refresh = await behind(cache, "k", never)
                loop.set_task_factory(None)
                with pytest.raises(LoadDroppedError, match="can't start new task"):
                    await refresh
            assert await cache.load_or_store("k", giving(failed("down", use_stale=True))) == given(
                "old", stale=True, err="down"
            )
            assert await (await behind(cache, "k", giving(Success("new")))) == given("new")

    asyncio.run(main())


async def test_a_clock_that_fails_a_background_load() -> None:
    """If the clock raises as a load starts in the background, ``refresh`` says so, and the next one starts anew."""
    clock, broken = ManualClock(), list[OSError | None]()

    def read() -> int:
        error = broken.pop() if broken else None
        if error is not None:
            raise error
        return clock()

    cache = small_cache(read)
    cache.set("k", "old")
    clock.advance(ticks(101))
    async with cache:
        # It is read on the hit path, for the decision, and for the start.
        broken.extend([OSError("no clock"), None, None])
        refresh = await behind(cache, "k", never)
        with pytest.raises(OSError, match="no clock"):
            await refresh
        assert await (await behind(cache, "k", giving(Success("new")))) == given("new")


async def test_outside_of_the_block_nothing_is_left_to_the_background() -> None:
    """Without a block a soft timeout is none, and a value whose early load is due is given all the same."""
    clock = ManualClock()
    config = Config(global_ttl=ticks(100), soft_timeout=timedelta(0), refresh_after=ticks(50))
    cache: Cache = AsyncLastCache(config, clock=clock)
    with pytest.warns(RuntimeWarning, match="soft_timeout has no effect outside of the block"):
        assert await cache.load_or_store("k", stepping("v")) == given("v")
    clock.advance(ticks(51))
    for _ in range(3):
        assert await cache.load_or_store("k", never) == given("v")
    clock.advance(ticks(50))
    assert await cache.load_or_store("k", stepping("w")) == given("w")
    await check_at_rest(cache)
