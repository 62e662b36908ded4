"""The entries of many keys, and what keeps them from growing without bound: a plain data structure.

An entry is *dead* when it can never be given again. It is dropped when it is met, and by a sweep: each write looks at
two entries, in the order in which they were looked at last. So whatever dies is gone before the keys that are written
have come round twice, without a thread of its own, and no write pays more than a constant.

A key whose hash or comparison raises, or changes, is an error of its own callers. It never breaks the write of another
key: what cannot be looked up any more is left where it is.
"""

from collections import OrderedDict, deque
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar, final

from lastcache.core.policy import FOREVER, Policy
from lastcache.core.sieve import Node, Sieve
from lastcache.core.states import NEVER, Answer, Entry, Extended, Fresh, Known, NegativelyCached, Shared, plain
from lastcache.core.transitions import dead
from lastcache.core.values import value

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")

SWEPT_BY_A_WRITE: Final = 2


@final
@value
class BoundedEntry(Generic[K, V, E]):
    """An entry of a bounded cache, with its place in the eviction queue; a fresh one is its answer and ``until``."""

    answer: Answer[V, E]
    until: int
    node: Node[K]
    entry: Entry[V, E] | Shared[V, E, object] | None


@final
@value
class WatchedEntry(Generic[V, E]):
    """An extended entry where every stale answer is told of: for the hit path its answer stands at no instant."""

    answer: Answer[V, E]
    until: int
    entry: Entry[V, E] | Shared[V, E, object]


@final
class Removed(NamedTuple, Generic[K]):
    """A key that was dropped to make room, or because its entry was dead, with what was stored."""

    key: K
    stored: object
    evicted: bool


AnyEntry: TypeAlias = Entry[V, E] | Shared[V, E, object] | BoundedEntry[K, V, E] | WatchedEntry[V, E]
"""An entry as it stands in the dict."""


