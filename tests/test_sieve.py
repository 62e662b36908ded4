"""SIEVE's queue, beside the figure of its paper."""

from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lastcache.core.sieve import Node, Sieve
from tests.strategies import examples

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


Queue.TestCase.settings = settings(max_examples=examples(200), stateful_step_count=40, deadline=None)
TestQueue = Queue.TestCase
