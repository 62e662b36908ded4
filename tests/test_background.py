"""Stale-while-revalidate: what runs behind an answer, and that no answer ever waits for it."""

import _thread
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar

import pytest
from returns.result import Failure, Result, Success

from lastcache import CacheClosedError, CachedValue, LastCache, LoadDroppedError, Revalidation, failed
from lastcache.transitions import Answer, Outcome
from tests.kit import (
    Gated,
    ManualClock,
    await_joiners,
    error_of,
    given,
    gives,
    in_thread,
    never,
    result_of,
    small_cache,
    until,
)

Cache = LastCache[str, str, str]
STALE = CachedValue[str, str]("old", stale=True)


def expired(*keys: str, extend: int = 0, workers: int = 1) -> tuple[Cache, ManualClock]:
    """A cache in which every key has the expired value ``old``."""
    clock = ManualClock()
    cache = small_cache(clock, extend=extend, workers=workers)
    for key in keys:
        cache.set(key, "old")
    clock.advance(101)
    return cache, clock


def behind(answer: Result[Revalidation[str, str], str]) -> Future[Answer[str, str]]:
    """Take out the refresh of a stale answer."""
    revalidation = answer.unwrap()
    assert revalidation.cached.stale
    assert revalidation.refresh is not None
    return revalidation.refresh


def test_a_stale_answer_does_not_wait() -> None:
    """The expired value comes at once, while the callback is held up; ``refresh`` ends in the new value."""
    cache, _ = expired("k")
    gated = Gated[str, str](Success("new"))
    answer = cache.async_load_or_store("k", gated)
    refresh = behind(answer)
    assert answer.unwrap().cached == STALE
    assert not refresh.done()
    gated.let_go()
    assert result_of(refresh) == given("new")
    assert cache.load_or_store("k", never) == given("new")


def test_many_stale_readers_share_one_refresh() -> None:
    """Fifty stale readers get the same future, and one callback runs."""
    cache, _ = expired("k")
    gated = Gated[str, str](Success("new"))
    refreshes = [behind(cache.async_load_or_store("k", gated)) for _ in range(50)]
    gated.let_go()
    assert len(set(map(id, refreshes))) == 1
    assert result_of(refreshes[0]) == given("new")
    assert gated.calls == 1


def test_nobody_can_cancel_a_refresh() -> None:
    """A holder cannot cancel a refresh for the others, queued or running."""
    cache, _ = expired("a", "b")
    gated = Gated[str, str](Success("new"))
    running = behind(cache.async_load_or_store("a", gated))
    queued = behind(cache.async_load_or_store("b", gated))
    assert [False, False] == [running.cancel(), queued.cancel()]
    gated.let_go()
    gated.let_go()
    assert [given("new")] * 2 == [result_of(running), result_of(queued)]


def test_a_failed_refresh_shows_and_is_tried_again() -> None:
    """A refresh that fails leaves the value, shows its error, and the next try comes after ``extend_ttl``."""
    cache, clock = expired("k", extend=50)
    assert result_of(behind(cache.async_load_or_store("k", gives(failed("down"))))) == given(
        "old", stale=True, err="down"
    )
    clock.advance(50)
    held = cache.async_load_or_store("k", never)
    assert held == Success(Revalidation(CachedValue("old", stale=True, err="down"), None))
    clock.advance(1)
    again = cache.async_load_or_store("k", gives(Success("new")))
    assert again.unwrap().cached == CachedValue("old", stale=True, err="down")
    assert result_of(behind(again)) == given("new")


def test_a_refused_value_is_not_given_in_place_of_the_failure() -> None:
    """After a failure that forbids stale data the next call loads in the foreground, and tells what it is told."""
    cache, _ = expired("k")
    assert result_of(behind(cache.async_load_or_store("k", gives(failed("gone", use_stale=False))))) == Failure("gone")
    assert cache.async_load_or_store("k", gives(failed("gone", use_stale=False))) == Failure("gone")
    covered = cache.async_load_or_store("k", gives(failed("down")))
    assert covered == Success(Revalidation(CachedValue("old", stale=True, err="down"), None))


