"""Every sequence of operations on one key, up to a length, with all invariants checked after each step.

The state of a cache is plain data, so concurrency needs no threads here: a flight begins in one step and lands in a
later one, and whatever fits comes between. A history is replayed on the state and on the model of ``tests.model``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final, NamedTuple, TypeAlias

import pytest
from returns.result import Success

from lastcache import Config, failed
from lastcache._shell.flight import Dropped, Flight, Job, Landing, Raised, Stale, Unchecked
from lastcache._shell.inflight import DELETED, CacheState
from lastcache._shell.reentrancy import LoadNode
from lastcache.core.entries import entry_of
from lastcache.core.policy import FOREVER, policy_of
from lastcache.core.states import Answer, NegativelyCached, Outcome, Strategy
from lastcache.core.traffic import Queued, Running, Traffic
from lastcache.core.transitions import deadline, fresh_until, view
from tests.kit import ticks
from tests.model import Model

KEY: Final = "key"
TTL: Final = 2
TICK: Final = 1000
SIE, SWR = Strategy.STALE_IF_ERROR, Strategy.STALE_WHILE_REVALIDATE

Load: TypeAlias = Flight[str, str]
Work: TypeAlias = Job[str, str, str, str]
State: TypeAlias = CacheState[str, str, str, str]
UnderWay: TypeAlias = Traffic[Work, Load] | None


@dataclass
class World:
    """The state beside the model, with the flights that are in the air, and those whose leader was interrupted.

    ``owed`` are the jobs that were left, and have not been told yet; ``before`` are those that were when the key was
    deleted.
    """

    config: Config
    state: State
    model: Model
    now: int = 0
    loads: int = 0
    airborne: list[Load] = field(default_factory=list[Load])
    lost: list[Load] = field(default_factory=list[Load])
    owed: list[Work] = field(default_factory=list[Work])
    before: list[Work] = field(default_factory=list[Work])

    def under_way(self) -> UnderWay:
        """What the key has under way, once a flight without its leader is out of the way."""
        found = self.state.loads.traffic.get(KEY)
        if isinstance(found, Running) and found.flight.over:
            return None if found.job is None else Queued(found.job)
        return found

    def fork(self) -> "World":
        """A world with the same past."""
        flights = {flight: twin_of(flight) for flight in (*self.airborne, *self.lost)}
        jobs: dict[Work, Work] = {job: Job(job.key, job.callback, job.since) for job in self.owed}
        for job, twin in jobs.items():
            twin.absorbed = [jobs[absorbed] for absorbed in job.absorbed]
        for flight, twin_flight in flights.items():
            twin_flight.carries = None if flight.carries is None else jobs.get(flight.carries)
        state: State = CacheState(self.config, clockless, enter=id)
        for key, stored in self.state.entries.stored.items():
            state.entries.put(key, entry_of(stored), -1000 * TICK)
        loads = self.state.loads
        for key, found in loads.traffic.items():
            state.loads.traffic[key] = (
                Queued(jobs[found.job])
                if isinstance(found, Queued)
                else Running(flights[found.flight], None if found.job is None else jobs[found.job])
            )
        state.loads.queue.update((jobs[job], None) for job in loads.queue)
        state.loads.kept.update((flights[flight], jobs[job]) for flight, job in loads.kept.items())
        state.loads.forgotten.update((flights[flight], jobs[job]) for flight, job in loads.forgotten.items())
        airborne, lost = [flights[flight] for flight in self.airborne], [flights[flight] for flight in self.lost]
        owed, before = list(jobs.values()), [jobs[job] for job in self.before]
        return World(self.config, state, replace(self.model), self.now, self.loads, airborne, lost, owed, before)


def clockless() -> float:
    """Give no time: nothing here waits softly."""
    return 0.0


def led() -> Load:
    """Give a flight as its leader holds it."""
    flight: Load = Flight(LoadNode(None))
    flight.latch.acquire()
    return flight


def twin_of(flight: Load) -> Load:
    twin = led()
    twin.began_at = flight.began_at
    if flight.over:
        twin.latch.release()
    return twin


def new_world(config: Config) -> World:
    policy = policy_of(config)

    def bound(duration: int) -> float:
        return inf if duration == FOREVER else duration

    model = Model(
        ttl=policy.global_ttl,
        extension=policy.extend_ttl,
        cover_for=bound(policy.stale_if_error),
        give_for=bound(policy.stale_while_revalidate),
        remember_for=policy.negative_ttl,
        early_after=bound(policy.refresh_after) if policy.refresh_after < policy.global_ttl else inf,
        growth=int(policy.backoff),
    )
    return World(config, CacheState(config, clockless, enter=id), model)


def advance(world: World) -> None:
    world.now += TICK


def leap(world: World) -> None:
    """Go just past every deadline."""
    world.now += (TTL + 2) * TICK


def ask_sie(world: World) -> None:
    ask(world, SIE)


def ask_swr(world: World) -> None:
    ask(world, SWR)


def ask(world: World, strategy: Strategy) -> None:
    """Ask; what the call is given to do must be what the model's history allows."""
    before, me = world.under_way(), led()
    step = world.state.decide(world.now, strategy, KEY, "callback", me)
    if isinstance(step, Stale):
        check_stale(world, strategy, before, step)
    elif isinstance(step, Flight):
        check_waiting(world, strategy, before, me, step)
    else:
        assert not isinstance(step, Unchecked)
        check_given(world, before, step)


