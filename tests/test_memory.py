"""What is kept, and what is not: entries and loads under way, and nothing else."""

import gc
import sys
import threading
import traceback
import tracemalloc
import weakref
from collections.abc import Callable, Generator

import pytest
from returns.result import Success, safe

from lastcache import LastCache, LoadFailure, failed
from lastcache.core.states import Outcome
from lastcache.testing import ManualClock, ScriptedLoad
from tests.kit import error_of, gated, gives, in_thread, never, result_of, small_cache, ticks, until


class Big:
    """Something that a frame of a failed load holds."""


def test_a_dropped_cache_is_freed_with_its_workers() -> None:
    """When the last reference goes the cache goes, without the collector, and no thread stays."""
    gc.collect()
    gc.disable()
    try:
        clock = ManualClock()
        cache = small_cache(clock)
        cache.set("k", "old")
        clock.advance(ticks(101))
        refresh = cache.async_load_or_store("k", gives(Success("new"))).unwrap().refresh
        result_of(refresh)
        gone = weakref.ref(cache)
        del cache, refresh
        until(lambda: gone() is None)
        until(lambda: not [t for t in threading.enumerate() if t.name.startswith("lastcache")])
    finally:
        gc.enable()


def test_a_raised_exception_keeps_nothing_alive() -> None:
    """Once its callers have let go of what a callback raised, the collector frees it."""
    cache = small_cache(ManualClock())
    broken: ScriptedLoad[str, str] = gated(ValueError("broken"))
    leader = in_thread(lambda: cache.load_or_store("k", broken))
    broken.started()
    joiner = in_thread(lambda: cache.load_or_store("k", never))
    broken.let_go()
    assert error_of(leader) is not None
    del leader
    error_of(joiner)
    del joiner

    gone: list[weakref.ref[Exception]] = []

    class LoudError(Exception):
        """An exception that can be watched; who raises it has no name for it."""

        def __init__(self) -> None:
            gone.append(weakref.ref(self))

    def load(_key: str) -> Outcome[str, str]:
        raise LoudError

    with pytest.raises(LoudError):
        cache.load_or_store("k", load)
    gc.collect()
    assert [seen() for seen in gone] == [None]


def error_with_a_frame(hold: Big) -> Exception:
    """An exception with a cause, a context and members, in whose frames ``hold`` stands."""

    def fail(held: Big) -> None:
        try:
            raise KeyError(id(held))
        except KeyError as err:
            raise ValueError("broken") from err

    try:
        fail(hold)
    except ValueError as err:
        return ExceptionGroup("many", [err, OSError()])
    raise AssertionError


@pytest.mark.parametrize("use_stale", [True, False])
def test_a_kept_error_does_not_keep_its_frames(*, use_stale: bool) -> None:
    """An error that is stored keeps no local variable of the failed load; its traceback can still be read."""
    clock = ManualClock()
    cache: LastCache[str, str, Exception] = LastCache(clock=clock)
    cache.set("k", "old")
    cache.expire("k")
    hold = Big()
    gone = weakref.ref(hold)
    cache.load_or_store("k", gives(failed(error_with_a_frame(hold), use_stale=use_stale)))
    del hold
    gc.collect()
    kept = cache.peek("k").unwrap().err
    assert gone() is None
    assert isinstance(kept, ExceptionGroup)
    assert "in fail" in "".join(traceback.format_exception(kept))


def test_a_generator_that_keeps_an_error_goes_on() -> None:
    """A generator that caught the error, and rests, is not closed when the error's frames are cleared."""
    kept: list[OSError] = []

    def steps() -> Generator[str, None, None]:
        try:
            raise OSError("lost")
        except OSError as err:
            kept.append(err)
            yield "lost"
        yield "went on"

    resting = steps()
    next(resting)
    cache: LastCache[str, str, OSError] = LastCache()
    cache.set("k", "old")
    cache.expire("k")
    cache.load_or_store("k", gives(failed(kept[0], use_stale=True)))
    assert next(resting) == "went on"


