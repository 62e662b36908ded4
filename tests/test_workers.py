"""Worker threads: how they start, end and are held up, and what their futures promise."""

import _thread
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future

import pytest
from returns.result import Result, Success

from lastcache import CachedValue, Config, LastCache, LoadDroppedError, Revalidation, failed
from lastcache.core.states import Answer, Outcome
from lastcache.testing import ManualClock
from tests.kit import error_of, gated, given, gives, in_thread, never, result_of, small_cache, ticks

Cache = LastCache[str, str, str]
STALE = CachedValue[str, str]("old", stale=True)


def expired(*keys: str, extend: int = 0, workers: int = 1) -> tuple[Cache, ManualClock]:
    """A cache in which every key has the expired value ``old``."""
    clock = ManualClock()
    cache = small_cache(clock, extend=extend, workers=workers)
    for key in keys:
        cache.set(key, "old")
    clock.advance(ticks(101))
    return cache, clock


def behind(answer: Result[Revalidation[str, str], str]) -> Future[Answer[str, str]]:
    """Take out the refresh of a stale answer."""
    revalidation = answer.unwrap()
    assert revalidation.cached.stale
    assert revalidation.refresh is not None
    return revalidation.refresh


def test_nobody_can_cancel_a_refresh() -> None:
    """A holder cannot cancel a refresh for the others, queued or running."""
    cache, _ = expired("a", "b")
    load = gated(Success("new"))
    running = behind(cache.async_load_or_store("a", load))
    queued = behind(cache.async_load_or_store("b", load))
    assert [False, False] == [running.cancel(), queued.cancel()]
    load.let_go()
    load.let_go()
    assert [given("new")] * 2 == [result_of(running), result_of(queued)]


def refuse_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no thread start, as a system does that has run out of them."""

    def start(_self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_without_threads_stale_is_given_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """If no thread can start the stale value is given, ``refresh`` says why, and the next call tries again."""
    cache, _ = expired("k")
    with monkeypatch.context() as patched:
        refuse_threads(patched)
        refreshes = [behind(cache.async_load_or_store("k", never)) for _ in range(3)]
        assert [LoadDroppedError] * 3 == [type(error_of(refresh)) for refresh in refreshes]
        assert "can't start new thread" in str(error_of(refreshes[0]))
        assert cache.load_or_store("k", gives(failed("down", use_stale=True))) == given("old", stale=True, err="down")
    assert result_of(behind(cache.async_load_or_store("k", gives(Success("new"))))) == given("new")


def test_a_callback_of_refresh_may_use_the_cache() -> None:
    """Whoever is told by ``refresh`` may call the cache from there: nothing is held while he is told."""
    cache, _ = expired("k")
    load = gated(Success("new"))
    refresh = behind(cache.async_load_or_store("k", load))
    told: Future[Answer[str, str]] = Future()
    refresh.add_done_callback(lambda _done: told.set_result(cache.load_or_store("other", gives(Success("v")))))
    load.let_go()
    assert result_of(told) == given("v")


class WatchedClock(ManualClock):
    """A clock that runs ``on_worker`` when a worker thread reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.on_worker: Callable[[], object] = lambda: None

    def __call__(self) -> int:
        if threading.current_thread().name == "lastcache-refresh":
            self.on_worker()
        return super().__call__()


def watched(*keys: str) -> tuple[Cache, WatchedClock]:
    """A cache in which every key has the expired value ``old``, with a watched clock."""
    clock = WatchedClock()
    cache = small_cache(clock)
    for key in keys:
        cache.set(key, "old")
    clock.advance(ticks(101))
    return cache, clock


def once(act: Callable[[], object]) -> Callable[[], None]:
    """Make ``act`` happen the first time only."""
    left = [act]

    def act_once() -> None:
        if left:
            left.pop()()

    return act_once


def put_off(*keys: str) -> tuple[Cache, list[Callable[[], object]]]:
    """Make a cache in which every key has the expired value ``old``, and whose workers do not start by themselves."""
    clock, work = ManualClock(), list[Callable[[], object]]()
    config = Config(global_ttl=ticks(100))
    cache: Cache = LastCache(config, clock=clock, executor=work.append)
    for key in keys:
        cache.set(key, "old")
    clock.advance(ticks(101))
    return cache, work