def check_given(world: World, before: UnderWay, answer: Answer[str, str]) -> None:
    """An answer is given where one stands; a load is left behind it where that is due early and none is under way."""
    assert world.model.current(world.now)
    assert answer == world.model.standing(world.now)
    if before is None and world.model.due_early(world.now):
        world.owed.append(queued_job(world))
    else:
        assert world.under_way() == before


def check_stale(world: World, strategy: Strategy, before: UnderWay, step: Stale[str, str, str, str]) -> None:
    """A stale value is given where it may be; the job that was there is behind it, or a new one."""
    assert strategy is SWR
    assert world.model.gives_stale(world.now)
    assert step.cached == world.model.seen(world.now)
    if before is None or before.job is None:
        world.owed.append(step.job)
    else:
        assert step.job is before.job
    expected = Running(before.flight, step.job) if isinstance(before, Running) else Queued(step.job)
    assert world.state.loads.traffic == {KEY: expected}


def check_waiting(world: World, strategy: Strategy, before: UnderWay, me: Load, step: Load) -> None:
    """Who waits finds no answer; it joins what runs, or leads its own flight, and takes a queued job over."""
    assert not world.model.current(world.now)
    assert strategy is SIE or not world.model.gives_stale(world.now)
    if isinstance(before, Running):
        assert (step, me.began_at) == (before.flight, None)
        assert world.state.loads.traffic == {KEY: before}
    else:
        assert (step, me.began_at) == (me, world.now)
        assert world.state.loads.traffic == {KEY: Running(me, None if before is None else before.job)}
        world.airborne.append(me)


def queued_job(world: World) -> Work:
    found = world.state.loads.traffic[KEY]
    assert isinstance(found, Queued)
    return found.job


def start_queued(world: World) -> None:
    """A worker takes the queued load; it runs only if no answer stands by then, or an early load is due."""
    job, me = queued_job(world), led()
    started = world.state.start_next(world.now, me)
    if world.model.current(world.now) and not world.model.due_early(world.now):
        assert (started, world.state.loads.traffic) == (None, {})
        check_told(world, [job], world.model.standing(world.now))
    else:
        assert (started, me.began_at) == (job, world.now)
        assert world.state.loads.traffic == {KEY: Running(me, job)}
        world.airborne.append(me)


def check_told(
    world: World, jobs: list[Work], landing: Landing[str, str] | Dropped, leader: Load | None = None
) -> None:
    """These jobs, and those that they absorbed, are told so, once; nobody else is told anything.

    A job that its leader started in the background is left to that one to be told.
    """
    by_leader = [] if leader is None or leader.tells is None else [leader.tells]
    assert by_leader == ([] if leader is None else [job for job in jobs if job is leader.carries])
    ended = [*world.state.outbox, *by_leader]
    assert [(job, job.landing) for job in ended] == [(job, landing) for job in jobs]
    told = [job for outer in jobs for job in outer.everyone()]
    world.state.outbox.clear()
    world.owed, world.before = ([job for job in jobs if job not in told] for jobs in (world.owed, world.before))


def land_success(world: World) -> None:
    world.loads += 1
    land(world, Success(f"loaded {world.loads}"))


def land_covered(world: World) -> None:
    land(world, failed("down", use_stale=True))


def land_refused(world: World) -> None:
    land(world, failed("gone", use_stale=False))


def land(world: World, outcome: Outcome[str, str]) -> None:
    """The oldest flight comes back; the state's answer must be the model's, and its job is told so."""
    flight = world.airborne.pop(0)
    jobs, others, attached = carried_by(world, flight), others_than(world, flight), is_attached(world, flight)
    answer = world.state.land(world.now, KEY, flight, outcome, None)
    model = world.model
    expected = model.land(outcome, world.now) if attached else model.land_outrun(outcome, world.now)
    assert (answer, flight.landing) == (expected, expected)
    assert world.state.loads.traffic == (others)
    check_told(world, jobs, answer, flight)


