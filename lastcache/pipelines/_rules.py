"""What a lift says of each error: may stale data cover it, does it forget the value, how long is it remembered."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeAlias, TypeVar

from lastcache.errors import ConfigError
from lastcache.records import LoadFailure

E = TypeVar("E")

Rule: TypeAlias = Callable[[E], LoadFailure[E]]
RememberFor: TypeAlias = timedelta | Callable[[E], timedelta | None] | None


def rule_if(
    predicate: Callable[[E], bool], forget_if: Callable[[E], bool] | None, remember_for: RememberFor[E]
) -> Rule[E]:
    """Say of an error what the predicates say. ``forget_if`` is asked first, and wins."""
    forgets = forget_if or _never
    duration_for = _duration_for(remember_for)

    def failure(err: E) -> LoadFailure[E]:
        forget = bool(forgets(err))
        use_stale = not forget and bool(predicate(err))
        return LoadFailure(err, use_stale, forget=forget, remember_for=duration_for(err, use_stale))

    return failure


def rule_on(error_types: tuple[object, ...], forget_on: tuple[object, ...], remember_for: RememberFor[E]) -> Rule[E]:
    """Say of an error what its class says. A class of ``forget_on`` wins over a class that it is derived from."""
    if not error_types:
        raise ConfigError("error_types=(): must name at least one class of errors that stale data may cover")
    covered = _classes("error_types", error_types)
    forgotten = _classes("forget_on", forget_on)
    for one in covered:
        for other in forgotten:
            if _is_subclass(one, other):
                raise ConfigError(
                    f"forget_on={forget_on!r}: {other.__name__} would forget every {one.__name__}, which error_types "
                    f"has stale data cover: must be classes that are not in error_types, nor a base of one that is"
                )
    return rule_if(lambda err: isinstance(err, covered), lambda err: isinstance(err, forgotten), remember_for)


def _classes(name: str, given: tuple[object, ...]) -> tuple[type, ...]:
    classes = tuple(one for one in given if isinstance(one, type)) if _is_tuple(given) else ()
    if classes != given:
        raise ConfigError(f"{name}={given!r}: must be classes")
    try:
        isinstance(None, classes)
    except TypeError as err:
        raise ConfigError(f"{name}={given!r}: must be classes that isinstance takes") from err
    return classes


def _is_tuple(given: object) -> bool:
    return isinstance(given, tuple)


def _is_subclass(one: type, other: type) -> bool:
    try:
        return issubclass(one, other)
    except TypeError:  # a runtime protocol with attributes tells of instances alone
        return False


def _duration_for(remember_for: RememberFor[E]) -> Callable[[E, bool], timedelta | None]:
    if callable(remember_for):
        own = remember_for
        return lambda err, _use_stale: own(err)
    _check_duration(remember_for)
    return lambda _err, use_stale: None if use_stale else remember_for


def _check_duration(given: object) -> None:
    if given is not None and not (isinstance(given, timedelta) and given >= timedelta(0)):
        raise ConfigError(
            f"remember_for={given!r}: must be a timedelta of zero or more, a function from the error to one, or None"
        )


def _never(_err: object) -> bool:
    return False
