"""What changes of the state of one cache leave as it is, and what they give to whom: found by mutation."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Final, Self, TypeAlias

import pytest
from returns.result import Failure, Success

from lastcache import CacheClosedError, CachedValue, failed
from lastcache._shell.flight import Dropped, Raised, Stale
from lastcache._shell.inflight import CLOSED, CROWDED, DELETED, INSIDE, CacheState
from lastcache.core.states import NegativelyCached, Strategy
from lastcache.core.traffic import Queued, Running
from tests.kit import ticks
from tests.states import (
    CONFIG,
    FORGETS,
    RAISED,
    SIE,
    SLOW,
    STORED,
    SWR,
    TICK,
    TTL,
    WRITES,
    Load,
    Seen,
    State,
    Work,
    entry,
    given,
    left,
    seen,
    stale,
    state_with,
)
from tests.test_struck import (
    Change,
    Striker,
    Struck,
    dropping,
    failing,
    putting_out_of_the_way,
    starting,
    strike,
    taking_over,
    told_after,
)
from tests.test_walk import clockless, led

Ask: TypeAlias = Callable[[State, int, Strategy, str], object]

ASKS: Final[dict[str, Ask]] = {
    "decide": lambda state, now, strategy, key: state.decide(now, strategy, key, "callback", led()),
    "stand in": lambda state, now, strategy, key: state.stand_in(now, strategy, key, "callback"),
    "without load": lambda state, now, strategy, key: state.without_load(now, strategy, key, "callback"),
}
asks = pytest.mark.parametrize("ask", ASKS)
reads = pytest.mark.parametrize("ask", ["decide", "stand in"])


@pytest.mark.parametrize("strategy", [SLOW, SWR])
def test_a_call_that_need_not_wait_is_answered_without_a_flight(strategy: Strategy) -> None:
    """``stand_in`` gives what stands, and what is stale with the load behind it; None where the call must wait."""
    state: State = CacheState(CONFIG, lambda: 7.5, enter=id)
    state.set(0, "k", "v", None)
    assert [state.stand_in(now, strategy, "k", "callback") for now in (0, TTL)] == [given("v")] * 2
    assert [state.stand_in(2 * TTL, SIE, "k", "callback"), state.stand_in(0, strategy, "none", "callback")] == [
        None
    ] * 2
    assert seen(state) == Seen({"k": entry("v")})
    step = state.stand_in(2 * TTL, strategy, "k", "callback")
    assert isinstance(step, Stale)
    assert step == Stale(CachedValue("v", stale=True), step.job)
    assert (step.job.key, step.job.callback, step.job.since, step.job.landing) == ("k", "callback", 7.5, None)
    assert seen(state) == Seen({"k": entry("v")}, {"k": Queued(step.job)}, [step.job])
    assert state.stand_in(2 * TTL, strategy, "k", "other") == step
    assert state.stand_in(2 * TTL, SIE, "k", "callback") is None


@reads
def test_an_early_load_is_that_of_its_reader(ask: str) -> None:
    """The load that is left behind a fresh value has the reader's key, callback and time; one is left, no more."""
    state: State = CacheState(replace(CONFIG, refresh_after=ticks(1)), lambda: 7.5)
    state.set(0, "k", "v", None)
    assert [ASKS[ask](state, 2 * TICK, strategy, "k") for strategy in Strategy] == [given("v")] * 3
    (job,) = state.loads.queue
    assert (job.key, job.callback, job.since, job.landing) == ("k", "callback", 7.5, None)
    assert state.loads.traffic == {"k": Queued(job)}


@reads
def test_an_early_load_does_not_ride_on_a_load_that_runs(ask: str) -> None:
    """Nobody waits for an early load: where a load is led already none is left beside it."""
    flight = led()
    state = state_with(replace(CONFIG, refresh_after=ticks(1)))
    state.set(0, "k", "v", None)
    state.loads.traffic["k"] = Running(flight)
    before = seen(state).stored
    assert ASKS[ask](state, 2 * TICK, SIE, "k") == given("v")
    assert seen(state) == Seen(before, {"k": Running(flight)})


@asks
def test_a_closed_state_says_that_it_is_closed(ask: str) -> None:
    """Whichever way it is asked, a state that was shut raises that, asks nothing of the key, and leaves nothing."""
    state, key = state_with(), Bad("k")
    state.shut()
    key.error = LookupError("no hash")
    with pytest.raises(CacheClosedError, match=r"^the cache is closed$"):
        ASKS[ask](state, 0, SWR, key)
    assert seen(state) == Seen()


