"""What type checkers refuse; an ignore that became needless is an error, so each line is proved to be one."""

from datetime import timedelta

from returns.result import Failure, Result, Success

from lastcache import CachedValue, Config, LastCache, LoadFailure, failed
from lastcache.events import Event
from lastcache.pipelines import (
    cached,
    context_cached,
    future_cached,
    future_stale_on,
    or_stale_warning,
    revalidating,
    stale_if,
    stale_on,
)
from lastcache.testing import ManualClock, ScriptedLoad
from tests.typed.answers import Down, Error, User, Users, either
from tests.typed.composition import by_day, in_context, may_cover, rate, rates, read
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


def mistakes_in_batches(cache: Users) -> None:
    """The callback of a batch takes a tuple, and returns a mapping of outcomes."""
    cache.load_or_store_many([1], either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cache.load_or_store_many(["1"], lambda _keys: {})  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    LastCache[int, User, Error](ttl_for=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Config(jitter="0.1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def mistakes_in_composition(cache: Users, answer: Result[CachedValue[User, Error], Error]) -> None:
    """What is lifted, cached or composed must fit, as in a call of the cache itself."""
    stale_if(may_cover)(read)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stale_on("OSError")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    stale_on(OSError)(either(1))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache)(wrong_value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache)(wrong_error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache)(no_load_failure)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache)(only_down)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache)(either)("1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(cache, key=str)(either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    cached(rates, key=by_day)(rate)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    rate(1)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    revalidating(cache)(wrong_error)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
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
    future_cached(cache)(either)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
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
