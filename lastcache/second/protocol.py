"""What a cache says to a store beside it, and what the store answers: bytes in, bytes out.

A store holds one *record* for each name: a header, and a *body* or none. It knows no rule of freshness but "before or
after the end of freshness", and compares numbers.

Each record is born with a random *epoch*; another epoch is another record. It counts in *numbers*: one higher at each
lease, set, delete and expire. Who asks for a record that is not fresh may be granted a *lease*: the right to fill it. A
fill counts only if the record still has the lease's epoch, and nothing newer than the lease was written: so a slow load
never brings back what was deleted after it began. A record that is lost loses its epoch, and with it every older lease.
A record without a body is a *tombstone*: it says "deleted", where no record says "not known".

Each namespace has a *generation*, a random word; ``clear`` draws a new one, and no record of an older one is found any
more. Who asks under another generation, or under none yet, hears ``Cleared``; what is told under another is outrun. A
generation that the store lost is restored by the first who knows it: a loss is no clear.

Durations are those of the store's own clock; no instant leaves it. So the clocks of processes need not agree.
"""

from collections.abc import Sequence
from datetime import timedelta
from enum import Enum
from typing import NamedTuple, Protocol, TypeAlias, final

from returns.result import Result

from lastcache.errors import StoreFailure, Trouble

__all__ = [
    "Absent",
    "Ask",
    "Busy",
    "Cleared",
    "Expire",
    "Fill",
    "Forget",
    "Gone",
    "Held",
    "How",
    "Kept",
    "Lease",
    "Listener",
    "Outrun",
    "Pushing",
    "Put",
    "Release",
    "Same",
    "Store",
    "StoreFailure",
    "Tell",
    "Told",
    "Trouble",
    "Verdict",
    "Version",
    "Want",
    "Wrote",
]


@final
class Version(NamedTuple):
    """Which record an entry came from: its epoch, and the number of its last fill, set, delete or expire."""

    epoch: bytes
    writes: int


@final
class Lease(NamedTuple):
    """The right to fill a record, as long as nothing newer was written to it."""

    epoch: bytes
    number: int


@final
class Busy(NamedTuple):
    """Another holds the lease of this number, exclusively for ``ends_in``."""

    number: int
    ends_in: timedelta


class Want(Enum):
    """What is asked for where a record is not fresh: nothing more, a lease, or a lease that others may hold as well."""

    LOOK = "look"
    LEASE = "lease"
    FORCE = "force"


@final
class Ask(NamedTuple):
    """Ask for the record of ``name``, which begins with its ``namespace``.

    ``generation`` is that of the namespace as far as the process knows; None where it knows none yet: it hears
    ``Cleared`` then, with the one that there is, or with a new one.
    ``known`` is the version of what the process has. A lease is exclusive for ``lease_for``.
    A record that is fresh for less than ``early_by`` counts as not fresh: who asks wants to load early.
    """

    namespace: bytes
    name: bytes
    generation: bytes | None
    known: Version | None
    want: Want
    lease_for: timedelta
    early_by: timedelta = timedelta(0)


@final
class Held(NamedTuple):
    """The record has a body. ``fresh_for`` is negative where it is past its freshness.

    ``grant`` is the lease that was asked for and given, or who holds it; None where none was asked for, or none is
    needed.
    """

    body: bytes
    schema: str
    fresh_for: timedelta
    version: Version
    grant: Lease | Busy | None


@final
class Same(NamedTuple):
    """The record is fresh, and no fill, set, delete or expire has changed it since the version that was known."""

    fresh_for: timedelta


@final
class Gone(NamedTuple):
    """The record is a tombstone: deleted."""

    version: Version
    grant: Lease | Busy | None


@final
class Absent(NamedTuple):
    """No record with a body or tombstone is there: never stored, or lost."""

    grant: Lease | Busy | None


@final
class Cleared(NamedTuple):
    """The namespace has this generation, and not the one that was asked under: clear, and ask again."""

    generation: bytes