@reads
def test_who_asks_drops_what_can_never_be_given_again(ask: str) -> None:
    """A read of a key that is past both windows forgets it, and hands it over to be released; others stay."""
    state = state_with(replace(CONFIG, stale_if_error=ticks(1), stale_while_revalidate=ticks(1)))
    for key in ("k", "other"):
        state.set(0, key, "v", None)
    ASKS[ask](state, 2 * TTL, SWR, "k")
    assert seen(state).stored == {"other": entry("v")}
    assert [tuple(removed) for removed in state.entries.removed] == [("k", entry("v"), False)]


@reads
def test_who_asks_keeps_the_key_from_being_evicted(ask: str) -> None:
    """A read of a key spares it when room has to be made, whether its value stands or is stale."""
    for now in (0, 2 * TTL):
        state = state_with(replace(CONFIG, max_entries=2))
        for key in "ab":
            state.set(0, key, "v", None)
        ASKS[ask](state, now, SWR, "a")
        state.set(now, "c", "v", None)
        assert list(state.entries.stored) == ["a", "c"]


def test_who_may_not_change_anything_marks_and_drops_nothing() -> None:
    """``without_load`` neither spares a key from eviction, nor forgets one that can never be given again."""
    windows = replace(CONFIG, max_entries=2, stale_if_error=ticks(1), stale_while_revalidate=ticks(1))
    state = state_with(windows)
    for key in "ab":
        state.set(0, key, "v", None)
    state.without_load(0, SWR, "a", "callback")
    assert state.without_load(2 * TTL, SWR, "a", "callback") is None
    assert (seen(state), list(state.entries.removed)) == (Seen({"a": entry("v"), "b": entry("v")}), [])
    state.set(0, "c", "v", None)
    assert list(state.entries.stored) == ["b", "c"]


def test_who_is_given_what_stands_puts_an_abandoned_flight_out_of_the_way() -> None:
    """A call that need not wait does so, too: the job of the flight waits for a worker again."""
    flight, job = led(), left()
    state = state_with(k=Running(flight, job))
    state.entries.put("k", entry("v"), 0)
    flight.latch.release()
    assert state.decide(0, SIE, "k", "callback", led()) == given("v")
    assert seen(state) == Seen({"k": entry("v")}, {"k": Queued(job)}, [job])


def test_jitter_is_drawn_by_chance_unless_told_otherwise() -> None:
    """Values of one cache with jitter do not all expire at one instant; without jitter they do."""
    for jitter, spread in ((0.5, True), (0.0, False)):
        state: State = CacheState(replace(CONFIG, jitter=jitter), float, enter=id)
        for key in range(20):
            state.set(0, str(key), "v", None)
        flights = [led() for _ in range(20)]
        for key, flight in enumerate(flights):
            state.decide(0, SIE, f"landed {key}", "callback", flight)
            state.land(0, f"landed {key}", flight, Success("v"), None)
        ends = [found.until for found in seen(state).stored.values() if found is not None]
        assert len(ends) == 40
        assert (len(set(ends)) > 1) == spread


def test_all_that_is_beyond_the_bound_goes_at_once() -> None:
    """Where an interrupt left more in the queue than may wait, the next that comes drops as many as are too many."""
    first, second = left("a"), left("b")
    state = state_with(replace(CONFIG, max_queued=1), a=Queued(first), b=Queued(second))
    state.set(0, "k", "k", None)
    job = stale(state, "k")
    told = [(first, Dropped(CROWDED)), (second, Dropped(CROWDED))]
    assert seen(state) == Seen({"k": entry("k")}, {"k": Queued(job)}, [job], told=told)


def test_the_job_of_who_may_not_leave_a_load_has_the_time_of_its_reader() -> None:
    """Who waits softly looks at that, whatever became of the job."""
    state: State = CacheState(CONFIG, lambda: 7.5, enter=id)
    state.set(0, "k", "v", None)
    step = state.without_load(2 * TTL, SWR, "k", "callback")
    assert isinstance(step, Stale)
    assert (step.job.since, step.job.landing) == (7.5, Dropped(INSIDE))


