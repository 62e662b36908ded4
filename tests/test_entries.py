"""What bounds the memory of a cache: the eviction of what is too much, and the sweep of what is dead."""

import tracemalloc
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.result import Failure, Success

from lastcache import CachedValue, Config, LastCache, failed
from lastcache.core.entries import BoundedEntry, Entries, Removed
from lastcache.core.policy import Policy
from lastcache.core.states import NegativelyCached
from lastcache.core.transitions import fresh
from lastcache.testing import ManualClock
from tests.kit import gives, kept_in, never, queues_of, ticks

KEYS: Final = st.integers(0, 9)


@given(st.integers(1, 5), st.lists(st.tuples(st.sampled_from(["put", "remember", "drop", "hit"]), KEYS), max_size=60))
def test_a_bounded_cache_is_never_above_its_bound(bound: int, steps: list[tuple[str, int]]) -> None:
    """Whatever is put and dropped, there are no more entries than the bound, and each is in the queue once."""
    policy = Policy(100, negative_ttl=5)
    entries: Entries[int, str, str] = Entries(policy, bound)
    for now, (step, key) in enumerate(steps):
        kept = entries.stored.get(key)
        if step == "put":
            entries.put(key, fresh(policy, "v", now), now)
        elif step == "remember":
            entries.put(key, NegativelyCached(Failure("e"), now + 5), now)
        elif step == "drop":
            entries.drop(key)
        elif isinstance(kept, BoundedEntry):
            kept.node.visited = True
        assert len(entries.stored) <= bound
        assert all(isinstance(held, BoundedEntry) and held.node.key == key for key, held in entries.stored.items())
        assert set(entries.failures) == {
            key for key in entries.stored if isinstance(entries.get(key), NegativelyCached)
        }
        assert queues_of(entries) == (len(entries.stored), set(entries.stored))


def bounded(clock: ManualClock, bound: int) -> LastCache[str, str, str]:
    return LastCache(Config(global_ttl=ticks(100), max_entries=bound), clock=clock)


def test_what_was_asked_for_stays() -> None:
    """A key that was hit since the hand passed it outlives one that was not."""
    cache = bounded(ManualClock(), 3)
    for key in "abc":
        cache.set(key, key)
    assert cache.load_or_store("a", never) == Success(CachedValue("a"))
    cache.set("d", "d")
    assert [entry.key for entry in cache.entries()] == ["a", "c", "d"]


def test_every_read_marks_its_entry() -> None:
    """What was asked for is spared for a while, fresh or not; what is only looked at for a landing is not."""
    policy = Policy(10)
    entries: Entries[str, str, str] = Entries(policy, 2)
    for key in "ab":
        entries.put(key, fresh(policy, key, 0), 0)
    expired, second = entries.read("a", 11), entries.stored["b"]
    assert (expired, entries.get("b")) == (fresh(policy, "a", 0), fresh(policy, "b", 0))
    entries.put("c", fresh(policy, "c", 11), 11)
    assert (list(entries.removed), list(entries.stored)) == ([Removed("b", second, evicted=True)], ["a", "c"])


def test_an_evicted_key_is_loaded_anew() -> None:
    """An evicted key is a missing one, also where its load is under way: what it loads is stored all the same."""
    clock = ManualClock()
    cache = bounded(clock, 2)
    cache.set("k", "old")
    clock.advance(ticks(101))

    def evicting(_key: str) -> Success[str]:
        for key in "abc":
            cache.set(key, key)
        assert "k" not in cache
        return Success("new")

    assert cache.load_or_store("k", evicting) == Success(CachedValue("new"))
    assert "k" in cache
    assert len(cache) == 2


def test_an_evicted_value_covers_no_failure() -> None:
    """What was evicted during its load cannot be given when that fails."""
    clock = ManualClock()
    cache = bounded(clock, 1)
    cache.set("k", "old")
    clock.advance(ticks(101))

    def failing(_key: str) -> object:
        cache.set("other", "v")
        return failed("down", use_stale=True)

    assert cache.load_or_store("k", failing) == Failure("down")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.slow
def test_a_flood_leaves_a_bounded_cache_bounded() -> None:
    """Two hundred thousand distinct keys, values and remembered failures, leave no more than the bound allows."""
    cache: LastCache[int, int, str] = LastCache(Config(max_entries=1000, negative_ttl=timedelta(minutes=1)))
    for number in range(2000):
        cache.set(number, number)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(100_000):
        cache.set(number, number)
        cache.load_or_store(-1 - number, gives(failed("down", use_stale=True)))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert kept_in(cache) == 1000
    assert grown < 1_000_000


@pytest.mark.slow
def test_a_million_keys_that_die_leave_memory_bounded() -> None:
    """With both windows set, a million keys that are written once and never read again do not pile up."""
    clock = ManualClock()
    windows = ticks(1000)
    config = Config(global_ttl=ticks(1000), stale_if_error=windows, stale_while_revalidate=windows)
    cache: LastCache[int, int, str] = LastCache(config, clock=clock)
    most = 0
    for number in range(1_000_000):
        cache.set(number, number)
        clock.advance(ticks(1))
        most = max(most, len(cache))
    assert most <= 2 * (2000 + 2)


def test_a_sweep_is_short() -> None:
    """No write looks at more than two entries, however many there are and however many are dead."""
    looked_at = set[int]()

    class Noted(int):
        """A key that is noted when it is looked up."""

        def __hash__(self) -> int:
            looked_at.add(int(self))
            return int.__hash__(self)

    policy = Policy(10, stale_if_error=0, stale_while_revalidate=0)
    entries: Entries[int, str, str] = Entries(policy)
    for number in range(1000):
        entries.put(Noted(number), fresh(policy, "v", 0), 0)
    for now, left in ((0, 1001), (1000, 999)):
        looked_at.clear()
        entries.put(-1, fresh(policy, "v", now), now)
        assert len(looked_at) == 2
        assert len(entries) == left
