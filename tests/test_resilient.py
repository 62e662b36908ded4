"""The config to start from in production: no reader who has a value is held up."""

import warnings
from datetime import timedelta
from threading import Event
from typing import Final

import anyio
import pytest
from returns.result import Result, Success

from lastcache import Config, ConfigError, LastCache, LoadFailure, failed
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock
from tests.kit import PATIENCE, given, in_thread, result_of

TTL: Final = timedelta(seconds=60)
SHORT: Final = timedelta(milliseconds=5)
WITHIN: Final = timedelta(seconds=3599)
KEYS: Final = range(24)


def test_each_number_is_the_one_that_the_docs_name() -> None:
    """What is not said is what the page gives a reason for."""
    assert Config.resilient(TTL) == Config(
        global_ttl=TTL,
        extend_ttl=timedelta(seconds=10),
        soft_timeout=timedelta(milliseconds=100),
        stale_if_error=timedelta(hours=1),
        stale_while_revalidate=timedelta(hours=1),
        async_semaphore=16,
        max_queued=400,
        jitter=0.1,
    )


def test_the_pause_is_no_longer_than_the_ttl() -> None:
    """Where values live for a second, a failure spares the source for a second."""
    assert Config.resilient(timedelta(seconds=1)).extend_ttl == timedelta(seconds=1)


def test_what_is_said_wins() -> None:
    """Each option can be another one, also none."""
    config = Config.resilient(TTL, soft_timeout=None, max_entries=10, extend_ttl=timedelta(0))
    assert (config.soft_timeout, config.max_entries, config.extend_ttl) == (None, 10, timedelta(0))


def test_a_wrong_ttl_is_refused() -> None:
    """The error names the argument, the value, and what is right."""
    with pytest.raises(ConfigError, match=r"ttl=datetime.timedelta\(0\): must be a timedelta above zero"):
        Config.resilient(timedelta(0))


def test_no_reader_waits_for_a_source_that_hangs() -> None:
    """With more keys than workers, and each asked for three times, every answer comes while every load hangs."""
    clock, back = ManualClock(), Event()
    cache = LastCache[int, str, str](Config.resilient(TTL, soft_timeout=SHORT, jitter=0.0), clock=clock)
    for key in KEYS:
        cache.set(key, "old")
    clock.advance(WITHIN)

    def hang(_key: int) -> Result[str, LoadFailure[str]]:
        back.wait(PATIENCE)
        return failed("timeout", use_stale=True)

    try:
        answers = [cache.load_or_store(key, hang) for _ in range(3) for key in KEYS]
        assert not back.is_set()
        assert answers == [given("old", stale=True)] * len(answers)
    finally:
        cache.close()
        back.set()


@pytest.mark.anyio
async def test_no_task_waits_for_a_source_that_hangs() -> None:
    """Inside of the block the same holds for tasks."""
    clock = ManualClock()

    async def hang(_key: int) -> Result[str, LoadFailure[str]]:
        await anyio.sleep(PATIENCE)
        return failed("timeout", use_stale=True)

    async with AsyncLastCache[int, str, str](
        Config.resilient(TTL, soft_timeout=SHORT, jitter=0.0), clock=clock
    ) as cache:
        for key in KEYS:
            cache.set(key, "old")
        clock.advance(WITHIN)
        with anyio.fail_after(PATIENCE / 2):
            answers = [await cache.load_or_store(key, hang) for _ in range(3) for key in KEYS]
    assert answers == [given("old", stale=True)] * len(answers)


@pytest.mark.anyio
async def test_outside_of_the_block_the_cache_warns_once() -> None:
    """Where a soft timeout can have no effect, the first call says so, and where it stands."""
    cache = AsyncLastCache[str, str, str](Config.resilient(TTL))

    async def load(_key: str) -> Result[str, LoadFailure[str]]:
        return Success("v")

    with pytest.warns(RuntimeWarning, match=r"call it inside `async with cache:`") as warned:
        await cache.load_or_store("a", load)
    assert [warning.filename for warning in warned] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await cache.load_or_store("b", load)
        async with cache:
            await cache.load_or_store("c", load)


def test_a_value_whose_window_is_about_to_end_is_not_waited_for() -> None:
    """Where it could not be given after the wait, it is given at once: else its reader would wait for the load."""
    clock, back = ManualClock(), Event()
    window = timedelta(hours=1)
    cache = LastCache[str, str, str](Config.resilient(TTL, jitter=0.0), clock=clock)
    cache.set("k", "old")
    clock.advance(TTL + window - timedelta(milliseconds=50))

    def hang(_key: str) -> Result[str, LoadFailure[str]]:
        clock.advance(timedelta(seconds=1))
        back.wait(PATIENCE)
        return failed("timeout", use_stale=True)

    try:
        assert cache.load_or_store("k", hang) == given("old", stale=True)
    finally:
        cache.close()
        back.set()


def test_who_waits_softly_is_answered_when_the_cache_is_closed() -> None:
    """The load goes on, and its reader is given the value that stood in for it."""
    clock, started, back = ManualClock(), Event(), Event()
    cache = LastCache[str, str, str](Config.resilient(TTL, jitter=0.0), clock=clock)
    cache.set("k", "old")
    clock.advance(TTL + timedelta(seconds=1))

    def hang(_key: str) -> Result[str, LoadFailure[str]]:
        started.set()
        back.wait(PATIENCE)
        return failed("timeout", use_stale=True)

    reader = in_thread(lambda: cache.load_or_store("k", hang))
    assert started.wait(PATIENCE)
    cache.close()
    assert result_of(reader) == given("old", stale=True)
    back.set()
