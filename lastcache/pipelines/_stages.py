"""The decorators and curried forms that make a cache a stage of a pipeline."""

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, ParamSpec, TypeAlias, TypeVar, overload

from returns.context import RequiresContextFutureResult, RequiresContextResult
from returns.future import FutureResult
from returns.io import IOResult
from returns.result import Result

from lastcache.core.states import Answer, Outcome
from lastcache.records import CachedValue, LoadFailure
from lastcache.threads import LastCache, Revalidation

if TYPE_CHECKING:
    from lastcache.tasks import AsyncLastCache, AsyncRevalidation

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
Ctx = TypeVar("Ctx")
T = TypeVar("T")
R = TypeVar("R")
P = ParamSpec("P")

Revalidated: TypeAlias = Result[Revalidation[V, E], E]
ContextAnswer: TypeAlias = RequiresContextResult[CachedValue[V, E], E, Ctx]
Promised: TypeAlias = Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]
FutureAnswer: TypeAlias = FutureResult[CachedValue[V, E], E]
FutureContextAnswer: TypeAlias = RequiresContextFutureResult[CachedValue[V, E], E, Ctx]
FutureRevalidated: TypeAlias = "FutureResult[AsyncRevalidation[V, E], E]"

Load: TypeAlias = Callable[[K], Outcome[V, E]]
FutureLoad: TypeAlias = Callable[[K], Promised[V, E]]
ContextLoad: TypeAlias = Callable[[K], RequiresContextResult[V, LoadFailure[E], Ctx]]
FutureContextLoad: TypeAlias = Callable[[K], RequiresContextFutureResult[V, LoadFailure[E], Ctx]]


@overload
def cached(cache: LastCache[K, V, E]) -> Callable[[Load[K, V, E]], Callable[[K], Answer[V, E]]]: ...
@overload
def cached(
    cache: LastCache[K, V, E], *, key: Callable[..., K]
) -> Callable[[Callable[P, Outcome[V, E]]], Callable[P, Answer[V, E]]]: ...
def cached(
    cache: LastCache[K, V, E], *, key: Callable[..., K] | None = None
) -> Callable[[Callable[..., Outcome[V, E]]], Callable[..., Answer[V, E]]]:
    """Have a callback answered from ``cache``, with stale-if-error: ``cached(cache)(callback)(key)``.

    A function of several arguments, and a method, need ``key``: a function of the same arguments that gives the key.
    The other arguments, ``self`` among them, are let go of with the load; of two calls with one key, one loads.

    >>> from returns.result import Success
    >>> rates = LastCache[tuple[str, str], float, str]()
    >>> @cached(rates, key=lambda base, to: (base, to))
    ... def rate(base: str, to: str) -> Result[float, LoadFailure[str]]:
    ...     return Success(1.08)
    >>> rate("EUR", to="USD")
    <Success: CachedValue(value=1.08, stale=False, err=None)>
    """
    return _asking(cache.load_or_store, key)


@overload
def revalidating(cache: LastCache[K, V, E]) -> Callable[[Load[K, V, E]], Callable[[K], Revalidated[V, E]]]: ...
@overload
def revalidating(
    cache: LastCache[K, V, E], *, key: Callable[..., K]
) -> Callable[[Callable[P, Outcome[V, E]]], Callable[P, Revalidated[V, E]]]: ...
def revalidating(
    cache: LastCache[K, V, E], *, key: Callable[..., K] | None = None
) -> Callable[[Callable[..., Outcome[V, E]]], Callable[..., Revalidated[V, E]]]:
    """Do as ``cached`` does, with stale-while-revalidate.

    >>> from returns.result import Success
    >>> cache = LastCache[str, int, str]()
    >>> length = revalidating(cache)(lambda key: Success(len(key)))
    >>> length("answer").unwrap().cached
    CachedValue(value=6, stale=False, err=None)
    """
    return _asking(cache.async_load_or_store, key)


@overload
def future_cached(
    cache: "AsyncLastCache[K, V, E]",
) -> Callable[[FutureLoad[K, V, E]], Callable[[K], FutureAnswer[V, E]]]: ...
@overload
def future_cached(
    cache: "AsyncLastCache[K, V, E]", *, key: Callable[..., K]
) -> Callable[[Callable[P, Promised[V, E]]], Callable[P, FutureAnswer[V, E]]]: ...
def future_cached(
    cache: "AsyncLastCache[K, V, E]", *, key: Callable[..., K] | None = None
) -> Callable[[Callable[..., Promised[V, E]]], Callable[..., FutureAnswer[V, E]]]:
    """Do as ``cached`` does, for an ``AsyncLastCache`` and callbacks that are awaited.

    >>> import anyio
    >>> from returns.future import future_safe
    >>> from lastcache.pipelines import future_stale_on
    >>> from lastcache.tasks import AsyncLastCache
    >>> @future_cached(AsyncLastCache[str, int, Exception]())
    ... @future_stale_on(OSError)
    ... @future_safe
    ... async def length(key: str) -> int:
    ...     return len(key)
    >>> anyio.run(length("answer").awaitable)
    <IOResult: <Success: CachedValue(value=6, stale=False, err=None)>>
    """
    return _asking(lambda asked, load: FutureResult(cache.load_or_store(asked, load)), key)


