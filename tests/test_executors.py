"""Where background loads run: what an executor takes, runs inline, refuses, or fails at."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from returns.result import Success

from lastcache import CachedValue, ConfigError, LastCache, ReentrantLoadError, failed
from lastcache.core.states import Outcome
from lastcache.events import (
    Event,
    RefreshRefused,
    ServedStale,
)
from lastcache.testing import ManualClock, ManualExecutor, run_inline
from tests.kit import error_of, given, gives, in_thread, never, result_of


def test_an_executor_runs_the_background() -> None:
    """Background loads run where the executor has them run; of what it refuses stale is given all the same."""
    executor, events = ManualExecutor(), list[Event[str, str]]()
    cache = LastCache[str, str, str](clock=(clock := ManualClock()), executor=executor, observer=events.append)
    cache.set("k", "old")
    clock.advance(timedelta(minutes=2))
    behind = cache.async_load_or_store("k", gives(Success("new"))).unwrap()
    assert behind.refresh is not None
    assert (behind.cached, behind.refresh.done(), len(executor)) == (CachedValue("old", stale=True), False, 1)
    assert executor.run_all() == 1
    assert (behind.refresh.result(0), cache.peek("k").unwrap()) == (given("new"), CachedValue("new"))

    def refuse(_work: object) -> None:
        raise RuntimeError("the pool was shut down")

    refused = LastCache[str, str, str](executor=refuse, observer=events.append)
    refused.set("k", "old")
    refused.expire("k")
    events.clear()
    assert refused.async_load_or_store("k", never).unwrap().cached == CachedValue("old", stale=True)
    assert events == [RefreshRefused("k", "the pool was shut down"), ServedStale("k", None)]


def test_an_inline_executor_needs_no_thread() -> None:
    """With ``run_inline`` the load has ended when the stale value is given; who is told may use the cache."""
    cache = LastCache[str, str, str](executor=run_inline)
    cache.set("k", "old")
    cache.expire("k")
    before = threading.active_count()

    def load(key: str) -> Outcome[str, str]:
        return Success(cache.load_or_store("inner", gives(Success(key))).unwrap().value)

    behind = cache.async_load_or_store("k", load).unwrap()
    assert behind.refresh is not None
    assert (behind.refresh.result(0), threading.active_count()) == (given("k"), before)
    assert cache.load_or_store("inner", never) == given("k")


def test_an_inline_load_that_waits_for_its_caller_is_a_circle() -> None:
    """A load that runs inline in a callback, and asks for that callback's key, is refused rather than left to hang."""
    cache = LastCache[str, str, str](executor=run_inline)
    cache.set("inner", "old")
    cache.expire("inner")
    refreshes = list[object]()

    def inner(_key: str) -> Outcome[str, str]:
        return Success(cache.load_or_store("outer", never).unwrap().value)

    def outer(_key: str) -> Outcome[str, str]:
        behind = cache.async_load_or_store("inner", inner).unwrap()
        refreshes.append(error_of(behind.refresh))
        return Success("v")

    assert result_of(in_thread(lambda: cache.load_or_store("outer", outer))) == given("v")
    assert [type(refresh) for refresh in refreshes] == [ReentrantLoadError]


def test_an_executor_that_exits_leaves_nothing_queued() -> None:
    """What an executor raises that is no ``Exception`` reaches its caller; the refresh is dropped."""
    cache = LastCache[str, str, str](executor=raising_exit)
    cache.set("k", "old")
    cache.expire("k")
    with pytest.raises(SystemExit):
        cache.async_load_or_store("k", never)
    assert cache.load_or_store("k", gives(failed("down", use_stale=True))) == given("old", stale=True, err="down")
    assert cache.stats().refresh_refused == 1


def raising_exit(_work: object) -> None:
    raise SystemExit


@pytest.mark.parametrize("wrong", ["print", 1, []])
def test_what_cannot_be_called_is_refused(wrong: Any) -> None:
    """An observer or executor that is no function is a ``ConfigError`` that names it."""
    with pytest.raises(ConfigError, match=r"observer=.*must be a function of one event"):
        LastCache(observer=wrong)
    with pytest.raises(ConfigError, match=r"executor=.*must be a function that runs"):
        LastCache(executor=wrong)


class HearsLater:
    """An observer by its ``__call__``, or by a method, that is never awaited."""

    async def __call__(self, _event: object) -> None: ...

    async def hear(self, _event: object) -> None: ...


async def hear_later(_event: object) -> None: ...


@pytest.mark.parametrize("wrong", [hear_later, HearsLater(), HearsLater().hear])
def test_an_observer_that_is_async_is_refused(wrong: Any) -> None:
    """Nobody would await it: the error says so when the cache is made."""
    with pytest.raises(ConfigError, match=r"observer=.*must be a function of one event that is not async"):
        LastCache(observer=wrong)
