"""The options of a cache: as users write them, and in the integers that the core counts with."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Final, NamedTuple, NoReturn, TypeVar, cast, final

from lastcache.errors import ConfigError

T = TypeVar("T")

_MICROSECOND: Final = timedelta(microseconds=1)
_NOTHING: Final = timedelta(0)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The options of a cache, checked when they are written down.

    ``global_ttl``: how long a value is fresh, above zero.
    ``extend_ttl``: how long an expired value stands once a failure allowed it; zero asks the source at every call.
    ``async_semaphore``: how many background callbacks of one cache may run at once, at least 1.

    ``stale_if_error``: how long past its freshness a value may cover a failure (RFC 5861, section 4); None: for ever.
    ``stale_while_revalidate``: how long past its freshness a value may be given ahead of its load (RFC 5861,
    section 3); past it the load is waited for; None: for ever.
    ``negative_ttl``: how long an answer that is a failure is remembered, so that the source is not asked; zero: not.
    ``soft_timeout``: how long ``load_or_store`` waits for the load of an expired value before it gives that value; the
    load goes on in the background; None: until the load has ended.
    ``refresh_after``: the age from which a read of a fresh value begins its next load early, in the background, while
    nobody waits; None: not before the value expired.
    ``jitter``: each TTL and extension is shortened by a random part of it, up to this one; from 0 to less than 1.
    ``backoff``: what each further covered failure in a row multiplies the extension by, 1 or more; it grows up to
    ``extend_ttl`` or ``global_ttl``, whichever is longer, and begins anew after a success.
    ``max_entries``: how many keys are kept, remembered failures among them; those that were not asked for make room
    (SIEVE, NSDI 2024); None: all of them.
    ``count_hits``: whether ``stats`` counts hits; they then go round the hit path, and take several times as long.

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
    stale_if_error: timedelta | None = None
    stale_while_revalidate: timedelta | None = None
    negative_ttl: timedelta = timedelta(0)
    soft_timeout: timedelta | None = None
    refresh_after: timedelta | None = None
    jitter: float = 0.0
    backoff: float = 1.0
    max_entries: int | None = None
    count_hits: bool = False

    def __post_init__(self) -> None:
        _check_duration("global_ttl", self.global_ttl, at_least=_MICROSECOND, right="a timedelta above zero")
        _check_duration("extend_ttl", self.extend_ttl, at_least=_NOTHING, right="a timedelta of zero or more")
        _check_count("async_semaphore", self.async_semaphore, right="an int of 1 or more")
        for window in ("stale_if_error", "stale_while_revalidate", "soft_timeout"):
            _check_optional(
                window, getattr(self, window), at_least=_NOTHING, right="a timedelta of zero or more, or None"
            )
        _check_optional(
            "refresh_after", self.refresh_after, at_least=_MICROSECOND, right="a timedelta above zero, or None"
        )
        _check_duration("negative_ttl", self.negative_ttl, at_least=_NOTHING, right="a timedelta of zero or more")
        if self.max_entries is not None:
            _check_count("max_entries", self.max_entries, right="an int of 1 or more, or None")
        _check_flag("count_hits", self.count_hits)
        _check_number("jitter", self.jitter, lambda part: 0 <= part < 1, right="a number from 0 to less than 1")
        _check_number("backoff", self.backoff, lambda factor: 1 <= factor < inf, right="a finite number of 1 or more")


FOREVER: Final = 1 << 90
"""More nanoseconds than the longest timedelta has."""


@final
class Policy(NamedTuple):
    """What the core needs of a ``Config``; durations in nanoseconds, ``FOREVER`` where there is no bound."""

    global_ttl: int
    extend_ttl: int = 0
    stale_if_error: int = FOREVER
    stale_while_revalidate: int = FOREVER
    negative_ttl: int = 0
    refresh_after: int = FOREVER
    jitter: float = 0.0
    backoff: float = 1.0


def policy_of(config: Config) -> Policy:
    """Count the durations of ``config`` in nanoseconds.

    >>> policy_of(Config(global_ttl=timedelta(microseconds=3))).global_ttl
    3000
    """
    return Policy(
        global_ttl=nanoseconds(config.global_ttl),
        extend_ttl=nanoseconds(config.extend_ttl),
        stale_if_error=_bound(config.stale_if_error),
        stale_while_revalidate=_bound(config.stale_while_revalidate),
        negative_ttl=nanoseconds(config.negative_ttl),
        refresh_after=_bound(config.refresh_after),
        jitter=config.jitter,
        backoff=config.backoff,
    )


def _bound(duration: timedelta | None) -> int:
    return FOREVER if duration is None else nanoseconds(duration)


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


def checked_ttl_for(ttl_for: Callable[[T], timedelta] | None) -> Callable[[T], timedelta] | None:
    """Give ``ttl_for`` back if it is a function or None; anything else is a ``ConfigError``."""
    if ttl_for is not None and not callable(ttl_for):
        _refuse("ttl_for", ttl_for, "a function that gives a value's TTL as a timedelta, or None")
    return ttl_for


def checked_observer(observer: T) -> T:
    """Give ``observer`` back if it is a function or None; anything else is a ``ConfigError``."""
    if observer is not None and not callable(observer):
        _refuse("observer", observer, "a function of one event, or None")
    return observer


def checked_executor(executor: T) -> T:
    """Give ``executor`` back if it is a function or None; anything else is a ``ConfigError``."""
    if executor is not None and not callable(executor):
        _refuse("executor", executor, "a function that runs what it is given, such as the submit of a pool, or None")
    return executor


def checked_ttl(ttl: object) -> int:
    """Give the nanoseconds of a value's own TTL; what is no duration is a ``ConfigError``."""
    _check_duration("ttl", ttl, at_least=_NOTHING, right="a timedelta of zero or more")
    return nanoseconds(cast("timedelta", ttl))


def _check_duration(name: str, duration: object, *, at_least: timedelta, right: str) -> None:
    if not isinstance(duration, timedelta) or duration < at_least:
        _refuse(name, duration, right)


def _check_optional(name: str, duration: object, *, at_least: timedelta, right: str) -> None:
    if duration is not None:
        _check_duration(name, duration, at_least=at_least, right=right)


def _check_number(name: str, number: object, accepted: Callable[[float], bool], *, right: str) -> None:
    if not isinstance(number, int | float) or isinstance(number, bool) or not accepted(number):
        _refuse(name, number, right)


def _check_flag(name: str, flag: object) -> None:
    if not isinstance(flag, bool):
        _refuse(name, flag, "True or False")


def _check_count(name: str, count: object, *, right: str) -> None:
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        _refuse(name, count, right)


def _refuse(name: str, value: object, right: str) -> NoReturn:
    raise ConfigError(f"{name}={value!r}: must be {right}")
