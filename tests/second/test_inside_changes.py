"""Writes that come from inside a change of the cache, such as from its clock: they are made, and told, afterwards."""

from collections.abc import Callable

from returns.result import Success

from lastcache import CachedValue, LastCache
from lastcache.second import Second
from lastcache.second.codecs import JsonValue, json_codec
from lastcache.second.memory import MemoryStore
from lastcache.testing import ScriptedLoad
from tests.kit import until


def test_a_write_from_inside_a_change_is_told() -> None:
    """What a clock sets, which is read inside of a look, reaches the store, though nobody waits for that there."""
    inside: list[Callable[[], None]] = []

    def clock() -> int:
        if inside:
            inside.pop()()
        return 0

    second = Second[str, JsonValue](store=MemoryStore(clock=lambda: 0), codec=json_codec("any-1"), namespace="n")
    cache = LastCache[str, JsonValue, str](clock=clock, second=second)
    other = LastCache[str, JsonValue, str](clock=lambda: 0, second=second)
    inside.append(lambda: cache.set("from inside", 2))
    cache.explain("k")
    until(lambda: cache.stats().owed == 0)
    assert other.load_or_store("from inside", ScriptedLoad()) == Success(CachedValue(2))
