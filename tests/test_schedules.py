"""Schedules explored on purpose: a scheduler of its own decides before every line which thread runs next.

It needs Python 3.12 or newer and ``interleave-test``: ``docs/reliability.md`` gives the command.
``SCHEDULES`` in the environment multiplies how many are run.

A timeout is over only when nothing else can run: then the clock of the scheduler jumps to the next deadline.
"""

import gc
import importlib
import os
import queue
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

import pytest
from returns.maybe import Maybe
from returns.result import Success

import lastcache
from lastcache import CachedValue, LastCache, Revalidation
from lastcache.core.states import Answer, Outcome
from lastcache.testing import ManualClock
from tests.kit import never, under_way

interleave_test: Any = pytest.importorskip(
    "interleave_test", reason="interleave-test is not installed; it needs Python 3.12 or newer"
)

Cache = LastCache[str, str, str]
Make = Callable[..., Cache]
Model = Callable[[Make], None]

TIMES: Final = int(os.environ.get("SCHEDULES", "1"))
SECOND: Final = timedelta(seconds=1)


def scheduled_lastcache() -> Any:
    """Import lastcache once more, with the scheduler's locks and queues where it imports those of Python.

    What it looks up in a module only when it runs, such as ``threading.RLock``, the scheduler replaces by itself.
    """
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] == "lastcache"}
    for name in ours:
        del sys.modules[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading, "Lock", interleave_test.Lock)
        patch.setattr(queue, "SimpleQueue", vars(queue)["_PySimpleQueue"])
        try:
            return importlib.import_module("lastcache")
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == "lastcache"]:
                del sys.modules[name]
            sys.modules.update(ours)


scheduled: Final = scheduled_lastcache()


