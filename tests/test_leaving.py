"""Leaving the block of a cache for tasks: a timeout that strikes meanwhile, and a load that leaves it from inside."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

import pytest
from returns.result import Success

from lastcache.core.states import Answer, Outcome
from tests.kit import given, in_thread, result_of
from tests.loops import behind, expired, steps
from tests.shells import LOOPS, each_of, giving, run_in_loop

T = TypeVar("T")

in_each_asyncio: Final = pytest.mark.parametrize("loop", each_of(loop for loop in LOOPS if loop != "trio"))


def run_bounded(loop: str, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``act`` in a loop of a thread of its own: a loop that cannot be ended is a failure, and no hang."""
    return result_of(in_thread(lambda: run_in_loop(loop, act)))


async def rounds(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@in_each_asyncio
@pytest.mark.parametrize("late", [1, 2, 3, 5, 20])
def test_a_timeout_while_the_block_is_left_stays_in_its_timeout(loop: str, late: int) -> None:
    """An ``asyncio.timeout`` that ends while a block is left raises ``TimeoutError``, and leaves no cancellation."""

    async def scenario() -> tuple[list[str], int]:
        cache, seen, started = expired("k"), list[str](), asyncio.Event()

        async def slow_to_end(_key: str) -> Outcome[str, str]:
            started.set()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                scope.reschedule(asyncio.get_running_loop().time())
                await rounds(late)
            raise AssertionError

        try:
            async with asyncio.timeout(None) as scope, cache:
                _refresh = await behind(cache, "k", slow_to_end)
                await started.wait()
        except TimeoutError:
            seen.append("TimeoutError")
        try:
            await rounds(5)
        except asyncio.CancelledError:
            seen.append("a stray cancellation")
        task = asyncio.current_task()
        assert task is not None
        return seen, task.cancelling()

    assert (["TimeoutError"], 0) == run_bounded(loop, scenario)


@in_each_asyncio
def test_a_cancellation_while_the_block_is_left_ends_the_task(loop: str) -> None:
    """A task that is cancelled while it leaves a block is cancelled once its loads have ended."""

    async def scenario() -> tuple[list[str], bool]:
        cache, ended, started, gate = expired("k"), list[str](), asyncio.Event(), asyncio.Event()

        async def slow_to_end(_key: str) -> Outcome[str, str]:
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                started.set()
                await gate.wait()
                ended.append("ended")
            raise AssertionError

        async def user() -> None:
            async with cache:
                _refresh = await behind(cache, "k", slow_to_end)
                await rounds(5)

        task = asyncio.create_task(user())
        await started.wait()
        task.cancel()
        await rounds(5)
        gate.set()
        await asyncio.wait([task])
        return ended, task.cancelled()

    assert (["ended"], True) == run_bounded(loop, scenario)


AT_ONCE: Final = [(loop, 0) for loop in LOOPS]


@pytest.mark.parametrize(("loop", "late"), [*((loop, 1) for loop in LOOPS), *AT_ONCE])
def test_a_background_load_cannot_leave_its_own_block(loop: str, late: int) -> None:
    """A background load that leaves the block in which it runs gets a ``RuntimeError``, and the block can be left."""

    async def scenario() -> tuple[str, Answer[str, str], Answer[str, str]]:
        cache = expired("k", "other")

        async def leave(_key: str) -> Outcome[str, str]:
            await steps(late)
            await cache.__aexit__(None, None, None)
            raise AssertionError

        async with cache:
            raised = await error_in(await behind(cache, "k", leave))
            other = await (await behind(cache, "other", giving(Success("new"))))
        return raised, other, await cache.load_or_store("k", giving(Success("after")))

    assert ("RuntimeError", given("new"), given("after")) == run_bounded(loop, scenario)


async def error_in(refresh: Awaitable[object]) -> str:
    """Name what a refresh raises."""
    try:
        await refresh
    except RuntimeError as err:
        return type(err).__name__
    return "nothing"