def test_a_worker_is_no_reader() -> None:
    """To begin a load neither spares its key from eviction, nor forgets what can never be given again."""
    windows = replace(CONFIG, max_entries=2, stale_if_error=ticks(1), stale_while_revalidate=ticks(1))
    job, me = left("a"), led()
    state = state_with(windows, a=Queued(job))
    for key in "ab":
        state.set(0, key, "v", None)
    assert state.start_next(2 * TTL, me) is job
    assert (seen(state).stored, list(state.entries.removed)) == ({"a": entry("v"), "b": entry("v")}, [])
    state.set(0, "c", "v", None)
    assert list(state.entries.stored) == ["b", "c"]


@pytest.mark.parametrize("crashes", [False, True])
def test_who_leads_a_load_in_the_background_tells_who_waits_for_it(*, crashes: bool) -> None:
    """A flight that was begun for a job carries it, and has it to tell once it has ended: it is not in the outbox."""
    job, me = left(), led()
    state = state_with(k=Queued(job))
    assert state.start(5, job, me) is True
    assert (me.began_at, me.carries, me.tells, seen(state)) == (5, job, None, Seen(traffic={"k": Running(me, job)}))
    if crashes:
        state.crash(0, "k", me, RAISED)
        assert seen(state) == Seen()
    else:
        state.land(5, "k", me, Success("v"), None)
        assert seen(state) == Seen({"k": entry("v", 5)})
    assert (me.tells, job.landing) == (job, me.landing)


def test_a_flight_whose_job_cannot_be_found_leads_nothing() -> None:
    """A job whose key is not found any more leaves the queue; its flight is as new, and may lead another."""
    lost, job, me = left("lost"), left(), led()
    state = state_with()
    state.loads.queue[lost] = None
    assert state.start(5, lost, me) is False
    assert (me.began_at, me.carries, state.loads.traffic, state.loads.queue) == (None, None, {}, {})
    state.loads.queue[lost] = None
    state.loads.traffic["k"], state.loads.queue[job] = Queued(job), None
    assert state.start_next(6, me) is job
    assert (me.began_at, me.carries, state.loads.traffic) == (6, job, {"k": Running(me, job)})


class Bad(str):
    """A key whose hash raises ``error``, once that is there."""

    __slots__ = ("error",)

    error: BaseException | None

    def __new__(cls, text: str) -> Self:
        key = super().__new__(cls, text)
        key.error = None
        return key

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        if self.error is not None:
            raise self.error
        return str.__hash__(self)


def queued_badly(error: BaseException) -> tuple[State, Bad, Work]:
    """Give a state with a queued job, the key of which raises ``error`` from now on."""
    key = Bad("k")
    job = left(key)
    state = state_with(k=Queued(job))
    key.error = error
    return state, key, job


