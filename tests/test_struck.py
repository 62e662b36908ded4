"""Changes that an interrupt breaks off at any place: whoever waits for a job is spoken for all the same."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from dis import get_instructions
from functools import cache, partial
from itertools import count
from types import CodeType, FrameType
from typing import Any, Final, NamedTuple, TypeVar

import pytest
from returns.result import Success

from lastcache._shell.inflight import CacheState
from lastcache.core.entries import Entries
from lastcache.core.loads import Loads
from lastcache.core.policy import Policy
from lastcache.core.traffic import Queued, Running
from lastcache.core.transitions import fresh
from tests.states import CONFIG, RAISED, SIE, SWR, TTL, Load, Seen, State, Work, entry, left, seen, state_with
from tests.test_walk import led
from tests.traffic_laws import Plane, Table, UnderWay, plane, work
from tests.traffic_laws import Work as Job

T = TypeVar("T")


class Struck(BaseException):
    """What a signal handler raises."""


class Name(str):
    """A key that is hashed and compared in Python, where a signal may come, too."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        return str.__hash__(self)


NAME: Final = Name("k")


class Change(NamedTuple):
    """A change, with the state before, and what is to be told or spoken for."""

    state: State
    make: Callable[[], object]
    jobs: list[Work]
    flight: Load | None = None


def landing() -> Change:
    flight, job = led(), left(NAME)
    state = state_with(k=Running(flight, job))
    return Change(state, lambda: state.land(0, NAME, flight, Success("v"), None), [job], flight)


def outrun_landing() -> Change:
    flight, job = led(), left(NAME)
    state = state_with()
    state.loads.kept[flight] = job
    return Change(state, lambda: state.land(0, NAME, flight, Success("v"), None), [job], flight)


def outrun_landing_beside() -> Change:
    flight, kept, job = led(), left(NAME), left(NAME)
    state = state_with(k=Running(led(), job))
    state.loads.kept[flight] = kept
    return Change(state, lambda: state.land(0, NAME, flight, Success("v"), None), [kept, job], flight)


def forgotten_landing() -> Change:
    flight, forgotten, job = led(), left(NAME), left(NAME)
    state = state_with(k=Running(led(), job))
    state.loads.forgotten[flight] = forgotten
    return Change(state, lambda: state.land(0, NAME, flight, Success("v"), None), [forgotten, job], flight)


def background_landing() -> Change:
    change = landing()
    assert change.flight is not None
    change.flight.carries = change.jobs[0]
    return change


def crashing() -> Change:
    flight, job = led(), left(NAME)
    state = state_with(k=Running(flight, job))
    return Change(state, lambda: state.crash(0, NAME, flight, RAISED), [job], flight)


def abandoning() -> Change:
    flight, job = led(), left(NAME)
    state = state_with(k=Running(flight, job))
    return Change(state, lambda: state.abandon(NAME, flight), [job], flight)


def abandoning_after_delete() -> Change:
    flight, forgotten = led(), left(NAME)
    state = state_with()
    state.loads.forgotten[flight] = forgotten
    return Change(state, lambda: state.abandon(NAME, flight), [forgotten], flight)


def abandoning_beside_the_queue() -> Change:
    flight, forgotten, job = led(), left(NAME), left(NAME)
    state = state_with(k=Queued(job))
    state.loads.forgotten[flight] = forgotten
    return Change(state, lambda: state.abandon(NAME, flight), [forgotten, job], flight)


def merging() -> Change:
    flight, kept, job = led(), left(NAME), left(NAME)
    state = state_with(k=Running(led(), job))
    state.loads.kept[flight] = kept
    return Change(state, lambda: state.abandon(NAME, flight), [kept, job], flight)


def merging_into_the_queue() -> Change:
    flight, kept, job = led(), left(NAME), left(NAME)
    state = state_with(k=Queued(job))
    state.loads.kept[flight] = kept
    return Change(state, lambda: state.abandon(NAME, flight), [kept, job], flight)


def queueing_again() -> Change:
    flight, kept = led(), left(NAME)
    state = state_with()
    state.loads.kept[flight] = kept
    return Change(state, lambda: state.abandon(NAME, flight), [kept], flight)


def riding_along() -> Change:
    flight, kept = led(), left(NAME)
    state = state_with(k=Running(led()))
    state.loads.kept[flight] = kept
    return Change(state, lambda: state.abandon(NAME, flight), [kept], flight)


