"""The table of ``core.traffic``, cell by cell, and its laws: over every short history, and long ones of many keys."""

from collections.abc import Callable
from typing import Final

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from lastcache.core.loads import Loads
from lastcache.core.traffic import (
    Queued,
    Running,
    Traffic,
    abandoned,
    is_attached,
    job_of,
    landed,
    leave,
    outrun,
    refresh,
    start,
    wait,
    withdraw,
)
from tests.strategies import examples
from tests.traffic_laws import (
    ON_LOADS,
    Event,
    Kept,
    Plane,
    Rules,
    Table,
    UnderWay,
    Work,
    World,
    events_of,
    mark_lost,
    plane,
    take,
    walk,
    work,
)

F, ME, OTHER = (plane("table", number) for number in range(3))
J, NEW, OLDER = (work("table", number) for number in range(3))
QUEUED: Final[Traffic[Work, Plane]] = Queued(J)
RUNNING: Final[Traffic[Work, Plane]] = Running(F)
BOTH: Final[Traffic[Work, Plane]] = Running(F, J)

HEAD: Final = (None, QUEUED, RUNNING, BOTH)
TABLE: Final[dict[str, tuple[Callable[[UnderWay], object], tuple[object, object, object, object]]]] = {
    "wait(me)": (lambda found: wait(found, ME), (Running(ME), Running(ME, J), RUNNING, BOTH)),
    "leave(new)": (lambda found: leave(found, NEW), (Queued(NEW), QUEUED, Running(F, NEW), BOTH)),
    "refresh(new)": (lambda found: refresh(found, NEW), (Queued(NEW), QUEUED, RUNNING, BOTH)),
    "start(j, me)": (lambda found: start(found, J, ME), (None, Running(ME, J), RUNNING, BOTH)),
    "start(other, me)": (lambda found: start(found, NEW, ME), HEAD),
    "withdraw(j)": (lambda found: withdraw(found, J), (None, None, RUNNING, BOTH)),
    "withdraw(other)": (lambda found: withdraw(found, NEW), HEAD),
    "landed(f)": (lambda found: landed(found, F), (None, QUEUED, None, None)),
    "landed(outrun)": (lambda found: landed(found, OTHER), HEAD),
    "abandoned(f)": (lambda found: abandoned(found, F, None), (None, QUEUED, None, QUEUED)),
    "abandoned(outrun)": (lambda found: abandoned(found, OTHER, None), HEAD),
    "abandoned(outrun, kept)": (
        lambda found: abandoned(found, OTHER, NEW),
        (Queued(NEW), QUEUED, Running(F, NEW), BOTH),
    ),
    "outrun": (outrun, (None, QUEUED, None, None)),
    "job_of": (job_of, (None, J, None, J)),
    "is_attached(f)": (lambda found: is_attached(found, F), (False, False, True, True)),
    "is_attached(other)": (lambda found: is_attached(found, OTHER), (False, False, False, False)),
}


@pytest.mark.parametrize(
    ("event", "found", "expected"),
    [
        pytest.param(event, found, expected, id=f"{name}, {column}")
        for name, (event, row) in TABLE.items()
        for column, found, expected in zip(("idle", "queued", "running", "both"), HEAD, row, strict=True)
    ],
)
def test_the_table(event: Callable[[UnderWay], object], found: UnderWay, expected: object) -> None:
    """Each event makes of what is under way what the table says."""
    assert expected == event(found)


def test_equal_is_not_the_same() -> None:
    """A flight or a job that is equal to another one is not taken for it."""
    one, twin, me = list[int](), list[int](), list[int]([1])
    queued, running = Queued(one), Running(one, one)
    assert (start(queued, twin, me), withdraw(queued, twin)) == (queued, queued)
    assert (is_attached(running, twin), landed(running, twin)) == (False, running)
    assert abandoned(running, twin, None) == running


@pytest.mark.parametrize(
    ("length", "histories"),
    [(5, 75_359), (7, 8_712_906), pytest.param(12, 2_045_610_450_156, marks=pytest.mark.slow)],
)
def test_every_short_history(length: int, histories: int) -> None:
    """No history of one key breaks a law, and ``Loads`` makes the same of each as the table."""
    assert walk(length, Rules()) == histories


def unwanted() -> Work:
    raise AssertionError("this job must not be made")


