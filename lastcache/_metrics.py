"""What is measured of a cache, whatever system keeps the figures: names, labels, and the event that each comes from."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from threading import Lock
from typing import Final, NamedTuple, Protocol, final
from weakref import WeakValueDictionary

from lastcache.errors import CacheClosedError
from lastcache.events import (
    Event,
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    LoadStarted,
    RefreshRefused,
    RefreshStarted,
    ServedStale,
    Stats,
    Swept,
    Waited,
)


@final
class Counter(NamedTuple):
    """A count of events, by these labels beside the name of the cache."""

    description: str
    labels: tuple[str, ...] = ()


COUNTERS: Final[Mapping[str, Counter]] = {
    "loads": Counter("Callbacks that have ended", ("outcome", "background")),
    "joins": Counter("Callers that waited for the load of another"),
    "stale_answers": Counter("Stale values that were given"),
    "refreshes": Counter("Loads in the background", ("result",)),
    "removals": Counter("Keys that had to go", ("cause",)),
}

DURATION: Final = Counter("How long callbacks took that returned", ("outcome",))


@final
class Measure(NamedTuple):
    """One event, counted under ``name``; ``took`` where it has a duration."""

    name: str
    labels: Mapping[str, str] = {}
    took: timedelta | None = None


_WITHOUT_DETAILS: Final[Mapping[type, Measure]] = {
    Joined: Measure("joins"),
    ServedStale: Measure("stale_answers"),
    RefreshStarted: Measure("refreshes", {"result": "started"}),
    RefreshRefused: Measure("refreshes", {"result": "refused"}),
    Evicted: Measure("removals", {"cause": "evicted"}),
    Swept: Measure("removals", {"cause": "swept"}),
}


def measure(event: Event[object, object]) -> Measure | None:
    """Say what to count for ``event``.

    >>> measure(Joined("key"))
    Measure(name='joins', labels={}, took=None)
    """
    match event:
        case Loaded(took=took, background=background):
            return _load("success", took, background=background)
        case LoadFailed(took=took, background=background):
            return _load("failure", took, background=background)
        case LoadRaised(took=took, background=background):
            return _load("exception", took, background=background)
        case LoadStarted() | Waited():
            return None
        case Joined() | ServedStale() | RefreshStarted() | RefreshRefused() | Evicted() | Swept():
            return _WITHOUT_DETAILS[type(event)]


def _load(outcome: str, took: timedelta | None, *, background: bool) -> Measure:
    return Measure("loads", {"outcome": outcome, "background": str(background).lower()}, took)


class Counted(Protocol):
    """A cache that can say what it has counted."""

    def stats(self) -> Stats: ...


@final
class Watched:
    """The caches whose figures are read when they are asked for, by name; none is kept alive."""

    def __init__(self) -> None:
        self._caches = WeakValueDictionary[str, Counted]()
        self._lock = Lock()

    def add(self, name: str, cache: Counted) -> None:
        with self._lock:
            self._caches[name] = cache

    def stats(self) -> Iterator[tuple[str, Stats]]:
        """Give the counts of the caches that are alive and open."""
        with self._lock:
            watched = list(self._caches.items())
        for name, cache in watched:
            try:
                stats = cache.stats()
            except CacheClosedError:
                continue
            yield name, stats
