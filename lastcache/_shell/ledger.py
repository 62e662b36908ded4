"""What a cache knows of the store beside it, and what it owes to it. Every method is called under the guard."""

from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum
from itertools import islice
from threading import Lock
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar, final

from lastcache._shell.marks import Mark
from lastcache.core.away import CLOSED, Away, Breaker, Closed, begin_probe, failed, may_ask, probed
from lastcache.core.owed import Debt, Owed, SetTo, Told, is_owed, owe, owe_everything, paid, paid_everything
from lastcache.second.protocol import Lease

K = TypeVar("K")


OVERDUE: Final = 500_000_000
"""The nanoseconds after which a probe that nobody has made is taken for forgotten."""

DRAFTS: Final = 32
"""How many of the generations that were drawn here are remembered: no more threads clear at once."""


@final
class Body(NamedTuple):
    """A value that was set, as the store is told of it: fresh until an instant of the cache's clock.

    Without a ``body`` it cannot be stored: the store is told that what it has is over.

    ``version`` is that of the record as far as it was known then. ``outage`` counts the outages of before; None where
    the store was away. ``answer`` is what the entry gives that was made of it: so it is known again. ``ended``: its key
    was expired since.
    """

    body: bytes | None
    fresh_until: int
    version: Mark | None
    outage: int | None
    answer: object = None
    ended: bool = False


Change: TypeAlias = Debt[Body]
"""A set, delete or expire that the store is to be told of."""


@final
class Loaned(NamedTuple):
    """A lease that is to be given back, with the name of its record and the generation that it was given under."""

    name: bytes
    generation: bytes
    lease: Lease


class Claimed(Enum):
    """Another thread tells the store of a key at this moment."""

    ELSEWHERE = "elsewhere"


