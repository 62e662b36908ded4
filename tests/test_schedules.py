"""Schedules explored on purpose: a scheduler of its own decides before every line which thread runs next.

It needs Python 3.12 or newer and ``interleave-test``: ``docs/reliability.md`` gives the command.
``SCHEDULES`` in the environment multiplies how many are run.
"""

import _thread
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
from returns.result import Success

import lastcache
from lastcache import CacheClosedError
from lastcache._shell.guard import Guard
from lastcache._shell.inflight import State
from lastcache.core.states import Answer, Outcome
from lastcache.core.table import Landed, Table
from lastcache.core.transitions import settle
from lastcache.testing import ManualClock
from tests.kit import small_cache, ticks

interleave_test: Any = pytest.importorskip(
    "interleave_test", reason="interleave-test is not installed; it needs Python 3.12 or newer"
)

Model = Callable[[], None]
TIMES: Final = int(os.environ.get("SCHEDULES", "1"))


@pytest.fixture(autouse=True)
def scheduled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the scheduler's RLock say who owns it, as the real one does, and let it schedule the workers."""
    from interleave_test import _primitives  # pyright: ignore[reportMissingImports]  # 3.12 or newer

    def is_owned(lock: Any) -> bool:
        return bool(lock._is_owned_by(_primitives._ctx("RLock")[1]))  # noqa: SLF001

    monkeypatch.setattr(interleave_test.RLock, "_is_owned", is_owned, raising=False)
    # The thread that starts a worker is not the scheduler's: let the worker be started from where it is asked for.
    monkeypatch.setattr(_thread, "start_new_thread", lambda start, args: start(*args))


def explore(model: Model, strategy: str, schedules: int) -> int:
    """Run ``model`` under many schedules; the first that fails, hangs or deadlocks is raised. Say how many ran."""
    result = interleave_test.explore(
        model,
        strategy=strategy,
        iterations=schedules * TIMES,
        seed=11,
        granularity="line",
        max_preemptions=2,
        include=[str(Path(lastcache.__file__).parent)],
    )
    return int(result.schedules_run)


def done(task: Any) -> Any:
    """Wait for what a thread of the schedule gives."""
    task.join()
    return task.result()


