"""What the cache may answer, and what it stores next: every rule of freshness, and nothing else.

An entry is the cache's last word on one key: an answer, and the instant until which it stands (see ``states``).
While ``now <= entry.until`` the answer is given without another thought; only this file computes that instant.

::

                   success                         covered failure
    missing ------------------> Fresh ---- TTL ----> (expired) ------------> Extended
      |  ^                        ^                   |     ^                   |
      |  | negative_ttl over      |           success |     +-- extension over -+
      v  |                        +-------------------+     |
    NegativelyCached                    ^                         v  failure that is not covered
      ^                                 +------- success ------ Refused
      |
      +---- failure that forgets, from everywhere; missing, where it is not remembered

A failure is *covered* if it allows stale data (``use_stale``) and comes no later than ``stale_if_error`` after the end
of the value's freshness. A value is given ahead of its load no later than ``stale_while_revalidate`` after that end.
RFC 5861 names the two strategies and the two windows.

``lookup`` says what a call has to do: serve, renew or revalidate behind an answer, load, or join the load under way.
``settle`` says what becomes of the outcome of a load: the answer for those who waited, and the next entry.

There are two rules about this file:

1. Every rule of freshness lives here. A rule found elsewhere is a bug.
2. This file never knows the time, nor chance. ``now`` is an argument, in nanoseconds on any clock that does not go
   back, and a deadline is inclusive: an answer still stands at the very instant that it names. ``draw`` is an argument,
   too: a number from 0 to 1 that was drawn for jitter.
"""

from typing import Final, Never, TypeVar

from returns.result import Failure, Success

from lastcache._checks import nanoseconds
from lastcache.core.policy import Policy
from lastcache.core.states import (
    JOIN,
    LOAD,
    NEVER,
    Answer,
    Decision,
    Entry,
    Extended,
    Fresh,
    NegativelyCached,
    Outcome,
    RefreshAhead,
    Refused,
    Revalidate,
    Serve,
    ServeAndRefresh,
    Stored,
    Strategy,
    Transition,
)
from lastcache.core.traffic import Running, Traffic
from lastcache.core.values import SUCCESS
from lastcache.records import CachedValue, LoadFailure

V = TypeVar("V")
E = TypeVar("E")

GIVES_A_VALUE: Final = (Fresh, RefreshAhead, Extended)
"""The states whose answer is a value."""


def lookup(
    policy: Policy,
    strategy: Strategy,
    entry: Entry[V, E] | None,
    traffic: Traffic[object, object] | None,
    now: int,
) -> Decision[V, E]:
    """Decide what a call has to do.

    Law: ``now <= entry.until`` implies ``Serve(entry.answer)``.
    """
    if entry is None:
        return JOIN if isinstance(traffic, Running) else LOAD
    if now <= entry.until:
        return Serve(entry.answer)
    if isinstance(entry, RefreshAhead) and now <= entry.fresh_until:
        return ServeAndRefresh(entry.answer)
    if (
        strategy is not Strategy.STALE_IF_ERROR
        and isinstance(entry, GIVES_A_VALUE)
        and now <= fresh_until(entry) + policy.stale_while_revalidate
    ):
        return Revalidate(view(entry, now))
    return JOIN if isinstance(traffic, Running) else LOAD


def fresh(
    policy: Policy, value: V, now: int, *, ttl: int | None = None, draw: float = 0.0
) -> Fresh[V, Never] | RefreshAhead[V, Never]:
    """Make the entry of a value that came in at ``now``; ``ttl`` is its own, if it has one, and 0 makes it expired."""
    lasts_for = policy.global_ttl if ttl is None else ttl
    if policy.jitter:
        lasts_for = _shortened(policy, lasts_for, draw)
    until = now + lasts_for if lasts_for else now - 1
    answer = Success(CachedValue(value, False, None, until))  # noqa: FBT003  # by position it takes half as long
    if policy.refresh_after < lasts_for:
        return RefreshAhead(answer, now + policy.refresh_after, until)
    return Fresh(answer, until)


def settle(
    policy: Policy,
    entry: Entry[V, E] | None,
    outcome: Outcome[V, E],
    now: int,
    *,
    ttl: int | None = None,
    draw: float = 0.0,
) -> Transition[V, E]:
    """Decide what becomes of an outcome that came in at ``now``, where nothing outran the load.

    Laws: a success is fresh for its TTL, whatever was stored before.
    A failure that forgets leaves no value, whatever was stored before.
    Any other failure changes neither the stored value nor the end of its freshness,
    and it changes nothing that is answered while the value is fresh or the stored answer stands.
    """
    if type(outcome) is SUCCESS:
        entered = fresh(policy, outcome.unwrap(), now, ttl=ttl, draw=draw)
        return entered.answer, entered
    failure = outcome.failure()
    if failure.forget:
        return _denied(policy, failure, now)
    if entry is not None and now <= entry.until:
        return entry.answer, entry
    if entry is None or isinstance(entry, NegativelyCached) or dead(policy, entry, now):
        return _denied(policy, failure, now)
    return _settle_failure(policy, entry, failure, now, draw)


def _settle_failure(
    policy: Policy, entry: Stored[V, E], failure: LoadFailure[E], now: int, draw: float
) -> Transition[V, E]:
    if isinstance(entry, RefreshAhead) and now <= entry.fresh_until:
        return entry.answer, _put_off(policy, entry, now)
    covered = failure.use_stale and now <= fresh_until(entry) + policy.stale_if_error
    settled = _extend(policy, entry, failure.err, now, draw) if covered else _refuse(policy, entry, failure, now)
    return settled.answer, settled


