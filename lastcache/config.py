"""The options of a cache: as users write them, and in the integers that the core counts with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple, NoReturn, final

from lastcache.errors import ConfigError

_MICROSECOND = timedelta(microseconds=1)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The options of a cache, checked when they are written down.

    ``global_ttl``: how long a value is fresh, above zero.
    ``extend_ttl``: how long an expired value stands once a failure allowed it; zero asks the source at every call.
    ``async_semaphore``: how many background callbacks of one cache may run at once, at least 1.

    Raises ``ConfigError``, which names the option, the value and what is right.

    >>> Config(global_ttl=timedelta(seconds=30), extend_ttl=timedelta(seconds=5)).async_semaphore
    1
    >>> Config(global_ttl=timedelta(0))
    Traceback (most recent call last):
    lastcache.errors.ConfigError: global_ttl=datetime.timedelta(0): must be a timedelta above zero
    """

    global_ttl: timedelta = timedelta(minutes=1)
    extend_ttl: timedelta = timedelta(0)
    async_semaphore: int = 1

    def __post_init__(self) -> None:
        _check_duration("global_ttl", self.global_ttl, at_least=_MICROSECOND, right="a timedelta above zero")
        _check_duration("extend_ttl", self.extend_ttl, at_least=timedelta(0), right="a timedelta of zero or more")
        _check_count("async_semaphore", self.async_semaphore, right="an int of 1 or more")


@final
class Policy(NamedTuple):
    """What the core needs of a ``Config``; durations in nanoseconds."""

    global_ttl: int
    extend_ttl: int


def policy_of(config: Config) -> Policy:
    """Count the durations of ``config`` in nanoseconds.

    >>> policy_of(Config(global_ttl=timedelta(microseconds=3)))
    Policy(global_ttl=3000, extend_ttl=0)
    """
    return Policy(nanoseconds(config.global_ttl), nanoseconds(config.extend_ttl))


def nanoseconds(duration: timedelta) -> int:
    """Count ``duration`` in nanoseconds, exactly.

    >>> nanoseconds(timedelta(days=1, microseconds=1))
    86400000001000
    """
    return duration // _MICROSECOND * 1000


def duration_of(nanoseconds: int) -> timedelta:
    """Round ``nanoseconds`` down to the microsecond, so that the sign is kept; clamp to what a timedelta can hold.

    >>> duration_of(-1)
    datetime.timedelta(days=-1, seconds=86399, microseconds=999999)
    """
    microseconds = nanoseconds // 1000
    if microseconds > timedelta.max // _MICROSECOND:
        return timedelta.max
    if microseconds < timedelta.min // _MICROSECOND:
        return timedelta.min
    return timedelta(microseconds=microseconds)


def checked_config(config: object) -> Config:
    """Give ``config`` back if it is one; anything else is a ``ConfigError``."""
    if not isinstance(config, Config):
        _refuse("config", config, "a Config")
    return config


def checked_clock(clock: Callable[[], int]) -> Callable[[], int]:
    """Give ``clock`` back if it is one: a function whose answers are integers of nanoseconds."""
    if not callable(clock):
        _refuse("clock", clock, "a function that gives nanoseconds as an int, such as time.monotonic_ns")
    if type(now := clock()) is not int:
        _refuse("clock", clock, f"a function that gives nanoseconds as an int, and it gave {now!r}")
    return clock


def _check_duration(name: str, duration: object, *, at_least: timedelta, right: str) -> None:
    if not isinstance(duration, timedelta) or duration < at_least:
        _refuse(name, duration, right)


def _check_count(name: str, count: object, *, right: str) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        _refuse(name, count, right)


def _refuse(name: str, value: object, right: str) -> NoReturn:
    raise ConfigError(f"{name}={value!r}: must be {right}")
