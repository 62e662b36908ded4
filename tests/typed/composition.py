"""The types of what ``lastcache.pipelines`` makes, as users meet them; each function is checked, and run."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from logging import getLogger
from typing import assert_type

from returns.context import RequiresContextResult
from returns.maybe import Maybe
from returns.result import Failure, Result, Success, safe

from lastcache import CachedValue, LastCache, LoadFailure, Revalidation, failed
from lastcache.errors import StoreFailure
from lastcache.events import (
    ChangedElsewhere,
    Event,
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    LoadStarted,
    PushBack,
    PushLost,
    RefreshRefused,
    RefreshStarted,
    ServedStale,
    Stats,
    StoreAway,
    StoreBack,
    StoreOutran,
    StoreServed,
    StoreSkipped,
    StoreUnread,
    Swept,
    Waited,
    WaitedElsewhere,
)
from lastcache.observers import all_of, log_to
from lastcache.pipelines import (
    cached,
    collected,
    context_cached,
    context_cached_in,
    error_of,
    fresh_only,
    or_stale_warning,
    revalidating,
    stale_if,
    stale_on,
    together,
    value_of,
    zipped,
)
from lastcache.testing import ScriptedLoad, run_inline
from tests.typed.answers import Down, Error, NotFound, User, Users, either, only_down


def may_cover(err: Error) -> bool:
    """A predicate over the errors of a domain."""
    return isinstance(err, Down)


def plain(user_id: int, *, loud: bool = False) -> Result[User, Error]:
    """A function that knows nothing of caches."""
    return Success(User("ADA" if loud else "Ada")) if user_id else Failure(Down("timeout"))


@safe
def read(path: str) -> bytes:
    """A function that may raise anything."""
    raise FileNotFoundError(path)


@safe((OSError,))
def read_file(path: str) -> bytes:
    """A function that may raise errors of one kind."""
    raise FileNotFoundError(path)


def lifts() -> None:
    """A lifted function keeps its parameters, its value and its error."""
    assert_type(stale_if(may_cover)(plain)(1, loud=True), Result[User, LoadFailure[NotFound | Down]])
    assert_type(stale_on(Down)(plain)(1, loud=True), Result[User, LoadFailure[NotFound | Down]])
    assert_type(stale_on(OSError)(read)("/"), Result[bytes, LoadFailure[Exception | OSError]])
    assert_type(stale_on(TimeoutError)(read_file)("/"), Result[bytes, LoadFailure[OSError | TimeoutError]])
    assert (stale_on(OSError)(read)("/").failure().use_stale, stale_on(Down)(plain)(0).failure().use_stale) == (
        True,
        True,
    )


@stale_on(ConnectionError)
@safe((OSError,))
def fetch(path: str, *, encoding: str = "utf-8") -> str:
    """A callback made by decorators alone."""
    return path.encode(encoding).decode(encoding)


def decorated(cache: LastCache[str, str, OSError]) -> None:
    """Decorators make a callback, and the callback of a key alone a function that answers from the cache."""
    assert_type(fetch("k", encoding="ascii"), Result[str, LoadFailure[OSError | ConnectionError]])
    assert_type(cache.load_or_store("k", fetch), Result[CachedValue[str, OSError], OSError])
    assert_type(cached(cache)(fetch)("k"), Result[CachedValue[str, OSError], OSError])


def stages(cache: Users) -> None:
    """``cached(cache)(callback)`` is a function of the key, with the types of the cache."""
    ask = cached(cache)(either)
    assert_type(ask(1), Result[CachedValue[User, Error], Error])
    assert_type(cached(cache)(only_down)(1), Result[CachedValue[User, Error], Error])
    assert_type(revalidating(cache)(either)(1), Result[Revalidation[User, Error], Error])
    assert_type(revalidating(cache)(only_down)(1), Result[Revalidation[User, Error], Error])


Day = tuple[str, date]
rates = LastCache[Day, float, Down]()


def by_day(base: str, on: date, *, source: str = "ecb") -> Day:
    """The key of a rate."""
    return base, on


@cached(rates, key=by_day)
def rate(base: str, on: date, *, source: str = "ecb") -> Result[float, LoadFailure[Down]]:
    """A function of several arguments."""
    return Success(1.0 + len(base + source) + on.day)


@dataclass
class Bank:
    """What has a method that answers from a cache."""

    fee: float

    def day_of(self, base: str, on: date) -> Day:
        """Give the key of a rate."""
        return base, on

    @cached(rates, key=day_of)
    def rate(self, base: str, on: date) -> Result[float, LoadFailure[Down]]:
        """Add the fee."""
        return Success(self.fee + len(base) + on.day)

    def new_year(self, base: str) -> Day:
        """Give the key of a rate."""
        return base, date(2020, 1, 1)

    @revalidating(rates, key=new_year)
    def old_rate(self, base: str) -> Result[float, LoadFailure[Down]]:
        """Give the rate of a day."""
        return Success(self.fee + len(base))


def several_arguments() -> None:
    """With ``key`` a function keeps its parameters, and a method is one still."""
    day = date(2020, 1, 2)
    assert_type(rate("EUR", day), Result[CachedValue[float, Down], Down])
    assert_type(rate("EUR", on=day, source="fed"), Result[CachedValue[float, Down], Down])
    assert_type(Bank(0.5).rate("USD", on=day), Result[CachedValue[float, Down], Down])
    assert_type(Bank(0.5).old_rate("USD"), Result[Revalidation[float, Down], Down])
    assert [rate("EUR", day).unwrap().value, Bank(0.5).rate("USD", day).unwrap().value] == [9.0, 5.5]
    rates.clear()


@dataclass(frozen=True)
class Deps:
    """What a program is given."""

    users: Users
    suffix: str


def in_context(user_id: int) -> RequiresContextResult[User, LoadFailure[Error], Deps]:
    """A callback that needs a context."""
    return RequiresContextResult(lambda deps: Success(User(f"{user_id}{deps.suffix}")))


def contexts(cache: Users) -> None:
    """The answer needs what the callback needs; the cache may be a part of it."""
    deps = Deps(cache, "th")
    asked = context_cached(cache)(in_context)(4)
    assert_type(asked, RequiresContextResult[CachedValue[User, Error], Error, Deps])
    assert_type(asked(deps), Result[CachedValue[User, Error], Error])
    of_deps = context_cached_in(users_of)(in_context)(4)
    assert_type(of_deps, RequiresContextResult[CachedValue[User, Error], Error, Deps])
    assert_type(of_deps.map(value_of), RequiresContextResult[User, Error, Deps])
    assert of_deps(deps).unwrap().value == User("4th")


def users_of(deps: Deps) -> Users:
    return deps.users


def too_old(cached: CachedValue[User, Error]) -> Error:
    return Down(f"{cached.value.name} is stale")


def warn(cached: CachedValue[User, Error]) -> None:
    assert cached.stale


def values(cache: Users) -> None:
    """Functions over ``CachedValue`` keep value and error, in both checkers."""
    answer = cache.load_or_store(1, either)
    assert_type(answer.map(value_of), Result[User, Error])
    assert_type(answer.map(error_of), Result[Maybe[Error], Error])
    assert_type(answer.map(or_stale_warning(warn)), Result[User, Error])
    assert_type(fresh_only(too_old), Callable[[CachedValue[User, Error]], Result[User, Error]])
    assert_type(answer.bind(fresh_only(too_old)), Result[User, Error])  # pyright: ignore[reportUnknownMemberType]


def name_of(user: User) -> str:
    return user.name


def parts(cache: Users, count: CachedValue[int, str]) -> None:
    """``map`` changes the value's type, ``zip`` and ``together`` join values and errors."""
    answer = cache.load_or_store(1, either)
    user = answer.unwrap()
    assert_type(user.map(name_of), CachedValue[str, Error])
    assert_type(user.zip(count), CachedValue[tuple[User, int], NotFound | Down | str])
    assert_type(together([user, user]), CachedValue[tuple[User, ...], NotFound | Down])
    other = cache.load_or_store(1, either)
    assert_type(zipped(answer, other), Result[CachedValue[tuple[User, User], NotFound | Down], NotFound | Down])
    assert_type(collected([answer, other]), Result[CachedValue[tuple[User, ...], Error], Error])


