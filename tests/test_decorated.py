"""Decorated functions: they are called as the function is, and their handles are about the entry of that call."""

import inspect
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial, wraps
from typing import Any, Final

import anyio
import pytest
from returns.future import FutureResult
from returns.io import IOFailure, IOResult, IOSuccess, impure_safe
from returns.maybe import Nothing, Some
from returns.result import Failure, Result, Success

from lastcache import CachedValue, Config, ConfigError, LastCache, LoadFailure, failed
from lastcache.core.states import Outcome, Strategy
from lastcache.pipelines import (
    cached,
    cached_many,
    future_cached,
    io_cached,
    io_stale_on,
    revalidating,
    task_cached,
    task_cached_many,
    task_revalidating,
    together,
)
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock, ScriptedLoad
from tests.kit import given, result_of

Failable = Result[str, LoadFailure[str]]


def run(act: Callable[[], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        return await act()

    return anyio.run(main)


def at_once(given: Any) -> Any:
    """Give what a revalidation gives at once, and anything else as it is."""
    return getattr(given, "cached", given)


class Plain:
    """The decorators for threads."""

    revalidates = False

    def __init__(self) -> None:
        self.cache = LastCache[Any, str, str]()

    def decorate(self, load: Callable[..., Failable], key: Callable[..., Any] | None = None) -> Any:
        return cached(self.cache)(load) if key is None else cached(self.cache, key=key)(load)

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)


class Behind(Plain):
    """The decorator that revalidates."""

    revalidates = True

    def decorate(self, load: Callable[..., Failable], key: Callable[..., Any] | None = None) -> Any:
        return revalidating(self.cache)(load) if key is None else revalidating(self.cache, key=key)(load)

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs).map(at_once)


class InIO(Plain):
    """The decorator for callbacks in ``IO``."""

    def decorate(self, load: Callable[..., Failable], key: Callable[..., Any] | None = None) -> Any:
        @wraps(load)
        def in_io(*args: Any, **kwargs: Any) -> IOResult[str, LoadFailure[str]]:
            return IOResult.from_result(load(*args, **kwargs))

        return io_cached(self.cache)(in_io) if key is None else io_cached(self.cache, key=key)(in_io)

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)._inner_value  # noqa: SLF001  # it is in IO no more


class InTasks:
    """The decorators for tasks."""

    revalidates = False

    form: Callable[..., Any] = staticmethod(task_cached)

    def __init__(self) -> None:
        self.cache = AsyncLastCache[Any, str, str]()

    def decorate(self, load: Callable[..., Failable], key: Callable[..., Any] | None = None) -> Any:
        @wraps(load)
        async def later(*args: Any, **kwargs: Any) -> Failable:
            return load(*args, **kwargs)

        return self.form(self.cache)(later) if key is None else self.form(self.cache, key=key)(later)

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return run(partial(function, *args, **kwargs))


class InFutures(InTasks):
    """The decorators for futures."""

    form = staticmethod(future_cached)

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        return super().call(function, *args, **kwargs)._inner_value  # noqa: SLF001  # it is in IO no more


class InBlocks(InTasks):
    """The decorator for tasks that revalidates, which is called inside the block."""

    revalidates = True
    form = staticmethod(task_revalidating)

    def call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        async def inside() -> Any:
            async with self.cache:
                return await function(*args, **kwargs)

        return run(inside).map(at_once)


