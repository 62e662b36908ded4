"""The laws of one key's loads, and a walk over every history of them, on the pure table and on ``Loads`` in step.

A history is a chain of worlds. A world holds what the key has under way, and what the laws need to know beside it:
who leads, who lost its leader, and which jobs somebody waits for. Histories that lead to equal worlds go on as one.
The rules are an argument, so that wrong ones can be tried: the laws must find them.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import Final, NamedTuple, TypeAlias

from lastcache.core import traffic
from lastcache.core.loads import Loads
from lastcache.core.traffic import Queued, Running, Traffic


@dataclass(eq=False)
class Plane:
    """A flight without a thread; it is over once its leader was interrupted."""

    number: int
    over: bool = False


@dataclass(eq=False)
class Work:
    """A job without a callback; it is over once it was told."""

    key: str
    number: int
    over: bool = False


UnderWay: TypeAlias = Traffic[Work, Plane] | None
Kept: TypeAlias = frozenset[tuple[Plane, Work]]
Result: TypeAlias = Plane | Work | UnderWay | bool | tuple[Work, Work] | list[Work]
Table: TypeAlias = Loads[str, Plane, Work]


@cache
def plane(key: str, number: int) -> Plane:
    """Give the flight of this number, always the same."""
    return Plane(number)


@cache
def work(key: str, number: int) -> Work:
    """Give the job of this number, always the same."""
    return Work(key, number)


@dataclass(frozen=True)
class Rules:
    """The functions of the table, and what a delete makes of the jobs of outrun flights."""

    wait: Callable[[UnderWay, Plane], Running[Plane, Work]] = traffic.wait
    leave: Callable[[UnderWay, Work], Traffic[Work, Plane]] = traffic.leave
    refresh: Callable[[UnderWay, Work], UnderWay] = traffic.refresh
    start: Callable[[UnderWay, Work, Plane], UnderWay] = traffic.start
    withdraw: Callable[[UnderWay, Work], UnderWay] = traffic.withdraw
    landed: Callable[[UnderWay, Plane], UnderWay] = traffic.landed
    abandoned: Callable[[UnderWay, Plane, Work | None], UnderWay] = traffic.abandoned
    outrun: Callable[[UnderWay], UnderWay] = traffic.outrun
    forgotten: Callable[[Kept, Kept], Kept] = lambda earlier, detached: earlier | detached
    """Which jobs are left to their flights' own ends: those kept earlier, and what the delete detaches."""


class World(NamedTuple):
    """One key, as a history left it.

    Flights are ``led``, or ``lost`` where the leader was interrupted and has not put them away. Each job is ``owed``
    to who may wait for it until it is told. ``begun`` are those that a flight began with. ``merged`` are told with
    another one. ``before`` are those that were left before the key was deleted.
    """

    key: str = "k"
    traffic: UnderWay = None
    led: frozenset[Plane] = frozenset()
    lost: frozenset[Plane] = frozenset()
    kept: Kept = frozenset()
    forgotten: Kept = frozenset()
    owed: frozenset[Work] = frozenset()
    begun: frozenset[Work] = frozenset()
    merged: frozenset[tuple[Work, Work]] = frozenset()
    before: frozenset[Work] = frozenset()


class Event(NamedTuple):
    """What may happen to a key, to which flight and job."""

    name: str
    flight: Plane
    job: Work


def events_of(world: World) -> Iterator[Event]:
    """List all that may happen next: to every flight, and with every job, one that has ended included."""
    led, lost = (sorted(flights, key=lambda flight: flight.number) for flights in (world.led, world.lost))
    owed = sorted(world.owed, key=lambda job: job.number)
    me = next(flight for number in count() if (flight := plane(world.key, number)) not in {*led, *lost})
    new = next(job for number in count() if (job := work(world.key, number)) not in world.owed)
    for name in ("wait", "leave", "refresh", "outrun", "forget", "clear"):
        yield Event(name, me, new)
    for job in (*owed, new):
        yield Event("start", me, job)
        yield Event("withdraw", me, job)
    for flight in led:
        yield Event("land", flight, new)
        yield Event("interrupt", flight, new)
    for flight in (*led, *lost):
        yield Event("abandon", flight, new)


def flight_of(found: UnderWay) -> Plane | None:
    return found.flight if isinstance(found, Running) else None


def without_lost(world: World, rules: Rules) -> World:
    """Put an attached flight without its leader out of the way, as whoever comes does."""
    flight = flight_of(world.traffic)
    if flight is None or flight not in world.lost:
        return world
    begun = world.begun - {traffic.job_of(world.traffic)}
    return world._replace(traffic=rules.abandoned(world.traffic, flight, None), begun=begun)


def led_by(world: World, me: Plane, job: Work | None) -> World:
    """A flight takes off: a job is started at most once, unless its flight was abandoned, and never after a delete."""
    assert job not in world.begun | world.before
    return world._replace(led=world.led | {me}, begun=world.begun if job is None else world.begun | {job})


