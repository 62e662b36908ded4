"""Keys that lost their hash, and keys that look at the cache: neither spoils it for the others."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final, Self

import pytest
from returns.maybe import Some
from returns.result import Failure, Success

from lastcache import CachedValue, Config, LastCache, LoadDroppedError, failed
from lastcache.testing import ManualClock
from tests.kit import given, ticks
from tests.shells import Cache, Options, Stage, giving

DOWN: Final = giving(failed("down", use_stale=True))


class Fickle(str):
    """A key whose hash raises, or changes, once it is ``lost``."""

    __slots__ = ("lost", "raises")

    lost: bool
    raises: bool

    def __new__(cls, text: str, *, raises: bool) -> Self:
        key = super().__new__(cls, text)
        key.lost, key.raises = False, raises
        return key

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        if self.lost and self.raises:
            raise LookupError("no hash")
        return str.__hash__(self) + self.lost


SWEEPING: Final[dict[str, Options]] = {
    "windows": {"stale_if_error": timedelta(hours=1), "stale_while_revalidate": timedelta(hours=1)},
    "negative_ttl": {"negative_ttl": timedelta(hours=1)},
    "bound": {"max_entries": 4},
}


@pytest.mark.parametrize(
    ("option", "raises"),
    [
        ("windows", True),
        ("windows", False),
        ("negative_ttl", True),
        ("negative_ttl", False),
        ("bound", True),
        ("bound", False),
    ],
)
async def test_a_key_that_lost_its_hash_breaks_no_other_write(stage: Stage, option: str, *, raises: bool) -> None:
    """Where one key's hash raises or has changed, other keys are set, loaded, expired and deleted as ever."""
    cache = await stage.open(**SWEEPING[option])
    fickle = Fickle("fickle", raises=raises)
    cache.set(fickle, "v")
    fickle.lost = True
    for number in range(20):
        cache.set(f"set {number}", "v")
        assert await stage.ask(f"loaded {number}", giving(Success("w"))) == given("w")
        cache.expire(f"set {number}")
        found = cache.peek(f"set {number}"), cache.peek(f"loaded {number}")
        assert found == (Some(CachedValue("v", stale=True)), Some(CachedValue("w")))
        if number % 2:
            cache.delete(f"set {number}")
    assert option != "bound" or len(cache) <= 4


class Counting(str):
    """A key that counts what is stored whenever it is looked up: a count that raises is noted as -1."""

    __slots__ = ("cache", "counts")

    cache: Cache
    counts: list[int]

    def __new__(cls, text: str, cache: Cache) -> Self:
        key = super().__new__(cls, text)
        key.cache, key.counts = cache, []
        return key

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        for count in (lambda: len(self.cache), lambda: self.cache.stats().entries):
            self.counts.append(counted(count))
        return str.__hash__(self)


def counted(count: Callable[[], int]) -> int:
    try:
        return count()
    except ValueError:
        return -1


async def test_a_count_is_never_below_zero(stage: Stage) -> None:
    """However a key is written that has a remembered failure or none, ``len`` and ``stats`` never count below zero."""
    cache = await stage.open(negative_ttl=ticks(10), max_entries=1)
    key = Counting("k", cache)
    assert await stage.ask(key, DOWN) == Failure("down")
    stage.clock.advance(ticks(11))
    assert await stage.ask(key, DOWN) == Failure("down")
    cache.set("other", "v")
    cache.delete(key)
    assert [] == [count for count in key.counts if count < 0]
    assert key.counts


def test_a_refresh_of_a_key_whose_hash_has_changed_ends() -> None:
    """Nobody finds its load any more: who waits for it is told so."""
    works = list[Callable[[], object]]()
    clock = ManualClock()
    cache = LastCache[Changing, str, str](Config(global_ttl=timedelta(seconds=1)), clock=clock, executor=works.append)
    key = Changing()
    cache.set(key, "old")
    clock.advance(timedelta(seconds=2))
    refresh = cache.async_load_or_store(key, lambda _: Success("new")).unwrap().refresh
    assert refresh is not None
    key.hash = 2
    for work in works:
        work()
    with pytest.raises(LoadDroppedError, match="the hash of its key has changed"):
        refresh.result(timeout=0)
    cache.close()


class Changing:
    """A key whose hash does not stay the same."""

    def __init__(self) -> None:
        self.hash = 1

    def __hash__(self) -> int:
        return self.hash

    def __eq__(self, other: object) -> bool:
        return self is other
