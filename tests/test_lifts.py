"""Lifts: which failures stale data may cover, which forget the value, and how long each is remembered."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

import anyio
import pytest
from returns.context import RequiresContextIOResult
from returns.future import FutureResult
from returns.io import IOResult
from returns.maybe import Nothing
from returns.result import Failure, Result, Success
from returns.unsafe import unsafe_perform_io

from lastcache import CachedValue, Config, ConfigError, LastCache, LoadFailure
from lastcache.pipelines import (
    cached,
    fold,
    folding,
    future_stale_if,
    future_stale_on,
    io_context_cached,
    io_context_cached_in,
    io_stale_if,
    io_stale_on,
    stale_if,
    stale_on,
)
from lastcache.testing import ManualClock
from tests.kit import given

MINUTE = timedelta(minutes=1)
NO_TIME = timedelta(0)

Lift = Callable[..., Callable[..., Any]]


def plainly(lifted: Callable[..., Any], err: object) -> LoadFailure[Any]:
    def load(err: object) -> Result[int, Any]:
        return Failure(err)

    failure: LoadFailure[Any] = lifted(load)(err).failure()
    return failure


def in_io(lifted: Callable[..., Any], err: object) -> LoadFailure[Any]:
    def load(err: object) -> IOResult[int, Any]:
        return IOResult.from_failure(err)

    failure: LoadFailure[Any] = unsafe_perform_io(lifted(load)(err).failure())
    return failure


def in_future(lifted: Callable[..., Any], err: object) -> LoadFailure[Any]:
    def load(err: object) -> FutureResult[int, Any]:
        return FutureResult.from_failure(err)

    failure: LoadFailure[Any] = unsafe_perform_io(anyio.run(lifted(load)(err).awaitable).failure())
    return failure


by_types = pytest.mark.parametrize(
    ("lift", "fails"), [(stale_on, plainly), (io_stale_on, in_io), (future_stale_on, in_future)]
)
by_predicates = pytest.mark.parametrize(
    ("lift", "fails"), [(stale_if, plainly), (io_stale_if, in_io), (future_stale_if, in_future)]
)


@by_types
def test_types_say_all_that_a_failure_can(lift: Any, fails: Any) -> None:
    """The more specific class of ``forget_on`` wins; what stale data may not cover is remembered."""
    lifted = lift(OSError, KeyError, forget_on=(FileNotFoundError,), remember_for=MINUTE)
    lost, gone, other = TimeoutError("lost"), FileNotFoundError("gone"), ValueError("other")
    assert [fails(lifted, err) for err in (lost, gone, other)] == [
        LoadFailure(lost, use_stale=True),
        LoadFailure(gone, use_stale=False, forget=True, remember_for=MINUTE),
        LoadFailure(other, use_stale=False, remember_for=MINUTE),
    ]
    bare = lift(OSError)
    assert [fails(bare, err) for err in (lost, other)] == [
        LoadFailure(lost, use_stale=True),
        LoadFailure(other, use_stale=False),
    ]


@by_predicates
def test_predicates_say_all_that_a_failure_can(lift: Any, fails: Any) -> None:
    """``forget_if`` is asked first and wins, so that no error is in both groups."""
    lifted = lift(lambda err: "down" in err, forget_if=lambda err: "gone" in err, remember_for=MINUTE)
    assert [fails(lifted, err) for err in ("down", "gone", "gone down", "?")] == [
        LoadFailure("down", use_stale=True),
        LoadFailure("gone", use_stale=False, forget=True, remember_for=MINUTE),
        LoadFailure("gone down", use_stale=False, forget=True, remember_for=MINUTE),
        LoadFailure("?", use_stale=False, remember_for=MINUTE),
    ]


@by_predicates
def test_a_function_decides_how_long_each_failure_is_remembered(lift: Any, fails: Any) -> None:
    """A function from the error to a duration is asked for every failure, those that stale data may cover, too."""
    durations = {"down": timedelta(seconds=1), "gone": None, "?": NO_TIME}
    lifted = lift(lambda err: err == "down", remember_for=durations.get)
    assert [fails(lifted, err).remember_for for err in durations] == list(durations.values())


@by_types
@pytest.mark.parametrize("same", [(OSError,), (Exception,), (KeyError, OSError), (LookupError, Exception)])
def test_classes_that_could_never_be_covered_are_refused(lift: Any, fails: Any, same: tuple[type, ...]) -> None:
    """A class of ``forget_on`` that takes all of a covered class with it is an error of the decorator."""
    with pytest.raises(ConfigError, match=r"^forget_on=.*would forget every OSError"):
        lift(OSError, forget_on=same)
    assert fails(lift(OSError, forget_on=(LookupError,)), KeyError("gone")).forget


@by_types
def test_no_class_at_all_is_refused(lift: Any, fails: Any) -> None:
    """Without a class nothing could be covered: that is no choice but an oversight."""
    with pytest.raises(ConfigError, match=r"^error_types=\(\): must name at least one class"):
        lift()
    with pytest.raises(ConfigError, match=r"^error_types=\(\): must name at least one class"):
        lift(forget_on=(OSError,))


@runtime_checkable
class HasStatus(Protocol):
    """What has a status."""

    status: int


class Sealed(Protocol):
    """What cannot be asked of an instance."""

    status: int


class NotFound(Exception):  # noqa: N818  # a domain's name
    """What has one, and is gone."""

    status = 404


@pytest.mark.parametrize("wrong", [["OSError"], OSError, [OSError], (OSError("e"),), ((OSError,),), (Sealed,), None])
def test_what_is_no_class_to_forget_on_is_refused(wrong: Any) -> None:
    """``forget_on`` is a tuple of classes that ``isinstance`` takes."""
    with pytest.raises(ConfigError, match=r"^forget_on=.*must be classes"):
        stale_on(KeyError, forget_on=wrong)


def test_any_class_that_tells_of_instances_will_do() -> None:
    """A runtime protocol groups errors as a base class does."""
    lifted = stale_on(HasStatus, forget_on=(FileNotFoundError,))  # type: ignore[type-abstract]  # mypy's own rule
    assert plainly(lifted, NotFound("k")).use_stale
    assert plainly(stale_on(OSError, forget_on=(HasStatus,)), NotFound("k")).forget
    with pytest.raises(ConfigError, match=r"^error_types=.*isinstance takes"):
        stale_on(Sealed)  # type: ignore[type-abstract]  # the same


@pytest.mark.parametrize("wrong", [timedelta(seconds=-1), 60, "1 min", 0.5])
@pytest.mark.parametrize("lift", [stale_on, io_stale_on, future_stale_on])
def test_what_is_no_duration_is_refused(lift: Any, wrong: Any) -> None:
    """``remember_for`` is checked when the decorator is made."""
    with pytest.raises(ConfigError, match=r"^remember_for=.*must be a timedelta of zero or more"):
        lift(OSError, remember_for=wrong)
    with pytest.raises(ConfigError, match=r"^remember_for="):
        stale_if(bool, remember_for=wrong)


def test_a_missing_page_is_remembered_and_an_outage_is_not() -> None:
    """In a cache: the 404 stands for a minute and drops the value; the outage is asked about each time."""
    down, gone = OSError("down"), NotFound("gone")
    errors = [down, gone, down]
    clock = ManualClock()
    cache = LastCache[str, str, Exception](Config(global_ttl=MINUTE), clock=clock)

    @cached(cache)
    @stale_on(OSError, forget_on=(NotFound,), remember_for=MINUTE)
    def page(path: str) -> Result[str, Exception]:
        return Failure(errors.pop(0))

    cache.set("/", "old")
    page.expire("/")
    assert page("/") == given("old", stale=True, err=down)
    assert [page("/"), page("/"), page.peek("/")] == [Failure(gone), Failure(gone), Nothing]
    clock.advance(MINUTE + timedelta(microseconds=1))
    assert page("/") == Failure(down)


def test_each_kind_of_answer_is_folded() -> None:
    """Exactly one branch is called, with what it is about; curried and not, the same."""
    answers: list[Result[CachedValue[int, str], str]] = [
        Success(CachedValue(1)),
        Success(CachedValue(2, stale=True)),
        Success(CachedValue(3, stale=True, err="down")),
        Failure("gone"),
    ]

    def fresh(value: int) -> str:
        return f"fresh {value}"

    def stale(value: int, err: str | None) -> str:
        return f"stale {value} {err}"

    def lost(err: str) -> str:
        return f"failed {err}"

    told = ["fresh 1", "stale 2 None", "stale 3 down", "failed gone"]
    assert [fold(answer, fresh=fresh, stale=stale, failed=lost) for answer in answers] == told
    assert [folding(fresh=fresh, stale=stale, failed=lost)(answer) for answer in answers] == told


def test_a_context_in_io_reaches_the_callback() -> None:
    """Nothing runs before the context comes, and the cache may come with it."""
    one, other = LastCache[str, str, str](), LastCache[str, str, str]()

    def load(key: str) -> RequiresContextIOResult[str, LoadFailure[str], str]:
        return RequiresContextIOResult(lambda root: IOResult.from_value(root + key))

    lazy = io_context_cached(one)(load)("etc")
    assert len(one) == 0
    assert [lazy("/"), lazy("C:")] == [IOResult.from_result(given("/etc"))] * 2
    in_context = io_context_cached_in(lambda root: other if root == "C:" else one)(load)("etc")
    assert in_context("C:") == IOResult.from_result(given("C:etc"))
