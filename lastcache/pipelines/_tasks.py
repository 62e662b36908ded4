"""The decorators for ``AsyncLastCache``: plain coroutines, futures, and callbacks of many keys."""

from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, overload

from returns.future import FutureResult
from returns.io import IOResult
from returns.result import Result

from lastcache.core.states import Answer, Outcome, Strategy
from lastcache.pipelines._decorators import ByArgument, ByKey
from lastcache.pipelines._functions import CachedTaskFunction, Form
from lastcache.pipelines._many import CachedManyFunction, CachedManyTaskFunction
from lastcache.records import CachedValue, LoadFailure

if TYPE_CHECKING:
    from lastcache.tasks import AsyncRevalidation, TaskCache

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
E = TypeVar("E")
T = TypeVar("T")
P = ParamSpec("P")

Promised: TypeAlias = Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]
Coming: TypeAlias = Coroutine[Any, Any, T]
Outcomes: TypeAlias = Mapping[K, Outcome[V, E]]
Answers: TypeAlias = dict[K, Answer[V, E]]
FutureOutcome: TypeAlias = FutureResult[V, LoadFailure[E]]
TaskRevalidated: TypeAlias = "Result[AsyncRevalidation[V, E], E]"
Cache: TypeAlias = "TaskCache[K, V, E]"

TaskForm: TypeAlias = "Form[K, V, E, Cache[K, V, E], Promised[V, E], Coming[Outcome[V, E]], Coming[T]]"
ByTask: TypeAlias = "ByArgument[K, V, E, Cache[K, V, E], Promised[V, E], Coming[Outcome[V, E]], Coming[T]]"
ByTaskKey: TypeAlias = "ByKey[P, K, V, E, Cache[K, V, E], Promised[V, E], Coming[Outcome[V, E]], Coming[T]]"
FutureForm: TypeAlias = "Form[K, V, E, Cache[K, V, E], Promised[V, E], FutureOutcome[V, E], FutureResult[T, E]]"
ByFuture: TypeAlias = "ByArgument[K, V, E, Cache[K, V, E], Promised[V, E], FutureOutcome[V, E], FutureResult[T, E]]"
ByFutureKey: TypeAlias = "ByKey[P, K, V, E, Cache[K, V, E], Promised[V, E], FutureOutcome[V, E], FutureResult[T, E]]"


@overload
def task_cached(cache: "TaskCache[K, V, E]") -> "ByTask[K, V, E, Answer[V, E]]": ...
@overload
def task_cached(cache: "TaskCache[K, V, E]", *, key: Callable[P, K]) -> "ByTaskKey[P, K, V, E, Answer[V, E]]": ...
def task_cached(cache: "TaskCache[K, V, E]", *, key: Callable[..., K] | None = None) -> object:
    """Do as ``cached`` does, for an ``AsyncLastCache``: a coroutine function of the answer.

    The callback is an async function that returns an outcome, or a function that returns a ``FutureResult``.

    >>> import anyio
    >>> from returns.result import Success
    >>> from lastcache.tasks import AsyncLastCache
    >>> @task_cached(AsyncLastCache[str, int, str]())
    ... async def length(key: str) -> Result[int, LoadFailure[str]]:
    ...     return Success(len(key))
    >>> anyio.run(length, "answer")
    <Success: CachedValue(value=6, stale=False, err=None)>
    """
    form: TaskForm[K, V, E, Answer[V, E]] = Form(cache, cache, Strategy.STALE_IF_ERROR, cache.load_or_store, outcome_of)
    return ByArgument(form, CachedTaskFunction) if key is None else ByKey(form, key, CachedTaskFunction)


@overload
def task_revalidating(cache: "TaskCache[K, V, E]") -> "ByTask[K, V, E, TaskRevalidated[V, E]]": ...
@overload
def task_revalidating(
    cache: "TaskCache[K, V, E]", *, key: Callable[P, K]
) -> "ByTaskKey[P, K, V, E, TaskRevalidated[V, E]]": ...
def task_revalidating(cache: "TaskCache[K, V, E]", *, key: Callable[..., K] | None = None) -> object:
    """Do as ``task_cached`` does, with stale-while-revalidate; it is called inside the cache's ``async with`` block."""
    form: TaskForm[K, V, E, TaskRevalidated[V, E]] = Form(
        cache, cache, Strategy.STALE_WHILE_REVALIDATE, cache.async_load_or_store, outcome_of
    )
    return ByArgument(form, CachedTaskFunction) if key is None else ByKey(form, key, CachedTaskFunction)


@overload
def future_cached(cache: "TaskCache[K, V, E]") -> "ByFuture[K, V, E, CachedValue[V, E]]": ...
@overload
def future_cached(
    cache: "TaskCache[K, V, E]", *, key: Callable[P, K]
) -> "ByFutureKey[P, K, V, E, CachedValue[V, E]]": ...
def future_cached(cache: "TaskCache[K, V, E]", *, key: Callable[..., K] | None = None) -> object:
    """Do as ``task_cached`` does, and give a ``FutureResult``, for those who compose futures.

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

    def ask(asked: K, load: Callable[[K], Promised[V, E]]) -> FutureResult[CachedValue[V, E], E]:
        return FutureResult(cache.load_or_store(asked, load))

    form: FutureForm[K, V, E, CachedValue[V, E]] = Form(cache, cache, Strategy.STALE_IF_ERROR, ask, future_of)
    return ByArgument(form) if key is None else ByKey(form, key)


@overload
def future_revalidating(cache: "TaskCache[K, V, E]") -> "ByFuture[K, V, E, AsyncRevalidation[V, E]]": ...
@overload
def future_revalidating(
    cache: "TaskCache[K, V, E]", *, key: Callable[P, K]
) -> "ByFutureKey[P, K, V, E, AsyncRevalidation[V, E]]": ...
def future_revalidating(cache: "TaskCache[K, V, E]", *, key: Callable[..., K] | None = None) -> object:
    """Do as ``task_revalidating`` does, and give a ``FutureResult``."""

    def ask(asked: K, load: Callable[[K], Promised[V, E]]) -> "FutureResult[AsyncRevalidation[V, E], E]":
        return FutureResult(cache.async_load_or_store(asked, load))

    form: FutureForm[K, V, E, AsyncRevalidation[V, E]] = Form(
        cache, cache, Strategy.STALE_WHILE_REVALIDATE, ask, future_of
    )
    return ByArgument(form) if key is None else ByKey(form, key)


def task_cached_many(
    cache: "TaskCache[K, V, E]",
) -> """Callable[
    [Callable[[tuple[K, ...]], Awaitable[Outcomes[K, V, E]]]],
    CachedManyFunction[K, V, E, Cache[K, V, E], Awaitable[Outcomes[K, V, E]], Coming[Answers[K, V, E]]],
]""":
    """Do as ``cached_many`` does, for an ``AsyncLastCache`` and a callback that is awaited."""
    return lambda load: CachedManyTaskFunction(cache, cache, cache.load_or_store_many, load)


async def outcome_of(promised: Promised[V, E]) -> Outcome[V, E]:
    """Await what a callback returned, and take it out of ``IO``."""
    from lastcache._shell.awaited import awaited  # it needs anyio, as the cache does

    outcome: Outcome[V, E] = await awaited(promised)
    return outcome


def future_of(promised: Promised[V, E]) -> FutureOutcome[V, E]:
    """Make a ``FutureResult`` of what a callback returned."""
    return FutureResult(outcome_of(promised))
