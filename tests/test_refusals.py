"""A background load that is refused: by its executor, or by ``close``."""

import threading
from collections.abc import Callable
from contextlib import suppress

from returns.result import Success

from lastcache import Config, LastCache
from lastcache.events import Event, RefreshRefused
from lastcache.testing import ManualClock
from tests.kit import gated, given, gives, result_of, ticks
from tests.shells import Stage, never


class Leaving:
    """An executor that runs what it is given first, and ends the thread of whoever comes later."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, work: Callable[[], object]) -> None:
        self.calls += 1
        if self.calls > 1:
            raise SystemExit("no more")
        threading.Thread(target=work, daemon=True).start()


def test_an_executor_that_ends_its_caller_is_asked_once() -> None:
    """An executor that raises ``SystemExit`` while a worker is busy is not asked again and again by the same call."""
    clock, executor = ManualClock(), Leaving()
    config = Config(global_ttl=ticks(100), async_semaphore=2)
    cache: LastCache[str, str, str] = LastCache(config, clock=clock, executor=executor)
    for key in ("busy", "k"):
        cache.set(key, "old")
    clock.advance(ticks(101))
    busy = gated(Success("late"))
    hung = cache.async_load_or_store("busy", busy).unwrap().refresh
    busy.started()
    try:
        with suppress(SystemExit, RecursionError):
            cache.async_load_or_store("k", gives(Success("new")))
        assert executor.calls in (2, 3)
    finally:
        busy.let_go()
        result_of(hung)
        cache.close()


async def test_close_tells_each_refusal_once(stage: Stage) -> None:
    """However often a cache is closed, also by its observer, it tells once of each load that it refuses."""
    refused: list[str] = []

    def close_again(event: Event[str, str]) -> None:
        if isinstance(event, RefreshRefused):
            refused.append(event.key)
            if len(refused) == 1:
                stage.cache.close()

    cache = await stage.open("stuck", "a", "b", observer=close_again)
    stuck = stage.gated(Success("late"))
    hung = await stage.behind("stuck", stuck)
    try:
        await stuck.started()
        for key in "ab":
            await stage.behind(key, never)
        cache.close()
        assert ["a", "b"] == sorted(refused)
    finally:
        stuck.let_go()
    assert await stage.ended(hung) == given("late")
