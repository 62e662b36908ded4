"""What is stored for one key, what a call has to do, and what came of a load: the vocabulary of ``transitions``.

An entry is the cache's last word on one key: **an answer, and the instant until which it stands**.

- ``Fresh``: the answer is the value, until its TTL is over.
- ``Early``: the same, where refresh-ahead is due before that: the answer stands until the early load is due.
- ``Extended``: a load of an expired value failed, and the failure was covered.
  The answer is the old value, marked stale and with the error, until the extension is over.
- ``Refused``: a load of an expired value failed, and the failure was not covered.
  The answer is the failure, where failures are remembered, or else no answer stands; the value is kept.
- ``NegativelyCached``: a load failed where there was no value. The answer is the failure.
- ``Shared``: any of these, where a store beside the cache is asked again before the answer stands any longer.
"""

from enum import Enum
from typing import Final, Generic, TypeAlias, TypeVar, final

from returns.result import Result

from lastcache.core.values import value
from lastcache.records import CachedValue, LoadFailure

V = TypeVar("V")
E = TypeVar("E")
V_co = TypeVar("V_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

Outcome: TypeAlias = Result[V, LoadFailure[E]]
"""What a callback returned."""

Answer: TypeAlias = Result[CachedValue[V, E], E]
"""What a caller gets."""

NEVER: Final = -(1 << 62)
"""An ``until`` that no clock has ever reached: the answer stands at no instant."""


@final
@value
class Fresh(Generic[V_co, E_co]):
    """A loaded or set value. ``until`` is the end of its freshness."""

    answer: Answer[V_co, E_co]
    until: int


@final
@value
class RefreshAhead(Generic[V_co, E_co]):
    """A loaded or set value whose early load is due past ``until``; it is fresh until ``fresh_until``, later on."""

    answer: Answer[V_co, E_co]
    until: int
    fresh_until: int


@final
@value
class Extended(Generic[V_co, E_co]):
    """An expired value that a covered failure gave again. ``until`` is the end of the extension.

    ``extension`` is how long it would be without jitter: the measure of the next, where extensions grow.
    """

    answer: Answer[V_co, E_co]
    until: int
    fresh_until: int
    extension: int


@final
@value
class Refused(Generic[V_co, E_co]):
    """An expired value that the last failure did not allow to give. ``expired_at`` is the deadline that it missed."""

    answer: Answer[V_co, E_co]
    until: int
    cached: CachedValue[V_co, E_co]
    expired_at: int
    fresh_until: int


@final
@value
class NegativelyCached(Generic[V_co, E_co]):
    """A failure of a key without a value. ``until`` is how long it is remembered."""

    answer: Answer[V_co, E_co]
    until: int


Stored: TypeAlias = Fresh[V, E] | RefreshAhead[V, E] | Extended[V, E] | Refused[V, E]
"""What holds a value."""

Entry: TypeAlias = Stored[V, E] | NegativelyCached[V, E]
"""What is stored for one key."""


class Strategy(Enum):
    """What an expired value is good for: to cover a failure, or to be given before the load.

    With a soft timeout a caller who waits for the first is given the second.
    """

    STALE_IF_ERROR = "stale-if-error"
    STALE_IF_SLOW = "stale-if-error, with a soft timeout"
    STALE_WHILE_REVALIDATE = "stale-while-revalidate"


@final
@value
class Serve(Generic[V_co, E_co]):
    """Give this answer; it still stands."""

    answer: Answer[V_co, E_co]


@final
@value
class ServeAndRefresh(Generic[V_co, E_co]):
    """Give this answer, which is fresh, and see to it that an early load is under way; nobody waits for that."""

    answer: Answer[V_co, E_co]


@final
@value
class Revalidate(Generic[V_co, E_co]):
    """Give this stale value at once, and see to it that a load is under way."""

    cached: CachedValue[V_co, E_co]


@final
@value
class Load:
    """Run the caller's own callback; a queued load of the key is taken over."""


@final
@value
class Join:
    """Wait for the load under way."""


Decision: TypeAlias = Serve[V, E] | ServeAndRefresh[V, E] | Revalidate[V, E] | Load | Join
"""What a call has to do."""

LOAD: Final = Load()
JOIN: Final = Join()


Transition: TypeAlias = tuple[Answer[V, E], Entry[V, E] | None]
"""The answer for those who waited for a load, and what is stored from now on."""


@final
@value
class Shared(Generic[V_co, E_co, R_co]):
    """An entry, trusted until ``trusted_until``. ``version`` is that of the record it came from.

    Its answer stands until ``until``: as long as that of the entry, and no longer than it is trusted.
    """

    answer: Answer[V_co, E_co]
    until: int
    entry: Entry[V_co, E_co]
    version: R_co | None
    trusted_until: int


Known: TypeAlias = Entry[V, E] | Shared[V, E, R] | None
"""What a process knows of a key."""


@final
@value
class Check(Generic[V_co, E_co]):
    """Ask the store whether this answer, which stands, is still its own."""

    answer: Answer[V_co, E_co]


def plain(known: Known[V, E, R]) -> Entry[V, E] | None:
    """Give the entry itself."""
    return known.entry if isinstance(known, Shared) else known
