"""Keys, finalizers and handlers run user code anywhere, also inside the cache's lock: nothing hangs or is lost."""

import gc
import random
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

import pytest
from returns.maybe import Some
from returns.result import Success

from lastcache import CacheClosedError, CachedValue, Config, LastCache, LoadDroppedError, ReentrantLoadError, failed
from lastcache.core.states import Outcome
from lastcache.testing import ManualClock
from tests.kit import (
    PATIENCE,
    error_of,
    given,
    gives,
    in_thread,
    never,
    result_of,
    small_cache,
    ticks,
    under_way,
    until,
)

Cache: TypeAlias = "LastCache[object, str, str]"


class Nosy:
    """A key whose comparison runs any code, inside the lock of the cache that compares it."""

    def __init__(self, name: str, act: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.act = act

    def __hash__(self) -> int:
        return hash(self.name)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Nosy):
            return False
        self.act()
        other.act()
        return other.name == self.name


def cache_of(clock: ManualClock, *, extend: int = 0) -> Cache:
    return LastCache(Config(global_ttl=ticks(100), extend_ttl=ticks(extend)), clock=clock)


@pytest.mark.parametrize("key", [[], {}, {1}, ([],)], ids=repr)
def test_an_unhashable_key_is_refused_before_anything_changed(key: object) -> None:
    """Every method raises ``TypeError`` for a key that has no hash, and the callback does not run."""
    cache = cache_of(ManualClock())
    calls: list[Callable[[], object]] = [
        lambda: cache.load_or_store(key, never),
        lambda: cache.async_load_or_store(key, never),
        lambda: cache.peek(key),
        lambda: cache.ttl(key),
        lambda: cache.set(key, "v"),
        lambda: cache.expire(key),
        lambda: cache.delete(key),
        lambda: key in cache,
    ]
    for call in calls:
        with pytest.raises(TypeError, match="unhashable"):
            call()
    assert len(cache) == 0


@pytest.mark.parametrize("comparison", range(1, 9))
def test_a_comparison_that_raises(comparison: int) -> None:
    """Whichever comparison of a key raises, the caller gets it, and the key loads again."""
    clock = ManualClock()
    cache = cache_of(clock)
    cache.set(Nosy("k"), "old")
    clock.advance(ticks(101))
    compared = 0

    def count() -> None:
        nonlocal compared
        compared += 1
        if compared == comparison:
            raise LookupError("cannot compare")

    try:
        answer = cache.load_or_store(Nosy("k", count), gives(Success("new")))
    except LookupError:
        assert cache.load_or_store(Nosy("k"), gives(Success("newer"))).unwrap().value in {"new", "newer"}
    else:
        assert answer == given("new")
        assert compared < comparison


def test_a_key_error_of_a_comparison_is_no_miss() -> None:
    """A comparison that raises ``KeyError`` is not taken for a missing key for good: the caller gets it."""
    cache = cache_of(ManualClock())
    cache.set(Nosy("k"), "v")

    def raise_it() -> None:
        raise KeyError("cannot compare")

    with pytest.raises(KeyError, match="cannot compare"):
        cache.load_or_store(Nosy("k", raise_it), never)


def test_writes_from_inside_wait_for_the_change_under_way() -> None:
    """What a comparison writes while the cache is inside a change is there once that change is complete."""
    clock = ManualClock()
    cache = cache_of(clock)
    cache.set(Nosy("k"), "old")
    clock.advance(ticks(101))
    inside: list[object] = []

    def write() -> None:
        if not inside:
            inside.append(len(cache))
            cache.set("other", "set")
            inside.append(cache.load_or_store("third", gives(Success("uncached"))))
            inside.append([entry.cached.value for entry in cache.entries()])

    assert cache.load_or_store(Nosy("k", write), gives(Success("new"))) == given("new")
    assert cache.peek("other") == Some(CachedValue("set"))


class InsideWrite:
    """A value whose finalizer acts while the cache that held it is inside a change."""

    def __init__(self, act: Callable[[], object]) -> None:
        self.act = act

    def __del__(self) -> None:
        self.act()


