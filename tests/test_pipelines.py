"""Composition: laws of ``CachedValue``, and what decorators and curried forms do with a cache."""

import gc
import inspect
import weakref
from collections.abc import Awaitable
from typing import Any, TypeAlias

import anyio
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from returns.context import RequiresContextFutureResult, RequiresContextResult
from returns.future import FutureResult, future_safe
from returns.io import IOFailure, IOSuccess
from returns.result import Failure, Result, Success, safe

from lastcache import CachedValue, ConfigError, LastCache, LoadFailure, failed
from lastcache.core.states import Answer, Outcome
from lastcache.pipelines import (
    cached,
    collected,
    context_cached,
    context_cached_in,
    error_of,
    fresh_only,
    future_cached,
    future_context_cached,
    future_context_cached_in,
    future_revalidating,
    future_stale_if,
    future_stale_on,
    or_stale_warning,
    revalidating,
    stale_if,
    stale_on,
    together,
    value_of,
    zipped,
)
from lastcache.tasks import AsyncLastCache
from tests.kit import given, gives, never, result_of

Cached = CachedValue[int, str]

fresh_values = st.builds(Cached, st.integers(0, 9))
stale_values = st.builds(Cached, st.integers(0, 9), st.just(value=True), st.none() | st.sampled_from(["down", ""]))
cached_values = fresh_values | stale_values
answers: st.SearchStrategy[Answer[int, str]] = cached_values.map(Success) | st.sampled_from(["a", ""]).map(Failure)


@drawn(cached_values)
def test_mapping_the_identity_changes_nothing(cached: Cached) -> None:
    """``map`` with the identity gives an equal record."""
    assert cached.map(lambda value: value) == cached


@drawn(cached_values)
def test_mapping_twice_is_mapping_the_composition(cached: Cached) -> None:
    """``map(f).map(g)`` is ``map`` of g after f."""
    assert cached.map(str).map(len) == cached.map(lambda value: len(str(value)))


@drawn(cached_values, cached_values)
def test_a_pair_is_stale_if_one_is(one: Cached, other: Cached) -> None:
    """A pair is fresh only if both are, and keeps the first error that there is."""
    errors = [part.err for part in (one, other) if part.err is not None]
    stale = one.stale or other.stale
    assert one.zip(other) == CachedValue((one.value, other.value), stale, errors[0] if errors else None)


@drawn(cached_values, cached_values, cached_values)
def test_pairing_is_associative(one: Cached, two: Cached, three: Cached) -> None:
    """It does not matter which two of three are paired first, nor whether they are mapped before or after."""
    left = one.zip(two).zip(three).map(lambda nested: (*nested[0], nested[1]))
    right = one.zip(two.zip(three)).map(lambda nested: (nested[0], *nested[1]))
    assert left == right == together([one, two, three])
    assert one.map(str).zip(two) == one.zip(two).map(lambda pair: (str(pair[0]), pair[1]))


@drawn(cached_values)
def test_a_fresh_part_adds_nothing_but_itself(cached: Cached) -> None:
    """A fresh value is the unit of pairing."""
    assert CachedValue(None).zip(cached).map(lambda pair: pair[1]) == cached
    assert cached.zip(CachedValue(None)).map(lambda pair: pair[0]) == cached


@drawn(cached_values)
def test_functions_over_values(cached: Cached) -> None:
    """Each value is given as it is, told of where it is stale, or made a failure where it is."""
    told: list[Cached] = []
    assert (value_of(cached), or_stale_warning(told.append)(cached)) == (cached.value, cached.value)
    assert told == [cached] * cached.stale
    assert error_of(cached).value_or(None) == cached.err
    only: Result[int, Cached] = fresh_only(lambda stale: stale)(cached)
    assert only == (Failure(cached) if cached.stale else Success(cached.value))


@drawn(st.lists(answers, max_size=4))
def test_answers_joined_as_values_are(parts: list[Answer[int, str]]) -> None:
    """The first failure is the whole; without one the values come together."""
    failures = [part for part in parts if isinstance(part, Failure)]
    whole = failures[0] if failures else Success(together(part.unwrap() for part in parts))
    assert collected(parts) == whole
    if len(parts) == 2:
        assert zipped(parts[0], parts[1]) == whole


def is_down(err: str) -> bool:
    return err == "down"