def test_an_interrupt_in_the_hash_of_a_key_reaches_who_starts_its_load() -> None:
    """Only what a key raises of its own is told to who waits: after an interrupt the job waits for the next worker."""
    state, key, job = queued_badly(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        state.start_next(0, led())
    key.error = None
    assert (seen(state), job.landing) == (Seen(traffic={"k": Queued(job)}, queue=[job]), None)


def test_an_interrupt_in_the_hash_of_a_key_reaches_who_drops_its_load() -> None:
    """The job was told by then, and whoever leads its key next puts it out of the way."""
    state, key, job = queued_badly(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        state.drop(job, "dropped")
    key.error = None
    assert seen(state) == Seen(traffic={"k": Queued(job)}, queue=[job], told=[(job, Dropped("dropped"))])
    me = led()
    assert state.decide(0, SIE, "k", "callback", me) is me
    assert seen(state) == Seen(traffic={"k": Running(me)}, told=[(job, Dropped("dropped"))])


def test_the_error_of_a_key_is_told_with_its_traceback() -> None:
    """Who waits for the load is told where the key raised."""
    error = LookupError("no hash")
    state, _, job = queued_badly(error)
    assert state.start(0, job, led()) is False
    assert isinstance(job.landing, Raised)
    assert (job.landing.err, job.landing.trace is not None) == (error, True)


def test_what_could_not_be_stored_is_told_to_nobody() -> None:
    """A landing that is broken off while it stores leaves its job to the next load."""
    key, flight = Bad("k"), led()
    job = left(key)

    def draw() -> float:
        key.error = KeyboardInterrupt()
        return 0.0

    state: State = CacheState(replace(CONFIG, jitter=0.5), clockless, draw=draw, enter=id)
    state.loads.traffic["k"] = Running(flight, job)
    with pytest.raises(KeyboardInterrupt):
        state.land(0, key, flight, Success("v"), None)
    assert (seen(state), flight.landing, job.landing) == (Seen(traffic={"k": Running(flight, job)}), None, None)
    key.error = None
    state.abandon("k", flight)
    assert seen(state) == Seen(traffic={"k": Queued(job)}, queue=[job])


@pytest.mark.parametrize("write", ["set", "delete"])
def test_a_landing_leaves_what_was_outrun_elsewhere(write: str) -> None:
    """A load lands as ever while the load of another key, which a write outran, has not; that one keeps its job."""
    flight, outrun, job = led(), led(), left()
    state = state_with(k=Running(outrun, job), other=Running(flight))
    WRITES[write](state)
    assert state.land(60, "other", flight, Success("v"), None) == given("v")
    kept, forgotten = ({}, {outrun: job}) if write == "delete" else ({outrun: job}, {})
    assert seen(state) == Seen({**STORED[write], "other": entry("v", 60)}, kept=kept, forgotten=forgotten)


@pytest.mark.parametrize("where", ["kept", "forgotten"])
def test_a_landing_takes_away_what_an_interrupt_left_of_its_flight(where: str) -> None:
    """A flight that is attached, and was about to be outrun, is not kept once it has landed."""
    flight, job = led(), left()
    state = state_with(k=Running(flight, job))
    (state.loads.kept if where == "kept" else state.loads.forgotten)[flight] = job
    state.land(60, "k", flight, Success("v"), None)
    assert seen(state) == Seen({"k": entry("v", 60)}, told=[(job, given("v"))])


WINDOWS: Final = replace(CONFIG, stale_if_error=ticks(1), stale_while_revalidate=ticks(1))


def test_a_landing_is_no_reader() -> None:
    """To store what was loaded neither spares the key from eviction, nor forgets beforehand what it replaces."""
    flight = led()
    state = state_with(replace(WINDOWS, max_entries=2))
    for key in "ab":
        state.set(0, key, "v", None)
    state.loads.traffic["a"] = Running(flight)
    replaced = state.entries.stored["a"]
    state.land(2 * TTL, "a", flight, Success("new"), None)
    assert flight.replaced is replaced
    assert "a" not in [removed.key for removed in state.entries.removed]
    state.set(2 * TTL, "b", "v", None)
    state.set(2 * TTL, "c", "v", None)
    assert list(state.entries.stored) == ["b", "c"]


def test_a_failure_forgets_what_can_never_be_given_again() -> None:
    """A load that fails when the value is past both windows by then drops that, and hands it back."""
    flight = led()
    state = state_with(WINDOWS, k=Running(flight))
    state.entries.put("k", entry("v"), 0)
    assert state.land(2 * TTL, "k", flight, failed("down", use_stale=True), None) == Failure("down")
    assert (seen(state), flight.replaced) == (Seen(), entry("v"))


SWEEPS: Final[dict[str, Callable[[State], object]]] = {
    "land": lambda state: state.land(2 * TTL, "k", attached(state), Success("new"), None),
    "set": lambda state: state.set(2 * TTL, "k", "new", None),
    "expire": lambda state: state.expire(2 * TTL, "k"),
}


def attached(state: State) -> Load:
    flight = led()
    state.loads.traffic["k"] = Running(flight)
    return flight


@pytest.mark.parametrize("write", SWEEPS)
def test_a_write_sweeps_at_its_own_instant(write: str) -> None:
    """What can never be given again at the instant of a write goes with it, though nobody asked for it."""
    state = state_with(WINDOWS)
    for key, now in (("other", 0), ("k", 2 * TTL)):
        state.entries.put(key, entry("v", now), now - TTL)
    SWEEPS[write](state)
    assert list(state.entries.stored) == ["k"]
    assert [tuple(removed) for removed in state.entries.removed] == [("other", entry("v"), False)]


def test_an_outrun_landing_leaves_an_abandoned_flight() -> None:
    """What is attached stays as it is, also where its leader was interrupted: that is for who comes next to find."""
    late, abandoned, job = led(), led(), left()
    state = state_with(k=Running(abandoned, job))
    abandoned.latch.release()
    assert state.land(0, "k", late, Success("older"), None) == given("older")
    assert seen(state) == Seen(traffic={"k": Running(abandoned, job)})


def test_what_a_landing_replaced_comes_with_what_it_outran() -> None:
    """A success hands back the value of before, and the loads of other places, to be released after the change."""
    flight, there = led(), led()
    state = state_with(k=Running(flight))
    state_with(beside=state, k=Running(there))
    state.entries.put("k", entry("old"), 0)
    state.land(500, "k", flight, Success("new"), None)
    assert flight.replaced == (entry("old"), [None, Running(there)])


def test_what_is_abandoned_once_its_cache_was_closed_is_dropped() -> None:
    """Where an interrupt broke the closing off, the job of a flight that is still attached is not left to anybody."""
    flight, job = led(), left()
    state = state_with(k=Running(flight, job))
    state.closed = True
    state.abandon("k", flight)
    assert seen(state) == Seen(told=[(job, Dropped(CLOSED))])


@pytest.mark.parametrize("landing", [RAISED, Dropped("shot")], ids=["raised", "dropped"])
def test_what_came_of_a_load_that_was_interrupted(landing: Raised | Dropped) -> None:
    """It is its job's landing, and no outcome of the callback. Who waits is told by its leader."""
    job, me = left(), led()
    state = state_with(k=Queued(job))
    assert state.start_next(5, me) is job
    state.fail("k", me, landing)
    assert (me.outcome, me.tells, job.landing) == (None, job, landing)
    assert seen(state) == Seen()


@pytest.mark.parametrize("error", [LookupError("no hash"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_an_interrupted_load_is_told_of_though_its_key_objects(error: BaseException) -> None:
    """``fail`` needs no key to find the job, and raises nothing of it; whoever comes next leads the key."""
    state, key, job = queued_badly(error)
    key.error, me = None, led()
    assert state.start_next(5, me) is job
    key.error = error
    state.fail(key, me, RAISED)
    me.latch.release()
    assert (me.tells, job.landing, seen(state)) == (job, RAISED, Seen(traffic={"k": Running(me, job)}))
    key.error, successor = None, led()
    assert state.decide(6, SIE, "k", "callback", successor) is successor
    assert seen(state) == Seen(traffic={"k": Running(successor)})


def test_only_the_oldest_is_told_that_it_could_not_be_started() -> None:
    """``end_oldest`` takes that one out of the queue, and tells it; where nothing waits it changes nothing."""
    first, second = left("a"), left("b")
    state = state_with(a=Queued(first), b=Queued(second))
    state.end_oldest(RAISED)
    assert seen(state) == Seen(traffic={"b": Queued(second)}, queue=[second], told=[(first, RAISED)])
    empty = state_with()
    empty.end_oldest(RAISED)
    assert seen(empty) == Seen()


def struck_everywhere(begin: Callable[[], Change]) -> Iterator[Change]:
    """Break a change off one place later each time, also where it goes on after what was raised."""
    strike(begin().make, 0)
    for at in count(1):
        change, striker, around = begin(), Striker(at), sys.gettrace()
        sys.settrace(striker.enter)
        try:
            change.make()
        except Struck:
            pass
        finally:
            sys.settrace(around)
        if striker.left > 0:
            assert at > 3
            return
        yield change


@pytest.mark.parametrize("begin", [failing, dropping, starting])
def test_a_change_that_goes_on_after_an_interrupt_forgets_nobody(begin: Callable[[], Change]) -> None:
    """Where an interrupt is passed over within a change, and wherever else one comes, each job is told once."""
    for change in struck_everywhere(begin):
        assert told_after(change) == (True, Seen(), Counter(change.jobs))


@pytest.mark.parametrize("forget", FORGETS)
def test_what_is_forgotten_is_told_wherever_it_is_queued(forget: str) -> None:
    """Every job that waits is told, those of one place after those of another, and in the order in which they came."""
    first, second, third, fourth = left(), left("b"), left(), left("d")
    state = state_with(k=Queued(first), b=Queued(second))
    beside = state_with(beside=state, k=Queued(third), d=Queued(fourth))
    FORGETS[forget](state)
    told, dropped = [first, second, third, fourth], Dropped(CLOSED if forget == "shut" else DELETED)
    if forget == "delete":
        told = [first, third]
        assert (seen(state).queue, seen(beside).queue) == ([second], [fourth])
    else:
        assert (seen(state).traffic, seen(beside).traffic) == ({}, {})
        assert (seen(state).queue, seen(beside).queue) == ([], [])
    assert seen(state).told == [(job, dropped) for job in told]


def test_delete_tells_the_job_of_an_abandoned_flight_at_once() -> None:
    """Nobody leads it, so nobody else would: it is dropped as one that waits for a worker."""
    flight, job = led(), left()
    state = state_with(k=Running(flight, job))
    flight.latch.release()
    state.delete("k")
    assert seen(state) == Seen(told=[(job, Dropped(DELETED))])


def test_who_expires_a_key_does_not_spare_it() -> None:
    """To end an answer is not to ask for it: the key is evicted as if it had not been touched."""
    state = state_with(replace(CONFIG, max_entries=2))
    for key in "ab":
        state.set(0, key, "v", None)
    state.expire(50, "a")
    state.set(50, "c", "v", None)
    assert list(state.entries.stored) == ["b", "c"]


@pytest.mark.parametrize("write", ["set", "expire", "delete"])
def test_a_closed_state_looks_up_no_key(write: str) -> None:
    """A write that comes after the end changes nothing, and asks nothing of its key, which may object."""
    key, state = Bad("k"), state_with()
    state.shut()
    key.error = LookupError("no hash")
    writes: dict[str, Callable[[], object]] = {
        "set": lambda: state.set(0, key, "v", None),
        "expire": lambda: state.expire(0, key),
        "delete": lambda: state.delete(key),
    }
    assert (writes[write](), seen(state)) == (None, Seen())


def test_the_other_places_stay_when_one_is_left() -> None:
    """However many there are, and in their order: a write reaches them as before."""
    state, flights = state_with(), [led(), led(), led()]
    first, second, third = (state_with(beside=state, k=Running(flight)) for flight in flights)
    second.leave("left")
    assert state.places == [state.loads, first.loads, third.loads]
    assert state.delete("k") == ([None, Running(flights[0]), Running(flights[2])], None)


def test_to_expire_a_remembered_failure_forgets_it() -> None:
    """There is no value to keep: the key is gone, and what was there is handed back."""
    state, failure = state_with(), NegativelyCached[str, str](Failure("down"), TTL)
    for key in ("k", "other"):
        state.entries.put(key, failure, 0)
    assert state.expire(50, "k") == ([None], failure)
    assert seen(state) == Seen({"other": failure})


def test_a_flight_that_is_not_needed_does_not_begin() -> None:
    """Where a call is given what stands, or joins, its flight is as new, and leaves nothing to clean up."""
    leader, joins, served = led(), led(), led()
    state = state_with()
    state.set(0, "k", "v", None)
    assert state.decide(5, SIE, "k", "callback", served) == given("v")
    assert state.decide(6, SIE, "other", "callback", leader) is leader
    assert state.decide(7, SIE, "other", "callback", joins) is leader
    assert [flight.began_at for flight in (served, leader, joins)] == [None, 6, None]
    assert [state.needs_cleanup(flight) for flight in (served, leader, joins)] == [False, True, False]


@pytest.mark.parametrize("begin", [taking_over, putting_out_of_the_way])
def test_a_flight_that_is_attached_is_cleaned_up_wherever_it_is_struck(begin: Callable[[], Change]) -> None:
    """From the moment at which a flight is attached its leader knows that there is something to put away."""
    for state, _, _, flight in struck_everywhere(begin):
        assert flight is not None
        found = state.loads.traffic.get("k")
        assert state.needs_cleanup(flight) or not (isinstance(found, Running) and found.flight is flight)


def test_a_load_that_is_not_needed_any_more_is_not_led() -> None:
    """``start`` says so, and tells who waits what stands by now."""
    job, me = left(), led()
    state = state_with(k=Queued(job))
    state.set(0, "k", "v", None)
    assert state.start(5, job, me) is False
    assert (me.began_at, me.carries) == (None, None)
    assert seen(state) == Seen({"k": entry("v")}, told=[(job, given("v"))])


def test_who_is_told_that_a_load_was_dropped_is_told_why() -> None:
    """The reasons, as they stand in the error and in the events."""
    assert [str(Dropped(why).err) for why in (CLOSED, INSIDE, DELETED, CROWDED)] == [
        "the background load was dropped: the cache was closed",
        "the background load was dropped: it was asked for inside a change of the cache",
        "the background load was dropped: its key was deleted",
        "the background load was dropped: the queue of background loads was full, and newer ones came",
    ]


def test_a_job_that_was_told_is_not_started() -> None:
    """What an interrupt left in the queue is taken out, and the next one is started."""
    told, waiting, me = left("told"), left("waiting"), led()
    state = state_with(told=Queued(told), waiting=Queued(waiting))
    told.landing = Dropped("crowded")
    assert state.start_next(5, me) is waiting
    assert list(state.loads.queue) == []
    assert state.loads.traffic == {"waiting": Running(me, waiting)}