def test_a_load_taken_over_as_it_starts_runs_once() -> None:
    """A load that is taken over before its worker comes runs once: the worker leaves it to the one who waits."""
    cache, work = put_off("k")
    own = gated(Success("own"))
    refresh = behind(cache.async_load_or_store("k", never))
    caller = in_thread(lambda: cache.load_or_store("k", own))
    own.started()
    for act in work:
        act()
    own.let_go()
    assert [given("own")] * 2 == [result_of(refresh), result_of(caller)]


def test_a_load_whose_cache_is_closed_as_it_starts() -> None:
    """A load whose cache is closed before its worker comes does not run."""
    cache, work = put_off("k")
    refresh = behind(cache.async_load_or_store("k", never))
    cache.close()
    for act in work:
        act()
    assert type(error_of(refresh)) is LoadDroppedError


def test_a_clock_that_fails_a_worker() -> None:
    """If the clock raises in the worker, ``refresh`` says so, and the next stale reader starts another load."""
    cache, clock = watched("k")

    def fail() -> None:
        raise OSError("no clock")

    clock.on_worker = once(fail)
    assert type(error_of(behind(cache.async_load_or_store("k", never)))) is OSError
    assert result_of(behind(cache.async_load_or_store("k", gives(Success("new"))))) == given("new")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_refresh_callback_that_ends_its_thread_leaves_the_others_told() -> None:
    """What the callback of one future raises keeps no other future from being resolved."""
    cache, _ = expired("stuck", "a", "b")
    stuck = gated(Success("late"))
    hung = behind(cache.async_load_or_store("stuck", stuck))
    stuck.started()
    refreshes = [behind(cache.async_load_or_store(key, never)) for key in "ab"]
    for refresh in refreshes:
        refresh.add_done_callback(lambda _done: sys.exit(1))
    cache.close()
    assert [LoadDroppedError] * 2 == [type(error_of(refresh)) for refresh in refreshes]
    stuck.let_go()
    assert result_of(hung) == given("late")


def test_a_key_that_lost_its_hash_keeps_no_other_waiting() -> None:
    """``close`` tells every ``refresh``, also where one key cannot be looked up any more."""

    class Fickle:
        """A key whose hash may fail."""

        lost = False

        def __hash__(self) -> int:
            if self.lost:
                raise LookupError("no hash")
            return 1

    clock, fickle = ManualClock(), Fickle()
    cache: LastCache[object, str, str] = LastCache(clock=clock)
    for key in ("stuck", fickle, "k"):
        cache.set(key, "old")
        cache.expire(key)
    gate = threading.Event()

    def stuck(_key: object) -> Outcome[str, str]:
        gate.wait(20)
        return Success("late")

    cache.async_load_or_store("stuck", stuck)
    refreshes = [cache.async_load_or_store(key, never).unwrap().refresh for key in (fickle, "k")]
    fickle.lost = True
    cache.close()
    assert [LoadDroppedError] * 2 == [type(error_of(refresh)) for refresh in refreshes]
    gate.set()


def test_an_interrupted_start_of_a_worker_keeps_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt of a caller whose worker starts all the same does not let two callbacks run where one may."""
    cache, _ = expired("a", "b")
    load = gated(Success("new"))
    start = _thread.start_new_thread

    def interrupted(function: Callable[[], object], args: tuple[()]) -> int:
        start(function, args)
        load.started()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.async_load_or_store("a", load)
    second = behind(cache.async_load_or_store("b", load))
    threading.Event().wait(0.05)
    assert load.calls == ["a"]
    load.let_go()
    load.let_go()
    assert result_of(second) == given("new")


def test_a_coroutine_function_is_no_callback() -> None:
    """An asynchronous callback is refused at once, and its coroutine is closed rather than left unawaited."""
    cache: LastCache[str, str, str] = LastCache(clock=ManualClock())

    async def wrong(_key: str) -> Outcome[str, str]:
        return Success("v")

    with pytest.raises(TypeError, match="coroutine that nobody awaited"):
        cache.load_or_store("k", wrong)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the mistake
