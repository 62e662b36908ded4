"""One load per key: who runs the callback, who waits for it, and what each gets when it goes wrong.

Every scenario is performed on each shell.
"""

import traceback
from collections.abc import Callable
from typing import Any

import pytest
from returns.result import Failure, Success

from lastcache import CachedValue, LoadFailure, ReentrantLoadError, failed
from lastcache.core.states import Answer, Outcome
from tests.kit import given
from tests.shells import Load, Stage, giving, never


async def test_many_callers_make_one_call(stage: Stage) -> None:
    """Two hundred callers of one missing key run one callback, and all get its value."""
    await stage.open()
    gated, barrier = stage.gated(Success("v")), stage.barrier(200)

    async def ask() -> Answer[Any, str]:
        await barrier()
        return await stage.ask("k", gated)

    callers = [stage.start(ask) for _ in range(200)]
    await gated.started()
    await stage.joined(199)
    gated.let_go()
    assert {await caller.result() for caller in callers} == {given("v")}
    assert gated.calls == 1


async def test_a_callback_that_raises_tells_everyone_and_stores_nothing(stage: Stage) -> None:
    """Leader and joiners get the exception itself; the next call loads again."""
    cache, raised = await stage.open(), ValueError("broken")
    gated = stage.gated(raised)
    leader = stage.asking("k", gated)
    await gated.started()
    joiners = [stage.asking("k", never) for _ in range(5)]
    await stage.joined(5)
    gated.let_go()
    assert [raised] * 6 == [await caller.error() for caller in (leader, *joiners)]
    assert len(cache) == 0
    assert await stage.ask("k", giving(Success("v"))) == given("v")