def crash(world: World) -> None:
    """The oldest flight's callback raises: nothing changes but that the flight is gone, and its job is told."""
    flight, raised = world.airborne.pop(0), Raised(OSError("raised"), None)
    jobs, others = carried_by(world, flight), others_than(world, flight)
    world.state.crash(0, KEY, flight, raised)
    assert (flight.landing, world.state.loads.traffic) == (raised, others)
    check_told(world, jobs, raised, flight)


def is_attached(world: World, flight: Load) -> bool:
    found = world.state.loads.traffic.get(KEY)
    return isinstance(found, Running) and found.flight is flight


def carried_by(world: World, flight: Load) -> list[Work]:
    """The job that is to be told how ``flight`` ends, if there is one."""
    loads = world.state.loads
    job = loads.traffic[KEY].job if is_attached(world, flight) else (loads.kept | loads.forgotten).get(flight)
    return [] if job is None else [job]


def others_than(world: World, flight: Load) -> dict[str, Traffic[Work, Load]]:
    """What is under way beside ``flight``."""
    return {} if is_attached(world, flight) else world.state.loads.traffic.copy()


def interrupt(world: World) -> None:
    """The leader of the oldest flight is interrupted, and leaves the latch."""
    flight = world.airborne.pop(0)
    flight.latch.release()
    world.lost.append(flight)


def abandon(world: World) -> None:
    """An interrupted leader puts its flight out of the way; a job that it kept is queued, or left to the next load.

    Where the key was deleted meanwhile it is dropped.
    """
    flight, before = world.lost.pop(0), world.under_way()
    kept, forgotten = world.state.loads.kept.get(flight), world.state.loads.forgotten.get(flight)
    world.state.abandon(KEY, flight)
    if forgotten is not None:
        check_told(world, [forgotten], Dropped(DELETED))
        assert (kept, world.under_way()) == (None, before)
    elif kept is None:
        assert world.under_way() == before
    elif before is None:
        assert world.under_way() == Queued(kept)
    elif before.job is None:
        assert before == Running(before.flight)
        assert world.under_way() == Running(before.flight, kept)
    else:
        assert (world.under_way(), before.job.absorbed[-1]) == (before, kept)


def put(world: World) -> None:
    world.state.set(world.now, KEY, "put", None)
    world.model.put("put", world.now)


def expire(world: World) -> None:
    world.state.expire(world.now, KEY)
    world.model.expire(world.now)


def delete(world: World) -> None:
    """A job of a flight that nobody leads counts as queued: what was abandoned is put out of the way first."""
    found = world.under_way()
    forget(world, lambda: world.state.delete(KEY), [found.job] if isinstance(found, Queued) else [])


def clear(world: World) -> None:
    forget(world, world.state.clear, list(world.state.loads.queue))


def forget(world: World, write: Callable[[], object], queued: list[Work]) -> None:
    """A queued job is dropped; one that a flight carries is left to it, and to no load that follows."""
    write()
    world.before = world.owed
    world.model.forget()
    check_told(world, queued, Dropped(DELETED))


class Step(NamedTuple):
    """An operation, and whether there is anything for it to do."""

    take: Callable[[World], None]
    is_possible: Callable[[World], object]


def always(world: World) -> bool:
    return True


def is_airborne(world: World) -> object:
    return world.airborne


def is_queued(world: World) -> object:
    return world.state.loads.queue


def is_lost(world: World) -> object:
    return world.lost


STEPS: Final = (
    *(Step(take, always) for take in (advance, leap, ask_sie, ask_swr)),
    Step(start_queued, is_queued),
    *(Step(take, is_airborne) for take in (land_success, land_covered, land_refused, crash)),
    *(Step(take, always) for take in (put, delete, clear, expire)),
)
INTERRUPTIONS: Final = Step(interrupt, is_airborne), Step(abandon, is_lost)


def check(world: World) -> None:
    """What holds after every step."""
    check_loads(world)
    entry = world.state.entries.get(KEY)
    assert len(world.state.entries.stored) <= 1
    assert len(world.state.entries) == (entry is not None and not isinstance(entry, NegativelyCached))
    if entry is None:
        assert world.model.dead(world.now)
        world.model.forget()
        return
    if isinstance(entry, NegativelyCached):
        assert not world.model.stored
        return
    shown = view(entry, world.now)
    assert shown == world.model.seen(world.now)
    assert shown.stale or shown.err is None
    assert shown.stale == (world.now > fresh_until(entry))
    assert (deadline(entry), fresh_until(entry)) == (world.model.stands_until, world.model.fresh_until)