@final
class Entries(Generic[K, V, E]):
    """The entries of one cache.

    ``stored`` stays the same dict for good, so that a shell may read it without the lock; where there is a bound each
    entry there is a ``BoundedEntry``. Where the cache is ``watched``, so that each stale answer is told of, the hit
    path meets no extended one. ``failures`` has the keys of which only a failure is remembered.
    ``removed`` collects what was dropped on the way, for the shell to release, and to report, after the lock.
    """

    __slots__ = (
        "_can_die",
        "_max_entries",
        "_policy",
        "_sieve",
        "_sweep_order",
        "_watched",
        "_wraps",
        "failures",
        "removed",
        "stored",
    )

    def __init__(self, policy: Policy, max_entries: int | None = None, *, watched: bool = False) -> None:
        self._policy = policy
        self._watched = watched
        self._wraps = watched or max_entries is not None
        windows = max(policy.stale_if_error, policy.stale_while_revalidate)
        self._can_die = windows < FOREVER or policy.negative_ttl > 0
        self._max_entries = max_entries
        self._sieve = Sieve[K]()
        self._sweep_order = OrderedDict[K, None]()
        self.stored: dict[K, AnyEntry[V, E, K]] = {}
        self.failures: dict[K, None] = {}
        self.removed: deque[Removed[K]] = deque[Removed[K]]()

    @property
    def bounded(self) -> bool:
        """Whether there is a bound, so that every entry is a ``BoundedEntry`` and a hit has to mark it."""
        return self._max_entries is not None

    def __len__(self) -> int:
        """Count the keys that have a value. Without the lock it may miss one that is being dropped."""
        return max(0, len(self.stored) - len(self.failures))

    def get(self, key: K) -> Entry[V, E] | None:
        """Give the entry of ``key``."""
        stored = self.stored.get(key)
        return None if stored is None else entry_of(stored)

    def known(self, key: K) -> Known[V, E, object]:
        """Give what is known of ``key``: its entry, with how far a store has vouched for it, if there is one."""
        stored = self.stored.get(key)
        return None if stored is None else known_of(stored)

    def look(self, key: K) -> Entry[V, E] | None:
        """Give the entry of ``key`` to a reader: an eviction spares it for a while."""
        stored = self.stored.get(key)
        if stored is None:
            return None
        if isinstance(stored, BoundedEntry):
            stored.node.visited = True
        return entry_of(stored)

    def standing(self, key: K, now: int) -> Answer[V, E] | None:
        """Give the answer that stands, as the hit path does, and of a watched entry, too."""
        stored = self.stored.get(key)
        if stored is None or now > until_of(stored):
            return None
        if type(stored) is BoundedEntry:
            stored.node.visited = True
        return stored.answer

    def read(self, key: K, now: int) -> Entry[V, E] | None:
        """Give the entry of ``key`` to a call, as ``look`` does. A dead one is dropped."""
        entry = self.look(key)
        return None if entry is None else self._live(key, entry, now)

    def _live(self, key: K, entry: Entry[V, E], now: int) -> Entry[V, E] | None:
        """Give ``entry`` unless it is dead: then it is dropped."""
        if not (self._can_die or isinstance(entry, NegativelyCached)) or not dead(self._policy, entry, now):
            return entry
        self.removed.append(Removed(key, self.drop(key), evicted=False))
        return None

    def put(self, key: K, entry: Entry[V, E] | Shared[V, E, object], now: int) -> object:
        """Store ``entry``, sweep a little, evict what is too much, and give what was there before."""
        replaced = self.stored.get(key)
        stored = self._as_stored(key, entry, replaced) if self._wraps else entry
        if isinstance(plain(entry), NegativelyCached):
            self._sweep_order[key] = None
            self.stored[key], self.failures[key] = stored, None
        elif self._can_die:
            self._sweep_order[key] = None
            self.stored[key] = stored
            self.failures.pop(key, None)
        else:
            self.stored[key] = stored
            if self.failures:
                self._sweep_order.pop(key, None)
                self.failures.pop(key, None)
        if self._sweep_order:
            self._sweep(now)
        return replaced

    def drop(self, key: K) -> object:
        """Forget ``key``, and give what was there."""
        self._sweep_order.pop(key, None)
        stored = self.stored.pop(key, None)
        self.failures.pop(key, None)
        if isinstance(stored, BoundedEntry):
            self._sieve.remove(stored.node)
        return stored

    def clear(self) -> object:
        """Forget everything, and give what was there; nothing is looked up, so no key can object."""
        cleared = self.stored.copy(), self._sweep_order, self.failures.copy()
        self._sweep_order = OrderedDict[K, None]()
        self.stored.clear()
        self._sieve.clear()
        self.failures.clear()
        return cleared

    def _as_stored(
        self, key: K, entry: Entry[V, E] | Shared[V, E, object], replaced: AnyEntry[V, E, K] | None
    ) -> AnyEntry[V, E, K]:
        hidden = self._watched and isinstance(plain(entry), Extended)
        if self._max_entries is not None:
            until = NEVER if hidden else entry.until
            return self._bounded_entry(key, entry, until, replaced, self._max_entries)
        return WatchedEntry(entry.answer, NEVER, entry) if hidden else entry

    def _bounded_entry(
        self,
        key: K,
        entry: Entry[V, E] | Shared[V, E, object],
        until: int,
        replaced: AnyEntry[V, E, K] | None,
        max_entries: int,
    ) -> BoundedEntry[K, V, E]:
        """Keep the place that the key has in the queue, or make one, for which others make room."""
        if isinstance(replaced, BoundedEntry):
            node = replaced.node
        else:
            while len(self.stored) >= max_entries and self._sieve.tail is not None:
                self._evict()
            node = self._sieve.insert(key)
        return BoundedEntry(entry.answer, until, node, None if isinstance(entry, Fresh) else entry)

    def _evict(self) -> None:
        """Make room. The entry goes first: a node that an interrupt leaves without one is the next to go.

        The other way round an entry would be left that no eviction finds.
        """
        node = self._sieve.victim()
        self._drop_evicted(node)
        self._sieve.remove(node)

    def _drop_evicted(self, node: Node[K]) -> None:
        try:
            stored = self.stored.get(node.key)
            if isinstance(stored, BoundedEntry) and stored.node is node:
                self.removed.append(Removed(node.key, self.stored.pop(node.key), evicted=True))
                self.failures.pop(node.key, None)
                self._sweep_order.pop(node.key, None)
        except Exception:  # the key's own error, which is no business of this write
            return

    def _sweep(self, now: int) -> None:
        for _ in range(min(SWEPT_BY_A_WRITE, len(self._sweep_order))):
            try:
                key = next(iter(self._sweep_order))
                self._sweep_order.move_to_end(key)
            except Exception:  # the key's own error, which is no business of this write
                self._sweep_order.popitem(last=False)
            else:
                self._sweep_one(key, now)

    def _sweep_one(self, key: K, now: int) -> None:
        try:
            entry = self.get(key)
            if entry is not None:
                self._live(key, entry, now)
        except Exception:  # the key's own error, which is no business of this write
            return


def until_of(stored: AnyEntry[V, E, K]) -> int:
    """Give the instant until which the answer stands, whatever the hit path makes of it."""
    if type(stored) is WatchedEntry or type(stored) is BoundedEntry:
        return stored.until if stored.entry is None else stored.entry.until
    return stored.until


def entry_of(stored: AnyEntry[V, E, K]) -> Entry[V, E]:
    """Give the entry itself."""
    known = known_of(stored)
    return known.entry if isinstance(known, Shared) else known


def known_of(stored: AnyEntry[V, E, K]) -> Entry[V, E] | Shared[V, E, object]:
    """Give the entry, bounded or not, with how far a store has vouched for it, if there is one."""
    if isinstance(stored, WatchedEntry):
        return stored.entry
    if not isinstance(stored, BoundedEntry):
        return stored
    return Fresh(stored.answer, stored.until) if stored.entry is None else stored.entry
