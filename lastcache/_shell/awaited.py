"""Callbacks that are awaited: what they may return, and what those hear who wait for one that was cancelled."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar, cast

from anyio import get_cancelled_exc_class
from returns.io import IOResult
from returns.pipeline import is_successful
from returns.result import Failure, Result, Success
from returns.unsafe import unsafe_perform_io

from lastcache._shell.batches import check_mapping, outcome_of
from lastcache._shell.flight import Dropped, Raised
from lastcache._shell.outcomes import check_awaitable
from lastcache.core.states import Outcome
from lastcache.records import LoadFailure

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")

Callback: TypeAlias = Callable[[K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]]
BatchCallback: TypeAlias = Callable[[tuple[K, ...]], Awaitable[Mapping[K, Outcome[V, E]]]]


async def awaited(promised: Any) -> Any:  # what a callback returned, right or wrong
    """Await what a callback returned. Raises ``TypeError`` if that cannot be awaited."""
    check_awaitable(promised)
    returned = await promised
    return _out_of_io(cast("IOResult[object, object]", returned)) if _is_io(returned) else returned


async def alone(callback: BatchCallback[K, V, E], key: K) -> Outcome[V, E]:
    """Load one key with a callback of many."""
    returned = await callback((key,))
    check_mapping(returned)
    return outcome_of(key, returned)


def _is_io(returned: object) -> bool:
    return isinstance(returned, IOResult)


def _out_of_io(returned: IOResult[V, E]) -> Result[V, E]:
    if is_successful(returned):
        return Success(unsafe_perform_io(returned.unwrap()))
    return Failure(unsafe_perform_io(returned.failure()))


def exception_for_waiters(interrupt: BaseException, *, here: bool) -> Raised | Dropped:
    """Choose the exception for waiters of an interrupted background load; cancellation is a dropped load for them.

    ``here`` is whether its event loop still runs.
    """
    if not here:
        return Dropped("its event loop has ended")
    rest = _without_cancellation(interrupt)
    return Dropped("it was cancelled") if rest is None else Raised(rest, rest.__traceback__)


def _without_cancellation(interrupt: BaseException) -> BaseException | None:
    cancelled = get_cancelled_exc_class()
    if isinstance(interrupt, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", interrupt).split(cancelled)[1]
    return None if isinstance(interrupt, cancelled) else interrupt
