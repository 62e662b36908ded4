"""The state of one cache: what it attaches, outruns, queues, tells and hands back."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest
from returns.result import Failure, Success

from lastcache import CacheClosedError, failed
from lastcache._shell.flight import Dropped, Landing
from lastcache._shell.inflight import CLOSED, DELETED
from lastcache.core.states import Fresh
from lastcache.core.traffic import Queued, Running, Traffic
from tests.states import (
    CONFIG,
    FORGETS,
    RAISED,
    SIE,
    STORED,
    WRITES,
    Load,
    Seen,
    Signal,
    State,
    Work,
    entry,
    given,
    left,
    seen,
    state_with,
    writes,
)
from tests.test_walk import led


def test_a_crash_detaches_its_own_flight() -> None:
    """Only the very flight that is attached is detached, and its job is told; another changes nothing."""
    flight, other, job = led(), led(), left()
    state = state_with(k=Running(flight, job))
    state.crash(0, "k", other, RAISED)
    assert (seen(state), other.landing) == (Seen(traffic={"k": Running(flight, job)}), RAISED)
    state.crash(0, "k", flight, RAISED)
    assert (seen(state), flight.landing, flight.outcome) == (Seen(told=[(job, RAISED)]), RAISED, RAISED)
    state.crash(0, "k", flight, RAISED)
    assert seen(state) == Seen(told=[(job, RAISED)])


def test_landing_hands_back_what_it_replaced() -> None:
    """A landing answers, stores, tells its job, and keeps what was there before; the flight is gone, others stay."""
    flight, other, job = led(), led(), left()
    state = state_with(k=Running(flight, job), other=Running(other))
    old = entry("old")
    state.entries.put("k", old, 0)
    assert state.land(500, "k", flight, Success("new"), None) == given("new")
    expected = Seen({"k": entry("new", 500)}, {"other": Running(other)}, told=[(job, given("new"))])
    assert seen(state) == expected
    assert (flight.landing, flight.outcome, flight.landed_at) == (given("new"), Success("new"), 500)
    assert flight.replaced is old


def test_a_value_is_landed_and_set_with_its_own_ttl_and_draw() -> None:
    """What comes with a value reaches the rule: its TTL, and the draw by which jitter shortens it."""
    config = replace(CONFIG, jitter=0.5)
    state, flight = state_with(config, draw=1.0), led()
    assert state.decide(0, SIE, "landed", "callback", flight) is flight
    state.land(0, "landed", flight, Success("v"), 40)
    state.set(0, "set", "v", 80)
    assert seen(state) == Seen({"landed": Fresh(entry("v").answer, 20), "set": Fresh(entry("v").answer, 40)})


def test_a_failed_first_load_leaves_nothing() -> None:
    """A failure of a missing key stores nothing, and detaches its flight."""
    flight = led()
    state = state_with(k=Running(flight))
    assert state.land(0, "k", flight, failed("down", use_stale=True), None) == Failure("down")
    assert (seen(state), flight.landing, flight.replaced) == (Seen(), Failure("down"), None)


def test_an_outrun_landing_changes_nothing() -> None:
    """A flight that is not attached answers, tells the job that it kept, and leaves all else as it is."""
    late, successor, kept, job = led(), led(), left(), left()
    state = state_with(k=Running(successor, job))
    state.loads.kept[late] = kept
    assert state.land(0, "k", late, Success("older"), None) == given("older")
    assert seen(state) == Seen(traffic={"k": Running(successor, job)}, told=[(kept, given("older"))])
    assert (late.landing, late.replaced) == (given("older"), None)


@writes
def test_a_write_outruns_the_load_that_runs(write: str) -> None:
    """A write detaches the load of its key that has begun, which keeps its job, or forgets it; it hands back both."""
    flight, other, job = led(), led(), left()
    state = state_with(k=Running(flight, job), other=Running(other))
    state.entries.put("k", entry("old"), 0)
    assert WRITES[write](state) == ([Running(flight, job)], entry("old"))
    kept, forgotten = ({}, {flight: job}) if write == "delete" else ({flight: job}, {})
    assert seen(state) == Seen(STORED[write], {"other": Running(other)}, kept=kept, forgotten=forgotten)
    assert (state.loads.carried("k", flight), state.loads.unfinished()) == (job, [job])
    assert state.land(60, "k", flight, Success("late"), None) == given("late")
    assert seen(state) == Seen(STORED[write], {"other": Running(other)}, told=[(job, given("late"))])


@writes
def test_a_write_where_nothing_is_under_way(write: str) -> None:
    """A write of a key without a load leaves the loads of others, and hands back what was stored."""
    job = left("other")
    state = state_with(other=Queued(job))
    state.entries.put("k", entry("old"), 0)
    assert WRITES[write](state) == ([None], entry("old"))
    assert seen(state) == Seen(STORED[write], {"other": Queued(job)}, [job])


@pytest.mark.parametrize("write", ["set", "expire"])
def test_a_queued_job_stays_where_its_key_lives_on(write: str) -> None:
    """``set`` and ``expire`` leave a job that has not begun."""
    job = left()
    state = state_with(k=Queued(job))
    state.entries.put("k", entry("old"), 0)
    assert WRITES[write](state) == ([None], entry("old"))
    assert seen(state) == Seen(STORED[write], {"k": Queued(job)}, [job])


def test_delete_drops_what_is_queued() -> None:
    """``delete`` takes the job of its key out of the queue, and has it told; others stay."""
    job, other = left(), left("other")
    state = state_with(k=Queued(job), other=Queued(other))
    state.entries.put("k", entry("old"), 0)
    assert state.delete("k") == ([Queued(job)], entry("old"))
    assert seen(state) == Seen({}, {"other": Queued(other)}, [other], told=[(job, Dropped(DELETED))])


@pytest.mark.parametrize(("close", "why"), [(False, DELETED), (True, CLOSED)], ids=["clear", "shut"])
def test_clear_outruns_every_load_and_drops_every_job(*, close: bool, why: str) -> None:
    """``clear`` and ``shut`` forget entries and loads; a flight's job waits for its end, a queued one is told why."""
    flight, bare, job, queued = led(), led(), left("running"), left("queued")
    state = state_with(running=Running(flight, job), bare=Running(bare), queued=Queued(queued))
    state.entries.put("k", entry("old"), 0)
    stored, traffic = state.entries.stored, state.loads.traffic
    assert (state.shut() if close else state.clear()) == ({"k": entry("old")}, {}, {})
    assert (seen(state), state.closed) == (Seen(forgotten={flight: job}, told=[(queued, Dropped(why))]), close)
    assert (state.entries.stored is stored, state.loads.traffic is traffic) == (True, True)


