"""What outlives a callback, a task or a connection with the context it was made in, keeps no value alive."""

import asyncio
import gc
import weakref
from contextlib import suppress
from contextvars import Context, copy_context
from typing import Any

import anyio
import pytest
from returns.result import Success

from lastcache import failed
from lastcache.core.states import Outcome
from lastcache.tasks import AsyncLastCache
from tests.shells import LOOPS, Stage, each_of, giving, run_in_loop


class Value:
    """Something large that is watched."""


class Opening:
    """A callback that keeps the context in which it ran, as whatever it opens for long does."""

    def __init__(self) -> None:
        self.contexts: list[Context] = []
        self.gone: list[weakref.ref[Value]] = []

    async def __call__(self, _key: str) -> Outcome[Any, str]:
        self.contexts.append(copy_context())
        return Success(self.made())

    def made(self) -> Value:
        value = Value()
        self.gone.append(weakref.ref(value))
        return value

    def alive(self) -> list[Value]:
        """The values that are still there, though nobody asked for them."""
        gc.collect()
        return [value for seen in self.gone if (value := seen()) is not None]


FOREGROUND = "a context that a callback left behind keeps the value of that load alive"


@pytest.mark.parametrize("forget", ["delete", "set", "close"])
async def test_a_context_keeps_no_value(stage: Stage, forget: str) -> None:
    """Once a value has left the cache it is freed, however long the context of its callback is held."""
    cache, opening = await stage.open(), Opening()
    await stage.ask("k", opening)
    if forget == "close":
        cache.close()
    elif forget == "set":
        cache.set("k", "v")
    else:
        cache.delete("k")
    assert (1, []) == (len(opening.contexts), opening.alive())


async def test_a_context_keeps_no_value_of_the_background(stage: Stage) -> None:
    """Once a value that was loaded in the background has left the cache it is freed, whoever holds that context."""
    cache, opening = await stage.open("k"), Opening()
    assert (await stage.ended(await stage.behind("k", opening))).unwrap().stale is False
    cache.delete("k")
    for _ in range(20):
        # A worker of threads may be on its way out of the load.
        if opening.alive():
            await stage.pause()
    assert (1, []) == (len(opening.contexts), opening.alive())


async def test_a_context_keeps_no_value_of_a_load_around_it(stage: Stage) -> None:
    """A callback that asks for another key leaves nothing of its own value in the context of the inner callback."""
    cache, inner, outer = await stage.open(), Opening(), Opening()

    async def load(key: str) -> Outcome[Any, str]:
        await stage.ask("inner", inner, cache)
        return Success(outer.made())

    await stage.ask("outer", load)
    cache.clear()
    assert ([], []) == (inner.alive(), outer.alive())


async def test_a_context_keeps_no_error(stage: Stage) -> None:
    """Once nobody else holds the error that a callback gave it is freed, however long that context is held."""
    await stage.open(observer=lambda _event: None)
    opening = Opening()

    async def load(key: str) -> Outcome[Any, Any]:
        await opening(key)
        return failed(opening.made(), use_stale=True)

    await stage.ask("k", load)
    assert (1, []) == (len(opening.contexts), opening.alive())


@pytest.mark.parametrize("loop", each_of(loop for loop in LOOPS if loop != "trio"))
def test_a_long_lived_task_keeps_no_value(loop: str) -> None:
    """A value is freed once it has left the cache, though the task that its callback started lives on."""

    async def main() -> list[Value]:
        cache, opening, opened = AsyncLastCache[str, Any, str](), Opening(), list[asyncio.Task[None]]()

        async def load(key: str) -> Outcome[Any, str]:
            opened.append(asyncio.create_task(anyio.sleep_forever()))
            return Success(opening.made())

        await cache.load_or_store("pool", load)
        await cache.load_or_store("other", giving(Success("v")))
        cache.delete("pool")
        alive = opening.alive()
        for task in opened:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return alive

    assert [] == run_in_loop(loop, main)
