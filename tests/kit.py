"""What the tests hold a cache with, beside ``lastcache.testing``: small caches, and threads that report."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TypeVar

import pytest
from returns.result import Result, Success

from lastcache import CachedValue, Config, LastCache
from lastcache._shell.flight import Flight
from lastcache.core.states import Outcome
from lastcache.testing import ManualClock, ScriptedLoad

T = TypeVar("T")
V = TypeVar("V")
E = TypeVar("E")

PATIENCE: Final = 20.0
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


JOINING: Final[list[int]] = []
"""The threads that stand at a flight that another leads; see ``counting_joiners``."""


@contextmanager
def counting_joiners() -> Iterator[None]:
    """Note who waits for a flight. The interpreter's own view, ``sys._current_frames``, can crash CPython 3.11."""
    wait = Flight[object, object, object, object].wait

    def noted(flight: Flight[object, object, object, object]) -> None:
        thread = threading.get_ident()
        JOINING.append(thread)
        try:
            wait(flight)
        finally:
            JOINING.remove(thread)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Flight, "wait", noted)
        yield


def await_joiners(count: int) -> None:
    """Wait until ``count`` threads stand at a flight that another leads."""
    until(lambda: len(JOINING) >= count)
