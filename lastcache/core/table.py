"""The entries and the flights of many keys: a plain data structure that applies the rules of ``transitions``.

It knows no clock, no lock and no thread; the shells bring those, and call every method under their own lock.
What a method replaces it hands back, so that the shell can let go of it after the lock: a finalizer may run any code.
"""

from typing import Generic, NamedTuple, Protocol, TypeVar, final

from returns.pipeline import is_successful

from lastcache.core.entries import Entries
from lastcache.core.policy import Policy
from lastcache.core.states import Decision, Entry, Outcome, Strategy, Traffic, Transition
from lastcache.core.transitions import expire, fresh, lookup, outrun, settle

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")


class InFlight(Protocol):
    """What the table needs to know of a flight."""

    @property
    def traffic(self) -> Traffic:
        """How far it has come."""
        ...


F = TypeVar("F", bound=InFlight)


@final
class Landed(NamedTuple, Generic[V, E]):
    """What a landing decided, and what it let go of."""

    transition: Transition[V, E]
    replaced: object


@final
class Table(Generic[K, V, E, F]):
    """The entries and the flights of one cache.

    A flight is *attached* while it stands in ``flights`` under its key; a detached one changes nothing any more.

    Where flights cannot be joined from everywhere, as those of an event loop cannot be from another, each place has a
    table ``beside`` that of the others: of the same entries, with flights of its own. A write outruns the flights of
    all places, and so does the first success to land: the others answer their callers as if they had joined it.
    """

    __slots__ = ("flights", "places", "policy", "stock")

    def __init__(
        self, policy: Policy, *, max_entries: int | None = None, beside: "Table[K, V, E, F] | None" = None
    ) -> None:
        self.policy = policy
        self.stock: Entries[K, V, E] = Entries(policy, max_entries) if beside is None else beside.stock
        self.flights: dict[K, F] = {}
        self.places: list[dict[K, F]] = [] if beside is None else beside.places
        self.places.append(self.flights)

    def leave(self) -> object:
        """End this place: its flights are forgotten, the entries stay with the others."""
        self.places[:] = [flights for flights in self.places if flights is not self.flights]
        return self.flights

    def decide(self, strategy: Strategy, key: K, now: int) -> Decision[V, E]:
        """Decide what a call for ``key`` has to do."""
        flight = self.flights.get(key)
        traffic = Traffic.NONE if flight is None else flight.traffic
        return lookup(self.policy, strategy, self.stock.met(key, now), traffic, now)

    def detach(self, key: K, flight: F) -> bool:
        """Take ``flight`` out of the table; say whether it was attached."""
        if self.flights.get(key) is not flight:
            return False
        del self.flights[key]
        return True

    def replace(self, key: K, flight: F, successor: F) -> None:
        """Put ``successor`` in the place of ``flight``; a successor of a detached flight is detached, too."""
        if self.flights.get(key) is flight:
            self.flights[key] = successor

    def land(
        self, key: K, flight: F, outcome: Outcome[V, E], now: int, *, ttl: int | None = None, draw: float = 0.0
    ) -> Landed[V, E]:
        """Settle ``outcome`` where ``flight`` is attached, and detach it; an outrun flight stores nothing."""
        entry = self.stock.get(key)
        if self.flights.get(key) is not flight:
            return Landed(Transition(outrun(entry, outcome, now), None), None)
        transition = settle(self.policy, entry, outcome, now, ttl=ttl, draw=draw)
        replaced = self._store(key, transition.entry, now)
        del self.flights[key]
        if len(self.places) > 1 and is_successful(outcome):
            return Landed(transition, (replaced, self._outrun(key)))
        return Landed(transition, replaced)

    def set(self, key: K, value: V, now: int, *, ttl: int | None = None, draw: float = 0.0) -> object:
        """Store ``value``; a load that had begun is outrun."""
        entry = fresh(self.policy, value, now, ttl=ttl, draw=draw)
        return self._outrun(key), self.stock.put(key, entry, now)

    def expire(self, key: K, now: int) -> object:
        """End the answer that stands for ``key``; a load that had begun is outrun."""
        entry = self.stock.get(key)
        return self._outrun(key), None if entry is None else self._store(key, expire(entry, now), now)

    def delete(self, key: K) -> object:
        """Forget ``key``; a load that had begun is outrun."""
        return self._outrun(key), self.stock.drop(key)

    def clear(self) -> object:
        """Forget every key; every load that had begun is outrun."""
        return [self._outrun(key) for flights in self.places for key in tuple(flights)], self.stock.clear()

    def empty(self) -> object:
        """Forget everything, queued loads too; nothing is looked up, so no key can object."""
        replaced = self.stock.clear(), [flights.copy() for flights in self.places]
        for flights in self.places:
            flights.clear()
        return replaced

    def _store(self, key: K, entry: Entry[V, E] | None, now: int) -> object:
        return self.stock.drop(key) if entry is None else self.stock.put(key, entry, now)

    def _outrun(self, key: K) -> object:
        """Detach the flights of ``key`` whose load has begun; a queued one has nothing yet that could be outrun."""
        return [
            flights.pop(key)
            for flights in self.places
            if (flight := flights.get(key)) is not None and flight.traffic is not Traffic.QUEUED
        ]
