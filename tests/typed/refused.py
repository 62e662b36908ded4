"""What type checkers refuse; an ignore that became needless is an error, so each line is proved to be one."""

from datetime import timedelta

from returns.result import Failure, Result, Success

from lastcache import CachedValue, Config, LastCache, LoadFailure, failed
from lastcache.events import Event
from lastcache.pipelines import (
    cached,
    cached_many,
    context_cached,
    fold,
    folding,
    future_cached,
    future_stale_on,
    io_cached,
    io_stale_on,
    or_stale_warning,
    revalidating,
    stale_if,
    stale_on,
    task_cached,
    task_cached_many,
    task_revalidating,
)
from lastcache.testing import ManualClock, ScriptedLoad
from tests.typed.answers import Down, Error, NotFound, User, Users, either
from tests.typed.composition import by_day, in_context, may_cover, rate, rates, read
from tests.typed.decorated import Pair, Source, is_down, is_lost, load_all, name_of, old_name, plain, seconds, why
from tests.typed.decorated import read as read_in_io
from tests.typed.tasks import AsyncUsers, only_down


def wrong_value(_user_id: int) -> Result[int, LoadFailure[Error]]:
    """A callback for another kind of value."""
    return Success(1)


def wrong_error(_user_id: int) -> Result[User, LoadFailure[str]]:
    """A callback that fails with what the cache does not know."""
    return failed("down", use_stale=True)


def no_load_failure(_user_id: int) -> Result[User, str]:
    """A callback that does not say whether stale data may cover its failure."""
    return Failure("down")


