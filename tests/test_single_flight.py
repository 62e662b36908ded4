"""One load per key: who runs the callback, who waits for it, and what each gets when it goes wrong."""

import threading
import traceback
from collections.abc import Callable

import pytest
from returns.result import Failure, Result, Success

from lastcache import CachedValue, LastCache, LoadFailure, ReentrantLoadError, failed
from lastcache.transitions import Answer, Outcome
from tests.kit import (
    PATIENCE,
    Gated,
    ManualClock,
    await_joiners,
    error_of,
    given,
    gives,
    in_thread,
    never,
    result_of,
    small_cache,
    until,
)

Cache = LastCache[str, str, str]
Lookup = Callable[[Cache, str, Callable[[str], Outcome[str, str]]], object]


def waiters(cache: Cache, key: str, callback: Callable[[str], Outcome[str, str]]) -> Callable[[], Answer[str, str]]:
    return lambda: cache.load_or_store(key, callback)


def test_two_hundred_threads_make_one_call() -> None:
    """Two hundred threads on one missing key run one callback, and all get its value."""
    cache, gated = small_cache(ManualClock()), Gated[str, str](Success("v"))
    barrier = threading.Barrier(200)

    def ask() -> Answer[str, str]:
        barrier.wait(PATIENCE)
        return cache.load_or_store("k", gated)

    answers = [in_thread(ask) for _ in range(200)]
    gated.await_start()
    await_joiners(199)
    gated.let_go()
    assert {result_of(answer) for answer in answers} == {given("v")}
    assert gated.calls == 1


def test_a_callback_that_raises_tells_everyone_and_stores_nothing() -> None:
    """Leader and joiners get the exception itself; the next call loads again."""
    cache, raised = small_cache(ManualClock()), ValueError("broken")
    gated = Gated[str, str](raised)
    leader = in_thread(waiters(cache, "k", gated))
    gated.await_start()
    joiners = [in_thread(waiters(cache, "k", never)) for _ in range(5)]
    await_joiners(5)
    gated.let_go()
    assert [raised] * 6 == [error_of(leader), *map(error_of, joiners)]
    assert len(cache) == 0
    assert cache.load_or_store("k", gives(Success("v"))) == given("v")


