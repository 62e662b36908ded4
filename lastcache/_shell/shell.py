"""What both shells do alike: the state of one cache behind its guard, and how a load that ran lands in it."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from random import random
from time import monotonic
from typing import Generic, ParamSpec, TypeVar

from returns.pipeline import is_successful

from lastcache._checks import checked_clock, checked_observer, checked_ttl, checked_ttl_for
from lastcache._shell.batches import Batch, told_apart
from lastcache._shell.flight import Answered, Flight, Landing, Queued, Raised, Returned, Stale
from lastcache._shell.forks import renew_in_children
from lastcache._shell.frames import forget_frames
from lastcache._shell.guard import Guard, inside
from lastcache._shell.inflight import INSIDE, State
from lastcache._shell.reports import Reports
from lastcache.config import Config, checked_config
from lastcache.core.entries import BoundedEntry
from lastcache.core.states import Answer, Outcome, Strategy
from lastcache.core.transitions import kept_error, settle
from lastcache.events import Observer, Stats

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")


class Shell(Generic[K, V, E, C]):
    """The state of one cache behind its guard; ``C`` is the type of its callbacks. Raises ``ConfigError``."""

    __slots__ = (
        "__weakref__",
        "_clock",
        "_count_hits",
        "_guard",
        "_soft_timeout",
        "_ttl_for",
        "reports",
        "state",
    )

    def __init__(
        self,
        config: Config,
        clock: Callable[[], int],
        ttl_for: Callable[[V], timedelta] | None,
        observer: Observer[K, E] | None,
    ) -> None:
        checked_config(config)
        self._clock = checked_clock(clock)
        self._ttl_for = checked_ttl_for(ttl_for)
        self._soft_timeout = None if config.soft_timeout is None else config.soft_timeout.total_seconds()
        self._count_hits = config.count_hits
        self._guard = Guard()
        self.reports: Reports[K, E] = Reports(checked_observer(observer))
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

    def look(self, key: K) -> Answered[V, E] | None:
        """Count a call, and, where hits are counted, give the answer that stands: such a call took no hit path."""
        if self._count_hits:
            entry = self.state.table.stock.entries.get(key)
            if entry is not None and self._clock() <= entry.until:
                if isinstance(entry, BoundedEntry):
                    entry.node.visited = True
                self.reports.hits += 1
                return Answered(entry.answer)
        self.reports.misses += 1
        return None

    def look_at(self, keys: Iterable[K]) -> dict[K, Landing[V, E]]:
        """Do as ``look`` does for each of many keys."""
        looked = {key: self.look(key) for key in keys}
        return {key: standing for key, standing in looked.items() if standing is not None}

    def stats(self) -> Stats:
        """Write down what was counted."""
        return self.reports.stats(entries=len(self.state.table.stock), count_hits=self._count_hits)

    def patience(self, stale: Stale[V, E]) -> float:
        """Give the seconds for which the load behind ``stale`` may still be waited for."""
        return max(0.0, stale.since + (self._soft_timeout or 0.0) - monotonic())

    def land(
        self, state: State[K, V, E, C], key: K, flight: Flight[K, V, E, C], attempted: Returned[V, E] | Raised
    ) -> Landing[V, E]:
        """Land in ``state`` what came of the callback that ``flight`` ran."""
        flight.attempted = attempted
        if isinstance(attempted, Raised):
            self._guard.run(state.crash, key, flight, attempted)
            return attempted
        landing, landed = self._guard.run(state.land, key, flight, attempted)
        if not is_successful(attempted.outcome):
            forget_frames(kept_error(landed.transition.entry))
        return landing

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

    def report(self, key: K, flight: Flight[K, V, E, C]) -> None:
        """Tell of the load that ``flight`` ran, if it ran one, and of what had to go."""
        if flight.attempted is not None:
            self.reports.load(key, flight.attempted, flight.began_at, background=False)
        if self.state.table.stock.let_go:
            self._let_go()

    def report_behind(self, key: K, flight: Flight[K, V, E, C], landing: Landing[V, E]) -> None:
        """Do as ``report`` does in the background, where what comes out of an observer has nobody to strike."""
        with suppress(BaseException):
            self.reports.landing(key, landing, flight.attempted, flight.began_at)
            self._let_go()

    def report_start(self, key: K) -> None:
        """Tell of a load that begins in the background."""
        with suppress(BaseException):
            self.reports.start(key)

    def report_dropped(self, queued: Iterable[Queued[K, V, E, C]], why: str) -> None:
        """Tell of background loads that will not run."""
        for unrun in queued:
            with suppress(BaseException):
                self.reports.refusal(unrun.key, why)

    def answers(self, landings: Mapping[K, Landing[V, E]], keys: Iterable[K]) -> dict[K, Answer[V, E]]:
        """Give the answers to a call for many keys; what one of them raises is what all of the call raises."""
        answers = {key: landings[key].give() for key in keys}
        for key in answers:
            self.reports.given(key, landings[key])
        return answers

    def uncached(self, key: K, attempted: Returned[V, E] | Raised, began_at: int) -> Landing[V, E]:
        """Give what a load answers that ran where nothing may be waited for, and so is not stored."""
        self.reports.load(key, attempted, began_at, background=False)
        if isinstance(attempted, Raised):
            return attempted
        entry, (outcome, now, ttl, draw) = self.state.table.stock.get(key), attempted
        return Answered(settle(self.state.table.policy, entry, outcome, now, ttl=ttl, draw=draw).answer)

    def at_hand(self, strategy: Strategy, key: K, now: int) -> Answered[V, E] | Stale[V, E] | None:
        """Give what a call that may not wait for anybody can be given without a load, if anything."""
        at_hand = self.state.at_hand(strategy, key, now)
        if isinstance(at_hand, Stale):
            self.reports.refusal(key, INSIDE)
        return at_hand

    def at_hand_of(self, keys: tuple[K, ...]) -> dict[K, Landing[V, E]]:
        """Give the answers of those keys that need no load."""
        found = {key: self.at_hand(Strategy.STALE_IF_ERROR, key, self._clock()) for key in keys}
        return {key: step for key, step in found.items() if isinstance(step, Answered)}

    def uncached_of(
        self, keys: tuple[K, ...], returned: Mapping[K, Outcome[V, E]] | Raised, began_at: int
    ) -> dict[K, Landing[V, E]]:
        """Do as ``uncached`` does for each of many keys."""
        told = told_apart(keys, returned, self.measured)
        return {key: self.uncached(key, attempted, began_at) for key, attempted in told.items()}

    def measured(self, outcome: Outcome[V, E]) -> Returned[V, E]:
        """Add to what a callback returned all that the core must be told."""
        has_ttl = self._ttl_for is not None and is_successful(outcome)
        ttl = self.ttl_of(outcome.unwrap()) if has_ttl else None
        return Returned(outcome, self._clock(), ttl, self.draw())

    def ttl_of(self, value: V) -> int | None:
        """Give the nanoseconds of the value's own TTL, if it has one. Raises what the user's function raises."""
        return None if self._ttl_for is None else checked_ttl(self._ttl_for(value))

    def draw(self) -> float:
        """Draw for jitter, where there is any."""
        return random() if self.state.table.policy.jitter else 0.0  # noqa: S311  # it spreads load, and keeps no secret

    def _let_go(self) -> None:
        """Release, outside of the guard, what was dropped inside, and tell of it."""
        dropped = self.state.table.stock.let_go
        while dropped:
            with suppress(IndexError):
                gone = dropped.popleft()
                self.reports.removal(gone.key, evicted=gone.evicted)