@pytest.mark.parametrize("raised", [ValueError("broken"), SystemExit(3), KeyboardInterrupt()])
def test_what_a_background_callback_raises_goes_into_refresh(raised: BaseException) -> None:
    """Whatever a background callback raises ends in ``refresh``; the worker lives on, the key loads again."""
    cache, _ = expired("k", "other")
    assert error_of(behind(cache.async_load_or_store("k", Gated[str, str](raised).opened()))) is raised
    assert cache.peek("k").unwrap() == STALE
    assert result_of(behind(cache.async_load_or_store("k", gives(Success("new"))))) == given("new")


def test_no_more_callbacks_run_than_the_semaphore_allows() -> None:
    """With two workers two background callbacks run at once, and a third waits for its turn."""
    cache, _ = expired("a", "b", "c", workers=2)
    gated = Gated[str, str](Success("new"))
    refreshes = [behind(cache.async_load_or_store(key, gated)) for key in "abc"]
    gated.await_start()
    gated.await_start()
    assert not gated.started.acquire(timeout=0.05)
    gated.let_go()
    gated.await_start()
    gated.let_go()
    gated.let_go()
    assert [given("new")] * 3 == [result_of(refresh) for refresh in refreshes]


def test_stuck_workers_hold_up_no_reader() -> None:
    """While every worker hangs, stale answers come at once, misses load in the caller, and one job a key is queued."""
    cache, _ = expired("stuck", "a")
    stuck, queued = Gated[str, str](Success("late")), Gated[str, str](Success("new"))
    hung = behind(cache.async_load_or_store("stuck", stuck))
    stuck.await_start()
    refreshes = {id(behind(cache.async_load_or_store("a", queued))) for _ in range(100)}
    assert len(refreshes) == 1
    assert cache.async_load_or_store("missing", gives(Success("v"))) == Success(Revalidation(CachedValue("v"), None))
    stuck.let_go()
    queued.let_go()
    assert result_of(hung) == given("late")
    until(lambda: cache.peek("a").unwrap() == CachedValue("new"))
    assert queued.calls == 1


def test_who_must_wait_takes_a_queued_load_over() -> None:
    """A caller who waits runs its own callback in place of a queued one, and resolves its ``refresh``."""
    cache, _ = expired("stuck", "k")
    stuck = Gated[str, str](Success("late"))
    hung = behind(cache.async_load_or_store("stuck", stuck))
    stuck.await_start()
    refresh = behind(cache.async_load_or_store("k", never))
    assert cache.load_or_store("k", gives(Success("new"))) == given("new")
    assert result_of(refresh) == given("new")
    stuck.let_go()
    assert result_of(hung) == given("late")


def test_a_load_that_was_taken_over_does_not_run_again() -> None:
    """Once taken over, a queued load is nobody's job any more, also where the one who took it over failed."""
    cache, _ = expired("stuck", "k")
    stuck = Gated[str, str](Success("late"))
    hung = behind(cache.async_load_or_store("stuck", stuck))
    stuck.await_start()
    replaced = Gated[str, str](Success("queued")).opened()
    refresh = behind(cache.async_load_or_store("k", replaced))
    assert cache.load_or_store("k", gives(failed("down"))) == given("old", stale=True, err="down")
    assert result_of(refresh) == given("old", stale=True, err="down")
    stuck.let_go()
    assert result_of(hung) == given("late")
    last = behind(cache.async_load_or_store("k", gives(Success("new"))))
    assert result_of(last) == given("new")
    assert replaced.calls == 0


def test_a_queued_load_that_became_needless_is_skipped() -> None:
    """A queued load whose key is current by its turn does not run: ``refresh`` has the current answer."""
    cache, _ = expired("stuck", "k")
    stuck = Gated[str, str](Success("late"))
    hung = behind(cache.async_load_or_store("stuck", stuck))
    stuck.await_start()
    refresh = behind(cache.async_load_or_store("k", never))
    cache.set("k", "set")
    stuck.let_go()
    assert [given("late"), given("set")] == [result_of(hung), result_of(refresh)]


def test_a_stale_reader_shares_a_load_of_the_foreground() -> None:
    """A stale reader does not wait for a load that a caller leads: it gets the stale value and that load's outcome."""
    cache, _ = expired("k")
    gated = Gated[str, str](Success("new"))
    leader = in_thread(lambda: cache.load_or_store("k", gated))
    gated.await_start()
    refresh = behind(cache.async_load_or_store("k", never))
    assert refresh is behind(cache.async_load_or_store("k", never))
    gated.let_go()
    assert [given("new")] * 2 == [result_of(leader), result_of(refresh)]