def test_a_closed_state_refuses_calls_and_ignores_writes() -> None:
    """After ``shut`` a call raises, a write stores nothing, a landing answers, and an abandoned job is dropped."""
    flight, lost, job, left_behind = led(), led(), left(), left("lost")
    state = state_with(k=Running(flight, job), lost=Running(lost, left_behind))
    state.shut()
    with pytest.raises(CacheClosedError):
        state.decide(0, SIE, "k", "callback", led())
    with pytest.raises(CacheClosedError):
        state.without_load(0, SIE, "k", "callback")
    assert [write(state) for write in WRITES.values()] == [None] * len(WRITES)
    state.land(0, "k", flight, Success("late"), None)
    state.abandon("lost", lost)
    assert seen(state) == Seen(told=[(job, given("late")), (left_behind, Dropped(DELETED))])


def test_an_abandoned_load_is_queued_again() -> None:
    """The job of an abandoned flight goes to the end of the queue; without one nothing is left of it."""
    flight, bare, job, other = led(), led(), left(), left("other")
    state = state_with(k=Running(flight, job), bare=Running(bare), other=Queued(other))
    state.abandon("k", flight)
    state.abandon("bare", bare)
    expected = Seen(traffic={"k": Queued(job), "other": Queued(other)}, queue=[other, job])
    assert seen(state) == expected
    state.abandon("k", flight)
    assert seen(state) == expected


