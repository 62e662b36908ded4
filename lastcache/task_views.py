"""What tasks ask of a cache, and the view of a reader with a demand."""

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Generic, NamedTuple, TypeVar, final

from returns.io import IOResult
from returns.result import Result

from lastcache._shell.facade import CacheView
from lastcache._shell.flight import Stale
from lastcache.core.states import Outcome
from lastcache.records import CachedValue, LoadFailure

try:
    from lastcache._shell.awaited import Callback
    from lastcache._shell.loops import refresh_of
    from lastcache._shell.tasks import TaskShell
except ImportError as _missing:
    raise ImportError("lastcache.tasks needs anyio: pip install 'lastcache[anyio]'") from _missing

__all__ = ["AsyncDemandingCache", "AsyncRevalidation", "TaskCache"]

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
Ctx = TypeVar("Ctx")


@final
class AsyncRevalidation(NamedTuple, Generic[V, E]):
    """A value given at once, and the load that runs behind it.

    ``refresh`` gives, to as many tasks as await it, the answer that a caller who waited would have got: ``None`` where
    no load was needed in the background. A task that is cancelled while it waits leaves it to the others.
    It raises what the callback raised, or ``LoadDroppedError``.

    >>> AsyncRevalidation(CachedValue("value"), refresh=None).cached.value
    'value'
    """

    cached: CachedValue[V, E]
    refresh: Awaitable[Result[CachedValue[V, E], E]] | None


class TaskCache(CacheView[K, V, E, Callback[K, V, E]], Generic[K, V, E]):
    """What tasks ask of a cache: of an ``AsyncLastCache``, or of the view that ``demanding`` gives."""

    __slots__ = ("_calls",)

    _calls: TaskShell[K, V, E]

    @abstractmethod
    async def load_or_store(
        self, key: K, callback: Callable[[K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]]
    ) -> Result[CachedValue[V, E], E]:
        """Give the value of ``key``, loading it when it is missing or expired: stale-if-error."""

    @abstractmethod
    async def async_load_or_store(
        self, key: K, callback: Callable[[K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]]
    ) -> Result[AsyncRevalidation[V, E], E]:
        """Give the value of ``key``, an expired one at once: stale-while-revalidate."""

    @abstractmethod
    async def load_or_store_many(
        self, keys: Iterable[K], callback: Callable[[tuple[K, ...]], Awaitable[Mapping[K, Outcome[V, E]]]]
    ) -> dict[K, Result[CachedValue[V, E], E]]:
        """Do as ``load_or_store`` does for each of ``keys``, with one call for all that need a load."""

    async def load_or_store_with_ctx(
        self,
        ctx: Ctx,
        key: K,
        callback: Callable[[Ctx, K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]],
    ) -> Result[CachedValue[V, E], E]:
        """Do as ``load_or_store`` does; the callback is given ``ctx``, too."""
        return await self.load_or_store(key, partial(callback, ctx))

    async def async_load_or_store_with_ctx(
        self,
        ctx: Ctx,
        key: K,
        callback: Callable[[Ctx, K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]],
    ) -> Result[AsyncRevalidation[V, E], E]:
        """Do as ``async_load_or_store`` does; the callback is given ``ctx``, too."""
        return await self.async_load_or_store(key, partial(callback, ctx))

    def demanding(self, *, max_stale: timedelta) -> "AsyncDemandingCache[K, V, E]":
        """Give a view for readers who take no value that has been stale for longer: see ``LastCache.demanding``."""
        return AsyncDemandingCache(self._calls, self._clock, self._demanded(max_stale))


@final
class AsyncDemandingCache(TaskCache[K, V, E]):
    """A view of a cache for readers with a demand: see ``AsyncLastCache.demanding``, which makes it."""

    __slots__ = ()

    def __init__(self, calls: TaskShell[K, V, E], clock: Callable[[], int], max_stale: int) -> None:
        self._calls = calls
        super().__init__(calls, clock, counted=True, max_stale=max_stale)

    async def load_or_store(
        self, key: K, callback: Callable[[K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]]
    ) -> Result[CachedValue[V, E], E]:
        """Do as ``load_or_store`` of the cache does; what is too stale is loaded, or its failure is the answer."""
        return await self._calls.load_demanding(self._max_stale, key, callback)

    async def async_load_or_store(
        self, key: K, callback: Callable[[K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]]
    ) -> Result[AsyncRevalidation[V, E], E]:
        """Do as ``async_load_or_store`` of the cache does; what is too stale is loaded in the foreground."""
        self._calls.check_entered()
        step = await self._calls.revalidate_demanding(self._max_stale, key, callback)
        if isinstance(step, Stale):
            return self._calls.give(key, step).map(lambda cached: AsyncRevalidation(cached, refresh_of(step.job)))
        return self._calls.give(key, step).map(without_refresh)

    async def load_or_store_many(
        self, keys: Iterable[K], callback: Callable[[tuple[K, ...]], Awaitable[Mapping[K, Outcome[V, E]]]]
    ) -> dict[K, Result[CachedValue[V, E], E]]:
        """Do as ``load_or_store_many`` of the cache does; of each key that is too stale its failure is the answer."""
        return await self._calls.load_many_demanding(self._max_stale, keys, callback)


def without_refresh(cached: CachedValue[V, E]) -> AsyncRevalidation[V, E]:
    """Say that no load was needed in the background."""
    return AsyncRevalidation(cached, None)
