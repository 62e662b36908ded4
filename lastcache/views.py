"""What readers in threads ask of a cache, and the view of a reader with a demand."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import Generic, NamedTuple, TypeVar, final

from returns.result import Result, Success

from lastcache._shell.facade import CacheView
from lastcache._shell.flight import Stale
from lastcache._shell.thread_place import Callback
from lastcache._shell.threads import ThreadShell
from lastcache.core.states import Outcome
from lastcache.records import CachedValue

__all__ = ["DemandingCache", "Revalidation", "ThreadCache"]

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
Ctx = TypeVar("Ctx")


@final
class Revalidation(NamedTuple, Generic[V, E]):
    """A value given at once, and the load that runs behind it.

    ``refresh`` is the future of the answer that a caller who waited would have got: ``None`` where no load was needed
    in the background. Nobody can cancel it. Its ``result()`` raises what the callback raised, or ``LoadDroppedError``.

    >>> Revalidation(CachedValue("value"), refresh=None).cached.value
    'value'
    """

    cached: CachedValue[V, E]
    refresh: Future[Result[CachedValue[V, E], E]] | None


class ThreadCache(CacheView[K, V, E, Callback[K, V, E]], Generic[K, V, E]):
    """What readers in threads ask of a cache: of a ``LastCache``, or of the view that ``demanding`` gives."""

    __slots__ = ("_calls",)

    _calls: ThreadShell[K, V, E]

    @abstractmethod
    def load_or_store(self, key: K, callback: Callable[[K], Outcome[V, E]]) -> Result[CachedValue[V, E], E]:
        """Give the value of ``key``, loading it when it is missing or expired: stale-if-error."""

    @abstractmethod
    def async_load_or_store(self, key: K, callback: Callable[[K], Outcome[V, E]]) -> Result[Revalidation[V, E], E]:
        """Give the value of ``key``, an expired one at once: stale-while-revalidate."""

    @abstractmethod
    def load_or_store_many(
        self, keys: Iterable[K], callback: Callable[[tuple[K, ...]], Mapping[K, Outcome[V, E]]]
    ) -> dict[K, Result[CachedValue[V, E], E]]:
        """Do as ``load_or_store`` does for each of ``keys``, with one call for all that need a load."""

    def load_or_store_with_ctx(
        self, ctx: Ctx, key: K, callback: Callable[[Ctx, K], Outcome[V, E]]
    ) -> Result[CachedValue[V, E], E]:
        """Do as ``load_or_store`` does; the callback is given ``ctx``, too.

        >>> from lastcache import LastCache
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

    def demanding(self, *, max_stale: timedelta) -> "DemandingCache[K, V, E]":
        """Give a view of this cache for readers who take no value that has been stale for longer than ``max_stale``.

        It has the same entries, loads and queue. A demand narrows what the policy gives, and never widens it. A value
        that is too stale for the reader is loaded, or waited for. Where a failure is behind it, that is the answer, and
        as long as the extension stands the source is not asked for it. The demand of a view of a view is the smaller
        one. Raises ``ConfigError`` for a ``max_stale`` below zero.

        >>> from datetime import timedelta
        >>> from lastcache import LastCache, failed
        >>> cache = LastCache[str, int, str]()
        >>> cache.set("answer", 42, ttl=timedelta(0))
        >>> strict = cache.demanding(max_stale=timedelta(0))
        >>> strict.load_or_store("answer", lambda key: failed("connection lost", use_stale=True))
        <Failure: connection lost>
        >>> cache.load_or_store("answer", lambda key: failed("connection lost", use_stale=True))
        <Success: CachedValue(value=42, stale=True, err='connection lost')>
        """
        return DemandingCache(self._calls, self._clock, self._demanded(max_stale))


@final
class DemandingCache(ThreadCache[K, V, E]):
    """A view of a cache for readers with a demand: see ``LastCache.demanding``, which makes it."""

    __slots__ = ()

    def __init__(self, calls: ThreadShell[K, V, E], clock: Callable[[], int], max_stale: int) -> None:
        self._calls = calls
        super().__init__(calls, clock, counted=True, max_stale=max_stale)

    def load_or_store(self, key: K, callback: Callable[[K], Outcome[V, E]]) -> Result[CachedValue[V, E], E]:
        """Do as ``load_or_store`` of the cache does; what is too stale is loaded, or its failure is the answer.

        ``soft_timeout`` holds where a stale value may be given.
        """
        return self._calls.load_demanding(self._max_stale, key, callback)

    def async_load_or_store(self, key: K, callback: Callable[[K], Outcome[V, E]]) -> Result[Revalidation[V, E], E]:
        """Do as ``async_load_or_store`` of the cache does; what is too stale is loaded in the foreground."""
        given = self._calls.revalidate_demanding(self._max_stale, key, callback)
        if isinstance(given, Stale):
            return Success(Revalidation(given.cached, self._calls.refresh_of(given.job)))
        return given.map(without_refresh)

    def load_or_store_many(
        self, keys: Iterable[K], callback: Callable[[tuple[K, ...]], Mapping[K, Outcome[V, E]]]
    ) -> dict[K, Result[CachedValue[V, E], E]]:
        """Do as ``load_or_store_many`` of the cache does; of each key that is too stale its failure is the answer."""
        return self._calls.load_many_demanding(self._max_stale, keys, callback)


def without_refresh(cached: CachedValue[V, E]) -> Revalidation[V, E]:
    """Say that no load was needed in the background."""
    return Revalidation(cached, None)