ENDS: Final[dict[str, tuple[Callable[[State, Load], object], Landing[str, str] | Dropped]]] = {
    "land": (lambda state, flight: state.land(60, "k", flight, Success("late"), None), given("late")),
    "crash": (lambda state, flight: state.crash(0, "k", flight, RAISED), RAISED),
    "fail": (lambda state, flight: state.fail("k", flight, Dropped("shot")), Dropped("shot")),
    "abandon": (lambda state, flight: state.abandon("k", flight), Dropped(DELETED)),
}
forgets = pytest.mark.parametrize("forget", FORGETS)


@forgets
@pytest.mark.parametrize("end", ENDS)
def test_the_job_of_a_deleted_key_ends_with_its_flight(forget: str, end: str) -> None:
    """It is told, with what it absorbed, how its flight ends, or is dropped where that is abandoned; once."""
    flight, job, absorbed = led(), left(), left()
    job.absorbed.append(absorbed)
    state = state_with(k=Running(flight, job))
    FORGETS[forget](state)
    assert seen(state) == Seen(forgotten={flight: job})
    act, landing = ENDS[end]
    act(state, flight)
    assert seen(state) == Seen(told=[(job, landing), (absorbed, landing)])
    state.abandon("k", flight)
    assert seen(state) == Seen(told=[(job, landing), (absorbed, landing)])


@pytest.mark.parametrize("forget", ["delete", "clear"])
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("found", ["queued", "running", "both"])
def test_a_forgotten_job_does_not_join_what_comes_after_the_delete(forget: str, end: str, found: str) -> None:
    """The loads of after stay as they are: nothing of before is queued, rides on them, or is told with them."""
    flight, job, new, successor = led(), left(), left(), led()
    state = state_with(k=Running(flight, job))
    FORGETS[forget](state)
    after: dict[str, Traffic[Work, Load]] = {
        "queued": Queued(new),
        "running": Running(successor),
        "both": Running(successor, new),
    }
    state.loads.traffic["k"] = after[found]
    queue = [new] if found == "queued" else []
    state.loads.queue.update((waits, None) for waits in queue)
    act, landing = ENDS[end]
    act(state, flight)
    assert seen(state) == Seen(traffic={"k": after[found]}, queue=queue, told=[(job, landing)])
    assert new.absorbed == []


@forgets
@pytest.mark.parametrize("write", ["set", "expire"])
def test_a_job_that_was_kept_before_a_delete_does_not_start_after_it(write: str, forget: str) -> None:
    """A flight that a write outran, and whose key is deleted then, leaves no job of before to the queue, either."""
    flight, other, job, others = led(), led(), left(), left("other")
    state = state_with(k=Running(flight, job))
    WRITES[write](state)
    state.loads.kept[other] = others
    FORGETS[forget](state)
    assert state.loads.carried("k", flight) is job
    assert set(state.loads.unfinished()) == {job, others}
    state.abandon("k", flight)
    assert (seen(state).traffic, seen(state).queue) == ({}, [])
    assert isinstance(job.landing, Dropped)
    assert seen(state).told == [(job, job.landing)]
    state.abandon("other", other)
    assert seen(state).traffic == ({"other": Queued(others)} if forget == "delete" else {})
    assert others.over == (forget != "delete")


@pytest.mark.parametrize("where", ["taken over", "kept", "forgotten"])
def test_a_job_that_was_taken_over_is_neither_ended_nor_started(where: str) -> None:
    """Once a job has left the queue, who comes late to end, drop or start it changes nothing; its flight tells it."""
    flight, me, job = led(), led(), left()
    state = state_with(k=Queued(job))
    assert state.decide(5, SIE, "k", "callback", flight) is flight
    if where != "taken over":
        WRITES["set" if where == "kept" else "delete"](state)
    before = replace(seen(state), traffic=state.loads.traffic.copy())
    assert (before.told, state.loads.carried("k", flight)) == ([], job)
    state.end(job, RAISED)
    state.drop(job, "too late")
    state.end_oldest(RAISED)
    state.strand("too late")
    assert (state.start(9, job, me), state.start_next(9, me), me.began_at) == (False, None, None)
    assert (seen(state), job.landing) == (before, None)
    state.land(60, "k", flight, Success("v"), None)
    assert seen(state).told == [(job, given("v"))]


