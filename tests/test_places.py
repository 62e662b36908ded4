"""Several places beside each other, of one cache's entries, and keys that object: neither spoils it for the others."""

from typing import Self

import pytest
from returns.result import Failure, Success

from lastcache import Config, failed
from lastcache._shell.flight import Dropped, Job, Raised, Stale
from lastcache._shell.inflight import DELETED
from lastcache.core.traffic import Queued, Running
from tests.states import (
    CONFIG,
    FORGETS,
    SIE,
    SWR,
    TTL,
    WRITES,
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
    writes,
)
from tests.test_walk import led


def two_places() -> tuple[State, State, Load, Load, Load]:
    """Give two states of the same entries, each with a flight of ``k``, and a flight of ``other`` in the first."""
    here, there, other = led(), led(), led()
    state = state_with(k=Running(here), other=Running(other))
    return state, state_with(beside=state, k=Running(there)), here, there, other


def test_places_share_entries_and_nothing_else() -> None:
    """What is stored, and what is to be told, is there for all; a caller joins and a worker starts its place's own."""
    state = expired_state(CONFIG, "k")
    beside = state_with(beside=state)
    here, there = stale(state, "k"), stale(beside, "k")
    assert here is not there
    assert (seen(state).traffic, seen(beside).traffic) == ({"k": Queued(here)}, {"k": Queued(there)})
    me, other = led(), led()
    assert (state.start_next(2 * TTL, me), beside.decide(2 * TTL, SIE, "k", "callback", other)) == (here, other)
    assert (seen(state).traffic, seen(beside).traffic) == ({"k": Running(me, here)}, {"k": Running(other, there)})
    assert (state.entries is beside.entries, state.outbox is beside.outbox) == (True, True)


@writes
def test_a_write_outruns_the_loads_of_every_place(write: str) -> None:
    """A write in one place detaches what has begun for its key in all of them, and hands it back."""
    state, beside, here, there, other = two_places()
    assert WRITES[write](beside) == ([Running(here), Running(there)], None)
    assert (seen(state).traffic, seen(beside).traffic) == ({"other": Running(other)}, {})


@writes
def test_what_is_queued_in_another_place(write: str) -> None:
    """A job is dropped by ``delete`` wherever it is queued; after ``set`` and ``expire`` it stays."""
    job = left()
    state = state_with(k=Queued(job))
    WRITES[write](state_with(beside=state))
    told = [(job, Dropped(DELETED))] if write == "delete" else []
    assert (seen(state).traffic, seen(state).told) == ({} if told else {"k": Queued(job)}, told)


def test_clear_reaches_every_place() -> None:
    """``clear`` detaches what runs in every place, whose job waits for its end, and drops what is queued there."""
    state, beside, _, _, _ = two_places()
    flight, job, queued = led(), left("running"), left("queued")
    beside.loads.traffic["running"] = Running(flight, job)
    beside.loads.traffic["queued"], beside.loads.queue[queued] = Queued(queued), None
    state.clear()
    told = [(queued, Dropped(DELETED))]
    assert (seen(state), seen(beside)) == (Seen(told=told), Seen(forgotten={flight: job}, told=told))


def test_delete_forgets_the_job_of_every_place() -> None:
    """The job of a flight of another place waits for its end, and is dropped there if that is abandoned."""
    state, beside, here, there, other = two_places()
    job = left()
    beside.loads.traffic["k"] = Running(there, job)
    assert state.delete("k") == ([Running(here), Running(there, job)], None)
    assert (seen(state), seen(beside)) == (Seen(traffic={"other": Running(other)}), Seen(forgotten={there: job}))
    beside.abandon("k", there)
    assert seen(beside) == Seen(told=[(job, Dropped(DELETED))])


