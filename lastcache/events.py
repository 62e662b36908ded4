"""What a cache tells its observer, and what it counts: frozen records, made off the hit path, given outside of locks.

An observer is a function of one event, given to the cache when it is made. It is called in the thread or task in which
the event came about, after the change was made; in the background that is a worker. It may call the cache. What it
raises hurts no call: the first time it is logged, by the logger ``lastcache``.

Durations are those of the cache's own clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeAlias, TypeVar, final

from lastcache.records import sealed

K = TypeVar("K")
E = TypeVar("E")
K_co = TypeVar("K_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)


@final
@sealed
@dataclass(frozen=True, slots=True)
class Loaded(Generic[K_co]):
    """A callback gave a value. ``background`` where nobody waited for it."""

    key: K_co
    took: timedelta
    background: bool


@final
@sealed
@dataclass(frozen=True, slots=True)
class LoadFailed(Generic[K_co, E_co]):
    """A callback gave a failure. ``background`` where nobody waited for it."""

    key: K_co
    err: E_co
    use_stale: bool
    took: timedelta
    background: bool


@final
@sealed
@dataclass(frozen=True, slots=True)
class LoadRaised(Generic[K_co]):
    """A callback raised, or returned something else than an outcome."""

    key: K_co
    exception: BaseException
    background: bool


@final
@sealed
@dataclass(frozen=True, slots=True)
class Joined(Generic[K_co]):
    """A caller began to wait for the load that another had begun."""

    key: K_co


@final
@sealed
@dataclass(frozen=True, slots=True)
class ServedStale(Generic[K_co, E_co]):
    """A caller was given a stale value, with the error that made it so, if one is known.

    What the hit path gives while an extension stands is not told of, unless hits are counted.
    """

    key: K_co
    err: E_co | None


@final
@sealed
@dataclass(frozen=True, slots=True)
class RefreshStarted(Generic[K_co]):
    """A load began in the background. It is told when that has ended, so that an observer holds up nobody who waits."""

    key: K_co


@final
@sealed
@dataclass(frozen=True, slots=True)
class RefreshRefused(Generic[K_co]):
    """A load in the background was dropped: its ``refresh`` raises ``LoadDroppedError``, with this ``reason``."""

    key: K_co
    reason: str


@final
@sealed
@dataclass(frozen=True, slots=True)
class Evicted(Generic[K_co]):
    """A key had to make room for another, because of ``max_entries``."""

    key: K_co


@final
@sealed
@dataclass(frozen=True, slots=True)
class Swept(Generic[K_co]):
    """A key was dropped whose entry could never be given again."""

    key: K_co


Event: TypeAlias = (
    Loaded[K]
    | LoadFailed[K, E]
    | LoadRaised[K]
    | Joined[K]
    | ServedStale[K, E]
    | RefreshStarted[K]
    | RefreshRefused[K]
    | Evicted[K]
    | Swept[K]
)
"""What an observer is given."""

Observer: TypeAlias = Callable[[Event[K, E]], object]


@final
@sealed
@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How often what has happened in one cache since it was made, and how many keys have a value now.

    ``hits`` are counted with ``Config(count_hits=True)`` alone; else it is None. ``misses`` are the calls for which no
    answer stood: they loaded, joined a load, were given a stale value, or found an early load due. Every call is one of
    the two, key by key. The other counts are those of the events.

    >>> Stats(entries=1, hits=3, misses=1, loaded=1).hit_ratio
    0.75
    """

    entries: int
    hits: int | None
    misses: int
    loaded: int = 0
    load_failed: int = 0
    load_raised: int = 0
    joined: int = 0
    served_stale: int = 0
    refresh_started: int = 0
    refresh_refused: int = 0
    evicted: int = 0
    swept: int = 0

    @property
    def hit_ratio(self) -> float | None:
        """The part of the calls that hit, from 0 to 1; None where hits are not counted, or nobody has called."""
        if self.hits is None or self.hits + self.misses == 0:
            return None
        return self.hits / (self.hits + self.misses)
