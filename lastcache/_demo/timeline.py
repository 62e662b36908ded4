"""The answers of each client by slots of time, as they come in: what the live picture shows."""

from collections.abc import Iterable
from functools import reduce
from typing import NamedTuple, TypeAlias

from lastcache._demo.record import Phase, Sample, Switch
from lastcache._demo.summary import Count, count

Slots: TypeAlias = tuple[Count, ...]


class Timeline(NamedTuple):
    """One row of slots for each client; the last slot takes whatever comes later."""

    began_at: int
    slot_for: int
    clients: tuple[Slots, ...]


class View(NamedTuple):
    """What is to be seen at one moment; ``note`` is the last thing that happened."""

    names: tuple[str, ...]
    timeline: Timeline
    switches: tuple[Switch, ...]
    now: int
    note: str

    @property
    def elapsed(self) -> int:
        """How long the clock has been running."""
        return max(0, self.now - self.timeline.began_at) if self.switches else 0

    @property
    def phase(self) -> Phase:
        """The phase of this moment."""
        return self.switches[-1].phase if self.switches else Phase.WARM_UP


def empty(began_at: int, lasts_for: int, slots: int, clients: int) -> Timeline:
    """Make a timeline in which nothing has happened yet."""
    return Timeline(began_at, max(1, lasts_for // slots), ((Count(),) * slots,) * clients)


def slot_of(timeline: Timeline, instant: int) -> int:
    """Tell in which slot ``instant`` lies.

    >>> [slot_of(empty(100, 50, slots=5, clients=1), instant) for instant in (100, 109, 110, 999)]
    [0, 0, 1, 4]
    """
    last = len(timeline.clients[0]) - 1
    return min(last, max(0, (instant - timeline.began_at) // timeline.slot_for))


def extended(timeline: Timeline, news: Iterable[Iterable[Sample]]) -> Timeline:
    """Add the new samples of each client; a sample lies where its call started."""
    added = zip(timeline.clients, news, strict=True)
    return timeline._replace(clients=tuple(_with(timeline, slots, samples) for slots, samples in added))


def _with(timeline: Timeline, slots: Slots, samples: Iterable[Sample]) -> Slots:
    by_slot: dict[int, list[Sample]] = {}
    for sample in samples:
        by_slot.setdefault(slot_of(timeline, sample.started_at), []).append(sample)
    return tuple(before.plus(count(by_slot.get(slot, ()))) for slot, before in enumerate(slots))


def total(slots: Slots) -> Count:
    """Add up all slots."""
    return reduce(Count.plus, slots, Count())
