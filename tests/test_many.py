"""Many keys in one call: what is asked for, what is joined, and how each key lands, on each shell."""

from collections.abc import Mapping
from typing import Any

import pytest
from returns.result import Failure, Success

from lastcache import CachedValue, ReentrantLoadError, failed
from lastcache.core.states import Outcome
from tests.kit import given, ticks
from tests.shells import LoadMany, Stage, drive, giving, never, never_many


class Asked:
    """A callback of many keys that notes which it was given, and gives each its own name or what it is told."""

    def __init__(self, **outcomes: Outcome[Any, str]) -> None:
        self.outcomes = outcomes
        self.given: list[tuple[str, ...]] = []

    async def __call__(self, keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        self.given.append(keys)
        return {key: self.outcomes.get(key, Success(key.upper())) for key in keys}


async def test_only_what_needs_a_load_is_asked_for(stage: Stage) -> None:
    """The callback is given the missing and the expired keys, once each; the answer has all, in the caller's order."""
    cache, asked = await stage.open("expired"), Asked()
    cache.set("fresh", "v")
    answer = await stage.ask_many(["a", "fresh", "expired", "a", "b"], asked)
    assert asked.given == [("a", "expired", "b")]
    assert list(answer.items()) == [
        ("a", given("A")),
        ("fresh", given("v")),
        ("expired", given("EXPIRED")),
        ("b", given("B")),
    ]
    assert await stage.ask_many(iter(answer), never_many) == answer


async def test_no_keys_are_no_load(stage: Stage) -> None:
    """A call for no key gives nothing, and asks nobody."""
    await stage.open()
    assert await stage.ask_many([], never_many) == {}


async def test_each_key_lands_by_its_own_outcome(stage: Stage) -> None:
    """A batch settles each key as a load of its own would."""
    cache = await stage.open("covered", "refused", extend=50)
    asked = Asked(
        covered=failed("down", use_stale=True),
        refused=failed("gone", use_stale=False),
        missing=failed("down", use_stale=True),
    )
    assert await stage.ask_many(["ok", "covered", "refused", "missing"], asked) == {
        "ok": given("OK"),
        "covered": given("old", stale=True, err="down"),
        "refused": Failure("gone"),
        "missing": Failure("down"),
    }
    assert {entry.key: entry.cached for entry in cache.entries()} == {
        "ok": CachedValue("OK"),
        "covered": CachedValue("old", stale=True, err="down"),
        "refused": CachedValue("old", stale=True, err="gone"),
    }
    assert cache.ttl("covered").unwrap() == ticks(50)


async def test_what_is_in_flight_is_joined(stage: Stage) -> None:
    """A key that another call loads is not asked for; and other calls join what a batch loads."""
    cache, asked = await stage.open(), Asked()
    single, gate = stage.gated(Success("single")), stage.gated(Success("gate"))

    async def slow(keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        await gate("")
        return await asked(keys)

    other = stage.asking("joined", single)
    await single.started()
    many = stage.start(lambda: stage.ask_many(["a", "joined", "b"], slow))
    await gate.started()
    joiner = stage.asking("b", never)
    await stage.joined(1)
    gate.let_go()
    assert await joiner.result() == given("B")
    assert (asked.given, "a" in cache) == ([("a", "b")], True)
    single.let_go()
    assert await many.result() == {"a": given("A"), "joined": given("single"), "b": given("B")}
    assert await other.result() == given("single")


async def test_batches_that_overlap_do_not_wait_for_each_other(stage: Stage) -> None:
    """Of two batches each leads what the other joins; both end."""
    await stage.open()
    both = stage.barrier(2)

    def load(own: str) -> LoadMany:
        async def loaded(keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
            await both()
            return {key: Success(own) for key in keys}

        return loaded

    first_gate = stage.gated(Success(""))

    async def first_load(keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        await first_gate("")
        return await load("first")(keys)

    first = stage.start(lambda: stage.ask_many(["a", "b"], first_load))
    await first_gate.started()
    second = stage.start(lambda: stage.ask_many(["b", "c", "a"], load("second")))
    first_gate.let_go()
    assert await first.result() == {"a": given("first"), "b": given("first")}
    assert await second.result() == {"b": given("first"), "c": given("second"), "a": given("first")}


async def test_a_batch_that_raises_tells_everyone(stage: Stage) -> None:
    """If the callback raises, its caller and those who joined any key get the exception; the keys load again."""
    cache, raised = await stage.open("old"), ValueError("broken")
    gate = stage.gated(raised)

    async def broken(_keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        await gate("")
        raise AssertionError

    many = stage.start(lambda: stage.ask_many(["a", "old"], broken))
    await gate.started()
    joiners = [stage.asking(key, never) for key in ("a", "old")]
    await stage.joined(2)
    gate.let_go()
    assert [raised] * 3 == [await many.error(), *[await joiner.error() for joiner in joiners]]
    assert [entry.cached for entry in cache.entries()] == [CachedValue("old", stale=True)]
    assert (await stage.ask_many(["a", "old"], Asked()))["old"] == given("OLD")


@pytest.mark.parametrize("struck", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_who_is_struck_leaves_each_key_to_others(stage: Stage, struck: type[BaseException]) -> None:
    """An interrupt reaches the batch's caller alone; each key's joiner takes it over."""
    await stage.open()
    gate = stage.gated(struck())

    async def interrupted(_keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        await gate("")
        raise AssertionError

    many = stage.start(lambda: stage.ask_many(["a", "b"], interrupted))
    await gate.started()
    joiners = [stage.asking(key, giving(Success("own"))) for key in ("a", "b")]
    batch = stage.start(lambda: stage.ask_many(["b", "a"], Asked()))
    await stage.joined(3)
    gate.let_go()
    assert type(await many.error()) is struck
    assert {(await joiner.result()).unwrap().value for joiner in joiners} <= {"own", "A", "B"}
    assert set(await batch.result()) == {"a", "b"}


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({"a": Success("A")}, "none came for 'b'"),
        ({"a": Success("A"), "b": Success("B"), "c": Success("C")}, "'c' is none"),
        ({"a": Success("A"), "b": "B"}, "it returned 'B' of type str"),
    ],
)
async def test_a_mapping_that_is_not_as_it_should_be(stage: Stage, returned: Any, said: str) -> None:
    """A missing, surplus or wrong outcome is a ``TypeError`` that names it, after the right ones were stored."""
    cache = await stage.open()

    async def wrong(_keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        mapping: Mapping[str, Outcome[Any, str]] = returned
        return mapping

    with pytest.raises(TypeError, match=said):
        await stage.ask_many(["a", "b"], wrong)
    assert cache.peek("a").unwrap() == CachedValue("A")
    assert await stage.ask("b", giving(Success("B"))) == given("B")


@pytest.mark.parametrize("returned", [None, [("a", Success("A"))], Success("A")], ids=repr)
async def test_a_callback_that_returns_no_mapping(stage: Stage, returned: Any) -> None:
    """What is no mapping is a ``TypeError`` that says what came; nothing is stored."""
    cache = await stage.open()

    async def wrong(_keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        mapping: Mapping[str, Outcome[Any, str]] = returned
        return mapping

    with pytest.raises(TypeError, match="must return a mapping from key to outcome"):
        await stage.ask_many(["a"], wrong)
    assert len(cache) == 0


async def test_a_circle_through_a_batch(stage: Stage) -> None:
    """A callback of many keys that asks for one of them gets ``ReentrantLoadError``; so does one that asks for it."""
    await stage.open()
    cache = stage.cache

    async def again(keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        await stage.ask(keys[-1], never, cache)
        raise AssertionError

    async def outer(_key: str) -> Outcome[Any, str]:
        await stage.ask_many(["inner", "outer"], never_many_of(stage))
        raise AssertionError

    with pytest.raises(ReentrantLoadError):
        await stage.ask_many(["a", "b"], again)
    with pytest.raises(ReentrantLoadError):
        await stage.ask("outer", outer)
    assert await stage.ask("b", giving(Success("B"))) == given("B")


def never_many_of(stage: Stage) -> LoadMany:
    """A batch whose callback loads what it is given: the circle is closed by what it joins."""

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        return {key: Success(stage.clock.now) for key in keys}

    return load


async def test_a_write_outruns_the_keys_of_a_batch(stage: Stage) -> None:
    """A key that was written during the batch keeps what was written; the batch's caller gets what it loaded."""
    cache, gate = await stage.open(), stage.gated(Success(""))

    async def slow(keys: tuple[str, ...]) -> Mapping[str, Outcome[Any, str]]:
        await gate("")
        return {key: Success("loaded") for key in keys}

    many = stage.start(lambda: stage.ask_many(["a", "b"], slow))
    await gate.started()
    cache.set("a", "set")
    gate.let_go()
    assert await many.result() == {"a": given("loaded"), "b": given("loaded")}
    assert [entry.cached.value for entry in cache.entries()] == ["set", "loaded"]


async def test_a_batch_takes_queued_loads_over(stage: Stage) -> None:
    """A key whose load is queued in the background is loaded by the batch, and its ``refresh`` is told."""
    await stage.open("stuck", "k")
    stuck, asked = stage.gated(Success("late")), Asked()
    hung = await stage.behind("stuck", stuck)
    await stuck.started()
    refresh = await stage.behind("k", never)
    assert await stage.ask_many(["k"], asked) == {"k": given("K")}
    assert await stage.ended(refresh) == given("K")
    stuck.let_go()
    assert await stage.ended(hung) == given("late")


async def test_an_early_load_is_of_one_key(stage: Stage) -> None:
    """A batch that meets a value whose early load is due gives the value, and has that key alone loaded behind it."""
    cache = await stage.open(refresh_after=ticks(50))
    cache.set("k", "old")
    stage.clock.advance(ticks(51))
    asked = Asked()
    assert await stage.ask_many(["k", "other"], asked) == {"k": given("old"), "other": given("OTHER")}
    await stage.until(lambda: cache.peek("k").unwrap() == CachedValue("K"))
    assert sorted(asked.given) == [("k",), ("other",)]


async def test_a_batch_from_inside_a_change(stage: Stage) -> None:
    """Where a comparison of keys asks, inside a change of the cache, a batch is loaded uncached, and nothing hangs."""
    cache, answers = await stage.open(), list[object]()
    cache.set("fresh", "v")

    class Nosy:
        def __hash__(self) -> int:
            return hash("nosy")

        def __eq__(self, _other: object) -> bool:
            if not answers:
                answers.append({})
                answers.append(drive(stage.ask_many(["fresh", "a"], Asked())))
            return True

    first, second = Nosy(), Nosy()
    cache.set(first, "v")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.set(second, "w")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert answers[1] == {"fresh": given("v"), "a": given("A")}
    assert "a" not in cache


async def test_an_unhashable_key_of_a_batch(stage: Stage) -> None:
    """A key without a hash is a ``TypeError`` before anything changed."""
    cache, keys = await stage.open(), [["a"]]
    wrong: Any = keys
    with pytest.raises(TypeError, match="unhashable"):
        await stage.ask_many(wrong, never_many)
    assert len(cache) == 0
