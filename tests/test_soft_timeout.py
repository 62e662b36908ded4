"""The soft timeout: a call that waits softly looks up again when its time is over, and hears only what is its own."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import pytest
from returns.result import Success

from lastcache import Config, LastCache
from lastcache.core.states import Answer, Outcome
from lastcache.testing import ManualClock, ScriptedLoad
from tests.kit import given, ticks
from tests.shells import Load, Stage, each_of, giving
from tests.test_processes import run

EXPIRED: Final[Answer[str, str]] = given("old", stale=True)
SOON: Final = timedelta(seconds=0.5)
"""Long enough to change a key while a call waits for it."""

LATE: Final = timedelta(seconds=1)
"""So long that a call waits for the end of its load, and short enough to end a test that hangs."""


@pytest.mark.parametrize("stage", each_of(quick=("threads",)), indirect=True)
@pytest.mark.slow
async def test_a_value_that_was_set_meanwhile_is_given(stage: Stage) -> None:
    """When its time is over a call gives the value that was ``set`` while it waited."""
    cache = await stage.open("k", soft_timeout=SOON)
    hanging = stage.gated(Success("late"))
    caller = stage.asking("k", hanging)
    try:
        await hanging.started()
        cache.set("k", "newer")
        assert await caller.result() == given("newer")
    finally:
        hanging.let_go()


@pytest.mark.parametrize("stage", each_of(quick=("asyncio",)), indirect=True)
@pytest.mark.slow
async def test_a_value_that_was_deleted_meanwhile_is_not_given(stage: Stage) -> None:
    """When its time is over, and its key was deleted while it waited, a call loads with its own callback."""
    cache = await stage.open("k", soft_timeout=SOON)
    hanging = stage.gated(Success("late"))
    caller = stage.asking("k", first_and_then(hanging, giving(Success("own"))))
    try:
        await hanging.started()
        cache.delete("k")
        assert await caller.result() == given("own")
    finally:
        hanging.let_go()


def first_and_then(first: Load, then: Load) -> Load:
    """Make a callback that is ``first`` when it is called for the first time."""
    turns = iter([first])

    async def load(key: str) -> Outcome[Any, str]:
        return await next(turns, then)(key)

    return load


@pytest.mark.parametrize("write", ["delete", "clear"])
async def test_whose_load_was_dropped_loads_itself(stage: Stage, write: str) -> None:
    """A call that waits for a queued load which ``delete`` or ``clear`` drops loads with its own callback."""
    cache = await stage.open("stuck", "k", soft_timeout=LATE)
    stuck = stage.gated(Success("late"))
    hung = await stage.behind("stuck", stuck)
    try:
        await stuck.started()
        refresh = await stage.behind("k", giving(Success("of before")))
        caller = stage.asking("k", giving(Success("own")))
        # Whoever waits has come to where it waits, and the write strikes nobody who is on the way.
        await stage.pause()
        cache.clear() if write == "clear" else cache.delete("k")
        assert await caller.result() == given("own")
        assert await stage.failed(refresh) is not None
    finally:
        stuck.let_go()
    assert await stage.ended(hung) == given("late")


@pytest.mark.parametrize("personal", [SystemExit, KeyboardInterrupt, GeneratorExit])
async def test_what_strikes_one_callback_strikes_no_other_caller(stage: Stage, personal: type[BaseException]) -> None:
    """An interrupt that comes out of one caller's callback never comes out of the call of another who waits softly."""
    await stage.open("k", soft_timeout=LATE)
    struck = stage.gated(personal())
    first = stage.asking("k", first_and_then(struck, giving(Success("again"))))
    try:
        await struck.started()
        other = stage.asking("k", giving(Success("own")))
        await stage.pause()
        struck.let_go()
        assert await other.error() is None
        assert await other.result() in (given("own"), given("again"), EXPIRED)
    finally:
        struck.let_go()
        await first.error()


async def test_the_longest_soft_timeout_is_one(stage: Stage) -> None:
    """Every soft timeout that a ``Config`` accepts can be waited for."""
    await stage.open("k", soft_timeout=timedelta.max)
    load = stage.gated(Success("new")).opened()
    try:
        assert await stage.ask("k", load) == given("new")
    finally:
        await load.started()


@contextmanager
def no_more_threads() -> Iterator[None]:
    """Let no thread start: the stack that each would get is larger than the memory that can be addressed."""
    before = threading.stack_size(1 << 50)
    try:
        yield
    finally:
        threading.stack_size(before)


def refusing(_work: Callable[[], object]) -> None:
    raise RuntimeError("no place in the pool")


@pytest.mark.parametrize("executor", [None, refusing])
def test_where_no_thread_can_be_had_a_call_loads(executor: Callable[[Callable[[], object]], object] | None) -> None:
    """Where nothing can run in the background, a call with a soft timeout soon loads with its own callback."""
    clock = ManualClock()
    config = Config(global_ttl=ticks(100), soft_timeout=LATE)
    cache: LastCache[str, str, str] = LastCache(config, clock=clock, executor=executor)
    cache.set("k", "old")
    clock.advance(ticks(101))
    load = ScriptedLoad[str, str](Success("new"))
    with no_more_threads():
        answers = [cache.load_or_store("k", load) for _ in range(3)]
    assert (["k"], given("new")) == (load.calls, answers[-1])


@pytest.mark.slow
def test_interrupts_of_soft_waits_hurt_nobody_else() -> None:
    """Handlers that raise while a call waits softly: what they raise comes out of that call, and the worker lives."""
    said = run(
        """
        class Alarm(BaseException):
            pass
        def strike(*_):
            raise Alarm
        signal.signal(signal.SIGALRM, strike)
        def waiting(softly):
            config = Config(global_ttl=timedelta(microseconds=100), soft_timeout=softly)
            return LastCache(config, clock=lambda: now[0])
        # In the one every call is struck while it waits, in the other also as it begins to wait and as it ends.
        caches = [waiting(timedelta(minutes=1)), waiting(timedelta(milliseconds=1))]
        gate, started = threading.Event(), threading.Semaphore(0)
        def load(_):
            started.release(); gate.wait(20); return Success("new")
        for cache in caches:
            expired("k", "other")
            cache.async_load_or_store("k", load)
            started.acquire(timeout=5)

        struck, others = 0, []
        ends_at = time.monotonic() + 1.5
        while time.monotonic() < ends_at:
            try:
                try:
                    signal.setitimer(signal.ITIMER_REAL, 0.0001 + (struck % 97) * 0.00001)
                    while True:
                        caches[struck % 2].load_or_store("k", load)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Alarm:
                struck += 1
            except Exception as err:
                others.append(err)
        gate.set()
        lives = []
        for cache in caches:
            refresh = cache.async_load_or_store("other", lambda _: Success("again")).unwrap().refresh
            try:
                lives.append(refresh.result(2) == Success(CachedValue("again")))
            except TimeoutError:
                lives.append(False)
        print(struck > 100, others, lives)
        """
    )
    assert said == "True [] [True, True]\n"
