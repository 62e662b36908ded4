"""Everything that cancellation can strike in tasks, at each step of the event loop."""
# A task group may swallow what its block raises, for all that pyright knows.
# pyright: reportPossiblyUnboundVariable=false

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from returns.result import Success

from lastcache import LoadDroppedError
from lastcache.core.states import Answer
from lastcache.testing import ManualClock
from tests.kit import given
from tests.loops import (
    behind,
    check_at_rest,
    expired,
    hang,
    small_cache,
    stepping,
    steps,
)
from tests.shells import LOOPS, TaskCall, TaskGated, each_of, giving, never, run_in_loop, task_stage

pytestmark = pytest.mark.anyio


Striking: TypeAlias = Callable[[TaskCall[Any], list["asyncio.Task[Any]"]], object]


def by_scope(call: TaskCall[Any], _task: "list[asyncio.Task[Any]]") -> None:
    """Cancel as anyio and trio do."""
    call.cancel()


def natively(_call: TaskCall[Any], task: "list[asyncio.Task[Any]]") -> None:
    """Cancel as asyncio does."""
    for struck in task:
        struck.cancel()


@pytest.fixture(params=[by_scope, natively], ids=lambda strike: strike.__name__)
def strike(request: pytest.FixtureRequest, anyio_backend_name: str) -> Striking:
    """Cancel a call in one of the ways of its event loop."""
    if request.param is natively and anyio_backend_name == "trio":
        pytest.skip("trio has no other cancellation than that of scopes")
    striking: Striking = request.param
    return striking


async def struck_after(count: int, act: Callable[[], Coroutine[Any, Any, Any]], strike: Striking) -> bool:
    """Run ``act`` in a task, strike it after ``count`` steps, and say whether that came in time."""
    tasks: list[asyncio.Task[Any]] = []

    async def noted() -> Any:
        with suppress(RuntimeError):
            task = asyncio.current_task()
            tasks.extend([task] if task else [])
        return await act()

    call = TaskCall[Any]()
    async with anyio.create_task_group() as group:
        _ = group.start_soon(call.run, noted)
        await steps(count)
        in_time = not call.over.is_set()
        strike(call, tasks)
    return in_time


async def every_step(trial: Callable[[int], Awaitable[bool]]) -> int:
    """Make the trial with a strike after 0, 1, 2 ... steps, until the strike comes too late; give their number."""
    count = 0
    while await trial(count):
        count += 1
    return count


async def test_a_cancelled_leader_leaves_the_load_to_a_joiner(strike: Striking) -> None:
    """Whenever the leader is cancelled, those who joined get a value: the leader's, or that of one who took over."""

    async def trial(count: int) -> bool:
        cache, joiners = small_cache(ManualClock()), [TaskCall[Answer[str, str]]() for _ in range(3)]
        async with anyio.create_task_group() as group:

            async def lead() -> None:
                for joiner in joiners:
                    _ = group.start_soon(joiner.run, partial(cache.load_or_store, "k", stepping("w")))
                await cache.load_or_store("k", stepping("v"))

            in_time = await struck_after(count, lead, strike)
        assert {await joiner.result() for joiner in joiners} <= {given("v"), given("w")}
        await check_at_rest(cache, "k")
        return in_time

    assert await every_step(trial) > 4


async def test_a_cancelled_joiner_is_gone_alone(strike: Striking) -> None:
    """Whenever a joiner is cancelled, the leader and the other joiners get the leader's value, from one call."""

    async def trial(count: int) -> bool:
        cache, calls = small_cache(ManualClock()), [TaskCall[Answer[str, str]]() for _ in range(3)]
        async with anyio.create_task_group() as group:
            for call in calls:
                _ = group.start_soon(call.run, partial(cache.load_or_store, "k", stepping("v", 9)))
            await steps(2)
            in_time = await struck_after(count, partial(cache.load_or_store, "k", stepping("w")), strike)
        assert {await call.result() for call in calls} == {given("v")}
        await check_at_rest(cache, "k")
        return in_time

    assert await every_step(trial) > 4


async def test_when_all_are_cancelled_nothing_is_left(strike: Striking) -> None:
    """Whenever all who need a load are cancelled, no flight stays, nothing is logged, and the next call loads."""

    async def trial(count: int) -> bool:
        cache = small_cache(ManualClock())

        async def many() -> None:
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    _ = group.start_soon(cache.load_or_store, "k", stepping("v"))

        in_time = await struck_after(count, many, strike)
        await check_at_rest(cache, "k")
        return in_time

    assert await every_step(trial) > 4