def test_lifting_by_a_predicate() -> None:
    """``stale_if`` marks each failure as the predicate says, and leaves successes alone."""
    lift = stale_if(is_down)
    assert lift(gives_plainly(Failure("down")))("k") == failed("down", use_stale=True)
    assert lift(gives_plainly(Failure("gone")))("k") == failed("gone", use_stale=False)
    assert lift(gives_plainly(Success(1)))("k") == Success(1)


def gives_plainly(result: Result[int, str]) -> Any:
    def load(key: str, *, option: int = 0) -> Result[int, str]:
        """Give the result."""
        return result

    return load


def test_lifting_by_types() -> None:
    """``stale_on`` covers what is an instance of its types."""

    @safe
    def read(key: str) -> int:
        raise TimeoutError(key)

    lifts = (stale_on(TimeoutError), stale_on(KeyError, OSError), stale_on(KeyError))
    assert [lift(read)("k").failure().use_stale for lift in lifts] == [True, True, False]


@pytest.mark.parametrize("wrong", ["OSError", OSError("an error"), (OSError, KeyError), None])
def test_what_is_no_class_is_refused(wrong: Any) -> None:
    """``stale_on`` says at once what it cannot take."""
    for lift in (stale_on, future_stale_on):
        with pytest.raises(ConfigError, match=r"error_types=.*must be classes"):
            lift(KeyError, wrong)


def test_decorators_keep_name_and_signature() -> None:
    """What is decorated says in its name, docstring and parameters what it was made of."""
    cache = LastCache[str, int, str]()
    made = cached(cache, key=lambda key, option=0: key)(stale_if(is_down)(gives_plainly(Success(1))))
    assert (made.__name__, made.__doc__) == ("load", "Give the result.")
    assert list(inspect.signature(made).parameters) == ["key", "option"]


def test_a_decorated_callback_answers_from_the_cache() -> None:
    """The callback runs for what is missing and expired, with stale-if-error, and for nothing else."""
    cache = LastCache[str, int, str]()
    outcomes: list[Outcome[int, str]] = [Success(1), failed("down", use_stale=True), Success(2)]
    ask = cached(cache)(lambda key: outcomes.pop(0))
    assert [ask("k"), ask("k")] == [given(1)] * 2
    cache.expire("k")
    assert [ask("k"), ask("k")] == [given(1, stale=True, err="down"), given(2)]


def test_a_revalidating_callback_loads_behind() -> None:
    """An expired value comes at once, and the load behind it ends in ``refresh``."""
    cache = LastCache[str, str, str]()
    cache.set("k", "old")
    cache.expire("k")
    behind = revalidating(cache)(gives(Success("new")))("k").unwrap()
    assert (behind.cached, result_of(behind.refresh)) == (CachedValue("old", stale=True), given("new"))
    by_key = revalidating(cache, key=lambda key, times: key)(lambda key, times: Success(key * times))
    assert by_key("a", times=3).unwrap().cached == CachedValue("aaa")


def test_the_key_alone_tells_calls_apart() -> None:
    """Calls with equal keys share an entry, however their other arguments differ."""
    cache = LastCache[str, str, str]()
    asked = cached(cache, key=lambda loud, key: key)(lambda loud, key: Success(f"{loud} {key}"))
    assert [asked(True, "k"), asked(False, key="k"), asked(False, "l")] == [  # noqa: FBT003  # callbacks take anything
        given("True k"),
        given("True k"),
        given("False l"),
    ]


class Source:
    """What has methods that answer from a cache of all instances."""

    cache = LastCache[str, str, str]()

    def key_of(self, key: str, *, loud: bool = False) -> str:
        return key.upper() if loud else key

    @cached(cache, key=key_of)
    def ask(self, key: str, *, loud: bool = False) -> Outcome[str, str]:
        return Success(self.key_of(key, loud=loud))


def test_a_method_does_not_keep_its_instance() -> None:
    """A method answers from the cache, and the cache keeps no instance alive."""
    source = Source()
    assert [source.ask("k"), Source().ask("k"), source.ask("k", loud=True)] == [given("k"), given("k"), given("K")]
    gone = weakref.ref(source)
    del source
    gc.collect()
    assert gone() is None


def test_a_context_reaches_the_callback() -> None:
    """The answer is lazy: nothing is asked for before the context comes, and the callback is given that context."""
    cache = LastCache[str, str, str]()
    contexts: list[str] = []

    def load(key: str) -> RequiresContextResult[str, LoadFailure[str], str]:
        def run(root: str) -> Outcome[str, str]:
            contexts.append(root)
            return Success(root + key)

        return RequiresContextResult(run)

    lazy = context_cached(cache)(load)("etc").map(value_of).map(str.upper)
    assert (contexts, len(cache)) == ([], 0)
    assert [lazy("/"), lazy("C:")] == [Success("/ETC")] * 2
    assert contexts == ["/"]


