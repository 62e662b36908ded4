"""``set``, ``delete``, ``clear`` and ``expire`` outrun every load that began before them."""

from collections.abc import Callable

import pytest
from returns.maybe import Nothing, Some
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import CachedValue, LastCache, failed
from lastcache.transitions import Answer
from tests.kit import (
    Gated,
    ManualClock,
    await_joiners,
    given,
    gives,
    in_thread,
    never,
    result_of,
    small_cache,
)

Cache = LastCache[str, str, str]

WRITES: dict[str, Callable[[Cache], None]] = {
    "set": lambda cache: cache.set("k", "newer"),
    "delete": lambda cache: cache.delete("k"),
    "clear": lambda cache: cache.clear(),
    "expire": lambda cache: cache.expire("k"),
}
writes = pytest.mark.parametrize("write", list(WRITES))


def asking(cache: Cache, gated: Gated[str, str]) -> Callable[[], Answer[str, str]]:
    return lambda: cache.load_or_store("k", gated)


@writes
def test_an_outrun_load_answers_its_own_callers_and_stores_nothing(write: str) -> None:
    """The callers of an outrun load get its value; what is stored is what the write left."""
    cache, gated = small_cache(ManualClock()), Gated[str, str](Success("older"))
    callers = [in_thread(asking(cache, gated)) for _ in range(3)]
    gated.await_start()
    await_joiners(2)
    WRITES[write](cache)
    left = list(cache.entries())
    gated.let_go()
    assert [given("older")] * 3 == [result_of(caller) for caller in callers]
    assert left == list(cache.entries())
    assert left == [] or write == "set"


@writes
@pytest.mark.parametrize("use_stale", [True, False])
def test_an_outrun_failure_changes_nothing(write: str, *, use_stale: bool) -> None:
    """A failed outrun load gives the newer answer where one stands, else its failure; no extension, no error stays."""
    clock = ManualClock()
    cache, gated = small_cache(clock, extend=50), Gated[str, str](failed("down", use_stale=use_stale))
    cache.set("k", "old")
    clock.advance(101)
    caller = in_thread(asking(cache, gated))
    gated.await_start()
    WRITES[write](cache)
    left = list(cache.entries())
    gated.let_go()
    assert result_of(caller) == (given("newer") if write == "set" else Failure("down"))
    assert left == list(cache.entries())


@writes
def test_a_later_call_never_joins_the_older_load(write: str) -> None:
    """A call that comes after the write loads anew, or gets what was set; the older load is not waited for."""
    cache, older = small_cache(ManualClock()), Gated[str, str](Success("older"))
    first = in_thread(asking(cache, older))
    older.await_start()
    WRITES[write](cache)
    expected = "newer" if write == "set" else "second"
    assert cache.load_or_store("k", gives(Success("second"))) == given(expected)
    older.let_go()
    assert result_of(first) == given("older")
    assert cache.peek("k") == Some(CachedValue(expected))


@pytest.mark.parametrize("order", ["older first", "newer first"])
def test_two_loads_of_one_key_do_not_touch_each_other(order: str) -> None:
    """Whichever of the outrun load and its successor ends first: the successor's value and its flight stand."""
    cache = small_cache(ManualClock())
    older, newer = Gated[str, str](Success("older")), Gated[str, str](Success("newer"))
    first = in_thread(asking(cache, older))
    older.await_start()
    cache.delete("k")
    second = in_thread(asking(cache, newer))
    newer.await_start()
    if order == "older first":
        older.let_go()
        assert result_of(first) == given("older")
        assert cache.peek("k") == Nothing
        joiner = in_thread(lambda: cache.load_or_store("k", never))
        await_joiners(1)
        newer.let_go()
        assert result_of(joiner) == given("newer")
    else:
        newer.let_go()
        assert result_of(second) == given("newer")
        older.let_go()
    assert [given("older"), given("newer")] == [result_of(first), result_of(second)]
    assert cache.peek("k") == Some(CachedValue("newer"))


def test_an_outrun_load_that_raises_leaves_its_successor_alone() -> None:
    """A crash of the older load does not take the newer one out of the way."""
    cache = small_cache(ManualClock())
    older, newer = Gated[str, str](ValueError("broken")), Gated[str, str](Success("newer"))
    first = in_thread(asking(cache, older))
    older.await_start()
    cache.delete("k")
    second = in_thread(asking(cache, newer))
    newer.await_start()
    older.let_go()
    assert type(first.exception(20)) is ValueError
    joiner = in_thread(lambda: cache.load_or_store("k", never))
    await_joiners(1)
    newer.let_go()
    assert [given("newer")] * 2 == [result_of(second), result_of(joiner)]


@writes
def test_an_outrun_refresh(write: str) -> None:
    """A refresh that a write outran resolves with its own value, and neither stores nor extends anything."""
    clock = ManualClock()
    cache, gated = small_cache(clock, extend=50), Gated[str, str](Success("older"))
    cache.set("k", "old")
    clock.advance(101)
    behind = cache.async_load_or_store("k", gated).unwrap()
    gated.await_start()
    WRITES[write](cache)
    left = list(cache.entries())
    gated.let_go()
    assert behind.cached == CachedValue("old", stale=True)
    assert result_of(behind.refresh) == given("older")
    assert left == list(cache.entries())


def test_the_entries_are_a_snapshot() -> None:
    """What is written while the entries are looked at neither shows nor disturbs."""
    cache = small_cache(ManualClock())
    for key in "abc":
        cache.set(key, key)
    shown = []
    for entry in cache.entries():
        cache.delete("b")
        cache.set(entry.key * 2, "new")
        shown.append(entry.key)
    assert shown == ["a", "b", "c"]
    assert sorted(entry.key for entry in cache.entries()) == ["a", "aa", "bb", "c", "cc"]


def test_expire_leaves_a_value_to_fall_back_on() -> None:
    """After ``expire`` the next call loads; if that fails and allows it, the old value is given, marked."""
    clock = ManualClock()
    cache = small_cache(clock)
    cache.set("k", "old")
    cache.expire("k")
    assert is_successful(cache.ttl("k"))
    assert cache.ttl("k").unwrap().total_seconds() < 0
    assert cache.load_or_store("k", gives(failed("down"))) == given("old", stale=True, err="down")


def test_expire_of_a_missing_key() -> None:
    """``expire`` and ``delete`` of a key that is not there change nothing."""
    cache = small_cache(ManualClock())
    cache.expire("k")
    cache.delete("k")
    assert len(cache) == 0