class Source:
    """What the callbacks ask: it numbers its loads, and notes what happened in which order."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.running = 0
        self.most = 0

    def load(self, _key: str) -> Outcome[str, str]:
        number = sum(event.startswith("began") for event in self.events) + 1
        self.events.append(f"began {number}")
        self.running += 1
        self.most = max(self.most, self.running)
        interleave_test.Lock().acquire()
        self.running -= 1
        return Success(str(number))

    def calls(self) -> int:
        return sum(event.startswith("began") for event in self.events)


def value_of(answer: Answer[str, str]) -> str:
    return answer.unwrap().value


def two_loads_and_a_delete() -> None:
    """What is stored after a delete was loaded after it was called; callers get what some load gave."""
    cache, source = small_cache(ManualClock()), Source()

    def delete() -> None:
        source.events.append("delete")
        cache.delete("k")

    loaders = [interleave_test.spawn(cache.load_or_store, "k", source.load) for _ in range(2)]
    deleter = interleave_test.spawn(delete)
    given = {value_of(done(loader)) for loader in loaders}
    deleter.join()
    assert given <= {str(number + 1) for number in range(source.calls())}
    stored = cache.peek("k").map(lambda cached: cached.value).value_or("")
    if stored:
        began_at, deleted_at = source.events.index(f"began {stored}"), source.events.index("delete")
        assert began_at > deleted_at
    assert source.most <= 2


def a_load_and_a_set() -> None:
    """A set wins, whether the load began before it or after."""
    cache, source = small_cache(ManualClock()), Source()
    loader = interleave_test.spawn(cache.load_or_store, "k", source.load)
    setter = interleave_test.spawn(cache.set, "k", "set")
    assert value_of(done(loader)) in {"1", "set"}
    setter.join()
    assert cache.peek("k").unwrap().value == "set"


def two_loads() -> None:
    """Two callers of a missing key make one call, and both get its value."""
    cache, source = small_cache(ManualClock()), Source()
    loaders = [interleave_test.spawn(cache.load_or_store, "k", source.load) for _ in range(2)]
    assert [value_of(done(loader)) for loader in loaders] == ["1", "1"]
    assert source.calls() == 1


def the_take_over_of_a_queued_refresh() -> None:
    """A load that one left to the background and another waits for runs once, and both are told."""
    clock, source = ManualClock(), Source()
    cache = small_cache(clock)
    cache.set("k", "old")
    clock.advance(ticks(101))
    refresh = cache.async_load_or_store("k", source.load).unwrap().refresh
    waiter = interleave_test.spawn(cache.load_or_store, "k", source.load)
    assert value_of(done(waiter)) == "1"
    assert refresh is not None
    assert value_of(refresh.result()) == "1"
    assert (source.calls(), source.most) == (1, 1)


def a_crash_of_the_leader_while_joiners_arrive() -> None:
    """A leader that is struck hands over: everyone else gets a value, one call at a time."""
    cache, source = small_cache(ManualClock()), Source()

    def struck(_key: str) -> Outcome[str, str]:
        source.load("k")
        raise KeyboardInterrupt

    def lead() -> str:
        try:
            return value_of(cache.load_or_store("k", struck))
        except KeyboardInterrupt:
            return "struck"

    leader = interleave_test.spawn(lead)
    joiners = [interleave_test.spawn(cache.load_or_store, "k", source.load) for _ in range(2)]
    values = {value_of(done(joiner)) for joiner in joiners}
    assert len(values) == 1
    assert done(leader) in {"struck", *values}
    assert source.most == 1


def a_close_during_a_load() -> None:
    """A load that a close overtakes answers its caller or is refused; a closed cache holds nothing, and none waits."""
    cache, source = small_cache(ManualClock()), Source()

    def load() -> str:
        try:
            return value_of(cache.load_or_store("k", source.load))
        except CacheClosedError:
            return "closed"

    loaders = [interleave_test.spawn(load) for _ in range(2)]
    cache.close()
    assert {done(loader) for loader in loaders} <= {"1", "closed"}
    assert not cache._entries  # noqa: SLF001  # the cache itself may not be asked any more
    assert source.most <= 1


MODELS: Final[list[Model]] = [
    two_loads,
    two_loads_and_a_delete,
    a_load_and_a_set,
    the_take_over_of_a_queued_refresh,
    a_crash_of_the_leader_while_joiners_arrive,
    a_close_during_a_load,
]


@pytest.mark.parametrize(("strategy", "schedules"), [("pct", 150), ("dfs", 300), ("random", 100)])
@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_schedule_breaks(
    model: Model, strategy: str, schedules: int, record_property: Callable[[str, object], None]
) -> None:
    """No schedule of those explored breaks the model's promise, deadlocks or hangs."""
    ran = explore(model, strategy, schedules)
    record_property("schedules", ran)
    print(f"{model.__name__}: {ran} schedules ({strategy})")  # noqa: T201  # shown with -s
    assert ran > 0


def lands_though_detached(table: Table[Any, Any, Any, Any], key: Any, flight: Any, outcome: Any, now: int) -> Any:
    """The mistake of a cache that stores what a newer write outran."""
    entry = table.stock.get(key)
    transition = settle(table.policy, entry, outcome, now)
    if transition.entry is not None:
        table.stock.entries[key] = transition.entry
    if table.flights.get(key) is flight:
        del table.flights[key]
    return Landed(transition, entry)


def runs_unguarded(guard: Guard, act: Callable[..., Any], *args: Any) -> Any:
    """The mistake of a cache whose decisions are not made one at a time."""
    return act(*args)


def starts_though_taken(state: State[Any, Any, Any, Any], queued: Any, flight: Any, now: int) -> Any:
    """The mistake of a cache whose workers do not see that a load was taken over."""
    queued.taken = False
    return right_start(state, queued, flight, now)


right_start: Final = State[Any, Any, Any, Any].start


@pytest.mark.parametrize(
    ("owner", "name", "mistake", "model"),
    [
        (Table, "land", lands_though_detached, a_load_and_a_set),
        (Guard, "run", runs_unguarded, two_loads),
        (State, "start", starts_though_taken, the_take_over_of_a_queued_refresh),
    ],
)
def test_a_mistake_is_found(
    owner: type[object], name: str, mistake: Callable[..., Any], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of three mistakes put into the cache on purpose is found."""
    monkeypatch.setattr(owner, name, mistake)
    with pytest.raises(interleave_test.InterleaveError):
        explore(model, "pct", 2000)
