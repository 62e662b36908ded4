"""What an observer is told, and what ``stats`` counts, on each shell."""

import logging
import random
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import CacheClosedError, CachedValue, Config, ConfigError, LastCache, ReentrantLoadError, failed
from lastcache._shell.guard import inside
from lastcache.core.states import Answer, Outcome
from lastcache.events import (
    Event,
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    RefreshRefused,
    RefreshStarted,
    ServedStale,
    Stats,
    Swept,
)
from lastcache.testing import ManualClock, ManualExecutor, run_inline
from tests.kit import error_of, given, gives, in_thread, never, result_of, ticks, until
from tests.shells import Stage, giving
from tests.shells import never as never_async

NOW = timedelta(0)
BROKEN = ValueError("broken")


async def test_a_load_is_told_of(stage: Stage) -> None:
    """Each load in the foreground is told of once, with its outcome, and how long it took by the cache's clock."""
    await stage.open(extend=10)

    async def slowly(key: str) -> Outcome[str, str]:
        stage.clock.advance(ticks(7))
        return Success(key)

    await stage.ask("a", slowly)
    await stage.ask("a", never_async)
    await stage.ask("b", giving(failed("down")))
    await stage.ask("b", giving(failed("gone", use_stale=False)))
    assert stage.events == [
        Loaded("a", ticks(7), background=False),
        LoadFailed("b", "down", use_stale=True, took=NOW, background=False),
        LoadFailed("b", "gone", use_stale=False, took=NOW, background=False),
    ]


async def test_a_broken_contract_is_told_of(stage: Stage) -> None:
    """What a callback raises is told, and so is what it returns in place of an outcome."""
    await stage.open()
    with pytest.raises(ValueError, match="broken"):
        await stage.ask("k", stage.gated(BROKEN).opened())
    with pytest.raises(TypeError) as raised:
        await stage.ask("k", giving(None))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    assert stage.events == [
        LoadRaised("k", BROKEN, background=False),
        LoadRaised("k", raised.value, background=False),
    ]


async def test_a_stale_answer_is_told_of(stage: Stage) -> None:
    """A covered failure gives a stale value; the hit path, while the extension stands, tells nothing."""
    await stage.open("k", extend=10)
    await stage.ask("k", giving(failed("down")))
    await stage.ask("k", never_async)
    assert stage.events == [
        LoadFailed("k", "down", use_stale=True, took=NOW, background=False),
        ServedStale("k", "down"),
    ]


async def test_a_refresh_is_told_of(stage: Stage) -> None:
    """Each stale answer ahead of a load, the start of that load, and its end, which is told before ``refresh`` ends."""
    await stage.open("k")
    gated = stage.gated(Success("new"))
    refresh = await stage.behind("k", gated)
    await stage.behind("k", never_async)
    await gated.started()
    gated.let_go()
    await stage.ended(refresh)
    assert Counter(stage.events) == Counter(
        [
            ServedStale("k", None),
            ServedStale("k", None),
            RefreshStarted("k"),
            Loaded("k", NOW, background=True),
        ]
    )


@pytest.mark.parametrize("end", [failed("down"), BROKEN])
async def test_a_refresh_that_fails_is_told_of(stage: Stage, end: Any) -> None:
    """A failed refresh is seen by the observer, whether it returned its failure or raised."""
    await stage.open("k")
    refresh = await stage.behind("k", stage.gated(end).opened())
    if end is BROKEN:
        await stage.failed(refresh)
        last: Event[str, str] = LoadRaised("k", BROKEN, background=True)
    else:
        await stage.ended(refresh)
        last = LoadFailed("k", "down", use_stale=True, took=NOW, background=True)
    assert Counter(stage.events) == Counter([ServedStale("k", None), RefreshStarted("k"), last])


async def test_a_dropped_refresh_is_told_of(stage: Stage) -> None:
    """A queued load that ``close`` drops is told of, with the reason that its ``refresh`` gives."""
    cache = await stage.open("running", "queued")
    gated = stage.gated(Success("new"))
    running = await stage.behind("running", gated)
    await gated.started()
    queued = await stage.behind("queued", never_async)
    cache.close()
    dropped = await stage.failed(queued)
    gated.let_go()
    await stage.ended(running)
    assert str(dropped).endswith("the cache was closed")
    assert [event for event in stage.events if isinstance(event, RefreshRefused)] == [
        RefreshRefused("queued", "the cache was closed")
    ]


