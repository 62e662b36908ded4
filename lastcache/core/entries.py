"""The entries of many keys, and what keeps them from growing without bound: a plain data structure.

An entry is *dead* when it can never be given again. It is dropped when it is met, and by a sweep: each write looks at
two entries, in the order in which they were looked at last. So whatever dies is gone before the keys that are written
have come round twice, without a thread of its own, and no write pays more than a constant.
"""

from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar, final

from lastcache.core.policy import FOREVER, Policy
from lastcache.core.sieve import Node, Sieve
from lastcache.core.states import Answer, Entry, Fresh, NegativelyCached
from lastcache.core.transitions import dead

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")

SWEPT_BY_A_WRITE: Final = 2


@final
@dataclass(frozen=True, slots=True)
class BoundedEntry(Generic[K, V, E]):
    """An entry of a bounded cache, with its place in the eviction queue; a fresh one is its answer and ``until``."""

    answer: Answer[V, E]
    until: int
    node: Node[K]
    entry: Entry[V, E] | None


@final
class Removed(NamedTuple, Generic[K]):
    """A key that was dropped on the way, with what was stored: to make room, or because it was dead."""

    key: K
    kept: object
    evicted: bool


Kept: TypeAlias = Entry[V, E] | BoundedEntry[K, V, E]


@final
class Entries(Generic[K, V, E]):
    """The entries of one cache.

    ``entries`` stays the same dict for good, so that a shell may read it without the lock; where there is a bound each
    entry there is ``BoundedEntry``. ``valueless`` has the keys of which only a failure is remembered.
    ``let_go`` collects what was dropped on the way, for the shell to release, and to tell of, after the lock.
    """

    __slots__ = ("_max_entries", "_mortal", "_policy", "_sieve", "_turns", "entries", "let_go", "valueless")

    def __init__(self, policy: Policy, max_entries: int | None = None) -> None:
        self._policy = policy
        windows = max(policy.stale_if_error, policy.stale_while_revalidate)
        self._mortal = windows < FOREVER or policy.negative_ttl > 0
        self._max_entries = max_entries
        self._sieve = Sieve[K]()
        self._turns = OrderedDict[K, None]()
        self.entries: dict[K, Kept[V, E, K]] = {}
        self.valueless: dict[K, None] = {}
        self.let_go = deque[Removed[K]]()

    @property
    def bounded(self) -> bool:
        """Whether there is a bound, so that every entry is ``BoundedEntry`` and a hit has to mark it."""
        return self._max_entries is not None

    def __len__(self) -> int:
        """Count the keys that have a value."""
        return len(self.entries) - len(self.valueless)

    def get(self, key: K) -> Entry[V, E] | None:
        """Give the entry of ``key``."""
        kept = self.entries.get(key)
        return None if kept is None else entry_of(kept)

    def met(self, key: K, now: int) -> Entry[V, E] | None:
        """Give the entry of ``key``, unless it is dead: then it is gone."""
        entry = self.get(key)
        if entry is None or not self._mortal or not dead(self._policy, entry, now):
            return entry
        self.let_go.append(Removed(key, self.drop(key), evicted=False))
        return None

    def put(self, key: K, entry: Entry[V, E], now: int) -> object:
        """Store ``entry``, sweep a little, evict what is too much, and give what was there before."""
        replaced = self.entries.get(key)
        kept = entry if self._max_entries is None else self._held(key, entry, replaced, self._max_entries)
        if not self._mortal:
            self.entries[key] = kept
            return replaced
        self._turns[key] = None
        if isinstance(entry, NegativelyCached):
            self.valueless[key] = None
            self.entries[key] = kept
        else:
            self.entries[key] = kept
            self.valueless.pop(key, None)
        self._sweep(now)
        return replaced

    def drop(self, key: K) -> object:
        """Forget ``key``, and give what was there."""
        self._turns.pop(key, None)
        self.valueless.pop(key, None)
        kept = self.entries.pop(key, None)
        if isinstance(kept, BoundedEntry):
            self._sieve.remove(kept.node)
        return kept

    def clear(self) -> object:
        """Forget everything, and give what was there; nothing is looked up, so no key can object."""
        cleared = self.entries.copy(), self._turns.copy(), self.valueless.copy()
        self._turns.clear()
        self.valueless.clear()
        self._sieve.clear()
        self.entries.clear()
        return cleared

    def _held(
        self, key: K, entry: Entry[V, E], replaced: Kept[V, E, K] | None, max_entries: int
    ) -> BoundedEntry[K, V, E]:
        """Hold ``entry`` in the place that its key has in the queue, or in a new one, for which others make room."""
        if isinstance(replaced, BoundedEntry):
            node = replaced.node
        else:
            while len(self.entries) >= max_entries and self._sieve.tail is not None:
                self._evict()
            node = self._sieve.insert(key)
        return BoundedEntry(entry.answer, entry.until, node, None if isinstance(entry, Fresh) else entry)

    def _evict(self) -> None:
        """Make room. The entry goes first: what an interrupt leaves in the queue without an entry goes with time."""
        node = self._sieve.victim()
        kept = self.entries.get(node.key)
        if isinstance(kept, BoundedEntry) and kept.node is node:
            self.let_go.append(Removed(node.key, self.entries.pop(node.key), evicted=True))
            self._turns.pop(node.key, None)
            self.valueless.pop(node.key, None)
        self._sieve.remove(node)

    def _sweep(self, now: int) -> None:
        for _ in range(min(SWEPT_BY_A_WRITE, len(self._turns))):
            key = next(iter(self._turns))
            self._turns.move_to_end(key)
            self.met(key, now)


def entry_of(kept: Kept[V, E, K]) -> Entry[V, E]:
    """Give the entry, whether it is held or not."""
    if not isinstance(kept, BoundedEntry):
        return kept
    return Fresh(kept.answer, kept.until) if kept.entry is None else kept.entry
