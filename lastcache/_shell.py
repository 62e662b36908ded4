"""What both shells do alike: the state of one cache behind its guard, and how a load that ran lands in it."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from random import random
from time import monotonic
from typing import Generic, ParamSpec, TypeVar

from returns.pipeline import is_successful

from lastcache._batches import Batch, told_apart
from lastcache._flight import Answered, Flight, Landing, Raised, Returned, Stale
from lastcache._forks import renew_in_children
from lastcache._guard import Guard, inside
from lastcache._outcomes import forget_frames
from lastcache._state import State
from lastcache.config import Config, checked_clock, checked_config, checked_ttl, checked_ttl_for
from lastcache.states import Outcome, Strategy
from lastcache.transitions import kept_error, settle

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")


class Shell(Generic[K, V, E, C]):
    """The state of one cache behind its guard; ``C`` is the type of its callbacks. Raises ``ConfigError``."""

    __slots__ = ("__weakref__", "_clock", "_guard", "_soft_timeout", "_ttl_for", "state")

    def __init__(
        self, config: Config, clock: Callable[[], int], ttl_for: Callable[[V], timedelta] | None = None
    ) -> None:
        checked_config(config)
        self._clock = checked_clock(clock)
        self._ttl_for = checked_ttl_for(ttl_for)
        self._soft_timeout = None if config.soft_timeout is None else config.soft_timeout.total_seconds()
        self._guard = Guard()
        self.state: State[K, V, E, C] = State(config)
        renew_in_children(self)

    def renew(self) -> None:
        """Begin with a free lock, no flight and nobody at work, as the child of a fork must; the entries stay."""
        raise NotImplementedError

    def close(self) -> None:
        """End the use of the cache, without waiting: detach every flight, drop what is queued, forget the entries."""
        raise NotImplementedError

    def check_open(self) -> None:
        """Raise ``CacheClosedError`` if the cache is closed."""
        self.state.check_open()

    def read(self, look: Callable[[], T]) -> T:
        """Give what ``look`` sees between two changes, or, where the guard is held, inside this one."""
        return look() if inside() is not None else self._guard.run(look)

    def write(self, change: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Make a change of the table. Raises ``CacheClosedError``."""
        self.state.check_open()
        self._guard.write(self.state.change, change, *args, **kwargs)
        self._let_go()

    def patience(self, stale: Stale[V, E]) -> float:
        """Give the seconds for which the load behind ``stale`` may still be waited for."""
        return max(0.0, stale.since + (self._soft_timeout or 0.0) - monotonic())

    def land(
        self, state: State[K, V, E, C], key: K, flight: Flight[K, V, E, C], attempted: Returned[V, E] | Raised
    ) -> Landing[V, E]:
        """Land in ``state`` what came of the callback that ``flight`` ran."""
        if isinstance(attempted, Raised):
            self._guard.run(state.crash, key, flight, attempted)
            return attempted
        landed = self._guard.run(state.land, key, flight, attempted)
        self._let_go()
        forget_frames(kept_error(landed.transition.entry))
        return Answered(landed.transition.answer)

    def board(self, state: State[K, V, E, C], batch: Batch[K, V, E, C], alone: C, now: int) -> None:
        """Decide for each key of ``batch``, in one step; ``alone`` loads one of them, where that is due early."""
        self._guard.run(self._board_all, state, batch, alone, now)

    def _board_all(self, state: State[K, V, E, C], batch: Batch[K, V, E, C], alone: C, now: int) -> None:
        for key, flight in batch.flights.items():
            step = state.decide(Strategy.STALE_IF_ERROR, key, alone, flight, now)
            if step is flight:
                batch.own[key] = flight
            elif isinstance(step, Flight):
                batch.joined[key] = step
            elif not isinstance(step, Stale):
                batch.landings[key] = step

    def land_batch(
        self, state: State[K, V, E, C], batch: Batch[K, V, E, C], returned: Mapping[K, Outcome[V, E]] | Raised
    ) -> None:
        """Land each key that ``batch`` leads by what came of it."""
        for key, attempted in told_apart(tuple(batch.own), returned, self.measured).items():
            batch.landings[key] = self.land(state, key, batch.own[key], attempted)

    def uncached(self, key: K, attempted: Returned[V, E] | Raised) -> Landing[V, E]:
        """Give what a load answers that ran where nothing may be waited for, and so is not stored."""
        if isinstance(attempted, Raised):
            return attempted
        entry, (outcome, now, ttl, draw) = self.state.table.stock.get(key), attempted
        return Answered(settle(self.state.table.policy, entry, outcome, now, ttl=ttl, draw=draw).answer)

    def at_hand_of(self, keys: tuple[K, ...]) -> dict[K, Landing[V, E]]:
        """Give the answers of those keys that need no load."""
        found = {key: self.state.at_hand(Strategy.STALE_IF_ERROR, key, self._clock()) for key in keys}
        return {key: step for key, step in found.items() if isinstance(step, Answered)}

    def uncached_of(self, keys: tuple[K, ...], returned: Mapping[K, Outcome[V, E]] | Raised) -> dict[K, Landing[V, E]]:
        """Do as ``uncached`` does for each of many keys."""
        told = told_apart(keys, returned, self.measured)
        return {key: self.uncached(key, attempted) for key, attempted in told.items()}

    def measured(self, outcome: Outcome[V, E]) -> Returned[V, E]:
        """Add to what a callback returned all that the core must be told."""
        ttl = self.ttl_of(outcome.unwrap()) if is_successful(outcome) else None
        return Returned(outcome, self._clock(), ttl, self.draw())

    def ttl_of(self, value: V) -> int | None:
        """Give the nanoseconds of the value's own TTL, if it has one. Raises what the user's function raises."""
        return None if self._ttl_for is None else checked_ttl(self._ttl_for(value))

    def draw(self) -> float:
        """Draw for jitter, where there is any."""
        return random() if self.state.table.policy.jitter else 0.0  # noqa: S311  # it spreads load, and keeps no secret

    def _let_go(self) -> None:
        """Release, outside of the guard, what was dropped inside."""
        if self.state.table.stock.let_go:
            self.state.table.stock.let_go.clear()