def complain(event: Event[int, Error]) -> None:  # noqa: C901  # every event there is
    """An observer of one cache: a match over the events gives each its type."""
    match event:
        case LoadFailed():
            assert_type(event, LoadFailed[int, NotFound | Down])
            assert_type(event.err, NotFound | Down)
        case ServedStale():
            assert_type(event.err, NotFound | Down | None)
        case LoadRaised():
            assert_type(event.exception, BaseException)
        case LoadStarted() | Loaded() | Joined() | Waited() | RefreshStarted() | RefreshRefused() | Evicted() | Swept():
            assert_type(event.key, int)
        case StoreServed() | StoreUnread() | StoreOutran() | WaitedElsewhere():
            assert_type(event.key, int)
        case ChangedElsewhere() | StoreSkipped():
            assert_type(event.key, int | None)
        case StoreAway() | PushLost():
            assert_type(event.failure, StoreFailure)
        case PushBack():
            assert_type(event.lost_for, timedelta)
        case StoreBack():
            assert_type(event.owed, int)


def anything(event: Event[object, object]) -> None:
    """An observer of any cache."""
    assert_type(event.cache, str)


def observed() -> None:
    """An observer of the cache's events, or of more, is accepted, and so is the ``submit`` of a pool."""
    with ThreadPoolExecutor() as pool:
        cache = LastCache[int, User, Error](observer=complain, executor=pool.submit)
        assert_type(cache, LastCache[int, User, Error])
        assert_type(cache.stats(), Stats)
        assert_type(cache.stats().hits, int | None)
        assert_type(cache.load_or_store(1, either).map(value_of), Result[User, Error])
    assert LastCache[int, User, Error](observer=all_of(complain, anything, log_to(getLogger("users"))))
    assert LastCache[int, User, Error](executor=run_inline)


def scripted(cache: Users) -> None:
    """A script is a callback, with the types that it is written down with."""
    load = ScriptedLoad[User, Down](failed(Down("timeout"), use_stale=True), Success(User("Ada")))
    assert_type(load(1), Result[User, LoadFailure[Down]])
    assert_type(cache.load_or_store(1, load), Result[CachedValue[User, Error], Error])
    assert_type(cache.load_or_store(1, ScriptedLoad[User, Error]()), Result[CachedValue[User, Error], Error])
