"""Stale-while-revalidate: what runs behind an answer, and that no answer ever waits for it.

Every scenario is performed on each shell.
"""

import gc
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from returns.result import Failure, Success

from lastcache import CacheClosedError, CachedValue, LoadDroppedError, failed
from lastcache.core.states import Outcome
from tests.kit import given, ticks
from tests.shells import Given, Stage, giving, never, never_many

STALE = CachedValue[str, str]("old", stale=True)


async def test_a_stale_answer_does_not_wait(stage: Stage) -> None:
    """The expired value comes at once, while the callback is held up; ``refresh`` ends in the new value."""
    await stage.open("k")
    gated = stage.gated(Success("new"))
    answer = (await stage.revalidate("k", gated)).unwrap()
    assert answer.cached == STALE
    gated.let_go()
    assert await stage.ended(answer.refresh) == given("new")
    assert await stage.ask("k", never) == given("new")


async def test_many_stale_readers_share_one_refresh(stage: Stage) -> None:
    """Fifty stale readers get the same ``refresh``, all who wait for it are told, and one callback runs."""
    await stage.open("k")
    gated = stage.gated(Success("new"))
    refreshes = [await stage.behind("k", gated) for _ in range(50)]
    waiting = [stage.start(partial(stage.refreshed, refresh)) for refresh in refreshes]
    gated.let_go()
    assert {await told.result() for told in waiting} == {given("new")}
    assert len(set(map(id, refreshes))) == 1
    assert gated.calls == 1


async def test_a_failed_refresh_shows_and_is_tried_again(stage: Stage) -> None:
    """A refresh that fails leaves the value, shows its error, and the next try comes after ``extend_ttl``."""
    await stage.open("k", extend=50)
    held = CachedValue("old", stale=True, err="down")
    assert await stage.ended(await stage.behind("k", giving(failed("down", use_stale=True)))) == Success(held)
    stage.clock.advance(ticks(50))
    assert await stage.revalidate("k", never) == Success(Given(held, None))
    stage.clock.advance(ticks(1))
    again = (await stage.revalidate("k", giving(Success("new")))).unwrap()
    assert again.cached == held
    assert await stage.ended(again.refresh) == given("new")


async def test_a_refused_value_is_not_given_in_place_of_the_failure(stage: Stage) -> None:
    """After a failure that forbids stale data the next call loads in the foreground, and tells what it is told."""
    await stage.open("k")
    gone = giving(failed("gone", use_stale=False))
    assert await stage.ended(await stage.behind("k", gone)) == Failure("gone")
    assert await stage.revalidate("k", gone) == Failure("gone")
    covered = await stage.revalidate("k", giving(failed("down", use_stale=True)))
    assert covered == Success(Given(CachedValue("old", stale=True, err="down"), None))


