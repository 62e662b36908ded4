"""A store that does not answer, or not as it should: calls are answered as with no second level."""

from typing import Any, Final

import pytest
from returns.result import Failure, Success

from lastcache.events import StoreAway, StoreBack
from lastcache.second.protocol import Absent, Busy, Trouble
from tests.kit import given
from tests.second.scenes import NOBODY, Shared, move, process
from tests.shells import Stage, giving, never

RUBBISH: Final[list[Any]] = [
    None,
    7,
    Success(None),
    Success([]),
    Success([None]),
    Success([Absent(None), Absent(None)]),
    Success([Absent(Busy(1, None))]),  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # under test
    Failure("no StoreFailure"),
    NOBODY,
]


def raising(err: BaseException) -> Any:
    """Make what raises ``err``."""

    def strike() -> None:
        raise err

    return strike


@pytest.mark.parametrize("answer", RUBBISH, ids=repr)
async def test_a_store_that_answers_rubbish(stage: Stage, store: Shared, answer: Any) -> None:
    """Whatever a store answers, every call is answered, nothing is raised, and it is told once."""
    one = await process(stage, store)
    one.store.instead |= dict.fromkeys(("ask", "tell", "clear", "probe"), lambda: answer or Success(answer))
    for count in range(3):
        assert await one.ask(f"k{count}", giving(Success(count))) == given(count)
        one.cache.set("set", count)
        assert await one.ask("set", never) == given(count)
        one.cache.delete("set")
        one.cache.clear()
    await stage.until(lambda: len(one.of(StoreAway)) == 1)


@pytest.mark.parametrize("err", [ValueError("a bug"), MemoryError(), RecursionError()], ids=repr)
async def test_a_store_that_raises(stage: Stage, store: Shared, err: Exception) -> None:
    """What a store raises reaches no caller: it is away, and told once, as broken."""
    one = await process(stage, store)
    one.store.before = dict.fromkeys(("ask", "tell", "clear", "probe"), raising(err))
    for count in range(3):
        assert await one.ask(f"k{count}", giving(Success(count))) == given(count)
        one.cache.set("set", count)
    await stage.until(lambda: len(one.of(StoreAway)) == 1)
    assert [event.failure.trouble for event in one.of(StoreAway)] == [Trouble.BROKEN]


@pytest.mark.parametrize("stage", ["asyncio"], indirect=True)
async def test_a_store_that_exits(stage: Stage, store: Shared) -> None:
    """What is no ``Exception`` and comes out of a store in a thread of its own keeps no task waiting."""
    one = await process(stage, store)
    one.store.before = {"ask": raising(SystemExit())}
    assert await one.ask("k", giving(Success("v"))) == given("v")


async def test_a_store_that_is_away_at_the_start(stage: Stage, store: Shared) -> None:
    """A process that finds no store at its start does without, and joins it when it comes."""
    one, other = await process(stage, store), await process(stage, store)
    one.store.fail()
    assert await one.ask("early", giving(Success("v"))) == given("v")
    one.store.heal()
    move(stage, store, 0.5)
    await stage.until(lambda: len(one.of(StoreBack)) == 1)
    assert await one.ask("k", giving(Success("v"))) == given("v")
    assert await other.ask("k", never) == given("v")


async def test_a_hit_asks_nobody(stage: Stage, store: Shared) -> None:
    """A hit, and every lookup of the table, does no I/O."""
    one = await process(stage, store)
    await one.ask("k", giving(Success("v")))
    counts = one.store.counts
    assert await one.ask("k", never) == given("v")
    move(stage, store, 5)
    _ = one.cache.peek("k"), one.cache.ttl("k"), "k" in one.cache, len(one.cache), list(one.cache.entries())
    _ = one.cache.if_cached("k"), one.cache.explain("k"), one.cache.stats()
    assert one.store.counts == counts