def test_a_waiting_caller_joins_a_background_load() -> None:
    """Stale-if-error joins a load that runs in the background, and gets its outcome."""
    cache, _ = expired("k")
    gated = Gated[str, str](failed("down"))
    refresh = behind(cache.async_load_or_store("k", gated))
    gated.await_start()
    joiner = in_thread(lambda: cache.load_or_store("k", never))
    await_joiners(1)
    gated.let_go()
    assert [given("old", stale=True, err="down")] * 2 == [result_of(joiner), result_of(refresh)]


def test_an_interrupted_leader_leaves_the_refresh_to_a_worker() -> None:
    """If only ``refresh`` waits for a load whose leader was interrupted, the load is queued again and ends there."""
    cache, _ = expired("k")
    struck = Gated[str, str](KeyboardInterrupt())
    leader = in_thread(lambda: cache.load_or_store("k", struck))
    struck.await_start()
    refresh = behind(cache.async_load_or_store("k", gives(Success("new"))))
    struck.let_go()
    assert type(error_of(leader)) is KeyboardInterrupt
    assert result_of(refresh) == given("new")
    assert cache.load_or_store("k", never) == given("new")


def test_an_interrupted_leader_whose_load_was_outrun() -> None:
    """The same holds where a write outran that load meanwhile: ``refresh`` ends, and the newer value stands."""
    cache, _ = expired("k")
    struck = Gated[str, str](KeyboardInterrupt())
    leader = in_thread(lambda: cache.load_or_store("k", struck))
    struck.await_start()
    refresh = behind(cache.async_load_or_store("k", gives(Success("own"))))
    cache.set("k", "set")
    struck.let_go()
    assert type(error_of(leader)) is KeyboardInterrupt
    assert result_of(refresh) == given("set")
    assert cache.load_or_store("k", never) == given("set")


def test_an_interrupted_leader_whose_key_is_queued_again() -> None:
    """If the key has another queued load by then, that one tells both those who wait for it and those of the first."""
    cache, _ = expired("stuck", "k")
    struck, stuck = Gated[str, str](KeyboardInterrupt()), Gated[str, str](Success("late"))
    leader = in_thread(lambda: cache.load_or_store("k", struck))
    struck.await_start()
    first = behind(cache.async_load_or_store("k", never))
    hung = behind(cache.async_load_or_store("stuck", stuck))
    stuck.await_start()
    cache.expire("k")
    second = behind(cache.async_load_or_store("k", gives(Success("new"))))
    struck.let_go()
    assert type(error_of(leader)) is KeyboardInterrupt
    stuck.let_go()
    assert [given("new"), given("new"), given("late")] == [result_of(told) for told in (first, second, hung)]
    assert first is not second


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
        assert cache.load_or_store("k", gives(failed("down"))) == given("old", stale=True, err="down")
    assert result_of(behind(cache.async_load_or_store("k", gives(Success("new"))))) == given("new")


def test_the_callers_context_is_seen_and_not_kept() -> None:
    """A background callback sees the caller's context variables; once it has run they are free."""

    class Request:
        """Something that a context variable holds."""

    cache, _ = expired("k")
    request: ContextVar[Request | None] = ContextVar("request", default=None)
    seen: list[bool] = []
    held = Request()
    token = request.set(held)
    gone = weakref.ref(held)

    def load(_key: str) -> Outcome[str, str]:
        seen.append(request.get() is gone())
        return Success("new")

    refresh = behind(cache.async_load_or_store("k", load))
    assert result_of(refresh) == given("new")
    request.reset(token)
    del held, token
    gc.collect()
    assert seen == [True]
    until(lambda: gone() is None)


def test_a_callback_of_refresh_may_use_the_cache() -> None:
    """Whoever is told by ``refresh`` may call the cache from there: nothing is held while he is told."""
    cache, _ = expired("k")
    gated = Gated[str, str](Success("new"))
    refresh = behind(cache.async_load_or_store("k", gated))
    told: Future[Answer[str, str]] = Future()
    refresh.add_done_callback(lambda _done: told.set_result(cache.load_or_store("other", gives(Success("v")))))
    gated.let_go()
    assert result_of(told) == given("v")


