"""Small total functions over ``CachedValue``, for the stages of a pipeline that come after the cache."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from returns.maybe import Maybe, Nothing, Some
from returns.pipeline import is_successful
from returns.result import Failure, Result, Success

from lastcache.core.states import Answer
from lastcache.records import CachedValue

V = TypeVar("V")
W = TypeVar("W")
E = TypeVar("E")
F = TypeVar("F")
X = TypeVar("X", bound=BaseException)
T = TypeVar("T")


def value_of(cached: CachedValue[V, object]) -> V:
    """Give the value, stale or not.

    >>> value_of(CachedValue(1.08, stale=True))
    1.08
    """
    return cached.value


def error_of(cached: CachedValue[object, E]) -> Maybe[E]:
    """Give the error that made the value stale, if one is known.

    >>> error_of(CachedValue(1.08, stale=True, err="connection lost")), error_of(CachedValue(1.08))
    (<Some: connection lost>, <Nothing>)
    """
    return Nothing if cached.err is None else Some(cached.err)


def fresh_only(as_failure: Callable[[CachedValue[V, E]], F]) -> Callable[[CachedValue[V, E]], Result[V, F]]:
    """Let fresh values pass, and make a failure of a stale one, for ``bind``.

    >>> from returns.result import Success
    >>> Success(CachedValue(1.08, stale=True)).bind(fresh_only(lambda cached: f"{cached.value} is stale"))
    <Failure: 1.08 is stale>
    """
    return lambda cached: Failure(as_failure(cached)) if cached.stale else Success(cached.value)


def or_stale_warning(report: Callable[[CachedValue[V, E]], object]) -> Callable[[CachedValue[V, E]], V]:
    """Give the value, and tell ``report`` of a stale one first, for ``map``.

    >>> or_stale_warning(print)(CachedValue(1.08, stale=True, err="connection lost"))
    CachedValue(value=1.08, stale=True, err='connection lost')
    1.08
    """

    def reported(cached: CachedValue[V, E]) -> V:
        if cached.stale:
            report(cached)
        return cached.value

    return reported


def together(parts: Iterable[CachedValue[V, E]]) -> CachedValue[tuple[V, ...], E]:
    """Make one of many: stale if any of them is, with the first error that there is, as ``zip`` does of two.

    >>> together([CachedValue(1), CachedValue(2, stale=True, err="connection lost")])
    CachedValue(value=(1, 2), stale=True, err='connection lost')
    """
    several = tuple(parts)
    first = next((part.err for part in several if part.err is not None), None)
    fresh_until = min((part.fresh_until for part in several), default=0)
    return CachedValue(tuple(part.value for part in several), any(part.stale for part in several), first, fresh_until)


def zipped(first: Answer[V, E], second: Answer[W, F]) -> Answer[tuple[V, W], E | F]:
    """Pair two answers, as ``CachedValue.zip`` pairs their values; the first failure, if any, is the whole.

    >>> zipped(Success(CachedValue("EUR")), Success(CachedValue(1.08, stale=True)))
    <Success: CachedValue(value=('EUR', 1.08), stale=True, err=None)>
    """
    if not is_successful(first):
        return Failure(first.failure())
    if not is_successful(second):
        return Failure(second.failure())
    return Success(first.unwrap().zip(second.unwrap()))


def collected(answers: Iterable[Answer[V, E]]) -> Answer[tuple[V, ...], E]:
    """Make one answer of many, as ``together`` does of their values; the first failure, if any, is the whole.

    >>> collected([Success(CachedValue(1)), Failure("connection lost"), Failure("no such key")])
    <Failure: connection lost>
    """
    several = tuple(answers)
    failure = next((answer.failure() for answer in several if not is_successful(answer)), None)
    return Success(together(answer.unwrap() for answer in several)) if failure is None else Failure(failure)


def value_or_raise(answer: Answer[V, X]) -> V:
    """Give the value, stale or not, or raise the error, for callers who expect exceptions.

    The error is raised without the traceback of the last time: one that is remembered is raised again and again.

    >>> value_or_raise(Success(CachedValue(1.08, stale=True)))
    1.08
    >>> value_or_raise(Failure(ConnectionError("connection lost")))
    Traceback (most recent call last):
    ConnectionError: connection lost
    """
    if is_successful(answer):
        return answer.unwrap().value
    raise answer.failure().with_traceback(None)


def fold(
    answer: Answer[V, E],
    *,
    fresh: Callable[[V], T],
    stale: Callable[[V, E | None], T],
    failed: Callable[[E], T],
) -> T:
    """Take an answer apart: exactly one of the three functions is called, and gives the result.

    ``stale`` is given the value, and the error that made it stale, or None if no load has failed yet.

    >>> answer = Success(CachedValue(1.08, stale=True, err="connection lost"))
    >>> fold(answer, fresh=str, stale=lambda value, err: f"{value} ({err})", failed=str.upper)
    '1.08 (connection lost)'
    """
    if not is_successful(answer):
        return failed(answer.failure())
    cached = answer.unwrap()
    return stale(cached.value, cached.err) if cached.stale else fresh(cached.value)


def folding(
    *, fresh: Callable[[V], T], stale: Callable[[V, E | None], T], failed: Callable[[E], T]
) -> Callable[[Answer[V, E]], T]:
    """Do as ``fold`` does, as a stage of ``flow``.

    >>> from returns.pipeline import flow
    >>> flow(Success(CachedValue(1.08)), folding(fresh=str, stale=lambda value, _err: f"{value}?", failed=str))
    '1.08'
    """
    return lambda answer: fold(answer, fresh=fresh, stale=stale, failed=failed)
