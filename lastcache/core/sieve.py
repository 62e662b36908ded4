"""SIEVE, the eviction of a bounded cache (Zhang et al., "SIEVE is Simpler than LRU", NSDI 2024).

The keys stand in a queue in the order in which they came: new ones at the ``head``, old ones at the ``tail``. A hit
marks its node as ``visited`` and moves nothing. To evict, the ``hand`` goes from where it stopped towards the head,
takes the marks away that it meets, and evicts the first node that has none; past the head it begins at the tail again.

A mark is one write of a constant, so hits need no lock. The pointers change in straight lines without a call, where
CPython looks for no signal.
"""

from typing import Final, Generic, TypeVar, final

K = TypeVar("K")


@final
class Node(Generic[K]):
    """The place of one key in the queue."""

    __slots__ = ("key", "newer", "older", "visited")

    def __init__(self, key: K) -> None:
        self.key: Final = key
        self.visited: bool = False
        self.newer: Node[K] | None = None
        self.older: Node[K] | None = None


@final
class Sieve(Generic[K]):
    """The queue.

    >>> sieve = Sieve[str]()
    >>> a, b, c = [sieve.insert(key) for key in "abc"]
    >>> a.visited = True
    >>> sieve.evict().key, len(sieve), a.visited
    ('b', 2, False)
    """

    __slots__ = ("_count", "hand", "head", "tail")

    def __init__(self) -> None:
        self.head: Node[K] | None = None
        self.tail: Node[K] | None = None
        self.hand: Node[K] | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def insert(self, key: K) -> Node[K]:
        """Put ``key`` at the head; it must not be in the queue."""
        node = Node(key)
        head = self.head
        node.older = head
        if head is None:
            self.tail = node
        else:
            head.newer = node
        self.head = node
        self._count += 1
        return node

    def remove(self, node: Node[K]) -> None:
        """Take ``node`` out of the queue, if it is there."""
        newer, older = node.newer, node.older
        if newer is None and self.head is not node:
            return
        if newer is None:
            self.head = older
        else:
            newer.older = older
        if older is None:
            self.tail = newer
        else:
            older.newer = newer
        if self.hand is node:
            self.hand = newer
        self._count -= 1
        node.newer = node.older = None

    def victim(self) -> Node[K]:
        """Give the node that the hand comes to first of those without a mark. Raises ``IndexError`` if empty."""
        node = self.hand or self.tail
        while node is not None and node.visited:
            node.visited = False
            self.hand = node.newer
            node = self.hand or self.tail
        if node is None:
            raise IndexError("nothing to evict")
        self.hand = node
        return node

    def evict(self) -> Node[K]:
        """Take the victim out."""
        node = self.victim()
        self.remove(node)
        return node

    def clear(self) -> None:
        """Forget every key."""
        self.head = self.tail = self.hand = None
        self._count = 0
