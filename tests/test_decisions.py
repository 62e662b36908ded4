"""What the state of one cache decides for those who ask, and which queued load a worker is given."""

from dataclasses import replace

import pytest
from returns.result import Failure

from lastcache import CachedValue
from lastcache._shell.flight import Dropped, Flight, Stale
from lastcache._shell.inflight import CROWDED, INSIDE, CacheState
from lastcache._shell.reentrancy import LoadNode
from lastcache.core.states import NegativelyCached, Strategy
from lastcache.core.traffic import Queued, Running
from tests.kit import ticks
from tests.states import (
    CONFIG,
    SIE,
    SLOW,
    TICK,
    TTL,
    Load,
    Seen,
    State,
    entry,
    expired_state,
    given,
    left,
    seen,
    stale,
    state_with,
)
from tests.test_walk import INTERRUPTIONS, STEPS, led, new_world, walk
from tests.test_walk import config as options


def test_strand_drops_everything_that_is_queued() -> None:
    """Where nobody is left to run what is queued it is dropped; what runs is left."""
    job, other, flight = left(), left("other"), led()
    state = state_with(k=Queued(job), other=Queued(other), running=Running(flight))
    state.strand("nobody")
    told = [(job, Dropped("nobody")), (other, Dropped("nobody"))]
    assert seen(state) == Seen(traffic={"running": Running(flight)}, told=told)


@pytest.mark.parametrize("bound", [None, 3, 2, 1])
def test_a_full_queue_drops_the_oldest(bound: int | None) -> None:
    """No more than ``max_queued`` jobs wait; the one that waited longest makes room, and is told."""
    state = expired_state(replace(CONFIG, max_queued=bound), "a", "b", "c")
    jobs = [stale(state, key) for key in "abc"]
    dropped = [] if bound is None else jobs[: 3 - bound]
    stay = jobs[len(dropped) :]
    assert seen(state).told == [(job, Dropped(CROWDED)) for job in dropped]
    assert (seen(state).queue, seen(state).traffic) == (stay, {job.key: Queued(job) for job in stay})
    assert [stale(state, job.key) for job in stay] == stay


def test_a_full_queue_makes_room_for_an_early_load() -> None:
    """Early loads count, too."""
    state = state_with(replace(CONFIG, refresh_after=ticks(1), max_queued=1))
    for key in "ab":
        state.set(0, key, key, None)
        assert state.decide(2 * TICK, SIE, key, "callback", led()) == given(key)
    first, second = seen(state).told[0][0], seen(state).queue[0]
    assert (first.key, second.key) == ("a", "b")
    assert seen(state).traffic == {"b": Queued(second)}
    assert seen(state).told == [(first, Dropped(CROWDED))]


def test_an_abandoned_job_makes_the_oldest_go() -> None:
    """A job that is queued again counts: there are never more than ``max_queued``."""
    state, me = expired_state(replace(CONFIG, max_queued=1), "a", "b"), led()
    first = stale(state, "a")
    assert state.start_next(2 * TTL, me) is first
    second = stale(state, "b")
    state.abandon("a", me)
    assert (seen(state).queue, seen(state).told) == ([first], [(second, Dropped(CROWDED))])


def test_a_worker_starts_the_oldest_that_is_needed() -> None:
    """What is fresh by now is told the answer that stands; the next is led, and leaves the queue."""
    state, me = expired_state(CONFIG, "a", "b", "c"), led()
    a, b, c = [stale(state, key) for key in "abc"]
    state.set(2 * TTL, "a", "new", None)
    assert state.start_next(2 * TTL, me) is b
    assert (seen(state).traffic, seen(state).queue) == ({"b": Running(me, b), "c": Queued(c)}, [c])
    assert (seen(state).told, me.began_at) == ([(a, given("new"))], 2 * TTL)
    assert (state.start_next(2 * TTL, led()), state.start_next(2 * TTL, led())) == (c, None)


