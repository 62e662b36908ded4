"""One cache in several event loops: one after the other, side by side, and those that die."""
# A task group may swallow what its block raises, for all that pyright knows.
# pyright: reportPossiblyUnboundVariable=false

import asyncio
import gc
import threading
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from returns.maybe import Some
from returns.result import Success

from lastcache import CacheClosedError, CachedValue, LoadDroppedError
from lastcache.core.states import Answer, Outcome
from lastcache.testing import ManualClock
from tests.kit import PATIENCE, given, in_thread, places, result_of, under_way
from tests.loops import (
    behind,
    check_at_rest,
    expired,
    hang,
    small_cache,
    stepping,
    steps,
)
from tests.shells import LOOPS, TaskCall, each_of, giving, never, run_in_loop


@pytest.mark.parametrize("loop", each_of(LOOPS))
def test_one_cache_serves_loop_after_loop(loop: str) -> None:
    """A cache that was made outside of any loop keeps what is stored from one loop to the next, and loads in each."""
    cache = small_cache(ManualClock())
    assert run_in_loop(loop, lambda: cache.load_or_store("k", stepping("v"))) == given("v")
    assert run_in_loop(loop, lambda: cache.load_or_store("k", never)) == given("v")

    async def refreshed() -> Answer[str, str]:
        async with cache:
            cache.expire("k")
            return await (await behind(cache, "k", stepping("w")))

    assert run_in_loop(loop, refreshed) == given("w")
    assert run_in_loop(loop, lambda: cache.load_or_store("other", stepping("v"))) == given("v")


@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
def test_a_loop_that_dies_during_a_load() -> None:
    """A load whose event loop is gone holds up no other loop, and neither do those who waited for it."""
    cache = expired("k", "behind")
    loop = asyncio.new_event_loop()

    async def begin() -> list[object]:
        await cache.__aenter__()
        refresh = await behind(cache, "behind", hang)
        tasks: list[object] = [asyncio.ensure_future(cache.load_or_store("k", load)) for load in (hang, never)]
        await steps(3)
        return [refresh, *tasks]

    left = loop.run_until_complete(begin())
    for task in asyncio.all_tasks(loop):
        # What the loop itself would say of its pending tasks.
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue]
    loop.close()
    assert asyncio.run(cache.load_or_store("k", stepping("v"))) == given("v")
    assert asyncio.run(cache.load_or_store("behind", stepping("v"))) == given("v")
    del left, task, loop
    gc.collect()
    assert asyncio.run(cache.load_or_store("again", stepping("v"))) == given("v")
    assert under_way(cache) == []


def test_a_loop_that_dies_inside_a_block() -> None:
    """The loads that a dead loop left in its block, running and queued, are told of as soon as another loop comes."""
    cache, left = expired("running", "queued"), list[Awaitable[Answer[str, str]]]()
    loop = asyncio.new_event_loop()

    async def begin() -> None:
        await cache.__aenter__()
        left.extend([await behind(cache, key, hang) for key in ("running", "queued")])
        await steps(3)

    async def hear() -> None:
        assert await cache.load_or_store("other", stepping("v")) == given("v")
        for refresh in left:
            with pytest.raises(LoadDroppedError, match="its event loop has ended"):
                await refresh

    loop.run_until_complete(begin())
    for task in asyncio.all_tasks(loop):
        # What the loop itself would say of its pending tasks.
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001  # pyright: ignore[reportAttributeAccessIssue]
    loop.close()
    asyncio.run(hear())
    assert places(cache) == 2  # its own, and that of the loop that lives
    assert under_way(cache) == []


@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
@pytest.mark.parametrize("loop", each_of(loop for loop in LOOPS if loop != "trio"))
def test_a_background_task_that_is_cancelled_before_its_first_step(loop: str) -> None:
    """Where a background task is cancelled before its first step ``refresh`` is told, and the block goes on."""

    async def main() -> None:
        async with expired("k") as cache:
            before = asyncio.all_tasks()
            refresh = await behind(cache, "k", hang)
            for task in asyncio.all_tasks() - before:
                task.cancel()
            with pytest.raises(LoadDroppedError, match="cancelled"):
                await refresh
            await check_at_rest(cache, "k")

    run_in_loop(loop, main)