def failing() -> Change:
    flight, job = led(), left(NAME)
    state = state_with(k=Running(flight, job))
    return Change(state, lambda: state.fail(NAME, flight, RAISED), [job], flight)


def setting() -> Change:
    flight, job = led(), left(NAME)
    state = state_with(k=Running(flight, job))
    return Change(state, lambda: state.set(0, NAME, "v", None), [job], flight)


def expiring() -> Change:
    flight, job = led(), left(NAME)
    state = state_with(k=Running(flight, job))
    state.entries.put("k", entry("old"), 0)
    return Change(state, lambda: state.expire(50, NAME), [job], flight)


def deleting() -> Change:
    job = left(NAME)
    state = state_with(k=Queued(job))
    return Change(state, lambda: state.delete(NAME), [job])


def clearing() -> Change:
    flight, riding, kept, job = led(), left("running"), left("kept"), left(NAME)
    state = state_with(k=Queued(job), running=Running(flight, riding))
    state.loads.kept[led()] = kept
    return Change(state, state.clear, [job, riding, kept])


def deleting_what_runs() -> Change:
    flight, job = led(), left(NAME)
    state = state_with(k=Running(flight, job))
    return Change(state, lambda: state.delete(NAME), [job], flight)


def deleting_what_was_outrun() -> Change:
    flight, kept, job = led(), left(NAME), left(NAME)
    state = state_with(k=Running(led(), job))
    state.loads.kept[flight] = kept
    return Change(state, lambda: state.delete(NAME), [kept, job], flight)


def leaving() -> Change:
    flight, riding, kept, forgotten, job = led(), left("running"), left("kept"), left("forgotten"), left(NAME)
    state = state_with(k=Queued(job), running=Running(flight, riding))
    state.loads.kept[led()], state.loads.forgotten[led()] = kept, forgotten
    return Change(state, lambda: state.leave("left"), [job, riding, kept, forgotten])


def dropping() -> Change:
    job = left(NAME)
    state = state_with(k=Queued(job))
    return Change(state, lambda: state.drop(job, "dropped"), [job])


def putting_out_of_the_way() -> Change:
    flight, job, me = led(), left(NAME), led()
    state = state_with(k=Running(flight, job))
    flight.latch.release()
    return Change(state, lambda: state.decide(0, SIE, NAME, "callback", me), [job], me)


def starting() -> Change:
    job, me = left(NAME), led()
    state = state_with(k=Queued(job))
    return Change(state, lambda: state.start_next(0, me), [job], me)


def passing_by() -> Change:
    job = left(NAME)
    state = state_with(k=Queued(job))
    state.set(0, NAME, "v", None)
    return Change(state, lambda: state.start_next(0, led()), [job])


def taking_over() -> Change:
    job, me = left(NAME), led()
    state = state_with(k=Queued(job))
    return Change(state, lambda: state.decide(0, SIE, NAME, "callback", me), [job], me)


def crowding() -> Change:
    job = left(Name("other"))
    state = state_with(replace(CONFIG, max_queued=1), other=Queued(job))
    state.set(0, NAME, "v", None)
    return Change(state, lambda: state.decide(2 * TTL, SWR, NAME, "callback", led()), [job])


CHANGES: Final = [
    landing,
    outrun_landing,
    outrun_landing_beside,
    forgotten_landing,
    background_landing,
    crashing,
    abandoning,
    abandoning_after_delete,
    abandoning_beside_the_queue,
    merging,
    merging_into_the_queue,
    queueing_again,
    riding_along,
    failing,
    setting,
    expiring,
    deleting,
    deleting_what_runs,
    deleting_what_was_outrun,
    clearing,
    leaving,
    dropping,
    putting_out_of_the_way,
    starting,
    passing_by,
    taking_over,
    crowding,
]
FILES: Final = {made.__code__.co_filename for made in (CacheState.land, Loads.land, Entries.put)}
NAMES: Final = {Name.__eq__.__code__, Name.__hash__.__code__}
LOOKS: Final = "CALL", "RESUME", "JUMP_BACKWARD"
"""The instructions after which CPython looks for signals begin with these."""


@cache
def instructions(code: CodeType) -> dict[int, str]:
    """Give the names of the instructions by their places."""
    return {instruction.offset: instruction.opname for instruction in get_instructions(code)}


