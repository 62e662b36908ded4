"""What makes callbacks of functions that return a plain ``Result`` or ``FutureResult``."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, Protocol, TypeAlias, TypeVar

from returns.future import FutureResult
from returns.result import Result

from lastcache.core.states import Outcome
from lastcache.errors import ConfigError
from lastcache.records import LoadFailure

V = TypeVar("V")
E = TypeVar("E")
P = ParamSpec("P")

FutureOutcome: TypeAlias = FutureResult[V, LoadFailure[E]]


def stale_if(predicate: Callable[[E], bool]) -> Callable[[Callable[P, Result[V, E]]], Callable[P, Outcome[V, E]]]:
    """Make a callback of a function that returns a plain ``Result``, such as one made by ``safe``.

    Stale data may cover a failure if ``predicate`` says so of its error.

    >>> from returns.result import safe
    >>> def is_transient(err: Exception) -> bool:
    ...     return not isinstance(err, FileNotFoundError)
    >>> read = stale_if(is_transient)(safe(open))
    >>> read("/no/such/file").failure().use_stale
    False
    """

    def lift(load: Callable[P, Result[V, E]]) -> Callable[P, Outcome[V, E]]:
        return _lifted(load, predicate)

    return lift


class StaleOn(Protocol):
    """What makes a callback of a function that returns a plain ``Result``, and keeps its types."""

    def __call__(self, load: Callable[P, Result[V, E]], /) -> Callable[P, Outcome[V, E]]: ...


def stale_on(*error_types: type[object]) -> StaleOn:
    """Do as ``stale_if`` does: stale data may cover the errors that are instances of ``error_types``, and no others.

    Raises ``ConfigError`` for what is no class.

    >>> from returns.result import safe
    >>> @stale_on(ConnectionError, TimeoutError)
    ... @safe
    ... def fetch(key: str) -> str:
    ...     raise ConnectionError(key)
    >>> fetch("k")
    <Failure: LoadFailure(err=ConnectionError('k'), use_stale=True)>
    """
    predicate = _instance_of(error_types)

    def lift(load: Callable[P, Result[V, E]], /) -> Callable[P, Outcome[V, E]]:
        return _lifted(load, predicate)

    return lift


def _lifted(load: Callable[P, Result[V, E]], predicate: Callable[[E], bool]) -> Callable[P, Outcome[V, E]]:
    @wraps(load)
    def callback(*args: P.args, **kwargs: P.kwargs) -> Outcome[V, E]:
        return load(*args, **kwargs).alt(_failure_by(predicate))

    return callback


def future_stale_if(
    predicate: Callable[[E], bool],
) -> Callable[[Callable[P, FutureResult[V, E]]], Callable[P, FutureOutcome[V, E]]]:
    """Do as ``stale_if`` does, for a function that returns a ``FutureResult``, such as one made by ``future_safe``."""

    def lift(load: Callable[P, FutureResult[V, E]]) -> Callable[P, FutureOutcome[V, E]]:
        return _future_lifted(load, predicate)

    return lift


class FutureStaleOn(Protocol):
    """What makes a callback of a function that returns a ``FutureResult``, and keeps its types."""

    def __call__(self, load: Callable[P, FutureResult[V, E]], /) -> Callable[P, FutureOutcome[V, E]]: ...


def future_stale_on(*error_types: type[object]) -> FutureStaleOn:
    """Do as ``stale_on`` does, for a function that returns a ``FutureResult``."""
    predicate = _instance_of(error_types)

    def lift(load: Callable[P, FutureResult[V, E]], /) -> Callable[P, FutureOutcome[V, E]]:
        return _future_lifted(load, predicate)

    return lift


def _future_lifted(
    load: Callable[P, FutureResult[V, E]], predicate: Callable[[E], bool]
) -> Callable[P, FutureOutcome[V, E]]:
    @wraps(load)
    def callback(*args: P.args, **kwargs: P.kwargs) -> FutureOutcome[V, E]:
        return load(*args, **kwargs).alt(_failure_by(predicate))

    return callback


def _failure_by(predicate: Callable[[E], bool]) -> Callable[[E], LoadFailure[E]]:
    return lambda err: LoadFailure(err, predicate(err))


def _instance_of(error_types: tuple[object, ...]) -> Callable[[object], bool]:
    classes = tuple(given for given in error_types if isinstance(given, type))
    if classes != error_types:
        raise ConfigError(f"error_types={error_types!r}: must be classes")
    return lambda err: isinstance(err, classes)