def test_a_callback_that_raises_leaves_an_expired_entry_alone() -> None:
    """What a callback raises is no failure of the source: the entry stays, unmarked, with no error."""
    clock = ManualClock()
    cache = small_cache(clock, extend=50)
    cache.set("k", "old")
    clock.advance(101)
    before = list(cache.entries())
    with pytest.raises(ZeroDivisionError):
        cache.load_or_store("k", lambda _key: Success(str(1 // 0)))
    assert before == list(cache.entries())
    assert cache.load_or_store("k", gives(failed("down"))) == given("old", stale=True, err="down")


def test_a_shared_exception_does_not_grow() -> None:
    """However many callers are told of one exception, each is told with the leader's traceback."""
    cache = small_cache(ManualClock())
    gated = Gated[str, str](ValueError("broken"))
    leader = in_thread(waiters(cache, "k", gated))
    gated.await_start()
    joiners = [in_thread(waiters(cache, "k", never)) for _ in range(50)]
    await_joiners(50)
    gated.let_go()
    errors = [error_of(told) for told in [leader, *joiners]]
    assert len(set(map(id, errors))) == 1
    assert all(len(traceback.extract_tb(err.__traceback__)) < 12 for err in errors if err)


@pytest.mark.parametrize("personal", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_strikes_the_leader_strikes_it_alone(personal: type[BaseException]) -> None:
    """An interrupt of the leader reaches the leader alone; one joiner takes over with its own callback."""
    cache = small_cache(ManualClock())
    struck, successor = Gated[str, str](personal()), Gated[str, str](Success("v"))
    leader = in_thread(waiters(cache, "k", struck))
    struck.await_start()
    joiners = [in_thread(waiters(cache, "k", successor)) for _ in range(5)]
    await_joiners(5)
    struck.let_go()
    successor.await_start()
    await_joiners(4)
    successor.let_go()
    assert type(error_of(leader)) is personal
    assert [given("v")] * 5 == [result_of(joiner) for joiner in joiners]
    assert successor.calls == 1


def test_a_failure_is_shared() -> None:
    """Twenty callers at once share one failed load; nobody waits for a row of failing ones."""
    cache, gated = small_cache(ManualClock()), Gated[str, str](failed("down"))
    callers = [in_thread(waiters(cache, "k", gated)) for _ in range(20)]
    gated.await_start()
    await_joiners(19)
    gated.let_go()
    assert {result_of(caller) for caller in callers} == {Failure("down")}
    assert gated.calls == 1


def test_a_slow_key_delays_no_other() -> None:
    """A load under way holds up neither another key's load nor a read or a write of any key."""
    cache, slow = small_cache(ManualClock()), Gated[str, str](Success("v"))
    leader = in_thread(waiters(cache, "slow", slow))
    slow.await_start()
    assert cache.load_or_store("other", gives(Success("w"))) == given("w")
    cache.set("third", "x")
    assert [entry.key for entry in cache.entries()] == ["other", "third"]
    slow.let_go()
    assert result_of(leader) == given("v")


def test_a_late_caller_makes_no_second_call() -> None:
    """Who comes when the value is stored gets it, also before the leader has returned."""
    cache = small_cache(ManualClock())
    gated = Gated[str, str](Success("v"))
    leader = in_thread(waiters(cache, "k", gated))
    gated.await_start()
    gated.let_go()
    until(lambda: "k" in cache)
    assert cache.load_or_store("k", never) == given("v")
    assert result_of(leader) == given("v")


@pytest.mark.parametrize("ask", [LastCache[str, str, str].load_or_store, LastCache[str, str, str].async_load_or_store])
def test_a_callback_that_asks_for_its_own_key(ask: Lookup) -> None:
    """A callback that asks for the key it loads gets ``ReentrantLoadError``; the key is free afterwards."""
    cache = small_cache(ManualClock())
    with pytest.raises(ReentrantLoadError):
        ask(cache, "k", lambda key: outcome_of(cache.load_or_store(key, never)))
    assert cache.load_or_store("k", gives(Success("v"))) == given("v")


def outcome_of(answer: Answer[str, str]) -> Outcome[str, str]:
    """Pass an answer on as an outcome."""
    return answer.map(lambda cached: cached.value).alt(lambda err: LoadFailure(err, use_stale=True))


@pytest.mark.parametrize("ring", [2, 3, 5])
def test_a_ring_of_threads_and_keys(ring: int) -> None:
    """Threads whose callbacks ask for each other's keys all end: the circle is an error, and nobody hangs."""
    cache, barrier = small_cache(ManualClock()), threading.Barrier(ring)

    def callback(number: int) -> Callable[[str], Outcome[str, str]]:
        def load(_key: str) -> Outcome[str, str]:
            barrier.wait(PATIENCE)
            return outcome_of(cache.load_or_store(f"k{(number + 1) % ring}", never))

        return load

    callers = [in_thread(waiters(cache, f"k{number}", callback(number))) for number in range(ring)]
    assert {type(error_of(caller)) for caller in callers} == {ReentrantLoadError}
    assert cache.load_or_store("k0", gives(Success("v"))) == given("v")


def test_a_circle_through_two_caches() -> None:
    """A circle that leads through another cache is found, too."""
    one, other = small_cache(ManualClock()), small_cache(ManualClock())

    def back(_key: str) -> Outcome[str, str]:
        return outcome_of(one.load_or_store("k", never))

    with pytest.raises(ReentrantLoadError):
        one.load_or_store("k", lambda key: outcome_of(other.load_or_store(key, back)))


def test_a_circle_through_the_background() -> None:
    """A background callback that waits for its own key gets the error, and ``refresh`` carries it."""
    clock = ManualClock()
    cache = small_cache(clock)
    cache.set("k", "old")
    clock.advance(101)
    answer = cache.async_load_or_store("k", lambda key: outcome_of(cache.load_or_store(key, never)))
    assert type(error_of(answer.unwrap().refresh)) is ReentrantLoadError
    assert cache.load_or_store("k", gives(Success("new"))) == given("new")


def test_a_background_load_is_no_part_of_the_circle_that_left_it() -> None:
    """A refresh that a callback left behind may ask for the key of that callback once it runs: nobody waits for it."""
    clock = ManualClock()
    cache = small_cache(clock)
    cache.set("inner", "old")
    clock.advance(101)
    refreshes: list[object] = []

    def outer(_key: str) -> Outcome[str, str]:
        behind = cache.async_load_or_store("inner", lambda _: outcome_of(cache.load_or_store("outer", never)))
        refreshes.append(behind.unwrap().refresh)
        return Success("v")

    assert cache.load_or_store("outer", outer) == given("v")
    until(lambda: cache.peek("inner").map(lambda cached: cached.value).value_or("") == "v")


def test_deep_nesting_works() -> None:
    """Callbacks that load other keys may nest fifty deep."""
    cache = small_cache(ManualClock())

    def load(key: str) -> Outcome[str, str]:
        depth = int(key)
        return Success("bottom") if depth == 0 else outcome_of(cache.load_or_store(str(depth - 1), load))

    assert cache.load_or_store("50", load) == given("bottom")
    assert len(cache) == 51


def test_two_callbacks_that_need_one_key_share_it() -> None:
    """Two loads that ask for a third key are no circle: one loads it, the other joins."""
    cache, shared = small_cache(ManualClock()), Gated[str, str](Success("v"))

    def load(_key: str) -> Outcome[str, str]:
        return outcome_of(cache.load_or_store("shared", shared))

    callers = [in_thread(waiters(cache, key, load)) for key in ("a", "b")]
    shared.await_start()
    await_joiners(1)
    shared.let_go()
    assert [given("v"), given("v")] == [result_of(caller) for caller in callers]
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
def test_a_callback_that_returns_something_else(returned: object, said: str) -> None:
    """What is no outcome is a ``TypeError`` that says what was expected and what came; nothing is stored."""
    cache: LastCache[str, object, object] = LastCache(clock=ManualClock())

    def wrong(_key: str) -> Result[object, LoadFailure[object]]:
        return returned  # type: ignore[return-value]  # pyright: ignore[reportReturnType]  # the mistake under test

    with pytest.raises(TypeError, match=r"must return Success\(value\) or Failure\(LoadFailure") as told:
        cache.load_or_store("k", wrong)
    assert said in str(told.value)
    assert len(cache) == 0


def test_a_coroutine_function_is_no_callback() -> None:
    """An asynchronous callback is refused at once, and its coroutine is closed rather than left unawaited."""
    cache: LastCache[str, str, str] = LastCache(clock=ManualClock())

    async def wrong(_key: str) -> Outcome[str, str]:
        return Success("v")

    with pytest.raises(TypeError, match="coroutine that nobody awaited"):
        cache.load_or_store("k", wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the mistake


def test_values_that_look_like_nothing() -> None:
    """None, falsy values and a ``Result`` are values like any other, and no miss."""
    values: list[object] = [None, 0, "", [], Success(1), Failure(LoadFailure("e", use_stale=True))]
    for value in values:
        cache: LastCache[str, object, str] = LastCache(clock=ManualClock())
        assert cache.load_or_store("k", gives(Success(value))) == Success(CachedValue(value))
        assert cache.load_or_store("k", never) == Success(CachedValue(value))
