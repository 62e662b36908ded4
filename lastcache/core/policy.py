"""The options of a cache in the integers that the core counts with."""

from datetime import timedelta
from typing import Final, NamedTuple, final

from lastcache._checks import NOTHING, check_optional, nanoseconds
from lastcache.config import Config

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


def checked_max_stale(max_stale: timedelta | None) -> int:
    """Give the nanoseconds of what a reader demands. Raises ``ConfigError`` for what is no duration, or below zero."""
    check_optional("max_stale", max_stale, at_least=NOTHING, right="a timedelta of zero or more, or None")
    return _bound(max_stale)


def _bound(duration: timedelta | None) -> int:
    return FOREVER if duration is None else nanoseconds(duration)
