"""The test kit: clocks, scripts and executors do what they say, and Hypothesis draws what a cache accepts."""

import importlib.metadata
from datetime import timedelta

import anyio
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from returns.pipeline import is_successful
from returns.result import Success

from lastcache import CacheClosedError, CachedValue, Config, LastCache, LoadFailure, StoredEntry, failed
from lastcache._hypothesis import introduce
from lastcache.core.states import Answer, Outcome
from lastcache.events import Loaded, LoadStarted, RefreshStarted, ServedStale
from lastcache.testing import ManualClock, ManualExecutor, ScriptedLoad
from lastcache.testing.fixtures import CacheKit
from lastcache.testing.strategies import answers, outcomes
from lastcache.testing.tasks import AsyncScriptedLoad
from tests.kit import error_of, given, in_thread, result_of

SOON = timedelta(milliseconds=20)


def test_a_clock_moves_when_told() -> None:
    """A clock stands still, and moves by what it is told, back too."""
    clock = ManualClock(5)
    assert [clock(), clock()] == [5, 5]
    clock.advance(timedelta(microseconds=2))
    clock.advance(-timedelta(microseconds=1))
    assert (clock(), clock.now) == (1005, 1005)


def test_a_script_is_played_in_turn() -> None:
    """Each call gives the next outcome, an exception is raised, and the keys are noted."""
    broken = ValueError("broken")
    load = ScriptedLoad[int, str](Success(1), failed("down", use_stale=True), broken)
    assert [load("a"), load("b")] == [Success(1), failed("down", use_stale=True)]
    with pytest.raises(ValueError, match="broken"):
        load("c")
    with pytest.raises(AssertionError, match="the script has 3 outcomes; it was asked once more, for 'd'"):
        load("d")
    assert load.calls == ["a", "b", "c", "d"]


def test_a_script_may_repeat_its_end() -> None:
    """With ``repeat`` the last outcome is given for ever; a script of nothing is never to be asked."""
    load = ScriptedLoad[int, str](Success(1), Success(2), repeat=True)
    assert [load("k") for _ in range(4)] == [Success(1), Success(2), Success(2), Success(2)]
    with pytest.raises(AssertionError, match="0 outcomes"):
        ScriptedLoad[int, str](repeat=True)("k")


def test_a_gate_holds_a_call() -> None:
    """A gated call waits until it is let go; one that nobody lets go, and a start that does not come, end in time."""
    load = ScriptedLoad[int, str](Success(1), Success(2), gated=True)
    call = in_thread(lambda: load("k"))
    load.started()
    assert not call.done()
    load.let_go(2)
    assert (result_of(call), load("k")) == (Success(1), Success(2))
    stuck = ScriptedLoad[int, str](Success(1), gated=True, patience=SOON)
    assert "nobody let the load of 'k' go" in str(error_of(in_thread(lambda: stuck("k"))))
    with pytest.raises(AssertionError, match="no load has begun"):
        ScriptedLoad[int, str](patience=SOON).started()


def test_a_script_for_tasks() -> None:
    """The same script is awaited in tasks."""

    async def main() -> list[Outcome[int, str]]:
        load = AsyncScriptedLoad[int, str](Success(1), failed("down", use_stale=True), Success(3), gated=True)
        gotten: list[Outcome[int, str]] = []

        async def ask() -> None:
            gotten.append(await load("k"))

        async with anyio.create_task_group() as group:
            _ = group.start_soon(ask)
            await load.started()
            assert gotten == []
            load.let_go()
        load.let_go(2)
        return [*gotten, await load("k"), await load("k")]

    assert anyio.run(main) == [Success(1), failed("down", use_stale=True), Success(3)]


def test_a_manual_executor_runs_when_told() -> None:
    """Work waits for its turn, and what comes while work runs is run, too."""
    executor, done = ManualExecutor(), list[str]()
    executor(lambda: done.append("first"))
    executor(lambda: executor(lambda: done.append("third")))
    assert (bool(executor), len(executor), done) == (True, 2, [])
    assert (executor.run_next(), done) == (True, ["first"])
    assert (executor.run_all(), done, executor.run_next()) == (2, ["first", "third"], False)


def test_the_fixture_opens_caches_whose_time_stands_still(cache_kit: CacheKit) -> None:
    """One kit holds clock, background and events of the caches that it opens."""
    cache: LastCache[str, int, str] = cache_kit.open(Config(global_ttl=timedelta(seconds=5)))
    cache.set("k", 1)
    cache_kit.clock.advance(timedelta(seconds=6))
    assert cache.async_load_or_store("k", ScriptedLoad(Success(2))).unwrap().cached == CachedValue(1, stale=True)
    assert (cache_kit.executor.run_all(), cache.load_or_store("k", ScriptedLoad())) == (1, given(2))
    assert cache_kit.events == [
        ServedStale("k", None),
        LoadStarted("k", background=True),
        RefreshStarted("k"),
        Loaded("k", timedelta(0), background=True),
    ]


def test_a_kit_closes_what_it_opened() -> None:
    """After the test its caches are closed."""
    kit = CacheKit()
    cache: LastCache[str, int, str] = kit.open(ttl_for=lambda value: timedelta(seconds=value))
    cache.set("k", 3)
    assert cache.ttl("k").unwrap() == timedelta(seconds=3)
    kit.close()
    with pytest.raises(CacheClosedError):
        len(cache)


@drawn(st.from_type(Config), outcomes(st.integers(), st.text()))
def test_drawn_configs_are_accepted(config: Config, outcome: Outcome[int, str]) -> None:
    """Hypothesis knows ``Config`` by itself, and every one that it draws makes a cache that answers."""
    cache = LastCache[str, int, str](config, clock=ManualClock())
    answer = cache.load_or_store("k", lambda _: outcome)
    assert answer == (given(outcome.unwrap()) if is_successful(outcome) else answer)


@drawn(st.from_type(CachedValue[int, str]), st.from_type(LoadFailure[bytes]), answers(st.none(), st.none()))
def test_drawn_records_are_possible(
    cached: CachedValue[int, str], failure: LoadFailure[bytes], answer: Answer[None, None]
) -> None:
    """Drawn records have the types that were asked for, and no fresh value has an error."""
    assert isinstance(cached.value, int)
    assert isinstance(cached.err, str | None)
    assert cached.stale or cached.err is None
    assert isinstance(failure.err, bytes)
    assert answer.map(lambda cached: cached.value).value_or(None) is None


@drawn(st.from_type(StoredEntry[str, int, bytes]), st.from_type(CachedValue))
def test_drawn_entries_are_possible(entry: StoredEntry[str, int, bytes], bare: CachedValue[str, str]) -> None:
    """A fresh value has no negative TTL; one that expired without an error has one. Bare types are drawn of text."""
    assert isinstance(entry.key, str)
    assert (entry.ttl >= timedelta(0)) >= (not entry.cached.stale)
    assert not (entry.cached.stale and entry.cached.err is None and entry.ttl >= timedelta(0))
    assert isinstance(bare.value, str)


def test_hypothesis_finds_the_strategies_by_itself() -> None:
    """The package names its hook under the entry point that Hypothesis loads."""
    hooks = importlib.metadata.entry_points(group="hypothesis", name="lastcache")
    assert [hook.load() for hook in hooks] == [introduce]