async def test_who_joins_is_told_of(stage: Stage) -> None:
    """Each caller who waits for another's load is told of, before it waits; the load itself is told of once."""
    await stage.open()
    gated = stage.gated(Success("v"))
    calls = [stage.asking("k", gated) for _ in range(3)]
    await stage.joined(2)
    assert stage.events == [Joined("k")] * 2
    gated.let_go()
    for call in calls:
        await call.result()
    assert stage.events[2:] == [Loaded("k", NOW, background=False)]


async def test_what_has_to_go_is_told_of(stage: Stage) -> None:
    """An eviction names the key that made room; a sweep names the key that died."""
    cache = await stage.open(max_entries=2, stale_if_error=ticks(10), stale_while_revalidate=ticks(10))
    for key in "abc":
        cache.set(key, "v")
    stage.clock.advance(ticks(111))
    await stage.ask("b", giving(Success("v")))
    assert [event for event in stage.events if not isinstance(event, Loaded)] == [Evicted("a"), Swept("b"), Swept("c")]


async def test_a_batch_is_told_of_key_by_key(stage: Stage) -> None:
    """A call for many keys tells of each load and each stale answer."""
    await stage.open("old")

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: failed("down") if key == "old" else Success("v") for key in keys}

    await stage.ask_many(["new", "old"], load)
    assert stage.events == [
        Loaded("new", NOW, background=False),
        LoadFailed("old", "down", use_stale=True, took=NOW, background=False),
        ServedStale("old", "down"),
    ]


async def test_a_batch_that_raises_gives_nothing_stale(stage: Stage) -> None:
    """Where a key of a batch is joined and its load raises, no stale answer is told of."""
    await stage.open("old", extend=10)
    gated = stage.gated(BROKEN)
    leader = stage.asking("k", gated)
    await gated.started()

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: failed("down") for key in keys}

    batch = stage.start(lambda: stage.ask_many(["old", "k"], load))
    await stage.joined(1)
    gated.let_go()
    assert (await leader.error(), await batch.error()) == (BROKEN, BROKEN)
    assert [event for event in stage.events if isinstance(event, ServedStale)] == []


async def test_a_batch_with_a_surplus_is_told_of_all_the_same(stage: Stage) -> None:
    """What landed before a batch was found wrong is told of."""
    await stage.open()

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: Success("v") for key in (*keys, "surplus")}

    with pytest.raises(TypeError, match="surplus"):
        await stage.ask_many(["a", "b"], load)
    assert stage.events == [Loaded(key, NOW, background=False) for key in "ab"]


async def test_an_observer_may_use_the_cache(stage: Stage) -> None:
    """No lock is held while an observer is told, and the change that it hears of has been made."""
    seen: list[object] = []

    def look(event: Event[str, str]) -> None:
        if isinstance(event, Loaded):
            stage.cache.set("told", "v")
            seen.extend([inside(), stage.cache.peek(event.key).unwrap()])

    await stage.open(observer=look)
    assert await stage.ask("k", giving(Success("v"))) == given("v")
    assert seen == [None, CachedValue("v")]
    assert await stage.ask("told", never_async) == given("v")


