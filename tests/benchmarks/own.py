"""The floor, the cache of the standard library, and lastcache in the configurations that differ in cost."""

import functools
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from returns.result import Result, Success

from lastcache import Config, LastCache, LoadFailure, failed
from tests.benchmarks.caches import FLOOR, Case, OpenReader, Reader, Setup, ThreadCase
from tests.benchmarks.loads import PREPARED

_ABSENT: Final = (0, -1)


def floor(setup: Setup) -> Reader:
    """What a TTL costs at the least: a function with one ``dict.get``, one clock and one compare."""
    entries: dict[int, tuple[int, int]] = {}
    get, clock, load, ttl = entries.get, time.monotonic_ns, setup.loads.by_key, int(setup.ttl * 1e9)

    def read(key: int) -> int:
        value, until = get(key, _ABSENT)
        if clock() <= until:
            return value
        value = load(key)
        entries[key] = (value, clock() + ttl)
        return value

    return Reader(read)


def lru_cache(setup: Setup) -> Reader:
    """``functools.lru_cache`` without a bound; it has no TTL."""
    return Reader(functools.lru_cache(maxsize=None)(setup.loads.by_key))


def lastcache(
    options: Callable[[timedelta], Config] = lambda ttl: Config(global_ttl=ttl),
    *,
    bounded: bool = False,
    own_ttl: bool = False,
    revalidating: bool = False,
) -> OpenReader:
    """``LastCache.load_or_store``, or ``async_load_or_store`` if revalidating, with options that depend on the TTL."""

    def open_reader(setup: Setup) -> Reader:
        ttl = timedelta(seconds=setup.ttl)
        config = replace(options(ttl), max_entries=setup.room if bounded else None)
        cache = LastCache[int, int, str](config, ttl_for=(lambda _value: ttl) if own_ttl else None)
        return Reader(
            cache.async_load_or_store if revalidating else cache.load_or_store, setup.loads.outcome, cache.close
        )

    return open_reader


def prepared(setup: Setup) -> Reader:
    """``LastCache.load_or_store`` with a callback that has its ``Success`` ready."""
    return lastcache()(setup._replace(loads=setup.loads._replace(outcome=PREPARED.outcome)))


def failing(setup: Setup) -> Reader:
    """``LastCache.load_or_store`` with a source that answered once, and fails ever after (stale-if-error)."""
    ttl, seen = timedelta(seconds=setup.ttl), set[int]()
    cache = LastCache[int, int, str](Config(global_ttl=ttl, extend_ttl=ttl))

    def load(key: int) -> Result[int, LoadFailure[str]]:
        value = setup.loads.by_key(key)
        if key in seen:
            return failed("down", use_stale=True)
        seen.add(key)
        return Success(value)

    return Reader(cache.load_or_store, load, cache.close)


def windows(ttl: timedelta) -> Config:
    """Both windows, past which an entry is of no use to anyone."""
    return Config(global_ttl=ttl, stale_if_error=timedelta(hours=1), stale_while_revalidate=timedelta(minutes=10))


def every_option(ttl: timedelta) -> Config:
    """Every option but the bound."""
    return replace(
        windows(ttl),
        extend_ttl=timedelta(seconds=10),
        negative_ttl=timedelta(seconds=1),
        soft_timeout=timedelta(seconds=1),
        refresh_after=ttl * 0.75,
        jitter=0.1,
        backoff=2.0,
    )


def soft(ttl: timedelta) -> Config:
    """A caller waits two milliseconds for a load, and no longer."""
    return Config(global_ttl=ttl, soft_timeout=timedelta(milliseconds=2))


def early(ttl: timedelta) -> Config:
    """The next load begins while the value is fresh, early enough to be there in time."""
    return Config(global_ttl=ttl, refresh_after=ttl * 0.25)


def counting(ttl: timedelta) -> Config:
    """Hits are counted."""
    return Config(global_ttl=ttl, count_hits=True)


PLAIN: Final[ThreadCase] = Case("lastcache", "lastcache", lastcache())
REVALIDATING: Final[ThreadCase] = Case("lastcache:async", "lastcache", lastcache(revalidating=True))
BASE: Final[tuple[ThreadCase, ...]] = (Case(FLOOR, "time", floor), Case("lru_cache", "functools", lru_cache))
SHAPES: Final[tuple[ThreadCase, ...]] = (
    Case("lastcache:bounded", "lastcache", lastcache(bounded=True)),
    Case("lastcache:options", "lastcache", lastcache(every_option, own_ttl=True)),
    Case("lastcache:options+bounded", "lastcache", lastcache(every_option, bounded=True, own_ttl=True)),
    Case("lastcache:count_hits", "lastcache", lastcache(counting)),
)
PREPARING: Final[ThreadCase] = Case("lastcache:prepared", "lastcache", prepared)
WINDOWS: Final[ThreadCase] = Case("lastcache:windows", "lastcache", lastcache(windows))
EXPIRING: Final[tuple[ThreadCase, ...]] = (
    PLAIN,
    REVALIDATING,
    Case("lastcache:soft_timeout", "lastcache", lastcache(soft)),
    Case("lastcache:refresh_after", "lastcache", lastcache(early)),
    Case("lastcache:failing", "lastcache", failing),
)
