"""What makes callbacks of functions that return a plain ``Result``, ``IOResult`` or ``FutureResult``.

All of them are one function, ``_lifted``; the names differ by the container that they are typed for.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, Protocol, TypeAlias, TypeVar, overload

from returns.future import FutureResult
from returns.io import IOResult
from returns.result import Result

from lastcache.core.states import Outcome
from lastcache.pipelines._rules import RememberFor, Rule, rule_if, rule_on
from lastcache.records import LoadFailure

V = TypeVar("V")
E = TypeVar("E")
X = TypeVar("X")
Y = TypeVar("Y")
X_co = TypeVar("X_co", covariant=True)
P = ParamSpec("P")

Classes: TypeAlias = tuple[type[object], ...]
Duration: TypeAlias = Callable[[E], timedelta | None]
Lift: TypeAlias = Callable[[Callable[P, Result[V, E]]], Callable[P, Outcome[V, E]]]
IOLift: TypeAlias = Callable[[Callable[P, IOResult[V, E]]], Callable[P, IOResult[V, LoadFailure[E]]]]
FutureLift: TypeAlias = Callable[[Callable[P, FutureResult[V, E]]], Callable[P, FutureResult[V, LoadFailure[E]]]]


class StaleOn(Protocol[X_co]):
    """What makes a callback of a function that returns a plain ``Result``; ``X_co`` are the errors it is told of.

    They are a part of the callback's errors, so that a cache with errors that they cannot be refuses it.
    """

    def __call__(self, load: Callable[P, Result[V, E]], /) -> Callable[P, Outcome[V, E | X_co]]: ...


class IOStaleOn(Protocol[X_co]):
    """What makes a callback of a function that returns an ``IOResult``, and keeps its types."""

    def __call__(self, load: Callable[P, IOResult[V, E]], /) -> Callable[P, IOResult[V, LoadFailure[E | X_co]]]: ...


class FutureStaleOn(Protocol[X_co]):
    """What makes a callback of a function that returns a ``FutureResult``, and keeps its types."""

    def __call__(
        self, load: Callable[P, FutureResult[V, E]], /
    ) -> Callable[P, FutureResult[V, LoadFailure[E | X_co]]]: ...


def stale_if(
    predicate: Callable[[E], bool],
    *,
    forget_if: Callable[[E], bool] | None = None,
    remember_for: RememberFor[E] = None,
) -> Lift[P, V, E]:
    """Make a callback of a function that returns a plain ``Result``, such as one made by ``safe``.

    Stale data may cover a failure if ``predicate`` says so of its error. A failure of which ``forget_if`` says yes
    removes what is stored; it is asked first, and ``predicate`` is not asked then.
    ``remember_for`` is how long the failures stand that stale data may not cover: the source is not asked meanwhile.
    A function from the error to a duration decides for every failure by itself; where stale data covers it, it has no
    effect. None means the cache's ``negative_ttl``. Raises ``ConfigError`` for what is no duration of zero or more.

    >>> from returns.result import safe
    >>> def is_transient(err: Exception) -> bool:
    ...     return not isinstance(err, FileNotFoundError)
    >>> read = stale_if(is_transient)(safe(open))
    >>> read("/no/such/file").failure().use_stale
    False
    """
    return _lifting(rule_if(predicate, forget_if, remember_for))


@overload
def stale_on(first: type[X], /, *, forget_on: Classes = (), remember_for: timedelta | None = None) -> StaleOn[X]: ...
@overload
def stale_on(
    first: type[X],
    second: type[Y],
    /,
    *others: type[object],
    forget_on: Classes = (),
    remember_for: timedelta | None = None,
) -> StaleOn[X | Y]: ...
@overload
def stale_on(
    first: type[object], /, *others: type[object], forget_on: Classes = (), remember_for: Duration[E]
) -> Lift[P, V, E]: ...
def stale_on(*error_types: type[object], forget_on: Classes = (), remember_for: RememberFor[Any] = None) -> object:
    """Do as ``stale_if`` does: stale data may cover the errors that are instances of ``error_types``, and no others.

    An error that is an instance of one of ``forget_on`` removes what is stored, as a 404 does, also if the class is
    derived from one of ``error_types``. ``remember_for`` is that of ``stale_if``.

    Raises ``ConfigError`` for no class at all, for what is no class, and for a class in ``forget_on`` that is in
    ``error_types``, too, or a base of one that is.

    >>> from datetime import timedelta
    >>> from returns.result import safe
    >>> @stale_on(OSError, forget_on=(FileNotFoundError,), remember_for=timedelta(minutes=1))
    ... @safe
    ... def read(path: str) -> str:
    ...     raise TimeoutError(path) if path == "/slow" else FileNotFoundError(path)
    >>> read("/slow")
    <Failure: LoadFailure(err=TimeoutError('/slow'), use_stale=True)>
    >>> read("/none").failure().forget, read("/none").failure().remember_for
    (True, datetime.timedelta(seconds=60))
    """
    return _lifting(rule_on(error_types, forget_on, remember_for))


def io_stale_if(
    predicate: Callable[[E], bool],
    *,
    forget_if: Callable[[E], bool] | None = None,
    remember_for: RememberFor[E] = None,
) -> IOLift[P, V, E]:
    """Do as ``stale_if`` does, for a function that returns an ``IOResult``, such as one made by ``impure_safe``."""
    return _lifting(rule_if(predicate, forget_if, remember_for))


@overload
def io_stale_on(
    first: type[X], /, *, forget_on: Classes = (), remember_for: timedelta | None = None
) -> IOStaleOn[X]: ...
@overload
def io_stale_on(
    first: type[X],
    second: type[Y],
    /,
    *others: type[object],
    forget_on: Classes = (),
    remember_for: timedelta | None = None,
) -> IOStaleOn[X | Y]: ...
@overload
def io_stale_on(
    first: type[object], /, *others: type[object], forget_on: Classes = (), remember_for: Duration[E]
) -> IOLift[P, V, E]: ...
def io_stale_on(*error_types: type[object], forget_on: Classes = (), remember_for: RememberFor[Any] = None) -> object:
    """Do as ``stale_on`` does, for a function that returns an ``IOResult``, such as one made by ``impure_safe``.

    >>> from returns.io import impure_safe
    >>> io_stale_on(OSError)(impure_safe(open))("/no/such/file").failure().map(lambda failure: failure.use_stale)
    <IO: True>
    """
    return _lifting(rule_on(error_types, forget_on, remember_for))


def future_stale_if(
    predicate: Callable[[E], bool],
    *,
    forget_if: Callable[[E], bool] | None = None,
    remember_for: RememberFor[E] = None,
) -> FutureLift[P, V, E]:
    """Do as ``stale_if`` does, for a function that returns a ``FutureResult``, such as one made by ``future_safe``."""
    return _lifting(rule_if(predicate, forget_if, remember_for))


@overload
def future_stale_on(
    first: type[X], /, *, forget_on: Classes = (), remember_for: timedelta | None = None
) -> FutureStaleOn[X]: ...
@overload
def future_stale_on(
    first: type[X],
    second: type[Y],
    /,
    *others: type[object],
    forget_on: Classes = (),
    remember_for: timedelta | None = None,
) -> FutureStaleOn[X | Y]: ...
@overload
def future_stale_on(
    first: type[object], /, *others: type[object], forget_on: Classes = (), remember_for: Duration[E]
) -> FutureLift[P, V, E]: ...
def future_stale_on(
    *error_types: type[object], forget_on: Classes = (), remember_for: RememberFor[Any] = None
) -> object:
    """Do as ``stale_on`` does, for a function that returns a ``FutureResult``."""
    return _lifting(rule_on(error_types, forget_on, remember_for))


def _lifting(rule: Rule[Any]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make the lift of a rule: each container has ``alt``. The public names give it its types."""

    def lift(load: Callable[..., Any], /) -> Callable[..., Any]:
        @wraps(load)
        def callback(*args: Any, **kwargs: Any) -> Any:
            return load(*args, **kwargs).alt(rule)

        return callback

    return lift