def mistakes(cache: Users) -> None:
    """Each of these lines is refused by both type checkers."""
    cache.load_or_store("1", either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.load_or_store(1, wrong_value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.load_or_store(1, wrong_error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.load_or_store(1, no_load_failure)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.async_load_or_store(1, wrong_error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.load_or_store_with_ctx(1, 1, lambda ctx, _: Success(ctx))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.set(1, "Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.peek("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    str(cache.load_or_store(1, either).unwrap().name)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownArgumentType]


def more_mistakes() -> None:
    """A config takes keywords of the right type; a failure needs the choice; records do not change."""
    Config(timedelta(1))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    Config(global_ttl=60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    LoadFailure("e")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    failed("e")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    failed("e", False)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]  # noqa: FBT003
    CachedValue(1).stale = True  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def wrong_async_error(_user_id: int) -> Result[User, LoadFailure[str]]:
    """An asynchronous callback that fails with what the cache does not know."""
    return failed("down", use_stale=True)


async def mistakes_in_tasks(cache: AsyncUsers, threads: Users) -> None:
    """The cache for tasks refuses the same, and each shell refuses the callbacks of the other."""
    await cache.load_or_store("1", only_down)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await cache.load_or_store(1, either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await cache.load_or_store(1, wrong_async_error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    await cache.async_load_or_store(1, wrong_async_error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    threads.load_or_store(1, only_down)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.set(1, "Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


async def hear_later(_event: Event[int, Error]) -> None:
    """An observer that nobody would await."""


def mistakes_in_batches(cache: Users) -> None:
    """The callback of a batch takes a tuple, and returns a mapping of outcomes."""
    cache.load_or_store_many([1], either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.load_or_store_many(["1"], lambda _keys: {})  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    LastCache[int, User, Error](ttl_for=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    LastCache[int, User, Error](observer=hear_later)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Config(jitter="0.1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def mistakes_in_composition(cache: Users, answer: Result[CachedValue[User, Error], Error]) -> None:
    """What is lifted, cached or composed must fit, as in a call of the cache itself."""
    stale_if(may_cover)(read)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stale_on("OSError")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    stale_on(OSError)(either(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache)(wrong_value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    cached(cache)(wrong_error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    cached(cache)(no_load_failure)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    cached(cache)(only_down)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    cached(cache)(either)("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache, key=str)(either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(rates, key=by_day)(rate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rate(1)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    revalidating(cache)(wrong_error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    context_cached(cache)(in_context)(1)("no deps")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    answer.map(or_stale_warning(only_a_user))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportUnknownArgumentType]
    CachedValue(1).map(len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    CachedValue(1).zip(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def mistakes_in_observation() -> None:
    """An observer must take the events of the cache's keys and errors, and an executor what it is to run."""
    LastCache[int, User, Error](observer=of_other_keys)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    LastCache[int, User, Error](executor=only_a_user)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Config(count_hits=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ManualClock().advance(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ScriptedLoad(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def of_other_keys(event: Event[str, Error]) -> None:
    """An observer of a cache with other keys."""


def only_a_user(user: User) -> None:
    """A function of the value alone."""


def mistakes_in_future_composition(cache: AsyncUsers, threads: Users) -> None:
    """Each shell's decorators refuse the cache and the callbacks of the other."""
    future_stale_on(Down)(either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    future_cached(threads)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    future_cached(cache)(either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]
    cached(cache)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]


def caches_are_invariant(cache: LastCache[int, bool, str]) -> None:
    """A cache is written to, so that one of a subtype is no substitute."""
    wider: LastCache[int, int, str] = cache  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    wider.clear()


def values_are_covariant(cached: CachedValue[bool, str], failure: LoadFailure[bool]) -> None:
    """Records are only read: one of a subtype is a substitute."""
    wider: CachedValue[int, str | bytes] = cached
    less: LoadFailure[int] = failure
    assert (wider, less) == (cached, failure)


def key_of_one(_name: str) -> Pair:
    """A key function of too few arguments."""
    return "", 0


def key_of_numbers(_name: int, _number: int) -> Pair:
    """A key function of other arguments."""
    return "", 0


def key_of_another_type(name: str, number: int) -> str:
    """A key function that gives another key."""
    return f"{name}{number}"


def by_name(name: str, number: int) -> Result[User, LoadFailure[Error]]:
    """A function of two arguments."""
    return Success(User(name))


def mistakes_in_keys(cache: LastCache[Pair, User, Error], users: Users, tasks: AsyncUsers) -> None:
    """A key function has the function's parameters, and gives the cache's key; without it there is one argument."""
    cached(cache, key=key_of_one)(by_name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache, key=key_of_numbers)(by_name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache, key=key_of_another_type)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    revalidating(cache, key=key_of_one)(by_name)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    io_cached(cache, key=key_of_another_type)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    cached(users)(by_name)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    task_cached(tasks, key=key_of_one)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
    task_cached(tasks)(either)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    task_revalidating(tasks)(either)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    task_cached(users)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    io_cached(users)(either)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    cached_many(users)(either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    task_cached_many(tasks)(only_down)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(LastCache[list[int], User, Error]())  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]


def mistakes_in_handles(users: Users) -> None:
    """The handles take what the function takes."""
    ask = cached(users)(either)
    ask("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ask(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ask(user="1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ask.key()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ask.expire("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ask.delete(1, 2)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ask.peek(user=1)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    ask.explain("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    ask.uncached("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Source().ask.expire(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Source().ask.expire(Source(), "Ada")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Source().ask.key()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    many = cached_many(users)(load_all)
    many([""])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    many.expire("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    many.uncached([""])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def mistakes_in_lifts(users: Users, numbers: LastCache[str, int, ValueError]) -> None:
    """A lift names types, and a type that the error cannot be is refused where the callback meets the cache."""
    stale_on()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    io_stale_on(forget_on=(OSError,))  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    future_stale_on()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    stale_on(Down, forget_on=NotFound)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]
    stale_on(Down, remember_for=60)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
    stale_on(Down, remember_for=len)(plain)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    io_stale_on(OSError, remember_for=seconds)(read_in_io)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stale_if(is_down, forget_if=is_lost)(plain)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stale_if(is_down, remember_for=1.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(numbers)(stale_on(OSError)(number))  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]
    numbers.load_or_store("k", stale_on(OSError, UnicodeError)(number))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(numbers)(stale_on(UnicodeError)(number))


def number(text: str) -> Result[int, ValueError]:
    return Success(int(text))


def mistakes_in_folds(answer: Result[CachedValue[User, Error], Error]) -> None:
    """Each branch is given, and takes what it is about."""
    fold(answer, fresh=name_of, stale=old_name)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    fold(answer, fresh=len, stale=old_name, failed=why)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fold(answer, fresh=name_of, stale=name_of, failed=why)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fold(answer, fresh=name_of, stale=without_none, failed=why)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    fold(answer, fresh=name_of, stale=old_name, failed=only_of_down)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    folding(fresh=name_of, stale=old_name, failed=why)(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def without_none(user: User, err: Error) -> str:
    return f"{user} {err}"


def only_of_down(err: Down) -> str:
    return err.reason
