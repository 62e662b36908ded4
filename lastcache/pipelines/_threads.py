"""The decorators for ``LastCache``: plain callbacks, callbacks in ``IO``, and callbacks of many keys."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, ParamSpec, TypeAlias, TypeVar, overload

from returns.io import IOResult
from returns.result import Result
from returns.unsafe import unsafe_perform_io

from lastcache.core.states import Answer, Outcome, Strategy
from lastcache.pipelines._decorators import ByArgument, ByKey
from lastcache.pipelines._functions import Form
from lastcache.pipelines._many import CachedManyFunction
from lastcache.records import CachedValue, LoadFailure
from lastcache.threads import Revalidation, ThreadCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
E = TypeVar("E")
T = TypeVar("T")
P = ParamSpec("P")

Revalidated: TypeAlias = Result[Revalidation[V, E], E]
IOOutcome: TypeAlias = IOResult[V, LoadFailure[E]]
IOAnswer: TypeAlias = IOResult[CachedValue[V, E], E]
Outcomes: TypeAlias = Mapping[K, Outcome[V, E]]
Answers: TypeAlias = dict[K, Answer[V, E]]


@overload
def cached(
    cache: ThreadCache[K, V, E],
) -> ByArgument[K, V, E, ThreadCache[K, V, E], Outcome[V, E], Outcome[V, E], Answer[V, E]]: ...
@overload
def cached(
    cache: ThreadCache[K, V, E], *, key: Callable[P, K]
) -> ByKey[P, K, V, E, ThreadCache[K, V, E], Outcome[V, E], Outcome[V, E], Answer[V, E]]: ...
def cached(cache: ThreadCache[K, V, E], *, key: Callable[..., K] | None = None) -> object:
    """Have a callback answered from ``cache``, with stale-if-error: ``cached(cache)(callback)(key)``.

    A function of several arguments, and a method, need ``key``: a function of the same arguments that gives the key.
    The other arguments, ``self`` among them, are let go of with the load; of two calls with one key, one loads.
    What comes out is a ``CachedFunction``, with handles that take the same arguments. Raises ``ConfigError`` without
    ``key`` for what takes more than one argument.

    >>> from lastcache import LastCache

    >>> from returns.result import Success
    >>> rates = LastCache[tuple[str, str], float, str]()
    >>> @cached(rates, key=lambda base, to: (base, to))
    ... def rate(base: str, to: str) -> Result[float, LoadFailure[str]]:
    ...     return Success(1.08)
    >>> rate("EUR", to="USD")
    <Success: CachedValue(value=1.08, stale=False, err=None)>
    >>> rate.delete("EUR", "USD")
    >>> rate.peek("EUR", "USD")
    <Nothing>
    """
    form = Form(cache, cache, Strategy.STALE_IF_ERROR, cache.load_or_store, _as_it_is)
    return ByArgument(form) if key is None else ByKey(form, key)


@overload
def revalidating(
    cache: ThreadCache[K, V, E],
) -> ByArgument[K, V, E, ThreadCache[K, V, E], Outcome[V, E], Outcome[V, E], Revalidated[V, E]]: ...
@overload
def revalidating(
    cache: ThreadCache[K, V, E], *, key: Callable[P, K]
) -> ByKey[P, K, V, E, ThreadCache[K, V, E], Outcome[V, E], Outcome[V, E], Revalidated[V, E]]: ...
def revalidating(cache: ThreadCache[K, V, E], *, key: Callable[..., K] | None = None) -> object:
    """Do as ``cached`` does, with stale-while-revalidate.

    >>> from lastcache import LastCache

    >>> from returns.result import Success
    >>> cache = LastCache[str, int, str]()
    >>> length = revalidating(cache)(lambda key: Success(len(key)))
    >>> length("answer").unwrap().cached
    CachedValue(value=6, stale=False, err=None)
    """
    form = Form(cache, cache, Strategy.STALE_WHILE_REVALIDATE, cache.async_load_or_store, _as_it_is)
    return ByArgument(form) if key is None else ByKey(form, key)


@overload
def io_cached(
    cache: ThreadCache[K, V, E],
) -> ByArgument[K, V, E, ThreadCache[K, V, E], IOOutcome[V, E], IOOutcome[V, E], IOAnswer[V, E]]: ...
@overload
def io_cached(
    cache: ThreadCache[K, V, E], *, key: Callable[P, K]
) -> ByKey[P, K, V, E, ThreadCache[K, V, E], IOOutcome[V, E], IOOutcome[V, E], IOAnswer[V, E]]: ...
def io_cached(cache: ThreadCache[K, V, E], *, key: Callable[..., K] | None = None) -> object:
    """Do as ``cached`` does, for callbacks in ``IO``, such as those made by ``impure_safe``; the answer is in it, too.

    >>> from lastcache import LastCache

    >>> from returns.io import impure_safe
    >>> from lastcache.pipelines import io_stale_on
    >>> @io_cached(LastCache[str, int, Exception]())
    ... @io_stale_on(OSError)
    ... @impure_safe
    ... def length(key: str) -> int:
    ...     return len(key)
    >>> length("answer")
    <IOResult: <Success: CachedValue(value=6, stale=False, err=None)>>
    """

    def ask(asked: K, load: Callable[[K], IOOutcome[V, E]]) -> IOAnswer[V, E]:
        return IOResult.from_result(cache.load_or_store(asked, lambda key: out_of_io(load(key))))

    form = Form(cache, cache, Strategy.STALE_IF_ERROR, ask, _as_it_is)
    return ByArgument(form) if key is None else ByKey(form, key)


def cached_many(
    cache: ThreadCache[K, V, E],
) -> Callable[
    [Callable[[tuple[K, ...]], Outcomes[K, V, E]]],
    CachedManyFunction[K, V, E, ThreadCache[K, V, E], Outcomes[K, V, E], Answers[K, V, E]],
]:
    """Have a callback of many keys answered from ``cache``, with one call for all that need a load.

    What comes out is called with keys, and gives an answer for each, as ``load_or_store_many`` does.

    >>> from lastcache import LastCache

    >>> from returns.result import Success
    >>> @cached_many(LastCache[str, int, str]())
    ... def lengths(words: tuple[str, ...]) -> dict[str, Result[int, LoadFailure[str]]]:
    ...     return {word: Success(len(word)) for word in words}
    >>> lengths(["a", "bc"])["bc"]
    <Success: CachedValue(value=2, stale=False, err=None)>
    >>> lengths.peek("a")
    <Some: CachedValue(value=1, stale=False, err=None)>
    """

    def ask(keys: Iterable[K], load: Callable[[tuple[K, ...]], Outcomes[K, V, E]]) -> Answers[K, V, E]:
        return cache.load_or_store_many(keys, load)

    return lambda load: CachedManyFunction(cache, cache, ask, load)


def out_of_io(returned: IOResult[V, LoadFailure[E]]) -> Outcome[V, E]:
    """Take the outcome out of ``IO``; what is none is left for the cache to refuse."""
    inner: Any = returned
    return unsafe_perform_io(inner) if _is_io(inner) else inner


def _is_io(returned: object) -> bool:
    return isinstance(returned, IOResult)


def _as_it_is(given: T) -> T:
    return given
