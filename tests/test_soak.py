"""The soak itself, for a moment in each world, and its laws, each with a history that breaks it."""

import itertools
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import pytest

from lastcache import CacheClosedError, Config, LoadDroppedError
from lastcache.events import Loaded, LoadRaised, Stats
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

    def asks(self, kind: str = "load_or_store", *keys: str) -> Call:
        return self.history.call(kind, keys or ("a",))

    def loads(self, call: Call, outcome: str = "success", raised: BaseException | None = None) -> Load:
        load = self.history.load(call, call.keys[0])
        load.ttl = TTL
        self.history.load_ended(load, outcome, raised)
        return load

    def given(self, call: Call, seen: Seen) -> Call:
        self.history.answered(call, {call.keys[0]: seen})
        return call

    def loaded(self, outcome: str = "success") -> Load:
        """Have a call load in the foreground, and get what came of it."""
        call = self.asks()
        load = self.loads(call, outcome)
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
    scene.history.observe(Loaded("a", timedelta(0), background=False))
    counted(scene, loaded=1)


def told_and_not_counted(scene: Scene) -> None:
    shared(scene, SourceError(1))
    scene.history.observe(LoadRaised("a", SourceError(1), background=False))
    counted(scene)


def too_many_misses(scene: Scene) -> None:
    counted(scene, misses=1)


COUNTS: Final = "what is told and counted is what happened"
STRIKES: Final = "what strikes one reaches nobody else"

BROKEN: Final[list[tuple[Callable[[Scene], None], str]]] = [
    (invented, "nothing is invented"),
    (of_another_key, "nothing is invented"),
    (expired, "nothing expired is given unmarked"),
    (fresh_with_an_error, "what is not stale has no error"),
    (stale_though_fresh, "what is fresh is not marked stale"),
    (after_delete, "nothing from before a write is given"),
    (joined_after_set, "nothing from before a write is given"),
    (unmarked_after_expire, "nothing from before an expire is given unmarked"),
    (remembered_too_long, "a failure is remembered no longer than it may be"),
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