@pytest.mark.parametrize("forget", ["delete", "clear"])
def test_what_was_kept_in_another_place_does_not_start_after_a_delete(forget: str) -> None:
    """A success of one place outruns the flight of another; once the key is deleted that one's job is not run again."""
    state, beside, here, there, _ = two_places()
    job = left()
    beside.loads.traffic["k"] = Running(there, job)
    state.land(0, "k", here, Success("first"), None)
    assert seen(beside).kept == {there: job}
    FORGETS[forget](state)
    beside.abandon("k", there)
    assert seen(beside) == Seen(told=[(job, Dropped(DELETED))])


def test_the_first_success_outruns_the_loads_of_other_places() -> None:
    """Who lands a success first is the one whom the others would have joined: they store nothing any more."""
    state, beside, here, there, other = two_places()
    job = left()
    state.loads.traffic["k"] = Running(here, job)
    assert beside.land(0, "k", there, Success("first"), None) == given("first")
    assert there.replaced == (None, [Running(here, job), None])
    assert seen(beside) == Seen({"k": entry("first")})
    assert state.land(50, "k", here, Success("late"), None) == given("late")
    expected = Seen({"k": entry("first")}, {"other": Running(other)}, told=[(job, given("late"))])
    assert seen(state) == expected


def test_a_failure_outruns_nothing() -> None:
    """A load that fails in one place leaves those of the others attached; the next success is stored."""
    state, beside, here, there, other = two_places()
    assert beside.land(0, "k", there, failed("down", use_stale=True), None) == Failure("down")
    assert seen(state) == Seen(traffic={"k": Running(here), "other": Running(other)})
    state.land(0, "k", here, Success("new"), None)
    assert seen(beside) == Seen({"k": entry("new")})


def test_an_outrun_success_outruns_nothing() -> None:
    """A load that was outrun leaves the newer loads of its key attached, in every place."""
    state, beside, here, there, other = two_places()
    late = led()
    assert state.land(0, "k", late, Success("older"), None) == given("older")
    assert seen(state) == Seen(traffic={"k": Running(here), "other": Running(other)})
    assert seen(beside) == Seen(traffic={"k": Running(there)})


def test_a_place_that_is_left() -> None:
    """The loads of a place that is left are forgotten and told, and no write looks there any more."""
    state, beside, here, _, other = two_places()
    running, queued, kept, forgotten = left("running"), left("queued"), left("kept"), left("forgotten")
    beside.loads.traffic |= {"running": Running(led(), running), "queued": Queued(queued)}
    beside.loads.queue[queued] = None
    beside.loads.kept[led()], beside.loads.forgotten[led()] = kept, forgotten
    state.entries.put("k", entry("v"), 0)
    beside.leave("left")
    told = [(job, Dropped("left")) for job in (running, queued, kept, forgotten)]
    assert seen(beside) == Seen({"k": entry("v")}, told=told)
    assert (state.delete("k"), state.places) == (([Running(here)], entry("v")), [state.loads])
    assert seen(state) == Seen(traffic={"other": Running(other)}, told=told)


def test_a_place_that_begins_anew_after_a_fork() -> None:
    """The loads of before are told and forgotten; the place is there again, and writes look there."""
    state, beside, _, there, _ = two_places()
    job = left()
    beside.loads.traffic["k"] = Running(there, job)
    beside.reset_after_fork("forked")
    assert (seen(beside), state.places) == (Seen(told=[(job, Dropped("forked"))]), [state.loads, beside.loads])
    assert beside.decide(0, SIE, "k", "callback", there) is there
    state.delete("k")
    assert seen(beside).traffic == {}


class Hostile(str):
    """A key whose hash raises while it is ``lost``."""

    __slots__ = ("lost",)

    lost: bool

    def __new__(cls, text: str) -> Self:
        key = super().__new__(cls, text)
        key.lost = False
        return key

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        if self.lost:
            raise LookupError("no hash")
        return str.__hash__(self)


