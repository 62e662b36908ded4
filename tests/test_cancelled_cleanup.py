"""A leader that is cancelled while its callback runs: what the callback's cleanup raises is the leader's alone."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import anyio
import pytest
from returns.result import Success

from lastcache.core.states import Outcome
from lastcache.tasks import AsyncLastCache
from tests.kit import PATIENCE, given
from tests.shells import LOOPS, QUICK, LoadMany, TaskCall, Tasks, each_of, giving, run_in_loop

Cleanup: TypeAlias = Callable[["Struck"], Awaitable[None]]

BROKEN: Final = OSError("cleaning up")


class Struck:
    """A callback that waits to be cancelled, and whose ``cleanup`` raises."""

    def __init__(self, cleanup: Cleanup) -> None:
        self.cleanup = cleanup
        self.begun = anyio.Event()
        self.task: asyncio.Task[Any] | None = None

    async def one(self, _key: str) -> Outcome[str, str]:
        await self.run()
        raise AssertionError

    async def many(self, _keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        await self.run()
        raise AssertionError

    async def run(self) -> None:
        try:
            self.task = asyncio.current_task()
        except RuntimeError:
            self.task = None
        await self.cleanup(self)

    def cancel(self, leader: TaskCall[Any], way: str) -> None:
        """Cancel who leads: as anyio and trio do, or as asyncio does."""
        if way == "by a scope":
            leader.cancel()
        else:
            assert self.task is not None
            self.task.cancel()


async def in_its_own_task(struck: Struck) -> None:
    try:
        struck.begun.set()
        await anyio.sleep_forever()
    finally:
        raise BROKEN


async def in_a_child(struck: Struck) -> None:
    """Have a child of a task group, of trio a nursery, raise as it is cancelled with its parent."""
    async with anyio.create_task_group() as group:
        _ = group.start_soon(in_its_own_task, struck)
        await anyio.sleep_forever()


def broken(error: BaseException | None) -> list[BaseException]:
    """The errors that stand in ``error``, whether it is a group of them or one alone."""
    if isinstance(error, BaseExceptionGroup):
        return [found for member in error.exceptions for found in broken(member)]
    return [] if error is None else [error]


def struck_in_every_way() -> pytest.MarkDecorator:
    """Strike on every loop, in each of its ways."""
    return pytest.mark.parametrize(
        ("stage", "way", "cleanup"),
        [
            pytest.param(loop, way, cleanup, marks=() if loop in QUICK else pytest.mark.slow)
            for loop in LOOPS
            for way in ("by a scope", "by its task")
            for cleanup in (in_its_own_task, in_a_child)
            if (loop, way) != ("trio", "by its task")
        ],
        indirect=["stage"],
    )


@struck_in_every_way()
async def test_joiners_take_over_from_a_leader_whose_cleanup_raises(stage: Tasks, way: str, cleanup: Cleanup) -> None:
    """What comes out of a callback whose leader was cancelled strikes the leader alone; a joiner takes over."""
    await stage.open()
    struck = Struck(cleanup)
    cache = stage.cache
    leader = stage.start(lambda: stage.ask("k", struck.one, cache))
    await struck.begun.wait()
    joiners = [stage.asking("k", giving(Success("own"))) for _ in range(3)]
    await stage.joined(3)
    struck.cancel(leader, way)
    assert [BROKEN] == broken(await leader.error())
    assert [None] * 3 == [await joiner.error() for joiner in joiners]
    assert [given("own")] * 3 == [await joiner.result() for joiner in joiners]


@pytest.mark.parametrize("loop", each_of(loop for loop in LOOPS if loop != "trio"))
def test_joiners_take_over_from_a_leader_with_a_task_group_of_asyncio(loop: str) -> None:
    """What a child of ``asyncio.TaskGroup`` raises, cancelled with its leader, is not told to those who joined."""
    struck = list[Struck]()

    async def load(_key: str) -> Outcome[str, str]:
        async with asyncio.TaskGroup() as group:
            _child = group.create_task(in_its_own_task(struck[0]))
            await asyncio.sleep(PATIENCE)
        raise AssertionError

    async def main() -> list[object]:
        cache = AsyncLastCache[str, str, str]()
        struck.append(Struck(in_its_own_task))
        leader = asyncio.ensure_future(cache.load_or_store("k", load))
        await struck[0].begun.wait()
        joiner = asyncio.ensure_future(cache.load_or_store("k", giving(Success("own"))))
        for _ in range(3):
            await asyncio.sleep(0)
        leader.cancel()
        return [*await asyncio.gather(leader, joiner, return_exceptions=True)]

    led, joined = run_in_loop(loop, main)
    assert isinstance(led, ExceptionGroup)
    assert given("own") == joined


@struck_in_every_way()
async def test_joiners_take_over_from_a_batch_whose_cleanup_raises(stage: Tasks, way: str, cleanup: Cleanup) -> None:
    """What comes out of a batch whose caller was cancelled strikes that caller alone; joiners take each key over."""
    await stage.open()
    struck = Struck(cleanup)
    leader: TaskCall[object] = stage.start(lambda: stage.ask_many(["a", "b"], struck.many))
    await struck.begun.wait()
    joiners = [stage.asking(key, giving(Success("own"))) for key in ("a", "b")]
    batch = stage.start(lambda: stage.ask_many(["b", "a"], of_its_own()))
    await stage.joined(3)
    struck.cancel(leader, way)
    assert [BROKEN] == broken(await leader.error())
    assert [None] * 3 == [await batch.error(), *[await joiner.error() for joiner in joiners]]
    assert [given("own")] * 2 == [await joiner.result() for joiner in joiners]
    assert {"a": given("own"), "b": given("own")} == await batch.result()


def of_its_own() -> LoadMany:
    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return dict.fromkeys(keys, Success("own"))

    return load


@struck_in_every_way()
async def test_a_refresh_outlives_a_leader_whose_cleanup_raises(stage: Tasks, way: str, cleanup: Cleanup) -> None:
    """Where only a ``refresh`` waits for the load of a cancelled leader it is queued again, and ends in a value."""
    await stage.open("k")
    struck = Struck(cleanup)
    cache = stage.cache
    leader = stage.start(lambda: stage.ask("k", struck.one, cache))
    await struck.begun.wait()
    refresh = await stage.behind("k", giving(Success("own")))
    struck.cancel(leader, way)
    assert [BROKEN] == broken(await leader.error())
    assert await stage.failed(refresh) is None
    assert given("own") == await stage.ended(refresh)


@pytest.mark.parametrize("stage", each_of(LOOPS), indirect=True)
async def test_what_a_callback_raises_that_cancelled_its_own_work_reaches_everyone(stage: Tasks) -> None:
    """Where the callback, and not its leader, was cancelled, by a scope of its own, its joiners get what it raises."""
    await stage.open()
    cache, gate = stage.cache, stage.gated(Success(""))

    async def load(key: str) -> Outcome[str, str]:
        await gate(key)
        with anyio.CancelScope() as scope:
            scope.cancel()
            try:
                await anyio.sleep_forever()
            finally:
                raise BROKEN
        raise AssertionError

    leader = stage.start(lambda: stage.ask("k", load, cache))
    await gate.started()
    joiner = stage.asking("k", giving(Success("own")))
    await stage.joined(1)
    gate.let_go()
    assert [BROKEN] * 2 == [await leader.error(), await joiner.error()]
