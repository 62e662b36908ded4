"""What is told of each load, and of each who waits: numbers, contexts, names and durations, on each shell."""

from collections import Counter
from contextvars import ContextVar, Token
from datetime import timedelta
from typing import Any, Final

import pytest
from returns.result import Failure, Success

from lastcache import CachedValue, Config, ConfigError, LastCache, failed
from lastcache.core.states import Outcome
from lastcache.events import (
    Event,
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    LoadStarted,
    RefreshStarted,
    ServedStale,
    Waited,
)
from lastcache.testing import ManualClock
from tests.kit import given, ticks
from tests.shells import LOOPS, Stage, TaskCall, each_of, giving, never

DOWN: Final = giving(failed("down", use_stale=True))
NEW: Final = giving(Success("new"))

ENDS: Final = (Loaded, LoadFailed, LoadRaised)


class Heard:
    """An observer that holds each load to the promise: it starts once, and ends once."""

    def __init__(self) -> None:
        self.events: list[Event[str, str]] = []
        self.started: dict[int, LoadStarted[str]] = {}
        self.ended: dict[int, Event[str, str]] = {}

    def __call__(self, event: Event[str, str]) -> None:
        self.events.append(event)
        if isinstance(event, LoadStarted):
            assert event.load not in self.started
            self.started[event.load] = event
        elif isinstance(event, ENDS):
            assert event.load not in self.ended
            assert (event.key, event.background) == (self.started[event.load].key, self.started[event.load].background)
            self.ended[event.load] = event

    def all_ended(self) -> bool:
        """Whether every load that started has ended."""
        return self.started.keys() == self.ended.keys()

    def ends(self) -> list[str]:
        """Name how the loads ended, in the order in which they started."""
        return [type(self.ended[number]).__name__ for number in self.started]


async def test_each_load_starts_and_ends_once(stage: Stage) -> None:
    """A value, a failure and an exception, in the foreground and behind: each end has the number of its start."""
    heard = Heard()
    await stage.open("k", "behind", observer=heard)

    async def raising(_key: str) -> Outcome[str, str]:
        raise OSError("broken")

    await stage.ask("k", DOWN)
    with pytest.raises(OSError, match="broken"):
        await stage.ask("k", raising)
    await stage.ask("k", NEW)
    await stage.ended(await stage.behind("behind", NEW))
    assert heard.ends() == ["LoadFailed", "LoadRaised", "Loaded", "Loaded"]
    assert [event.background for event in heard.started.values()] == [False, False, False, True]


async def test_a_load_that_was_outrun_ends_with_its_number(stage: Stage) -> None:
    """What a load brought is told of, also where a newer write made it count for nothing."""
    heard = Heard()
    cache = await stage.open("k", observer=heard)

    async def outrun(_key: str) -> Outcome[str, str]:
        cache.set("k", "newer")
        return Success("late")

    await stage.ask("k", outrun)
    assert (heard.ends(), cache.peek("k").unwrap()) == (["Loaded"], CachedValue("newer"))


async def test_an_interrupted_load_ends_with_its_number(stage: Stage) -> None:
    """What strikes a leader is told as what its callback raised."""
    heard = Heard()
    await stage.open("k", observer=heard)

    async def struck(_key: str) -> Outcome[str, str]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await stage.ask("k", struck)
    assert heard.ends() == ["LoadRaised"]
    assert stage.cache.stats().load_raised == 1


async def test_each_key_of_a_batch_has_a_load(stage: Stage) -> None:
    """One callback for three keys is three loads, which end as their outcomes say."""
    heard = Heard()
    await stage.open("a", "b", observer=heard)

    async def load(keys: tuple[str, ...]) -> dict[str, Outcome[str, str]]:
        assert len(heard.started) == 3
        return {key: Success(key) if key == "a" else failed("down", use_stale=True) for key in keys}

    answers = await stage.ask_many(["a", "b", "c"], load)
    assert answers["c"] == Failure("down")
    assert sorted(heard.ends()) == ["LoadFailed", "LoadFailed", "Loaded"]


