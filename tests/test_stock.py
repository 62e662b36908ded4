"""What bounds the memory of a cache: SIEVE's queue, and the sweep of what is dead."""

import tracemalloc
from collections import OrderedDict
from datetime import timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from returns.result import Failure, Success

from lastcache import CachedValue, Config, LastCache, failed
from lastcache.core.entries import BoundedEntry, Entries
from lastcache.core.policy import Policy
from lastcache.core.sieve import Node, Sieve
from lastcache.core.states import NegativelyCached
from lastcache.core.transitions import fresh
from lastcache.testing import ManualClock
from tests.kit import gives, never, ticks

KEYS: Final = st.integers(0, 9)


class Reference:
    """SIEVE as its paper's figure has it, over a list: the newest first."""

    def __init__(self) -> None:
        self.queue: list[int] = []
        self.visited: dict[int, bool] = {}
        self.hand: int | None = None

    def insert(self, key: int) -> None:
        self.queue.insert(0, key)
        self.visited[key] = False
        self.hand = None if self.hand is None else self.hand + 1

    def remove(self, key: int) -> None:
        at = self.queue.index(key)
        del self.queue[at], self.visited[key]
        if self.hand is not None and at <= self.hand:
            # What stood behind it in the queue moves up; the hand goes on towards the head.
            self.hand = self.hand - 1 if self.hand > 0 else None

    def evict(self) -> int:
        at = len(self.queue) - 1 if self.hand is None else self.hand
        while self.visited[self.queue[at]]:
            self.visited[self.queue[at]] = False
            at = at - 1 if at > 0 else len(self.queue) - 1
        key = self.queue[at]
        self.hand = at
        self.remove(key)
        return key


class Queue(RuleBasedStateMachine):
    """The linked queue beside the reference."""

    def __init__(self) -> None:
        super().__init__()
        self.sieve, self.reference = Sieve[int](), Reference()
        self.nodes: dict[int, Node[int]] = {}

    @rule(key=KEYS)
    def insert(self, key: int) -> None:
        if key not in self.nodes:
            self.nodes[key] = self.sieve.insert(key)
            self.reference.insert(key)

    @rule(key=KEYS)
    def hit(self, key: int) -> None:
        if key in self.nodes:
            self.nodes[key].visited = True
            self.reference.visited[key] = True

    @rule(key=KEYS)
    def remove(self, key: int) -> None:
        if key in self.nodes:
            self.sieve.remove(self.nodes.pop(key))
            self.reference.remove(key)

    @precondition(lambda self: self.nodes)
    @rule()
    def evict(self) -> None:
        evicted = self.sieve.evict().key
        del self.nodes[evicted]
        assert evicted == self.reference.evict()

    @rule()
    def clear(self) -> None:
        self.sieve.clear()
        self.nodes, self.reference = {}, Reference()

    @invariant()
    def every_key_stands_in_the_queue_once(self) -> None:
        """Both ways through the queue show the same keys, and the hand is one of them or none."""
        down, up = list[int](), list[int]()
        node, back = self.sieve.head, self.sieve.tail
        while node is not None:
            down.append(node.key)
            node = node.older
        while back is not None:
            up.append(back.key)
            back = back.newer
        assert down == up[::-1] == self.reference.queue
        assert len(self.sieve) == len(down)
        assert {key: node.visited for key, node in self.nodes.items()} == self.reference.visited
        assert self.sieve.hand is None or self.nodes[self.sieve.hand.key] is self.sieve.hand


Queue.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestQueue = Queue.TestCase


@given(st.integers(1, 5), st.lists(st.tuples(st.sampled_from(["put", "remember", "drop", "hit"]), KEYS), max_size=60))
def test_a_stock_is_never_above_its_bound(bound: int, steps: list[tuple[str, int]]) -> None:
    """Whatever is put and dropped, there are no more entries than the bound, and each is in the queue once."""
    policy = Policy(100, negative_ttl=5)
    stock: Entries[int, str, str] = Entries(policy, bound)
    for now, (step, key) in enumerate(steps):
        kept = stock.entries.get(key)
        if step == "put":
            stock.put(key, fresh(policy, "v", now), now)
        elif step == "remember":
            stock.put(key, NegativelyCached(Failure("e"), now + 5), now)
        elif step == "drop":
            stock.drop(key)
        elif isinstance(kept, BoundedEntry):
            kept.node.visited = True
        assert len(stock.entries) <= bound
        assert len(stock._sieve) == len(stock.entries)  # noqa: SLF001
        assert all(isinstance(held, BoundedEntry) and held.node.key == key for key, held in stock.entries.items())
        assert set(stock.valueless) == {key for key in stock.entries if isinstance(stock.get(key), NegativelyCached)}
        assert set(stock._turns) == set(stock.entries)  # noqa: SLF001


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


def test_an_evicted_key_is_loaded_anew() -> None:
    """An evicted key is a missing one, also where its load is under way: what it loads is stored all the same."""
    clock = ManualClock()
    cache = bounded(clock, 2)
    cache.set("k", "old")
    clock.advance(ticks(101))

    def evicting(_key: str) -> Success[str]:
        for key in "ab":
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
        return failed("down")

    assert cache.load_or_store("k", failing) == Failure("down")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def test_a_flood_leaves_a_bounded_cache_bounded() -> None:
    """Two hundred thousand distinct keys, values and remembered failures, leave no more than the bound allows."""
    cache: LastCache[int, int, str] = LastCache(Config(max_entries=1000, negative_ttl=timedelta(minutes=1)))
    for number in range(2000):
        cache.set(number, number)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(100_000):
        cache.set(number, number)
        cache.load_or_store(-1 - number, gives(failed("down")))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert len(cache._entries) == 1000  # noqa: SLF001
    assert grown < 1_000_000


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

    class Counted(OrderedDict[int, None]):
        looked_at = 0

        def move_to_end(self, key: int, last: bool = True) -> None:  # noqa: FBT001, FBT002  # its signature
            Counted.looked_at += 1
            super().move_to_end(key, last)

    policy = Policy(10, stale_if_error=0, stale_while_revalidate=0)
    stock: Entries[int, str, str] = Entries(policy)
    stock._turns = Counted()  # noqa: SLF001
    for number in range(1000):
        stock.put(number, fresh(policy, "v", 0), 0)
    Counted.looked_at = 0
    stock.put(-1, fresh(policy, "v", 1000), 1000)
    assert Counted.looked_at <= 2
    assert len(stock) == 999