@pytest.mark.parametrize("raised", [ValueError("broken"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()])
async def test_what_a_background_callback_raises_goes_into_refresh(stage: Stage, raised: BaseException) -> None:
    """Whatever a background callback raises ends in ``refresh``; the next load runs as ever."""
    cache = await stage.open("k", "other")
    assert await stage.failed(await stage.behind("k", stage.gated(raised).opened())) is raised
    assert cache.peek("k").unwrap() == STALE
    assert await stage.ended(await stage.behind("k", giving(Success("new")))) == given("new")


async def test_no_more_callbacks_run_than_the_semaphore_allows(stage: Stage) -> None:
    """With two places two background callbacks run at once, and a third waits for its turn."""
    await stage.open("a", "b", "c", workers=2)
    gated = stage.gated(Success("new"))
    refreshes = [await stage.behind(key, gated) for key in "abc"]
    await gated.started()
    await gated.started()
    await stage.pause()
    assert gated.calls == 2
    gated.let_go()
    await gated.started()
    gated.let_go()
    gated.let_go()
    assert [given("new")] * 3 == [await stage.ended(refresh) for refresh in refreshes]


async def test_stuck_loads_hold_up_no_reader(stage: Stage) -> None:
    """While every place is taken stale answers come at once, misses load in the caller, one job a key is queued."""
    cache = await stage.open("stuck", "a")
    stuck, queued = stage.gated(Success("late")), stage.gated(Success("new"))
    hung = await stage.behind("stuck", stuck)
    await stuck.started()
    assert len({id(await stage.behind("a", queued)) for _ in range(100)}) == 1
    assert await stage.revalidate("missing", giving(Success("v"))) == Success(Given(CachedValue("v"), None))
    stuck.let_go()
    queued.let_go()
    assert await stage.ended(hung) == given("late")
    await stage.until(lambda: cache.peek("a").unwrap() == CachedValue("new"))
    assert queued.calls == 1


async def test_who_must_wait_takes_a_queued_load_over(stage: Stage) -> None:
    """A caller who waits runs its own callback in place of a queued one, and resolves its ``refresh``."""
    await stage.open("stuck", "k")
    stuck = stage.gated(Success("late"))
    hung = await stage.behind("stuck", stuck)
    await stuck.started()
    refresh = await stage.behind("k", never)
    assert await stage.ask("k", giving(Success("new"))) == given("new")
    assert await stage.ended(refresh) == given("new")
    stuck.let_go()
    assert await stage.ended(hung) == given("late")


async def test_a_load_that_was_taken_over_does_not_run_again(stage: Stage) -> None:
    """Once taken over, a queued load is nobody's job any more, also where the one who took it over failed."""
    await stage.open("stuck", "k")
    stuck, covered = stage.gated(Success("late")), given("old", stale=True, err="down")
    hung = await stage.behind("stuck", stuck)
    await stuck.started()
    replaced = stage.gated(Success("queued")).opened()
    refresh = await stage.behind("k", replaced)
    assert await stage.ask("k", giving(failed("down", use_stale=True))) == covered
    assert await stage.ended(refresh) == covered
    stuck.let_go()
    assert await stage.ended(hung) == given("late")
    assert await stage.ended(await stage.behind("k", giving(Success("new")))) == given("new")
    assert replaced.calls == 0


async def test_a_queued_load_that_became_needless_is_skipped(stage: Stage) -> None:
    """A queued load whose key is current by its turn does not run: ``refresh`` has the current answer."""
    cache = await stage.open("stuck", "k")
    stuck = stage.gated(Success("late"))
    hung = await stage.behind("stuck", stuck)
    await stuck.started()
    refresh = await stage.behind("k", never)
    cache.set("k", "set")
    stuck.let_go()
    assert [given("late"), given("set")] == [await stage.ended(hung), await stage.ended(refresh)]


async def test_a_stale_reader_shares_a_load_of_the_foreground(stage: Stage) -> None:
    """A stale reader does not wait for a load that a caller leads: it gets the stale value and that load's outcome."""
    await stage.open("k")
    gated = stage.gated(Success("new"))
    leader = stage.asking("k", gated)
    await gated.started()
    refresh = await stage.behind("k", never)
    assert refresh is await stage.behind("k", never)
    gated.let_go()
    assert [given("new")] * 2 == [await leader.result(), await stage.ended(refresh)]


async def test_a_waiting_caller_joins_a_background_load(stage: Stage) -> None:
    """Stale-if-error joins a load that runs in the background, and gets its outcome."""
    await stage.open("k")
    gated = stage.gated(failed("down", use_stale=True))
    refresh = await stage.behind("k", gated)
    await gated.started()
    joiner = stage.asking("k", never)
    await stage.joined(1)
    gated.let_go()
    assert [given("old", stale=True, err="down")] * 2 == [await joiner.result(), await stage.ended(refresh)]


async def test_an_interrupted_leader_leaves_the_refresh_to_the_background(stage: Stage) -> None:
    """If only ``refresh`` waits for a load whose leader was interrupted, the load is queued again and ends there."""
    await stage.open("k")
    struck = stage.gated(KeyboardInterrupt())
    leader = stage.asking("k", struck)
    await struck.started()
    refresh = await stage.behind("k", giving(Success("new")))
    struck.let_go()
    assert type(await leader.error()) is KeyboardInterrupt
    assert await stage.ended(refresh) == given("new")
    assert await stage.ask("k", never) == given("new")


async def test_an_interrupted_leader_whose_load_was_outrun(stage: Stage) -> None:
    """The same holds where a write outran that load meanwhile: ``refresh`` ends, and the newer value stands."""
    cache = await stage.open("k")
    struck = stage.gated(KeyboardInterrupt())
    leader = stage.asking("k", struck)
    await struck.started()
    refresh = await stage.behind("k", giving(Success("own")))
    cache.set("k", "set")
    struck.let_go()
    assert type(await leader.error()) is KeyboardInterrupt
    assert await stage.ended(refresh) == given("set")
    assert await stage.ask("k", never) == given("set")


async def test_an_interrupted_leader_whose_key_is_queued_again(stage: Stage) -> None:
    """If the key has another queued load by then, that one tells both those who wait for it and those of the first."""
    cache = await stage.open("stuck", "k")
    struck, stuck = stage.gated(KeyboardInterrupt()), stage.gated(Success("late"))
    leader = stage.asking("k", struck)
    await struck.started()
    first = await stage.behind("k", never)
    hung = await stage.behind("stuck", stuck)
    await stuck.started()
    cache.expire("k")
    second = await stage.behind("k", giving(Success("new")))
    struck.let_go()
    assert type(await leader.error()) is KeyboardInterrupt
    stuck.let_go()
    assert [given("new"), given("new"), given("late")] == [await stage.ended(told) for told in (first, second, hung)]
    assert first is not second


async def test_the_callers_context_is_seen_and_not_kept(stage: Stage) -> None:
    """A background callback sees the caller's context variables; once it has run they are free."""

    class Request:
        """Something that a context variable holds."""

    await stage.open("stuck", "k")
    stuck = stage.gated(Success("late"))
    hung = await stage.behind("stuck", stuck)
    await stuck.started()
    request: ContextVar[Request | None] = ContextVar("request", default=None)
    seen: list[bool] = []
    held = Request()
    token = request.set(held)
    gone = weakref.ref(held)

    async def load(_key: str) -> Outcome[Any, str]:
        seen.append(request.get() is gone())
        return Success("new")

    refresh = await stage.behind("k", load)
    request.reset(token)
    stuck.let_go()
    assert [given("late"), given("new")] == [await stage.ended(hung), await stage.ended(refresh)]
    del held, token
    await stage.pause()
    gc.collect()
    assert seen == [True]
    await stage.until(lambda: gone() is None)


async def test_close_waits_for_nothing_and_leaves_nobody_waiting(stage: Stage) -> None:
    """After ``close`` a running load answers and stores nothing; a queued one is dropped; all else is refused."""
    cache = await stage.open("running", "queued")
    running = stage.gated(Success("new"))
    first = await stage.behind("running", running)
    await running.started()
    joiner = stage.asking("running", never)
    await stage.joined(1)
    second = await stage.behind("queued", never)
    cache.close()
    cache.close()
    assert type(await stage.failed(second)) is LoadDroppedError
    running.let_go()
    assert [given("new")] * 2 == [await stage.ended(first), await joiner.result()]
    assert cache
    calls: list[Callable[[], object]] = [
        lambda: cache.peek("k"),
        lambda: cache.ttl("k"),
        lambda: cache.set("k", "v"),
        lambda: cache.expire("k"),
        lambda: cache.delete("k"),
        cache.clear,
        cache.entries,
        lambda: len(cache),
        lambda: "k" in cache,
    ]
    for call in calls:
        with pytest.raises(CacheClosedError):
            call()
    for ask in (stage.ask, stage.revalidate):
        with pytest.raises(CacheClosedError):
            await ask("k", never)
    for keys in ([], ["k"]):
        with pytest.raises(CacheClosedError):
            await stage.ask_many(keys, never_many)
