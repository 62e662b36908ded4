"""The types of decorated functions and their handles, of lifts and of ``fold``; each function is checked, and run."""

from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, TypeAlias, assert_type

from returns.context import RequiresContextIOResult
from returns.future import FutureResult
from returns.io import IOResult, impure_safe
from returns.maybe import Maybe
from returns.result import Result, Success, safe

from lastcache import CachedValue, Explanation, LastCache, LoadFailure, Revalidation, failed
from lastcache.pipelines import (
    cached,
    cached_many,
    fold,
    folding,
    future_cached,
    io_cached,
    io_context_cached,
    io_context_cached_in,
    io_stale_if,
    io_stale_on,
    revalidating,
    stale_if,
    stale_on,
    task_cached,
    task_cached_many,
    task_revalidating,
)
from lastcache.tasks import AsyncLastCache, AsyncRevalidation, TaskCache
from lastcache.threads import ThreadCache
from tests.typed.answers import Down, Error, NotFound, User, Users, either, only_down

AsyncUsers: TypeAlias = AsyncLastCache[int, User, Error]
UsersAsked: TypeAlias = ThreadCache[int, User, Error]
AsyncUsersAsked: TypeAlias = TaskCache[int, User, Error]
Pair: TypeAlias = tuple[str, int]
Answer: TypeAlias = Result[CachedValue[User, Error], Error]
Outcome: TypeAlias = Result[User, LoadFailure[Error]]


def load(user_id: int) -> Outcome:
    """A function of the key."""
    return Success(User(str(user_id)))


def one_argument(cache: Users) -> None:
    """The handles take the argument that the function takes, by position or by name."""
    ask = cached(cache)(load)
    assert_type(ask(1), Answer)
    assert_type(ask(user_id=1), Answer)
    assert_type(ask.key(user_id=1), int)
    assert_type(ask.peek(1), Maybe[CachedValue[User, Error]])
    assert_type(ask.explain(user_id=1), Explanation[int, User, Error])
    assert_type(ask.uncached(user_id=1), Outcome)
    assert_type(ask.cache, UsersAsked)
    assert_type(cached(cache.demanding(max_stale=timedelta(0)))(load)(1), Answer)
    assert_type(ask.__name__, str)
    ask.expire(user_id=1)
    ask.delete(1)
    behind = revalidating(cache)(load)
    assert_type(behind(user_id=1), Result[Revalidation[User, Error], Error])
    assert_type(behind.peek(user_id=1), Maybe[CachedValue[User, Error]])


def without_names(cache: Users, ask: Callable[[int], Outcome]) -> Callable[[int], Answer]:
    """A function whose parameter has no name is decorated, too, and is a function of the key."""
    assert_type(cached(cache)(ask)(1), Answer)
    assert_type(cached(cache)(only_down)(1), Answer)
    return cached(cache)(ask)


def keyed(name: str, number: int = 0, *, loud: bool = False) -> Pair:
    """The key of two arguments."""
    return name, number


def two_arguments() -> None:
    """With ``key`` the handles have the parameters of both."""
    cache = LastCache[Pair, User, Error]()

    @cached(cache, key=keyed)
    def ask(name: str, number: int = 0, *, loud: bool = False) -> Outcome:
        return Success(User(name))

    assert_type(ask("Ada", loud=True), Answer)
    assert_type(ask.key("Ada", number=1), Pair)
    assert_type(ask.uncached("Ada"), Outcome)
    ask.expire("Ada", 1, loud=True)
    ask.delete(name="Ada")


class Source:
    """What has decorated methods."""

    cache = LastCache[Pair, User, Error]()

    def pair(self, name: str, number: int = 0) -> Pair:
        """Give the key."""
        return name, number

    @cached(cache, key=pair)
    def ask(self, name: str, number: int = 0) -> Outcome:
        """Answer from the cache."""
        return Success(User(name))

    @staticmethod
    @cached(LastCache[int, User, Error]())
    def static(user_id: int) -> Outcome:
        """Answer from another cache."""
        return load(user_id)


class Heir(Source):
    """A subclass."""


def methods() -> None:
    """The handles of a bound method are without ``self``, in a subclass, too."""
    for source in (Source(), Heir()):
        assert_type(source.ask("Ada", number=1), Answer)
        assert_type(source.ask.key("Ada", number=1), Pair)
        assert_type(source.ask.peek(name="Ada"), Maybe[CachedValue[User, Error]])
        assert_type(source.ask.uncached("Ada"), Outcome)
        source.ask.expire("Ada")
    assert_type(Source.ask(Heir(), "Ada"), Answer)
    assert_type(Heir.static(user_id=1), Answer)
    assert_type(Source.static.key(1), int)


@impure_safe
def read(path: str) -> bytes:
    """A function in ``IO`` that may raise anything."""
    raise FileNotFoundError(path)


def open_read(path: str) -> bytes:
    """A function that knows nothing of containers."""
    raise FileNotFoundError(path)


def in_context(path: str) -> RequiresContextIOResult[bytes, LoadFailure[Exception], str]:
    """A callback in ``IO`` that needs a context."""
    return RequiresContextIOResult(lambda root: IOResult.from_value((root + path).encode()))


def is_lost(err: Exception) -> bool:
    return isinstance(err, TimeoutError)


