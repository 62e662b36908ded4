"""What a reader may demand: that no value be given that is staler than so long past its freshness.

A demand narrows what the policy gives, and never widens it: what the policy lets go is gone. The load that a reader
leads or joins is settled by the policy, for all; the demand is applied to each reader's own answer.

A strict reader must not undo the pause that spares the source. Where an extended value stands, it is given the failure
behind that value, without a call, as long as the extension stands.

The model is ``max-stale`` of HTTP (RFC 9111, section 5.2.1.2), without its licence to go beyond the policy.
"""

from typing import TypeVar

from returns.result import Failure

from lastcache.core.policy import Policy
from lastcache.core.states import JOIN, LOAD, Answer, Decision, Entry, Revalidate, Serve, Strategy
from lastcache.core.traffic import Running, Traffic
from lastcache.core.transitions import lookup
from lastcache.core.values import SUCCESS
from lastcache.records import CachedValue

V = TypeVar("V")
E = TypeVar("E")


def demanded(
    policy: Policy,
    strategy: Strategy,
    entry: Entry[V, E] | None,
    traffic: Traffic[object, object] | None,
    now: int,
    max_stale: int,
) -> Decision[V, E]:
    """Decide as ``lookup`` does, for a reader who takes nothing staler than ``max_stale`` nanoseconds.

    Laws: with ``FOREVER`` it is ``lookup``. Who takes what is staler gets what one who takes less gets. Where an answer
    stands, nothing is loaded that ``lookup`` would not load.
    """
    decision = lookup(policy, strategy, entry, traffic, now)
    match decision:
        case Serve(answer):
            fitting = narrowed(answer, now, max_stale)
            return decision if fitting is None else Serve(fitting)
        case Revalidate(cached) if is_too_stale(cached, now, max_stale):
            return JOIN if isinstance(traffic, Running) else LOAD
        case _:
            return decision


def narrowed(answer: Answer[V, E], now: int, max_stale: int) -> Answer[V, E] | None:
    """Give what a reader with a demand gets of an answer: the failure behind a value that is too stale for it.

    None where no failure is behind it: such a value was given ahead of its load, which is then waited for.
    """
    if type(answer) is not SUCCESS:
        return answer
    cached = answer.unwrap()
    if not is_too_stale(cached, now, max_stale):
        return answer
    return None if cached.err is None else Failure(cached.err)


def is_too_stale(cached: CachedValue[object, object], now: int, max_stale: int) -> bool:
    """Say whether a stale value is staler than ``max_stale``."""
    return cached.stale and now > cached.fresh_until + max_stale
