"""What is measured of a cache, whatever system keeps the figures: names, units, labels, and where each comes from.

The names and units follow OpenTelemetry's semantic conventions: ``s`` for seconds, and in braces what is counted.
Translated to Prometheus they are the names that ``lastcache.prometheus`` has, so that one rule serves both.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import product
from operator import attrgetter
from threading import RLock
from typing import Final, NamedTuple, Protocol, final
from weakref import WeakSet

from lastcache._checks import checked_name, refuse
from lastcache._shell.forks import reset_in_children
from lastcache.errors import CacheClosedError
from lastcache.events import (
    ChangedElsewhere,
    Event,
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    LoadStarted,
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

OUTCOMES: Final = ("success", "failure", "exception")
STORE_ANSWERS: Final = ("served", "skipped", "unread", "outran", "changed")

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""The upper bounds of the buckets of durations, in seconds.

What takes less than a millisecond needs no cache in front of it, and what takes more than a minute has failed.
Between, each is two to three times the one before, and the usual timeouts are bounds.
"""


@final
class Instrument(NamedTuple):
    """What is measured of events, in ``unit``; ``labels`` are those beside the cache, with the values of each."""

    description: str
    unit: str
    labels: Mapping[str, tuple[str, ...]] = {}

    def series(self) -> Iterator[dict[str, str]]:
        """Give all labels that can come."""
        for values in product(*self.labels.values()):
            yield dict(zip(self.labels, values, strict=True))


COUNTERS: Final[Mapping[str, Instrument]] = {
    "loads": Instrument("Callbacks that have ended", "{load}", {"outcome": OUTCOMES, "background": ("false", "true")}),
    "joins": Instrument("Callers that waited for the load of another", "{call}"),
    "stale_answers": Instrument("Stale values that were given", "{answer}"),
    "refreshes": Instrument("Loads in the background", "{load}", {"result": ("started", "refused")}),
    "removals": Instrument("Keys that had to go", "{entry}", {"cause": ("evicted", "swept")}),
    "store_outages": Instrument("Times that the store of the second level went away", "{outage}"),
    "push_outages": Instrument("Times that changes elsewhere were no longer heard at once", "{outage}"),
    "store_answers": Instrument("What the store of the second level said", "{answer}", {"kind": STORE_ANSWERS}),
}

DURATIONS: Final[Mapping[str, Instrument]] = {
    "load.duration": Instrument("How long callbacks took", "s", {"outcome": OUTCOMES}),
    "join.duration": Instrument("How long callers waited for the load of another", "s"),
    "store_wait.duration": Instrument("How long callers waited for the load of another process", "s"),
}


@final
class Reading(NamedTuple):
    """What is read from the counts of a cache, in ``unit``; None where it is not counted."""

    description: str
    unit: str
    read: Callable[[Stats], int | None]


GAUGES: Final[Mapping[str, Reading]] = {
    "entries": Reading("Keys that have a value", "{entry}", attrgetter("entries")),
    "active_loads": Reading("Loads that run", "{load}", attrgetter("running")),
    "queued_loads": Reading("Loads that wait for their turn in the background", "{load}", attrgetter("queued")),
    "owed_changes": Reading("Keys whose change the store is still to be told of", "{entry}", attrgetter("owed")),
}

TOTALS: Final[Mapping[str, Reading]] = {
    "hits": Reading("Calls for which an answer stood", "{call}", attrgetter("hits")),
    "misses": Reading("Calls for which no answer stood", "{call}", attrgetter("misses")),
}


@final
class Measure(NamedTuple):
    """One more of the counter ``name``, or, where it has a duration, one value of the histogram ``name``."""

    name: str
    labels: Mapping[str, str] = {}
    took: timedelta | None = None


