"""Whether a store beside the cache may be asked: a breaker, as a pure state machine.

::

    Closed ---- failed ----> Away ---- its time has come ----> Probing
      ^                       ^                                   |
      |                       +------------- failed --------------+
      +--------------------------------- answered ----------------+

One failure opens it. While it is open nobody asks, so that nobody waits; one probe at a time finds out whether the
store is back. The wait before a probe doubles, from 100 ms to 2 s. Instants are in nanoseconds of the cache's clock.
"""

from typing import Final, TypeAlias, final

from lastcache.core.values import value

FIRST_WAIT: Final = 100_000_000
LONGEST_WAIT: Final = 2_000_000_000


@final
@value
class Closed:
    """The store answers."""


@final
@value
class Away:
    """The store has not answered since ``since``; a probe is due at ``probe_at``, after a wait of ``wait``."""

    since: int
    probe_at: int
    wait: int


@final
@value
class Probing:
    """A probe is under way."""

    since: int
    wait: int


Breaker: TypeAlias = Closed | Away | Probing
"""What is known of the store."""

CLOSED: Final = Closed()


def may_ask(breaker: Breaker) -> bool:
    """Say whether the store may be asked.

    >>> may_ask(CLOSED), may_ask(failed(CLOSED, now=0))
    (True, False)
    """
    return isinstance(breaker, Closed)


def failed(breaker: Breaker, now: int) -> Breaker:
    """A call of the store failed. Calls that began before it was away change nothing."""
    return Away(now, now + FIRST_WAIT, FIRST_WAIT) if isinstance(breaker, Closed) else breaker


def is_due(breaker: Breaker, now: int) -> bool:
    """Say whether a probe is due: never two at a time."""
    return isinstance(breaker, Away) and now >= breaker.probe_at


def begin_probe(breaker: Breaker, now: int) -> Breaker:
    """Begin a probe, if one is due."""
    if isinstance(breaker, Away) and is_due(breaker, now):
        return Probing(breaker.since, breaker.wait)
    return breaker


def probed(breaker: Breaker, now: int, *, answered: bool) -> Breaker:
    """A probe has ended; one that nobody waits for any more changes nothing."""
    match breaker:
        case Probing() if answered:
            return CLOSED
        case Probing(since, wait):
            longer = min(2 * wait, LONGEST_WAIT)
            return Away(since, now + longer, longer)
        case Closed() | Away():
            return breaker