def test_an_error_of_safe_does_not_keep_its_frames() -> None:
    """The same holds for what ``safe`` caught, in the background, too."""
    clock = ManualClock()
    cache: LastCache[str, str, Exception] = LastCache(clock=clock)
    cache.set("k", "old")
    cache.expire("k")
    gone: list[weakref.ref[Big]] = []

    @safe
    def fetch(_key: str) -> str:
        hold = Big()
        gone.append(weakref.ref(hold))
        raise OSError(id(hold))

    def load(key: str) -> Outcome[str, Exception]:
        return fetch(key).alt(lambda err: LoadFailure(err, use_stale=True))

    result_of(cache.async_load_or_store("k", load).unwrap().refresh)
    gc.collect()
    assert gone[0]() is None


def grown(act: Callable[[int], object], count: int) -> float:
    """The bytes per call that ``act`` leaves behind."""
    for number in range(200):
        act(number)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(count):
            act(number)
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()


def raising(_key: object) -> Outcome[str, str]:
    raise ValueError("broken")


@pytest.mark.parametrize("count", [1000, pytest.param(20_000, marks=pytest.mark.slow)])
def test_nothing_is_left_of_a_failing_key(count: int) -> None:
    """A flood of distinct keys that fail, raise, or are deleted leaves nothing per key."""
    cache: LastCache[int, str, str] = LastCache()

    def fail(number: int) -> None:
        cache.load_or_store(number, gives(failed("down", use_stale=True)))
        cache.async_load_or_store(number, gives(failed("down", use_stale=False)))

    def crash(number: int) -> None:
        with pytest.raises(ValueError, match="broken"):
            cache.load_or_store(number, raising)

    def forget(number: int) -> None:
        cache.load_or_store(number, gives(Success("v")))
        cache.delete(number)

    assert [True, True, True] == [grown(act, count) < 1 for act in (fail, crash, forget)]
    assert len(cache) == 0


@pytest.mark.parametrize("count", [10_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_a_flood_of_a_million_failing_keys(count: int) -> None:
    """A million distinct keys whose loads fail leave nothing behind, counted in blocks of memory."""
    cache: LastCache[int, str, str] = LastCache()
    down = gives(failed("down", use_stale=True))
    cache.load_or_store(0, down)
    gc.collect()
    before = sys.getallocatedblocks()
    for number in range(count):
        cache.load_or_store(number, down)
    gc.collect()
    assert sys.getallocatedblocks() - before < 1000
    assert len(cache) == 0


@pytest.mark.parametrize("count", [2000, pytest.param(5000, marks=pytest.mark.slow)])
@pytest.mark.slow
def test_nothing_is_left_of_a_refresh(count: int) -> None:
    """Refreshes of one key, run five thousand times, leave nothing behind but the entry."""
    clock = ManualClock()
    cache = small_cache(clock)

    def refresh(_number: int) -> None:
        cache.set("k", "old")
        clock.advance(ticks(101))
        result_of(cache.async_load_or_store("k", gives(Success("new"))).unwrap().refresh)

    assert grown(refresh, count) < 16


def test_an_outage_keeps_one_error_a_key() -> None:
    """However many loads fail one after the other, only the last error is kept, and not those before it."""

    class LoudError(Exception):
        """One that can be watched."""

    alive = weakref.WeakSet[Exception]()
    cache = LastCache[str, str, Exception]()
    cache.set("k", "old")
    cache.expire("k")

    def load(_key: str) -> Outcome[str, Exception]:
        try:
            raise LoudError
        except LoudError as err:
            alive.add(err)
            return failed(err, use_stale=True)

    for _ in range(50):
        assert cache.load_or_store("k", load).unwrap().stale
        assert isinstance(cache.async_load_or_store("missing", load).failure(), LoudError)
    gc.collect()
    assert len(alive) <= 2


def test_a_cache_whose_clock_leads_to_it_is_freed() -> None:
    """A thread that used a cache keeps nothing of it, also where the cache is a part of what its clock belongs to."""

    class Service:
        def __init__(self) -> None:
            self.cache = LastCache[str, int, str](clock=self.now)

        def now(self) -> int:
            return 0

    service = Service()
    service.cache.load_or_store("k", lambda _: Success(1))
    gone = weakref.ref(service)
    del service
    gc.collect()
    assert gone() is None
