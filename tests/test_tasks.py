"""The cache for tasks: its blocks, its event loops, and everything that cancellation can strike."""
# A task group may swallow what its block raises, for all that pyright knows.
# pyright: reportPossiblyUnboundVariable=false

import asyncio
import gc
import pickle
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from returns.future import FutureResult
from returns.io import IOSuccess
from returns.maybe import Some
from returns.result import Failure, Success

from lastcache import CacheClosedError, CachedValue, Config, LoadDroppedError, LoadFailure, failed
from lastcache._shell.loops import running_loop
from lastcache.core.states import Answer, Outcome
from lastcache.tasks import AsyncLastCache, AsyncRevalidation
from lastcache.testing import ManualClock
from tests.kit import PATIENCE, given, in_thread, result_of, ticks
from tests.shells import SHELLS, Load, TaskCall, TaskGated, giving, never, run_in_loop, task_stage

Cache: TypeAlias = AsyncLastCache[str, str, str]

LOOPS: Final = tuple(shell for shell in SHELLS if shell != "threads")
BACKENDS: Final[dict[str, object]] = {
    "asyncio": ("asyncio", {"use_uvloop": False}),
    "trio": "trio",
    **({"uvloop": ("asyncio", {"use_uvloop": True})} if "uvloop" in SHELLS else {}),
}

NO_EAGER_TASKS: Final = pytest.mark.skip(reason="asyncio.eager_task_factory needs Python 3.12")

pytestmark = pytest.mark.anyio


@pytest.fixture(params=list(BACKENDS.values()), ids=list(BACKENDS))
def anyio_backend(request: pytest.FixtureRequest) -> object:
    """Run a test on each backend."""
    return request.param


def small_cache(clock: Callable[[], int], *, workers: int = 1) -> Cache:
    return AsyncLastCache(Config(global_ttl=ticks(100), async_semaphore=workers), clock=clock)


def expired(*keys: str, workers: int = 1) -> Cache:
    """A cache in which every key has the expired value ``old``."""
    clock = ManualClock()
    cache = small_cache(clock, workers=workers)
    for key in keys:
        cache.set(key, "old")
    clock.advance(ticks(101))
    return cache


async def behind(cache: Cache, key: str, load: Load) -> Awaitable[Answer[str, str]]:
    """Give the refresh of a stale answer."""
    revalidation = (await cache.async_load_or_store(key, load)).unwrap()
    assert revalidation.refresh is not None
    return revalidation.refresh


async def hang(_key: str) -> Outcome[str, str]:
    """Stand for a callback that never ends of itself."""
    await anyio.sleep_forever()
    raise AssertionError


# --- the block


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


async def test_the_block_is_left_where_it_was_entered() -> None:
    """Leaving a block in another task than that which entered it is an error that says so."""
    cache = expired("k")
    async with cache, anyio.create_task_group() as group:

        async def leave() -> None:
            with pytest.raises(RuntimeError, match="the task that entered it"):
                await cache.__aexit__(None, None, None)

        _ = group.start_soon(leave)


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
    """A call during which the cache is closed is refused, and stores nothing."""
    caches = list[Cache]()

    def closing() -> int:
        for cache in caches:
            cache.close()
        return 0

    cache = small_cache(closing)
    assert await cache.load_or_store("other", giving(Success("v"))) == given("v")
    caches.append(cache)
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


class NoMoreTasks:
    """A task group that refuses."""

    def start_soon(self, *_work: object) -> None:
        raise RuntimeError("can't start new task")


