"""Why a key answers as it does: what a call would do now, and until when. It knows no rule of its own."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, Literal, NamedTuple, TypeAlias, TypeVar, final

from returns.maybe import Maybe, Nothing, Some
from returns.result import Success

from lastcache._checks import duration_of
from lastcache.core.demands import demanded
from lastcache.core.policy import FOREVER, Policy
from lastcache.core.states import (
    Check,
    Decision,
    Entry,
    Extended,
    Fresh,
    Join,
    Load,
    NegativelyCached,
    RefreshAhead,
    Refused,
    Revalidate,
    Serve,
    ServeAndRefresh,
    Strategy,
)
from lastcache.core.traffic import Running, Traffic
from lastcache.core.transitions import dead, fresh_until, kept_error

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
K_co = TypeVar("K_co", covariant=True)
V_co = TypeVar("V_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)

State: TypeAlias = Literal["missing", "fresh", "due early", "expired", "extended", "refused", "remembered"]
UnderWay: TypeAlias = Literal["none", "queued", "running"]
StoreWord: TypeAlias = Literal["is asked before a load", "is still to be told of a change", "is away"]

WORDS: Final[dict[type[object], str]] = {
    Serve: "is served",
    ServeAndRefresh: "is served, and an early load begins behind it",
    Revalidate: "is given the stale value at once, and a load runs behind it",
    Load: "loads, and waits for that",
    Join: "waits for the load that runs",
    Check: "is served, once the store has said that nothing newer is there",
}
REFUSED: Final = "is given the failure that stands"
SOFTLY: Final = "waits for a load, but no longer than the soft timeout: then it is given the stale value"
REASONS: Final[dict[State, str]] = {
    "missing": "nothing is stored",
    "fresh": "the value is fresh",
    "due early": "the value is fresh, and its early load is due",
    "expired": "the value is past its freshness",
    "extended": "the last load failed, and stale data covers that",
    "refused": "the last load failed in a way that stale data must not cover",
    "remembered": "the last load failed, there is no value, and the failure is remembered",
}


@final
class QueuePlace(NamedTuple):
    """The place of a background load in the queue, from 1 on, and how many are queued."""

    place: int
    length: int


@final
@dataclass(frozen=True, slots=True)
class Explanation(Generic[K_co, V_co, E_co]):
    """What a call for ``key`` by ``strategy`` would do now, and why; its text is a table to read at a glance.

    ``decision`` is what the core decides: one of ``Serve``, ``ServeAndRefresh``, ``Revalidate``, ``Load``, ``Join``.
    Durations count from now, and are negative for what is over; ``Nothing`` where there is no such bound.
    ``fresh_until``: the end of the value's freshness. ``stands_until``: until then the answer stands without a load.
    ``ahead_until``: until then the value may be given ahead of its load. ``covers_until``: until then it may cover a
    failure. ``queue`` is the place of its load in the queue, and ``running_for`` how long its load has been running.
    With a second level, ``store`` says what becomes of the store in a call, and ``trusted_until`` until when its last
    word is taken; past that the decision to serve is to ``Check`` first.
    """

    key: K_co
    strategy: Strategy
    state: State
    decision: Decision[V_co, E_co] | Check[V_co, E_co]
    traffic: UnderWay
    last_error: Maybe[E_co]
    fresh_until: Maybe[timedelta]
    stands_until: Maybe[timedelta]
    ahead_until: Maybe[timedelta]
    covers_until: Maybe[timedelta]
    queue: Maybe[QueuePlace]
    running_for: Maybe[timedelta]
    trusted_until: Maybe[timedelta] = Nothing
    store: Maybe[StoreWord] = Nothing

    def __str__(self) -> str:
        softly = self.strategy is Strategy.STALE_IF_SLOW and isinstance(self.decision, Revalidate)
        does = SOFTLY if softly else WORDS[type(self.decision)]
        if isinstance(self.decision, Serve) and not isinstance(self.decision.answer, Success):
            does = REFUSED
        lines = [f"{self.key!r}: a call {does} ({self.state}: {REASONS[self.state]})"]
        bounds = {
            "fresh": self.fresh_until,
            "stands": self.stands_until,
            "given ahead of a load": self.ahead_until,
            "covers failures": self.covers_until,
            "trusted": self.trusted_until,
        }
        lines += [_row(name, _distance(at.unwrap())) for name, at in bounds.items() if isinstance(at, Some)]
        if isinstance(self.last_error, Some):
            lines.append(_row("last error", repr(self.last_error.unwrap())))
        if isinstance(self.store, Some):
            lines.append(_row("the store", self.store.unwrap()))
        if self.traffic != "none":
            lines.append(_row("its load", self.traffic + self._load()))
        return "\n".join(lines)

    def _load(self) -> str:
        if isinstance(self.queue, Some):
            return f", place {self.queue.unwrap().place} of {self.queue.unwrap().length}"
        return f" for {_seconds(self.running_for.unwrap())}" if isinstance(self.running_for, Some) else ""


def explain(
    policy: Policy,
    strategy: Strategy,
    key: K,
    entry: Entry[V, E] | None,
    traffic: Traffic[object, object] | None,
    now: int,
    *,
    max_stale: int = FOREVER,
    queue: QueuePlace | None = None,
    began_at: int | None = None,
    trusted_until: int | None = None,
    store: StoreWord | None = None,
) -> Explanation[K, V, E]:
    """Explain what a call for ``key`` would do at ``now``; ``queue`` and ``began_at`` are those of the load under way.

    Laws: the decision is that of ``demanded``, which is that of ``lookup`` where nothing is demanded; what would be
    served past ``trusted_until`` is to be checked. While ``stands_until`` is not negative the decision is one of these.
    """
    decision: Decision[V, E] | Check[V, E] = demanded(policy, strategy, entry, traffic, now, max_stale)
    if isinstance(decision, Serve | ServeAndRefresh) and trusted_until is not None and now > trusted_until:
        decision = Check(decision.answer)
    known = None if entry is None or dead(policy, entry, now) else entry
    ends_at = None if known is None or isinstance(known, NegativelyCached) else fresh_until(known)
    ahead = None if isinstance(known, Refused) else min(policy.stale_while_revalidate, max_stale)
    error = kept_error(known)
    return Explanation(
        key=key,
        strategy=strategy,
        state=state_of(known, now),
        decision=decision,
        traffic="none" if traffic is None else "running" if isinstance(traffic, Running) else "queued",
        last_error=Nothing if error is None else Some(error),
        fresh_until=_from_now(ends_at, 0, now),
        stands_until=_from_now(known.until if known is not None and now <= known.until else None, 0, now),
        ahead_until=_from_now(ends_at, ahead, now),
        covers_until=_from_now(ends_at, policy.stale_if_error, now),
        queue=Nothing if queue is None else Some(queue),
        running_for=Nothing if began_at is None else Some(duration_of(max(0, now - began_at))),
        trusted_until=_from_now(trusted_until, 0, now),
        store=Nothing if store is None else Some(store),
    )


def state_of(entry: Entry[object, object] | None, now: int) -> State:
    """Name the state of an entry that is not dead.

    >>> state_of(None, 0)
    'missing'
    """
    match entry:
        case None:
            return "missing"
        case NegativelyCached():
            return "remembered"
        case Refused():
            return "refused"
        case Extended():
            return "extended" if now <= entry.until else "expired"
        case Fresh() | RefreshAhead():
            return "fresh" if now <= entry.until else "due early" if now <= fresh_until(entry) else "expired"


def _from_now(ends_at: int | None, longer: int | None, now: int) -> Maybe[timedelta]:
    if ends_at is None or longer is None or longer >= FOREVER:
        return Nothing
    return Some(duration_of(ends_at + longer - now))


def _row(name: str, text: str) -> str:
    return f"  {name:22} {text}"


def _distance(duration: timedelta) -> str:
    return f"until {_seconds(-duration)} ago" if duration < timedelta(0) else f"for {_seconds(duration)} more"


def _seconds(duration: timedelta) -> str:
    return f"{duration.total_seconds():.3f} s"
