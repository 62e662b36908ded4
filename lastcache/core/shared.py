"""Entries that a store beside the cache has vouched for, and what its answers make of them.

A process takes its own word on a key for as long as it *trusts* it, then asks the store. ``Shared`` wraps an entry with
the end of that trust: until then its answer stands as ever. After it, and while the entry itself still stands, the
decision is to ``Check``; after that, what it is for any entry.

::

    local, not trusted   Same      Held, fresh    Held, stale     Gone      Absent, Away
    missing              --        its value      its value       missing   missing
    fresh                trusted   its value      its value       missing   trusted
    expired              --        its value      the fresher     missing   as it is
    extended, refused    --        its value      the fresher     missing   as it is
    remembered failure   --        its value      its value       as it is  as it is

Where a stale record has another version than what is here, somebody wrote it: then its value counts, however old.
A loss is no delete: ``Absent`` and ``Away`` take nothing away. Windows count from the end of freshness that the store
told, so that they hold over processes and restarts.

There is one rule about this file: it decides what is known, never what may be given. That is for ``transitions``.
"""

from typing import Generic, TypeAlias, TypeVar, final

from returns.result import Success

from lastcache.core.policy import Policy
from lastcache.core.states import (
    Answer,
    Check,
    Decision,
    Entry,
    Extended,
    Fresh,
    Known,
    NegativelyCached,
    Outcome,
    RefreshAhead,
    Refused,
    Serve,
    ServeAndRefresh,
    Shared,
    Stored,
    Strategy,
    plain,
)
from lastcache.core.traffic import Traffic
from lastcache.core.transitions import expire, fresh_until, lookup, outrun, settle
from lastcache.core.values import SUCCESS, value
from lastcache.records import CachedValue