def test_close_just_as_a_loop_comes() -> None:
    """A call that another thread's ``close`` overtakes is refused, and stores nothing."""

    class Closing(str):
        """A key that closes the cache when it is looked up."""

        __slots__ = ()

        def __hash__(self) -> int:
            result_of(in_thread(cache.close))
            return super().__hash__()

    cache = small_cache(ManualClock())
    with pytest.raises(CacheClosedError):
        asyncio.run(cache.load_or_store(Closing("k"), giving(Success("v"))))


def in_two_loops(first: Callable[[], Coroutine[Any, Any, Any]], second: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Run each in an event loop and a thread of its own; a hang is a failure."""
    for call in [in_thread(partial(anyio.run, act, backend=b)) for act, b in ((first, "asyncio"), (second, "trio"))]:
        result_of(call)


def test_two_loops_at_once() -> None:
    """Each of two loops loads a key for itself; both get values, and the first to land is the one that is stored."""
    cache, landed = small_cache(ManualClock()), threading.Event()
    both = threading.Barrier(2)

    async def first() -> None:
        async def load(_key: str) -> Outcome[str, str]:
            await anyio.to_thread.run_sync(both.wait, PATIENCE)
            return Success("first")

        assert await cache.load_or_store("k", load) == given("first")
        landed.set()

    async def second() -> None:
        async def load(_key: str) -> Outcome[str, str]:
            await anyio.to_thread.run_sync(both.wait, PATIENCE)
            await anyio.to_thread.run_sync(landed.wait, PATIENCE)
            return Success("second")

        assert await cache.load_or_store("k", load) == given("second")
        assert await cache.load_or_store("k", never) == given("first")

    in_two_loops(first, second)
    assert cache.peek("k") == Some(CachedValue("first"))


@pytest.mark.parametrize("write", ["set", "delete", "clear", "expire"])
def test_a_write_outruns_the_loads_of_every_loop(write: str) -> None:
    """A write outruns a load that another loop began: it answers its own callers, and stores nothing."""
    cache = expired("k")
    started, written = threading.Event(), threading.Event()
    writes: dict[str, Callable[[], None]] = {
        "set": lambda: cache.set("k", "newer"),
        "delete": lambda: cache.delete("k"),
        "clear": cache.clear,
        "expire": lambda: cache.expire("k"),
    }

    async def load_slowly() -> None:
        async def load(_key: str) -> Outcome[str, str]:
            started.set()
            await anyio.to_thread.run_sync(written.wait, PATIENCE)
            return Success("older")

        assert await cache.load_or_store("k", load) == given("older")

    async def change() -> None:
        await anyio.to_thread.run_sync(started.wait, PATIENCE)
        writes[write]()
        written.set()

    in_two_loops(load_slowly, change)
    left = {"set": [CachedValue("newer")], "expire": [CachedValue("old", stale=True)]}
    assert [entry.cached for entry in cache.entries()] == left.get(write, [])


def test_a_refresh_may_be_awaited_in_another_loop() -> None:
    """A task of another loop that awaits a ``refresh`` is woken there."""
    cache, waiting = expired("k"), threading.Event()
    shared: list[Awaitable[Answer[str, str]]] = []
    handed = threading.Event()

    async def first() -> None:
        async with cache:

            async def load(_key: str) -> Outcome[str, str]:
                await anyio.to_thread.run_sync(waiting.wait, PATIENCE)
                return Success("v")

            shared.append(await behind(cache, "k", load))
            handed.set()
            assert await shared[0] == given("v")

    async def second() -> None:
        await anyio.to_thread.run_sync(handed.wait, PATIENCE)
        async with anyio.create_task_group() as group:
            call = TaskCall[Answer[str, str]]()

            async def read() -> Answer[str, str]:
                return await shared[0]

            _ = group.start_soon(call.run, read)
            await anyio.wait_all_tasks_blocked()
            waiting.set()
        assert await call.result() == given("v")

    in_two_loops(first, second)


@pytest.mark.parametrize("loop", each_of(LOOPS))
def test_many_loops_leave_nothing(loop: str) -> None:
    """Of loops that have ended nothing stays with the cache."""
    cache = small_cache(ManualClock())
    for _ in range(20):
        run_in_loop(loop, lambda: cache.load_or_store("k", stepping("v")))
        cache.expire("k")
        gc.collect()
    run_in_loop(loop, lambda: cache.load_or_store("k", stepping("v")))
    assert places(cache) <= 3  # its own, and at most one that is not swept yet