@pytest.fixture(autouse=True)
def owned(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the scheduler's RLock say who owns it, as the real one does; no finalizer runs where chance has it."""

    def is_owned(lock: Any) -> bool:
        return bool(lock._is_owned_by(interleave_test._primitives._ctx("RLock")[1]))  # noqa: SLF001

    monkeypatch.setattr(interleave_test.RLock, "_is_owned", is_owned, raising=False)
    gc.disable()
    yield
    gc.enable()


def small_cache(
    *, observer: Callable[[Any], object] = lambda _event: None, executor: Any = None, **options: Any
) -> Cache:
    """Make a cache whose values expire only when they are told to, with one worker."""
    config = scheduled.Config(**options)
    return cast("Cache", scheduled.LastCache(config, clock=ManualClock(), observer=observer, executor=executor))


def with_executor(**options: Any) -> Cache:
    """Make such a cache whose background loads are run by threads of the schedule, one for each call for a worker."""
    return small_cache(executor=interleave_test.spawn, **options)


def explore(model: Callable[[], None], strategy: str, schedules: int, traced: str) -> int:
    """Run ``model`` under many schedules; the first that fails, hangs or deadlocks is raised. Say how many ran."""
    result = interleave_test.explore(
        model,
        strategy=strategy,
        iterations=schedules * TIMES,
        seed=11,
        granularity="line",
        max_preemptions=2,
        include=[traced],
    )
    return int(result.schedules_run)


def tidy(model: Model, make: Make) -> None:
    """Run ``model``; when nothing moves any more, no load is under way in the caches that it made."""
    made: list[Cache] = []

    def keep(**options: Any) -> Cache:
        made.append(make(**options))
        return made[-1]

    model(keep)
    until_nothing_runs()
    assert not any(under_way(cache) for cache in made)


def done(task: Any) -> Any:
    """Wait for what a thread of the schedule gives."""
    task.join()
    return task.result()


def until_nothing_runs() -> None:
    """Wait until all other threads have ended, or wait for ever; those that wait for a timeout go on before."""
    interleave_test.Event().wait(1000)


class Source:
    """What the callbacks ask: it numbers its loads, and notes what happened in which order.

    A load that ``takes`` seconds ends only when nothing but it can go on, and every shorter timeout is over.
    """

    def __init__(self, *, takes: float = 0) -> None:
        self.events: list[str] = []
        self.running = 0
        self.most = 0
        self._takes = takes

    def load(self, _key: str) -> Outcome[str, str]:
        with interleave_test.no_interleave():
            number = self.calls() + 1
            self.events.append(f"began {number}")
            self.running += 1
            self.most = max(self.most, self.running)
        if self._takes:
            interleave_test.Event().wait(self._takes)
        else:
            time.sleep(0)  # a step before which others may run
        self.running -= 1
        return Success(str(number))

    def calls(self) -> int:
        return sum(event.startswith("began") for event in self.events)


def value_of(answer: Answer[str, str]) -> str:
    return answer.unwrap().value


def stored(cache: Cache, key: str = "k") -> str | None:
    return cache.peek(key).map(lambda cached: cached.value).value_or(None)


def store_stale(cache: Cache, *keys: str) -> None:
    for key in keys:
        cache.set(key, "old")
        cache.expire(key)


def refresh_behind(cache: Cache, key: str, callback: Callable[[str], Outcome[str, str]]) -> Future[Answer[str, str]]:
    """Read a stale value; give the load behind it."""
    cached, refresh = cache.async_load_or_store(key, callback).unwrap()
    assert (cached.value, cached.stale) == ("old", True)
    assert refresh is not None
    return refresh


def ending(refresh: Future[Answer[str, str]]) -> str:
    """Wait for a load in the background, and say how it ended."""
    try:
        return value_of(refresh.result())
    except scheduled.LoadDroppedError:
        return "dropped"


def two_loads(make: Make) -> None:
    """Two callers of a missing key make one call, and both get its value."""
    cache, source = make(), Source()
    loaders = [interleave_test.spawn(cache.load_or_store, "k", source.load) for _ in range(2)]
    assert [value_of(done(loader)) for loader in loaders] == ["1", "1"]
    assert source.calls() == 1


def two_loads_and_a_delete(make: Make) -> None:
    """What is stored after a delete was loaded after it was called; callers get what some load gave."""
    cache, source = make(), Source()

    def delete() -> None:
        source.events.append("delete")
        cache.delete("k")

    loaders = [interleave_test.spawn(cache.load_or_store, "k", source.load) for _ in range(2)]
    deleter = interleave_test.spawn(delete)
    given = {value_of(done(loader)) for loader in loaders}
    deleter.join()
    assert given <= {str(number + 1) for number in range(source.calls())}
    left = stored(cache)
    assert left is None or source.events.index(f"began {left}") > source.events.index("delete")
    assert source.most <= 2


def a_load_and_a_set(make: Make) -> None:
    """A set wins, whether the load began before it or after."""
    cache, source = make(), Source()
    loader = interleave_test.spawn(cache.load_or_store, "k", source.load)
    setter = interleave_test.spawn(cache.set, "k", "set")
    assert value_of(done(loader)) in {"1", "set"}
    setter.join()
    assert stored(cache) == "set"


def a_crash_of_the_leader_while_joiners_arrive(make: Make) -> None:
    """A leader that is struck hands over: everyone else gets a value, one call at a time."""
    cache, source = make(), Source()

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


def a_close_during_a_load(make: Make) -> None:
    """A load that a close overtakes answers its caller or is refused; a closed cache holds nothing, and none waits."""
    cache, source = make(), Source()

    def load() -> str:
        try:
            return value_of(cache.load_or_store("k", source.load))
        except scheduled.CacheClosedError:
            return "closed"

    loaders = [interleave_test.spawn(load) for _ in range(2)]
    cache.close()
    assert {done(loader) for loader in loaders} <= {"1", "closed"}
    assert not cache._entries  # noqa: SLF001  # the cache itself may not be asked any more
    assert source.most <= 1


def the_take_over_of_a_queued_refresh(make: Make) -> None:
    """A load that one left to the background and another waits for runs once, and both are told."""
    cache, source = make(), Source()
    store_stale(cache, "k")
    refresh = refresh_behind(cache, "k", source.load)
    waiter = interleave_test.spawn(cache.load_or_store, "k", source.load)
    assert value_of(done(waiter)) == "1"
    assert ending(refresh) == "1"
    assert (source.calls(), source.most) == (1, 1)


def a_delete_while_a_load_is_queued(make: Make) -> None:
    """A load that a delete finds queued never runs, and who waits is told; nothing older than the delete is left."""
    cache, source = make(), Source()
    store_stale(cache, "k")
    refresh = refresh_behind(cache, "k", source.load)
    deleter = interleave_test.spawn(cache.delete, "k")
    ended = ending(refresh)
    deleter.join()
    until_nothing_runs()
    assert ended == ("1" if source.calls() else "dropped")
    assert stored(cache) is None
    again = str(source.calls() + 1)
    assert value_of(cache.load_or_store("k", source.load)) == again


def a_set_while_someone_waits_softly(make: Make) -> None:
    """A set wins over the load that somebody waits for softly, and who waits gets either."""
    cache, source = make(soft_timeout=SECOND), Source()
    store_stale(cache, "k")
    waiter = interleave_test.spawn(cache.load_or_store, "k", source.load)
    setter = interleave_test.spawn(cache.set, "k", "set")
    assert value_of(done(waiter)) in {"1", "set"}
    setter.join()
    assert value_of(cache.load_or_store("k", never)) == "set"
    until_nothing_runs()
    assert stored(cache) == "set"
    assert source.calls() <= 1


def a_set_while_a_slow_load_is_waited_for_softly(make: Make) -> None:
    """Who waits softly for a load that takes too long gets what stands when the time is over, and the set wins."""
    cache, source = make(soft_timeout=SECOND), Source(takes=10)
    store_stale(cache, "k")

    def wait() -> tuple[str, bool]:
        cached = cache.load_or_store("k", source.load).unwrap()
        assert time.monotonic() <= SECOND.total_seconds()
        return cached.value, cached.stale

    waiters = [interleave_test.spawn(wait) for _ in range(2)]
    setter = interleave_test.spawn(cache.set, "k", "set")
    assert {done(waiter) for waiter in waiters} <= {("old", True), ("set", False)}
    setter.join()
    assert value_of(cache.load_or_store("k", never)) == "set"
    until_nothing_runs()
    assert stored(cache) == "set"
    assert source.calls() <= 1


def two_stale_readers_at_once(make: Make) -> None:
    """Two readers of a stale value leave one load, which calls once, and share its future."""
    cache, source = make(), Source()
    store_stale(cache, "k")
    readers = [interleave_test.spawn(cache.async_load_or_store, "k", source.load) for _ in range(2)]
    answers = [cast("Revalidation[str, str]", done(reader).unwrap()) for reader in readers]
    assert all(cached.value == ("1" if refresh is None else "old") for cached, refresh in answers)
    refreshes = [refresh for _, refresh in answers if refresh is not None]
    assert len({id(refresh) for refresh in refreshes}) == 1
    assert ending(refreshes[0]) == "1"
    assert (source.calls(), stored(cache)) == (1, "1")


def two_closes_while_a_load_is_queued(make: Make) -> None:
    """A close drops what is queued: its refresh ends with ``LoadDroppedError``, and the observer hears of it once."""
    refused: list[str] = []

    def observe(event: Any) -> None:
        if type(event).__name__ == "RefreshRefused":
            refused.append(event.key)

    cache, source, gate = make(observer=observe), Source(), interleave_test.Event()
    store_stale(cache, "a", "b")

    def held(key: str) -> Outcome[str, str]:
        gate.wait()
        return source.load(key)

    refreshes = {"a": refresh_behind(cache, "a", held), "b": refresh_behind(cache, "b", source.load)}
    for closer in [interleave_test.spawn(cache.close) for _ in range(2)]:
        closer.join()
    gate.set()
    endings = {key: ending(refresh) for key, refresh in refreshes.items()}
    assert endings["b"] == "dropped"
    assert endings["a"] == ("1" if source.calls() else "dropped")
    until_nothing_runs()
    assert sorted(refused) == [key for key, ended in endings.items() if ended == "dropped"]
    assert not cache._entries  # noqa: SLF001  # the cache itself may not be asked any more


def two_keys_for_a_queue_of_one(make: Make) -> None:
    """Where one load may be queued, at most the older of two is dropped, and its reader is told; the other runs."""
    cache, source = make(max_queued=1), Source()
    store_stale(cache, "a", "b")
    readers = {key: interleave_test.spawn(refresh_behind, cache, key, source.load) for key in "ab"}
    endings = {key: ending(done(reader)) for key, reader in readers.items()}
    until_nothing_runs()
    ran = {key: ended for key, ended in endings.items() if ended != "dropped"}
    assert ran
    assert (source.calls(), source.most) == (len(ran), 1)
    assert {key: stored(cache, key) for key in endings} == {"a": "old", "b": "old"} | ran


def two_loads_for_a_worker_that_rests(make: Make) -> None:
    """A worker that has rested, or is about to, runs what comes next: each load once, one at a time."""
    cache, source = make(), Source()
    store_stale(cache, "a", "b", "c")
    assert ending(refresh_behind(cache, "a", source.load)) == "1"
    readers = [interleave_test.spawn(refresh_behind, cache, key, source.load) for key in "bc"]
    assert {ending(done(reader)) for reader in readers} == {"2", "3"}
    assert (source.calls(), source.most) == (3, 1)


def a_close_while_a_worker_rests(make: Make) -> None:
    """A close and a load that meet a worker at rest: the load ends in some way, and the worker at once."""
    cache, source = make(), Source()
    store_stale(cache, "a", "b")
    assert ending(refresh_behind(cache, "a", source.load)) == "1"

    def read() -> str:
        try:
            return ending(refresh_behind(cache, "b", source.load))
        except scheduled.CacheClosedError:
            return "closed"

    reader = interleave_test.spawn(read)
    cache.close()
    ended = done(reader)
    until_nothing_runs()
    assert ended in ({"2"} if source.calls() == 2 else {"dropped", "closed"})


def a_cache_that_is_dropped(_make: Make) -> None:
    """A cache that nobody refers to is freed, and its load ends all the same; no worker waits for its time to end."""
    cache, source = small_cache(), Source()
    store_stale(cache, "k")
    refresh = refresh_behind(cache, "k", source.load)
    shell = weakref.ref(cache._shell)  # noqa: SLF001  # what a worker would keep alive
    del cache
    assert ending(refresh) == "1"
    interleave_test.Event().wait(0.5)
    assert shell() is None
    until_nothing_runs()


FOREGROUND: Final[list[Model]] = [
    two_loads,
    two_loads_and_a_delete,
    a_load_and_a_set,
    a_crash_of_the_leader_while_joiners_arrive,
    a_close_during_a_load,
]
BACKGROUND: Final[list[Model]] = [
    the_take_over_of_a_queued_refresh,
    a_delete_while_a_load_is_queued,
    a_set_while_someone_waits_softly,
    a_set_while_a_slow_load_is_waited_for_softly,
    two_stale_readers_at_once,
    two_closes_while_a_load_is_queued,
    two_keys_for_a_queue_of_one,
    two_loads_for_a_worker_that_rests,
    a_close_while_a_worker_rests,
]


@pytest.mark.parametrize(("strategy", "schedules"), [("pct", 150), ("dfs", 300), ("random", 100)])
@pytest.mark.parametrize(
    ("model", "make"),
    [
        *((model, small_cache) for model in [*FOREGROUND, *BACKGROUND, a_cache_that_is_dropped]),
        *((model, with_executor) for model in BACKGROUND),
    ],
    ids=lambda part: part.__name__,
)
def test_no_schedule_breaks(
    model: Model, make: Make, strategy: str, schedules: int, record_property: Callable[[str, object], None]
) -> None:
    """No schedule of those explored breaks the model's promise, deadlocks or hangs."""
    ran = explore(partial(tidy, model, make), strategy, schedules, str(Path(lastcache.__file__).parent))
    record_property("schedules", ran)
    print(f"{model.__name__}, {make.__name__}: {ran} schedules ({strategy})")  # noqa: T201  # shown with -s
    assert ran > 0


class TinyLoad:
    """A load of one key: whoever finds that it has not begun runs it."""

    def __init__(self) -> None:
        self.begun = False
        self.future: Future[Answer[str, str]] = Future()


class TinyCache:
    """A cache of a few lines that keeps the promises of some models; each heir makes one mistake."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.stored: dict[str, CachedValue[str, str]] = {}
        self.loads: dict[str, TinyLoad] = {}

    def peek(self, key: str) -> Maybe[CachedValue[str, str]]:
        return Maybe.from_optional(self.stored.get(key))

    def set(self, key: str, value: str) -> None:
        with self.lock:
            self.stored[key] = CachedValue(value)
            self.loads.pop(key, None)

    def expire(self, key: str) -> None:
        with self.lock:
            self.stored[key] = CachedValue(self.stored[key].value, stale=True)

    def delete(self, key: str) -> None:
        with self.lock:
            self.stored.pop(key, None)
            load = self.loads.pop(key, None)
        if load is not None and self.take(load):
            self.drop(load)

    def load_or_store(self, key: str, callback: Callable[[str], Outcome[str, str]]) -> Answer[str, str]:
        found = self.decide(key)
        if isinstance(found, CachedValue):
            return Success(found)
        self.run(key, found, callback)
        return found.future.result()

    def async_load_or_store(self, key: str, callback: Callable[[str], Outcome[str, str]]) -> Any:
        cached, found = self.stored[key], self.decide(key)
        if isinstance(found, CachedValue):
            return Success(Revalidation(found, None))
        threading.Thread(target=self.run, args=(key, found, callback)).start()
        return Success(Revalidation(cached, found.future))

    def decide(self, key: str) -> CachedValue[str, str] | TinyLoad:
        with self.lock:
            return self.find(key)

    def find(self, key: str) -> CachedValue[str, str] | TinyLoad:
        cached = self.stored.get(key)
        if cached is not None and not cached.stale:
            return cached
        load = self.loads.get(key)
        if load is None:
            self.loads[key] = load = TinyLoad()
        return load

    def run(self, key: str, load: TinyLoad, callback: Callable[[str], Outcome[str, str]]) -> None:
        if self.take(load):
            value = callback(key).unwrap()
            self.land(key, load, value)
            with suppress(InvalidStateError):
                load.future.set_result(Success(CachedValue(value)))

    def take(self, load: TinyLoad) -> bool:
        with self.lock:
            first, load.begun = not load.begun, True
            return first

    def land(self, key: str, load: TinyLoad, value: str) -> None:
        with self.lock:
            if self.loads.get(key) is load:
                del self.loads[key]
                self.stored[key] = CachedValue(value)

    def drop(self, load: TinyLoad) -> None:
        load.future.set_exception(scheduled.LoadDroppedError())


class DecidesWithoutALock(TinyCache):
    """Two callers may both find that there is no load yet."""

    def decide(self, key: str) -> CachedValue[str, str] | TinyLoad:
        return self.find(key)


class StoresWhatWasOutrun(TinyCache):
    """A load that began before a newer write is stored over it."""

    def land(self, key: str, load: TinyLoad, value: str) -> None:
        with self.lock:
            self.loads.pop(key, None)
            self.stored[key] = CachedValue(value)


class StartsTwice(TinyCache):
    """Who comes to run a load does not see that another has begun it."""

    def take(self, load: TinyLoad) -> bool:
        load.begun = True
        return True


class ChecksThenTakes(TinyCache):
    """Between the look at a load and its begin another may begin it."""

    def take(self, load: TinyLoad) -> bool:
        if load.begun:
            return False
        load.begun = True
        return True


class DropsInSilence(TinyCache):
    """Who waits for a load that was dropped is never told."""

    def drop(self, load: TinyLoad) -> None:
        pass


TINY_MODELS: Final[list[Model]] = [
    two_loads,
    a_load_and_a_set,
    the_take_over_of_a_queued_refresh,
    a_delete_while_a_load_is_queued,
    two_stale_readers_at_once,
]


def tiny(kind: type[TinyCache]) -> Make:
    return lambda: cast("Cache", kind())


@pytest.mark.parametrize("model", TINY_MODELS, ids=lambda model: model.__name__)
def test_a_tiny_cache_without_mistakes_passes(model: Model) -> None:
    """What is found in the wrong ones is their mistake, and not that they are tiny."""
    assert explore(partial(model, tiny(TinyCache)), "pct", 300, __file__) == 300 * TIMES


@pytest.mark.parametrize("strategy", ["pct", "dfs"])
@pytest.mark.parametrize(
    ("kind", "model", "fault"),
    [
        (DecidesWithoutALock, two_loads, "RaceFound"),
        (DecidesWithoutALock, two_stale_readers_at_once, "RaceFound"),
        (StoresWhatWasOutrun, a_load_and_a_set, "RaceFound"),
        (StoresWhatWasOutrun, a_delete_while_a_load_is_queued, "RaceFound"),
        (StartsTwice, the_take_over_of_a_queued_refresh, "RaceFound"),
        (ChecksThenTakes, the_take_over_of_a_queued_refresh, "RaceFound"),
        (DropsInSilence, a_delete_while_a_load_is_queued, "DeadlockError"),
    ],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_a_mistake_is_found(kind: type[TinyCache], model: Model, fault: str, strategy: str) -> None:
    """Each mistake of a tiny cache is found, by what the models check of lastcache or as a deadlock."""
    with pytest.raises(getattr(interleave_test, fault)) as found:
        explore(partial(model, tiny(kind)), strategy, 2000, __file__)
    assert isinstance(found.value.__cause__, AssertionError if fault == "RaceFound" else type(None))