Deps: TypeAlias = tuple[LastCache[str, str, str], str]


def test_the_cache_may_come_with_the_context() -> None:
    """Each context brings the cache that answers."""
    one, other = LastCache[str, str, str](), LastCache[str, str, str]()

    def load(key: str) -> RequiresContextResult[str, LoadFailure[str], Deps]:
        return RequiresContextResult(lambda deps: Success(deps[1] + key))

    def cache_of(deps: Deps) -> LastCache[str, str, str]:
        return deps[0]

    ask = context_cached_in(cache_of)(load)
    assert [ask("k")((one, "1")), ask("k")((other, "2")), ask("k")((one, "3"))] == [
        given("1k"),
        given("2k"),
        given("1k"),
    ]


def run(awaitable: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await awaitable

    return anyio.run(main)


def test_future_callbacks() -> None:
    """``future_stale_on`` and ``future_stale_if`` lift what ``future_safe`` makes, and ``future_cached`` asks it."""
    outages = [ConnectionError("down"), KeyError("gone")]

    @future_safe
    async def fetch(key: str) -> str:
        raise outages.pop(0)

    cache = AsyncLastCache[str, str, Exception]()
    cache.set("k", "old")
    cache.expire("k")
    ask = future_cached(cache)(future_stale_on(ConnectionError)(fetch))
    covered = run(ask("k").map(lambda cached: (cached.value, cached.stale, str(cached.err))))
    assert covered == IOSuccess(("old", True, "down"))
    assert run(ask("k").alt(repr)) == IOFailure("KeyError('gone')")
    assert ask.__name__ == "fetch"


def test_future_callbacks_by_a_predicate() -> None:
    """The predicate decides each failure, also of a function of several arguments."""

    @future_stale_if(is_down)
    def load(key: str, err: str) -> FutureResult[int, str]:
        return FutureResult.from_failure(err)

    assert [run(load("k", err)) for err in ("down", "gone")] == [
        IOFailure(LoadFailure("down", use_stale=True)),
        IOFailure(LoadFailure("gone", use_stale=False)),
    ]
    cache = AsyncLastCache[str, int, str]()
    cache.set("k", 1)
    cache.expire("k")
    ask = future_cached(cache, key=lambda key, err: key)(load)
    assert [run(ask("k", err="down")), run(ask("k", "gone"))] == [
        IOSuccess(CachedValue(1, stale=True, err="down")),
        IOFailure("gone"),
    ]


def test_a_future_that_revalidates() -> None:
    """The stale value comes at once, and ``refresh`` can be awaited."""

    async def main() -> tuple[object, object]:
        async with AsyncLastCache[str, str, str]() as cache:
            cache.set("k", "old")
            cache.expire("k")
            ask = future_revalidating(cache)(lambda key: FutureResult.from_value("new"))
            behind = (await ask("k"))._inner_value.unwrap()  # noqa: SLF001  # it is in IO no more
            assert behind.refresh is not None
            return behind.cached, await behind.refresh

    assert anyio.run(main) == (CachedValue("old", stale=True), given("new"))


def test_a_context_of_the_future() -> None:
    """The future forms hand the context on, too, and the cache may come with it."""
    cache = AsyncLastCache[str, str, str]()

    def load(key: str) -> RequiresContextFutureResult[str, LoadFailure[str], str]:
        return RequiresContextFutureResult(lambda root: FutureResult.from_value(root + key))

    lazy = future_context_cached(cache)(load)("etc").map(value_of)
    assert len(cache) == 0
    assert [run(lazy("/")), run(lazy("C:"))] == [IOSuccess("/etc")] * 2
    other = AsyncLastCache[str, str, str]()
    in_context = future_context_cached_in(lambda root: other if root == "C:" else cache)(load)
    assert [run(in_context("etc")(root)) for root in ("C:", "/")] == [
        IOSuccess(CachedValue("C:etc")),
        IOSuccess(CachedValue("/etc")),
    ]


def test_a_key_that_cannot_be_made_asks_nobody() -> None:
    """What ``key`` raises reaches the caller, and nothing is loaded."""
    cache = LastCache[str, str, str]()
    with pytest.raises(KeyError):
        cached(cache, key=lambda _key: {}[_key])(never)("k")
    assert len(cache) == 0
