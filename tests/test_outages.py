"""Time, as it goes in an outage: long ones, slow loads, and clocks on the wall."""

import time

import pytest
from returns.maybe import Some
from returns.result import Failure, Success

from lastcache import CachedValue, Config, LastCache, failed
from lastcache.core.states import Outcome
from lastcache.testing import ManualClock
from tests.kit import given, gives, never, result_of, small_cache, ticks

YEAR = 365 * 86_400_000_000
"""A year, in ticks."""


def test_a_long_outage() -> None:
    """However long the source is down, the old value is given, marked and with the last error, as often as asked."""
    clock = ManualClock()
    cache = small_cache(clock, extend=50)
    cache.set("k", "old")
    for passed in (101, 51, 1000, YEAR, 10 * YEAR):
        clock.advance(ticks(passed))
        down = f"down for {passed}"
        assert cache.load_or_store("k", gives(failed(down, use_stale=True))) == given("old", stale=True, err=down)
        assert cache.load_or_store("k", never) == given("old", stale=True, err=down)
        assert cache.async_load_or_store("k", never).unwrap().cached == CachedValue("old", stale=True, err=down)
    clock.advance(ticks(51))
    assert cache.load_or_store("k", gives(Success("new"))) == given("new")


def test_an_outage_ends_for_stale_readers_too() -> None:
    """Stale readers see the error of each try, and the new value once a try succeeds."""
    clock = ManualClock()
    cache = small_cache(clock)
    cache.set("k", "old")
    clock.advance(ticks(101))
    for number in range(3):
        refresh = cache.async_load_or_store("k", gives(failed(f"try {number}", use_stale=True))).unwrap().refresh
        assert result_of(refresh) == given("old", stale=True, err=f"try {number}")
        assert cache.peek("k") == Some(CachedValue("old", stale=True, err=f"try {number}"))
    assert result_of(cache.async_load_or_store("k", gives(Success("new"))).unwrap().refresh) == given("new")


def test_a_load_slower_than_the_ttl_counts() -> None:
    """The TTL runs from the end of the load, so that a slow one is fresh when it comes."""
    clock = ManualClock()
    cache = small_cache(clock)

    def slow(_key: str) -> Outcome[str, str]:
        clock.advance(ticks(1000))
        return Success("v")

    assert cache.load_or_store("k", slow) == given("v")
    assert cache.ttl("k") == Some(ticks(100))
    clock.advance(ticks(100))
    assert cache.load_or_store("k", never) == given("v")


@pytest.mark.parametrize("use_stale", [True, False])
def test_a_first_load_that_fails_invents_no_value(*, use_stale: bool) -> None:
    """Where there is no old value, a failure that stale data could cover is a failure."""
    cache = small_cache(ManualClock())
    assert cache.load_or_store("k", gives(failed("down", use_stale=use_stale))) == Failure("down")
    assert cache.async_load_or_store("k", gives(failed("down", use_stale=use_stale))) == Failure("down")
    assert len(cache) == 0


def test_the_wall_clock_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that jumps forward or back by years neither expires nor revives anything."""
    cache: LastCache[str, str, str] = LastCache(Config(global_ttl=ticks(YEAR)))
    cache.set("k", "v")
    for jump in (-10 * YEAR, 10 * YEAR):
        for name, scale in (("time", 1e-6), ("time_ns", 1000)):
            now = getattr(time, name)()
            monkeypatch.setattr(time, name, lambda now=now, scale=scale, jump=jump: now + jump * scale)
        assert cache.load_or_store("k", never) == given("v")
        monkeypatch.undo()
    cache.expire("k")
    assert cache.peek("k") == Some(CachedValue("v", stale=True))
