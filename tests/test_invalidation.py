"""``set``, ``delete``, ``clear`` and ``expire`` outrun every load that began before them.

Every scenario is performed on each shell.
"""

from collections.abc import Callable

import pytest
from returns.maybe import Nothing, Some
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import CachedValue, failed
from tests.kit import given
from tests.shells import Cache, Stage, giving, never

WRITES: dict[str, Callable[[Cache], None]] = {
    "set": lambda cache: cache.set("k", "newer"),
    "delete": lambda cache: cache.delete("k"),
    "clear": lambda cache: cache.clear(),
    "expire": lambda cache: cache.expire("k"),
}
writes = pytest.mark.parametrize("write", list(WRITES))


@writes
async def test_an_outrun_load_answers_its_own_callers_and_stores_nothing(stage: Stage, write: str) -> None:
    """The callers of an outrun load get its value; what is stored is what the write left."""
    cache, gated = await stage.open(), stage.gated(Success("older"))
    callers = [stage.asking("k", gated) for _ in range(3)]
    await gated.started()
    await stage.joined(2)
    WRITES[write](cache)
    left = list(cache.entries())
    gated.let_go()
    assert [given("older")] * 3 == [await caller.result() for caller in callers]
    assert left == list(cache.entries())
    assert left == [] or write == "set"


@writes
@pytest.mark.parametrize("use_stale", [True, False])
async def test_an_outrun_failure_changes_nothing(stage: Stage, write: str, *, use_stale: bool) -> None:
    """A failed outrun load gives the newer answer where one stands, else its failure; no extension, no error stays."""
    cache, gated = await stage.open("k", extend=50), stage.gated(failed("down", use_stale=use_stale))
    caller = stage.asking("k", gated)
    await gated.started()
    WRITES[write](cache)
    left = list(cache.entries())
    gated.let_go()
    assert await caller.result() == (given("newer") if write == "set" else Failure("down"))
    assert left == list(cache.entries())


@writes
async def test_a_later_call_never_joins_the_older_load(stage: Stage, write: str) -> None:
    """A call that comes after the write loads anew, or gets what was set; the older load is not waited for."""
    cache, older = await stage.open(), stage.gated(Success("older"))
    first = stage.asking("k", older)
    await older.started()
    WRITES[write](cache)
    expected = "newer" if write == "set" else "second"
    assert await stage.ask("k", giving(Success("second"))) == given(expected)
    older.let_go()
    assert await first.result() == given("older")
    assert cache.peek("k") == Some(CachedValue(expected))


@pytest.mark.parametrize("order", ["older first", "newer first"])
async def test_two_loads_of_one_key_do_not_touch_each_other(stage: Stage, order: str) -> None:
    """Whichever of the outrun load and its successor ends first: the successor's value and its flight stand."""
    cache = await stage.open()
    older, newer = stage.gated(Success("older")), stage.gated(Success("newer"))
    first = stage.asking("k", older)
    await older.started()
    cache.delete("k")
    second = stage.asking("k", newer)
    await newer.started()
    if order == "older first":
        older.let_go()
        assert await first.result() == given("older")
        assert cache.peek("k") == Nothing
        joiner = stage.asking("k", never)
        await stage.joined(1)
        newer.let_go()
        assert await joiner.result() == given("newer")
    else:
        newer.let_go()
        assert await second.result() == given("newer")
        older.let_go()
    assert [given("older"), given("newer")] == [await first.result(), await second.result()]
    assert cache.peek("k") == Some(CachedValue("newer"))


async def test_an_outrun_load_that_raises_leaves_its_successor_alone(stage: Stage) -> None:
    """A crash of the older load does not take the newer one out of the way."""
    cache = await stage.open()
    older, newer = stage.gated(ValueError("broken")), stage.gated(Success("newer"))
    first = stage.asking("k", older)
    await older.started()
    cache.delete("k")
    second = stage.asking("k", newer)
    await newer.started()
    older.let_go()
    assert type(await first.error()) is ValueError
    joiner = stage.asking("k", never)
    await stage.joined(1)
    newer.let_go()
    assert [given("newer")] * 2 == [await second.result(), await joiner.result()]


@writes
async def test_an_outrun_refresh(stage: Stage, write: str) -> None:
    """A refresh that a write outran resolves with its own value, and neither stores nor extends anything."""
    cache, gated = await stage.open("k", extend=50), stage.gated(Success("older"))
    behind = (await stage.revalidate("k", gated)).unwrap()
    await gated.started()
    WRITES[write](cache)
    left = list(cache.entries())
    gated.let_go()
    assert behind.cached == CachedValue("old", stale=True)
    assert await stage.ended(behind.refresh) == given("older")
    assert left == list(cache.entries())


async def test_the_entries_are_a_snapshot(stage: Stage) -> None:
    """What is written while the entries are looked at neither shows nor disturbs."""
    cache = await stage.open()
    for key in "abc":
        cache.set(key, key)
    shown = []
    for entry in cache.entries():
        cache.delete("b")
        cache.set(entry.key * 2, "new")
        shown.append(entry.key)
    assert shown == ["a", "b", "c"]
    assert sorted(entry.key for entry in cache.entries()) == ["a", "aa", "bb", "c", "cc"]


async def test_expire_leaves_a_value_to_fall_back_on(stage: Stage) -> None:
    """After ``expire`` the next call loads; if that fails and allows it, the old value is given, marked."""
    cache = await stage.open()
    cache.set("k", "old")
    cache.expire("k")
    assert is_successful(cache.ttl("k"))
    assert cache.ttl("k").unwrap().total_seconds() < 0
    assert await stage.ask("k", giving(failed("down", use_stale=True))) == given("old", stale=True, err="down")


async def test_expire_of_a_missing_key(stage: Stage) -> None:
    """``expire`` and ``delete`` of a key that is not there change nothing."""
    cache = await stage.open()
    cache.expire("k")
    cache.delete("k")
    assert len(cache) == 0
