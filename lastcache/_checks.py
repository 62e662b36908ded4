"""The checks of arguments: each error names the argument, its value, and what is right."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, NoReturn, TypeVar, cast

from lastcache.errors import ConfigError

T = TypeVar("T")

MICROSECOND: Final = timedelta(microseconds=1)
NOTHING: Final = timedelta(0)
ASYNC: Final = 0x80
"""The flag of the code of a coroutine function: ``inspect.CO_COROUTINE``."""


def nanoseconds(duration: timedelta) -> int:
    """Count ``duration`` in nanoseconds, exactly.

    >>> nanoseconds(timedelta(days=1, microseconds=1))
    86400000001000
    """
    return duration // MICROSECOND * 1000


def duration_of(nanoseconds: int) -> timedelta:
    """Round ``nanoseconds`` down to the microsecond, so that the sign is kept; clamp to what a timedelta can hold.

    >>> duration_of(-1).total_seconds()
    -1e-06
    """
    microseconds = nanoseconds // 1000
    if microseconds > timedelta.max // MICROSECOND:
        return timedelta.max
    if microseconds < timedelta.min // MICROSECOND:
        return timedelta.min
    return timedelta(microseconds=microseconds)


def checked_clock(clock: Callable[[], int]) -> Callable[[], int]:
    """Give ``clock`` back if it is one: a function whose answers are integers of nanoseconds."""
    if not callable(clock):
        refuse("clock", clock, "a function that gives nanoseconds as an int, such as time.monotonic_ns")
    if type(now := clock()) is not int:
        refuse("clock", clock, f"a function that gives nanoseconds as an int, and it gave {now!r}")
    return clock


def checked_ttl_for(ttl_for: Callable[[T], timedelta] | None) -> Callable[[T], timedelta] | None:
    """Give ``ttl_for`` back if it is a function or None; anything else is a ``ConfigError``."""
    if ttl_for is not None and not callable(ttl_for):
        refuse("ttl_for", ttl_for, "a function that gives a value's TTL as a timedelta, or None")
    return ttl_for


def checked_observer(observer: T) -> T:
    """Give ``observer`` back if it is a function or None; anything else is a ``ConfigError``."""
    if observer is not None and (not callable(observer) or is_async(observer)):
        refuse("observer", observer, "a function of one event that is not async, or None")
    return observer


def is_async(function: object) -> bool:
    """Say whether a call gives a coroutine, as far as can be seen without ``inspect``, which takes long to import."""
    calls = function, getattr(function, "__func__", None), vars(type(function)).get("__call__")
    return any(getattr(getattr(call, "__code__", None), "co_flags", 0) & ASYNC for call in calls)


def checked_name(name: object) -> str:
    """Give ``name`` back if it is a str; anything else is a ``ConfigError``."""
    if not isinstance(name, str):
        refuse("name", name, "a str")
    return name


def checked_executor(executor: T) -> T:
    """Give ``executor`` back if it is a function or None; anything else is a ``ConfigError``."""
    if executor is not None and not callable(executor):
        refuse("executor", executor, "a function that runs what it is given, such as the submit of a pool, or None")
    return executor


def checked_ttl(ttl: object) -> int:
    """Give the nanoseconds of a value's own TTL; what is no duration is a ``ConfigError``."""
    check_duration("ttl", ttl, at_least=NOTHING, right="a timedelta of zero or more")
    return nanoseconds(cast("timedelta", ttl))


def check_duration(name: str, duration: object, *, at_least: timedelta, right: str) -> None:
    if not isinstance(duration, timedelta) or duration < at_least:
        refuse(name, duration, right)


def check_optional(name: str, duration: object, *, at_least: timedelta, right: str) -> None:
    if duration is not None:
        check_duration(name, duration, at_least=at_least, right=right)


def check_number(name: str, number: object, accepted: Callable[[float], bool], *, right: str) -> None:
    if not isinstance(number, int | float) or isinstance(number, bool) or not accepted(number):
        refuse(name, number, right)


def check_flag(name: str, flag: object) -> None:
    if not isinstance(flag, bool):
        refuse(name, flag, "True or False")


def check_count(name: str, count: object, *, right: str) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        refuse(name, count, right)


def refuse(name: str, value: object, right: str) -> NoReturn:
    raise ConfigError(f"{name}={shown(value)}: must be {right}")


def shown(value: object) -> str:
    """Write ``value`` as code: a negative duration by its length, where Python counts up from the day before.

    >>> shown(timedelta(seconds=-1)), shown(60)
    ('-datetime.timedelta(seconds=1)', '60')
    """
    if isinstance(value, timedelta) and value < NOTHING:
        return f"-{-value!r}"
    return repr(value)
