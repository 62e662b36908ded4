"""The table of many keys: what it attaches, detaches and lets go of, and every short history of one key."""

from dataclasses import dataclass
from typing import TypeAlias

import pytest
from returns.result import Failure, Success

from lastcache import CachedValue, failed
from lastcache.core.policy import Policy
from lastcache.core.states import LOAD, Fresh, Serve, Strategy, Traffic, Transition
from lastcache.core.table import Landed, Table
from tests.test_walk import new_world, walk

Flights: TypeAlias = "Table[str, str, str, Plane]"


@dataclass(eq=False)
class Plane:
    """A flight without a thread."""

    traffic: Traffic = Traffic.RUNNING


def table_with(**flights: Plane) -> Flights:
    table: Flights = Table(Policy(100, 0))
    table.flights.update(flights)
    return table


def entry(value: str, now: int) -> Fresh[str, str]:
    return Fresh(Success(CachedValue(value)), now + 100)


def test_detach_says_whether_it_was_attached() -> None:
    """Only the very flight that is attached is detached, and once."""
    plane, other = Plane(), Plane()
    table = table_with(k=plane)
    assert [table.detach("k", other), table.detach("k", plane), table.detach("k", plane)] == [False, True, False]
    assert table.flights == {}


def test_replace_puts_a_successor_in_the_place_of_the_attached() -> None:
    """The successor of an attached flight is attached, that of a detached one is not."""
    plane, successor, late = Plane(), Plane(), Plane()
    table = table_with(k=plane)
    table.replace("k", plane, successor)
    table.replace("k", plane, late)
    assert table.flights == {"k": successor}


def test_landing_hands_back_what_it_replaced() -> None:
    """A landing gives its transition and the entry that was there before; the flight is gone, others stay."""
    plane, other = Plane(), Plane()
    table = table_with(k=plane, other=other)
    table.set("k", "old", 0)
    table.flights["k"] = plane
    new = entry("new", 500)
    assert table.land("k", plane, Success("new"), 500) == Landed(Transition(new.answer, new), entry("old", 0))
    assert (table.stock.entries, table.flights) == ({"k": new}, {"other": other})


def test_a_failed_first_load_leaves_nothing() -> None:
    """A failure of a missing key stores nothing, and detaches its flight."""
    plane = Plane()
    table = table_with(k=plane)
    assert table.land("k", plane, failed("down"), 0) == Landed(Transition(Failure("down"), None), None)
    assert (table.stock.entries, table.flights) == ({}, {})


def test_an_outrun_landing_changes_nothing() -> None:
    """A flight that is not attached answers, and leaves entries and flights as they are."""
    successor = Plane()
    table = table_with(k=successor)
    landed = table.land("k", Plane(), Success("older"), 0)
    assert landed == Landed(Transition(Success(CachedValue("older")), None), None)
    assert (table.stock.entries, table.flights) == ({}, {"k": successor})


@pytest.mark.parametrize("write", ["set", "expire", "delete"])
@pytest.mark.parametrize(
    ("traffic", "stays"), [(Traffic.RUNNING, False), (Traffic.NONE, False), (Traffic.QUEUED, True)]
)
def test_what_a_write_outruns(write: str, traffic: Traffic, *, stays: bool) -> None:
    """A write detaches the load of its key that has begun, no queued one, and no other key's; it hands back both."""
    plane, other = Plane(traffic), Plane()
    table = table_with(k=plane, other=other)
    table.stock.entries["k"] = entry("old", 0)
    replaced = {
        "set": lambda: table.set("k", "new", 50),
        "expire": lambda: table.expire("k", 50),
        "delete": lambda: table.delete("k"),
    }[write]()
    assert replaced == ([] if stays else [plane], entry("old", 0))
    assert table.flights == ({"k": plane, "other": other} if stays else {"other": other})
    left = {"set": {"k": entry("new", 50)}, "expire": {"k": Fresh(Success(CachedValue("old")), 49)}, "delete": {}}
    assert table.stock.entries == left[write]