class Striker:
    """Breaks a change off at the ``at``-th place where a signal may come.

    Signals come after each call, within a line, too; each line is taken for such a place besides.
    """

    def __init__(self, at: int) -> None:
        self.left = at
        self.before: dict[FrameType, str] = {}

    def enter(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Follow the frames of the files in question, by their instructions."""
        if frame.f_code.co_filename not in FILES and frame.f_code not in NAMES:
            return None
        frame.f_trace_opcodes = True
        return self.trace

    def trace(self, frame: FrameType, event: str, arg: Any) -> Any:
        """Count the places, and strike at the last."""
        if event == "line" or (event == "opcode" and self.before.get(frame, "").startswith(LOOKS)):
            self.left -= 1
            if self.left == 0:
                raise Struck
        if event == "opcode":
            self.before[frame] = instructions(frame.f_code)[frame.f_lasti]
        return self.trace


def strike(change: Callable[[], object], at: int) -> bool:
    """Break ``change`` off at the ``at``-th place where a signal may come; say whether it had that many."""
    around = sys.gettrace()
    sys.settrace(Striker(at).enter)
    try:
        change()
    except Struck:
        return True
    finally:
        sys.settrace(around)
    return False


def broken_off(begin: Callable[[], T], make: Callable[[T], object]) -> Iterator[T]:
    """Make a change of what ``begin`` gives again and again, broken off one place later each time, and give that."""
    # From 3.12 on a frame's instructions are told from the second time on.
    strike(partial(make, begin()), 0)
    for at in count(1):
        state = begin()
        if not strike(partial(make, state), at):
            assert at > 3
            return
        yield state


def test_a_strike_comes_at_every_place() -> None:
    """Places are within a line, too, here before and after a job is made, and after all is done."""

    def leave(made: tuple[Table, list[Job]]) -> None:
        loads, jobs = made

        def new() -> Job:
            jobs.append(work("struck", 0))
            return jobs[0]

        loads.leave(NAME, new)

    struck = [
        (len(jobs), len(loads.traffic), len(loads.queue))
        for loads, jobs in broken_off(lambda: (Table(), list[Job]()), leave)
    ]
    assert struck == sorted(struck)
    assert len(struck) > 15
    assert set(struck) == {(0, 0, 0), (1, 0, 0), (1, 1, 1)}


def is_view(state: State) -> bool:
    """Whether the jobs that wait for a worker are those that are queued; one that was told waits for nobody."""
    queued = [found.job for found in state.loads.traffic.values() if isinstance(found, Queued)]
    return {job for job in queued if not job.over} == {job for job in state.loads.queue if not job.over}


def play_out(state: State) -> list[Load]:
    """Let all end that is under way: every flight crashes, and so does what a worker finds in the queue; give them."""
    ended: list[Load] = []
    for key, found in state.loads.traffic.copy().items():
        if isinstance(found, Running):
            state.crash(0, key, found.flight, RAISED)
            ended.append(found.flight)
    for flight, job in (state.loads.kept | state.loads.forgotten).items():
        state.crash(0, job.key, flight, RAISED)
        ended.append(flight)
    while (started := state.start_next(0, me := led())) is not None:
        state.crash(0, started.key, me, RAISED)
        ended.append(me)
    for key in state.loads.traffic.copy():
        state.loads.find(key)
    return ended


def told_after(change: Change) -> tuple[bool, Seen, Counter[Work]]:
    """Put the flight away, let all end; give whether the queue was a view, what is left, and how often who was told."""
    state = change.state
    if change.flight is not None and change.flight.landing is None:
        state.abandon("k", change.flight)
    views = is_view(state)
    leaders = {*play_out(state), *([] if change.flight is None else [change.flight])}
    shown = seen(state)
    told = [job for job, _ in shown.told] + [
        job for leader in leaders if leader.tells for job in leader.tells.everyone()
    ]
    return views, replace(shown, stored={}, told=[]), Counter(job for job in told if job in change.jobs)


@pytest.mark.parametrize("begin", CHANGES)
def test_a_change_that_is_broken_off_forgets_nobody(begin: Callable[[], Change]) -> None:
    """Wherever a change is broken off, once its flight was put away each job is told once, and nothing is left."""
    for change in broken_off(begin, lambda change: change.make()):
        assert told_after(change) == (True, Seen(), Counter(change.jobs))


def test_a_job_is_not_left_to_one_that_was_told() -> None:
    """A job that an interrupt left in the queue, and that was told by now, tells nobody any more."""
    for dropped in broken_off(dropping, lambda change: change.make()):
        (job,), flight, kept = dropped.jobs, led(), left(NAME)
        dropped.state.loads.kept[flight] = kept
        if job.over:
            dropped.state.outbox.clear()
            job.release()
        change = dropped._replace(jobs=[kept], flight=flight)
        assert told_after(change) == (True, Seen(), Counter([kept]))


ACTS: Final[dict[str, Callable[[Table, Job, Plane], object]]] = {
    "wait": lambda loads, job, me: loads.wait(NAME, me),
    "start": lambda loads, job, me: loads.start(job, NAME, me),
    "withdraw": lambda loads, job, me: loads.withdraw(job, NAME),
    "forget": lambda loads, job, me: loads.forget(NAME),
    "outrun": lambda loads, job, me: loads.outrun(NAME),
    "leave": lambda loads, job, me: loads.leave(NAME, lambda: job),
    "refresh": lambda loads, job, me: loads.refresh(NAME, lambda: job),
    "abandon": lambda loads, job, me: loads.abandon(NAME, plane("struck", 1)),
    "abandon, outrun": lambda loads, job, me: loads.abandon(NAME, plane("struck", 2)),
    "abandon, forgotten": lambda loads, job, me: loads.abandon(NAME, plane("struck", 3)),
}


FOUND: Final[dict[str, Callable[[Job, Plane], UnderWay]]] = {
    "idle": lambda job, flight: None,
    "queued": lambda job, flight: Queued(job),
    "running": lambda job, flight: Running(flight),
    "both": lambda job, flight: Running(flight, job),
}


@pytest.mark.parametrize("found", FOUND)
@pytest.mark.parametrize("act", ACTS)
def test_traffic_and_queue_change_at_once(act: str, found: str) -> None:
    """A signal finds both changed or neither, also one that comes between two calls of one line."""
    job, me = work("struck", 0), plane("struck", 0)

    def begin() -> Table:
        loads, under_way = Table(), FOUND[found](job, plane("struck", 1))
        if under_way is not None:
            loads.traffic["k"] = under_way
        if isinstance(under_way, Queued):
            loads.queue[job] = None
        loads.kept[plane("struck", 2)] = work("struck", 1)
        loads.forgotten[plane("struck", 3)] = work("struck", 2)
        return loads

    for loads in broken_off(begin, lambda loads: ACTS[act](loads, job, me)):
        following = loads.traffic.get("k")
        assert list(loads.queue) == ([following.job] if isinstance(following, Queued) else [])


BOUND: Final = 3


def full() -> Entries[str, str, str]:
    """Give entries that are as many as there may be."""
    entries = Entries[str, str, str](Policy(TTL), BOUND)
    for number in range(BOUND):
        entries.put(Name(f"first {number}"), fresh(Policy(TTL), "v", 0), 0)
    return entries


def replace_one(entries: Entries[str, str, str]) -> object:
    return entries.put(Name("first 0"), fresh(Policy(TTL), "w", 0), 0)


def add_one(entries: Entries[str, str, str]) -> object:
    return entries.put(Name("struck"), fresh(Policy(TTL), "v", 0), 0)


def delete_one(entries: Entries[str, str, str]) -> object:
    return entries.drop(Name("first 0"))


def clear_all(entries: Entries[str, str, str]) -> object:
    return entries.clear()


@pytest.mark.parametrize("change", [add_one, replace_one, delete_one, clear_all])
@pytest.mark.parametrize("then", [delete_one, replace_one, add_one])
def test_a_bound_holds_after_a_strike(
    change: Callable[[Entries[str, str, str]], object], then: Callable[[Entries[str, str, str]], object]
) -> None:
    """Wherever a change of a bounded cache is broken off, whatever comes next, there are never more than the bound."""
    for entries in broken_off(full, change):
        then(entries)
        for number in range(3 * BOUND):
            entries.put(f"later {number}", fresh(Policy(TTL), "v", 0), 0)
            assert len(entries.stored) <= BOUND
        assert f"later {3 * BOUND - 1}" in entries.stored