async def test_a_callback_that_raises_leaves_an_expired_entry_alone(stage: Stage) -> None:
    """What a callback raises is no failure of the source: the entry stays, unmarked, with no error."""
    cache = await stage.open("k", extend=50)
    before = list(cache.entries())

    async def broken(_key: str) -> Outcome[str, str]:
        return Success(str(1 // 0))

    with pytest.raises(ZeroDivisionError):
        await stage.ask("k", broken)
    assert before == list(cache.entries())
    assert await stage.ask("k", giving(failed("down", use_stale=True))) == given("old", stale=True, err="down")


async def test_a_shared_exception_does_not_grow(stage: Stage) -> None:
    """However many callers are told of one exception, each is told with the leader's traceback."""
    await stage.open()
    gated = stage.gated(ValueError("broken"))
    leader = stage.asking("k", gated)
    await gated.started()
    joiners = [stage.asking("k", never) for _ in range(50)]
    await stage.joined(50)
    gated.let_go()
    errors = [await told.error() for told in (leader, *joiners)]
    assert len(set(map(id, errors))) == 1
    assert all(len(traceback.extract_tb(err.__traceback__)) < 20 for err in errors if err)


@pytest.mark.parametrize("personal", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_what_strikes_the_leader_strikes_it_alone(stage: Stage, personal: type[BaseException]) -> None:
    """An interrupt of the leader reaches the leader alone; one joiner takes over with its own callback."""
    await stage.open()
    struck, successor = stage.gated(personal()), stage.gated(Success("v"))
    leader = stage.asking("k", struck)
    await struck.started()
    joiners = [stage.asking("k", successor) for _ in range(5)]
    await stage.joined(5)
    struck.let_go()
    await successor.started()
    await stage.joined(9)
    successor.let_go()
    assert type(await leader.error()) is personal
    assert [given("v")] * 5 == [await joiner.result() for joiner in joiners]
    assert successor.calls == 1


async def test_a_failure_is_shared(stage: Stage) -> None:
    """Twenty callers at once share one failed load; nobody waits for a row of failing ones."""
    await stage.open()
    gated = stage.gated(failed("down", use_stale=True))
    callers = [stage.asking("k", gated) for _ in range(20)]
    await gated.started()
    await stage.joined(19)
    gated.let_go()
    assert {await caller.result() for caller in callers} == {Failure("down")}
    assert gated.calls == 1


async def test_a_slow_key_delays_no_other(stage: Stage) -> None:
    """A load under way holds up neither another key's load nor a read or a write of any key."""
    cache, slow = await stage.open(), stage.gated(Success("v"))
    leader = stage.asking("slow", slow)
    await slow.started()
    assert await stage.ask("other", giving(Success("w"))) == given("w")
    cache.set("third", "x")
    assert [entry.key for entry in cache.entries()] == ["other", "third"]
    slow.let_go()
    assert await leader.result() == given("v")


async def test_a_late_caller_makes_no_second_call(stage: Stage) -> None:
    """Who comes when the value is stored gets it, also before the leader has returned."""
    cache, gated = await stage.open(), stage.gated(Success("v"))
    leader = stage.asking("k", gated)
    await gated.started()
    gated.let_go()
    await stage.until(lambda: "k" in cache)
    assert await stage.ask("k", never) == given("v")
    assert await leader.result() == given("v")


@pytest.mark.parametrize("strategy", ["stale-if-error", "stale-while-revalidate"])
async def test_a_callback_that_asks_for_its_own_key(stage: Stage, strategy: str) -> None:
    """A callback that asks for the key it loads gets ``ReentrantLoadError``; the key is free afterwards."""
    await stage.open()
    ask = stage.ask if strategy == "stale-if-error" else stage.revalidate
    with pytest.raises(ReentrantLoadError):
        await ask("k", passing_on(stage, "k"))
    assert await stage.ask("k", giving(Success("v"))) == given("v")


def passing_on(stage: Stage, key: str, load: Load = never) -> Load:
    """Make a callback that asks the cache for another key, and passes the answer on."""
    cache = stage.cache

    async def passed_on(_key: str) -> Outcome[Any, str]:
        answer = await stage.ask(key, load, cache)
        return answer.map(lambda cached: cached.value).alt(lambda err: LoadFailure(err, use_stale=True))

    return passed_on


@pytest.mark.parametrize("ring", [2, 3, 5])
async def test_a_ring_of_callers_and_keys(stage: Stage, ring: int) -> None:
    """Callers whose callbacks ask for each other's keys all end: the circle is an error, and nobody hangs."""
    await stage.open()
    barrier = stage.barrier(ring)

    def callback(number: int) -> Load:
        async def load(key: str) -> Outcome[Any, str]:
            await barrier()
            return await passing_on(stage, f"k{(number + 1) % ring}")(key)

        return load

    callers = [stage.asking(f"k{number}", callback(number)) for number in range(ring)]
    assert {type(await caller.error()) for caller in callers} == {ReentrantLoadError}
    assert await stage.ask("k0", giving(Success("v"))) == given("v")


async def test_a_circle_through_two_caches(stage: Stage) -> None:
    """A circle that leads through another cache is found, too."""
    one = await stage.open()
    back = passing_on(stage, "k")
    await stage.open()
    with pytest.raises(ReentrantLoadError):
        await stage.ask("k", passing_on(stage, "k", back), one)


async def test_a_circle_through_the_background(stage: Stage) -> None:
    """A background callback that waits for its own key gets the error, and ``refresh`` carries it."""
    await stage.open("k")
    refresh = await stage.behind("k", passing_on(stage, "k"))
    assert type(await stage.failed(refresh)) is ReentrantLoadError
    assert await stage.ask("k", giving(Success("new"))) == given("new")


async def test_a_background_load_is_no_part_of_the_circle_that_left_it(stage: Stage) -> None:
    """A refresh that a callback left behind may ask for the key of that callback once it runs: nobody waits for it."""
    cache = await stage.open("inner")

    async def outer(_key: str) -> Outcome[str, str]:
        await stage.behind("inner", passing_on(stage, "outer"))
        return Success("v")

    assert await stage.ask("outer", outer) == given("v")
    await stage.until(lambda: cache.peek("inner").map(lambda cached: cached.value).value_or("") == "v")


async def test_deep_nesting_works(stage: Stage) -> None:
    """Callbacks that load other keys may nest thirty deep."""
    cache = await stage.open()

    async def load(key: str) -> Outcome[Any, str]:
        return Success("bottom") if key == "0" else await passing_on(stage, str(int(key) - 1), load)(key)

    assert await stage.ask("30", load) == given("bottom")
    assert len(cache) == 31


async def test_two_callbacks_that_need_one_key_share_it(stage: Stage) -> None:
    """Two loads that ask for a third key are no circle: one loads it, the other joins."""
    await stage.open()
    shared = stage.gated(Success("v"))
    callers = [stage.asking(key, passing_on(stage, "shared", shared)) for key in ("a", "b")]
    await shared.started()
    await stage.joined(1)
    shared.let_go()
    assert [given("v"), given("v")] == [await caller.result() for caller in callers]
    assert shared.calls == 1


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ("v", "it returned 'v' of type str"),
        (None, "it returned None of type NoneType"),
        (Failure("e"), "a Failure of 'e' of type str, which is no LoadFailure"),
        ((True, "v"), "it returned (True, 'v') of type tuple"),
    ],
)
async def test_a_callback_that_returns_something_else(stage: Stage, returned: Any, said: str) -> None:
    """What is no outcome is a ``TypeError`` that says what was expected and what came; nothing is stored."""
    cache = await stage.open()
    with pytest.raises(TypeError, match=r"must return Success\(value\) or Failure\(LoadFailure") as told:
        await stage.ask("k", giving(returned))
    assert said in str(told.value)
    assert len(cache) == 0


async def test_values_that_look_like_nothing(stage: Stage) -> None:
    """None, falsy values and a ``Result`` are values like any other, and no miss."""
    values: list[Any] = [None, 0, "", [], Success(1), Failure(LoadFailure("e", use_stale=True))]
    for value in values:
        await stage.open()
        assert await stage.ask("k", giving(Success(value))) == Success(CachedValue(value))
        assert await stage.ask("k", never) == Success(CachedValue(value))


async def test_an_unhashable_key(stage: Stage) -> None:
    """A key without a hash is a ``TypeError`` before anything changed."""
    cache, key = await stage.open(), list[str]()
    calls: list[Callable[[Any, Load], Any]] = [stage.ask, stage.revalidate]
    for call in calls:
        with pytest.raises(TypeError, match="unhashable"):
            await call(key, never)
    assert len(cache) == 0