@overload
def future_revalidating(
    cache: "AsyncLastCache[K, V, E]",
) -> Callable[[FutureLoad[K, V, E]], "Callable[[K], FutureRevalidated[V, E]]"]: ...
@overload
def future_revalidating(
    cache: "AsyncLastCache[K, V, E]", *, key: Callable[..., K]
) -> Callable[[Callable[P, Promised[V, E]]], "Callable[P, FutureRevalidated[V, E]]"]: ...
def future_revalidating(
    cache: "AsyncLastCache[K, V, E]", *, key: Callable[..., K] | None = None
) -> Callable[[Callable[..., Promised[V, E]]], "Callable[..., FutureRevalidated[V, E]]"]:
    """Do as ``revalidating`` does, for an ``AsyncLastCache`` and callbacks that are awaited."""
    return _asking(lambda asked, load: FutureResult(cache.async_load_or_store(asked, load)), key)


def _asking(
    ask: Callable[[K, Callable[[K], T]], R], key: Callable[..., K] | None
) -> Callable[[Callable[..., T]], Callable[..., R]]:
    """Make the decorator that puts ``ask`` in front of a callback."""
    return partial(_by_itself, ask) if key is None else partial(_by_key, ask, key)


def _by_itself(ask: Callable[[K, Callable[[K], T]], R], load: Callable[[K], T]) -> Callable[[K], R]:
    @wraps(load)
    def asked(key: K, /) -> R:
        return ask(key, load)

    return asked


def _by_key(ask: Callable[[K, Callable[[K], T]], R], key: Callable[P, K], load: Callable[P, T]) -> Callable[P, R]:
    @wraps(load)
    def asked(*args: P.args, **kwargs: P.kwargs) -> R:
        return ask(key(*args, **kwargs), lambda _key: load(*args, **kwargs))

    return asked


def context_cached(
    cache: LastCache[K, V, E],
) -> Callable[[ContextLoad[K, V, E, Ctx]], Callable[[K], ContextAnswer[V, E, Ctx]]]:
    """Do as ``cached`` does, for a callback that needs a context: the answer needs it, too, and nothing runs before.

    The key alone tells entries apart: what a value depends on belongs into its key, not into the context.

    >>> from returns.result import Success
    >>> cache = LastCache[str, str, str]()
    >>> def read(name: str) -> RequiresContextResult[str, LoadFailure[str], str]:
    ...     return RequiresContextResult(lambda root: Success(root + name))
    >>> context_cached(cache)(read)("etc")("/")
    <Success: CachedValue(value='/etc', stale=False, err=None)>
    """
    return context_cached_in(lambda _context: cache)


def context_cached_in(
    cache_of: Callable[[Ctx], LastCache[K, V, E]],
) -> Callable[[ContextLoad[K, V, E, Ctx]], Callable[[K], ContextAnswer[V, E, Ctx]]]:
    """Do as ``context_cached`` does, where the cache is a part of the context."""

    def decorate(load: ContextLoad[K, V, E, Ctx]) -> Callable[[K], ContextAnswer[V, E, Ctx]]:
        @wraps(load)
        def asked(key: K, /) -> ContextAnswer[V, E, Ctx]:
            return RequiresContextResult(lambda context: cache_of(context).load_or_store(key, _with(context, load)))

        return asked

    return decorate


def future_context_cached(
    cache: "AsyncLastCache[K, V, E]",
) -> Callable[[FutureContextLoad[K, V, E, Ctx]], Callable[[K], FutureContextAnswer[V, E, Ctx]]]:
    """Do as ``context_cached`` does, for an ``AsyncLastCache``."""
    return future_context_cached_in(lambda _context: cache)


def future_context_cached_in(
    cache_of: "Callable[[Ctx], AsyncLastCache[K, V, E]]",
) -> Callable[[FutureContextLoad[K, V, E, Ctx]], Callable[[K], FutureContextAnswer[V, E, Ctx]]]:
    """Do as ``context_cached_in`` does, for an ``AsyncLastCache``."""

    def decorate(load: FutureContextLoad[K, V, E, Ctx]) -> Callable[[K], FutureContextAnswer[V, E, Ctx]]:
        @wraps(load)
        def asked(key: K, /) -> FutureContextAnswer[V, E, Ctx]:
            return RequiresContextFutureResult(
                lambda context: FutureResult(cache_of(context).load_or_store(key, _with(context, load)))
            )

        return asked

    return decorate


def _with(context: Ctx, load: Callable[[K], Callable[[Ctx], T]]) -> Callable[[K], T]:
    return lambda key: load(key)(context)
