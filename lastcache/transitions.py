"""What the cache may answer, and what it stores next: every rule of freshness, and nothing else.

An entry is the cache's last word on one key: **an answer, and the instant until which it stands**.
While ``now <= entry.until`` the answer is given without another thought; only this file computes that instant.

- ``Fresh``: the answer is the value, until its TTL is over.
- ``Extended``: a load of an expired value failed, and the failure allowed stale data (``use_stale``).
  The answer is the old value, marked stale and with the error, until the extension is over.
- ``Refused``: a load of an expired value failed, and the failure did not allow stale data.
  No answer stands; the value is kept for a later failure that does.

::

                   success                         failure, use_stale
    missing ------------------> Fresh ---- TTL ----> (expired) ------------> Extended
                                  ^                   |     ^                   |
                                  |           success |     +-- extension over -+
                                  +-------------------+     |
                                  ^                         v  failure, not use_stale
                                  +------- success ------ Refused

``lookup`` says what a call has to do: serve, revalidate behind a stale answer, load, or join the load under way.
``settle`` says what becomes of the outcome of a load: the answer for those who waited, and the next entry.
RFC 5861 names the two strategies.

There are two rules about this file:

1. Every rule of freshness lives here. A rule found elsewhere is a bug.
2. This file never knows the time. ``now`` is an argument, in nanoseconds on any clock that does not go back,
   and a deadline is inclusive: an answer still stands at the very instant that it names.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final, Generic, Never, TypeAlias, TypeVar, final

from returns.pipeline import is_successful
from returns.result import Failure, Result, Success

from lastcache.config import Policy
from lastcache.records import CachedValue, LoadFailure

V = TypeVar("V")
E = TypeVar("E")
V_co = TypeVar("V_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)

Outcome: TypeAlias = Result[V, LoadFailure[E]]
"""What a callback returned."""

Answer: TypeAlias = Result[CachedValue[V, E], E]
"""What a caller gets."""

NEVER: Final = -(1 << 62)
"""An ``until`` that no clock has ever reached: the answer stands at no instant."""


@final
@dataclass(frozen=True, slots=True)
class Fresh(Generic[V_co, E_co]):
    """A loaded or set value. ``until`` is the end of its freshness."""

    answer: Answer[V_co, E_co]
    until: int


@final
@dataclass(frozen=True, slots=True)
class Extended(Generic[V_co, E_co]):
    """An expired value that a failure allowed to give again. ``until`` is the end of the extension."""

    answer: Answer[V_co, E_co]
    until: int
    fresh_until: int


@final
@dataclass(frozen=True, slots=True)
class Refused(Generic[V_co, E_co]):
    """An expired value that the last failure did not allow to give. ``expired_at`` is the deadline that it missed."""

    answer: Answer[V_co, E_co]
    until: int
    cached: CachedValue[V_co, E_co]
    expired_at: int
    fresh_until: int


Entry: TypeAlias = Fresh[V, E] | Extended[V, E] | Refused[V, E]
"""What is stored for one key."""


class Strategy(Enum):
    """What an expired value is good for."""

    STALE_IF_ERROR = "stale-if-error"
    STALE_WHILE_REVALIDATE = "stale-while-revalidate"


class Traffic(Enum):
    """How far the load of a key has come: there is none, it waits for a worker, or its callback runs."""

    NONE = "none"
    QUEUED = "queued"
    RUNNING = "running"


@final
@dataclass(frozen=True, slots=True)
class Serve(Generic[V_co, E_co]):
    """Give this answer; it still stands."""

    answer: Answer[V_co, E_co]


@final
@dataclass(frozen=True, slots=True)
class Revalidate(Generic[V_co, E_co]):
    """Give this stale value at once, and see to it that a load is under way."""

    cached: CachedValue[V_co, E_co]


@final
@dataclass(frozen=True, slots=True)
class Load:
    """Run the caller's own callback; a queued load of the key is taken over."""


@final
@dataclass(frozen=True, slots=True)
class Join:
    """Wait for the load under way."""


Decision: TypeAlias = Serve[V, E] | Revalidate[V, E] | Load | Join
"""What a call has to do."""

LOAD: Final = Load()
JOIN: Final = Join()


@final
@dataclass(frozen=True, slots=True)
class Transition(Generic[V_co, E_co]):
    """The answer for those who waited for a load, and what is stored from now on."""

    answer: Answer[V_co, E_co]
    entry: Entry[V_co, E_co] | None


