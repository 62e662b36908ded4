"""Every sequence of operations on one key, up to a length, with all invariants checked after each step.

The table is plain data, so concurrency needs no threads here: a flight begins in one step and lands in a later one,
and whatever fits comes between. A history is replayed on the table and on the model of ``tests.model``.
"""

from copy import copy
from dataclasses import dataclass, field, replace
from typing import Final

import pytest
from returns.result import Success

from lastcache import failed
from lastcache._table import Table
from lastcache.config import Policy
from lastcache.transitions import (
    Join,
    Load,
    Outcome,
    Revalidate,
    Serve,
    Strategy,
    Traffic,
    deadline,
    fresh_until,
    view,
)
from tests.model import Model

KEY: Final = "key"
TTL: Final = 2
SIE, SWR = Strategy.STALE_IF_ERROR, Strategy.STALE_WHILE_REVALIDATE


@dataclass(eq=False)
class Plane:
    """A flight without a thread."""

    traffic: Traffic


@dataclass
class World:
    """The table beside the model, with the flights that are in the air."""

    table: Table[str, str, str, Plane]
    model: Model
    now: int = 0
    loads: int = 0
    airborne: list[Plane] = field(default_factory=list[Plane])

    def fork(self) -> "World":
        """A world with the same past."""
        table: Table[str, str, str, Plane] = Table(self.table.policy)
        table.entries.update(self.table.entries)
        planes = {plane: copy(plane) for plane in {*self.airborne, *self.table.flights.values()}}
        table.flights.update({key: planes[plane] for key, plane in self.table.flights.items()})
        return World(table, replace(self.model), self.now, self.loads, [planes[plane] for plane in self.airborne])


def new_world(extension: int) -> World:
    return World(Table(Policy(TTL, extension)), Model(TTL, extension))


def advance(world: World) -> bool:
    world.now += 1
    return True


def leap(world: World) -> bool:
    """Go just past every deadline."""
    world.now += TTL + 2
    return True


def ask_sie(world: World) -> bool:
    return ask(world, SIE)


def ask_swr(world: World) -> bool:
    return ask(world, SWR)


def ask(world: World, strategy: Strategy) -> bool:
    """Ask, and do what the decision says; it must be the one that the model's history allows."""
    now, model, flights = world.now, world.model, world.table.flights
    found = flights.get(KEY)
    match world.table.decide(strategy, KEY, now):
        case Serve(answer):
            assert model.current(now)
            assert answer == model.standing(now)
        case Revalidate(cached):
            assert strategy is SWR
            assert model.gives_stale(now)
            assert cached == model.seen(now)
            if found is None:
                flights[KEY] = Plane(Traffic.QUEUED)
        case Load():
            assert not model.current(now)
            assert found is None or found.traffic is Traffic.QUEUED
            assert strategy is SIE or not model.gives_stale(now)
            flights[KEY] = take_off(world)
        case Join():
            assert not model.current(now)
            assert found is not None
            assert found.traffic is Traffic.RUNNING
    return True


def start_queued(world: World) -> bool:
    """A worker takes the queued load; it runs only if no answer stands by then."""
    found = world.table.flights.get(KEY)
    if found is None or found.traffic is not Traffic.QUEUED:
        return False
    del world.table.flights[KEY]
    if isinstance(world.table.decide(SIE, KEY, world.now), Load):
        world.table.flights[KEY] = take_off(world)
    return True


def take_off(world: World) -> Plane:
    plane = Plane(Traffic.RUNNING)
    world.airborne.append(plane)
    return plane


def land_success(world: World) -> bool:
    world.loads += 1
    return land(world, Success(f"loaded {world.loads}"))


def land_covered(world: World) -> bool:
    return land(world, failed("down"))


def land_refused(world: World) -> bool:
    return land(world, failed("gone", use_stale=False))


def land(world: World, outcome: Outcome[str, str]) -> bool:
    """The oldest flight comes back; the table's answer must be the model's."""
    if not world.airborne:
        return False
    plane = world.airborne.pop(0)
    attached = world.table.flights.get(KEY) is plane
    landed = world.table.land(KEY, plane, outcome, world.now)
    model = world.model
    expected = model.land(outcome, world.now) if attached else model.land_outrun(outcome, world.now)
    assert landed.transition.answer == expected
    return True


def crash(world: World) -> bool:
    """The oldest flight's callback raises: nothing changes but that the flight is gone."""
    if not world.airborne:
        return False
    world.table.detach(KEY, world.airborne.pop(0))
    return True


def put(world: World) -> bool:
    world.table.set(KEY, "put", world.now)
    world.model.put("put", world.now)
    return True


def delete(world: World) -> bool:
    world.table.delete(KEY)
    world.model.forget()
    return True


def clear(world: World) -> bool:
    world.table.clear()
    world.model.forget()
    return True


def expire(world: World) -> bool:
    world.table.expire(KEY, world.now)
    world.model.expire(world.now)
    return True


STEPS: Final = (
    advance,
    leap,
    ask_sie,
    ask_swr,
    start_queued,
    land_success,
    land_covered,
    land_refused,
    crash,
    put,
    delete,
    clear,
    expire,
)
WRITES: Final = (put, delete, clear, expire)


def check(world: World) -> None:
    """What holds after every step."""
    entry = world.table.entries.get(KEY)
    flight = world.table.flights.get(KEY)
    assert len(world.table.entries) <= 1
    assert flight is None or flight.traffic is Traffic.QUEUED or flight in world.airborne
    assert [plane for plane in world.airborne if plane is flight] == ([flight] if flight in world.airborne else [])
    if entry is None:
        assert world.model.seen(world.now) is None
        return
    shown = view(entry, world.now)
    assert shown == world.model.seen(world.now)
    assert shown.stale or shown.err is None
    assert shown.stale == (world.now > fresh_until(entry))
    assert (deadline(entry), fresh_until(entry)) == (world.model.stands_until, world.model.fresh_until)


def walk(world: World, depth: int) -> int:
    """Take every step that can be taken, to ``depth``; count the sequences."""
    taken = 1
    for step in STEPS if depth else ():
        branch = world.fork()
        if step(branch):
            if step in WRITES:
                running = branch.table.flights.get(KEY)
                assert running is None or running.traffic is Traffic.QUEUED
            check(branch)
            taken += walk(branch, depth - 1)
    return taken


@pytest.mark.parametrize("extension", [0, 1, 3])
def test_every_short_history(extension: int) -> None:
    """No sequence of six operations on one key breaks an invariant or differs from the model."""
    assert walk(new_world(extension), 6) > 500_000


@pytest.mark.parametrize("extension", [0, 3])
def test_every_longer_history_of_a_stored_key(extension: int) -> None:
    """Nor does any sequence of five operations after the key was stored, expired and asked for."""
    world = new_world(extension)
    for step in (put, leap, ask_swr, start_queued):
        assert step(world)
    assert walk(world, 5) > 100_000