def told(world: World, job: Work | None) -> World:
    """``job`` is told, and with it those that were merged into it: each once."""
    if job is None:
        return world
    assert job in world.owed
    absorbed = [inner for inner, outer in world.merged if outer is job]
    merged = frozenset(pair for pair in world.merged if pair[1] is not job)
    owed, begun, before = (jobs - {job} for jobs in (world.owed, world.begun, world.before))
    world = world._replace(owed=owed, begun=begun, merged=merged, before=before)
    for inner in absorbed:
        world = told(world, inner)
    return world


def wait(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """A caller waits for a flight that is led: the one that runs, or its own."""
    world = without_lost(world, rules)
    before, after = world.traffic, rules.wait(world.traffic, event.flight)
    world = world._replace(traffic=after)
    if isinstance(before, Running):
        assert after == before
        return world, after.flight
    assert after.flight is event.flight
    return led_by(world, after.flight, after.job), after.flight


def leave(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """A reader has a job to wait for; what runs stays attached."""
    world = without_lost(world, rules)
    after = rules.leave(world.traffic, event.job)
    assert after.job is not None
    assert flight_of(after) is flight_of(world.traffic)
    return world._replace(traffic=after, owed=world.owed | {after.job}), after.job


def refresh(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """An early load is left where nothing is under way."""
    world = without_lost(world, rules)
    before, after = world.traffic, rules.refresh(world.traffic, event.job)
    if before is not None:
        assert after == before
        return world, None
    assert after is not None
    return world._replace(traffic=after, owed=world.owed | {event.job}), event.job


def start(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """A worker leads a job that is queued, and no other."""
    before, after = world.traffic, rules.start(world.traffic, event.job, event.flight)
    if flight_of(after) is not event.flight:
        assert before == after != Queued(event.job)
        return world, False
    assert (before, after) == (Queued(event.job), Running(event.flight, event.job))
    return led_by(world._replace(traffic=after), event.flight, event.job), True


def withdraw(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """A queued job is told that it will not run; nothing else changes."""
    before, after = world.traffic, rules.withdraw(world.traffic, event.job)
    assert flight_of(after) is flight_of(before)
    world = world._replace(traffic=after)
    return told(world, event.job) if before == Queued(event.job) else world, None


def land(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """The job of a flight is told how it landed; one that was outrun changes nothing of what is under way."""
    flight, before = event.flight, world.traffic
    after, attached = rules.landed(before, flight), flight_of(before) is flight
    assert attached or after == before
    job = traffic.job_of(before) if attached else dict(world.kept | world.forgotten).get(flight)
    return told(put_away(world, flight)._replace(traffic=after), job), job


def put_away(world: World, flight: Plane) -> World:
    """The flight is no more, and keeps nothing."""
    kept, forgotten = (without(flight, jobs) for jobs in (world.kept, world.forgotten))
    return world._replace(led=world.led - {flight}, lost=world.lost - {flight}, kept=kept, forgotten=forgotten)


def without(flight: Plane, jobs: Kept) -> Kept:
    return frozenset(pair for pair in jobs if pair[0] is not flight)


def interrupt(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """The leader is interrupted; it will put the flight away later, if nobody does before."""
    return world._replace(led=world.led - {event.flight}, lost=world.lost | {event.flight}), None


def abandon(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """The flight is put away, and no other is detached; nobody is told, but for the job of a key that was deleted."""
    flight, before, kept = event.flight, world.traffic, dict(world.kept).get(event.flight)
    forgotten = dict(world.forgotten).get(flight)
    after, attached = rules.abandoned(before, flight, kept), flight_of(before) is flight
    assert attached or flight_of(after) is flight_of(before)
    if forgotten is not None:
        assert after == before
        return told(put_away(world, flight), forgotten), forgotten
    job, speaks = traffic.job_of(before) if attached else kept, traffic.job_of(after)
    merged = None if kept is None or speaks is None or speaks is kept else (kept, speaks)
    world = put_away(world, flight)._replace(
        traffic=after,
        begun=world.begun - {job},
        merged=world.merged if merged is None else world.merged | {merged},
    )
    return world, merged


def outrun(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """After a write no flight is attached; what has not begun stays."""
    before, after = world.traffic, rules.outrun(world.traffic)
    assert flight_of(after) is None
    kept = world.kept | detached(before)
    return world._replace(traffic=after, kept=kept), before if isinstance(before, Running) else None


def forget(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """Nothing is under way any more; what was queued is told so, and every other job waits for its flight alone."""
    before = world.traffic
    kept = world.kept | detached(before)
    moved = rules.forgotten(world.kept, detached(before))
    world = world._replace(traffic=None, kept=kept - moved, forgotten=world.forgotten | moved, before=world.owed)
    return told(world, before.job) if isinstance(before, Queued) else world, before


def clear(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """As ``forget``, of all keys."""
    dropped = [world.traffic.job] if isinstance(world.traffic, Queued) else []
    return forget(world, event, rules)[0], dropped


def detached(before: UnderWay) -> Kept:
    """An outrun flight keeps its job."""
    return frozenset([(before.flight, before.job)] if isinstance(before, Running) and before.job is not None else [])


STEPS: Final[dict[str, Callable[[World, Event, Rules], tuple[World, Result]]]] = {
    step.__name__: step
    for step in (wait, leave, refresh, start, withdraw, land, interrupt, abandon, outrun, forget, clear)
}


def land_on(loads: Table, key: str, event: Event) -> Work | None:
    """Land, and give the job that is told before, as ``CacheState`` does."""
    job = loads.carried(key, event.flight)
    loads.land(key, event.flight)
    return job


def abandon_on(loads: Table, key: str, event: Event) -> tuple[Work, Work] | Work | None:
    """Abandon, and give the job that is told before, or the one that is joined, and what it is joined to."""
    job, rival = loads.carried(key, event.flight), loads.rival(key, event.flight)
    forgotten = event.flight in loads.forgotten
    loads.abandon(key, event.flight)
    if forgotten:
        assert rival is None
        return job
    return None if job is None or rival is None else (job, rival)


def clear_on(loads: Table, key: str, event: Event) -> list[Work]:
    """Clear, and give the jobs that are told before."""
    queued = list(loads.queue)
    loads.clear()
    return queued


ON_LOADS: Final[dict[str, Callable[[Table, str, Event], Result]]] = {
    "wait": lambda loads, key, event: loads.wait(key, event.flight),
    "leave": lambda loads, key, event: loads.leave(key, lambda: event.job),
    "refresh": lambda loads, key, event: loads.refresh(key, lambda: event.job),
    "start": lambda loads, key, event: loads.start(event.job, key, event.flight),
    "withdraw": lambda loads, key, event: loads.withdraw(event.job, key),
    "land": land_on,
    "interrupt": lambda loads, key, event: None,
    "abandon": abandon_on,
    "outrun": lambda loads, key, event: loads.outrun(key),
    "forget": lambda loads, key, event: loads.forget(key),
    "clear": clear_on,
}


def take(world: World, event: Event, rules: Rules) -> tuple[World, Result]:
    """Let ``event`` happen, and check the laws."""
    after, result = STEPS[event.name](world, event, rules)
    check(after)
    return after, result


def check(world: World) -> None:
    """Whoever waits for a job is spoken for, once; what is attached, or keeps a job, is a flight under way.

    A job that was left before a delete is neither queued nor attached after it.
    """
    job, flight = traffic.job_of(world.traffic), flight_of(world.traffic)
    outrun = [*world.kept, *world.forgotten]
    speaking = [*([] if job is None else [job]), *(job for _, job in outrun), *(inner for inner, _ in world.merged)]
    assert len(speaking) == len(world.owed)
    assert set(speaking) == world.owed
    assert {outer for _, outer in world.merged} <= world.owed
    flying, keeping = world.led | world.lost, {flight for flight, _ in outrun}
    assert keeping <= flying
    assert len(keeping) == len(outrun)
    assert flight is None or flight in flying - keeping
    assert not isinstance(world.traffic, Queued) or job not in world.begun
    assert job not in world.before


def mark_lost(world: World) -> None:
    """Let each flight say whether it is over."""
    for flight in world.led | world.lost:
        flight.over = flight in world.lost


def check_beside(world: World, event: Event, after: World, result: Result) -> None:
    """``Loads`` makes the same of the event as the table does, and its queue is a view of the traffic."""
    mark_lost(world)
    event.flight.over = event.flight in world.lost
    loads = Table()
    if world.traffic is not None:
        loads.traffic[world.key] = world.traffic
    if isinstance(world.traffic, Queued):
        loads.queue[world.traffic.job] = None
    loads.kept.update(world.kept)
    loads.forgotten.update(world.forgotten)
    assert ON_LOADS[event.name](loads, world.key, event) == result
    assert loads.traffic == ({} if after.traffic is None else {world.key: after.traffic})
    assert list(loads.queue) == ([after.traffic.job] if isinstance(after.traffic, Queued) else [])
    assert (loads.kept, loads.forgotten) == (dict(after.kept), dict(after.forgotten))


def walk(length: int, rules: Rules, *, beside: bool = True) -> int:
    """Take every history of one key up to ``length``, and count them; ``beside`` it, ``Loads`` goes in step."""
    worlds, histories = Counter({World(): 1}), 1
    for _ in range(length):
        following = Counter[World]()
        for world, times in worlds.items():
            for event in events_of(world):
                after, result = take(world, event, rules)
                if beside:
                    check_beside(world, event, after, result)
                following[after] += times
        worlds = following
        histories += worlds.total()
    return histories