V = TypeVar("V")
E = TypeVar("E")
V_co = TypeVar("V_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@final
@value
class Held(Generic[V_co, R_co]):
    """The store has this value, fresh for so many nanoseconds more: negative where it is past its freshness."""

    value: V_co
    fresh_for: int
    version: R_co


@final
@value
class Same:
    """The store has what the process has, fresh for so many nanoseconds more."""

    fresh_for: int


@final
@value
class Gone(Generic[R_co]):
    """The value was deleted."""

    version: R_co


@final
@value
class Absent:
    """The store knows nothing."""


@final
@value
class NoAnswer:
    """The store did not answer."""


Found: TypeAlias = Held[V, R] | Same | Gone[R] | Absent | NoAnswer
"""What the store said, decoded."""


@final
@value
class Filled(Generic[R_co]):
    """The store took the value of a load; the record has this version now."""

    version: R_co


@final
@value
class Refuted:
    """The store refused the value of a load: something newer is there."""


Verdict: TypeAlias = Filled[R] | Refuted | NoAnswer
"""What the store said to the value of a load."""


def look_up(
    policy: Policy,
    strategy: Strategy,
    known: Known[V, E, R],
    traffic: Traffic[object, object] | None,
    now: int,
) -> Decision[V, E] | Check[V, E]:
    """Decide as ``lookup`` does, and to ask the store where an answer stands that is not trusted any more.

    Laws: ``now <= known.until`` implies ``Serve``. An entry that is not shared is decided by ``lookup`` alone.
    """
    decision = lookup(policy, strategy, plain(known), traffic, now)
    if isinstance(known, Shared) and now > known.trusted_until and isinstance(decision, Serve | ServeAndRefresh):
        return Check(known.answer)
    return decision


def trusted(entry: Entry[V, E], version: R | None, asked_at: int, trust: int) -> Shared[V, E, R]:
    """Take the store's word on ``entry``, that was asked for at ``asked_at``."""
    trusted_until = asked_at + trust
    return Shared(entry.answer, min(entry.until, trusted_until), entry, version, trusted_until)


def adopt(  # noqa: C901  # the table above
    policy: Policy, known: Known[V, E, R], found: Found[V, R], asked_at: int, now: int, trust: int
) -> Known[V, E, R]:
    """Make of what the store said what the process knows.

    Laws: to adopt twice is to adopt once. No value is fresh for longer than the store said, or trusted for longer than
    ``trust`` after it was asked. ``Absent`` and ``NoAnswer`` change no value; after ``Gone`` there is none.
    """
    entry = plain(known)
    version = known.version if isinstance(known, Shared) else None
    match found:
        case Absent() | NoAnswer():
            return known if entry is None or not isinstance(known, Shared) else trusted(entry, version, asked_at, trust)
        case Gone():
            return known if isinstance(entry, NegativelyCached) else None
        case Same(fresh_for):
            return None if entry is None else _confirmed(entry, version, asked_at + fresh_for, asked_at, trust)
        case Held(held, fresh_for, newer):
            if fresh_for < 0 and entry is not None and not isinstance(entry, NegativelyCached):
                if version == newer:
                    return trusted(entry, version, asked_at, trust)
                if not isinstance(known, Shared) and fresh_until(entry) >= asked_at + fresh_for:
                    return known
            received: Stored[V, E] = _received(policy, held, asked_at + fresh_for, now)
            return trusted(received, newer, asked_at, trust)


def _confirmed(entry: Entry[V, E], version: R | None, ends_at: int, asked_at: int, trust: int) -> Shared[V, E, R]:
    """The store has the same value: it is fresh no longer than either of them says. A failure since then stands."""
    if isinstance(entry, NegativelyCached | Extended | Refused):
        return trusted(entry, version, asked_at, trust)
    if ends_at >= fresh_until(entry):
        return trusted(entry, version, asked_at, trust)
    answer = Success(CachedValue(entry.answer.unwrap().value, fresh_until=ends_at))
    shorter = (
        Fresh(answer, ends_at) if isinstance(entry, Fresh) else RefreshAhead(answer, min(entry.until, ends_at), ends_at)
    )
    return trusted(shorter, version, asked_at, trust)


def written_elsewhere(known: Known[V, E, R], now: int, trust: int, *, deleted: bool) -> Known[V, E, R]:
    """Make of what another process wrote what this one knows, before it has asked.

    Laws: after a delete there is nothing; after anything else no value is fresh, and it covers failures as it did.
    """
    entry = plain(known)
    ended = None if entry is None or deleted else expire(entry, now)
    version = known.version if isinstance(known, Shared) else None
    return None if ended is None else trusted(ended, version, now, trust)


def left_to_others(known: Known[V, E, R], asked_at: int, trust: int) -> Known[V, E, R]:
    """Another process makes the early load that is due: it is not made here, and what that brings is asked for."""
    entry = plain(known)
    if not isinstance(entry, RefreshAhead):
        return known
    version = known.version if isinstance(known, Shared) else None
    return trusted(Fresh(entry.answer, entry.fresh_until), version, asked_at, trust)


def _received(policy: Policy, held: V, ends_at: int, now: int) -> Stored[V, E]:
    """Make the entry of a value of the store; where it is due for its early load that is told as well."""
    answer: Answer[V, E] = Success(CachedValue(held, fresh_until=ends_at))
    due_at = ends_at - policy.global_ttl + policy.refresh_after
    if now <= ends_at and policy.refresh_after < policy.global_ttl and due_at < ends_at:
        return RefreshAhead(answer, due_at, ends_at)
    return Fresh(answer, ends_at)


def settle_shared(
    policy: Policy,
    known: Known[V, E, R],
    outcome: Outcome[V, E],
    verdict: Verdict[R],
    began_at: int,
    now: int,
    trust: int,
    *,
    ttl: int | None = None,
    draw: float = 0.0,
) -> tuple[Answer[V, E], Known[V, E, R]]:
    """Decide what becomes of an outcome that was told to the store: as ``settle`` does, and how far it is trusted.

    What the store refused is for the load's own callers. What was loaded while the store did not answer is trusted from
    the begin of its load: a write elsewhere may have come in between. So is what a failure leaves, whose version stays.
    """
    entry = plain(known)
    if isinstance(verdict, Refuted):
        return outrun(entry, outcome, now), known
    answer, settled = settle(policy, entry, outcome, now, ttl=ttl, draw=draw)
    if settled is None:
        return answer, None
    if type(outcome) is not SUCCESS:
        version = known.version if isinstance(known, Shared) else None
        return answer, trusted(settled, version, began_at, trust)
    if isinstance(verdict, Filled):
        return answer, trusted(settled, verdict.version, now, trust)
    return answer, trusted(settled, None, began_at, trust)
