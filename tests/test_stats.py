"""What ``stats`` counts: what the observer is told, and what callers and callbacks saw."""

import random
import threading
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta

import pytest
from returns.pipeline import is_successful
from returns.result import Success

from lastcache import CacheClosedError, CachedValue, Config, LastCache, failed
from lastcache.core.states import Answer, Outcome
from lastcache.events import (
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    RefreshStarted,
    ServedStale,
    Stats,
)
from tests.kit import error_of, given, gives, in_thread, never, result_of, ticks, until
from tests.shells import Stage, giving
from tests.shells import never as never_async

NOW = timedelta(0)
BROKEN = ValueError("broken")


async def test_stats_count_what_the_observer_is_told(stage: Stage) -> None:
    """The counts are those of the events; a miss is a call for which no answer stood."""
    cache = await stage.open("old", max_entries=3)
    await stage.ask("a", giving(Success("v")))
    await stage.ask("a", never_async)
    await stage.ask("b", giving(failed("down", use_stale=True)))
    await stage.ask("old", giving(failed("down", use_stale=True)))
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
    assert await stage.ask("old", giving(failed("down", use_stale=True))) == given("old", stale=True, err="down")
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
        return {key: failed("down", use_stale=True) if self.chance.random() < 0.3 else Success(2) for key in keys}

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


@pytest.mark.parametrize(
    "seed", [0, 1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
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
