"""The queue of background loads: one job is started once, told once, and dropped with its key."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from typing import Final

import anyio
import anyio.lowlevel
import pytest
from returns.result import Success

from lastcache import Config, LastCache, LoadDroppedError
from lastcache.core.states import Answer, Outcome
from lastcache.events import Event, RefreshRefused
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock, ScriptedLoad
from tests.held import MOMENT, HeldClock
from tests.kit import error_of, gated, given, in_thread, result_of, ticks
from tests.shells import LOOPS, Cache, Stage, each_of, giving, run_in_loop


def held(soft_timeout: timedelta | None = None) -> tuple[LastCache[str, str, str], HeldClock]:
    """Make a cache with two places in the background, in which ``k`` has the expired value ``old``."""
    clock = HeldClock()
    config = Config(global_ttl=ticks(100), async_semaphore=2, soft_timeout=soft_timeout)
    cache: LastCache[str, str, str] = LastCache(config, clock=clock, executor=clock.execute)
    cache.set("k", "old")
    clock.advance(ticks(101))
    return cache, clock


def read(cache: LastCache[str, str, str], load: ScriptedLoad[str, str]) -> Future[Answer[str, str]]:
    """Give the refresh of a stale answer."""
    revalidation = cache.async_load_or_store("k", load).unwrap()
    assert revalidation.refresh is not None
    return revalidation.refresh


@pytest.mark.slow
def test_a_load_that_a_worker_has_taken_is_started_once() -> None:
    """A stale reader who comes while a worker starts the load of a key shares that load, and no second one starts."""
    cache, clock = held()
    load = gated(Success("new"))
    try:
        first = read(cache, load)
        assert clock.reached.wait(5)
        second = in_thread(lambda: read(cache, load))
        with suppress(TimeoutError):
            second.result(MOMENT)
        # By now the second worker has what it would do wrong behind it, or can do nothing before the first goes on.
        with suppress(TimeoutError):
            result_of(second).exception(MOMENT)
        clock.passed.set()
        load.let_go(2)
        assert [None, None] == [error_of(first), error_of(result_of(second))]
        assert [given("new")] * 2 == [result_of(first), result_of(result_of(second))]
        assert load.calls == ["k"]
    finally:
        clock.passed.set()
        load.let_go(9)
        cache.close()


@pytest.mark.slow
def test_one_load_of_a_key_runs_at_once() -> None:
    """Three stale readers, of whom two come while a worker starts the load of their key, make one callback run."""
    cache, clock = held()
    load = gated(Success("new"))
    readers: list[Future[object]] = []
    try:
        read(cache, load)
        assert clock.reached.wait(5)
        for _ in range(2):
            readers.append(in_thread(lambda: error_within(read(cache, load))))
            with suppress(TimeoutError):
                readers[-1].result(MOMENT)
        clock.passed.set()
        load.started()
        happens_within(lambda: len(load.calls) > 1)
        assert load.calls == ["k"]
    finally:
        clock.passed.set()
        load.let_go(9)
        for reader in readers:
            result_of(reader)
        cache.close()


@pytest.mark.slow
def test_one_who_waits_softly_hears_of_no_other_worker() -> None:
    """Callers who wait softly for one load get its value, also those who come while a worker starts it."""
    cache, clock = held(timedelta(seconds=5))
    load = gated(Success("new"))
    try:
        callers = [in_thread(lambda: cache.load_or_store("k", load))]
        assert clock.reached.wait(5)
        callers.append(in_thread(lambda: cache.load_or_store("k", load)))
        with suppress(TimeoutError, RuntimeError):
            callers[-1].result(MOMENT)
        clock.passed.set()
        load.let_go(9)
        assert [None, None] == [error_of(caller) for caller in callers]
        assert [given("new")] * 2 == [result_of(caller) for caller in callers]
    finally:
        clock.passed.set()
        load.let_go(9)
        cache.close()


def error_within(refresh: Future[Answer[str, str]]) -> object:
    """Give what ``refresh`` raises, if it ends soon."""
    try:
        return refresh.exception(MOMENT)
    except TimeoutError:
        return None


def happens_within(condition: Callable[[], bool]) -> None:
    """Give others the time to do what they must not do; it ends as soon as they did it."""
    pause = threading.Event()
    for _ in range(int(MOMENT / 0.005)):
        if condition():
            return
        pause.wait(0.005)


async def test_close_lets_a_running_load_tell_its_refresh(stage: Stage) -> None:
    """A load that runs when its cache is closed tells its ``refresh``, however many read the key before it started."""
    cache = await stage.open("k")
    load = stage.gated(Success("new"))
    try:
        refreshes = [await stage.behind("k", load) for _ in range(3)]
        await load.started()
        cache.close()
        load.let_go()
        assert [given("new")] * 3 == [await stage.ended(refresh) for refresh in refreshes]
    finally:
        load.let_go()


async def hang(_key: str) -> Outcome[str, str]:
    await anyio.sleep_forever()
    raise AssertionError("it was cancelled")


@pytest.mark.parametrize("shell", each_of(LOOPS))
def test_a_refresh_is_refused_once(shell: str) -> None:
    """When a block is left before a load could start, its refusal is told once, however many read the key."""
    clock, events = ManualClock(), list[Event[str, str]]()

    async def leave() -> None:
        cache = AsyncLastCache[str, str, str](Config(global_ttl=ticks(100)), clock=clock, observer=events.append)
        cache.set("k", "old")
        clock.advance(ticks(101))
        async with cache:
            for _ in range(3):
                await cache.async_load_or_store("k", hang)

    run_in_loop(shell, leave)
    refusals = [event for event in events if isinstance(event, RefreshRefused)]
    assert ["k"] == [refusal.key for refusal in refusals]


def test_a_load_that_was_dropped_does_not_start() -> None:
    """A load whose refusal was told does not start, in trio, where each task has its first step."""
    # In which order trio ends the tasks of a block is chance.
    late = [after_its_refusal() for _ in range(60)]
    assert [False] * 60 == late


class Late:
    """An observer and a callback: whether a load started after its refusal was told."""

    def __init__(self) -> None:
        self.refused = list[str]()
        self.started = False

    def __call__(self, event: Event[str, str]) -> None:
        if isinstance(event, RefreshRefused):
            self.refused.append(event.key)

    async def load(self, key: str) -> Outcome[str, str]:
        self.started |= key in self.refused
        return await hang(key)


def after_its_refusal() -> bool:
    """Leave a block while one load runs and one is about to start; say whether that one started once it was refused."""
    clock, late = ManualClock(), Late()

    async def leave() -> None:
        config = Config(global_ttl=ticks(100), async_semaphore=2)
        cache = AsyncLastCache[str, str, str](config, clock=clock, observer=late)
        for key in ("running", "k"):
            cache.set(key, "old")
        clock.advance(ticks(101))
        async with cache:
            await cache.async_load_or_store("running", late.load)
            await anyio.lowlevel.checkpoint()
            for _ in range(3):
                await cache.async_load_or_store("k", late.load)

    run_in_loop("trio", leave)
    return late.started


WRITES: Final[dict[str, Callable[[Cache], object]]] = {
    "delete": lambda cache: cache.delete("k"),
    "clear": lambda cache: cache.clear(),
}


@pytest.mark.parametrize("write", WRITES)
async def test_a_deleted_key_is_not_brought_back(stage: Stage, write: str) -> None:
    """``delete`` and ``clear`` drop the queued load of a key: its ``refresh`` says so, and the key stays away."""
    cache = await stage.open("stuck", "k")
    stuck, before = stage.gated(Success("late")), stage.gated(Success("of before")).opened()
    hung = await stage.behind("stuck", stuck)
    try:
        await stuck.started()
        refresh = await stage.behind("k", before)
        WRITES[write](cache)
        stuck.let_go()
        assert await stage.ended(hung) == given("late")
        assert type(await stage.failed(refresh)) is LoadDroppedError
        assert (0, False) == (before.calls, "k" in cache)
    finally:
        stuck.let_go()


@pytest.mark.parametrize("write", WRITES)
async def test_a_new_value_is_refreshed_by_a_new_callback(stage: Stage, write: str) -> None:
    """Who asks for a key after it was deleted, set anew and expired never gets what a callback of before loads."""
    cache = await stage.open("stuck", "k")
    stuck, before = stage.gated(Success("late")), stage.gated(Success("of before")).opened()
    hung = await stage.behind("stuck", stuck)
    try:
        await stuck.started()
        await stage.behind("k", before)
        WRITES[write](cache)
        cache.set("k", "newer")
        cache.expire("k")
        again = await stage.revalidate("k", giving(Success("new")))
        stuck.let_go()
        assert [given("late"), given("new")] == [await stage.ended(hung), await stage.ended(again.unwrap().refresh)]
    finally:
        stuck.let_go()
