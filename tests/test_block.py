"""The block of a cache for tasks, entered in one task and left in another: as fixtures, test cases and consoles do."""

import asyncio
import re
import unittest
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

import anyio
import pytest
from returns.result import Success

from lastcache import Config, LoadDroppedError
from lastcache.core.states import Answer, Outcome
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock
from tests.kit import PATIENCE, given, ticks
from tests.shells import LOOPS, Load, each_of, giving, never, run_in_loop

Cache: TypeAlias = AsyncLastCache[str, str, str]

in_each_loop: Final = pytest.mark.parametrize("loop", each_of(loop for loop in LOOPS if loop != "trio"))


def runner_of(loop: str) -> asyncio.Runner:
    """Make what runs one coroutine after the other in one event loop, each in a task of its own."""

    def make() -> asyncio.AbstractEventLoop:
        made = asyncio.new_event_loop()
        made.set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009  # Python has it since 3.12
        return made

    if loop == "uvloop":
        import uvloop

        return asyncio.Runner(loop_factory=uvloop.new_event_loop)
    return asyncio.Runner(loop_factory=make if "eager" in loop else None)


@pytest.fixture
def cache() -> Generator[Cache, None, None]:
    """A cache with three expired keys, which leaves nothing, whatever became of its block."""
    clock = ManualClock()
    made: Cache = AsyncLastCache(Config(global_ttl=ticks(100)), clock=clock)
    for key in ("k", "hanging", "queued"):
        made.set(key, "old")
    clock.advance(ticks(101))
    yield made
    made.close()


async def behind(cache: Cache, key: str, load: Load) -> Awaitable[Answer[str, str]]:
    """Give the refresh of a stale answer."""
    refresh = (await cache.async_load_or_store(key, load)).unwrap().refresh
    assert refresh is not None
    return refresh


async def hang(_key: str) -> Outcome[str, str]:
    """Stand for a callback that never ends of itself."""
    await anyio.sleep_forever()
    raise AssertionError


async def awaited(refresh: Awaitable[Answer[str, str]]) -> Answer[str, str]:
    with anyio.fail_after(PATIENCE):
        return await refresh


async def begin(cache: Cache, hanging: list[Awaitable[Answer[str, str]]]) -> Answer[str, str]:
    """Refresh one key, and leave a load of another that hangs, and one behind it that is queued."""
    ended = await awaited(await behind(cache, "k", giving(Success("new"))))
    hanging += [await behind(cache, key, hang) for key in ("hanging", "queued")]
    await asyncio.sleep(0)
    return ended


async def check_dropped(cache: Cache, hanging: list[Awaitable[Answer[str, str]]]) -> None:
    """The loads that the block left have ended, and it is left."""
    for refresh in hanging:
        with pytest.raises(LoadDroppedError):
            await awaited(refresh)
    with pytest.raises(RuntimeError, match="inside `async with cache:`"):
        await cache.async_load_or_store("k", never)
    assert given("new") == await cache.load_or_store("k", never)
    assert given("own") == await cache.load_or_store("hanging", giving(Success("own")))


@in_each_loop
def test_a_fixture_holds_the_block(loop: str, cache: Cache) -> None:
    """A generator that yields inside the block may be begun and ended by different tasks, and the test is a third."""
    hanging = list[Awaitable[Answer[str, str]]]()

    async def fixture() -> AsyncGenerator[Cache, None]:
        async with cache as held:
            yield held

    async def advance(steps: AsyncGenerator[Cache, None]) -> Cache:
        return await anext(steps)

    steps = fixture()
    with runner_of(loop) as runner:
        assert runner.run(advance(steps)) is cache
        assert given("new") == runner.run(begin(cache, hanging))
        with pytest.raises(StopAsyncIteration):
            runner.run(advance(steps))
        runner.run(check_dropped(cache, hanging))