async def test_an_observer_that_raises_is_reported_once(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """What an observer raises breaks no call, in the foreground or behind; the first is logged, and no more."""

    def broken(_event: Event[str, str]) -> None:
        raise BROKEN

    await stage.open("k", observer=broken)
    assert (await stage.revalidate("k", giving(Success("new")))).unwrap().cached == CachedValue("old", stale=True)
    await stage.until(lambda: stage.cache.peek("k").unwrap() == CachedValue("new"))
    assert await stage.ask("other", giving(failed("down"))) == Failure("down")
    logged = [(record.name, record.levelno, record.exc_info is not None) for record in caplog.records]
    assert logged == [("lastcache", logging.ERROR, True)]
    caplog.clear()


async def test_an_observer_that_exits_holds_up_no_refresh(stage: Stage) -> None:
    """Even what is no ``Exception`` keeps no ``refresh`` from ending, and no later load from running."""

    def exits(event: Event[str, str]) -> None:
        if isinstance(event, RefreshStarted | Loaded):
            raise SystemExit

    await stage.open("a", "b", observer=exits)
    refreshes = [await stage.behind(key, giving(Success("new"))) for key in "ab"]
    assert [await stage.ended(refresh) for refresh in refreshes] == [given("new")] * 2


async def test_stats_count_what_the_observer_is_told(stage: Stage) -> None:
    """The counts are those of the events; a miss is a call for which no answer stood."""
    cache = await stage.open("old", max_entries=3)
    await stage.ask("a", giving(Success("v")))
    await stage.ask("a", never_async)
    await stage.ask("b", giving(failed("down")))
    await stage.ask("old", giving(failed("down")))
    with pytest.raises(ValueError, match="broken"):
        await stage.ask("c", stage.gated(BROKEN).opened())
    await stage.ended(await stage.behind("old", giving(Success("new"))))
    for key in "xyz":
        cache.set(key, "v")
    counts = Counter(type(event) for event in stage.events)
    assert cache.stats() == Stats(
        entries=3,
        hits=None,
        misses=5,
        loaded=2,
        load_failed=2,
        load_raised=1,
        served_stale=2,
        refresh_started=1,
        evicted=2,
    )
    assert counts == Counter({Loaded: 2, LoadFailed: 2, LoadRaised: 1, ServedStale: 2, RefreshStarted: 1, Evicted: 2})


async def test_hits_are_counted_when_asked_for(stage: Stage) -> None:
    """With ``count_hits`` every call is a hit or a miss, in both strategies and in batches; answers are the same."""
    cache = await stage.open("old", count_hits=True, max_entries=10, extend=10)
    assert await stage.ask("k", giving(Success("v"))) == given("v")
    assert await stage.ask("k", never_async) == given("v")
    assert (await stage.revalidate("k", never_async)).unwrap().cached == CachedValue("v")
    assert await stage.ask("old", giving(failed("down"))) == given("old", stale=True, err="down")
    assert await stage.ask("old", never_async) == given("old", stale=True, err="down")

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        return {key: Success("new") for key in keys}

    assert list(await stage.ask_many(["k", "new"], load)) == ["k", "new"]
    stats = cache.stats()
    assert (stats.hits, stats.misses, stats.served_stale, stats.hit_ratio) == (4, 3, 2, 4 / 7)


async def test_a_closed_cache_has_no_stats(stage: Stage) -> None:
    """``stats`` is refused after ``close``, as everything is."""
    cache = await stage.open()
    cache.close()
    with pytest.raises(CacheClosedError):
        cache.stats()


def test_nothing_counted_is_no_ratio() -> None:
    """There is no hit ratio before the first call, nor where hits are not counted."""
    assert LastCache[str, str, str](Config(count_hits=True)).stats().hit_ratio is None
    assert LastCache[str, str, str]().stats() == Stats(entries=0, hits=None, misses=0)
    assert LastCache[str, str, str]().stats().hit_ratio is None


def test_a_marked_hit_survives_though_it_is_counted() -> None:
    """Counting hits does not keep them from marking their entries: what is asked for stays."""
    cache = LastCache[str, str, str](Config(max_entries=2, count_hits=True))
    for key in "ab":
        cache.set(key, "v")
    cache.load_or_store("a", never)
    cache.set("c", "v")
    assert ["a" in cache, "b" in cache] == [True, False]


def test_counts_are_exact_with_many_threads() -> None:
    """No hit and no load is lost, however many threads count."""
    cache = LastCache[int, str, str](Config(count_hits=True))

    def work() -> None:
        for number in range(2000):
            cache.load_or_store(number % 10, gives(Success("v")))

    for done in [in_thread(work) for _ in range(8)]:
        result_of(done)
    stats = cache.stats()
    assert ((stats.hits or 0) + stats.misses, stats.loaded) == (16_000, 10)


class Tally:
    """What callers of one thread saw: calls key by key, and stale answers; and how often their callbacks ran."""

    def __init__(self, cache: LastCache[int, int, str], seed: int) -> None:
        self.cache, self.chance = cache, random.Random(seed)
        self.calls = self.stale = self.loads = 0
        self.refreshes: list[Future[Answer[int, str]]] = []

    def load(self, _key: int) -> Outcome[int, str]:
        self.loads += 1
        drawn = self.chance.random()
        if drawn < 0.1:
            raise BROKEN
        if drawn < 0.2:
            threading.Event().wait(0.0003)
        return Success(1) if drawn < 0.7 else failed("down", use_stale=drawn < 0.9)

    def load_many(self, keys: tuple[int, ...]) -> dict[int, Outcome[int, str]]:
        self.loads += len(keys)
        return {key: failed("down") if self.chance.random() < 0.3 else Success(2) for key in keys}

    def see(self, answer: Answer[int, str]) -> None:
        self.stale += is_successful(answer) and answer.unwrap().stale

    def ask(self, key: int) -> None:
        self.calls += 1
        if self.chance.random() < 0.5:
            self.see(self.cache.load_or_store(key, self.load))
            return
        behind = self.cache.async_load_or_store(key, self.load)
        self.refreshes += [given.refresh for given in (behind.value_or(None),) if given and given.refresh]
        self.see(behind.map(lambda given: given.cached))

    def ask_many(self, keys: set[int]) -> None:
        self.calls += len(keys)
        for answer in self.cache.load_or_store_many(keys, self.load_many).values():
            self.see(answer)

    def work(self) -> None:
        for _ in range(400):
            key, drawn = self.chance.randrange(30), self.chance.random()
            with suppress(ValueError):
                if drawn < 0.9:
                    self.ask(key)
                else:
                    self.ask_many({key, self.chance.randrange(30)})
            if drawn < 0.05:
                self.cache.expire(key)
            elif drawn < 0.07:
                self.cache.delete(key)


def loads(stats: Stats) -> int:
    return stats.loaded + stats.load_failed + stats.load_raised


@pytest.mark.parametrize("seed", range(4))
def test_every_count_agrees_with_what_was_seen(seed: int) -> None:
    """Hits and misses are the calls, loads are the callbacks, and stale answers those given; no event is lost."""
    events = list[type]()
    config = Config(
        global_ttl=ticks(300),
        extend_ttl=ticks(200),
        stale_if_error=ticks(5000),
        stale_while_revalidate=ticks(3000),
        refresh_after=ticks(200) if seed % 2 else None,
        negative_ttl=ticks(100) if seed % 2 else NOW,
        soft_timeout=ticks(400) if seed % 3 else None,
        max_entries=20,
        count_hits=True,
    )
    cache = LastCache[int, int, str](config, observer=lambda event: events.append(type(event)))
    tallies = [Tally(cache, seed * 10 + number) for number in range(4)]
    for done in [in_thread(tally.work) for tally in tallies]:
        result_of(done)
    for refresh in [refresh for tally in tallies for refresh in tally.refreshes]:
        error_of(refresh)
    until(lambda: loads(cache.stats()) == sum(tally.loads for tally in tallies))
    stats, told = cache.stats(), Counter(events)
    assert (stats.hits or 0) + stats.misses == sum(tally.calls for tally in tallies)
    assert stats.served_stale == sum(tally.stale for tally in tallies)
    assert [told[kind] for kind in (Loaded, LoadFailed, LoadRaised, Joined, ServedStale, RefreshStarted)] == [
        stats.loaded,
        stats.load_failed,
        stats.load_raised,
        stats.joined,
        stats.served_stale,
        stats.refresh_started,
    ]


def test_what_is_asked_from_inside_is_told_afterwards() -> None:
    """A call that a finalizer makes inside a change is told of once the lock is free, and its refresh as refused."""
    events: list[tuple[object, Event[object, str]]] = []
    cache: LastCache[object, object, str] = LastCache(
        clock=(clock := ManualClock()), observer=lambda event: events.append((inside(), event))
    )
    cache.set("k", "old")
    clock.advance(timedelta(minutes=2))

    class Asking:
        def __init__(self) -> None:
            self.armed = False

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if self.armed and inside() is not None:
                self.armed = False
                cache.async_load_or_store("k", gives(Success("new")))
                cache.load_or_store("other", gives(Success("v")))
            return self is other

    one, other = Asking(), Asking()
    cache.set(one, "v")
    one.armed = True
    cache.set(other, "v")
    assert events == [
        (None, RefreshRefused("k", "it was asked for inside a change of the cache")),
        (None, ServedStale("k", None)),
        (None, Loaded("other", NOW, background=False)),
    ]


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
    assert cache.load_or_store("k", gives(failed("down"))) == given("old", stale=True, err="down")
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