@pytest.mark.parametrize("found", [QUEUED, RUNNING, BOTH])
def test_a_job_is_made_only_where_it_is_wanted(found: Traffic[Work, Plane]) -> None:
    """``leave`` makes none where there is one, and ``refresh`` none where anything is under way."""
    loads = Loads[str, Plane, Work]()
    loads.traffic["k"] = found
    assert loads.refresh("k", unwanted) is None
    assert found.job is None or loads.leave("k", unwanted) is found.job
    assert loads.traffic == {"k": found}


def loads_with(found: Traffic[Work, Plane], *queue: Work, **kept: Work) -> Table:
    """Give loads with this under way for ``k``, and what outrun flights of these numbers kept."""
    loads = Table()
    loads.traffic["k"] = found
    loads.queue.update((job, None) for job in queue)
    loads.kept.update((plane("kept", int(number[1:])), job) for number, job in kept.items())
    return loads


def seen(loads: Table) -> tuple[dict[str, Traffic[Work, Plane]], list[Work], dict[Plane, Work], dict[Plane, Work]]:
    return loads.traffic, list(loads.queue), loads.kept, loads.forgotten


GONE, TOLD = Plane(0, over=True), Work("k", 0, over=True)
LEFT: Final[dict[str, tuple[Traffic[Work, Plane], list[Work], UnderWay, list[Work]]]] = {
    "a job that was told, in the queue": (Queued(TOLD), [TOLD, NEW], None, [NEW]),
    "a job that was told, out of the queue": (Queued(TOLD), [NEW], None, [NEW]),
    "a flight without its leader": (Running(GONE), [NEW], None, [NEW]),
    "a flight without its leader, whose job was told": (Running(GONE, TOLD), [NEW], None, [NEW]),
    "a flight without its leader, whose job waits": (Running(GONE, J), [NEW], QUEUED, [NEW, J]),
    "a job that waits": (QUEUED, [J, NEW], QUEUED, [J, NEW]),
    "a flight that is led": (BOTH, [NEW], BOTH, [NEW]),
}


@pytest.mark.parametrize(("found", "queue", "expected", "left"), LEFT.values(), ids=LEFT)
def test_what_an_interrupt_left_is_put_out_of_the_way(
    found: Traffic[Work, Plane], queue: list[Work], expected: UnderWay, left: list[Work]
) -> None:
    """Whoever comes finds what is under way, and no job that was told, nor a flight that nobody leads."""
    loads = loads_with(found, *queue)
    assert loads.find("k") == expected
    assert seen(loads) == ({} if expected is None else {"k": expected}, left, {}, {})
    loads = loads_with(found, *queue)
    assert loads.wait("k", ME) is (F if expected is BOTH else ME)
    led = BOTH if expected is BOTH else Running(ME, job_of(expected))
    assert seen(loads) == ({"k": led}, [job for job in left if job is NEW], {}, {})
    loads = loads_with(found, *queue)
    assert loads.leave("k", lambda: OLDER) is (job_of(expected) or OLDER)
    left = left if expected is not None else [*left, OLDER]
    assert seen(loads) == ({"k": expected or Queued(OLDER)}, left, {}, {})
    loads = loads_with(found, *queue)
    assert loads.refresh("k", lambda: OLDER) is (None if expected is not None else OLDER)
    assert seen(loads) == ({"k": expected or Queued(OLDER)}, left, {}, {})


def test_a_worker_leaves_a_job_whose_key_has_another() -> None:
    """What is in the queue without its key's traffic is taken out by who starts or withdraws it."""
    for found in (QUEUED, RUNNING, BOTH):
        loads = loads_with(found, NEW)
        assert not loads.start(NEW, "k", ME)
        assert seen(loads) == ({"k": found}, [], {}, {})
        loads = loads_with(found, NEW)
        loads.withdraw(NEW, "k")
        assert seen(loads) == ({"k": found}, [], {}, {})
    loads = Table()
    loads.queue[NEW] = None
    loads.withdraw(NEW, "k")
    assert seen(loads) == ({}, [], {}, {})


def test_who_is_told_how_a_flight_ends() -> None:
    """A flight carries the job that rides on it, or that it kept; its rival is another that its key has by now."""
    outrun, other = plane("kept", 0), plane("kept", 1)
    for found, job in ((QUEUED, J), (RUNNING, None), (BOTH, J)):
        loads = loads_with(found, _0=NEW)
        assert (loads.carried("k", outrun), loads.rival("k", outrun)) == (NEW, job)
        assert (loads.carried("k", other), loads.rival("k", other)) == (None, None)
        assert (loads.carried("k", F), loads.rival("k", F)) == (job_of(found) if found is not QUEUED else None, None)
        assert seen(loads) == ({"k": found}, [], {outrun: NEW}, {})
    loads = loads_with(BOTH, _0=J)
    assert loads.rival("k", outrun) is None


