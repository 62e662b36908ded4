"""What happened in a cache: counted, and told to its observer."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, Final, Generic, Protocol, TypeVar, final

from lastcache._checks import duration_of
from lastcache._shell.flight import Raised
from lastcache._shell.guard import inside
from lastcache.core.states import Outcome
from lastcache.core.values import SUCCESS
from lastcache.events import (
    ChangedElsewhere,
    Event,
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    LoadStarted,
    Observer,
    PushBack,
    PushLost,
    RefreshRefused,
    RefreshStarted,
    ServedStale,
    Stats,
    StoreAway,
    StoreBack,
    StoreOutran,
    StoreServed,
    StoreSkipped,
    StoreUnread,
    Swept,
    Waited,
    WaitedElsewhere,
)
from lastcache.records import CachedValue

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")

KINDS: Final = (
    Loaded,
    LoadFailed,
    LoadRaised,
    Joined,
    ServedStale,
    RefreshStarted,
    RefreshRefused,
    Evicted,
    Swept,
    StoreServed,
    StoreAway,
    StoreBack,
    StoreSkipped,
    StoreUnread,
    StoreOutran,
    WaitedElsewhere,
    ChangedElsewhere,
    PushLost,
    PushBack,
)


class Numbered(Protocol):
    """What has the number of a load."""

    number: int


@final
class Number:
    """The number of a load that no flight leads."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


def _begun(event: Event[K, E], flight: Numbered | None) -> Event[K, E]:
    if flight is not None and isinstance(event, LoadStarted):
        flight.number = event.load
    return event


@final
class Reports(Generic[K, E]):
    """The counts of one cache, and its observer.

    No count needs a lock: an interpreter with a global lock gives way to another thread at calls and jumps back, and
    there is neither within ``+= 1``.
    """

    __slots__ = ("_complained", "_counts", "_name", "_numbers", "_observer", "hits", "misses", "observed")

    def __init__(self, observer: Observer[K, E] | None, name: str = "") -> None:
        self._observer = observer
        self._name = name
        self._numbers = count(1)
        self.observed: bool = observer is not None
        self.hits: int = 0
        self.misses: int = 0
        self._counts: dict[object, int] = dict.fromkeys(KINDS, 0)
        self._complained = set[type[Exception]]()

    def begin(self, key: K, flight: Numbered, *, background: bool, batch: int = 0) -> None:
        """Tell of a callback that is about to run, in the context in which it will run.

        The flight has its number from the very call of the observer on: an end is told only of what has begun.
        ``batch`` is the number of the first load of the same callback, if this is not the first.
        """
        number = next(self._numbers)
        self._tell(LoadStarted(key, background, number, batch or number, cache=self._name), flight)

    def load(
        self,
        key: K,
        outcome: Outcome[V, E] | Raised,
        began_at: int,
        landed_at: int,
        *,
        background: bool,
        number: int = 0,
    ) -> None:
        """Report what came of a load."""
        kind = Loaded if type(outcome) is SUCCESS else LoadRaised if type(outcome) is Raised else LoadFailed
        self._counts[kind] += 1
        if self._observer is not None:
            took = time_between(began_at, landed_at)
            self._tell(_load_event(key, outcome, took, number, self._name, background=background))

    def stale(self, key: K, cached: CachedValue[V, E]) -> None:
        """Report a stale value that a caller is given."""
        self._counts[ServedStale] += 1
        if self._observer is not None:
            self._tell(ServedStale(key, cached.err, cache=self._name))

    def join(self, key: K) -> None:
        """Report a caller who is about to wait for the load that another has begun."""
        if self._count(Joined):
            self._tell(Joined(key, cache=self._name))

    def wait(self, key: K, began_at: int, ended_at: int) -> None:
        """Report a caller who has waited for the load that another had begun."""
        self._tell(Waited(key, time_between(began_at, ended_at), cache=self._name))

    def start(self, key: K) -> None:
        """Report a load that begins in the background."""
        if self._count(RefreshStarted):
            self._tell(RefreshStarted(key, cache=self._name))

    def refusal(self, key: K, why: str) -> None:
        """Report a background load that was dropped."""
        if self._count(RefreshRefused):
            self._tell(RefreshRefused(key, why, cache=self._name))

    def removal(self, key: K, *, evicted: bool) -> None:
        """Report a key that had to go: to make room, or because it was dead."""
        if self._count(Evicted if evicted else Swept):
            self._tell(Evicted(key, cache=self._name) if evicted else Swept(key, cache=self._name))

    def of_store(self, make: Callable[..., Any], *what: object) -> None:
        """Report what the store of a second level said or did: ``make`` is the event, of ``what``."""
        if self._count(make):
            self._tell(make(*what, cache=self._name))

    def _count(self, kind: object) -> bool:
        """Count an event of this kind, and say whether there is an observer to tell of it."""
        self._counts[kind] += 1
        return self._observer is not None

    def _tell(self, event: Event[K, E], flight: Numbered | None = None) -> None:
        """Tell the observer, outside of every lock: from inside a change, once that is over."""
        guard = inside()
        if guard is not None:
            guard.put_off(partial(self._tell_next, [_begun(event, flight)]))
            return
        try:
            if self._observer is not None:
                self._observer(_begun(event, flight))
        except Exception as err:
            if type(err) not in self._complained:
                self._complained.add(type(err))
                logging.getLogger("lastcache").exception(
                    "an observer raised at %r; this is logged once for each kind of error", event
                )

    def _tell_next(self, events: list[Event[K, E]]) -> None:
        """Tell of what was put off, once: what is put off is done again where it was interrupted."""
        if events:
            self._tell(events.pop())

    def stats(self, *, entries: int, count_hits: bool, queued: int, running: int, owed: int) -> Stats:
        """Write the counts down."""
        counts = self._counts
        return Stats(
            entries=entries,
            hits=self.hits if count_hits else None,
            misses=self.misses,
            loaded=counts[Loaded],
            load_failed=counts[LoadFailed],
            load_raised=counts[LoadRaised],
            joined=counts[Joined],
            served_stale=counts[ServedStale],
            refresh_started=counts[RefreshStarted],
            refresh_refused=counts[RefreshRefused],
            evicted=counts[Evicted],
            swept=counts[Swept],
            queued=queued,
            running=running,
            store_served=counts[StoreServed],
            store_away=counts[StoreAway],
            store_back=counts[StoreBack],
            store_skipped=counts[StoreSkipped],
            store_unread=counts[StoreUnread],
            store_outran=counts[StoreOutran],
            waited_elsewhere=counts[WaitedElsewhere],
            changed_elsewhere=counts[ChangedElsewhere],
            push_lost=counts[PushLost],
            push_back=counts[PushBack],
            owed=owed,
        )


def _load_event(
    key: K, outcome: Outcome[V, E] | Raised, took: timedelta, number: int, cache: str, *, background: bool
) -> Loaded[K] | LoadRaised[K] | LoadFailed[K, E]:
    if isinstance(outcome, Raised):
        return LoadRaised(key, outcome.err, background, took, number, cache=cache)
    if type(outcome) is SUCCESS:
        return Loaded(key, took, background, number, cache=cache)
    failure = outcome.failure()
    return LoadFailed(key, failure.err, failure.use_stale, took, background, number, cache=cache)


def time_between(since: int, now: int) -> timedelta:
    """Give the time between two instants: none where the clock went back."""
    return duration_of(max(0, now - since))