_WITHOUT_DETAILS: Final[Mapping[type, tuple[Measure, ...]]] = {
    LoadStarted: (),
    Joined: (Measure("joins"),),
    ServedStale: (Measure("stale_answers"),),
    RefreshStarted: (Measure("refreshes", {"result": "started"}),),
    RefreshRefused: (Measure("refreshes", {"result": "refused"}),),
    Evicted: (Measure("removals", {"cause": "evicted"}),),
    Swept: (Measure("removals", {"cause": "swept"}),),
    StoreServed: (Measure("store_answers", {"kind": "served"}),),
    StoreAway: (Measure("store_outages"),),
    StoreBack: (),
    PushLost: (Measure("push_outages"),),
    PushBack: (),
    StoreSkipped: (Measure("store_answers", {"kind": "skipped"}),),
    StoreUnread: (Measure("store_answers", {"kind": "unread"}),),
    StoreOutran: (Measure("store_answers", {"kind": "outran"}),),
    ChangedElsewhere: (Measure("store_answers", {"kind": "changed"}),),
}


def measures(event: Event[object, object]) -> tuple[Measure, ...]:
    """Say what to count and to time for ``event``.

    >>> measures(Joined("key"))
    (Measure(name='joins', labels={}, took=None),)
    """
    match event:
        case Loaded(took=took, background=background):
            return _load("success", took, background=background)
        case LoadFailed(took=took, background=background):
            return _load("failure", took, background=background)
        case LoadRaised(took=took, background=background):
            return _load("exception", took, background=background)
        case Waited(took=took):
            return (Measure("join.duration", took=took),)
        case WaitedElsewhere(took=took):
            return (Measure("store_wait.duration", took=took),)
        case _:
            return _WITHOUT_DETAILS[type(event)]


def _load(outcome: str, took: timedelta, *, background: bool) -> tuple[Measure, ...]:
    counted = Measure("loads", {"outcome": outcome, "background": str(background).lower()})
    return counted, Measure("load.duration", {"outcome": outcome}, took)


class Counted(Protocol):
    """A cache that has a name, and can say what it has counted."""

    @property
    def name(self) -> str: ...

    def stats(self) -> Stats: ...


def named(given: str | None, own: str) -> str:
    """Give the name under which figures are kept: the one that was given, or else the cache's own.

    Raises ``ConfigError`` where both are empty: figures of caches without names would be added up unseen.
    """
    name = own if given is None else checked_name(given)
    return name or refuse("name", name, "a name for the metrics, here or in LastCache(name=...), and not empty")


@final
class Watched:
    """The caches whose counts are read when they are asked for, by name; none is kept alive.

    Caches of one name are added up, as their events are. The lock may be taken again by a signal handler of its thread.
    """

    def __init__(self) -> None:
        self._caches = defaultdict[str, WeakSet[Counted]](WeakSet)
        self._lock = RLock()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Begin with a free lock, as the child of a fork must."""
        self._lock = RLock()

    def add(self, name: str, cache: Counted) -> None:
        with self._lock:
            self._caches[name].add(cache)

    def stats_of(self, name: str) -> Stats | None:
        """Give the counts of the caches of this name that are alive and open; None where there is none."""
        with self._lock:
            caches = list(self._caches.get(name, ()))
        return _sum(stats for cache in caches if (stats := _stats_of(cache)) is not None)

    def stats(self) -> Iterator[tuple[str, Stats]]:
        """Give the counts for each name."""
        with self._lock:
            names = list(self._caches)
        for name in names:
            stats = self.stats_of(name)
            if stats is not None:
                yield name, stats


def _stats_of(cache: Counted) -> Stats | None:
    try:
        return cache.stats()
    except CacheClosedError:
        return None


def _sum(counted: Iterable[Stats]) -> Stats | None:
    """Add up what is read from counts."""
    each = list(counted)
    if len(each) < 2:  # noqa: PLR2004  # nothing to add
        return each[0] if each else None
    hits = [stats.hits for stats in each if stats.hits is not None]
    return Stats(
        entries=sum(stats.entries for stats in each),
        hits=sum(hits) if hits else None,
        misses=sum(stats.misses for stats in each),
        queued=sum(stats.queued for stats in each),
        running=sum(stats.running for stats in each),
        owed=sum(stats.owed for stats in each),
    )