@pytest.mark.parametrize("found", [QUEUED, RUNNING, BOTH])
@pytest.mark.parametrize("end", [Table.land, Table.abandon])
def test_the_job_of_a_deleted_key_ends_with_its_flight(
    end: Callable[[Table, str, Plane], None], found: Traffic[Work, Plane]
) -> None:
    """A flight whose key was deleted carries its job, has no rival, and leaves nothing to the key's next load."""
    outrun = plane("kept", 0)
    queue = [J] if found is QUEUED else []
    loads = loads_with(found, *queue)
    loads.forgotten[outrun] = NEW
    assert (loads.carried("k", outrun), loads.rival("k", outrun)) == (NEW, None)
    assert NEW in loads.unfinished()
    end(loads, "k", outrun)
    assert seen(loads) == ({"k": found}, queue, {}, {})
    assert (loads.carried("k", outrun), NEW in loads.unfinished()) == (None, False)


@pytest.mark.parametrize("found", [QUEUED, RUNNING, BOTH])
def test_a_job_that_was_told_is_not_left_to_the_next_load(found: Traffic[Work, Plane]) -> None:
    """Whoever comes after an abandoned flight that was outrun is given no job that was told already."""
    queue = [J] if found is QUEUED else []
    loads = loads_with(found, *queue, _0=TOLD)
    loads.abandon("k", plane("kept", 0))
    assert seen(loads) == ({"k": found}, queue, {}, {})


def no_flight(found: UnderWay) -> UnderWay:
    return None if isinstance(found, Running) else found


def leave_anew(found: UnderWay, new: Work) -> Traffic[Work, Plane]:
    return Running(found.flight, new) if isinstance(found, Running) else Queued(new)


def leave_beside(found: UnderWay, new: Work) -> Traffic[Work, Plane]:
    return found if isinstance(found, Queued) else Queued(new)


def leave_unless_running(found: UnderWay, new: Work) -> Traffic[Work, Plane]:
    return Queued(new) if found is None else found


def start_unchecked(found: UnderWay, job: Work, me: Plane) -> UnderWay:
    return Running(me, job) if isinstance(found, Queued) else found


def start_twice(found: UnderWay, job: Work, me: Plane) -> UnderWay:
    return Running(me, job) if job_of(found) is job else found


def start_without_job(found: UnderWay, job: Work, me: Plane) -> UnderWay:
    return Running(me) if found == Queued(job) else found


def withdraw_unchecked(found: UnderWay, job: Work) -> UnderWay:
    return None if isinstance(found, Queued) else found


def withdraw_started(found: UnderWay, job: Work) -> UnderWay:
    return None if job_of(found) is job else found


def abandoned_outrun_forgotten(found: UnderWay, flight: Plane, kept: Work | None) -> UnderWay:
    return abandoned(found, flight, None)


def abandoned_forgets(found: UnderWay, flight: Plane, kept: Work | None) -> UnderWay:
    return abandoned(landed(found, flight), flight, kept)


def abandoned_unchecked(found: UnderWay, flight: Plane, kept: Work | None) -> UnderWay:
    return found if found is None or found.job is None else Queued(found.job)


def abandoned_queues_beside(found: UnderWay, flight: Plane, kept: Work | None) -> UnderWay:
    return Queued(kept) if kept is not None else abandoned(found, flight, None)