def test_an_early_load_is_started_while_the_value_is_fresh() -> None:
    """A worker runs an early load that is still due, and passes by one whose key was written meanwhile."""
    state, me = state_with(replace(CONFIG, refresh_after=ticks(1))), led()
    for key in "ab":
        state.set(0, key, key, None)
        state.decide(2 * TICK, SIE, key, "callback", led())
    a, b = state.loads.queue
    state.set(2 * TICK, "a", "new", None)
    assert state.start_next(2 * TICK, me) is b
    assert (seen(state).told, seen(state).traffic) == ([(a, given("new"))], {"b": Running(me, b)})


def test_decide_asks_about_its_own_key() -> None:
    """A decision is made with the entry and the loads of the key that was asked for."""
    other, me = led(), led()
    state = state_with(other=Running(other))
    state.entries.put("k", entry("v"), 0)
    assert [state.decide(TTL, strategy, "k", "callback", led()) for strategy in Strategy] == [given("v")] * 3
    assert state.decide(0, SIE, "k2", "callback", me) is me
    assert [state.decide(0, strategy, "k2", "callback", led()) for strategy in Strategy] == [me] * 3
    assert seen(state).traffic == {"other": Running(other), "k2": Running(me)}


def test_a_stale_value_comes_with_the_job_of_its_reader() -> None:
    """The job behind a stale value has the reader's key, callback and time; the second reader gets the same."""
    state: State = CacheState(CONFIG, lambda: 7.5, enter=id)
    state.set(0, "k", "k", None)
    job = stale(state, "k")
    assert (job.key, job.callback, job.since, job.landing) == ("k", "callback", 7.5, None)
    step = state.decide(2 * TTL, SLOW, "k", "other", led())
    assert step == Stale(CachedValue("k", stale=True), job)


def test_what_may_neither_wait_nor_leave_a_load() -> None:
    """``without_load`` gives what stands, or what is stale with a job that will not run, and changes nothing."""
    state = state_with(replace(CONFIG, refresh_after=ticks(1)))
    state.set(0, "k", "v", None)
    before = state.entries.stored.copy()
    for strategy in Strategy:
        answers = [state.without_load(now, strategy, "k", "callback") for now in (0, 2 * TICK)]
        assert (answers, state.without_load(0, strategy, "none", "callback")) == ([given("v")] * 2, None)
        step = state.without_load(2 * TTL, strategy, "k", "callback")
        if strategy is SIE:
            assert step is None
        else:
            assert isinstance(step, Stale)
            assert step == Stale(CachedValue("v", stale=True), step.job)
            assert (step.job.key, step.job.callback, step.job.landing) == ("k", "callback", Dropped(INSIDE))
    assert (state.entries.stored, seen(state).traffic, seen(state).queue, seen(state).told) == (before, {}, [], [])


def test_a_remembered_failure_is_told_to_who_was_queued() -> None:
    """A job whose key has only a failure that stands is told so, and not run."""
    job = left()
    state = state_with(k=Queued(job))
    state.entries.put("k", NegativelyCached(Failure("down"), TTL), 0)
    assert state.start_next(0, led()) is None
    stored = {"k": NegativelyCached[str, str](Failure("down"), TTL)}
    assert seen(state) == Seen(stored, told=[(job, Failure("down"))])


@pytest.mark.parametrize("extension", [0, 3])
def test_every_very_short_history(extension: int) -> None:
    """No sequence of four operations differs from the model, with interrupts or without; longer ones are slow."""
    assert walk(new_world(options(2, extension)), 4) > 5_000
    assert walk(new_world(options(2, extension)), 4, STEPS + INTERRUPTIONS) > 5_000


def test_a_flight_is_over_while_nobody_leads_it() -> None:
    """A flight is led exactly while its latch is held."""
    flight: Load = Flight(LoadNode(None))
    before = flight.over
    with flight.latch:
        assert (before, flight.over) == (True, False)
    assert flight.over
