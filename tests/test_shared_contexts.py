"""Tasks that share one context, as those of a test case or of a console do: neither is the other's callback."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context, copy_context
from typing import Any, Final, TypeVar

import pytest
import trio
from returns.result import Success

from lastcache import ReentrantLoadError
from lastcache.core.states import Outcome
from tests.kit import given
from tests.shells import LOOPS, TaskCall, Tasks, each_of, giving, never, never_many

T = TypeVar("T")

in_each_loop: Final = pytest.mark.parametrize("stage", each_of(LOOPS), indirect=True)
FALSE_CIRCLE: Final = "a task counts as the callback of whichever load began last in its context"

STARTED: Final = set[asyncio.Task[None]]()
"""The tasks that run: of a task the event loop keeps no more than a weak reference."""


def start_in(context: Context, act: Callable[[], Coroutine[Any, Any, T]]) -> TaskCall[T]:
    """Run ``act`` in a task whose context is ``context`` itself, and no copy of it."""
    call = TaskCall[T]()
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        _task = trio.lowlevel.spawn_system_task(call.run, act, context=context)
    else:
        task = loop.create_task(call.run(act), context=context)
        STARTED.add(task)
        task.add_done_callback(STARTED.discard)
    return call


@in_each_loop
async def test_a_task_joins_a_load_of_its_own_context(stage: Tasks) -> None:
    """A task that asks for a key that another task of the same context loads joins that load."""
    await stage.open()
    gated, context = stage.gated(Success("v")), copy_context()
    leader = start_in(context, lambda: stage.ask("k", gated))
    await gated.started()
    joiner = start_in(context, lambda: stage.ask("k", never))
    many = start_in(context, lambda: stage.ask_many(["k"], never_many))
    try:
        await stage.until(lambda: joiner.over.is_set() or stage.cache.stats().joined == 2)
    finally:
        gated.let_go()
    assert [None] * 3 == [await leader.error(), await joiner.error(), await many.error()]
    assert [given("v")] * 2 == [await leader.result(), await joiner.result()]


@in_each_loop
async def test_a_task_joins_a_batch_of_its_own_context(stage: Tasks) -> None:
    """A task that asks for a key of a batch that another task of the same context loads joins it."""
    await stage.open()
    gate, context = stage.gated(Success("")), copy_context()

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        await gate(keys[0])
        return {key: Success(key) for key in keys}

    leader = start_in(context, lambda: stage.ask_many(["a", "b"], load))
    await gate.started()
    joiner = start_in(context, lambda: stage.ask("b", never))
    try:
        await stage.until(lambda: joiner.over.is_set() or stage.cache.stats().joined == 1)
    finally:
        gate.let_go()
    assert [None] * 2 == [await leader.error(), await joiner.error()]
    assert given("b") == await joiner.result()


@in_each_loop
async def test_a_callback_asks_for_a_load_of_its_own_context(stage: Tasks) -> None:
    """A callback may ask for a key that another task of the same context, begun before it, loads."""
    await stage.open()
    cache, gated, context = stage.cache, stage.gated(Success("v")), copy_context()

    async def load(_key: str) -> Outcome[str, str]:
        return Success((await stage.ask("first", never, cache)).unwrap().value)

    first = start_in(context, lambda: stage.ask("first", gated))
    await gated.started()
    second = start_in(context, lambda: stage.ask("second", load))
    try:
        await stage.until(lambda: second.over.is_set() or stage.cache.stats().joined == 1)
    finally:
        gated.let_go()
    assert [None] * 2 == [await first.error(), await second.error()]
    assert [given("v")] * 2 == [await first.result(), await second.result()]


@in_each_loop
async def test_a_circle_is_found_in_a_context_that_is_shared(stage: Tasks) -> None:
    """A callback that asks for its own key, itself or by a child, is refused though another task has its context."""
    await stage.open()
    cache, context = stage.cache, copy_context()

    async def itself(key: str) -> Outcome[str, str]:
        await stage.ask(key, never, cache)
        raise AssertionError

    async def by_a_child(key: str) -> Outcome[str, str]:
        child: TaskCall[object] = stage.start(lambda: stage.ask(key, never, cache))
        error = await child.error()
        assert error is not None
        raise error

    gated = stage.gated(Success("v"))
    other = start_in(context, lambda: stage.ask("other", gated))
    await gated.started()
    errors = [
        await start_in(context, lambda: stage.ask("k", itself)).error(),
        await start_in(context, lambda: stage.ask("k", by_a_child)).error(),
    ]
    gated.let_go()
    assert [ReentrantLoadError] * 2 == [type(error) for error in errors]
    assert given("v") == await other.result()
    assert given("own") == await stage.ask("k", giving(Success("own")))