def hostile_state(config: Config = CONFIG) -> tuple[State, Hostile, Job[str, str, str, str]]:
    """Give a state with two stale keys, a job for each, and the first that objects."""
    state, key = expired_state(config), Hostile("a")
    for each in (key, "b"):
        state.set(0, each, each, None)
    job = stale(state, key)
    stale(state, "b")
    key.lost = True
    return state, key, job


def test_a_key_that_objects_does_not_keep_the_others_waiting() -> None:
    """A worker tells the error of a key that cannot be looked up to who waits for it, and goes on with the next."""
    state, key, job = hostile_state()
    me = led()
    started = state.start_next(2 * TTL, me)
    assert started is not None
    assert (started.key, list(state.loads.queue), list(state.outbox)) == ("b", [], [job])
    assert isinstance(job.landing, Raised)
    assert (type(job.landing.err), job.landing.err.args) == (LookupError, ("no hash",))
    key.lost = False
    assert state.loads.traffic["b"] == Running(me, started)


def test_the_job_of_a_key_that_objects_is_dropped_all_the_same() -> None:
    """``drop`` and ``clear`` look nothing up that could object."""
    state, _, job = hostile_state()
    state.drop(job, "dropped")
    assert (job.landing, [other.key for other in state.loads.queue]) == (Dropped("dropped"), ["b"])
    state, _, job = hostile_state()
    state.clear()
    assert (job.landing, list(state.loads.queue), state.loads.traffic) == (Dropped(DELETED), [], {})


@pytest.mark.parametrize("started", [True, False])
def test_a_key_that_objected_once_is_loaded_again(*, started: bool) -> None:
    """Once the key can be looked up again its next stale reader leaves a new job, which waits for a worker."""
    state, key, job = hostile_state()
    if started:
        state.start_next(2 * TTL, led())
    else:
        state.drop(job, "dropped")
    key.lost = False
    again = state.decide(2 * TTL, SWR, key, "callback", led())
    assert isinstance(again, Stale)
    assert again.job is not job
    assert (again.job.landing, again.job in state.loads.queue) == (None, True)


class Picky(str):
    """A key that cannot be compared with others than its like."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Picky):
            raise TypeError("not alike")
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


def test_a_key_that_cannot_be_compared_keeps_no_other_from_being_deleted() -> None:
    """``delete`` asks no key that an outrun load kept its job for whether it equals one of another hash."""
    state, flight, job = state_with(), led(), left(Picky("picky"))
    state.loads.kept[flight] = job
    state.entries.put("k", entry("old"), 0)
    assert state.delete("k") == ([None], entry("old"))
    assert seen(state) == Seen(kept={flight: job})


class Alike(str):
    """A key that has the hash of ``k``, whatever its text is."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return hash("k")


class Equal(str):
    """A key that equals every other, but has a hash of its own."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("k") + 1


@pytest.mark.parametrize("key", [Alike("other"), Equal("k"), Picky("k")], ids=["alike", "equal", "picky"])
def test_delete_forgets_no_job_of_a_key_that_a_dict_holds_to_be_another(key: str) -> None:
    """Keys are the same where hash and comparison say so; one that raises when it is compared is another."""
    state, flight, kept = state_with(), led(), left(key)
    state.loads.kept[flight] = kept
    assert state.delete("k") == ([None], None)
    assert seen(state) == Seen(kept={flight: kept})


class Struck(str):
    """A key in whose comparison a signal comes."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise KeyboardInterrupt

    def __hash__(self) -> int:
        return str.__hash__(self)


def test_an_interrupt_in_a_comparison_reaches_who_deletes() -> None:
    """Only errors of a key are passed over: ``delete`` raises what a signal handler raised, and nothing changes."""
    state, flight, kept = state_with(), led(), left(Struck("k"))
    state.loads.kept[flight] = kept
    state.entries.put("k", entry("old"), 0)
    with pytest.raises(KeyboardInterrupt):
        state.delete("k")
    assert seen(state) == Seen({"k": entry("old")}, kept={flight: kept})
