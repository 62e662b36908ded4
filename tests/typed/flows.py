"""The types of pointfree pipelines that begin with an answer: for mypy with the plugin of returns."""

from typing import assert_type

from returns.context import RequiresContextResult
from returns.iterables import Fold
from returns.pipeline import flow, pipe
from returns.pointfree import alt, bind, lash, map_
from returns.result import Result, Success

from lastcache import CachedValue, LastCache, LoadFailure
from lastcache.pipelines import cached, context_cached, fresh_only, or_stale_warning, together, value_of
from tests.typed.answers import Down, Error, NotFound, User, Users, either
from tests.typed.composition import Deps, in_context, too_old, warn
from tests.typed.pipelines import name_of, not_empty, say, stand_in


def flows(cache: Users) -> None:
    """``flow`` with the pointfree ``map_``, ``bind``, ``alt`` and ``lash``."""
    answer = cache.load_or_store(1, either)
    assert_type(flow(answer, map_(name_of)), Result[str, Error])
    assert_type(flow(answer, map_(name_of), bind(not_empty)), Result[str, Error])
    assert_type(flow(answer, map_(name_of), bind(not_empty), alt(say)), Result[str, str])
    assert_type(flow(answer, map_(name_of), lash(stand_in)), Result[str, NotFound])


def composed(cache: Users, prices: LastCache[User, int, Error]) -> None:
    """``flow`` and ``pipe`` with a cache as a stage, from the key on."""
    ask = cached(cache)(either)
    assert_type(flow(1, ask, map_(value_of)), Result[User, Error])
    assert_type(flow(1, ask, bind(fresh_only(too_old)), map_(name)), Result[str, Error])
    assert_type(
        flow(1, ask, map_(or_stale_warning(warn)), bind(cached(prices)(price))), Result[CachedValue[int, Error], Error]
    )
    assert_type(pipe(ask, names, str)(1), str)


def joined(cache: Users) -> None:
    """``do`` and ``Fold`` join answers: pyright loses their types, ``zipped`` and ``collected`` keep them in both."""
    answer = cache.load_or_store(1, either)
    pair = Result.do(one.zip(other) for one in answer for other in cache.load_or_store(1, either))
    assert_type(pair, Result[CachedValue[tuple[User, User], NotFound | Down], Error])
    empty: Result[tuple[CachedValue[User, Error], ...], Error] = Success(())
    assert_type(Fold.collect([answer, answer], empty), Result[tuple[CachedValue[User, Error], ...], Error])
    assert_type(Fold.collect([answer], empty).map(together), Result[CachedValue[tuple[User, ...], Error], Error])


def in_a_context(cache: Users) -> None:
    """A pipeline that needs a context stays one, and lazy."""
    lazy = flow(1, context_cached(cache)(in_context), map_(value_of), map_(name))
    assert_type(lazy, RequiresContextResult[str, Error, Deps])
    assert_type(lazy(Deps(cache, "st")), Result[str, Error])


def names(answer: Result[CachedValue[User, Error], Error]) -> Result[str, Error]:
    """Map: what ``pipe`` is given must be typed in full, mypy infers no pointfree function there."""
    return answer.map(name_of)


def name(user: User) -> str:
    return user.name


def price(user: User) -> Result[int, LoadFailure[Error]]:
    return Success(len(user.name))