def lookup(strategy: Strategy, entry: Entry[V, E] | None, traffic: Traffic, now: int) -> Decision[V, E]:
    """Decide what a call has to do.

    Law: ``now <= entry.until`` implies ``Serve(entry.answer)``.
    """
    if entry is not None and now <= entry.until:
        return Serve(entry.answer)
    if strategy is Strategy.STALE_WHILE_REVALIDATE and isinstance(entry, Fresh | Extended):
        return Revalidate(view(entry, now))
    return JOIN if traffic is Traffic.RUNNING else LOAD


def fresh(policy: Policy, value: V, now: int) -> Fresh[V, Never]:
    """Make the entry of a value that came in at ``now``."""
    return Fresh(Success(CachedValue(value)), now + policy.global_ttl)


def settle(policy: Policy, entry: Entry[V, E] | None, outcome: Outcome[V, E], now: int) -> Transition[V, E]:
    """Decide what becomes of an outcome that came in at ``now``, where nothing outran the load.

    Laws: a success is fresh until ``now + global_ttl``, whatever was stored before.
    A failure changes neither the stored value nor the end of its freshness,
    and it changes nothing at all while the stored answer still stands.
    """
    if is_successful(outcome):
        entered = fresh(policy, outcome.unwrap(), now)
        return Transition(entered.answer, entered)
    failure = outcome.failure()
    if entry is None:
        return Transition(Failure(failure.err), None)
    if now <= entry.until:
        return Transition(entry.answer, entry)
    settled = _extend(policy, entry, failure.err, now) if failure.use_stale else _refuse(entry, failure.err)
    return Transition(settled.answer, settled)


def outrun(entry: Entry[V, E] | None, outcome: Outcome[V, E], now: int) -> Answer[V, E]:
    """Decide the answer of a load that a newer write outran; it changes nothing that is stored.

    Who waited for it gets its value; in place of a failure, the newer entry's answer where that stands.
    """
    if is_successful(outcome):
        return Success(CachedValue(outcome.unwrap()))
    if entry is not None and now <= entry.until:
        return entry.answer
    return Failure(outcome.failure().err)


def expire(entry: Entry[V, E], now: int) -> Entry[V, E]:
    """End the answer that stands, just before ``now``; the value stays good for a failure to come.

    An expired entry stays as it is.
    """
    if now > entry.until:
        return entry
    match entry:
        case Fresh(answer):
            return Fresh(answer, now - 1)
        case Extended(answer, fresh_until=fresh_until):
            return Extended(answer, now - 1, fresh_until)
        case Refused():
            return entry


def view(entry: Entry[V, E], now: int) -> CachedValue[V, E]:
    """Show the stored value as it is at ``now``: an expired one is marked stale, with the last error, if any."""
    match entry:
        case Fresh(answer, until):
            return answer.unwrap() if now <= until else CachedValue(answer.unwrap().value, stale=True)
        case Extended(answer):
            return answer.unwrap()
        case Refused(cached=cached):
            return cached


def deadline(entry: Entry[V, E]) -> int:
    """Give the instant past which the value counts as expired."""
    return entry.expired_at if isinstance(entry, Refused) else entry.until


def fresh_until(entry: Entry[V, E]) -> int:
    """Give the instant past which the value counts as stale: no failure moves it."""
    return entry.until if isinstance(entry, Fresh) else entry.fresh_until


def kept_error(entry: Entry[object, object] | None) -> object:
    """Give the error that is stored with ``entry``."""
    match entry:
        case None | Fresh():
            return None
        case Extended(answer):
            return answer.unwrap().err
        case Refused(cached=cached):
            return cached.err


def _extend(policy: Policy, entry: Entry[V, E], err: E, now: int) -> Extended[V, E]:
    until = now + policy.extend_ttl if policy.extend_ttl else deadline(entry)
    return Extended(Success(_covering(entry, err)), until, fresh_until(entry))


def _refuse(entry: Entry[V, E], err: E) -> Refused[V, E]:
    return Refused(Failure(err), NEVER, _covering(entry, err), deadline(entry), fresh_until(entry))


def _covering(entry: Entry[V, E], err: E) -> CachedValue[V, E]:
    cached = entry.cached if isinstance(entry, Refused) else entry.answer.unwrap()
    return CachedValue(cached.value, stale=True, err=err)