def inside_a_change(cache: Cache, act: Callable[[], object]) -> None:
    """Run ``act`` in this thread while the cache's guard is held: in the comparison that a ``delete`` makes."""
    cache.set(Nosy("inside"), "v")
    acted: list[object] = []

    def once() -> None:
        if not acted:
            acted.append(act())

    cache.delete(Nosy("inside", once))
    assert len(acted) == 1


def test_a_call_from_inside_a_change() -> None:
    """From inside a change reads see what is stored, loads run uncached, stale answers come, writes are kept."""
    clock = ManualClock()
    cache = cache_of(clock, extend=50)
    cache.set("stale", "old")
    clock.advance(ticks(101))
    cache.set("fresh", "v")

    def act() -> None:
        assert cache.peek("fresh") == Some(CachedValue("v"))
        assert cache.load_or_store("fresh", never) == given("v")
        assert cache.load_or_store("missing", gives(Success("w"))) == given("w")
        assert cache.load_or_store("stale", gives(failed("down", use_stale=True))) == given(
            "old", stale=True, err="down"
        )
        behind = cache.async_load_or_store("stale", never).unwrap()
        assert behind.cached == CachedValue("old", stale=True)
        assert type(error_of(behind.refresh)) is LoadDroppedError
        with pytest.raises(ZeroDivisionError):
            cache.load_or_store("missing", lambda _key: Success(str(1 // 0)))
        assert {entry.key for entry in cache.entries()} >= {"stale", "fresh"}
        cache.set("written", "x")
        cache.delete("fresh")

    inside_a_change(cache, act)
    assert sorted(map(str, (entry.key for entry in cache.entries()))) == ["stale", "written"]
    assert cache.load_or_store("stale", gives(Success("new"))) == given("new")


def test_close_from_inside_a_change() -> None:
    """A cache may be closed from inside its own change."""
    cache = cache_of(ManualClock())
    cache.set("k", "v")
    inside_a_change(cache, cache.close)
    with pytest.raises(RuntimeError, match="closed"):
        cache.peek("k")


def test_a_write_from_inside_that_fails_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """A write from inside whose key cannot be compared is logged, and hurts nobody else's call."""
    cache = cache_of(ManualClock())
    cache.set(Nosy("k"), "v")

    def raise_it() -> None:
        raise LookupError("cannot compare")

    inside_a_change(cache, lambda: cache.set(Nosy("k", raise_it), "w"))
    assert [record.getMessage() for record in caplog.records] == ["a write from inside a change of a cache failed"]
    caplog.clear()
    assert cache.peek(Nosy("k")) == Some(CachedValue("v"))


@pytest.mark.slow
def test_finalizers_that_call_the_cache() -> None:
    """With finalizers that read, load and write, run by the collector anywhere, on eight threads: no deadlock."""
    cache: LastCache[str, object, str] = LastCache(Config(global_ttl=ticks(5)))
    chance, rings = random.Random(7), list["weakref.ref[object]"]()

    class Ring:
        """Garbage that only the collector finds, and that calls the cache when it does."""

        def __init__(self, number: int) -> None:
            self.me, self.number = self, number
            rings.append(weakref.ref(self))

        def __del__(self) -> None:
            key = f"k{self.number % 50}"
            # Inside a callback that loads this very key it must not wait for itself.
            with suppress(ReentrantLoadError):
                cache.load_or_store(key, gives(Success("of a finalizer")))
            cache.peek(key)
            (cache.delete if self.number % 3 else cache.expire)(key)
            cache.set(f"k{(self.number + 7) % 50}", "of a finalizer")

    def load(key: str) -> Outcome[object, str]:
        return Success(Ring(int(key[1:])))

    acts: list[Callable[[str], object]] = [
        lambda key: cache.load_or_store(key, load),
        lambda key: cache.async_load_or_store(key, load),
        cache.delete,
    ]

    def work(seed: int) -> int:
        own = random.Random(seed)
        for _ in range(1500):
            own.choice(acts)(f"k{own.randrange(50)}")
        return 1

    before = gc.get_threshold()
    gc.set_threshold(chance.randrange(3, 30), 3, 3)
    try:
        workers = [in_thread(partial(work, seed)) for seed in range(8)]
        assert [result_of(worker) for worker in workers] == [1] * 8
    finally:
        gc.set_threshold(*before)
    until(lambda: not under_way(cache))
    cache.clear()
    # Another thread may collect just now: then this one cannot.
    until(lambda: gc.collect() >= 0 and not any(ring() for ring in rings))


def test_a_value_that_is_replaced_is_let_go_outside_the_lock() -> None:
    """The finalizer of a replaced value may wait for another thread that uses the cache."""
    cache: LastCache[str, object, str] = LastCache()

    def use_it_elsewhere() -> None:
        done = threading.Event()

        def use() -> None:
            cache.set("other", 1)
            done.set()

        threading.Thread(target=use).start()
        assert done.wait(PATIENCE)

    for let_go in (
        lambda: cache.set("k", 1),
        lambda: cache.delete("k"),
        cache.clear,
        lambda: cache.load_or_store("k", gives(Success(2))),
    ):
        cache.set("k", InsideWrite(use_it_elsewhere))
        if let_go.__name__ == "<lambda>":
            cache.expire("k")
        result_of(in_thread(let_go))


def test_a_clock_that_goes_back() -> None:
    """A clock that goes back delays what it should not, but no key is stuck and nothing is given unmarked."""
    clock = ManualClock()
    cache = small_cache(clock, extend=50)
    cache.set("k", "old")
    clock.advance(ticks(101))
    clock.advance(ticks(-60))
    assert cache.load_or_store("k", never) == given("old")
    clock.advance(ticks(60))

    def back(_key: str) -> Outcome[str, str]:
        clock.advance(ticks(-500))
        return failed("down", use_stale=True)

    assert cache.load_or_store("k", back) == given("old")
    clock.advance(ticks(10_000))
    assert cache.load_or_store("k", gives(Success("new"))) == given("new")


@pytest.mark.parametrize("reading", range(1, 6))
def test_a_clock_that_raises(reading: int) -> None:
    """Whichever reading of the clock raises, the caller gets it, and the key loads once the clock is well."""
    clock, read = ManualClock(), 0

    def broken() -> int:
        nonlocal read
        read += 1
        if read == reading + 2:
            raise OSError("no clock")
        return clock()

    cache: LastCache[str, str, str] = LastCache(Config(global_ttl=ticks(100)), clock=broken)
    cache.set("k", "old")
    clock.advance(ticks(101))
    try:
        cache.load_or_store("k", gives(Success("new")))
        revalidation = cache.async_load_or_store("k", gives(Success("new"))).unwrap()
        assert revalidation.cached == CachedValue("new")
    except OSError:
        pass
    read = 100
    assert cache.load_or_store("k", gives(Success("new"))).unwrap().value == "new"


def test_two_threads_inside_two_caches() -> None:
    """Comparisons inside the locks of two caches that write to the other cache do not wait for each other."""
    one, two = cache_of(ManualClock()), cache_of(ManualClock())
    both = threading.Barrier(2)

    def cross(mine: Cache, other: Cache) -> None:
        def write() -> None:
            both.wait(PATIENCE)
            other.set("crossed", "v")
            assert other.load_or_store("loaded", gives(Success("w"))) == given("w")
            both.wait(PATIENCE)

        inside_a_change(mine, write)

    crossing = [in_thread(partial(cross, one, two)), in_thread(partial(cross, two, one))]
    assert [None, None] == [result_of(thread) for thread in crossing]
    assert [Some(CachedValue("v"))] * 2 == [cache.peek("crossed") for cache in (one, two)]


def test_a_write_from_inside_that_ends_its_thread_is_made_once() -> None:
    """A write from inside that raises what is no ``Exception`` reaches the caller once, and blocks nothing after it."""
    cache = cache_of(ManualClock())
    cache.set(Nosy("k"), "v")

    def leave() -> None:
        raise SystemExit

    with pytest.raises(SystemExit):
        inside_a_change(cache, lambda: cache.set(Nosy("k", leave), "w"))
    cache.set("other", "x")
    assert cache.peek("other") == Some(CachedValue("x"))


def test_a_close_overtaken_by_nothing() -> None:
    """What a comparison writes from inside after it closed the cache is void: a closed cache holds nothing."""
    cache = cache_of(ManualClock())

    def close_and_write() -> None:
        cache.set("early", "v")
        cache.close()
        cache.set("late", "v")

    inside_a_change(cache, close_and_write)
    for key in ("early", "late"):
        with pytest.raises(CacheClosedError):
            cache.load_or_store(key, never)