def test_close_waits_for_nothing_and_leaves_nobody_waiting() -> None:
    """After ``close`` a running load answers and stores nothing; a queued one is dropped; all else is refused."""
    cache, _ = expired("running", "queued")
    running = Gated[str, str](Success("new"))
    first = behind(cache.async_load_or_store("running", running))
    running.await_start()
    joiner = in_thread(lambda: cache.load_or_store("running", never))
    await_joiners(1)
    second = behind(cache.async_load_or_store("queued", never))
    cache.close()
    cache.close()
    assert type(error_of(second)) is LoadDroppedError
    running.let_go()
    assert [given("new")] * 2 == [result_of(first), result_of(joiner)]
    assert cache
    calls: list[Callable[[], object]] = [
        lambda: cache.load_or_store("k", never),
        lambda: cache.async_load_or_store("k", never),
        lambda: cache.load_or_store_with_ctx(1, "k", lambda _ctx, key: never(key)),
        lambda: cache.async_load_or_store_with_ctx(1, "k", lambda _ctx, key: never(key)),
        lambda: cache.peek("k"),
        lambda: cache.ttl("k"),
        lambda: cache.set("k", "v"),
        lambda: cache.expire("k"),
        lambda: cache.delete("k"),
        cache.clear,
        cache.entries,
        cache.__enter__,
        lambda: len(cache),
        lambda: "k" in cache,
    ]
    for call in calls:
        with pytest.raises(CacheClosedError):
            call()


class WatchedClock(ManualClock):
    """A clock that runs ``on_worker`` when a worker thread reads it: between leaving the queue and the load's start."""

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
    clock.advance(101)
    return cache, clock


def once(act: Callable[[], object]) -> Callable[[], None]:
    """Make ``act`` happen the first time only."""
    left = [act]

    def act_once() -> None:
        if left:
            left.pop()()

    return act_once


def test_a_load_taken_over_as_it_starts_runs_once() -> None:
    """A load that is taken over just after it left the queue runs once: the worker leaves it to the one who waits."""
    cache, clock = watched("k")
    replaced, own = Gated[str, str](Success("queued")).opened(), Gated[str, str](Success("own"))
    callers: list[Future[Answer[str, str]]] = []

    def take_over() -> None:
        callers.append(in_thread(lambda: cache.load_or_store("k", own)))
        own.await_start()

    clock.on_worker = once(take_over)
    refresh = behind(cache.async_load_or_store("k", replaced))
    until(lambda: len(callers) == 1)
    own.let_go()
    assert [given("own")] * 2 == [result_of(refresh), result_of(callers[0])]
    assert replaced.calls == 0


def test_a_load_whose_cache_is_closed_as_it_starts() -> None:
    """A load whose cache is closed just after it left the queue does not run."""
    cache, clock = watched("k")
    clock.on_worker = once(cache.close)
    refresh = behind(cache.async_load_or_store("k", never))
    assert type(error_of(refresh)) is LoadDroppedError


def test_a_clock_that_fails_a_worker() -> None:
    """If the clock raises in the worker, ``refresh`` says so, and the next stale reader starts another load."""
    cache, clock = watched("k")

    def fail() -> None:
        raise OSError("no clock")

    clock.on_worker = once(fail)
    assert type(error_of(behind(cache.async_load_or_store("k", never)))) is OSError
    until(lambda: not [t for t in threading.enumerate() if t.name == "lastcache-refresh"])
    assert result_of(behind(cache.async_load_or_store("k", gives(Success("new"))))) == given("new")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_refresh_callback_that_ends_its_thread_leaves_the_others_told() -> None:
    """What the callback of one future raises keeps no other future from being resolved."""
    cache, _ = expired("stuck", "a", "b")
    stuck = Gated[str, str](Success("late"))
    hung = behind(cache.async_load_or_store("stuck", stuck))
    stuck.await_start()
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
    gated = Gated[str, str](Success("new"))
    start = _thread.start_new_thread

    def interrupted(function: Callable[[], object], args: tuple[()]) -> int:
        start(function, args)
        gated.await_start()
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(_thread, "start_new_thread", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cache.async_load_or_store("a", gated)
    second = behind(cache.async_load_or_store("b", gated))
    assert not gated.started.acquire(timeout=0.05)
    gated.let_go()
    gated.let_go()
    assert result_of(second) == given("new")
