"""Calls of readers with a demand, written once for threads and tasks: see ``core.demands``.

The script of a call stays as it is: what is loaded is settled by the policy, for all. A demand decides by which
strategy a call is made, and what of its answer the reader gets.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from lastcache._shell.flight import Landing, Raised, Stale
from lastcache._shell.many import CallsOfMany
from lastcache._shell.place import Place
from lastcache.core.demands import demanded, is_too_stale, narrowed
from lastcache.core.states import Revalidate, Strategy

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C", bound=Callable[..., Any])


class Demand(NamedTuple):
    """By which strategy a reader asks, and how stale a value it takes, in nanoseconds past its freshness."""

    strategy: Strategy
    max_stale: int


class DemandingCalls(CallsOfMany[K, V, E, C]):
    """The calls of one cache, those of readers with a demand among them."""

    __slots__ = ()

    async def ask_demanding(
        self, place: Place[K, V, E, C], demand: Demand, key: K, callback: C
    ) -> Landing[V, E] | Stale[K, V, E, C]:
        """Answer a call. A value that became too stale while it waited is loaded by a call that waits for that."""
        standing = self.standing(key)
        if standing is not None and (given := narrowed(standing, self.clock(), demand.max_stale)) is not None:
            return given
        step = await self._ask_by(place, self._strategy(place, demand, key), key, callback)
        fitting = self._fitting(step, demand.max_stale)
        if fitting is not None:
            return fitting
        step = await self.ask(place, Strategy.STALE_IF_ERROR, key, callback, again=True)
        return self._fitting(step, demand.max_stale) or step

    async def ask_many_demanding(
        self, place: Place[K, V, E, C], max_stale: int, keys: Iterable[K], callback: Any
    ) -> dict[K, Landing[V, E]]:
        """Answer a call for many keys."""
        landings = await self.ask_many(place, Strategy.STALE_IF_ERROR, keys, callback)
        now = self.clock()
        return {
            key: landing if isinstance(landing, Raised) else narrowed(landing, now, max_stale) or landing
            for key, landing in landings.items()
        }

    def _strategy(self, place: Place[K, V, E, C], demand: Demand, key: K) -> Strategy:
        """Choose to wait for the load where nothing that is stale may be given; a store may have what is not here."""
        if demand.strategy is Strategy.STALE_IF_ERROR:
            return demand.strategy
        entry = self.read(lambda: self.entries.get(key))
        if entry is None and self.second is not None and demand.max_stale > 0:
            return demand.strategy
        decision = demanded(place.state.policy, demand.strategy, entry, None, self.clock(), demand.max_stale)
        return demand.strategy if isinstance(decision, Revalidate) else Strategy.STALE_IF_ERROR

    async def _ask_by(
        self, place: Place[K, V, E, C], strategy: Strategy, key: K, callback: C
    ) -> Landing[V, E] | Stale[K, V, E, C]:
        if strategy is Strategy.STALE_IF_SLOW:
            return await self.wait_softly(place, strategy, key, callback)
        return await self.ask(place, strategy, key, callback)

    def _fitting(
        self, step: Landing[V, E] | Stale[K, V, E, C], max_stale: int
    ) -> Landing[V, E] | Stale[K, V, E, C] | None:
        """Give what a reader gets of how a call ended; None where it must wait for the load."""
        if isinstance(step, Raised):
            return step
        now = self.clock()
        if isinstance(step, Stale):
            return None if is_too_stale(step.cached, now, max_stale) else step
        return narrowed(step, now, max_stale)
