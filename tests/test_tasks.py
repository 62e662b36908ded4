"""The cache for tasks: its callbacks, its answers, and what it keeps of either."""
# A task group may swallow what its block raises, for all that pyright knows.
# pyright: reportPossiblyUnboundVariable=false

import asyncio
import gc
import pickle
import weakref
from collections.abc import Generator
from typing import Any, Final

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from returns.future import FutureResult
from returns.io import IOSuccess
from returns.result import Failure, Success

from lastcache import CachedValue, LoadFailure
from lastcache.core.states import Answer, Outcome
from lastcache.tasks import AsyncRevalidation
from lastcache.testing import ManualClock
from tests.kit import given
from tests.loops import (
    behind,
    check_at_rest,
    expired,
    small_cache,
)
from tests.shells import LOOPS, TaskGated, each_of, giving, never, run_in_loop

NO_EAGER_TASKS: Final = pytest.mark.skip(reason="asyncio.eager_task_factory needs Python 3.12")

pytestmark = pytest.mark.anyio


async def test_a_future_result_is_a_callback() -> None:
    """A function that returns a ``FutureResult`` is a callback like any other."""
    cache = small_cache(ManualClock())
    assert await cache.load_or_store("k", lambda _key: FutureResult.from_value("v")) == given("v")
    failure: FutureResult[str, LoadFailure[str]] = FutureResult.from_failure(LoadFailure("down", use_stale=True))
    assert await cache.load_or_store("other", lambda _key: failure) == Failure("down")


async def test_an_answer_composes_as_a_future_result() -> None:
    """``FutureResult(cache.load_or_store(...))`` is a stage of a pipeline."""
    cache = small_cache(ManualClock())
    shouted = FutureResult(cache.load_or_store("k", giving(Success("v")))).map(lambda cached: cached.value.upper())
    assert await shouted == IOSuccess("V")


@pytest.mark.parametrize("returned", [Success("v"), "v", None], ids=repr)
async def test_a_synchronous_callback_is_refused(returned: Any) -> None:
    """A callback that cannot be awaited is a ``TypeError`` that says what came, at once; nothing is stored."""
    cache = small_cache(ManualClock())
    with pytest.raises(TypeError, match="the callback must be asynchronous") as told:
        await cache.load_or_store("k", lambda _key: returned)
    assert repr(returned) in str(told.value)
    assert len(cache) == 0


async def test_a_coroutine_that_nobody_awaited_is_refused_and_closed() -> None:
    """A callback whose result is one more coroutine is a ``TypeError``, and the coroutine is closed."""
    cache = small_cache(ManualClock())

    async def twice(key: str) -> Any:
        return never(key)

    with pytest.raises(TypeError, match="a coroutine that nobody awaited"):
        await cache.load_or_store("k", twice)


async def test_a_context_is_passed_on() -> None:
    """The callbacks of the methods ``..._with_ctx`` are given their context first."""

    async def load(prefix: str, key: str) -> Outcome[str, str]:
        return Success(prefix + key)

    async with small_cache(ManualClock()) as cache:
        assert await cache.load_or_store_with_ctx("a", "k", load) == given("ak")
        answer = await cache.async_load_or_store_with_ctx("b", "other", load)
        assert answer == Success(AsyncRevalidation(CachedValue("bother"), None))


async def test_a_hit_suspends_nobody() -> None:
    """A hit awaits nothing: its coroutine ends at the first step."""
    cache = small_cache(ManualClock())
    cache.set("k", "v")
    with pytest.raises(StopIteration) as ended:
        cache.load_or_store("k", never).send(None)
    assert ended.value.value == given("v")


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_ten_thousand_tasks_make_one_call(count: int) -> None:
    """Ten thousand tasks on one missing key run one callback, and all get its value."""
    cache, gated = small_cache(ManualClock()), TaskGated(Success("v"))
    answers = list[Answer[str, str]]()

    async def ask() -> None:
        answers.append(await cache.load_or_store("k", gated))

    async with anyio.create_task_group() as group:
        for _ in range(count):
            _ = group.start_soon(ask)
        await gated.started()
        gated.let_go()
    assert (len(answers), set(answers), gated.calls) == (count, {given("v")}, 1)


@pytest.mark.parametrize(
    "loop", each_of(loop for loop in LOOPS if "eager" in loop) or [pytest.param("", marks=NO_EAGER_TASKS)]
)
def test_an_eager_task_that_ends_at_once_leaves_no_flight(loop: str) -> None:
    """Loads that end before their task was first suspended, in front and behind, leave nothing in flight."""

    async def main() -> None:
        cache = expired("k", *(f"k{number}" for number in range(5000)))
        async with cache:
            assert await asyncio.create_task(cache.load_or_store("missing", giving(Success("v")))) == given("v")
            refreshes = [await behind(cache, f"k{number}", giving(Success("v"))) for number in range(5000)]
            assert {await refresh for refresh in refreshes} == {given("v")}
        await check_at_rest(cache, "k")

    run_in_loop(loop, main)


async def test_what_a_callback_raised_is_freed() -> None:
    """Once its callers have let go of what a callback raised, the collector frees it, and the cache."""
    cache, gone = expired("k"), list["weakref.ref[Exception]"]()

    class LoudError(Exception):
        """An exception that can be watched; who raises it has no name for it."""

        def __init__(self) -> None:
            gone.append(weakref.ref(self))

    async def load(_key: str) -> Outcome[str, str]:
        await anyio.lowlevel.checkpoint()
        raise LoudError

    with pytest.raises(LoudError):
        await cache.load_or_store("k", load)
    async with cache:
        refresh = await behind(cache, "k", load)
        with pytest.raises(LoudError):
            await refresh
        del refresh
        assert await cache.load_or_store("other", giving(Success("v"))) == given("v")
        cache.expire("other")
        _unheard = await behind(cache, "other", load)
        await anyio.wait_all_tasks_blocked()
        del _unheard
    gc.collect()
    assert [seen() for seen in gone] == [None, None, None]
    watched = weakref.ref(cache)
    del cache
    gc.collect()
    assert watched() is None


class Paused:
    """What suspends a coroutine that no event loop drives."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def test_a_call_that_is_closed_leaves_the_key_free() -> None:
    """A coroutine that is closed while it leads, as the collector does, leaves nothing behind."""
    cache = small_cache(ManualClock())

    async def pause(_key: str) -> Outcome[str, str]:
        await Paused()
        raise AssertionError

    call = cache.load_or_store("k", pause)
    call.send(None)
    call.close()
    assert await cache.load_or_store("k", giving(Success("v"))) == given("v")


def test_a_cache_is_no_record() -> None:
    """A cache cannot be pickled: the error says why."""
    with pytest.raises(TypeError, match="a AsyncLastCache holds a lock"):
        pickle.dumps(small_cache(ManualClock()))
