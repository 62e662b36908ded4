"""The rules of one record, for every store written in Python: what an ask hears, and what a tell changes.

A record counts in numbers. ``number`` is the highest one given, ``floor`` that of the last fill, set, delete or expire,
``writes`` that of the last set, delete or expire. The rules are four:

- A fill counts only if the record has the epoch of its lease, and the number of its lease is above ``floor``.
- A set, a delete and an expire take the next number, which becomes ``floor`` and ``writes``.
- A version is the epoch and ``floor``: so it tells a refilled record from the one that was known. A conditional set
  minds ``writes`` alone: a set wins over a load.
- One lease at most is exclusive, that of the number ``holder``. It ends by its time, by its fill or release, and with
  whatever outruns it.

Here is no clock, no chance and no storage: instants are integers of the store's own clock, and epochs are given.
"""

from collections.abc import Callable
from datetime import timedelta
from enum import Enum
from typing import Final, NamedTuple, TypeAlias, final

from lastcache.second.protocol import (
    Absent,
    Ask,
    Busy,
    Expire,
    Fill,
    Forget,
    Gone,
    Held,
    Kept,
    Lease,
    Outrun,
    Put,
    Release,
    Same,
    Tell,
    Told,
    Verdict,
    Version,
    Want,
)

NOW: Final = timedelta(0)
SKEW: Final = timedelta(seconds=1)
"""How far ahead of the store's clock a record may have been filled, before it counts as one of the future."""
LEASES: Final = 60
"""How many times ``lease_for`` a record is kept at least, once it was leased: so a slow load still finds it."""


class Word(Enum):
    """What a record says: a body, that it was deleted, or nothing, where it is there for its numbers only."""

    BODY = 1
    DELETED = 2
    NOTHING = 3


@final
class Head(NamedTuple):
    """All of a record but its body and its schema. Instants are in ticks of the store's clock."""

    epoch: bytes
    number: int = 0
    floor: int = 0
    writes: int = 0
    holder: int = 0
    lease_until: int = 0
    filled_at: int = 0
    fresh_until: int = 0
    kept_until: int = 0
    word: Word = Word.NOTHING

    @property
    def version(self) -> Version:
        """Give what an entry remembers of this record."""
        return Version(self.epoch, self.floor)


@final
class Moment(NamedTuple):
    """An instant of a store's clock, and the length of its ticks.

    >>> Moment(5, timedelta(milliseconds=1)).after(timedelta(seconds=1))
    1005
    """

    now: int
    tick: timedelta

    def after(self, duration: timedelta) -> int:
        """Give the instant that is ``duration`` from now."""
        return self.now + duration // self.tick

    def until(self, instant: int) -> timedelta:
        """Give how long it is until ``instant``; negative where it is past."""
        try:
            return (instant - self.now) * self.tick
        except OverflowError:
            return timedelta.max if instant > self.now else timedelta.min


Epochs: TypeAlias = Callable[[], bytes]
"""Draws a new epoch."""


def kept(head: Head | None, moment: Moment) -> Head | None:
    """Give ``head`` unless its time is over."""
    return head if head is not None and moment.now <= head.kept_until else None


def answer(
    head: Head | None, body: bytes | None, schema: str, ask: Ask, moment: Moment, epochs: Epochs
) -> tuple[Told, Head | None]:
    """Say what ``ask`` hears of a record, and what its head becomes; None where it stays."""
    fresh_for = _fresh_for(head, moment)
    if head is None or head.word is not Word.BODY or body is None:
        grant, leased = _grant(head, ask, moment, epochs)
        deleted = head is not None and head.word is Word.DELETED
        return (Gone(head.version, grant) if head is not None and deleted else Absent(grant)), leased
    if fresh_for < ask.early_by or fresh_for < NOW:
        grant, leased = _grant(head, ask, moment, epochs)
        return Held(body, schema, fresh_for, head.version, grant), leased
    if ask.known == head.version:
        return Same(fresh_for), None
    return Held(body, schema, fresh_for, head.version, None), None


