"""Every sequence of operations on one key, up to a length, with all invariants checked after each step.

The table is plain data, so concurrency needs no threads here: a flight begins in one step and lands in a later one,
and whatever fits comes between. A history is replayed on the table and on the model of ``tests.model``.
"""

from copy import copy
from dataclasses import dataclass, field, replace
from math import inf
from typing import Final

import pytest
from returns.result import Success

from lastcache import failed
from lastcache.core.entries import entry_of
from lastcache.core.policy import FOREVER, Policy
from lastcache.core.states import (
    Join,
    Load,
    NegativelyCached,
    Outcome,
    Revalidate,
    Serve,
    ServeAndRefresh,
    Strategy,
    Traffic,
)
from lastcache.core.table import Table
from lastcache.core.transitions import deadline, fresh_until, view
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
        for key, kept in self.table.stock.entries.items():
            table.stock.put(key, entry_of(kept), -1000)
        planes = {plane: copy(plane) for plane in {*self.airborne, *self.table.flights.values()}}
        table.flights.update({key: planes[plane] for key, plane in self.table.flights.items()})
        return World(table, replace(self.model), self.now, self.loads, [planes[plane] for plane in self.airborne])


def new_world(policy: Policy) -> World:
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
    return World(Table(policy), model)


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
    decision = world.table.decide(strategy, KEY, world.now)
    match decision:
        case Serve() | ServeAndRefresh():
            check_given(world, decision)
        case Revalidate(cached):
            assert strategy is SWR
            assert world.model.gives_stale(world.now)
            assert cached == world.model.seen(world.now)
        case Load() | Join():
            check_waiting(world, strategy, decision)
    if isinstance(decision, Load):
        world.table.flights[KEY] = take_off(world)
    if isinstance(decision, ServeAndRefresh | Revalidate):
        world.table.flights.setdefault(KEY, Plane(Traffic.QUEUED))
    return True


def check_given(world: World, decision: Serve[str, str] | ServeAndRefresh[str, str]) -> None:
    """An answer is given where one stands, and its early load is begun where that is due."""
    assert world.model.current(world.now)
    assert world.model.due_early(world.now) == isinstance(decision, ServeAndRefresh)
    assert decision.answer == world.model.standing(world.now)


def check_waiting(world: World, strategy: Strategy, decision: Load | Join) -> None:
    """Who waits finds no answer; a load is begun unless one runs."""
    found = world.table.flights.get(KEY)
    assert not world.model.current(world.now)
    assert strategy is SIE or not world.model.gives_stale(world.now)
    assert (found is not None and found.traffic is Traffic.RUNNING) == isinstance(decision, Join)


def start_queued(world: World) -> bool:
    """A worker takes the queued load; it runs only if no answer stands by then, or an early load is due."""
    found = world.table.flights.get(KEY)
    if found is None or found.traffic is not Traffic.QUEUED:
        return False
    del world.table.flights[KEY]
    if not isinstance(world.table.decide(SIE, KEY, world.now), Serve):
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
    entry = world.table.stock.get(KEY)
    flight = world.table.flights.get(KEY)
    assert len(world.table.stock.entries) <= 1
    assert flight is None or flight.traffic is Traffic.QUEUED or flight in world.airborne
    assert [plane for plane in world.airborne if plane is flight] == ([flight] if flight in world.airborne else [])
    assert len(world.table.stock) == (entry is not None and not isinstance(entry, NegativelyCached))
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


OPTIONS: Final = {
    "no extension": Policy(TTL, 0),
    "short extension": Policy(TTL, 1),
    "long extension": Policy(TTL, 3),
    "covers for a while": Policy(TTL, 3, stale_if_error=2),
    "never covers": Policy(TTL, 1, stale_if_error=0),
    "gives for a while": Policy(TTL, 1, stale_while_revalidate=1),
    "both windows": Policy(TTL, 1, stale_if_error=1, stale_while_revalidate=2),
    "no staleness": Policy(TTL, 0, stale_if_error=0, stale_while_revalidate=0),
    "remembers": Policy(TTL, 1, negative_ttl=1),
    "remembers within windows": Policy(TTL, 2, stale_if_error=2, stale_while_revalidate=1, negative_ttl=2),
    "early": Policy(TTL, 1, refresh_after=1),
    "early, once": Policy(TTL, 0, refresh_after=1),
    "growing extensions": Policy(3, 1, backoff=2),
    "everything": Policy(3, 1, stale_if_error=4, stale_while_revalidate=3, negative_ttl=1, refresh_after=1, backoff=2),
}


@pytest.mark.parametrize("extension", [0, 1, 3])
def test_every_short_history(extension: int) -> None:
    """No sequence of six operations on one key breaks an invariant or differs from the model."""
    assert walk(new_world(Policy(TTL, extension)), 6) > 500_000


@pytest.mark.parametrize("policy", OPTIONS.values(), ids=OPTIONS)
def test_every_history_of_a_stored_key(policy: Policy) -> None:
    """Nor does any sequence of four operations under any option, from a key that is missing, fresh or expired on."""
    for past in ((), (put,), (put, leap), (put, leap, ask_swr, start_queued), (put, leap, ask_sie, land_refused)):
        world = new_world(policy)
        for step in past:
            step(world)
            check(world)
        assert walk(world, 4) > 5_000


@pytest.mark.parametrize("extension", [0, 3])
def test_every_longer_history_of_a_stored_key(extension: int) -> None:
    """Nor does any sequence of five operations after the key was stored, expired and asked for."""
    world = new_world(Policy(TTL, extension))
    for step in (put, leap, ask_swr, start_queued):
        assert step(world)
    assert walk(world, 5) > 100_000