def outrun(entry: Entry[V, E] | None, outcome: Outcome[V, E], now: int) -> Answer[V, E]:
    """Decide the answer of a load that a newer write outran; it changes nothing that is stored.

    Who waited for it gets its value; in place of a failure, the newer entry's answer where that gives a value.
    """
    if type(outcome) is SUCCESS:
        return Success(CachedValue(outcome.unwrap(), fresh_until=now))
    if isinstance(entry, GIVES_A_VALUE) and now <= deadline(entry):
        return entry.answer
    return Failure(outcome.failure().err)


def expire(entry: Entry[V, E], now: int) -> Entry[V, E] | None:
    """End the answer that stands, just before ``now``; the value stays good for a failure to come.

    An expired entry stays as it is; a failure is remembered no longer.
    """
    match entry:
        case NegativelyCached():
            return None
        case Refused(answer, until, cached, expired_at, fresh_until):
            return entry if until < now else Refused(answer, NEVER, cached, expired_at, fresh_until)
        case Fresh() | RefreshAhead() | Extended() if now > deadline(entry):
            return entry
        case Fresh(answer) | RefreshAhead(answer):
            return Fresh(Success(CachedValue(answer.unwrap().value, fresh_until=now - 1)), now - 1)
        case Extended(answer, _, fresh_until, extension):
            return Extended(answer, now - 1, fresh_until, extension)


def dead(policy: Policy, entry: Entry[object, object], now: int) -> bool:
    """Say whether ``entry`` can never be given again: it is past both windows, or what it remembered."""
    if now <= entry.until:
        return False
    if isinstance(entry, NegativelyCached):
        return True
    return now > fresh_until(entry) + max(policy.stale_if_error, policy.stale_while_revalidate)


def view(entry: Stored[V, E], now: int) -> CachedValue[V, E]:
    """Show the stored value as it is at ``now``: an expired one is marked stale, with the last error, if any."""
    match entry:
        case Fresh(answer) | RefreshAhead(answer):
            ends_at = deadline(entry)
            return answer.unwrap() if now <= ends_at else CachedValue(answer.unwrap().value, True, None, ends_at)  # noqa: FBT003
        case Extended(answer):
            return answer.unwrap()
        case Refused(cached=cached):
            return cached


def deadline(entry: Stored[object, object]) -> int:
    """Give the instant past which the value counts as expired."""
    match entry:
        case Refused(expired_at=expired_at):
            return expired_at
        case RefreshAhead(fresh_until=fresh_until):
            return fresh_until
        case Fresh(until=until) | Extended(until=until):
            return until


def fresh_until(entry: Stored[object, object]) -> int:
    """Give the instant past which the value counts as stale: no failure moves it."""
    return entry.until if isinstance(entry, Fresh) else entry.fresh_until


def kept_error(entry: Entry[V, E] | None) -> E | None:
    """Give the error that is stored with ``entry``."""
    match entry:
        case None | Fresh() | RefreshAhead():
            return None
        case Extended(answer):
            return answer.unwrap().err
        case Refused(cached=cached):
            return cached.err
        case NegativelyCached(answer):
            return answer.failure()


def _extend(policy: Policy, entry: Stored[V, E], err: E, now: int, draw: float) -> Extended[V, E]:
    extension = _grown(policy, entry.extension) if isinstance(entry, Extended) else policy.extend_ttl
    ends_at = now + _shortened(policy, extension, draw) if extension else deadline(entry)
    until = min(ends_at, fresh_until(entry) + policy.stale_if_error)
    return Extended(Success(_covering(entry, err)), until, fresh_until(entry), extension)


def _refuse(policy: Policy, entry: Stored[V, E], failure: LoadFailure[E], now: int) -> Refused[V, E]:
    lasts_for = _remembered_for(policy, failure)
    until = now + lasts_for if lasts_for else NEVER
    return Refused(Failure(failure.err), until, _covering(entry, failure.err), deadline(entry), fresh_until(entry))


def _denied(policy: Policy, failure: LoadFailure[E], now: int) -> Transition[Never, E]:
    """Answer with a failure where there is no value any more, and remember it where it is to be remembered."""
    answer = Failure(failure.err)
    lasts_for = _remembered_for(policy, failure)
    return answer, NegativelyCached(answer, now + lasts_for) if lasts_for else None


def _remembered_for(policy: Policy, failure: LoadFailure[object]) -> int:
    """Give for how long an answer that is this failure stands: it has the last word."""
    return policy.negative_ttl if failure.remember_for is None else nanoseconds(failure.remember_for)


def _put_off(policy: Policy, entry: RefreshAhead[V, E], now: int) -> Fresh[V, E] | RefreshAhead[V, E]:
    """Wait with the next early load, for as long as after a covered failure; without extensions it is the last."""
    again_at = now + policy.extend_ttl
    if policy.extend_ttl and again_at < entry.fresh_until:
        return RefreshAhead(entry.answer, again_at, entry.fresh_until)
    return Fresh(entry.answer, entry.fresh_until)


def _grown(policy: Policy, extension: int) -> int:
    """Give the extension after the next covered failure in a row: longer by ``backoff``, up to a bound."""
    if policy.backoff == 1:
        return extension
    return int(min(extension * policy.backoff, max(policy.extend_ttl, policy.global_ttl)))


def _shortened(policy: Policy, duration: int, draw: float) -> int:
    """Shorten ``duration`` by jitter, never to nothing."""
    return max(duration - int(duration * policy.jitter * draw), 1) if policy.jitter and duration else duration


def _covering(entry: Stored[V, E], err: E) -> CachedValue[V, E]:
    cached = entry.cached if isinstance(entry, Refused) else entry.answer.unwrap()
    return CachedValue(cached.value, True, err, fresh_until(entry))  # noqa: FBT003