Told: TypeAlias = Held | Same | Gone | Absent | Cleared
"""What a store answers to an ``Ask``."""


@final
class Fill(NamedTuple):
    """Write what a load gave, under its lease; without a ``body`` a tombstone: the load found that the value is gone.

    The record is fresh for ``fresh_for``, and kept for ``keep_for`` past that.
    """

    namespace: bytes
    name: bytes
    generation: bytes
    lease: Lease
    body: bytes | None
    schema: str
    fresh_for: timedelta
    keep_for: timedelta


@final
class Put(NamedTuple):
    """Write a body that was set; every lease is outrun. With ``only_if``, only while the record has that version."""

    namespace: bytes
    name: bytes
    generation: bytes
    body: bytes
    schema: str
    fresh_for: timedelta
    keep_for: timedelta
    only_if: Version | None = None


@final
class Forget(NamedTuple):
    """Make the record a tombstone, which is kept for ``keep_for``; every lease is outrun."""

    namespace: bytes
    name: bytes
    generation: bytes
    keep_for: timedelta


@final
class Expire(NamedTuple):
    """End the freshness of the record, whose body stays; every lease is outrun. What is absent becomes a tombstone
    without a word: no older load may fill it. With a ``lease``, only where a fill under it would count.
    """

    namespace: bytes
    name: bytes
    generation: bytes
    keep_for: timedelta
    lease: Lease | None = None


@final
class Release(NamedTuple):
    """Give a lease back: the load failed, or was given up."""

    namespace: bytes
    name: bytes
    generation: bytes
    lease: Lease


Tell: TypeAlias = Fill | Put | Forget | Expire | Release
"""What a process tells a store."""


@final
class Kept(NamedTuple):
    """It was written; ``version`` is that of the record now."""

    version: Version


@final
class Outrun(NamedTuple):
    """It was refused: something newer is there, or the record is another one."""


Verdict: TypeAlias = Kept | Outrun
"""What a store answers to a ``Tell``."""


class How(Enum):
    """What another process did to a record; its values are what ``ChangedElsewhere`` says."""

    SET = "set"
    DELETED = "deleted"
    EXPIRED = "expired"


@final
class Wrote(NamedTuple):
    """Another process wrote the record of ``name``, whose version is this one since."""

    name: bytes
    generation: bytes
    how: How
    version: Version


class Listener(Protocol):
    """Who hears at once what other processes write. It is called in a thread of the store's, and takes no long time."""

    def wrote(self, wrote: Wrote, /) -> object:
        """Another process wrote a record."""
        ...

    def cleared(self, generation: bytes, /) -> object:
        """Another process gave the namespace this generation."""
        ...

    def lost(self, failure: StoreFailure, /) -> object:
        """Nothing is heard from now on, for this reason: it is told once."""
        ...

    def back(self, lost_for: timedelta, /) -> object:
        """Something is heard again, after so long."""
        ...


class Pushing(Protocol):
    """What a store may have beside the methods of ``Store``: it tells at once of what other processes write.

    That spares nobody to ask: what is said may be lost at any moment, and in silence.
    """

    def listen(self, namespace: bytes, listener: Listener, /) -> bool:
        """Tell ``listener`` of what other processes write, as long as it lives; say whether the store does so."""
        ...


class Store(Protocol):
    """What holds records. It is safe between threads, raises nothing, and answers within a timeout of its own.

    Each message is one round trip; of several asks or tells each is answered by itself, in their order.
    """

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        """Look up records, and take leases."""
        ...

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        """Write records, and give leases back."""
        ...

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        """Give ``namespace`` a new generation: no record of an older one is found any more."""
        ...

    def probe(self, namespace: bytes, /) -> Result[None, StoreFailure]:
        """Say whether the store answers, and takes what is told of ``namespace``."""
        ...

    def reset_after_fork(self) -> None:
        """Forget every connection, as the child of a fork must, which shares them with its parent."""

    def close(self) -> None:
        """End the use of the store; what is stored stays."""
