"""What the tests hold a cache with, beside ``lastcache.testing``: small caches, and threads that report."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, Final, TypeVar

from returns.result import Result, Success

from lastcache import CachedValue, Config, LastCache
from lastcache.core.states import Outcome
from lastcache.testing import ManualClock, ScriptedLoad

T = TypeVar("T")
V = TypeVar("V")
E = TypeVar("E")

PATIENCE: Final = float(os.environ.get("PATIENCE", "20"))
"""The seconds after which a wait is called a hang."""

TICK: Final = timedelta(microseconds=1)


def gated(*outcomes: Outcome[V, E] | BaseException) -> ScriptedLoad[V, E]:
    """Make a callback that waits until it is let go, and gives its last outcome for ever."""
    return ScriptedLoad(*outcomes, gated=True, repeat=True)


def in_thread(act: Callable[[], T]) -> "Future[T]":
    """Run ``act`` in a thread of its own; what it gives or raises is in the future."""
    future: Future[T] = Future()

    def report() -> None:
        try:
            future.set_result(act())
        except BaseException as err:
            future.set_exception(err)

    threading.Thread(target=report, daemon=True).start()
    return future


def result_of(future: "Future[T] | None") -> T:
    """Wait for ``future``; a hang is a failure."""
    assert future is not None
    return future.result(PATIENCE)


def error_of(future: "Future[T] | None") -> BaseException | None:
    """Wait for ``future`` to fail; a hang is a failure."""
    assert future is not None
    return future.exception(PATIENCE)


def ticks(count: int) -> timedelta:
    """Give ``count`` ticks as users write them."""
    return count * TICK


def small_cache(clock: ManualClock, *, ttl: int = 100, extend: int = 0, workers: int = 1) -> "LastCache[str, str, str]":
    """Make a cache whose options are given in ticks, and whose observer is told for nothing."""
    config = Config(global_ttl=ticks(ttl), extend_ttl=ticks(extend), async_semaphore=workers)
    return LastCache(config, clock=clock, observer=lambda _event: None)


def given(value: V, *, stale: bool = False, err: E | None = None) -> Result[CachedValue[V, E], E]:
    """Make the answer that a caller of ``load_or_store`` gets."""
    return Success(CachedValue(value, stale, err))


def gives(outcome: Outcome[V, E]) -> Callable[[object], Outcome[V, E]]:
    """Make a callback with this outcome."""
    return lambda _key: outcome


def never(_key: object) -> Outcome[str, str]:
    """Stand for a callback that must not be called."""
    raise AssertionError("this callback must not run")


def until(condition: Callable[[], bool]) -> None:
    """Wait for what a thread that cannot be asked brings about; a hang is a failure."""
    pause = threading.Event()
    for _ in range(int(PATIENCE / 0.002)):
        if condition():
            return
        pause.wait(0.002)
    raise AssertionError("it did not happen in time")


def places(cache: Any) -> int:
    """Count the places in which a cache has loads: its own, and those of the event loops that it has seen."""
    return len(cache._shell.state.places)  # noqa: SLF001


def kept_in(cache: Any) -> int:
    """Count all that a cache has stored, the failures that it remembers among them."""
    return len(cache._entries)  # noqa: SLF001


def queues_of(entries: Any) -> tuple[int, set[object]]:
    """Count the places in the queue of evictions, and give the keys in that of the sweep."""
    return len(entries._sieve), set(entries._sweep_order)  # noqa: SLF001


def under_way(cache: Any) -> list[object]:
    """Give the loads that a cache has under way or queued."""
    return [load for loads in cache._shell.state.places for load in loads.traffic.values()]  # noqa: SLF001
