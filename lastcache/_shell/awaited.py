"""Callbacks that are awaited: how they are called, and what those hear who wait for one that was struck."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from threading import get_ident
from typing import TypeAlias, TypeVar, cast

from anyio import get_cancelled_exc_class
from returns.io import IOResult
from returns.pipeline import is_successful
from returns.result import Failure, Result, Success
from returns.unsafe import unsafe_perform_io

from lastcache._shell.background import resolve_all
from lastcache._shell.batches import check_mapping, outcome_of
from lastcache._shell.flight import Queued, Raised, Returned, dropped
from lastcache._shell.outcomes import check_awaitable, check_outcome
from lastcache.core.states import Outcome
from lastcache.records import LoadFailure

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")

Callback: TypeAlias = Callable[[K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]]
BatchCallback: TypeAlias = Callable[[tuple[K, ...]], Awaitable[Mapping[K, Outcome[V, E]]]]


async def attempt(
    callback: Callback[K, V, E], key: K, measured: Callable[[Outcome[V, E]], Returned[V, E]]
) -> Returned[V, E] | Raised:
    """Await ``callback``. What it raises comes back as a value, except what is meant for one caller alone.

    Cancellation, ``KeyboardInterrupt``, ``SystemExit`` and ``GeneratorExit`` are no ``Exception``: they pass through.
    """
    try:
        promised = callback(key)
        check_awaitable(promised)
        returned = await promised
        outcome = _out_of_io(returned) if isinstance(returned, IOResult) else returned
        check_outcome(outcome)
        return measured(outcome)
    except Exception as err:
        return Raised(err, err.__traceback__, get_ident())


async def alone(callback: BatchCallback[K, V, E], key: K) -> Outcome[V, E]:
    """Load one key with a callback of many."""
    returned = await callback((key,))
    check_mapping(returned)
    return outcome_of(key, returned)


async def attempt_many(callback: BatchCallback[K, V, E], keys: tuple[K, ...]) -> Mapping[K, Outcome[V, E]] | Raised:
    """Await ``callback``; what it raises comes back as a value, as in ``attempt``."""
    try:
        promised = callback(keys)
        check_awaitable(promised)
        returned = await promised
        check_mapping(returned)
    except Exception as err:
        return Raised(err, err.__traceback__, get_ident())
    return returned


def _out_of_io(returned: IOResult[V, E]) -> Result[V, E]:
    if is_successful(returned):
        return Success(unsafe_perform_io(returned.unwrap()))
    return Failure(unsafe_perform_io(returned.failure()))


def told(struck: BaseException, *, here: bool) -> Raised:
    """Decide what those hear who wait for a background load that was struck: never that they were cancelled.

    ``here`` is whether its event loop still runs.
    """
    if not here:
        return dropped("its event loop has ended")
    rest = _without_cancellation(struck)
    return dropped("it was cancelled") if rest is None else Raised(rest, rest.__traceback__, get_ident())


def _without_cancellation(struck: BaseException) -> BaseException | None:
    cancelled = get_cancelled_exc_class()
    if isinstance(struck, BaseExceptionGroup):
        return cast("BaseExceptionGroup[BaseException]", struck).split(cancelled)[1]
    return None if isinstance(struck, cancelled) else struck


def drop(queued: Iterable[Queued[K, V, E, C]], why: str) -> None:
    """Tell who waits for these loads that they will not run."""
    resolve_all([refresh for unrun in queued for refresh in unrun.refreshes], dropped(why))
