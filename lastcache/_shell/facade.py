"""What both caches offer beside loads: to look at what is stored, to change it, and to close."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Generic, Never, TypeVar

from returns.maybe import Maybe, Nothing, Some
from returns.result import Result

from lastcache._checks import NOTHING, check_duration, checked_ttl, duration_of
from lastcache._shell.looks import explained, if_cached
from lastcache._shell.shell import Shell
from lastcache.core.entries import entry_of
from lastcache.core.explain import Explanation
from lastcache.core.policy import FOREVER, checked_max_stale
from lastcache.core.states import NegativelyCached, Strategy
from lastcache.core.transitions import deadline, view
from lastcache.events import Stats
from lastcache.records import CachedValue, StoredEntry

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")


class CacheView(Generic[K, V, E, C]):
    """A cache, or what a reader with demands sees of one, without its loads; ``C`` is the type of its callbacks."""

    __slots__ = ("__weakref__", "_all", "_bounded", "_clock", "_entries", "_max_stale", "_shell")

    def __init__(
        self, shell: Shell[K, V, E, C], clock: Callable[[], int], *, counted: bool, max_stale: int = FOREVER
    ) -> None:
        self._shell = shell
        self._clock = clock
        self._all = shell.entries
        # Where hits are counted none is found on the hit path, so that each is seen by the shell.
        self._entries = self._all.stored if not counted else {}
        self._bounded = self._all.bounded
        self._max_stale = max_stale

    @property
    def name(self) -> str:
        """The name that events, logs and metrics have for this cache; empty where it was given none."""
        return self._shell.name

    def __repr__(self) -> str:
        named = f" {self.name!r}" if self.name else ""
        return f"<{type(self).__name__}{named}: {len(self._all)} entries>"

    def peek(self, key: K) -> Maybe[CachedValue[V, E]]:
        """Show what is stored for ``key``, an expired value marked stale; nothing is ever loaded.

        >>> from lastcache import LastCache
        >>> cache = LastCache[str, int, str]()
        >>> cache.set("answer", 42)
        >>> cache.peek("answer"), cache.peek("question")
        (<Some: CachedValue(value=42, stale=False, err=None)>, <Nothing>)
        """
        self._shell.check_open()
        entry = self._all.get(key)
        return Nothing if entry is None or isinstance(entry, NegativelyCached) else Some(view(entry, self._clock()))

    def ttl(self, key: K) -> Maybe[timedelta]:
        """Tell how long the value of ``key`` still stands, rounded down to the microsecond: negative once it expired.

        Python prints a negative ``timedelta`` as a day less than none: print its ``total_seconds()``.

        >>> from lastcache import LastCache
        >>> now = 0
        >>> cache = LastCache[str, int, str](clock=lambda: now)
        >>> cache.ttl("answer")
        <Nothing>
        >>> cache.set("answer", 42, ttl=timedelta(seconds=1))
        >>> now = 3_000_000_000
        >>> cache.ttl("answer").map(timedelta.total_seconds)
        <Some: -2.0>
        """
        self._shell.check_open()
        entry = self._all.get(key)
        if entry is None or isinstance(entry, NegativelyCached):
            return Nothing
        return Some(duration_of(deadline(entry) - self._clock()))

    def fresh_for(self, cached: CachedValue[V, E]) -> timedelta:
        """Tell how long ``cached``, which this cache gave, stays fresh; where negative, how long it has been stale.

        It is rounded down to the microsecond. Of a record that was made by hand it says nothing of use.

        >>> from lastcache import LastCache
        >>> from returns.result import Success
        >>> cache = LastCache[str, int, str](clock=lambda: 0)
        >>> cache.fresh_for(cache.load_or_store("answer", lambda key: Success(42)).unwrap())
        datetime.timedelta(seconds=60)
        """
        self._shell.check_open()
        return duration_of(cached.fresh_until - self._clock())

    def explain(self, key: K, *, strategy: Strategy | None = None) -> Explanation[K, V, E]:
        """Tell what a call for ``key`` would do now, and why; nothing is changed, marked or loaded.

        ``strategy`` is by which the call would be made; None: as ``load_or_store`` does, with the soft timeout if any.

        >>> from lastcache import LastCache
        >>> cache = LastCache[str, int, str](clock=lambda: 0)
        >>> cache.set("answer", 42)
        >>> print(cache.explain("answer"))
        'answer': a call is served (fresh: the value is fresh)
          fresh                  for 60.000 s more
          stands                 for 60.000 s more
        """
        self._shell.check_open()
        chosen = strategy or self._shell.strategy_of_waiting()
        return self._shell.read_now(explained, self._shell.state, chosen, key, self._max_stale)

    def if_cached(self, key: K, *, max_stale: timedelta | None = None) -> Maybe[Result[CachedValue[V, E], E]]:
        """Give what can be given for ``key`` without a load, now or later; ``Nothing`` where there is no such answer.

        A stale value is given within ``stale_while_revalidate``, and within ``max_stale``; None: without that bound.
        A failure is given while it is remembered. This is ``only-if-cached`` of HTTP (RFC 9111, section 5.2.1.7), and
        ``Nothing`` its 504. Raises ``ConfigError`` for a ``max_stale`` below zero.

        >>> from lastcache import LastCache
        >>> cache = LastCache[str, int, str]()
        >>> cache.set("answer", 42)
        >>> cache.if_cached("answer"), cache.if_cached("question")
        (<Some: <Success: CachedValue(value=42, stale=False, err=None)>>, <Nothing>)
        """
        self._shell.check_open()
        answer = self._shell.read_now(if_cached, self._shell.state, key, self._within(max_stale))
        return Nothing if answer is None else Some(self._shell.give(key, answer))

    def _demanded(self, max_stale: timedelta) -> int:
        """Give the smaller bound of this view and of a view of it, in nanoseconds."""
        self._shell.check_open()
        check_duration("max_stale", max_stale, at_least=NOTHING, right="a timedelta of zero or more")
        return self._within(max_stale)

    def _within(self, max_stale: timedelta | None) -> int:
        """Give the smaller bound of this view and ``max_stale``, in nanoseconds."""
        return min(self._max_stale, checked_max_stale(max_stale))

    def entries(self) -> Iterator[StoredEntry[K, V, E]]:
        """Show every stored key as it is at this call, expired ones too.

        >>> from lastcache import LastCache
        >>> cache = LastCache[str, int, str]()
        >>> cache.set("answer", 42)
        >>> [(entry.key, entry.cached.value) for entry in cache.entries()]
        [('answer', 42)]
        """
        self._shell.check_open()
        now = self._clock()
        stored = self._shell.read(self._all.stored.copy)
        return iter(
            [
                StoredEntry(key, view(entry, now), duration_of(deadline(entry) - now))
                for key, kept in stored.items()
                if not isinstance(entry := entry_of(kept), NegativelyCached)
            ]
        )

    def stats(self) -> Stats:
        """Count what has happened since the cache was made; hits only with ``Config(count_hits=True)``.

        >>> from lastcache import LastCache
        >>> from returns.result import Success
        >>> cache = LastCache[str, int, str]()
        >>> _ = cache.load_or_store("answer", lambda key: Success(42))
        >>> cache.stats().loaded, cache.stats().hits
        (1, None)
        """
        self._shell.check_open()
        return self._shell.stats()

    def set(self, key: K, value: V, *, ttl: timedelta | None = None) -> None:
        """Store ``value`` as if it had just been loaded. A load that began before changes nothing any more.

        ``ttl`` is how long it is fresh, in place of what ``ttl_for`` or the cache says; zero stores it expired. Raises
        ``ConfigError``, or what ``ttl_for`` raises.
        """
        hash(key)
        own = self._shell.ttl_of(value) if ttl is None else checked_ttl(ttl)
        self._shell.set(key, value, own)

    def expire(self, key: K) -> None:
        """End the freshness of ``key`` now; its value is still there for when a load fails.

        A load that began before changes nothing any more.
        """
        hash(key)
        self._shell.expire(key)

    def delete(self, key: K) -> None:
        """Forget ``key``: nothing is left to fall back on. A load that began before stores nothing any more."""
        hash(key)
        self._shell.delete(key)

    def clear(self) -> None:
        """Forget every key, in one step. A load that began before stores nothing any more."""
        self._shell.clear()

    def __len__(self) -> int:
        self._shell.check_open()
        return len(self._all)

    def __contains__(self, key: object) -> bool:
        self._shell.check_open()
        return key in self._all.stored and key not in self._all.failures

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> Never:
        raise TypeError(f"a {type(self).__name__} holds a lock and loads under way: it cannot be pickled or copied")


class CacheBase(CacheView[K, V, E, C]):
    """A cache without its loads."""

    __slots__ = ()

    def close(self) -> None:
        """End the use of this cache, without waiting: every other method raises ``CacheClosedError`` from now on.

        A load that runs still answers those who wait for it. One that is queued ends with ``LoadDroppedError``.
        """
        self._shell.close()