def test_a_job_that_was_told_is_neither_ended_nor_started() -> None:
    """Nor does anything come of one that has ended, whatever its key has under way by then."""
    job, new, me = left(), left(), led()
    state = state_with(k=Queued(job))
    state.drop(job, "first")
    state.outbox.clear()
    state.loads.traffic["k"], state.loads.queue[new] = Queued(new), None
    state.end(job, RAISED)
    assert (state.start(9, job, me), me.began_at) == (False, None)
    assert (seen(state), job.landing) == (Seen(traffic={"k": Queued(new)}, queue=[new]), Dropped("first"))


def test_what_needs_cleanup() -> None:
    """A flight that was abandoned, that tasks wait for, or that left something to tell or to start; no other."""
    state, flight, unused = state_with(), led(), led()
    assert not state.needs_cleanup(unused)
    assert state.decide(0, SIE, "k", "callback", flight) is flight
    assert state.needs_cleanup(flight)
    state.land(0, "k", flight, Success("v"), None)
    assert not state.needs_cleanup(flight)
    flight.event = Signal()
    assert state.needs_cleanup(flight)
    job = left("other")
    queued = state_with(other=Queued(job))
    assert queued.needs_cleanup(unused)
    queued.drop(job, "dropped")
    assert queued.needs_cleanup(unused)
    queued.outbox.clear()
    assert not queued.needs_cleanup(unused)


def test_an_abandoned_flight_is_put_out_of_the_way() -> None:
    """Who finds a flight whose latch is free leads in its place, and takes its job over."""
    flight, job, me = led(), left(), led()
    state = state_with(k=Running(flight, job))
    flight.latch.release()
    assert state.decide(7, SIE, "k", "callback", me) is me
    assert (seen(state), me.began_at) == (Seen(traffic={"k": Running(me, job)}), 7)


def test_a_job_that_was_kept_joins_the_next_load() -> None:
    """A job of an abandoned flight that was outrun is queued again, or rides on the load that runs by then."""
    outrun, successor, kept = led(), led(), left()
    state = state_with()
    state.loads.kept[outrun] = kept
    state.abandon("k", outrun)
    assert seen(state) == Seen(traffic={"k": Queued(kept)}, queue=[kept])
    state = state_with(k=Running(successor))
    state.loads.kept[outrun] = kept
    state.abandon("k", outrun)
    assert seen(state) == Seen(traffic={"k": Running(successor, kept)})


@pytest.mark.parametrize("runs", [False, True])
def test_jobs_that_were_merged_are_told_together(*, runs: bool) -> None:
    """Where the key has another job by then, the first is told how the second ends, whether it runs or is dropped."""
    outrun, successor, kept, job, older = led(), led(), left(), left(), left()
    state = state_with(k=Running(successor, job) if runs else Queued(job))
    kept.absorbed.append(older)
    state.loads.kept[outrun] = kept
    state.abandon("k", outrun)
    before = Seen(traffic={"k": Running(successor, job)}) if runs else Seen(traffic={"k": Queued(job)}, queue=[job])
    assert seen(state) == before
    landing: Landing[str, str] | Dropped
    if runs:
        landing = state.land(0, "k", successor, Success("v"), None)
    else:
        state.delete("k")
        landing = Dropped(DELETED)
    assert seen(state).told == [(job, landing), (kept, landing), (older, landing)]


def test_a_load_in_the_background_that_was_interrupted() -> None:
    """``fail`` ends the flight, and tells who waits for it; no other load follows, and nothing is stored."""
    flight, outrun, job, kept = led(), led(), left(), left()
    state = state_with(k=Running(flight, job))
    state.loads.kept[outrun] = kept
    state.fail("k", outrun, Dropped("shot"))
    state.fail("k", flight, RAISED)
    state.fail("k", flight, RAISED)
    assert seen(state) == Seen(told=[(kept, Dropped("shot")), (job, RAISED)])


def test_a_job_ends_once() -> None:
    """What was told is not told again, whatever comes later."""
    job = left()
    state = state_with(k=Queued(job))
    state.drop(job, "first")
    state.drop(job, "second")
    state.finish(job, given("v"))
    assert seen(state) == Seen(told=[(job, Dropped("first"))])
