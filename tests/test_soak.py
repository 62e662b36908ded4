"""The soak itself, for a moment in each world, and its laws, each with a history that breaks it."""

import itertools
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest

from lastcache import CacheClosedError, Config, LoadDroppedError
from lastcache.events import Joined, Loaded, LoadRaised, LoadStarted, ServedStale, Stats, Waited
from tests.kit import ticks
from tests.soak.__main__ import WORLDS, Report, main, soak
from tests.soak.game import CleanupError, SourceError
from tests.soak.history import Call, Clock, Count, Err, History, Load, Refresh, Seen, Value, Violation
from tests.soak.laws import judge
from tests.soak.setting import Setting, draw_config

TTL: Final = 20_000


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
# A strike in a finalizer, or in what somebody has the collector call, goes to nobody.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_short_soak(world: str) -> None:
    """Two seconds of each world are clean."""
    assert soak(2.0, 42, [world], keep_going=True).examples == {}


class Scene:
    """A history made by hand, and the player who makes it."""

    def __init__(self, config: Config | None = None, world: str = "threads", **options: bool) -> None:
        self.player = 1
        setting = Setting(config or Config(global_ttl=ticks(20)), world, **options)
        self.history = History(setting, Clock([1000]), lambda: self.player)

    def by(self, player: int) -> "Scene":
        self.player = player
        return self

    def moved(self, count: int) -> "Scene":
        for _ in range(count):
            self.history.clock.move()
        return self

    def asks(self, kind: str = "load_or_store", *keys: str, max_stale: int | None = None) -> Call:
        return self.history.call(kind, keys or ("a",), max_stale=max_stale)

    def loads(self, call: Call, outcome: str = "success", raised: BaseException | None = None) -> Load:
        load = self.history.load(call, call.keys[0])
        load.ttl = TTL
        self.history.load_ended(load, outcome, raised)
        return load

    def given(self, call: Call, seen: Seen) -> Call:
        self.history.answered(call, {call.keys[0]: seen})
        return call

    def loaded(self, outcome: str = "success", remember_for: int | None = None) -> Load:
        """Have a call load in the foreground, and get what came of it."""
        call = self.asks()
        load = self.loads(call, outcome)
        load.remember_for = remember_for
        self.given(call, fresh(load) if outcome == "success" else Seen(None, stale=False, err=Err(load.number, "a")))
        return load

    def writes(self, kind: str, key: str = "a") -> Value:
        write = self.history.write(kind, key, TTL)
        self.history.written(write)
        return Value(write.number, key, TTL)

    def refreshed(self, call: Call, result: Seen | BaseException) -> None:
        call.refresh = Refresh(id(call))
        call.refresh.ended_at, call.refresh.ended = self.history.clock.now(), self.history.seq()
        if isinstance(result, BaseException):
            call.refresh.raised = result
        else:
            call.refresh.seen = result

    def laws(self) -> set[str]:
        return {violation.law for violation in judge(self.history)}


def value(load: Load) -> Value:
    return Value(load.number, load.key, TTL)


def fresh(load: Load) -> Seen:
    return Seen(value(load))


def covered(old: Load, failure: Load) -> Seen:
    return Seen(value(old), stale=True, err=Err(failure.number, "a"))


def failure_of(load: Load) -> Seen:
    return Seen(None, stale=False, err=Err(load.number, "a"))


