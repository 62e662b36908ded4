"""The types of answers of the cache for tasks; each function is checked, and run by ``tests.test_typed``."""

from collections.abc import Awaitable
from functools import partial
from typing import assert_type

from returns.context import RequiresContextFutureResult
from returns.future import FutureResult, future_safe
from returns.io import IOResult
from returns.pipeline import is_successful
from returns.result import Result, Success

from lastcache import CachedValue, Config, LoadFailure, failed
from lastcache.pipelines import (
    future_cached,
    future_context_cached,
    future_context_cached_in,
    future_revalidating,
    future_stale_if,
    future_stale_on,
    value_of,
)
from lastcache.tasks import AsyncLastCache, AsyncRevalidation
from tests.typed.answers import Down, Error, NotFound, User

AsyncUsers = AsyncLastCache[int, User, Error]


async def only_down(_user_id: int) -> Result[User, LoadFailure[Down]]:
    """A callback that knows but one of the errors."""
    return failed(Down("timeout"), use_stale=True)


async def either(user_id: int) -> Result[User, LoadFailure[Error]]:
    """A callback that says for each failure whether stale data may cover it."""
    if user_id < 0:
        return failed(NotFound(user_id), use_stale=False)
    return Success(User("Ada"))


async def load(cache: AsyncUsers) -> None:
    """Answers keep the three types of the cache."""
    answer = await cache.load_or_store(1, either)
    assert_type(answer, Result[CachedValue[User, Error], Error])
    if is_successful(answer):
        assert_type(answer.unwrap(), CachedValue[User, Error])
        assert_type(answer.unwrap().err, NotFound | Down | None)
    else:
        assert_type(answer.failure(), NotFound | Down)


async def revalidate(cache: AsyncUsers) -> None:
    """A revalidation keeps them, too, and so does what is awaited."""
    async with cache as entered:
        assert_type(entered, AsyncLastCache[int, User, Error])
        answer = await cache.async_load_or_store(1, either)
        assert_type(answer, Result[AsyncRevalidation[User, Error], Error])
        cached, refresh = answer.unwrap()
        assert_type(cached, CachedValue[User, Error])
        assert_type(refresh, Awaitable[Result[CachedValue[User, Error], Error]] | None)
        if refresh is not None:
            assert_type(await refresh, Result[CachedValue[User, Error], Error])


async def narrower_callbacks(cache: AsyncUsers) -> None:
    """A callback that can fail in fewer ways serves a cache of more."""
    assert_type(await cache.load_or_store(1, only_down), Result[CachedValue[User, Error], Error])


async def future_results(cache: AsyncUsers) -> None:
    """A function that returns a ``FutureResult`` is a callback, and an answer becomes one."""

    @future_safe((OSError,))
    async def fetch(user_id: int) -> User:
        return User(str(user_id))

    def callback(user_id: int) -> FutureResult[User, LoadFailure[Down]]:
        return fetch(user_id).alt(lambda err: LoadFailure(Down(str(err)), use_stale=True))

    assert_type(await cache.load_or_store(1, callback), Result[CachedValue[User, Error], Error])
    answer = FutureResult(cache.load_or_store(1, callback))
    _ = assert_type(answer, FutureResult[CachedValue[User, Error], NotFound | Down])
    name = answer.map(lambda cached: cached.value.name)
    _ = assert_type(name, FutureResult[str, NotFound | Down])
    assert_type(await name, IOResult[str, NotFound | Down])


async def with_context(cache: AsyncUsers) -> None:
    """The context has the type that its callback asks for."""

    async def from_database(database: dict[int, User], user_id: int) -> Result[User, LoadFailure[Error]]:
        return Success(database[user_id])

    answer = await cache.load_or_store_with_ctx({7: User("Bob")}, 7, from_database)
    assert_type(answer, Result[CachedValue[User, Error], Error])
    assert_type(
        await cache.load_or_store(7, partial(from_database, {7: User("Bob")})), Result[CachedValue[User, Error], Error]
    )
    async with cache:
        behind = await cache.async_load_or_store_with_ctx({7: User("Bob")}, 7, from_database)
        assert_type(behind, Result[AsyncRevalidation[User, Error], Error])
    assert_type(AsyncLastCache[int, User, Error](Config()), AsyncLastCache[int, User, Error])


async def many(cache: AsyncUsers) -> None:
    """A batch gives an answer for each key."""

    async def load_all(user_ids: tuple[int, ...]) -> dict[int, Result[User, LoadFailure[Error]]]:
        return {user_id: await either(user_id) for user_id in user_ids}

    answers = await cache.load_or_store_many([1, 2], load_all)
    assert_type(answers, dict[int, Result[CachedValue[User, Error], Error]])
    cache.clear()


@future_stale_on(Down)
def plain(user_id: int, *, loud: bool = False) -> FutureResult[User, Error]:
    """A callback made of a function that returns a ``FutureResult``."""
    return FutureResult.from_value(User("ADA" if loud else f"Ada {user_id}"))


def may_cover(err: Error) -> bool:
    """A predicate over the errors of a domain."""
    return isinstance(err, Down)


def in_context(user_id: int) -> RequiresContextFutureResult[User, LoadFailure[Error], str]:
    """A callback that needs a context."""
    return RequiresContextFutureResult(lambda suffix: FutureResult.from_value(User(f"{user_id}{suffix}")))


async def composed(cache: AsyncUsers) -> None:
    """What ``pipelines`` makes for tasks keeps the types of the cache, and the parameters of the callback."""
    assert_type(await plain(1, loud=True), IOResult[User, LoadFailure[NotFound | Down]])
    assert_type(await future_stale_if(may_cover)(fetched)("1"), IOResult[User, LoadFailure[NotFound | Down]])
    answer = future_cached(cache)(either)(1)
    _ = assert_type(answer, FutureResult[CachedValue[User, Error], Error])
    value = answer.map(value_of)
    _ = assert_type(value, FutureResult[User, NotFound | Down])
    assert_type(await value, IOResult[User, NotFound | Down])
    assert_type(await future_cached(cache)(plain)(1), IOResult[CachedValue[User, Error], Error])
    assert_type(await future_cached(cache)(only_down)(1), IOResult[CachedValue[User, Error], Error])
    asked = future_context_cached(cache)(in_context)(1)
    assert_type(asked, RequiresContextFutureResult[CachedValue[User, Error], Error, str])
    assert_type(await asked("st"), IOResult[CachedValue[User, Error], Error])
    of_context = future_context_cached_in(cache_of)(in_context)(1)
    assert_type(of_context, RequiresContextFutureResult[CachedValue[User, Error], Error, str])
    async with cache:
        behind = future_revalidating(cache)(either)(1)
        _ = assert_type(behind, FutureResult[AsyncRevalidation[User, Error], Error])
        assert is_successful(await behind)


def fetched(path: str) -> FutureResult[User, Error]:
    return FutureResult.from_value(User(path))


def cache_of(_suffix: str) -> AsyncUsers:
    return AsyncLastCache()


def key_of(user_id: int, *, loud: bool = False) -> int:
    return user_id


async def several_arguments(cache: AsyncUsers) -> None:
    """With ``key`` a function keeps its parameters."""
    loud = future_cached(cache, key=key_of)(plain)(1, loud=True)
    _ = assert_type(loud, FutureResult[CachedValue[User, Error], Error])
    assert_type(await loud, IOResult[CachedValue[User, Error], Error])
    async with cache:
        behind = future_revalidating(cache, key=key_of)(plain)(1)
        _ = assert_type(behind, FutureResult[AsyncRevalidation[User, Error], Error])
        assert is_successful(await behind)
