"""Emptying a cache asks nothing of its keys: one that cannot be compared or hashed does not keep the others."""

from datetime import timedelta
from typing import Final

import pytest
from returns.result import Success

from lastcache import CacheClosedError, Config, LastCache
from lastcache.core.states import Outcome
from tests.kit import given, gives

WHOLE: Final = timedelta(hours=1)
OPTIONS: Final = {
    "plain": Config(),
    "windows": Config(stale_if_error=WHOLE, stale_while_revalidate=WHOLE),
    "negative": Config(negative_ttl=WHOLE),
    "all": Config(negative_ttl=WHOLE, stale_if_error=WHOLE, stale_while_revalidate=WHOLE, max_entries=9),
}


class Broken:
    """A key that has the hash of each other until its comparison, or its hash, is ``broken``."""

    def __init__(self, switch: "Switch") -> None:
        self.switch = switch

    def __eq__(self, other: object) -> bool:
        if self.switch.broken == "eq":
            raise ValueError("no comparison")
        return self is other

    def __hash__(self) -> int:
        if self.switch.broken == "hash":
            raise ValueError("no hash")
        return 1


class Switch:
    """Breaks all keys at once."""

    broken = ""


@pytest.mark.parametrize("broken", ["eq", "hash"])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_cache_is_emptied_whatever_its_keys_raise(options: str, broken: str) -> None:
    """``clear`` leaves nothing of keys whose ``__eq__`` or ``__hash__`` raises, and the cache works as before."""
    cache, switch = LastCache[Broken, str, str](OPTIONS[options]), Switch()
    keys = [Broken(switch) for _ in range(3)]
    for key in keys:
        cache.set(key, "v")
    switch.broken = broken
    cache.clear()
    switch.broken = ""
    assert (0, []) == (len(cache), list(cache.entries()))
    assert given("new") == cache.load_or_store(keys[0], gives(Success("new")))


@pytest.mark.parametrize("broken", ["eq", "hash"])
@pytest.mark.parametrize("options", OPTIONS)
def test_a_cache_is_closed_whatever_its_keys_raise(options: str, broken: str) -> None:
    """``close`` raises nothing of what the ``__eq__`` or ``__hash__`` of a key raises, and frees what was stored."""
    freed = list[str]()

    class Value:
        def __del__(self) -> None:
            freed.append("freed")

    cache, switch = LastCache[Broken, Value, str](OPTIONS[options]), Switch()
    for _ in range(3):
        cache.set(Broken(switch), Value())
    switch.broken = broken
    cache.close()
    switch.broken = ""
    assert ["freed"] * 3 == freed

    def load(_key: Broken) -> Outcome[Value, str]:
        raise AssertionError

    with pytest.raises(CacheClosedError):
        cache.load_or_store(Broken(switch), load)