@pytest.fixture(params=[Plain, Behind, InIO, InTasks, InFutures, InBlocks], ids=lambda form: form.__name__)
def form(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_the_argument_is_the_key(form: Any) -> None:
    """By position, by name or by default: the same argument has the same entry, and loads once."""
    calls: list[str] = []

    def load(word: str = "k") -> Failable:
        calls.append(word)
        return Success(word)

    ask = form.decorate(load)
    assert [form.call(ask, "k"), form.call(ask, word="k"), form.call(ask)] == [given("k")] * 3
    assert [ask.key("k"), ask.key(word="k"), ask.key()] == ["k"] * 3
    assert (calls, ask.cache) == (["k"], form.cache)


def test_handles_are_about_the_entry_of_the_call(form: Any) -> None:
    """Each handle takes what the call takes, and finds the entry that the call made."""
    versions = iter(("one", "two", "three"))

    def load(base: str, to: str = "USD", *, loud: bool = False) -> Failable:
        return Success(next(versions))

    def key(base: str, to: str = "USD", *, loud: bool = False) -> tuple[str, str]:
        return base, to

    ask = form.decorate(load, key)
    assert form.call(ask, "EUR", to="USD", loud=True) == given("one")
    assert (ask.key("EUR"), ask.peek("EUR", loud=True)) == (("EUR", "USD"), Some(CachedValue("one")))
    assert ask.peek("EUR", "CHF") == Nothing
    ask.expire("EUR", to="CHF")
    ask.expire(base="EUR")
    assert ask.peek("EUR") == Some(CachedValue("one", stale=True))
    ask.delete("EUR", "USD")
    assert ask.peek("EUR") == Nothing
    assert form.call(ask, "EUR") == given("two")


def test_what_a_call_would_do_is_explained(form: Any) -> None:
    """``explain`` takes what the call takes, and tells of the strategy that the call has."""

    def load(word: str) -> Failable:
        return Success(word)

    ask = form.decorate(load)
    form.cache.set("k", "old")
    ask.expire("k")
    strategy = Strategy.STALE_WHILE_REVALIDATE if form.revalidates else Strategy.STALE_IF_ERROR
    assert str(ask.explain(word="k")) == str(form.cache.explain("k", strategy=strategy))
    assert len(list(form.cache.entries())) == 1


def test_uncached_asks_the_source_and_stores_nothing(form: Any) -> None:
    """``uncached`` is the function itself: its outcome is given, fresh or failed, and the entry stays as it is."""
    outcomes = iter((Success("one"), Success("two"), failed("down", use_stale=True)))

    def load(word: str) -> Failable:
        return next(outcomes)

    ask = form.decorate(load)
    assert form.call(ask, "k") == given("one")
    assert form.call(ask.uncached, word="k") == Success("two")
    assert form.call(ask.uncached, "k") == failed("down", use_stale=True)
    assert [(entry.key, entry.cached) for entry in form.cache.entries()] == [("k", CachedValue("one"))]


def test_methods_are_bound_with_their_handles(form: Any) -> None:
    """A method has the instance that it was got of, also in a subclass, and its handles are without ``self``."""

    def key(source: Any, word: str) -> tuple[str, str]:
        return source.name, word

    def load(source: Any, word: str) -> Failable:
        """Ask the source."""
        return Success(f"{word} of {source.name}")

    class Source:
        name = "A"
        ask = form.decorate(load, key)

    class Other(Source):
        name = "B"

    assert form.call(Source().ask, "k") == given("k of A")
    assert form.call(Other().ask, word="k") == given("k of B")
    assert form.call(Source.ask, Other(), "k") == given("k of B")
    assert Other().ask.key("k") == ("B", "k")
    Other().ask.delete("k")
    assert (Other().ask.peek("k"), Source().ask.peek("k")) == (Nothing, Some(CachedValue("k of A")))
    assert form.call(Other().ask.uncached, "new") == Success("new of B")
    assert Source.ask.peek(Other(), "new") == Nothing
    assert list(inspect.signature(Source().ask).parameters) == ["word"]
    assert list(inspect.signature(Source.ask).parameters) == ["source", "word"]
    assert (Source().ask.__name__, Source().ask.__doc__) == ("load", "Ask the source.")


def test_calls_with_more_than_the_key_are_refused(form: Any) -> None:
    """Without ``key=`` a second argument is refused, rather than left out of the key."""

    def load(word: str = "k", *, loud: bool = False) -> Failable:
        return Success(word)

    ask = form.decorate(load)
    for args, kwargs in ((("k",), {"loud": True}), ((), {"loud": True}), ((), {"word": "k", "loud": True})):
        with pytest.raises(TypeError, match="only 'word' is the key"):
            form.call(ask, *args, **kwargs)
    with pytest.raises(TypeError, match="unexpected keyword argument"):
        form.call(ask, words="k")
    assert len(form.cache) == 0


def test_what_takes_no_single_argument_is_refused_at_once(form: Any) -> None:
    """Without ``key=`` a function of two arguments, of none, or no function at all is an error of the decorator."""

    def two(base: str, to: str) -> Failable:
        return Success(base + to)

    def none() -> Failable:
        return Success("")

    for wrong in (two, none):
        with pytest.raises(ConfigError, match=r"must take one argument, or be given `key=`"):
            form.decorate(wrong)
    no_function: Any = 42
    with pytest.raises(ConfigError, match=r"must be a function of one argument"):
        cached(LastCache[str, str, str]())(no_function)


def test_signature_and_name_are_those_of_the_function() -> None:
    """``inspect.signature``, the name and the docstring tell of the function; ``__wrapped__`` is it."""

    def rate(base: str, to: str = "USD", *, loud: bool = False) -> Failable:
        """Give a rate."""
        return Success(base)

    ask = cached(LastCache[str, str, str](), key=lambda base, to="USD", *, loud=False: base)(rate)
    assert inspect.signature(ask) == inspect.signature(rate)
    assert (ask.__name__, ask.__qualname__, ask.__doc__, ask.__module__) == (
        rate.__name__,
        rate.__qualname__,
        rate.__doc__,
        rate.__module__,
    )
    assert ask.__wrapped__ is rate
    assert repr(ask).startswith("<CachedFunction test_signature_and_name")


class Classes:
    """Class and static methods."""

    name = "A"
    cache: Final = LastCache[str, str, str]()

    @cached(cache, key=lambda cls, word: f"{cls.name}{word}")
    @classmethod
    def of_class(cls, word: str) -> Failable:
        return Success(f"{word} of {cls.name}")

    @staticmethod
    @cached(cache)
    def static(word: str) -> Failable:
        return Success(word)

    @cached(cache)
    @staticmethod
    def also_static(word: str) -> Failable:
        return Success(word)


class Heirs(Classes):
    """A subclass."""

    name = "B"


def test_class_and_static_methods() -> None:
    """Above ``classmethod`` the decorated method has its class, and its handles are without it; on both sides of
    ``staticmethod`` there is nothing to bind.
    """
    classes: Any = Classes
    heirs: Any = Heirs
    assert (classes.of_class("k"), heirs().of_class(word="k")) == (given("k of A"), given("k of B"))
    assert (classes.of_class.key("k"), heirs.of_class.key("k")) == ("Ak", "Bk")
    heirs.of_class.delete("k")
    assert (classes.of_class.peek("k"), heirs().of_class.peek("k")) == (Some(CachedValue("k of A")), Nothing)
    assert (classes().static("x"), classes.static(word="x")) == (given("x"), given("x"))
    assert (classes().also_static("y"), classes.also_static(word="y")) == (given("y"), given("y"))
    assert (classes.static.key("x"), classes().also_static.key("y")) == ("x", "y")


def test_what_is_no_function_may_be_decorated() -> None:
    """A partial, a bound method, a callable object and a function in C have handles, too."""
    cache = LastCache[str, str, str]()

    class Source:
        def __call__(self, word: str) -> Failable:
            return Success(f"call {word}")

        def method(self, word: str) -> Failable:
            return Success(f"method {word}")

    def of_two(prefix: str, word: str) -> Failable:
        return Success(prefix + word)

    assert cached(cache)(Source())("a") == given("call a")
    assert cached(cache)(Source().method)(word="b") == given("method b")
    assert cached(cache)(partial(of_two, "partial "))("c") == given("partial c")
    in_c: Any = getattr  # it tells nobody its parameters
    assert cached(cache)(in_c).key("k") == "k"
    assert repr(cached(cache)(partial(of_two, "x"))).startswith("<CachedFunction functools.partial(")


def test_a_bound_object_stays_what_it_is() -> None:
    """What is no descriptor is not bound, as an attribute of a class is not."""

    class Load:
        def __call__(self, word: str) -> Failable:
            return Success(word)

    class Holder:
        ask = cached(LastCache[str, str, str]())(Load())

    holder: Any = Holder()
    assert holder.ask("k") == given("k")
    assert holder.ask is Holder.ask


def test_frameworks_see_a_coroutine_function() -> None:
    """``task_cached`` gives what awaits: by its call on every version, by itself from 3.12 on."""

    async def load(word: str) -> Failable:
        return Success(word)

    async def load_all(words: tuple[str, ...]) -> dict[str, Failable]:
        return {word: Success(word) for word in words}

    def key(source: object, word: str) -> str:
        return word

    async def method(source: object, word: str) -> Failable:
        return Success(word)

    cache = AsyncLastCache[str, str, str]()

    class Source:
        ask = task_cached(cache, key=key)(method)

    source: Any = Source()
    for made in (task_cached(cache)(load), task_cached_many(cache)(load_all), source.ask):
        assert inspect.iscoroutinefunction(type(made).__call__)
        assert inspect.iscoroutinefunction(made) == (sys.version_info >= (3, 12))
    assert not inspect.iscoroutinefunction(future_cached(cache)(load))


def test_a_task_form_takes_futures() -> None:
    """A callback that returns a ``FutureResult`` does, and what ``uncached`` gives is out of ``IO``."""
    ask = task_cached(AsyncLastCache[str, str, str]())(word_from_a_future)
    assert run(partial(ask, "k")) == given("k")
    assert run(partial(ask.uncached, "k")) == Success("k")


def word_from_a_future(word: str) -> FutureResult[str, LoadFailure[str]]:
    return FutureResult.from_value(word)


def test_a_stale_value_comes_at_once() -> None:
    """``revalidating`` and its twin give the stale value, and load behind it."""
    cache = LastCache[str, str, str]()
    ask = revalidating(cache)(loads("new"))
    cache.set("k", "old")
    ask.expire("k")
    behind = ask("k").unwrap()
    assert (behind.cached, result_of(behind.refresh)) == (CachedValue("old", stale=True), given("new"))

    async def in_tasks() -> tuple[object, object]:
        async with AsyncLastCache[str, str, str]() as cache:
            cache.set("k", "old")

            @task_revalidating(cache)
            async def ask(word: str) -> Failable:
                return Success("new")

            ask.expire(word="k")
            behind = (await ask("k")).unwrap()
            assert behind.refresh is not None
            return behind.cached, await behind.refresh

    assert anyio.run(in_tasks) == (CachedValue("old", stale=True), given("new"))


def loads(value: str) -> Callable[[str], Failable]:
    def load(word: str) -> Failable:
        return Success(value)

    return load


def test_io_stays_in_io() -> None:
    """A callback by ``impure_safe`` is lifted, cached, and answers in ``IO``."""
    outages = [OSError("down"), KeyError("gone")]

    @io_cached(cache := LastCache[str, str, Exception]())
    @io_stale_on(OSError)
    @impure_safe
    def fetch(path: str) -> str:
        raise outages.pop(0)

    cache.set("k", "old")
    fetch.expire("k")
    covered = fetch("k").map(lambda cached: (cached.value, cached.stale, str(cached.err)))
    assert covered == IOSuccess(("old", True, "down"))
    assert fetch(path="k").alt(repr) == IOFailure("KeyError('gone')")


def test_what_is_no_outcome_in_io_is_refused() -> None:
    """A callback that is not in ``IO`` after all is treated as any other callback is."""
    wrong: Any = "no outcome"
    ask = io_cached(LastCache[str, str, str]())(lambda _key: wrong)
    with pytest.raises(TypeError, match="must return Success"):
        ask("k")


def count(words: tuple[str, ...]) -> dict[str, Outcome[int, str]]:
    """Count letters."""
    return {word: Success(len(word)) if word else failed("empty", use_stale=False) for word in words}


def test_many_keys_have_one_call() -> None:
    """One call loads what is missing; the handles are about one key each, and ``uncached`` stores nothing."""
    asked: list[tuple[str, ...]] = []

    @cached_many(cache := LastCache[str, int, str]())
    def lengths(words: tuple[str, ...]) -> dict[str, Outcome[int, str]]:
        """Count letters."""
        asked.append(words)
        return count(words)

    assert list(lengths(["a", "bc"]).values()) == [given(1), given(2)]
    assert list(lengths(iter(("bc", "def"))).items()) == [("bc", given(2)), ("def", given(3))]
    assert asked == [("a", "bc"), ("def",)]
    lengths.expire("a")
    lengths.delete("bc")
    assert (lengths.peek("a"), lengths.peek("bc")) == (Some(CachedValue(1, stale=True)), Nothing)
    assert lengths.explain("a").key == "a"
    assert lengths.uncached(["bc", ""]) == {"bc": Success(2), "": failed("empty", use_stale=False)}
    assert (len(cache), lengths.cache) == (2, cache)
    assert (lengths.__name__, lengths.__doc__) == ("lengths", "Count letters.")
    assert repr(lengths).startswith("<CachedManyFunction test_many_keys")


def test_many_keys_in_tasks() -> None:
    """The twin for tasks does the same."""
    cache = AsyncLastCache[str, int, str]()

    @task_cached_many(cache)
    async def lengths(words: tuple[str, ...]) -> dict[str, Outcome[int, str]]:
        return count(words)

    async def main() -> None:
        assert await lengths(["a", ""]) == {"a": given(1), "": Result.from_failure("empty")}
        lengths.expire("a")
        assert lengths.peek("a") == Some(CachedValue(1, stale=True))
        lengths.delete("a")
        assert await lengths.uncached(["a"]) == {"a": Success(1)}
        assert (len(cache), lengths.cache) == (0, cache)

    anyio.run(main)


def test_an_unhashable_key_is_an_error_of_the_call() -> None:
    """A key that is not hashable is a ``TypeError``, and nothing is loaded."""
    made = cached(LastCache[Any, str, str]())(loads("x"))
    for ask in (made, made.expire, made.peek):
        unhashable: Any = ["k"]
        with pytest.raises(TypeError, match="unhashable type: 'list'"):
            ask(unhashable)


def test_a_demanding_view_is_decorated_as_a_cache_is() -> None:
    """What asks a view takes nothing that is too stale; its handles are those of the same entries."""
    clock = ManualClock()
    cache = LastCache[str, int, str](Config(global_ttl=timedelta(seconds=1)), clock=clock)
    cache.set("k", 1)
    clock.advance(timedelta(seconds=2))
    load = ScriptedLoad[int, str](failed("down", use_stale=True), failed("down", use_stale=True))
    assert cached(cache.demanding(max_stale=timedelta(0)))(load)("k") == Failure("down")
    assert cached(cache)(load)("k") == Success(CachedValue(1, stale=True, err="down"))


def test_an_explanation_knows_the_soft_timeout() -> None:
    """It is that of the call itself: one key with the soft timeout, many without."""
    cache = LastCache[str, int, str](Config.resilient(timedelta(seconds=1)), clock=(clock := ManualClock()))
    cache.set("k", 1)
    clock.advance(timedelta(seconds=2))
    one = cached(cache)(ScriptedLoad[int, str]())
    many = cached_many(cache)(lambda keys: dict.fromkeys(keys, Success(1)))
    assert one.explain("k") == cache.explain("k")
    assert "no longer than the soft timeout" in str(one.explain("k"))
    assert "loads, and waits for that" in str(many.explain("k"))


def test_values_together_are_fresh_until_the_first_is_not() -> None:
    """As with ``zip``, the earliest end is that of the whole."""
    parts = [CachedValue(1, fresh_until=9), CachedValue(2, fresh_until=5)]
    assert (together(parts).fresh_until, together([]).fresh_until) == (5, 0)