async def test_an_interrupted_batch_ends_each_load(stage: Stage) -> None:
    """What strikes the leader of a batch ends each of its loads."""
    heard = Heard()
    await stage.open("a", "b", observer=heard)

    async def struck(_keys: tuple[str, ...]) -> dict[str, Outcome[str, str]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await stage.ask_many(["a", "b"], struck)
    assert heard.ends() == ["LoadRaised", "LoadRaised"]


@pytest.mark.parametrize("stage", each_of(LOOPS), indirect=True)
async def test_a_cancelled_load_ends_with_its_number(stage: Stage) -> None:
    """A leader that is cancelled leaves the load to who waits; both loads start and end."""
    heard = Heard()
    await stage.open("k", observer=heard)
    load = stage.gated(Success("never"))
    leader = stage.asking("k", load)
    await load.started()
    joiner = stage.asking("k", NEW)
    await stage.joined(1)
    assert isinstance(leader, TaskCall)
    leader.cancel()
    assert await joiner.result() == given("new")
    await stage.until(heard.all_ended)
    assert heard.ends() == ["LoadRaised", "Loaded"]


TRACE: Final[ContextVar[str]] = ContextVar("trace", default="none")


async def test_a_load_is_told_of_in_the_context_of_its_callback(stage: Stage) -> None:
    """What an observer sets when a load starts, its callback sees; the caller does not, where the load is behind it."""
    seen = list[str]()

    def trace(event: Event[str, str]) -> None:
        if isinstance(event, LoadStarted):
            TRACE.set(f"load {event.load}")

    async def load(_key: str) -> Outcome[str, str]:
        seen.append(TRACE.get())
        return Success("new")

    await stage.open("a", "b", observer=trace)
    TRACE.set("caller")
    await stage.ended(await stage.behind("a", load))
    assert TRACE.get() == "caller"
    await stage.ask("b", load)
    assert seen == ["load 1", "load 2"]


async def test_who_joined_is_told_how_long_it_waited(stage: Stage) -> None:
    """The wait of a joiner is told when the load has ended, in time of the cache's clock."""
    await stage.open()
    load = stage.gated(Success("v"))
    leader = stage.asking("k", load)
    await load.started()
    joiner = stage.asking("k", never)
    await stage.joined(1)
    stage.clock.advance(ticks(7))
    load.let_go()
    assert (await leader.result(), await joiner.result()) == (given("v"), given("v"))
    assert [event for event in stage.frames if isinstance(event, Waited)] == [Waited("k", ticks(7))]
    assert [event for event in stage.events if isinstance(event, Joined)] == [Joined("k")]


async def test_a_load_that_raises_tells_how_long_it_took(stage: Stage) -> None:
    """A timeout that raises is a duration as well."""
    await stage.open()

    async def slow(_key: str) -> Outcome[str, str]:
        stage.clock.advance(ticks(5))
        raise TimeoutError

    with pytest.raises(TimeoutError):
        await stage.ask("k", slow)
    took = [event.took for event in stage.events if isinstance(event, LoadRaised)]
    assert took == [ticks(5)]


@pytest.mark.parametrize("bound", [None, 2])
async def test_every_stale_answer_of_an_outage_is_counted(stage: Stage, bound: int | None) -> None:
    """Also while an extension stands; where it has ended the source is asked again."""
    options: dict[str, Any] = {} if bound is None else {"max_entries": bound}
    cache = await stage.open("k", extend=10, **options)
    assert await stage.ask("k", DOWN) == given("old", stale=True, err="down")
    for _ in range(3):
        assert await stage.ask("k", never) == given("old", stale=True, err="down")
        assert (await stage.revalidate("k", never)).unwrap().cached == CachedValue("old", stale=True, err="down")
    assert sum(isinstance(event, ServedStale) for event in stage.events) == 7
    assert (cache.stats().served_stale, cache.stats().misses) == (7, 1)
    stage.clock.advance(ticks(10))
    assert await stage.ask("k", never) == given("old", stale=True, err="down")
    stage.clock.advance(ticks(1))
    assert await stage.ask("k", NEW) == given("new")
    assert await stage.ask("k", never) == given("new")


async def test_a_key_that_is_read_in_an_outage_is_not_evicted_first(stage: Stage) -> None:
    """A stale answer that is told of marks the key as a hit does."""
    cache = await stage.open("a", "b", extend=10, max_entries=2)
    await stage.ask("a", DOWN)
    await stage.ask("b", DOWN)
    cache.set("c", "makes room and takes the marks away")
    kept = "a" if "a" in cache else "b"
    await stage.ask(kept, never)
    cache.set("d", "makes room")
    assert kept in cache


async def test_stats_show_what_is_queued_and_running(stage: Stage) -> None:
    """The loads of now, beside the counts of all that was."""
    cache = await stage.open("a", "b", "c")
    load = stage.gated(Success("new"))
    refresh = await stage.behind("a", load)
    await load.started()
    behind = [await stage.behind(key, NEW) for key in "bc"]
    assert (cache.stats().running, cache.stats().queued) == (1, 2)
    load.let_go()
    for ending in (refresh, *behind):
        await stage.ended(ending)
    await stage.until(lambda: (cache.stats().running, cache.stats().queued) == (0, 0))


def test_a_cache_has_a_name() -> None:
    """It stands in each of its events, and in its text; without one nothing is shown."""
    events = list[Event[str, str]]()
    cache = LastCache[str, int, str](Config(), observer=events.append, name="users", clock=ManualClock())
    cache.load_or_store("k", lambda _: Success(1))
    assert (cache.name, repr(cache)) == ("users", "<LastCache 'users': 1 entries>")
    assert [event.cache for event in events] == ["users", "users"]
    assert events == [
        LoadStarted("k", background=False, cache="users"),
        Loaded("k", timedelta(0), background=False, cache="users"),
    ]
    assert repr(LastCache[str, int, str]()) == "<LastCache: 0 entries>"
    assert Counter(event.cache for event in events) == {"users": 2}


def test_a_name_that_is_no_text_is_refused() -> None:
    """The error names the argument, the value, and what is right."""
    with pytest.raises(ConfigError, match=r"name=5: must be a str"):
        LastCache(name=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the very purpose


# --- ends that were once lost


async def test_an_observer_that_exits_as_a_load_starts_hears_its_end(stage: Stage) -> None:
    """Where the observer itself strikes the leader, the end has the number that the start had."""
    heard = Heard()

    def exits(event: Event[str, str]) -> None:
        heard(event)
        if isinstance(event, LoadStarted):
            raise SystemExit

    await stage.open("k", observer=exits)
    with pytest.raises(SystemExit):
        await stage.ask("k", NEW)
    assert heard.ends() == ["LoadRaised"]


async def test_an_observer_that_exits_as_a_batch_starts_hears_no_end_without_a_start(stage: Stage) -> None:
    """Of the keys that were not begun nothing is told."""
    heard = Heard()

    def exits(event: Event[str, str]) -> None:
        heard(event)
        if isinstance(event, LoadStarted):
            raise SystemExit

    await stage.open("a", "b", observer=exits)

    async def load(keys: tuple[str, ...]) -> dict[str, Outcome[str, str]]:
        return dict.fromkeys(keys, Success("v"))

    with pytest.raises(SystemExit):
        await stage.ask_many(["a", "b"], load)
    assert heard.ends() == ["LoadRaised"]


async def test_an_observer_that_exits_at_an_eviction_loses_no_end(stage: Stage) -> None:
    """What has to go is told before the load, and whatever comes of that, the load is told."""
    heard = Heard()

    def exits(event: Event[str, str]) -> None:
        heard(event)
        if isinstance(event, Evicted):
            raise SystemExit

    await stage.open(observer=exits, max_entries=1)
    await stage.ask("a", NEW)
    with pytest.raises(SystemExit):
        await stage.ask("b", NEW)
    assert heard.ends() == ["Loaded", "Loaded"]


async def test_an_observer_that_exits_amid_a_batch_hears_of_all(stage: Stage) -> None:
    """The end of one key keeps no other from being told of."""
    heard = Heard()

    def exits(event: Event[str, str]) -> None:
        heard(event)
        if isinstance(event, Loaded):
            raise SystemExit

    await stage.open(observer=exits)

    async def load(keys: tuple[str, ...]) -> dict[str, Outcome[str, str]]:
        return dict.fromkeys(keys, Success("v"))

    with pytest.raises(SystemExit):
        await stage.ask_many(["a", "b", "c"], load)
    assert heard.ends() == ["Loaded"] * 3


async def test_an_observer_that_exits_as_a_refresh_starts_loses_no_end(stage: Stage) -> None:
    """In the background nobody is struck, and each event is told by itself."""
    heard = Heard()

    def exits(event: Event[str, str]) -> None:
        heard(event)
        if isinstance(event, RefreshStarted):
            raise SystemExit

    await stage.open("k", observer=exits)
    await stage.ended(await stage.behind("k", NEW))
    await stage.until(heard.all_ended)
    assert heard.ends() == ["Loaded"]


async def test_the_end_of_a_background_load_is_told_in_its_context(stage: Stage) -> None:
    """A context variable that an observer sets at the start is reset at the end, in the same context."""
    tokens: dict[int, Token[str]] = {}
    broken = list[BaseException]()

    def trace(event: Event[str, str]) -> None:
        if isinstance(event, LoadStarted):
            tokens[event.load] = TRACE.set("within")
        elif isinstance(event, ENDS):
            try:
                TRACE.reset(tokens.pop(event.load))
            except ValueError as err:
                broken.append(err)

    await stage.open("k", observer=trace)
    await stage.ended(await stage.behind("k", NEW))
    await stage.until(lambda: not tokens)
    assert broken == []


def test_a_load_from_inside_a_change_ends_where_it_is_interrupted() -> None:
    """A callback that a key's comparison runs, and that is struck, is told of as any other."""
    heard = Heard()
    cache: LastCache[Any, str, str] = LastCache(observer=heard)

    def struck(_key: object) -> Outcome[str, str]:
        raise KeyboardInterrupt

    class Asking:
        armed = False

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if self.armed:
                self.armed = False
                cache.load_or_store("other", struck)
            return self is other

    key = Asking()
    cache.set(key, "v")
    key.armed = True
    with pytest.raises(KeyboardInterrupt):
        cache.delete(Asking())
    assert heard.ends() == ["LoadRaised"]