def test_a_clean_history() -> None:
    """Loads, hits, joins, covered failures, refreshes, writes and what they outrun break no law."""
    scene = Scene(Config(global_ttl=ticks(20), extend_ttl=ticks(5)))
    first = scene.loaded()
    scene.given(scene.asks(), fresh(first))
    scene.moved(21)
    leader, joiner = scene.asks(), scene.by(2).asks()
    failure = scene.by(1).loads(leader, "covered")
    scene.given(leader, covered(first, failure))
    scene.by(2).given(joiner, covered(first, failure))
    scene.given(scene.asks(), covered(first, failure))
    scene.moved(6)
    ahead = scene.given(scene.asks("async_load_or_store"), covered(first, failure))
    second = scene.by(3).loads(ahead)
    scene.refreshed(ahead, fresh(second))
    outrun = scene.moved(21).by(1).asks()
    late = scene.history.load(outrun, "a")
    late.ttl = TTL
    newer = scene.by(2).writes("set")
    scene.given(scene.asks(), Seen(newer))
    scene.by(1).history.load_ended(late, "success")
    scene.given(outrun, fresh(late))
    scene.given(scene.asks(), Seen(newer))
    assert list(judge(scene.history)) == []


def test_a_clean_history_of_demands_and_of_failures_that_forget() -> None:
    """Readers with demands, failures with memories of their own, and looks that load nothing break no law."""
    scene = Scene(Config(global_ttl=ticks(20), extend_ttl=ticks(5)))
    first = scene.loaded()
    scene.moved(21)
    scene.given(scene.asks("if_cached"), Seen(value(first), stale=True))
    leader = scene.asks()
    failure = scene.loads(leader, "covered")
    scene.given(leader, covered(first, failure))
    scene.moved(2)
    scene.given(scene.asks(max_stale=0), failure_of(failure))
    scene.given(scene.asks("if_cached", max_stale=5000), covered(first, failure))
    scene.moved(4)
    gone = scene.loaded("forgets", 9000)
    scene.moved(9)
    scene.given(scene.asks("if_cached"), failure_of(gone))
    scene.moved(1)
    scene.given(scene.asks(), fresh(scene.loaded()))
    assert list(judge(scene.history)) == []


def invented(scene: Scene) -> None:
    scene.given(scene.asks(), Seen(Value(99, "a", TTL)))


def of_another_key(scene: Scene) -> None:
    scene.given(scene.asks("load_or_store", "b"), fresh(scene.loaded()))


def expired(scene: Scene) -> None:
    load = scene.loaded()
    scene.moved(21).given(scene.asks(), fresh(load))


def fresh_with_an_error(scene: Scene) -> None:
    load = scene.loaded()
    scene.given(scene.asks(), Seen(value(load), stale=False, err=Err(load.number, "a")))


def stale_though_fresh(scene: Scene) -> None:
    scene.given(scene.asks("peek"), Seen(value(scene.loaded()), stale=True))


def after_delete(scene: Scene) -> None:
    load = scene.loaded()
    scene.writes("delete")
    scene.given(scene.asks(), fresh(load))


def joined_after_set(scene: Scene) -> None:
    leader = scene.asks()
    load = scene.history.load(leader, "a")
    scene.by(2).writes("set")
    joiner = scene.asks()
    scene.by(1).history.load_ended(load, "success")
    scene.given(leader, fresh(load))
    scene.by(2).given(joiner, fresh(load))


def unmarked_after_expire(scene: Scene) -> None:
    load = scene.loaded()
    scene.writes("expire")
    scene.given(scene.asks(), fresh(load))


def remembered_too_long(scene: Scene) -> None:
    failure = scene.loaded("uncovered")
    scene.moved(4).given(scene.asks(), Seen(None, stale=False, err=Err(failure.number, "a")))


def remembered_longer_than_it_says(scene: Scene) -> None:
    failure = scene.loaded("uncovered", 1000)
    scene.moved(2).given(scene.asks(), failure_of(failure))


def remembered_though_it_says_not_at_all(scene: Scene) -> None:
    failure = scene.loaded("forgets", 0)
    scene.given(scene.asks(), failure_of(failure))


def given_though_forgotten(scene: Scene) -> None:
    load = scene.loaded()
    scene.moved(21).loaded("forgets", 0)
    call = scene.asks()
    scene.given(call, covered(load, scene.loads(call, "covered")))


def shown_though_forgotten(scene: Scene) -> None:
    old = scene.writes("set")
    scene.moved(21).loaded("forgets", 0)
    scene.given(scene.asks("peek"), Seen(old, stale=True))


