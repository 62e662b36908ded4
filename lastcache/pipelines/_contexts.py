"""The curried forms for callbacks that need a context."""

from collections.abc import Callable, Hashable
from functools import wraps
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from returns.context import RequiresContextFutureResult, RequiresContextIOResult, RequiresContextResult
from returns.future import FutureResult
from returns.io import IOResult

from lastcache.pipelines._threads import out_of_io
from lastcache.records import CachedValue, LoadFailure
from lastcache.threads import ThreadCache

if TYPE_CHECKING:
    from lastcache.tasks import TaskCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
E = TypeVar("E")
Ctx = TypeVar("Ctx")
T = TypeVar("T")

ContextAnswer: TypeAlias = RequiresContextResult[CachedValue[V, E], E, Ctx]
IOContextAnswer: TypeAlias = RequiresContextIOResult[CachedValue[V, E], E, Ctx]
FutureContextAnswer: TypeAlias = RequiresContextFutureResult[CachedValue[V, E], E, Ctx]

ContextLoad: TypeAlias = Callable[[K], RequiresContextResult[V, LoadFailure[E], Ctx]]
IOContextLoad: TypeAlias = Callable[[K], RequiresContextIOResult[V, LoadFailure[E], Ctx]]
FutureContextLoad: TypeAlias = Callable[[K], RequiresContextFutureResult[V, LoadFailure[E], Ctx]]


def io_context_cached(
    cache: ThreadCache[K, V, E],
) -> Callable[[IOContextLoad[K, V, E, Ctx]], Callable[[K], IOContextAnswer[V, E, Ctx]]]:
    """Do as ``context_cached`` does, for a callback in ``IO``.

    >>> from lastcache import LastCache

    >>> cache = LastCache[str, str, str]()
    >>> def read(name: str) -> RequiresContextIOResult[str, LoadFailure[str], str]:
    ...     return RequiresContextIOResult(lambda root: IOResult.from_value(root + name))
    >>> io_context_cached(cache)(read)("etc")("/")
    <IOResult: <Success: CachedValue(value='/etc', stale=False, err=None)>>
    """
    return io_context_cached_in(lambda _context: cache)


def io_context_cached_in(
    cache_of: Callable[[Ctx], ThreadCache[K, V, E]],
) -> Callable[[IOContextLoad[K, V, E, Ctx]], Callable[[K], IOContextAnswer[V, E, Ctx]]]:
    """Do as ``io_context_cached`` does, where the cache is a part of the context."""

    def decorate(load: IOContextLoad[K, V, E, Ctx]) -> Callable[[K], IOContextAnswer[V, E, Ctx]]:
        @wraps(load)
        def asked(key: K, /) -> IOContextAnswer[V, E, Ctx]:
            def ask(context: Ctx) -> IOResult[CachedValue[V, E], E]:
                of_context = _with(context, load)
                return IOResult.from_result(
                    cache_of(context).load_or_store(key, lambda given: out_of_io(of_context(given)))
                )

            return RequiresContextIOResult(ask)

        return asked

    return decorate


def context_cached(
    cache: ThreadCache[K, V, E],
) -> Callable[[ContextLoad[K, V, E, Ctx]], Callable[[K], ContextAnswer[V, E, Ctx]]]:
    """Do as ``cached`` does, for a callback that needs a context: the answer needs it, too, and nothing runs before.

    The key alone tells entries apart: what a value depends on belongs into its key, not into the context.

    >>> from lastcache import LastCache

    >>> from returns.result import Success
    >>> cache = LastCache[str, str, str]()
    >>> def read(name: str) -> RequiresContextResult[str, LoadFailure[str], str]:
    ...     return RequiresContextResult(lambda root: Success(root + name))
    >>> context_cached(cache)(read)("etc")("/")
    <Success: CachedValue(value='/etc', stale=False, err=None)>
    """
    return context_cached_in(lambda _context: cache)


def context_cached_in(
    cache_of: Callable[[Ctx], ThreadCache[K, V, E]],
) -> Callable[[ContextLoad[K, V, E, Ctx]], Callable[[K], ContextAnswer[V, E, Ctx]]]:
    """Do as ``context_cached`` does, where the cache is a part of the context."""

    def decorate(load: ContextLoad[K, V, E, Ctx]) -> Callable[[K], ContextAnswer[V, E, Ctx]]:
        @wraps(load)
        def asked(key: K, /) -> ContextAnswer[V, E, Ctx]:
            return RequiresContextResult(lambda context: cache_of(context).load_or_store(key, _with(context, load)))

        return asked

    return decorate


def future_context_cached(
    cache: "TaskCache[K, V, E]",
) -> Callable[[FutureContextLoad[K, V, E, Ctx]], Callable[[K], FutureContextAnswer[V, E, Ctx]]]:
    """Do as ``context_cached`` does, for an ``AsyncLastCache``."""
    return future_context_cached_in(lambda _context: cache)


def future_context_cached_in(
    cache_of: "Callable[[Ctx], TaskCache[K, V, E]]",
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