@final
class Ledger(Generic[K]):
    """The account of one cache with its store.

    ``generation`` is that of the namespace, None before the first contact. ``outages`` counts how often the store went
    away, ``clears`` how often all was cleared here, last in the outage ``cleared_in``, and ``overflows`` how often too
    much was owed. ``drafts`` are the generations that the store was told of last, because all was cleared here.
    ``claimed`` has the keys that a thread tells the store of at this moment: one at a time for each key, so that an
    older word never follows a newer one. ``loaned`` has leases that were left behind.
    """

    __slots__ = (
        "_at_most",
        "breaker",
        "claimed",
        "cleared_in",
        "clears",
        "drafts",
        "generation",
        "loaned",
        "outages",
        "overflows",
        "owed",
    )

    def __init__(self, owe_at_most: int) -> None:
        self._at_most = owe_at_most
        self.breaker: Breaker = CLOSED
        self.generation: bytes | None = None
        self.outages: int = 0
        self.owed: Owed[K, Body] = Owed({})
        self.claimed: dict[K, Lock] = {}
        self.clears: int = 0
        self.drafts: deque[bytes] = deque(maxlen=DRAFTS)
        self.cleared_in: int | None = 0
        self.overflows: int = 0
        self.loaned: deque[Loaned] = deque()

    def may_ask(self, key: K) -> bool:
        """Say whether the store may be asked for ``key``: it is there, and knows what this process did to the key."""
        return may_ask(self.breaker) and not is_owed(self.owed, key)

    def is_there(self) -> bool:
        """Say whether the store answers, as far as is known."""
        return may_ask(self.breaker)

    @property
    def outage(self) -> int | None:
        """How often the store went away so far; None while it is away."""
        return self.outages if self.is_there() else None

    def owe(self, key: K, change: Change) -> None:
        """Write down a change; where there are too many, everything is owed in their place."""
        self.owed = owe(self.owed, key, change, self._at_most)
        if not self.owed.keys:
            self.clears += 1
            self.overflows += 1
            self.cleared_in = None

    @property
    def debts(self) -> int:
        """How many changes are owed; a clear is one."""
        return len(self.owed.keys) + self.owed.everything

    def owe_expiry(self, key: K, now: int) -> None:
        """Write down that ``key`` was expired: a value that is still to be told is told as one that has ended."""
        known = self.owed.keys.get(key)
        if isinstance(known, SetTo):
            self.owe(key, SetTo(known.what._replace(fresh_until=min(known.what.fresh_until, now - 1), ended=True)))
        else:
            self.owe(key, Told.EXPIRE)

    def owe_everything(self) -> None:
        """Write down that the cache was cleared."""
        self.clears += 1
        self.cleared_in = self.outage
        self.owed = owe_everything(self.owed)

    def claim(self, key: K, me: Lock) -> Change | Claimed | None:
        """Give the change of ``key`` to the thread that tells the store of it; None where there is none to be told.

        Whoever tells it holds the lock ``me`` meanwhile: a claim whose lock is free was left behind by an interrupt.
        """
        change = self.owed.keys.get(key)
        if change is None or self.owed.everything or not self.is_there():
            return None
        if self._is_claimed(key, me):
            return Claimed.ELSEWHERE
        self.claimed[key] = me
        return change

    def _is_claimed(self, key: K, me: Lock) -> bool:
        claim = self.claimed.get(key)
        return claim is not None and claim is not me and claim.locked()

    def claim_some(self, at_most: int, me: Lock) -> list[tuple[K, Change]]:
        """Give changes that nobody tells the store of yet."""
        free = list(islice((key for key in self.owed.keys if not self._is_claimed(key, me)), at_most))
        claims = [(key, self.claim(key, me)) for key in free]
        return [(key, change) for key, change in claims if change is not None and not isinstance(change, Claimed)]

    def unclaim(self, keys: Iterable[K], me: Lock) -> None:
        """End the claims of a thread on ``keys``. It may be called again."""
        for key in keys:
            if self.claimed.get(key) is me:
                del self.claimed[key]

    def pay(self, told: Sequence[tuple[K, Change, bool]]) -> None:
        """The store was told of these changes, and may have something newer than each.

        Where a key was expired since it was set, and the store has something newer, that is still to be told.
        """
        ended = [
            key
            for key, change, outran in told
            if outran and isinstance(change, SetTo) and change.what.ended and self.owed.keys.get(key) is change
        ]
        self.owed = paid(self.owed, [(key, change) for key, change, _ in told])
        for key in ended:
            self.owe(key, Told.EXPIRE)

    def write(self, generation: bytes) -> int:
        """Write down the generation that the store is about to be told; say how often all was cleared until now."""
        self.drafts.append(generation)
        return self.clears

    def pay_everything(self, generation: bytes, clears: int) -> bool:
        """The store has this generation by now; say whether that is all that was cleared here."""
        self.generation = generation
        if clears == self.clears:
            self.owed = paid_everything(self.owed)
        return not self.owed.everything

    def shrink(self, changes: Iterable[tuple[K, Change]]) -> None:
        """A full store takes no body: it is told in its place that the record has ended, which takes no room."""
        for key, change in changes:
            if self.owed.keys.get(key) is change and isinstance(change, SetTo) and change.what.body is not None:
                self.owe(key, SetTo(change.what._replace(body=None)))

    def fail(self, now: int) -> bool:
        """The store did not answer; say whether it is away from now on, and was there before."""
        before, self.breaker = self.breaker, failed(self.breaker, now)
        if self.breaker is before:
            return False
        self.outages += 1
        return True

    def begin_probe(self, now: int) -> bool:
        """Say whether a probe is due: who asks makes it."""
        before, self.breaker = self.breaker, begin_probe(self.breaker, now)
        return self.breaker is not before

    def probed(self, now: int, *, answered: bool) -> int | None:
        """Write down how a probe ended; give how long the store was away, if it is back."""
        before, self.breaker = self.breaker, probed(self.breaker, now, answered=answered)
        return None if isinstance(before, Closed) or not self.is_there() else now - before.since

    @property
    def is_cleared_late(self) -> bool:
        """Whether the store was away since all was cleared."""
        return self.cleared_in != self.outages

    def is_overdue(self, now: int) -> bool:
        """Say whether a probe should have been made some time ago, and nobody makes it."""
        return isinstance(self.breaker, Away) and now > self.breaker.probe_at + OVERDUE

    @property
    def is_settled(self) -> bool:
        """Whether nothing is owed."""
        return not self.owed.keys and not self.owed.everything

    def forget(self) -> list[K | None]:
        """Owe nothing any more: the cache was closed, or this is the child of a fork.

        Give the keys that did, and None for a clear.
        """
        lost: list[K | None] = [*self.owed.keys, *([None] if self.owed.everything else [])]
        self.owed = Owed({})
        if not self.is_there():
            self.breaker = CLOSED
        self.claimed.clear()
        self.loaned.clear()
        return lost

    def is_late(self, change: Change) -> bool:
        """Say whether the store was away since ``change`` was made: other processes may have written since."""
        return not isinstance(change, Told) and change.what.outage != self.outages