def too_stale_for_a_strict_reader(scene: Scene) -> None:
    load = scene.loaded()
    call = scene.moved(21).asks(max_stale=0)
    scene.given(call, covered(load, scene.loads(call, "covered")))


def too_stale_for_a_tolerant_reader(scene: Scene) -> None:
    load = scene.loaded()
    call = scene.moved(24).asks("async_load_or_store", max_stale=3000)
    scene.given(call, Seen(value(load), stale=True))
    call.refresh = Refresh(1)


def too_stale_without_a_load(scene: Scene) -> None:
    load = scene.loaded()
    scene.moved(24).given(scene.asks("if_cached", max_stale=3000), Seen(value(load), stale=True))


def past_what_is_given_without_a_load(scene: Scene) -> None:
    load = scene.loaded()
    scene.moved(26).given(scene.asks("if_cached"), Seen(value(load), stale=True))


def past_an_extension_without_a_load(scene: Scene) -> None:
    load = scene.loaded()
    call = scene.moved(21).asks()
    failure = scene.loads(call, "covered")
    scene.given(call, covered(load, failure))
    scene.moved(6).given(scene.asks("if_cached"), covered(load, failure))


def behind_an_extension_that_is_over(scene: Scene) -> None:
    load = scene.loaded()
    call = scene.moved(21).asks()
    failure = scene.loads(call, "covered")
    scene.given(call, covered(load, failure))
    scene.moved(6).given(scene.asks(max_stale=0), failure_of(failure))


def loaded_in_an_extension(scene: Scene) -> None:
    load = scene.loaded()
    call = scene.moved(21).asks()
    scene.given(call, covered(load, scene.loads(call, "covered")))
    strict = scene.asks(max_stale=0)
    scene.given(strict, fresh(scene.loads(strict)))


def twice_for_one_call(scene: Scene) -> None:
    call = scene.asks()
    scene.loads(call, "uncovered")
    scene.given(call, fresh(scene.loads(call)))


def past_stale_if_error(scene: Scene) -> None:
    load = scene.loaded()
    call = scene.moved(26).asks()
    scene.given(call, covered(load, scene.loads(call, "covered")))


def past_stale_while_revalidate(scene: Scene) -> None:
    load = scene.loaded()
    call = scene.moved(26).asks("async_load_or_store")
    scene.given(call, Seen(value(load), stale=True))
    scene.writes("close")
    scene.refreshed(call, LoadDroppedError("closed"))


def without_a_cause(scene: Scene) -> None:
    load = scene.loaded()
    scene.moved(21).given(scene.asks(), Seen(value(load), stale=True))


def uncovered(scene: Scene) -> None:
    load = scene.loaded()
    call = scene.moved(21).asks()
    scene.given(call, covered(load, scene.loads(call, "uncovered")))


def error_of_before(scene: Scene) -> None:
    failure = scene.loaded("covered")
    load = scene.loaded()
    call = scene.moved(21).given(scene.asks("async_load_or_store"), covered(load, failure))
    call.refresh = Refresh(1)


def extended_too_long(scene: Scene) -> None:
    load = scene.loaded()
    call = scene.moved(21).asks()
    failure = scene.loads(call, "covered")
    scene.given(call, covered(load, failure))
    scene.moved(6).given(scene.asks(), covered(load, failure))


def two_at_once(scene: Scene) -> None:
    first, second = scene.asks(), scene.by(2).asks()
    one, two = scene.by(1).history.load(first, "a"), scene.by(2).history.load(second, "a")
    for player, load, call in ((1, one, first), (2, two, second)):
        scene.by(player).history.load_ended(load, "success")
        scene.given(call, fresh(load))


def queued_over_a_delete(scene: Scene) -> None:
    scene.loaded()
    scene.moved(21)
    call = scene.given(scene.asks("async_load_or_store"), Seen(None))
    call.answers.clear()
    scene.writes("delete")
    other = scene.given(scene.asks("async_load_or_store", "b"), Seen(None))
    other.answers.clear()
    scene.by(9).loads(other)
    scene.refreshed(call, fresh(scene.loads(call)))


