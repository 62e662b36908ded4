"""What a worker decides, it decides by the time at which it decides."""

import pytest
from returns.result import Success

from lastcache import CachedValue, Config, LastCache
from lastcache.testing import ScriptedLoad
from tests.held import HeldClock
from tests.kit import given, result_of, ticks


@pytest.mark.slow
def test_after_expire_nobody_gets_the_value_as_fresh() -> None:
    """A call that comes after ``expire`` returned gets what is loaded, and never the expired value unmarked."""
    clock = HeldClock()
    cache: LastCache[str, str, str] = LastCache(Config(global_ttl=ticks(100)), clock=clock, executor=clock.execute)
    cache.set("k", "old")
    clock.advance(ticks(101))
    load = ScriptedLoad[str, str](Success("new"), repeat=True)
    try:
        assert cache.async_load_or_store("k", load).unwrap().cached == CachedValue("old", stale=True)
        assert clock.reached.wait(5)
        cache.set("k", "newer")
        clock.advance(ticks(50))
        cache.expire("k")
        given_at_once = cache.async_load_or_store("k", load).unwrap()
        clock.passed.set()
        assert given_at_once.cached == CachedValue("newer", stale=True)
        assert result_of(given_at_once.refresh) == given("new")
    finally:
        clock.passed.set()
        cache.close()