async def test_a_load_that_cannot_start_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no task can be started stale is given all the same, ``refresh`` says why, and the next call tries again."""
    async with expired("k") as cache:
        (block,) = cache._loads.lane().blocks  # noqa: SLF001  # the fault is put in there
        with monkeypatch.context() as patched:
            patched.setattr(block, "group", NoMoreTasks())
            for _ in range(3):
                with pytest.raises(LoadDroppedError, match="can't start new task"):
                    await (await behind(cache, "k", never))
            assert await cache.load_or_store("k", giving(failed("down"))) == given("old", stale=True, err="down")
        assert await (await behind(cache, "k", giving(Success("new")))) == given("new")


async def test_a_clock_that_fails_a_background_load() -> None:
    """If the clock raises as a load starts in the background, ``refresh`` says so, and the next one starts anew."""
    clock, broken = ManualClock(), list[OSError]()

    def read() -> int:
        if broken:
            raise broken.pop()
        return clock()

    cache = small_cache(read)
    cache.set("k", "old")
    clock.advance(ticks(101))
    async with cache:
        refresh = await behind(cache, "k", never)
        broken.append(OSError("no clock"))
        with pytest.raises(OSError, match="no clock"):
            await refresh
        assert await (await behind(cache, "k", giving(Success("new")))) == given("new")


async def test_outside_of_the_block_nothing_is_left_to_the_background() -> None:
    """Without a block a soft timeout is none, and a value whose early load is due is given all the same."""
    clock = ManualClock()
    config = Config(global_ttl=ticks(100), soft_timeout=timedelta(0), refresh_after=ticks(50))
    cache: Cache = AsyncLastCache(config, clock=clock)
    assert await cache.load_or_store("k", stepping("v")) == given("v")
    clock.advance(ticks(51))
    for _ in range(3):
        assert await cache.load_or_store("k", never) == given("v")
    clock.advance(ticks(50))
    assert await cache.load_or_store("k", stepping("w")) == given("w")
    await check_at_rest(cache)


# --- cancellation


async def steps(count: int) -> None:
    """Let the event loop go round ``count`` times."""
    for _ in range(count):
        await anyio.lowlevel.cancel_shielded_checkpoint()


def stepping(value: str, count: int = 4) -> Load:
    """Make a callback that takes some steps of the loop."""

    async def load(_key: str) -> Outcome[str, str]:
        for _ in range(count):
            await anyio.lowlevel.checkpoint()
        return Success(value)

    return load


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


async def check_at_rest(cache: Cache, *keys: str) -> None:
    """Nothing is in flight, and each key answers."""
    await anyio.wait_all_tasks_blocked()
    assert [flights for flights in cache._loads.state.table.places if flights] == []  # noqa: SLF001
    for key in keys:
        assert await cache.load_or_store(key, giving(Success("at rest"))) in {given("at rest"), given("v"), given("w")}


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


@pytest.mark.parametrize("loop", [loop for loop in LOOPS if loop != "trio"])
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


# --- event loops


@pytest.mark.parametrize("loop", LOOPS)
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
    assert [flights for flights in cache._loads.state.table.places if flights] == []  # noqa: SLF001


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
    assert len(cache._loads.lanes()) == 1  # noqa: SLF001
    assert [flights for flights in cache._loads.state.table.places if flights] == []  # noqa: SLF001


@pytest.mark.filterwarnings("ignore:.*was never awaited:RuntimeWarning")
@pytest.mark.parametrize("loop", [loop for loop in LOOPS if loop != "trio"])
def test_a_background_task_that_is_cancelled_before_its_first_step(loop: str) -> None:
    """Whoever cancels every task of the loop ends the block; ``refresh`` is told, and no flight stays."""

    async def main() -> None:
        cache, refreshes = expired("k"), list[Awaitable[Answer[str, str]]]()
        before = asyncio.all_tasks()

        async def host() -> None:
            async with cache:
                refreshes.append(await behind(cache, "k", hang))
                for task in asyncio.all_tasks() - before - {asyncio.current_task()}:
                    task.cancel()
                await anyio.sleep_forever()

        hosted = asyncio.ensure_future(host())
        await asyncio.wait([hosted])
        assert hosted.cancelled()
        with pytest.raises(LoadDroppedError):
            await refreshes[0]
        await check_at_rest(cache, "k")

    run_in_loop(loop, main)


def test_close_just_as_a_loop_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that another thread's ``close`` overtakes is refused, and stores nothing."""
    cache = small_cache(ManualClock())

    def overtaken() -> object:
        result_of(in_thread(cache.close))
        return running_loop()

    monkeypatch.setattr("lastcache._shell.tasks.running_loop", overtaken)
    with pytest.raises(CacheClosedError):
        asyncio.run(cache.load_or_store("k", giving(Success("v"))))


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


@pytest.mark.parametrize("loop", LOOPS)
def test_many_loops_leave_nothing(loop: str) -> None:
    """Of loops that have ended nothing stays with the cache."""
    cache = small_cache(ManualClock())
    for _ in range(20):
        run_in_loop(loop, lambda: cache.load_or_store("k", stepping("v")))
        cache.expire("k")
        gc.collect()
    run_in_loop(loop, lambda: cache.load_or_store("k", stepping("v")))
    assert len(cache._loads.lanes()) <= 2  # noqa: SLF001  # the last one, and at most one that is not swept yet


# --- callbacks


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


async def test_ten_thousand_tasks_make_one_call() -> None:
    """Ten thousand tasks on one missing key run one callback, and all get its value."""
    cache, gated = small_cache(ManualClock()), TaskGated(Success("v"))
    answers = list[Answer[str, str]]()

    async def ask() -> None:
        answers.append(await cache.load_or_store("k", gated))

    async with anyio.create_task_group() as group:
        for _ in range(10_000):
            _ = group.start_soon(ask)
        await gated.started()
        gated.let_go()
    assert (len(answers), set(answers), gated.calls) == (10_000, {given("v")}, 1)


@pytest.mark.parametrize(
    "loop", [loop for loop in LOOPS if "eager" in loop] or [pytest.param("", marks=NO_EAGER_TASKS)]
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


# --- memory


async def test_what_a_callback_raised_is_freed() -> None:
    """Once its callers have let go of what a callback raised, it is freed without the collector; so is the cache."""
    cache, gone = expired("k"), list["weakref.ref[Exception]"]()

    class LoudError(Exception):
        """An exception that can be watched; who raises it has no name for it."""

        def __init__(self) -> None:
            gone.append(weakref.ref(self))

    async def load(_key: str) -> Outcome[str, str]:
        await anyio.lowlevel.checkpoint()
        raise LoudError

    gc.collect()
    gc.disable()
    try:
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
        assert [seen() for seen in gone] == [None, None, None]
        watched = weakref.ref(cache)
        del cache
        assert watched() is None
    finally:
        gc.enable()


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
