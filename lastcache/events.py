"""What a cache tells its observer, and what it counts: frozen records, made off the hit path, given outside of locks.

An observer is a function of one event, given to the cache when it is made. It is called in the thread or task in which
the event came about, after the change was made; in the background that is a worker. It may call the cache. What it
raises hurts no call: the first time it is logged, by the logger ``lastcache``.

Durations are those of the cache's own clock. ``cache`` is the name of the cache, empty where it has none.

Every load has a number, ``load``, one for each cache: that of ``LoadStarted`` comes back in exactly one of ``Loaded``,
``LoadFailed`` and ``LoadRaised``, also where the load was outrun or interrupted; an interrupt that strikes the telling
itself may lose it. It is no part of equality.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Generic, Literal, TypeAlias, TypeVar, final

from lastcache.errors import StoreFailure
from lastcache.records import sealed

K = TypeVar("K")
E = TypeVar("E")
K_co = TypeVar("K_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)


@final
@sealed
@dataclass(frozen=True, slots=True)
class LoadStarted(Generic[K_co]):
    """A callback is about to run, in the context in which this is told: an observer may set context variables for it.

    Those who join wait for the observer, too. ``background`` where nobody waits for the load. ``batch`` is the number
    of the first load of the same callback: the load's own, unless that loads many keys. A load from inside a change of
    a cache is told of when that change is complete: then the callback has run.
    """

    key: K_co
    background: bool
    load: int = field(default=0, compare=False, repr=False)
    batch: int = field(default=0, compare=False, repr=False)
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class Loaded(Generic[K_co]):
    """A callback gave a value. ``background`` where nobody waited for it."""

    key: K_co
    took: timedelta
    background: bool
    load: int = field(default=0, compare=False, repr=False)
    cache: str = field(default="", kw_only=True, repr=False)


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
    load: int = field(default=0, compare=False, repr=False)
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class LoadRaised(Generic[K_co]):
    """A callback raised, was interrupted or cancelled, or returned something else than an outcome."""

    key: K_co
    exception: BaseException
    background: bool
    took: timedelta = timedelta(0)
    load: int = field(default=0, compare=False, repr=False)
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class Joined(Generic[K_co]):
    """A caller began to wait for the load that another had begun."""

    key: K_co
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class Waited(Generic[K_co]):
    """A caller that had joined the load of another has waited for so long, and the load has ended."""

    key: K_co
    took: timedelta
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True, init=False)
class ServedStale(Generic[K_co, E_co]):
    """A caller was given a stale value, with the error that made it so, if one is known."""

    key: K_co
    err: E_co | None
    cache: str = field(default="", kw_only=True, repr=False)

    # As in ``CachedValue``: in an outage every answer makes one.
    def __init__(self, key: K_co, err: E_co | None, *, cache: str = "") -> None:
        _SET_KEY(self, key)
        _SET_ERR(self, err)
        _SET_CACHE(self, cache)


_SET_KEY = ServedStale.__dict__["key"].__set__
_SET_ERR = ServedStale.__dict__["err"].__set__
_SET_CACHE = ServedStale.__dict__["cache"].__set__


@final
@sealed
@dataclass(frozen=True, slots=True)
class RefreshStarted(Generic[K_co]):
    """A load began in the background. It is told when that has ended, so that an observer holds up nobody who waits."""

    key: K_co
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class RefreshRefused(Generic[K_co]):
    """A load in the background was dropped: its ``refresh`` raises ``LoadDroppedError``, with this ``reason``."""

    key: K_co
    reason: str
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class Evicted(Generic[K_co]):
    """A key had to make room for another, because of ``max_entries``."""

    key: K_co
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class Swept(Generic[K_co]):
    """A key was dropped whose entry could never be given again."""

    key: K_co
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class StoreServed(Generic[K_co]):
    """A call was answered with what the store had: no callback ran for it. ``stale`` where it is past its freshness."""

    key: K_co
    stale: bool
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class StoreAway:
    """The store did not answer, for this reason: nobody asks it until a probe in the background succeeds.

    It is told once for each outage of the store.
    """

    failure: StoreFailure
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class StoreBack:
    """The store answers again, after so long; ``owed`` is how many keys it is still to be told of."""

    away_for: timedelta
    owed: int
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class StoreSkipped(Generic[K_co]):
    """What was loaded or set is not in the store, for this reason: other processes do not have it.

    Where the cache was closed while it owed a change to a store that was away, they were not told of that change; then
    ``key`` is None for a ``clear``.
    """

    key: K_co | None
    reason: str
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class StoreUnread(Generic[K_co]):
    """The store has a value that cannot be read, for this reason: it counts as none."""

    key: K_co
    reason: str
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class StoreOutran(Generic[K_co]):
    """Something newer was written elsewhere while a value was loaded: its own callers get it, and nobody stores it."""

    key: K_co
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class WaitedElsewhere(Generic[K_co]):
    """A call has waited for so long for the load of another process."""

    key: K_co
    took: timedelta
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class ChangedElsewhere(Generic[K_co]):
    """The store said that another process has set, deleted or expired ``key``, or cleared all: then it is None."""

    key: K_co | None
    how: Literal["set", "deleted", "expired", "cleared"]
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class PushLost:
    """The store no longer tells at once of what other processes write, for this reason; ``trust_for`` holds as ever.

    It is told once, and tried again until ``PushBack``.
    """

    failure: StoreFailure
    cache: str = field(default="", kw_only=True, repr=False)


@final
@sealed
@dataclass(frozen=True, slots=True)
class PushBack:
    """The store tells at once again of what other processes write, after so long."""

    lost_for: timedelta
    cache: str = field(default="", kw_only=True, repr=False)


Event: TypeAlias = (
    LoadStarted[K]
    | Loaded[K]
    | LoadFailed[K, E]
    | LoadRaised[K]
    | Joined[K]
    | Waited[K]
    | ServedStale[K, E]
    | RefreshStarted[K]
    | RefreshRefused[K]
    | Evicted[K]
    | Swept[K]
    | StoreServed[K]
    | StoreAway
    | StoreBack
    | StoreSkipped[K]
    | StoreUnread[K]
    | StoreOutran[K]
    | WaitedElsewhere[K]
    | ChangedElsewhere[K]
    | PushLost
    | PushBack
)
"""What an observer is given."""

Observer: TypeAlias = Callable[[Event[K, E]], None]


@final
@sealed
@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """How often what has happened in one cache since it was made, and how many keys have a value now.

    ``hits`` are counted with ``Config(count_hits=True)`` alone; else it is None. ``misses`` are the calls for which no
    answer stood: they loaded, joined a load, were given a stale value, or found an early load due. Every call is one of
    the two, key by key. ``queued`` are the loads that wait for their turn in the background now, and ``running`` those
    that run, and that no newer write has outrun. ``owed`` are the keys whose change the store of a second level is
    still to be told of. The other counts are those of the events; stale answers are all
    counted where hits are counted, or where there is an observer.

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
    queued: int = 0
    running: int = 0
    store_served: int = 0
    store_away: int = 0
    store_back: int = 0
    store_skipped: int = 0
    store_unread: int = 0
    store_outran: int = 0
    waited_elsewhere: int = 0
    changed_elsewhere: int = 0
    push_lost: int = 0
    push_back: int = 0
    owed: int = 0

    @property
    def hit_ratio(self) -> float | None:
        """The part of the calls that hit, from 0 to 1; None where hits are not counted, or nobody has called."""
        if self.hits is None or self.hits + self.misses == 0:
            return None
        return self.hits / (self.hits + self.misses)