NOBODY: Final[Kept] = frozenset()
MISTAKES: Final = {
    "wait forgets the queued job": Rules(wait=lambda found, me: found if isinstance(found, Running) else Running(me)),
    "wait leads beside the flight": Rules(wait=lambda found, me: Running(me, job_of(found))),
    "leave replaces the job": Rules(leave=leave_anew),
    "leave detaches the flight": Rules(leave=leave_beside),
    "leave lets no job ride": Rules(leave=leave_unless_running),
    "refresh replaces the job": Rules(refresh=leave_anew),
    "refresh rides on a flight": Rules(refresh=leave),
    "start does not check the job": Rules(start=start_unchecked),
    "start starts a job again": Rules(start=start_twice),
    "start forgets the job": Rules(start=start_without_job),
    "start leads what is not there": Rules(start=lambda found, job, me: Running(me, job)),
    "start never starts": Rules(start=lambda found, job, me: found),
    "withdraw does not check the job": Rules(withdraw=withdraw_unchecked),
    "withdraw takes what has started": Rules(withdraw=withdraw_started),
    "withdraw leaves the job": Rules(withdraw=lambda found, job: found),
    "landed leaves the flight attached": Rules(landed=lambda found, flight: found),
    "landed detaches another flight": Rules(landed=lambda found, flight: no_flight(found)),
    "landed drops what is queued": Rules(landed=lambda found, flight: None),
    "abandoned forgets the job": Rules(abandoned=abandoned_forgets),
    "abandoned leaves the flight attached": Rules(abandoned=lambda found, flight, kept: found),
    "abandoned does not check the flight": Rules(abandoned=abandoned_unchecked),
    "abandoned forgets the job of an outrun flight": Rules(abandoned=abandoned_outrun_forgotten),
    "abandoned queues beside a load": Rules(abandoned=abandoned_queues_beside),
    "outrun drops what is queued": Rules(outrun=lambda found: None),
    "outrun leaves the flight attached": Rules(outrun=lambda found: found),
    "outrun queues the job again": Rules(
        outrun=lambda found: abandoned(found, found.flight, None) if isinstance(found, Running) else found
    ),
    "delete lets the job that it detaches be queued again": Rules(forgotten=lambda earlier, detached: earlier),
    "delete lets a job that was kept earlier be queued again": Rules(forgotten=lambda earlier, detached: detached),
    "delete lets every job be queued again": Rules(forgotten=lambda earlier, detached: NOBODY),
}


@pytest.mark.parametrize("rules", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_breaks_a_law(rules: Rules) -> None:
    """A history of seven events shows each mistake that the table could have, by the laws alone."""
    with pytest.raises(AssertionError):
        walk(7, rules, beside=False)


class ManyKeys(RuleBasedStateMachine):
    """``Loads`` of several keys, each of which goes as it would alone; the queue is in the order of leaving."""

    def __init__(self) -> None:
        super().__init__()
        self.loads = Loads[str, Plane, Work]()
        self.worlds = {key: World(key) for key in "abc"}
        self.queue: list[Work] = []

    @rule(key=st.sampled_from("abc"), choice=st.integers(0, 1000))
    def happen(self, key: str, choice: int) -> None:
        """Any event of one key that may happen next."""
        events = [event for event in events_of(self.worlds[key]) if event.name != "clear"]
        self.apply(key, events[choice % len(events)])

    @rule()
    def start_oldest(self) -> None:
        """A worker takes the oldest job."""
        job = self.loads.oldest()
        assert job is (self.queue[0] if self.queue else None)
        if job is not None:
            self.apply(job.key, next(e for e in events_of(self.worlds[job.key]) if (e.name, e.job) == ("start", job)))

    @rule()
    def clear(self) -> None:
        """All keys are forgotten at once."""
        for key, world in self.worlds.items():
            event = next(event for event in events_of(world) if event.name == "clear")
            self.worlds[key], _ = take(world, event, Rules())
        self.loads.clear()
        self.queue.clear()

    def apply(self, key: str, event: Event) -> None:
        world = self.worlds[key]
        mark_lost(world)
        event.flight.over = event.flight in world.lost
        self.worlds[key], result = take(world, event, Rules())
        assert ON_LOADS[event.name](self.loads, key, event) == result
        before, after = world.traffic, self.worlds[key].traffic
        if before != after:
            self.queue = [job for job in self.queue if job.key != key]
            self.queue += [after.job] if isinstance(after, Queued) else []

    @invariant()
    def each_key_goes_as_it_would_alone(self) -> None:
        """Traffic and what is kept are those of the keys, the queue is a view of them, and nobody is forgotten."""
        worlds = self.worlds.values()
        assert self.loads.traffic == {world.key: world.traffic for world in worlds if world.traffic is not None}
        assert self.loads.kept == {flight: job for world in worlds for flight, job in world.kept}
        assert self.loads.forgotten == {flight: job for world in worlds for flight, job in world.forgotten}
        assert list(self.loads.queue) == self.queue
        assert {found.job for found in self.loads.traffic.values() if isinstance(found, Queued)} == set(self.queue)
        owed = [job for world in worlds for job in world.owed - dict(world.merged).keys()]
        assert sorted(self.loads.unfinished(), key=id) == sorted(owed, key=id)


ManyKeys.TestCase.settings = settings(max_examples=examples(100), stateful_step_count=60, deadline=None)
TestManyKeys = ManyKeys.TestCase