def test_a_test_case_holds_the_block(cache: Cache) -> None:
    """``IsolatedAsyncioTestCase`` sets up, tests and cleans up in tasks of their own, and may hold the block."""
    hanging, ended = list[Awaitable[Answer[str, str]]](), list[object]()

    class Case(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self) -> None:
            # Its loop is in debug mode, and would log what a busy machine makes slow.
            asyncio.get_running_loop().slow_callback_duration = PATIENCE
            self.cache = await self.enterAsyncContext(cache)

        async def test(self) -> None:
            ended.append(await begin(self.cache, hanging))

    outcome = unittest.TestResult()
    Case("test").run(outcome)
    assert [] == [lines[-400:] for _case, lines in (*outcome.errors, *outcome.failures)]
    assert [given("new")] == ended
    run_in_loop("asyncio", lambda: check_dropped(cache, hanging))


@in_each_loop
def test_the_cells_of_a_notebook_hold_the_block(loop: str, cache: Cache) -> None:
    """In one running loop the block may be entered, used and left by tasks of their own that have ended by then."""
    hanging = list[Awaitable[Answer[str, str]]]()

    async def enter() -> None:
        assert await cache.__aenter__() is cache

    async def leave() -> None:
        await cache.__aexit__(None, None, None)

    async def main() -> None:
        await asyncio.create_task(enter())
        assert given("new") == await asyncio.create_task(begin(cache, hanging))
        await asyncio.create_task(leave())
        await check_dropped(cache, hanging)

    run_in_loop(loop, main)


@in_each_loop
def test_leaving_elsewhere_waits_for_what_runs(loop: str, cache: Cache) -> None:
    """A task that leaves a block which another entered has its loads cancelled, and waits until they have ended."""
    ended = list[str]()

    async def slow_to_end(_key: str) -> Outcome[str, str]:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
            ended.append("ended")
        raise AssertionError

    async def main() -> None:
        await asyncio.create_task(cache.__aenter__())
        refresh = await behind(cache, "k", slow_to_end)
        for _ in range(5):
            await asyncio.sleep(0)
        assert [] == ended
        await cache.__aexit__(None, None, None)
        assert ["ended"] == ended
        with pytest.raises(LoadDroppedError):
            await awaited(refresh)

    run_in_loop(loop, main)


@in_each_loop
def test_the_end_of_the_task_that_entered_ends_no_load(loop: str, cache: Cache) -> None:
    """A task that enters the block and is cancelled afterwards takes no background load with it."""
    gate = list[anyio.Event]()

    async def load(_key: str) -> Outcome[str, str]:
        await gate[0].wait()
        return Success("new")

    async def enter(entered: anyio.Event) -> None:
        await cache.__aenter__()
        entered.set()
        await anyio.sleep_forever()

    async def main() -> None:
        gate.append(anyio.Event())
        entered = anyio.Event()
        host = asyncio.create_task(enter(entered))
        await entered.wait()
        refresh = await behind(cache, "k", load)
        await asyncio.sleep(0)
        host.cancel()
        with suppress(asyncio.CancelledError):
            await host
        gate[0].set()
        assert given("new") == await awaited(refresh)
        await cache.__aexit__(None, None, None)

    run_in_loop(loop, main)


def test_trio_says_how_to_hold_the_block(cache: Cache) -> None:
    """Where trio cannot leave a block in another task, the error says to hold it in one `async with`."""
    told = list[str]()

    async def main() -> None:
        async def leave() -> None:
            with pytest.raises(RuntimeError) as refused:
                await cache.__aexit__(None, None, None)
            told.append(str(refused.value))

        async with cache, anyio.create_task_group() as group:
            _ = group.start_soon(leave)

    run_in_loop("trio", main)
    assert [True] == ["async with" in message for message in told], told


PLUGINS: Final = ("anyio", "pytest-asyncio", "IsolatedAsyncioTestCase", "pytest-trio")


@pytest.mark.parametrize("plugin", PLUGINS)
def test_the_documentation_shows_the_fixture(plugin: str) -> None:
    """``docs/async.md`` names each test plugin, and shows a fixture or a test case that holds the block."""
    page = (Path(__file__).parent.parent / "docs" / "async.md").read_text(encoding="utf-8")
    found: Callable[[str], bool] = lambda pattern: re.search(pattern, page) is not None  # noqa: E731
    assert (True, True) == (found(re.escape(plugin)), found(r"fixture"))