def ran_and_was_dropped(scene: Scene) -> None:
    call = scene.given(scene.asks("async_load_or_store"), Seen(None))
    call.answers.clear()
    scene.by(9).loads(call)
    scene.writes("close")
    scene.refreshed(call, LoadDroppedError("closed"))


def needless(scene: Scene) -> None:
    scene.loaded()
    scene.loaded()


def too_many_behind(scene: Scene) -> None:
    for player, key in ((8, "a"), (9, "b")):
        call = scene.by(1).asks("async_load_or_store", key)
        call.ended = scene.history.seq()
        scene.by(player).history.load(call, key)


def foreign(scene: Scene) -> None:
    scene.history.raised(scene.asks(), RuntimeError("cannot enter context"))


def foreign_in_a_refresh(scene: Scene) -> None:
    scene.refreshed(scene.asks("async_load_or_store"), RuntimeError("cannot enter context"))


def dropped_call(scene: Scene) -> None:
    scene.history.raised(scene.asks(), LoadDroppedError("dropped"))


def closed_too_early(scene: Scene) -> None:
    scene.history.raised(scene.asks(), CacheClosedError("closed"))


def shared(scene: Scene, raised: BaseException) -> None:
    leader, joiner = scene.asks(), scene.by(2).asks()
    scene.by(1).loads(leader, "raised", raised)
    scene.history.raised(leader, raised)
    scene.by(2).history.raised(joiner, raised)


def shared_strike(scene: Scene) -> None:
    shared(scene, KeyboardInterrupt(1))


def shared_cleanup(scene: Scene) -> None:
    shared(scene, CleanupError(1))


def strike_from_the_background(scene: Scene) -> None:
    call = scene.asks()
    scene.by(9).loads(call, "raised", SystemExit(1))
    scene.by(1).history.raised(call, SystemExit(1))


def remembered_exception(scene: Scene) -> None:
    raised = SourceError(1)
    shared(scene, raised)
    scene.history.raised(scene.asks(), raised)


def swallowed(scene: Scene) -> None:
    call = scene.asks()
    scene.loads(call, "raised", SourceError(1))
    scene.given(call, Seen(None, stale=False, err=Err(1, "a")))


def dropped_without_reason(scene: Scene) -> None:
    scene.refreshed(scene.asks("async_load_or_store"), LoadDroppedError("no reason"))


def counted(scene: Scene, **counts: int) -> None:
    stats = Stats(entries=0, hits=None, **{"misses": 0, **counts})
    scene.history.count = Count(stats, scene.history.seq())


def untold(scene: Scene) -> None:
    scene.loaded()
    counted(scene)


def told_in_vain(scene: Scene) -> None:
    scene.history.observe(LoadStarted("a", background=False))
    scene.history.observe(Loaded("a", timedelta(0), background=False))
    counted(scene, loaded=1)


def told_and_not_counted(scene: Scene) -> None:
    shared(scene, SourceError(1))
    scene.history.observe(LoadStarted("a", background=False))
    scene.history.observe(LoadRaised("a", SourceError(1), background=False))
    counted(scene)


def stale_and_untold(scene: Scene) -> None:
    old = scene.writes("set")
    scene.moved(21).given(scene.asks("if_cached"), Seen(old, stale=True))
    counted(scene)


def stale_and_told_with_another_error(scene: Scene) -> None:
    old = scene.writes("set")
    scene.moved(21).given(scene.asks("if_cached"), Seen(old, stale=True))
    scene.history.observe(ServedStale("a", Err(99, "a")))
    counted(scene, served_stale=1)


def starts(scene: Scene, key: str, number: int) -> None:
    scene.history.observe(LoadStarted(key, background=False, load=number))