def _fresh_for(head: Head | None, moment: Moment) -> timedelta:
    """Say how long a record is fresh; one of the future has just expired, so that it still covers."""
    if head is None:
        return -moment.tick
    of_the_future = head.filled_at > moment.now and head.filled_at > moment.after(SKEW)
    return moment.until(min(head.fresh_until, moment.now - 1) if of_the_future else head.fresh_until)


def _grant(head: Head | None, ask: Ask, moment: Moment, epochs: Epochs) -> tuple[Lease | Busy | None, Head | None]:
    """Grant a lease as far as one is asked for, and say what the head becomes; None where it stays."""
    if ask.want is Want.LOOK:
        return None, None
    before = Head(epochs()) if head is None else head
    # A lease that ends later than one granted now would comes from another time of the clock, and holds nobody off.
    if ask.want is Want.LEASE and moment.now < before.lease_until <= moment.after(ask.lease_for):
        return Busy(before.holder, moment.until(before.lease_until)), None
    number = before.number + 1
    leased = before._replace(number=number, kept_until=max(before.kept_until, moment.after(LEASES * ask.lease_for)))
    if ask.want is Want.LEASE:
        leased = leased._replace(holder=number, lease_until=moment.after(ask.lease_for))
    return Lease(before.epoch, number), leased


def written(  # noqa: C901  # a table
    head: Head | None, tell: Tell, moment: Moment, epochs: Epochs
) -> Head | None:
    """Say what the head of a record becomes by ``tell``; None where that is outrun."""
    match tell:
        case Fill():
            return _filled(head, tell, moment)
        case Release():
            return _released(head, tell)
        case Put():
            return _put(head, tell, moment, epochs)
        case Forget():
            return _outran(head, epochs)._replace(word=Word.DELETED, kept_until=moment.after(tell.keep_for))
        case Expire(lease=lease) if lease is not None and not _counts(head, lease):
            return None
        case Expire():
            ended = _outran(head, epochs)
            return ended._replace(
                fresh_until=min(ended.fresh_until, moment.now - 1),
                kept_until=max(ended.kept_until, moment.after(tell.keep_for)),
            )


def _filled(head: Head | None, fill: Fill, moment: Moment) -> Head | None:
    if head is None or head.epoch != fill.lease.epoch or not head.floor < fill.lease.number <= head.number:
        return None
    filled = head._replace(
        floor=fill.lease.number,
        filled_at=moment.now,
        fresh_until=moment.after(fill.fresh_for),
        kept_until=moment.after(fill.fresh_for) + fill.keep_for // moment.tick,
        word=Word.DELETED if fill.body is None else Word.BODY,
    )
    return _unheld(filled) if head.holder <= fill.lease.number else filled


def _counts(head: Head | None, lease: Lease) -> bool:
    return head is not None and head.epoch == lease.epoch and head.floor < lease.number <= head.number


def _released(head: Head | None, release: Release) -> Head | None:
    """End the exclusive lease; of one that others may hold as well there is nothing to end."""
    if head is None or head.epoch != release.lease.epoch or not head.floor < release.lease.number <= head.number:
        return None
    return _unheld(head) if head.holder == release.lease.number else head


def _put(head: Head | None, put: Put, moment: Moment, epochs: Epochs) -> Head | None:
    known = put.only_if
    if known is not None and (head is None or head.epoch != known.epoch or head.writes > known.writes):
        return None
    return _outran(head, epochs)._replace(
        filled_at=moment.now,
        fresh_until=moment.after(put.fresh_for),
        kept_until=moment.after(put.fresh_for) + put.keep_for // moment.tick,
        word=Word.BODY,
    )


def _outran(head: Head | None, epochs: Epochs) -> Head:
    """Give the head after a set, delete or expire, which outruns every lease."""
    before = Head(epochs()) if head is None else head
    number = before.number + 1
    return before._replace(number=number, floor=number, writes=number, holder=0, lease_until=0)


def _unheld(head: Head) -> Head:
    return head._replace(holder=0, lease_until=0)


def verdict(head: Head | None) -> Verdict:
    """Say what became of a tell that made a record's head ``head``, or was outrun."""
    return Outrun() if head is None else Kept(head.version)