def check_loads(world: World) -> None:
    """Whoever waits for a job is spoken for, once; the queue is a view; nothing flies that nobody leads.

    No job that was left before a delete waits or runs after it.
    """
    loads = world.state.loads
    found = loads.traffic.get(KEY)
    assert list(world.state.outbox) == []
    assert list(loads.queue) == ([found.job] if isinstance(found, Queued) else [])
    assert not isinstance(found, Running) or found.flight in world.airborne or found.flight in world.lost
    assert loads.kept.keys().isdisjoint(loads.forgotten)
    assert all(flight in world.airborne or flight in world.lost for flight in loads.kept | loads.forgotten)
    assert found is None or found.job not in world.before
    spoken_for = [told for job in loads.unfinished() for told in job.everyone()]
    assert len(spoken_for) == len(world.owed)
    assert set(spoken_for) == set(world.owed)


WRITES: Final = put, delete, clear, expire


def walk(world: World, depth: int, steps: tuple[Step, ...] = STEPS) -> int:
    """Take every step that can be taken, to ``depth``; count the sequences."""
    taken = 1
    for step in steps if depth else ():
        if step.is_possible(world):
            branch = world.fork()
            step.take(branch)
            if step.take in WRITES:
                assert not isinstance(branch.state.loads.traffic.get(KEY), Running)
            check(branch)
            taken += walk(branch, depth - 1, steps)
    return taken


def after(config: Config, *past: Callable[[World], None]) -> World:
    """A world with what can be taken of this past, which is checked, too."""
    world, steps = new_world(config), {step.take: step for step in STEPS + INTERRUPTIONS}
    for take in past:
        if steps[take].is_possible(world):
            take(world)
            check(world)
    return world


def config(ttl: int, extend: int) -> Config:
    return Config(global_ttl=ticks(ttl), extend_ttl=ticks(extend))


OPTIONS: Final = {
    "no extension": config(TTL, 0),
    "short extension": config(TTL, 1),
    "long extension": config(TTL, 3),
    "covers for a while": replace(config(TTL, 3), stale_if_error=ticks(2)),
    "never covers": replace(config(TTL, 1), stale_if_error=ticks(0)),
    "gives for a while": replace(config(TTL, 1), stale_while_revalidate=ticks(1)),
    "both windows": replace(config(TTL, 1), stale_if_error=ticks(1), stale_while_revalidate=ticks(2)),
    "no staleness": replace(config(TTL, 0), stale_if_error=ticks(0), stale_while_revalidate=ticks(0)),
    "remembers": replace(config(TTL, 1), negative_ttl=ticks(1)),
    "remembers within windows": replace(
        config(TTL, 2), stale_if_error=ticks(2), stale_while_revalidate=ticks(1), negative_ttl=ticks(2)
    ),
    "early": replace(config(TTL, 1), refresh_after=ticks(1)),
    "early, once": replace(config(TTL, 0), refresh_after=ticks(1)),
    "growing extensions": replace(config(3, 1), backoff=2),
    "everything": Config(
        global_ttl=ticks(3),
        extend_ttl=ticks(1),
        stale_if_error=ticks(4),
        stale_while_revalidate=ticks(3),
        negative_ttl=ticks(1),
        refresh_after=ticks(1),
        backoff=2,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("extension", "length", "least"), [(0, 5, 50_000), (1, 6, 500_000), (3, 5, 50_000)])
def test_every_short_history(extension: int, length: int, least: int) -> None:
    """No sequence of five or six operations on one key breaks an invariant or differs from the model."""
    assert walk(new_world(config(TTL, extension)), length) > least


@pytest.mark.slow
@pytest.mark.parametrize(
    "past", [(), (put, expire, ask_swr, start_queued), (put, leap, ask_swr, start_queued, put, leap, ask_swr)]
)
def test_every_short_history_with_interrupts(past: tuple[Callable[[World], None], ...]) -> None:
    """Nor does any sequence of five, where leaders are interrupted and their flights are found or put away later."""
    assert walk(after(config(TTL, 1), *past), 5, STEPS + INTERRUPTIONS) > 50_000


@pytest.mark.parametrize(("length", "histories"), [(3, 500), pytest.param(4, 5_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("policy", OPTIONS.values(), ids=OPTIONS)
def test_every_history_of_a_stored_key(policy: Config, length: int, histories: int) -> None:
    """Nor does any sequence of four operations under any option, from a key that is missing, fresh or expired on."""
    for past in ((), (put,), (put, leap), (put, leap, ask_swr, start_queued), (put, leap, ask_sie, land_refused)):
        assert walk(after(policy, *past), length) > histories


@pytest.mark.slow
@pytest.mark.parametrize("extension", [0, 3])
def test_every_longer_history_of_a_stored_key(extension: int) -> None:
    """Nor does any sequence of five operations after the key was stored, expired and asked for."""
    assert walk(after(config(TTL, extension), put, leap, ask_swr, start_queued), 5) > 100_000