def ends(scene: Scene, key: str, number: int, *, background: bool = False) -> None:
    scene.history.observe(Loaded(key, timedelta(0), background, load=number))


def started_twice(scene: Scene) -> None:
    starts(scene, "a", 1)
    starts(scene, "a", 1)


def ended_twice(scene: Scene) -> None:
    starts(scene, "a", 1)
    ends(scene, "a", 1)
    ends(scene, "a", 1)


def ended_before_it_started(scene: Scene) -> None:
    ends(scene, "a", 1)
    starts(scene, "a", 1)


def ended_as_another(scene: Scene) -> None:
    starts(scene, "a", 1)
    ends(scene, "b", 1)


def ended_elsewhere(scene: Scene) -> None:
    starts(scene, "a", 1)
    ends(scene, "a", 1, background=True)


def started_and_never_ended(scene: Scene) -> None:
    starts(scene, "a", 1)
    counted(scene)


def waited_before_it_joined(scene: Scene) -> None:
    scene.history.observe(Joined("b"))
    scene.history.observe(Waited("a", timedelta(0)))


def joined_and_never_waited(scene: Scene) -> None:
    scene.history.observe(Joined("a"))
    counted(scene, joined=1)


def too_many_misses(scene: Scene) -> None:
    counted(scene, misses=1)


COUNTS: Final = "what is told and counted is what happened"
STRIKES: Final = "what strikes one reaches nobody else"
REMEMBERED: Final = "a failure is remembered no longer than it may be"
FORGOTTEN: Final = "what was forgotten is not given again"
TOO_STALE: Final = "no reader is given what is too stale for it"
ENDED: Final = "a load ends once, as the one that it started as"
WAITED: Final = "who has waited has joined"

BROKEN: Final[list[tuple[Callable[[Scene], None], str]]] = [
    (invented, "nothing is invented"),
    (of_another_key, "nothing is invented"),
    (expired, "nothing expired is given unmarked"),
    (fresh_with_an_error, "what is not stale has no error"),
    (stale_though_fresh, "what is fresh is not marked stale"),
    (after_delete, "nothing from before a write is given"),
    (joined_after_set, "nothing from before a write is given"),
    (unmarked_after_expire, "nothing from before an expire is given unmarked"),
    (remembered_too_long, REMEMBERED),
    (remembered_longer_than_it_says, REMEMBERED),
    (remembered_though_it_says_not_at_all, REMEMBERED),
    (given_though_forgotten, FORGOTTEN),
    (shown_though_forgotten, FORGOTTEN),
    (too_stale_for_a_strict_reader, TOO_STALE),
    (too_stale_for_a_tolerant_reader, TOO_STALE),
    (too_stale_without_a_load, TOO_STALE),
    (past_what_is_given_without_a_load, "no stale value outlives its window"),
    (past_an_extension_without_a_load, "no stale value outlives its window"),
    (behind_an_extension_that_is_over, REMEMBERED),
    (loaded_in_an_extension, "an extension spares the source"),
    (twice_for_one_call, "a call waits for one load of its own"),
    (past_stale_if_error, "no stale value outlives its window"),
    (past_stale_while_revalidate, "no stale value outlives its window"),
    (without_a_cause, "a stale value has its cause"),
    (uncovered, "stale data covers what it may alone"),
    (error_of_before, "no error from before the value"),
    (extended_too_long, "an extension ends"),
    (two_at_once, "one load at a time"),
    (queued_over_a_delete, "delete drops what is queued"),
    (ran_and_was_dropped, "what is dropped does not run"),
    (needless, "nothing is loaded that is fresh"),
    (too_many_behind, "no more loads in the background than slots"),
    (foreign, "foreign exception"),
    (foreign_in_a_refresh, "foreign exception"),
    (closed_too_early, "foreign exception"),
    (dropped_call, "no call is dropped"),
    (shared_strike, STRIKES),
    (strike_from_the_background, STRIKES),
    (shared_cleanup, "a cancelled callback's cleanup reaches nobody else"),
    (remembered_exception, "no exception is remembered"),
    (swallowed, "what a callback raised comes out"),
    (dropped_without_reason, "nothing is dropped without a reason"),
    (untold, COUNTS),
    (told_in_vain, COUNTS),
    (told_and_not_counted, COUNTS),
    (too_many_misses, COUNTS),
    (stale_and_untold, COUNTS),
    (stale_and_told_with_another_error, COUNTS),
    (started_twice, "a load starts once"),
    (ended_twice, ENDED),
    (ended_before_it_started, "no load ends that has not started"),
    (ended_as_another, ENDED),
    (ended_elsewhere, ENDED),
    (started_and_never_ended, COUNTS),
    (waited_before_it_joined, WAITED),
    (joined_and_never_waited, WAITED),
]