def in_io() -> None:
    """Callbacks in ``IO`` are lifted, cached, and answer in ``IO``."""
    cache = LastCache[str, bytes, Exception]()
    ask = io_cached(cache)(io_stale_on(OSError)(read))
    assert_type(ask(path="/"), IOResult[CachedValue[bytes, Exception], Exception])
    assert_type(ask.uncached("/"), IOResult[bytes, LoadFailure[Exception]])
    made = io_cached(cache)(io_stale_on(OSError)(impure_safe(open_read)))
    assert_type(made(path="/"), IOResult[CachedValue[bytes, Exception], Exception])
    assert_type(ask.peek(path="/"), Maybe[CachedValue[bytes, Exception]])
    assert_type(
        io_cached(cache)(io_stale_if(is_lost)(read))(path="/"), IOResult[CachedValue[bytes, Exception], Exception]
    )
    assert_type(io_stale_if(is_lost)(read)("/"), IOResult[bytes, LoadFailure[Exception]])
    asked = io_context_cached(cache)(in_context)("etc")
    assert_type(asked, RequiresContextIOResult[CachedValue[bytes, Exception], Exception, str])
    assert_type(asked("/"), IOResult[CachedValue[bytes, Exception], Exception])
    of_context = io_context_cached_in(cache_of)(in_context)("etc")
    assert_type(of_context, RequiresContextIOResult[CachedValue[bytes, Exception], Exception, str])


def cache_of(_root: str) -> LastCache[str, bytes, Exception]:
    return LastCache()


def load_all(user_ids: tuple[int, ...]) -> dict[int, Outcome]:
    """A function of many keys."""
    return {user_id: load(user_id) for user_id in user_ids}


def many(cache: Users) -> None:
    """A function of many keys takes any iterable, and its handles one key."""
    ask = cached_many(cache)(load_all)
    assert_type(ask({1}), dict[int, Answer])
    assert_type(ask.peek(1), Maybe[CachedValue[User, Error]])
    assert_type(ask.explain(1), Explanation[int, User, Error])
    assert_type(ask.uncached([2]), Mapping[int, Outcome])
    assert_type(ask.cache, UsersAsked)
    ask.expire(1)
    ask.delete(1)


async def load_later(user_id: int) -> Outcome:
    """A function that is awaited."""
    return load(user_id)


async def load_all_later(user_ids: tuple[int, ...]) -> dict[int, Outcome]:
    """A function of many keys that is awaited."""
    return load_all(user_ids)


def load_in_future(user_id: int) -> FutureResult[User, LoadFailure[Error]]:
    """A function that gives a future."""
    return FutureResult.from_result(load(user_id))


async def in_tasks(cache: AsyncUsers) -> None:
    """In tasks there are plain coroutines; the forms of the future have handles, too."""
    ask = task_cached(cache)(load_later)
    coming = ask(user_id=1)
    _ = assert_type(coming, Coroutine[Any, Any, Answer])
    assert_type(await coming, Answer)
    assert_type(await task_cached(cache)(load_in_future)(user_id=1), Answer)
    assert_type(await ask.uncached(user_id=1), Outcome)
    assert_type(ask.key(1), int)
    assert_type(ask.cache, AsyncUsersAsked)
    several = task_cached_many(cache)(load_all_later)
    assert_type(await several([1]), dict[int, Answer])
    assert_type(await several.uncached([2]), Mapping[int, Outcome])
    several.expire(1)
    future = future_cached(cache)(load_in_future)
    assert_type(await future(user_id=1), IOResult[CachedValue[User, Error], Error])
    assert_type(await future.uncached(2), IOResult[User, LoadFailure[Error]])
    future.expire(user_id=1)
    async with cache:
        behind = await task_revalidating(cache)(load_later)(user_id=1)
        assert_type(behind, Result[AsyncRevalidation[User, Error], Error])


def plain(user_id: int) -> Result[User, Error]:
    """A function that knows nothing of caches."""
    return Success(User(str(user_id)))


def is_down(err: Error) -> bool:
    return isinstance(err, Down)


def is_not_found(err: Error) -> bool:
    return isinstance(err, NotFound)


def seconds(err: Error) -> timedelta | None:
    return timedelta(seconds=1) if isinstance(err, NotFound) else None


def lifts() -> None:
    """A lift keeps parameters, value and error, whatever else it is told."""
    minute = timedelta(minutes=1)
    on_types = stale_on(Down, forget_on=(NotFound,), remember_for=minute)(plain)
    assert_type(on_types(user_id=1), Outcome)
    assert_type(stale_on(Down, NotFound)(plain)(user_id=1), Outcome)
    assert_type(stale_on(Down, remember_for=seconds)(plain)(1), Outcome)
    by_predicates = stale_if(is_down, forget_if=is_not_found, remember_for=seconds)(plain)
    assert_type(by_predicates(user_id=1), Outcome)
    assert_type(stale_if(is_down, remember_for=minute)(plain)(1), Outcome)


@cached(LastCache[str, int, Exception]())
@stale_on(OSError, KeyError, ValueError, forget_on=(FileNotFoundError,))
@safe
def size(path: str) -> int:
    """A function that may raise anything, by decorators alone."""
    return len(path)


def stacked() -> None:
    """What the decorators make of a function keeps its parameters."""
    assert_type(size(path="/"), Result[CachedValue[int, Exception], Exception])


def name_of(user: User) -> str:
    return user.name


def old_name(user: User, err: Error | None) -> str:
    return f"{user.name} {err}"


def why(err: Error) -> str:
    return repr(err)


def folds(answer: Answer) -> None:
    """The branches know what they are given, and what comes out is of their type."""
    assert_type(fold(answer, fresh=name_of, stale=old_name, failed=why), str)
    assert_type(
        fold(answer, fresh=lambda user: user, stale=lambda user, _err: user, failed=lambda _err: None), User | None
    )
    take = folding(fresh=name_of, stale=old_name, failed=why)
    assert_type(take, Callable[[Answer], str])
    assert_type(take(answer), str)


def folded() -> None:
    """Each kind of answer."""
    folds(Success(CachedValue(User("Ada"))))
    folds(Success(CachedValue(User("Ada"), stale=True)))
    assert either(0) == failed(Down("timeout"), use_stale=True)
