"""The cache for threads.

A hit reads one dict, asks the clock once and compares once: an entry holds the answer, and the instant until which it
stands. Whatever else there is to decide, ``_loads`` does.
"""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from types import TracebackType
from typing import Generic, Never, Self, TypeVar, final

from returns.maybe import Maybe, Nothing, Some
from returns.result import Result

from lastcache._flight import Revalidation, without_refresh
from lastcache._loads import Loads
from lastcache.config import Config, checked_clock, checked_config, duration_of
from lastcache.records import CachedValue, StoredEntry
from lastcache.transitions import Outcome, Strategy, deadline, view

__all__ = ["LastCache", "Revalidation"]

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
Ctx = TypeVar("Ctx")


@final
class LastCache(Generic[K, V, E]):
    """An in-memory cache of ``K`` to ``V`` that keeps answering when the source fails with ``E`` or is slow.

    Safe to share between threads. Per key at most one callback runs at a time, and everyone who needs it waits for it.
    It grows with the keys that are loaded: nothing is evicted.

    A callback gives ``Success(value)`` or ``Failure(LoadFailure(err, use_stale))``; ``E`` must not include ``None``.
    One that raises breaks its contract: the exception goes to everyone who waited, and nothing is stored.
    Errors of misuse: ``ConfigError`` for an option or a clock that is none, ``ReentrantLoadError`` for a callback that
    would wait for itself, ``TypeError`` for a callback that returns something else, and ``CacheClosedError``.

    ``clock`` gives nanoseconds, and must not go back.

    >>> from returns.result import Success
    >>> cache = LastCache[str, int, str](Config(global_ttl=timedelta(minutes=5)))
    >>> cache.load_or_store("answer", lambda key: Success(42))
    <Success: CachedValue(value=42, stale=False, err=None)>
    """

    __slots__ = ("__weakref__", "_clock", "_entries", "_loads")

    def __init__(self, config: Config = Config(), *, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = checked_clock(clock)
        self._loads: Loads[K, V, E] = Loads(checked_config(config), clock)
        self._entries = self._loads.state.table.entries

    def load_or_store(self, key: K, callback: Callable[[K], Outcome[V, E]]) -> Result[CachedValue[V, E], E]:
        """Give the value of ``key``, loading it when it is missing or expired: stale-if-error (RFC 5861, section 4).

        If the load of an expired value fails and the failure allows it, the expired value is given, marked stale.
        Waits for the callback, its own or that of whoever came first.
        """
        try:
            entry = self._entries[key]
            if self._clock() <= entry.until:
                return entry.answer
        except KeyError:
            pass
        return self._loads.ask(Strategy.STALE_IF_ERROR, key, callback).give()

    def async_load_or_store(self, key: K, callback: Callable[[K], Outcome[V, E]]) -> Result[Revalidation[V, E], E]:
        """Give the value of ``key``, an expired one at once: stale-while-revalidate (RFC 5861, section 3).

        The load of an expired value runs behind the answer, in a worker thread, and ends in ``refresh``.
        A missing value is loaded in the foreground, and so is one whose last failure did not allow stale data.
        The callback sees the context variables of the caller.
        """
        try:
            entry = self._entries[key]
            if self._clock() <= entry.until:
                return entry.answer.map(without_refresh)
        except KeyError:
            pass
        return self._loads.ask(Strategy.STALE_WHILE_REVALIDATE, key, callback).give_revalidation()

    def load_or_store_with_ctx(
        self, ctx: Ctx, key: K, callback: Callable[[Ctx, K], Outcome[V, E]]
    ) -> Result[CachedValue[V, E], E]:
        """Do as ``load_or_store`` does; the callback is given ``ctx``, too.

        >>> from returns.result import Success
        >>> LastCache[str, str, str]().load_or_store_with_ctx("/", "etc", lambda root, key: Success(root + key))
        <Success: CachedValue(value='/etc', stale=False, err=None)>
        """
        return self.load_or_store(key, partial(callback, ctx))

    def async_load_or_store_with_ctx(
        self, ctx: Ctx, key: K, callback: Callable[[Ctx, K], Outcome[V, E]]
    ) -> Result[Revalidation[V, E], E]:
        """Do as ``async_load_or_store`` does; the callback is given ``ctx``, too."""
        return self.async_load_or_store(key, partial(callback, ctx))

    def peek(self, key: K) -> Maybe[CachedValue[V, E]]:
        """Show what is stored for ``key``, an expired value marked stale; nothing is ever loaded.

        >>> cache = LastCache[str, int, str]()
        >>> cache.set("answer", 42)
        >>> cache.peek("answer"), cache.peek("question")
        (<Some: CachedValue(value=42, stale=False, err=None)>, <Nothing>)
        """
        self._loads.state.check_open()
        entry = self._entries.get(key)
        return Nothing if entry is None else Some(view(entry, self._clock()))

    def ttl(self, key: K) -> Maybe[timedelta]:
        """Tell how long the value of ``key`` still stands, rounded down to the microsecond: negative once it expired.

        >>> LastCache[str, int, str]().ttl("question")
        <Nothing>
        """
        self._loads.state.check_open()
        entry = self._entries.get(key)
        return Nothing if entry is None else Some(duration_of(deadline(entry) - self._clock()))

    def entries(self) -> Iterator[StoredEntry[K, V, E]]:
        """Show every stored key as it is at this call, expired ones too.

        >>> cache = LastCache[str, int, str]()
        >>> cache.set("answer", 42)
        >>> [(entry.key, entry.cached.value) for entry in cache.entries()]
        [('answer', 42)]
        """
        self._loads.state.check_open()
        now = self._clock()
        stored = self._loads.read(self._entries.copy)
        return iter([StoredEntry(key, view(e, now), duration_of(deadline(e) - now)) for key, e in stored.items()])

    def set(self, key: K, value: V) -> None:
        """Store ``value`` as if it had just been loaded. A load that began before changes nothing any more."""
        hash(key)
        self._loads.write(self._loads.state.table.set, key, value, self._clock())

    def expire(self, key: K) -> None:
        """End the freshness of ``key`` now; its value is still there for when a load fails.

        A load that began before changes nothing any more.
        """
        hash(key)
        self._loads.write(self._loads.state.table.expire, key, self._clock())

    def delete(self, key: K) -> None:
        """Forget ``key``: nothing is left to fall back on. A load that began before stores nothing any more."""
        hash(key)
        self._loads.write(self._loads.state.table.delete, key)

    def clear(self) -> None:
        """Forget every key, in one step. A load that began before stores nothing any more."""
        self._loads.write(self._loads.state.table.clear)

    def close(self) -> None:
        """End the use of this cache, without waiting: every other method raises ``CacheClosedError`` from now on.

        A load that runs still answers those who wait for it. One that is queued ends with ``LoadDroppedError``.
        """
        self._loads.close()

    def __enter__(self) -> Self:
        self._loads.state.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        self._loads.state.check_open()
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        self._loads.state.check_open()
        return key in self._entries

    def __bool__(self) -> bool:
        return True

    def __reduce__(self) -> Never:
        raise TypeError("a LastCache holds a lock and loads under way: it cannot be pickled or copied")
