"""The options of a cache."""

from dataclasses import dataclass
from datetime import timedelta
from math import inf
from typing import Final, TypedDict, Unpack, final

from lastcache._checks import (
    MICROSECOND,
    NOTHING,
    check_count,
    check_duration,
    check_flag,
    check_number,
    check_optional,
    refuse,
)
from lastcache._hypothesis import introduce

PAUSE_AFTER_A_FAILURE: Final = timedelta(seconds=10)
PATIENCE: Final = timedelta(milliseconds=100)
OUTAGE: Final = timedelta(hours=1)


class Options(TypedDict, total=False):
    """The options of ``Config`` beside ``global_ttl``, for ``Config.resilient``."""

    extend_ttl: timedelta
    async_semaphore: int
    stale_if_error: timedelta | None
    stale_while_revalidate: timedelta | None
    negative_ttl: timedelta
    soft_timeout: timedelta | None
    refresh_after: timedelta | None
    jitter: float
    backoff: float
    max_queued: int | None
    max_entries: int | None
    count_hits: bool


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
    ``max_queued``: how many background loads may wait for their turn; the oldest makes room, and its ``refresh`` ends
    with ``LoadDroppedError``; None: all of them.
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
    max_queued: int | None = None
    max_entries: int | None = None
    count_hits: bool = False

    @classmethod
    def resilient(cls, ttl: timedelta, **others: Unpack[Options]) -> "Config":
        """Make the config to start from in production: a source that hangs or fails holds up no reader who has a value.

        A value is fresh for ``ttl``. Past that it is given for an hour more, in an outage: ``stale_if_error`` and
        ``stale_while_revalidate``. A reader waits 100 ms for a load before the old value is given: ``soft_timeout``.
        After a failure the source is left alone for 10 s, or ``ttl`` where that is shorter: ``extend_ttl``. 16 loads
        run in the background at once, and 400 wait: ``async_semaphore``, ``max_queued``. TTLs differ by up to a tenth:
        ``jitter``. ``others`` are options that win over these.

        Guarantee: a reader of a value that expired less than ``stale_while_revalidate`` ago, and that no failure
        refused, never waits longer than ``soft_timeout``. In tasks this holds inside the block of the cache; in threads
        as long as a thread can be had, or the executor takes the load.

        >>> Config.resilient(timedelta(minutes=5), max_entries=10_000).soft_timeout
        datetime.timedelta(microseconds=100000)
        """
        check_duration("ttl", ttl, at_least=MICROSECOND, right="a timedelta above zero")
        options: Options = {
            "extend_ttl": min(ttl, PAUSE_AFTER_A_FAILURE),
            "soft_timeout": PATIENCE,
            "stale_if_error": OUTAGE,
            "stale_while_revalidate": OUTAGE,
            "async_semaphore": 16,
            "max_queued": 400,
            "jitter": 0.1,
            **others,
        }
        return cls(global_ttl=ttl, **options)

    def __post_init__(self) -> None:
        check_duration("global_ttl", self.global_ttl, at_least=MICROSECOND, right="a timedelta above zero")
        check_duration("extend_ttl", self.extend_ttl, at_least=NOTHING, right="a timedelta of zero or more")
        check_count("async_semaphore", self.async_semaphore, right="an int of 1 or more")
        for window in ("stale_if_error", "stale_while_revalidate", "soft_timeout"):
            check_optional(
                window, getattr(self, window), at_least=NOTHING, right="a timedelta of zero or more, or None"
            )
        check_optional(
            "refresh_after", self.refresh_after, at_least=MICROSECOND, right="a timedelta above zero, or None"
        )
        check_duration("negative_ttl", self.negative_ttl, at_least=NOTHING, right="a timedelta of zero or more")
        for bound in ("max_queued", "max_entries"):
            if getattr(self, bound) is not None:
                check_count(bound, getattr(self, bound), right="an int of 1 or more, or None")
        check_flag("count_hits", self.count_hits)
        check_number("jitter", self.jitter, lambda part: 0 <= part < 1, right="a number from 0 to less than 1")
        check_number("backoff", self.backoff, lambda factor: 1 <= factor < inf, right="a finite number of 1 or more")


def checked_config(config: object) -> Config:
    """Give ``config`` back if it is one; anything else is a ``ConfigError``."""
    if not isinstance(config, Config):
        refuse("config", config, "a Config")
    return config


introduce()