@pytest.mark.parametrize(("act", "law"), BROKEN, ids=[act.__name__ for act, _ in BROKEN])
def test_a_law_is_broken(act: Callable[[Scene], None], law: str) -> None:
    """A history with one mistake is found by the law that it breaks, and by no other."""
    window = ticks(5) if act.__name__.startswith("past") else None
    config = Config(
        global_ttl=ticks(20),
        extend_ttl=ticks(5),
        negative_ttl=ticks(3),
        stale_if_error=window,
        stale_while_revalidate=window,
    )
    scene = Scene(config)
    act(scene)
    assert scene.laws() == {law}


def test_an_extension_ends_for_who_loads_nothing() -> None:
    """What covers a failure is given without a load while the extension stands, and not after it."""
    scene = Scene(Config(global_ttl=ticks(20), extend_ttl=ticks(5), stale_while_revalidate=ticks(0)))
    load = scene.loaded()
    call = scene.moved(21).asks()
    failure = scene.loads(call, "covered")
    scene.given(call, covered(load, failure))
    scene.moved(5).given(scene.asks("if_cached"), covered(load, failure))
    assert scene.laws() == set()
    scene.moved(1).given(scene.asks("if_cached"), covered(load, failure))
    assert scene.laws() == {"an extension ends"}


@pytest.mark.parametrize(("counts", "laws"), [({"loaded": 1}, set[str]()), ({"loaded": 2}, {COUNTS})])
def test_without_an_observer_the_counts_are_judged(counts: dict[str, int], laws: set[str]) -> None:
    """Nothing is told there, so that nothing is compared with events."""
    scene = Scene(observed=False)
    scene.loaded()
    counted(scene, misses=1, **counts)
    assert scene.laws() == laws


def test_a_report() -> None:
    """It counts by world and law, and keeps one example of each."""
    report = Report()
    report.rounds["threads"] += 2
    report.add("threads", "seed 1", [Violation("law", "first"), Violation("law", "second")])
    assert report.lines() == ["2 x [threads] law:\n    first\n    seed 1", "rounds: 2 of threads; 0 calls"]


def test_the_command_fails(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its status is 1 when a law was broken, and it says the seed."""

    def play(_world: str, _chance: random.Random, _seconds: float) -> History:
        scene = Scene()
        needless(scene)
        return scene.history

    monkeypatch.setitem(WORLDS, "threads", play)
    assert main(["--minutes", "0.01", "--seed", "7", "--only", "threads"]) == 1
    assert "--only threads --seed 7" in capsys.readouterr().out


def test_the_clock_never_goes_back() -> None:
    """Whoever moves it, it goes on by the steps that were drawn."""
    clock = Clock([5, 0, 7])
    times: list[int] = []
    for _ in range(5):
        clock.move()
        times.append(clock.now())
    assert times == list(itertools.accumulate([5, 0, 7, 5, 0]))


def test_options_are_drawn() -> None:
    """Every option that a cache has is drawn now and then."""
    default = Config()
    configs = [draw_config(random.Random(seed)) for seed in range(60)]
    assert all(any(getattr(each, name) != getattr(default, name) for each in configs) for name in default.__slots__)