def test_clear_outruns_every_load_that_began() -> None:
    """``clear`` forgets the entries, detaches what has begun, leaves what is queued, and hands all back."""
    running, queued = Plane(), Plane(Traffic.QUEUED)
    table = table_with(running=running, queued=queued)
    table.stock.entries["k"] = entry("old", 0)
    entries, flights = table.stock.entries, table.flights
    assert table.clear() == ([[running], []], ({"k": entry("old", 0)}, {}, {}))
    assert (table.stock.entries, table.flights) == ({}, {"queued": queued})
    assert (table.stock.entries is entries, table.flights is flights) == (True, True)


def test_empty_forgets_everything() -> None:
    """``empty`` forgets queued loads, too, and hands back all that it let go of."""
    queued = Plane(Traffic.QUEUED)
    table = table_with(k=queued)
    table.stock.entries["k"] = entry("old", 0)
    entries = table.stock.entries
    assert table.empty() == (({"k": entry("old", 0)}, {}, {}), [{"k": queued}])
    assert (table.stock.entries, table.flights, table.stock.entries is entries) == ({}, {}, True)


def two_places() -> tuple[Flights, Flights, Plane, Plane]:
    """Two tables of the same entries, each with a flight of ``k`` and one of ``other``."""
    here, there = Plane(), Plane()
    table = table_with(k=here, other=Plane())
    beside: Flights = Table(Policy(100, 0), beside=table)
    beside.flights.update(k=there, other=Plane(Traffic.QUEUED))
    return table, beside, here, there


@pytest.mark.parametrize("write", ["set", "expire", "delete"])
def test_a_write_outruns_the_loads_of_every_place(write: str) -> None:
    """A write in one place detaches what has begun for its key in all of them, and hands it back."""
    table, beside, here, there = two_places()
    replaced = {
        "set": lambda: beside.set("k", "new", 50),
        "expire": lambda: beside.expire("k", 50),
        "delete": lambda: beside.delete("k"),
    }[write]()
    assert replaced == ([here, there], None)
    assert (list(table.flights), list(beside.flights)) == (["other"], ["other"])
    assert table.stock.entries is beside.stock.entries


def test_clear_outruns_the_loads_of_every_place() -> None:
    """``clear`` and ``empty`` reach every place, too; what is queued stays after ``clear``."""
    table, beside, _, _ = two_places()
    table.clear()
    assert (list(table.flights), list(beside.flights)) == ([], ["other"])
    table.empty()
    assert beside.flights == {}


def test_the_first_success_outruns_the_loads_of_other_places() -> None:
    """Who lands a success first is the one whom the others would have joined: they store nothing any more."""
    table, beside, here, there = two_places()
    new = entry("first", 0)
    assert beside.land("k", there, Success("first"), 0) == Landed(Transition(new.answer, new), (None, [here]))
    assert table.land("k", here, Success("late"), 50).transition == Transition(Success(CachedValue("late")), None)
    assert table.stock.entries == {"k": new}


def test_a_failure_outruns_nothing() -> None:
    """A load that fails in one place leaves those of the others attached; the next success is stored."""
    table, beside, here, there = two_places()
    beside.land("k", there, failed("down"), 0)
    assert table.flights["k"] is here
    table.land("k", here, Success("new"), 0)
    assert beside.stock.entries == {"k": entry("new", 0)}


def test_a_place_that_is_left() -> None:
    """The flights of a place that is left are forgotten, and no write looks there any more."""
    table, beside, here, there = two_places()
    beside.leave()
    table.delete("k")
    assert (list(table.flights), beside.flights["k"]) == (["other"], there)
    assert table.places == [table.flights]
    assert here not in table.flights.values()


def test_decide_asks_about_its_own_key() -> None:
    """A decision is made with the entry and the flight of the key that was asked for."""
    table = table_with(other=Plane())
    table.stock.entries["k"] = entry("v", 0)
    assert [table.decide(strategy, "k", 100) for strategy in Strategy] == [Serve(entry("v", 0).answer)] * len(Strategy)
    assert [table.decide(strategy, "k2", 0) for strategy in Strategy] == [LOAD] * len(Strategy)


@pytest.mark.parametrize("extension", [0, 3])
def test_every_very_short_history(extension: int) -> None:
    """No sequence of four operations differs from the model; longer ones are walked elsewhere."""
    assert walk(new_world(Policy(2, extension)), 4) > 5_000
