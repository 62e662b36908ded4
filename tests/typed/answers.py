"""The types of answers, as users meet them; each function is checked, and run by ``tests.test_typed``."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import Never, TypeAlias, assert_type

from returns.maybe import Maybe
from returns.pipeline import is_successful
from returns.result import Failure, Result, Success, safe

from lastcache import CachedValue, Config, LastCache, LoadFailure, Revalidation, StoredEntry, failed


@dataclass(frozen=True)
class User:
    """A value."""

    name: str


@dataclass(frozen=True)
class NotFound:
    """A failure that stale data must not cover."""

    user_id: int


@dataclass(frozen=True)
class Down:
    """A failure that stale data may cover."""

    reason: str


Error: TypeAlias = NotFound | Down
Users: TypeAlias = LastCache[int, User, Error]


def only_down(_user_id: int) -> Result[User, LoadFailure[Down]]:
    """A callback that knows but one of the errors."""
    return failed(Down("timeout"), use_stale=True)


def either(user_id: int) -> Result[User, LoadFailure[Error]]:
    """A callback that says for each failure whether stale data may cover it."""
    if user_id < 0:
        return failed(NotFound(user_id), use_stale=False)
    if user_id == 0:
        return failed(Down("timeout"), use_stale=True)
    return Success(User("Ada"))


def load(cache: Users) -> None:
    """Answers keep the three types of the cache."""
    answer = cache.load_or_store(1, either)
    assert_type(answer, Result[CachedValue[User, Error], Error])
    if is_successful(answer):
        cached = answer.unwrap()
        assert_type(cached, CachedValue[User, Error])
        assert_type(cached.value, User)
        assert_type(cached.stale, bool)
        assert_type(cached.err, NotFound | Down | None)
    else:
        assert_type(answer.failure(), NotFound | Down)


def revalidate(cache: Users) -> None:
    """A revalidation keeps them, too, and so does its future."""
    answer = cache.async_load_or_store(1, either)
    assert_type(answer, Result[Revalidation[User, Error], Error])
    cached, refresh = answer.unwrap()
    assert_type(cached, CachedValue[User, Error])
    assert_type(refresh, Future[Result[CachedValue[User, Error], Error]] | None)


def narrower_callbacks(cache: Users) -> None:
    """A callback that can fail in fewer ways, or not at all, serves a cache of more."""
    assert_type(cache.load_or_store(1, only_down), Result[CachedValue[User, Error], Error])
    assert_type(cache.load_or_store(1, lambda _: Success(User("Ada"))), Result[CachedValue[User, Error], Error])


def with_context(cache: Users) -> None:
    """The context has the type that its callback asks for."""

    def from_database(database: dict[int, User], user_id: int) -> Result[User, LoadFailure[Error]]:
        return Success(database[user_id])

    answer = cache.load_or_store_with_ctx({7: User("Bob")}, 7, from_database)
    assert_type(answer, Result[CachedValue[User, Error], Error])
    behind = cache.async_load_or_store_with_ctx({7: User("Bob")}, 7, from_database)
    assert_type(behind, Result[Revalidation[User, Error], Error])


def many(cache: Users) -> None:
    """A batch gives an answer for each key; its callback returns a mapping of outcomes."""

    def load_all(user_ids: tuple[int, ...]) -> dict[int, Result[User, LoadFailure[Error]]]:
        return {user_id: either(user_id) for user_id in user_ids}

    def only_down_all(user_ids: tuple[int, ...]) -> Mapping[int, Result[User, LoadFailure[Down]]]:
        return {user_id: only_down(user_id) for user_id in user_ids}

    assert_type(cache.load_or_store_many([1, 2], load_all), dict[int, Result[CachedValue[User, Error], Error]])
    assert_type(cache.load_or_store_many({3}, only_down_all), dict[int, Result[CachedValue[User, Error], Error]])
    cache.clear()


def own_ttls() -> None:
    """A value's own TTL is a function of the value."""

    def ttl_for(user: User) -> timedelta:
        return timedelta(seconds=len(user.name))

    cache = LastCache[int, User, Error](Config(max_entries=10, jitter=0), ttl_for=ttl_for)
    assert_type(cache, LastCache[int, User, Error])
    cache.set(1, User("Ada"), ttl=timedelta(seconds=1))


def reads(cache: Users) -> None:
    """What is read without a load is typed as fully."""
    assert_type(cache.peek(1), Maybe[CachedValue[User, Error]])
    assert_type(cache.ttl(1), Maybe[timedelta])
    assert_type(cache.entries(), Iterator[StoredEntry[int, User, Error]])
    for entry in cache.entries():
        assert_type(entry.key, int)
        assert_type(entry.cached, CachedValue[User, Error])
        assert_type(entry.ttl, timedelta)
    assert_type(len(cache), int)
    assert_type(1 in cache, bool)


def writes(cache: Users) -> None:
    """A ``with`` block keeps the type of the cache."""
    cache.set(1, User("Ada"))
    cache.expire(1)
    cache.delete(1)
    cache.clear()
    with LastCache[int, User, Error](Config(global_ttl=timedelta(seconds=1))) as opened:
        assert_type(opened, LastCache[int, User, Error])


def failures() -> None:
    """``failed`` is an outcome of any value's type."""
    assert_type(failed(Down("x"), use_stale=True), Result[Never, LoadFailure[Down]])
    assert_type(only_down(1).failure().err, Down)
    assert_type(either(-1).failure().err, NotFound | Down)


def lifted(cache: Users) -> None:
    """A function made by ``safe`` becomes a callback with ``alt``."""

    @safe((OSError,))
    def fetch(user_id: int) -> User:
        return User(str(user_id))

    def callback(user_id: int) -> Result[User, LoadFailure[Down]]:
        return fetch(user_id).alt(lambda err: LoadFailure(Down(str(err)), use_stale=True))

    assert_type(cache.load_or_store(1, callback), Result[CachedValue[User, Error], Error])


def matched(cache: Users) -> str:
    """A match takes answers apart; an annotation gives mypy the types that it loses in ``Success(...)``."""
    answer = cache.load_or_store(1, either)
    match answer:
        case Success(CachedValue(value, stale=stale)):
            user: User = value
            return f"{user.name}, stale: {stale}"
        case Failure(NotFound(user_id)):
            return f"no user {user_id}"
        case Failure(Down(reason)):
            return f"down: {reason}"
        case _:
            return "an answer is a Success or a Failure"
