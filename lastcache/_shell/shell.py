"""What every call of a cache needs: its state behind a guard, its clock, its counts, and who is told of what ended."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple

from returns.result import Success

from lastcache._checks import checked_clock, checked_name, checked_observer, checked_ttl, checked_ttl_for
from lastcache._shell.flight import Dropped, Flight, Job, Landing, Raised, Stale
from lastcache._shell.forks import reset_in_children
from lastcache._shell.guard import Guard, inside
from lastcache._shell.inflight import CacheState
from lastcache._shell.place import Place
from lastcache._shell.reports import Reports
from lastcache.config import Config, checked_config
from lastcache.core.entries import BoundedEntry, Entries, until_of
from lastcache.core.states import Answer, Fresh, Outcome, Strategy
from lastcache.core.values import SUCCESS
from lastcache.events import Observer, Stats
from lastcache.records import CachedValue

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
Ts = TypeVarTuple("Ts")
T = TypeVar("T")


if TYPE_CHECKING:
    from lastcache._shell.second_level_many import SecondLevelOfMany
    from lastcache.second.options import Second


class Shell(Generic[K, V, E, C]):
    """The state of one cache behind its guard; ``C`` is the type of its callbacks. Raises ``ConfigError``.

    ``waits_for_store``: who changes an entry may wait until the store beside this cache, if there is one, was told.
    """

    waits_for_store: bool = False

    __slots__ = (
        "__weakref__",
        "clock",
        "count_hits",
        "counts",
        "entries",
        "guard",
        "name",
        "reports",
        "second",
        "soft_timeout",
        "state",
        "ttl_for",
    )

    def __init__(
        self,
        config: Config,
        clock: Callable[[], int],
        ttl_for: Callable[[V], timedelta] | None,
        observer: Observer[K, E] | None,
        timer: Callable[[], float],
        name: str = "",
        second: "Second[K, V] | None" = None,
    ) -> None:
        checked_config(config)
        self.clock: Callable[[], int] = checked_clock(clock)
        self.ttl_for: Callable[[V], timedelta] | None = checked_ttl_for(ttl_for)
        self.count_hits: bool = config.count_hits
        self.soft_timeout: float | None = None if config.soft_timeout is None else config.soft_timeout.total_seconds()
        self.guard: Guard = Guard(clock)
        self.name: str = checked_name(name)
        self.reports: Reports[K, E] = Reports(checked_observer(observer), name)
        # Where somebody counts, no stale answer is given by the hit path.
        self.counts: bool = config.count_hits or observer is not None
        self.second: SecondLevelOfMany[K, V, E, C] | None = None if second is None else _second_level(second, config)
        self.state: CacheState[K, V, E, C] = self.new_state(config, timer, watched=observer is not None)
        self.entries: Entries[K, V, E] = self.state.entries
        reset_in_children(self)

    def new_state(
        self,
        config: Config,
        timer: Callable[[], float],
        *,
        beside: CacheState[K, V, E, C] | None = None,
        watched: bool = False,
    ) -> CacheState[K, V, E, C]:
        """Make the state of this cache, or of one of its places ``beside`` the others."""
        if self.second is None:
            return CacheState(config, timer, beside=beside, watched=watched)
        return self.second.new_state(config, timer, beside=beside, watched=watched)

    def reset_after_fork(self) -> None:
        """Begin with a free lock, no load and nobody at work, as the child of a fork must; the entries stay."""
        raise NotImplementedError

    def close(self) -> None:
        """End the use of the cache, without waiting: detach every flight, drop what is queued, forget the entries."""
        raise NotImplementedError

    def tell(self, jobs: Sequence[Job[K, V, E, C]], *, here: bool) -> None:
        """Resolve the futures of ``jobs``, which have ended: in this very thread, or elsewhere."""
        raise NotImplementedError

    def check_open(self) -> None:
        """Raise ``CacheClosedError`` if the cache is closed."""
        self.state.check_open()

    def read(self, look: Callable[[], T]) -> T:
        """Give what ``look`` sees between two changes, or, where the guard is held, inside this one."""
        if inside() is not None:
            return look()
        try:
            return self.guard.run(look)
        finally:
            if self.state.outbox:
                self.settle_up()

    def read_now(self, look: Callable[[int, *Ts], T], *args: *Ts) -> T:
        """Do as ``read`` does; ``look`` is given the instant first."""
        if inside() is not None:
            return look(self.clock(), *args)
        try:
            return self.guard.run_now(look, *args)
        finally:
            if self.state.outbox:
                self.settle_up()

    def write(self, change: Callable[[*Ts], object], *args: *Ts) -> None:
        """Make a change of the table. Raises ``CacheClosedError``."""
        self.state.check_open()
        try:
            self.guard.write(change, *args)
        finally:
            self.settle_up()

    def write_now(self, change: Callable[[int, *Ts], object], *args: *Ts) -> None:
        """Do as ``write`` does; ``change`` is given the instant first."""
        self.state.check_open()
        try:
            self.guard.write_now(change, *args)
        finally:
            self.settle_up()

    def set(self, key: K, value: V, ttl: int | None) -> None:
        """Store ``value``, and have the store beside this cache told, if there is one."""
        if self.second is None:
            self.write_now(self.state.set, key, value, ttl)
        else:
            self.second.set(self, key, value, ttl)

    def expire(self, key: K) -> None:
        """End the freshness of ``key``, and have the store told."""
        if self.second is None:
            self.write_now(self.state.expire, key)
        else:
            self.second.expire(self, key)

    def delete(self, key: K) -> None:
        """Forget ``key``, and have the store told."""
        if self.second is None:
            self.write(self.state.delete, key)
        else:
            self.second.delete(self, key)

    def clear(self) -> None:
        """Forget every key, and have the store told."""
        if self.second is None:
            self.write(self.state.clear)
        else:
            self.second.clear(self)

    def send(self) -> float | None:
        """Tell the store what it is to be told of; give the seconds after which to look again, if there is more."""
        return None if self.second is None else self.second.send(self)

    def flush(self) -> None:
        """Tell the store what it is still to be told of, as long as it answers."""
        if self.second is not None:
            self.second.flush(self)

    def is_settled(self) -> bool:
        """Say whether the store knows every change that was made here."""
        return self.second is None or self.second.is_settled(self)

    def settle_up(self) -> None:
        """Tell, outside of the guard, what a change inside it left to be told."""
        if inside() is None:
            self.notify(self)
            self.release_removed()

    def standing(self, key: K) -> Answer[V, E] | None:
        """Give the answer that stands, and count a hit: what the hit path leaves to the shell where somebody counts."""
        answer = self.entries.standing(key, self.clock())
        self.reports.hits += answer is not None
        return answer

    def count_lookups(self, keys: Iterable[K]) -> dict[K, Answer[V, E]]:
        """Give the valid answers for many keys, as the hit path does; count the others as misses."""
        found: dict[K, Answer[V, E]] = {}
        stored, now = self.entries.stored, self.clock()
        misses = 0
        for key in keys:
            entry = stored.get(key)
            if entry is None or now > (entry.until if type(entry) is Fresh else until_of(entry)):
                misses += 1
                continue
            if type(entry) is BoundedEntry:
                entry.node.visited = True
            found[key] = entry.answer
        self.reports.hits += len(found)
        self.reports.misses += misses
        return found

    def stats(self) -> Stats:
        """Write down what was counted."""
        places = self.state.places.copy()
        queued = sum(len(loads.queue) for loads in places)
        running = max(0, sum(len(loads.traffic) for loads in places) - queued)
        owed = 0 if self.second is None else self.second.owed(self)
        return self.reports.stats(
            entries=len(self.entries), count_hits=self.count_hits, queued=queued, running=running, owed=owed
        )

    def soft_timeout_left(self, since: float, now: float) -> float:
        """Give the seconds for which a load that was left at ``since`` may still be waited for."""
        return since + (self.soft_timeout or 0.0) - now

    def strategy_of_waiting(self) -> Strategy:
        """Give the strategy of a call that waits for its load, as it would be made here."""
        return Strategy.STALE_IF_ERROR if self.soft_timeout is None else Strategy.STALE_IF_SLOW

    def may_wait(self, cached: CachedValue[V, E], seconds: float) -> bool:
        """Say whether ``cached`` may still be given ahead of its load after so many seconds."""
        left = cached.fresh_until + self.state.policy.stale_while_revalidate - self.clock()
        return left > seconds * 1_000_000_000

    def give(self, key: K, landing: Landing[V, E] | Stale[K, V, E, C]) -> Answer[V, E]:
        """Give a caller how its call ended, and report a stale value. Raises what the callback raised."""
        if type(landing) is Stale:
            self.reports.stale(key, landing.cached)
            return Success(landing.cached)
        if type(landing) is Raised:
            return landing.give()
        if type(landing) is SUCCESS and (cached := landing.unwrap()).stale:
            self.reports.stale(key, cached)
        return landing

    def notify(self, place: "Place[K, V, E, C] | Shell[K, V, E, C]", *, here: bool = False) -> None:
        """Tell who waits for the jobs that have ended, and report those that were dropped.

        ``here`` is whether what hears of it may run in this very thread. A job leaves the outbox once it was told, so
        that whoever comes next completes what an interrupt broke off.
        """
        outbox = self.state.outbox
        while ended := list(outbox):
            self._tell(place, ended, here=here)
            for job in ended:
                if outbox.pop(job, False) is None:
                    self._release(job)

    def tell_of(self, place: Place[K, V, E, C], job: Job[K, V, E, C]) -> None:
        """Tell who waits for a job that ran in the background, where they may hear of it in this very thread."""
        self._tell(place, [job], here=True)
        self._release(job)

    def _tell(
        self, place: "Place[K, V, E, C] | Shell[K, V, E, C]", ended: Sequence[Job[K, V, E, C]], *, here: bool
    ) -> None:
        told: list[Job[K, V, E, C]] = []
        for ending in ended:
            for job in ending.everyone():
                job.landing = ending.landing
                job.wake()
                told.append(job)
        place.tell(told, here=here)

    def _release(self, ending: Job[K, V, E, C]) -> None:
        for job in ending.everyone():
            job.release()
            self._report_dropped(job)

    def _report_dropped(self, job: Job[K, V, E, C]) -> None:
        if isinstance(job.landing, Dropped):
            with suppress(BaseException):
                self.reports.refusal(job.key, job.landing.why)

    def report_call(self, key: K, flight: Flight[V, E]) -> None:
        """Report what a call has dropped on its way, and the load that it led, if any."""
        try:
            if self.entries.removed:
                self.release_removed()
        finally:
            self.report_load(key, flight, background=False)

    def report_load(self, key: K, flight: Flight[V, E], *, background: bool) -> None:
        """Report what came of the callback that ``flight`` ran."""
        if flight.outcome is not None and flight.began_at is not None:
            self.reports.load(
                key, flight.outcome, flight.began_at, flight.landed_at, background=background, number=flight.number
            )

    def report_end(self, key: K, flight: Flight[V, E], err: BaseException, *, background: bool) -> None:
        """Report a load that ``err`` broke off: what came of its callback, or that it was interrupted."""
        began = flight.number if self.reports.observed else flight.node.calling
        if flight.outcome is None and flight.began_at is not None and began:
            flight.outcome = Raised(err, None)
            with suppress(Exception):  # the clock's own error
                flight.landed_at = self.clock()
        self.report_load(key, flight, background=background)

    def ttl_of_outcome(self, outcome: Outcome[V, E]) -> int | None:
        """Give the nanoseconds of a loaded value's own TTL, if it has one. Raises what the user's function raises."""
        if self.ttl_for is None or type(outcome) is not SUCCESS:
            return None
        return checked_ttl(self.ttl_for(outcome.unwrap()))

    def ttl_of(self, value: V) -> int | None:
        """Give the nanoseconds of the value's own TTL, if it has one. Raises what the user's function raises."""
        return None if self.ttl_for is None else checked_ttl(self.ttl_for(value))

    def release_removed(self) -> None:
        """Release, outside of the guard, what was dropped inside, and report it."""
        removed = self.entries.removed
        while removed:
            with suppress(IndexError):
                gone = removed.popleft()
                self.reports.removal(gone.key, evicted=gone.evicted)


def _second_level(second: "Second[K, V]", config: Config) -> "SecondLevelOfMany[K, V, Any, Any]":
    """Load what a second level needs only where there is one: it takes as long to import as all the rest."""
    from lastcache._shell.second_level_many import SecondLevelOfMany
    from lastcache.second.options import checked_second

    return SecondLevelOfMany(checked_second(second), config)
