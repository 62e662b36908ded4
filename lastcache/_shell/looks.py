"""What is told of a key under the guard, without a load and without a change."""

from typing import TypeVar

from returns.result import Success

from lastcache._shell.flight import Flight, Job
from lastcache._shell.inflight import CacheState
from lastcache.core.demands import demanded
from lastcache.core.explain import Explanation, QueuePlace, explain
from lastcache.core.loads import Loads
from lastcache.core.states import Answer, Join, Load, Revalidate, Serve, ServeAndRefresh, Shared, Strategy
from lastcache.core.traffic import Queued, Running, Traffic

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")


def if_cached(now: int, state: CacheState[K, V, E, C], key: K, max_stale: int) -> Answer[V, E] | None:
    """Give what a call may be given that has no callback, if anything; an eviction spares the key for a while."""
    entry = state.entries.look(key)
    match demanded(state.policy, Strategy.STALE_WHILE_REVALIDATE, entry, None, now, max_stale):
        case Serve(answer) | ServeAndRefresh(answer):
            return answer
        case Revalidate(cached):
            return Success(cached)
        case Load() | Join():
            return None


def explained(
    now: int, state: CacheState[K, V, E, C], strategy: Strategy, key: K, max_stale: int
) -> Explanation[K, V, E]:
    """Explain what a call would do now, in whichever place the key has a load under way."""
    loads = next((each for each in state.places if key in each.traffic), state.loads)
    under_way = loads.traffic.get(key)
    known = state.entries.known(key)
    return explain(
        state.policy,
        strategy,
        key,
        state.entries.get(key),
        under_way,
        now,
        max_stale=max_stale,
        queue=_place(loads, under_way),
        began_at=under_way.flight.began_at if isinstance(under_way, Running) else None,
        trusted_until=known.trusted_until if isinstance(known, Shared) else None,
        store=state.store_word(key),
    )


def _place(
    loads: Loads[K, Flight[V, E], Job[K, V, E, C]], under_way: Traffic[Job[K, V, E, C], Flight[V, E]] | None
) -> QueuePlace | None:
    if not isinstance(under_way, Queued):
        return None
    queue = list(loads.queue)
    return QueuePlace(queue.index(under_way.job) + 1, len(queue)) if under_way.job in queue else None