async def test_a_cancelled_stale_reader_leaves_the_refresh_to_the_others(strike: Striking) -> None:
    """Whenever one of those who wait for a ``refresh`` is cancelled, the others get its answer."""

    async def trial(count: int) -> bool:
        cache, others = expired("k"), [TaskCall[Answer[str, str]]() for _ in range(2)]
        async with cache, anyio.create_task_group() as group:

            async def read() -> Answer[str, str]:
                return await (await behind(cache, "k", stepping("v")))

            for other in others:
                _ = group.start_soon(other.run, read)
            in_time = await struck_after(count, read, strike)
        assert {await other.result() for other in others} == {given("v")}
        await check_at_rest(cache, "k")
        return in_time

    assert await every_step(trial) > 4


@pytest.mark.slow
async def test_a_cancelled_leader_leaves_the_refresh_to_the_background(strike: Striking) -> None:
    """Whenever a leader is cancelled whose load a stale reader shares, ``refresh`` ends in a value all the same."""

    async def trial(count: int) -> bool:
        cache = expired("k")
        async with cache, anyio.create_task_group() as group:
            shared = TaskCall[Answer[str, str]]()

            async def read() -> Answer[str, str]:
                return await (await behind(cache, "k", stepping("w")))

            async def lead() -> None:
                _ = group.start_soon(shared.run, read)
                await cache.load_or_store("k", stepping("v"))

            in_time = await struck_after(count, lead, strike)
            await check_at_rest(cache)
        assert await shared.result() in {given("v"), given("w")}
        return in_time

    assert await every_step(trial) > 4


async def test_a_cancelled_block_ends_its_loads(strike: Striking) -> None:
    """Whenever the task that entered the block is cancelled, each ``refresh`` ends, and joiners get a value."""

    async def trial(count: int) -> bool:
        cache, joiner = expired("running", "queued"), TaskCall[Answer[str, str]]()
        refreshes: list[Awaitable[Answer[str, str]]] = []
        async with anyio.create_task_group() as group:

            async def host() -> None:
                async with cache:
                    refreshes.extend([await behind(cache, key, stepping("v")) for key in ("running", "queued")])
                    _ = group.start_soon(joiner.run, partial(cache.load_or_store, "running", stepping("w")))
                    await steps(6)
                    await anyio.lowlevel.checkpoint()

            in_time = await struck_after(count, host, strike)
        for refresh in refreshes:
            with suppress(LoadDroppedError):
                assert await refresh in {given("v"), given("w")}
        if joiner.over.is_set():
            assert await joiner.result() in {given("v"), given("w")}
        await check_at_rest(cache, "running")
        return in_time

    assert await every_step(trial) > 6


async def test_a_timeout_arrives_once() -> None:
    """A timeout around a call ends that call alone, and the scope knows that it did."""
    cache, gated = small_cache(ManualClock()), TaskGated(Success("v"))
    async with anyio.create_task_group() as group:
        leader, joiner = TaskCall[Answer[str, str]](), TaskCall[Answer[str, str]]()
        _ = group.start_soon(leader.run, partial(cache.load_or_store, "k", gated))
        await gated.started()
        with anyio.move_on_after(0.01) as scope:
            await cache.load_or_store("k", never)
        assert scope.cancelled_caught
        _ = group.start_soon(joiner.run, partial(cache.load_or_store, "k", never))
        await anyio.wait_all_tasks_blocked()
        gated.let_go()
    assert [given("v")] * 2 == [await leader.result(), await joiner.result()]
    with anyio.move_on_after(0.01) as scope:
        await cache.load_or_store("other", hang)
    assert scope.cancelled_caught
    await check_at_rest(cache, "k", "other")


def test_timeouts_of_asyncio() -> None:
    """``asyncio.timeout`` and ``asyncio.wait_for`` end their own call, and the task is not cancelled for good."""

    async def main() -> None:
        cache = small_cache(ManualClock())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(cache.load_or_store("k", hang), 0.01)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await cache.load_or_store("k", hang)
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        assert await cache.load_or_store("k", giving(Success("v"))) == given("v")

    asyncio.run(main())


@pytest.mark.parametrize("loop", each_of(loop for loop in LOOPS if loop != "trio"))
def test_a_callback_that_raises_cancellation(loop: str) -> None:
    """A callback that raises ``CancelledError`` of itself cancels no joiner and no waiter of a ``refresh``."""

    async def main() -> None:
        async with task_stage() as stage:
            await stage.open("k", "behind")
            gated = stage.gated(asyncio.CancelledError())
            leader = stage.asking("k", gated)
            await gated.started()
            joiners = [stage.asking("k", giving(Success("v"))) for _ in range(3)]
            await stage.joined(3)
            gated.let_go()
            assert [given("v")] * 3 == [await joiner.result() for joiner in joiners]
            with pytest.raises(asyncio.CancelledError):
                await leader.result()
            refresh = await stage.behind("behind", stage.gated(asyncio.CancelledError()).opened())
            assert type(await stage.failed(refresh)) is LoadDroppedError
            assert await stage.ended(await stage.behind("behind", giving(Success("v")))) == given("v")

    run_in_loop(loop, main)
