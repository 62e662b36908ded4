"""What a decorated function of many keys is."""

from collections.abc import Callable, Coroutine, Hashable, Iterable
from functools import update_wrapper
from typing import Any, Generic, TypeVar

from returns.maybe import Maybe

from lastcache._shell.facade import CacheView
from lastcache.core.explain import Explanation
from lastcache.core.states import Strategy
from lastcache.pipelines._functions import mark_coroutine_function
from lastcache.records import CachedValue

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
Source = TypeVar("Source")
Given = TypeVar("Given")
T = TypeVar("T")


class CachedManyFunction(Generic[K, V, E, C, Source, Given]):
    """A function of many keys that is answered from ``cache``, with handles for each key.

    It is called with any iterable of keys. ``__wrapped__`` is the function itself, which takes a tuple.
    """

    __name__: str
    __qualname__: str

    def __init__(
        self,
        cache: C,
        stored: CacheView[K, V, E, Any],
        ask: Callable[[Iterable[K], Callable[[tuple[K, ...]], Source]], Given],
        load: Callable[[tuple[K, ...]], Source],
    ) -> None:
        update_wrapper(self, load)
        self.cache = cache
        self._stored = stored
        self._ask = ask
        self.__wrapped__ = load

    def __call__(self, keys: Iterable[K], /) -> Given:
        return self._ask(keys, self.__wrapped__)

    def expire(self, key: K) -> None:
        """End the freshness of what is stored for ``key``; it is still there if a load fails."""
        self._stored.expire(key)

    def delete(self, key: K) -> None:
        """Forget what is stored for ``key``: nothing is left to fall back on."""
        self._stored.delete(key)

    def peek(self, key: K) -> Maybe[CachedValue[V, E]]:
        """Show what is stored for ``key``, an expired value marked stale; nothing is loaded."""
        return self._stored.peek(key)

    def explain(self, key: K) -> Explanation[K, V, E]:
        """Tell what a call with ``key`` would do now, and why; nothing is changed or loaded."""
        return self._stored.explain(key, strategy=Strategy.STALE_IF_ERROR)

    def uncached(self, keys: Iterable[K]) -> Source:
        """Call the function itself with all of ``keys``. The cache is not asked, and nothing is stored."""
        return self.__wrapped__(tuple(keys))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {getattr(self.__wrapped__, '__qualname__', repr(self.__wrapped__))}>"


class CachedManyTaskFunction(CachedManyFunction[K, V, E, C, Source, Coroutine[Any, Any, T]]):
    """A ``CachedManyFunction`` that is a coroutine function, for frameworks that ask."""

    def __init__(
        self,
        cache: C,
        stored: CacheView[K, V, E, Any],
        ask: Callable[[Iterable[K], Callable[[tuple[K, ...]], Source]], Coroutine[Any, Any, T]],
        load: Callable[[tuple[K, ...]], Source],
    ) -> None:
        super().__init__(cache, stored, ask, load)
        mark_coroutine_function(self)

    async def __call__(self, keys: Iterable[K], /) -> T:
        return await self._ask(keys, self.__wrapped__)
