"""The state of a cache that has a second level: what its store says counts, too.

As in ``inflight``, here is what happens under the guard, and nothing else. The store is asked, and told, outside of it.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final, Generic, NamedTuple, TypeVar, cast, final

from lastcache._shell.flight import AGAIN, Again, Dropped, Flight, Landing, Stale, Unchecked
from lastcache._shell.inflight import DELETED, CacheState
from lastcache._shell.ledger import Body, Ledger
from lastcache._shell.level import Loan, Question
from lastcache._shell.marks import Mark, is_newer
from lastcache.config import Config
from lastcache.core.explain import StoreWord
from lastcache.core.owed import SetTo, Told
from lastcache.core.shared import (
    Filled,
    Found,
    Gone,
    Held,
    NoAnswer,
    Refuted,
    Verdict,
    adopt,
    left_to_others,
    look_up,
    settle_shared,
    trusted,
    written_elsewhere,
)
from lastcache.core.states import (
    Answer,
    Check,
    Entry,
    Join,
    Known,
    Load,
    Outcome,
    RefreshAhead,
    Revalidate,
    Serve,
    ServeAndRefresh,
    Shared,
    Strategy,
    plain,
)
from lastcache.core.traffic import Running, is_attached
from lastcache.core.transitions import expire, fresh, fresh_until, outrun
from lastcache.core.values import SUCCESS
from lastcache.second.options import SecondPolicy
from lastcache.second.protocol import How, Version, Want, Wrote

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")


HOWEVER_FRESH: Final = 10**18
"""A freshness, in nanoseconds, that no value has."""


@final
class Hearing(NamedTuple, Generic[K, V, E, C]):
    """A load that asks the store, and what it heard. Without a strategy it runs in the background."""

    strategy: Strategy | None
    key: K
    callback: C
    flight: Flight[V, E]
    found: Found[V, Mark] = NoAnswer()
    asked_at: int = 0

    @property
    def loads_early(self) -> bool:
        """Whether it makes the early load of a fresh value: no other process does, as far as can be known."""
        loan = self.flight.loan
        granted = loan is not None and loan.lease is not None
        return self.strategy is None and (granted or isinstance(self.found, NoAnswer))


@final
class SharedState(CacheState[K, V, E, C]):
    """The entries and loads of one cache with a second level; ``ledger`` is its account with the store."""

    __slots__ = ("_early_by", "_second", "ledger")

    def __init__(
        self,
        config: Config,
        timer: Callable[[], float],
        second: SecondPolicy,
        *,
        beside: "SharedState[K, V, E, C] | None" = None,
        watched: bool = False,
    ) -> None:
        super().__init__(config, timer, beside=beside, watched=watched)
        self._second = second
        early = self.policy.refresh_after < self.policy.global_ttl
        self._early_by = self.policy.global_ttl - self.policy.refresh_after if early else 0
        self.ledger: Ledger[K] = Ledger(second.owe_at_most) if beside is None else beside.ledger

    def store_word(self, key: K) -> StoreWord | None:
        """Say what becomes of the store in a call for ``key``."""
        if not self.ledger.is_there():
            return "is away"
        return "is asked before a load" if self.ledger.may_ask(key) else "is still to be told of a change"

    def draw(self) -> float:
        """Draw for jitter, where there is any."""
        return self._draw()

    def decide(
        self, now: int, strategy: Strategy, key: K, callback: C, flight: Flight[V, E]
    ) -> Answer[V, E] | Stale[K, V, E, C] | Flight[V, E] | Unchecked[V, E]:
        """Decide as every cache does; what stands, and is not trusted any more, has to be checked."""
        unchecked = self._check(now, strategy, key, callback)
        if unchecked is not None:
            return unchecked
        # A value that is past its freshness is given ahead of its load once the store has had its word.
        asks = strategy is not Strategy.STALE_IF_ERROR and self._asks_first(key)
        return super().decide(now, Strategy.STALE_IF_ERROR if asks else strategy, key, callback, flight)

    def stand_in(self, now: int, strategy: Strategy, key: K, callback: C) -> Answer[V, E] | Stale[K, V, E, C] | None:
        """Give what need not wait; what has to be asked for must."""
        unchecked = self._check(now, strategy, key, callback)
        if unchecked is None:
            return None if self._asks_first(key) else super().stand_in(now, strategy, key, callback)
        return None if isinstance(unchecked, Unchecked) else unchecked

    def _asks_first(self, key: K) -> bool:
        """Say whether a call has to ask the store: nobody does at this moment, and it may be asked."""
        return not self.closed and self.loads.find(key) is None and self.ledger.may_ask(key)

    def _check(self, now: int, strategy: Strategy, key: K, callback: C) -> Answer[V, E] | Unchecked[V, E] | None:
        """Give what is to be checked; its answer where that is given ahead, and checked behind it; None for neither."""
        known = self._known(key)
        if not isinstance(known, Shared) or now <= known.trusted_until or self.closed:
            return None
        if not isinstance(look_up(self.policy, strategy, known, None, now), Check):
            return None
        if strategy is not Strategy.STALE_WHILE_REVALIDATE or now > known.trusted_until + self._second.trust_for:
            return Unchecked(known)
        self._give(ServeAndRefresh(known.answer), key, callback)
        return known.answer

    def _needless(self, now: int, key: K) -> Answer[V, E] | None:
        decision = look_up(self.policy, Strategy.STALE_IF_ERROR, self._known(key), None, now)
        return decision.answer if isinstance(decision, Serve) else None

    def question(
        self,
        now: int,
        key: K,
        strategy: Strategy | None = Strategy.STALE_IF_ERROR,
        *,
        forced: bool = False,
        again: bool = False,
    ) -> Question | None:
        """Say what to ask the store about ``key``; None where it must not be asked.

        A load in the background has no strategy. No lease is asked for where the load is left to the background, which
        asks by itself: a lease that waits in a queue would keep other processes waiting.
        ``again``: the store has answered with what is of no use here, such as a value that has ended by the clock of
        this process. Then a lease is asked for, however fresh the store takes that to be.
        """
        if self.closed or not self.ledger.may_ask(key):
            return None
        known = self._known(key)
        version = known.version if isinstance(known, Shared) else None
        early = strategy is None and _is_due_early(known, now)
        decision = look_up(self.policy, strategy or Strategy.STALE_IF_ERROR, known, None, now)
        if isinstance(decision, Check | Serve | Revalidate) and not early:
            return Question(self.ledger.generation, version, Want.LOOK, 0)
        early_by = HOWEVER_FRESH if again else self._early_by if early else 0
        return Question(self.ledger.generation, version, Want.FORCE if forced else Want.LEASE, early_by)

    def hear(  # noqa: C901  # a table: what a call does by what is known now
        self, now: int, heard: Hearing[K, V, E, C]
    ) -> Answer[V, E] | Stale[K, V, E, C] | Again | None:
        """Take in what the store said, and give what that makes of the call; None where it still has to load.

        A call that was outrun decides again. In the background it loads for who waits for it.
        """
        key, flight = heard.key, heard.flight
        if not is_attached(self.loads.traffic.get(key), flight) or self._is_of_before(heard):
            if heard.strategy is None:
                flight.began_at = now
            else:
                self.leave_flight(key, flight)
            return AGAIN
        if flight.loan is not None:
            flight.loan.is_heard = True
        known = self._take_in(now, key, heard.found, heard.asked_at)
        strategy = Strategy.STALE_IF_ERROR if heard.strategy is None else heard.strategy
        match look_up(self.policy, strategy, known, None, now):
            case Serve(answer) | Check(answer):
                return self._land_unloaded(key, flight, answer)
            case ServeAndRefresh() if heard.loads_early:
                flight.began_at = now
                return None
            case ServeAndRefresh(answer):
                if heard.strategy is None:
                    self._keep(key, left_to_others(known, heard.asked_at, self._trust()), now)
                return self._land_unloaded(key, flight, answer)
            case Revalidate() as decision:
                self.leave_flight(key, flight)
                return self._give(decision, key, heard.callback)
            case Load() | Join():
                flight.began_at = now
                return None

    def _is_of_before(self, heard: Hearing[K, V, E, C]) -> bool:
        """Say whether the store said this under a generation that is over, as was heard meanwhile."""
        loan = heard.flight.loan
        said = loan is not None and not isinstance(heard.found, NoAnswer)
        return said and loan is not None and loan.generation != self.ledger.generation

    def leave_flight(self, key: K, flight: Flight[V, E]) -> None:
        """Give up a flight that ran no callback: whoever waits for it decides again."""
        self.abandon(key, flight)
        flight.began_at = None

    def _land_unloaded(self, key: K, flight: Flight[V, E], answer: Answer[V, E]) -> Answer[V, E]:
        self._end(key, flight, answer)
        flight.began_at = None
        return answer

    def checked(
        self, now: int, key: K, callback: C, unchecked: Unchecked[V, E], found: Found[V, Mark], asked_at: int
    ) -> Answer[V, E] | None:
        """Give what stands now that the store was asked; None where the call has to decide again.

        An early load that is due is left to the background.
        """
        if self.closed or self._known(key) is not unchecked.known:
            return None
        known = self._take_in(now, key, found, asked_at)
        if known is not None and _is_due_early(known, now):
            self._give(ServeAndRefresh(known.answer), key, callback)
            return known.answer
        decision = look_up(self.policy, Strategy.STALE_IF_ERROR, known, None, now)
        return decision.answer if isinstance(decision, Serve | Check) else None

    def _take_in(self, now: int, key: K, found: Found[V, Mark], asked_at: int) -> Known[V, E, Mark]:
        before = self._known(key)
        known = adopt(self.policy, before, found, asked_at, now, self._trust())
        if known is not before:
            self._keep(key, known, now)
        return known

    def changed(self, key: K, found: Found[V, Mark]) -> bool:
        """Say whether ``found`` is what another process made of a value that is here."""
        known = self._known(key)
        return isinstance(known, Shared) and isinstance(found, Held | Gone) and known.version != found.version

    def may_tell(self, key: K, flight: Flight[V, E]) -> bool:
        """Say whether the store may be told how ``flight`` ended: not where something was written here meanwhile."""
        return self.ledger.may_ask(key) and is_attached(self.loads.traffic.get(key), flight)

    def land(self, now: int, key: K, flight: Flight[V, E], outcome: Outcome[V, E], ttl: int | None) -> Landing[V, E]:
        """Settle ``outcome`` by what the store said to it, and end ``flight``."""
        loan = flight.loan or Loan()
        told_at = now if loan.told_at is None else loan.told_at
        began_at = told_at if flight.began_at is None else flight.began_at
        flight.landed_at = told_at
        flight.outcome = outcome
        known = self._known(key)
        if not is_attached(self.loads.traffic.get(key), flight):
            answer = outrun(plain(known), outcome, now)
            self._end(key, flight, answer)
            return answer
        verdict: Verdict[Mark] = loan.verdict
        answer, settled = settle_shared(
            self.policy, known, outcome, verdict, began_at, told_at, self._trust(), ttl=ttl, draw=loan.draw
        )
        if settled is not known:
            flight.replaced = self._keep(key, settled, now)
        if type(outcome) is not SUCCESS and outcome.failure().forget and isinstance(verdict, NoAnswer):
            self.ledger.owe(key, Told.EXPIRE)
        self._end(key, flight, answer)
        if len(self.places) > 1 and type(outcome) is SUCCESS and not isinstance(verdict, Refuted):
            flight.replaced = flight.replaced, self._outrun(key)
        return answer

    def set_and_owe(self, now: int, key: K, value: V, ttl: int | None, body: bytes | None) -> object:
        """Store ``value``, and owe the store the same; one without a body ends the record in its place."""
        if self.closed:
            return None
        entry = fresh(self.policy, value, now, ttl=ttl, draw=self._draw())
        known = self._known(key)
        version = known.version if isinstance(known, Shared) else None
        body_of = Body(body, fresh_until(entry), version, self.ledger.outage, entry.answer)
        self.ledger.owe(key, SetTo(body_of))
        return self._outrun(key), self._keep(key, trusted(entry, version, now, self._trust()), now)

    def expire_and_owe(self, now: int, key: K) -> object:
        """End the answer that stands, and owe the store the same."""
        if self.closed:
            return None
        self.ledger.owe_expiry(key, now)
        known = self._known(key)
        changed = super().expire(now, key)
        entry = plain(self._known(key))
        if entry is not None and isinstance(known, Shared):
            self._keep(key, trusted(entry, known.version, now, self._trust()), now)
        return changed

    def delete_and_owe(self, key: K) -> object:
        """Forget ``key``, and owe the store the same."""
        if self.closed:
            return None
        self.ledger.owe(key, Told.DELETE)
        return super().delete(key)

    def clear_and_owe(self) -> object:
        """Forget every key, and owe the store the same."""
        if not self.closed:
            self.ledger.owe_everything()
        return super().clear()

    def vouched(self, key: K, answer: object, version: Mark, told_at: int) -> None:
        """The store has the value that was set here, which ``answer`` gives: it has this version there."""
        known = self._known(key)
        if isinstance(known, Shared) and known.answer is answer:
            self._keep(key, trusted(known.entry, version, told_at, self._trust()), told_at)

    def version_of(self, key: K) -> Mark | None:
        """Give the version of the record that is known of ``key``."""
        known = self._known(key)
        return known.version if isinstance(known, Shared) else None

    def reversioned(self, key: K, before: Mark | None, after: Mark, now: int) -> None:
        """The store has ended the record of what has ended here: it has another version since."""
        known = self._known(key)
        ended = isinstance(known, Shared) and before is not None and known.version == before and now > known.until
        if isinstance(known, Shared) and ended:
            self._keep(key, replace(known, version=after), now)

    def unvouched(self, key: K, answer: object, now: int) -> None:
        """What was set here, which ``answer`` gives, was told too late: it is kept for when a load fails, and no more.

        Another process may have set a newer one, and the store could only be told to end what it has.
        """
        entry = plain(self._known(key))
        if entry is not None and entry.answer is answer:
            self._keep(key, expire(entry, now), now)

    def hear_of(self, now: int, key: K, wrote: Wrote) -> bool:
        """Take in that another process wrote ``key``; say whether that changed anything here.

        A load that may have read what was
        there before is outrun; one that holds a younger lease is not. Nor is one with an older lease where the value
        only ended: the store refuses what it brings, and if it fails the value covers that. What is queued stays: its
        start decides.
        """
        known = self._known(key)
        version = known.version if isinstance(known, Shared) else None
        if wrote.generation != self.ledger.generation or not self.ledger.may_ask(key):
            return False
        if self.closed or not is_newer(wrote.version, version):
            return False
        for loads in self.places:
            found = loads.find(key)
            if isinstance(found, Running) and not _may_go_on(found.flight, wrote):
                loads.outrun(key)
        if known is None:
            return False
        self._keep(key, written_elsewhere(known, now, self._trust(), deleted=wrote.how is How.DELETED), now)
        return True

    def meet(self, now: int, generation: bytes) -> bool:
        """Take in the generation of the namespace; say whether another process has cleared all that was known.

        At the first contact what was loaded before is ended, and stays for when a load fails: others may have cleared.
        Who still asks the store goes on, and hears of it, too: to detach those as well would make each give back its
        lease and take another; others, who wait for the first one to end, would take that for a load that failed.
        """
        known, self.ledger.generation = self.ledger.generation, generation
        if self.closed or generation == known or generation in self.ledger.drafts:
            return False
        if known is None:
            self._end_all(now)
        else:
            self._forget_begun()
        return known is not None

    def pay_everything(self, now: int, generation: bytes, clears: int) -> bool:
        """The store was told of a clear; say whether that is all that was cleared here.

        Where it was away meanwhile, what was loaded since is ended, as at the first contact: others may have cleared,
        or have deleted what the clear took with it.
        """
        late = self.ledger.is_cleared_late
        paid = self.ledger.pay_everything(generation, clears)
        if late and not self.closed:
            self._end_all(now)
        return paid

    def _forget_begun(self) -> None:
        """Forget every key, and every load that has begun, but for those that still ask the store."""
        for loads in self.places:
            for job in list(loads.queue):
                self.finish(job, Dropped(DELETED))
            loads.clear_but(_asks)
        self.entries.clear()

    def _end_all(self, now: int) -> None:
        """End every answer that stands, but for what was set here; the loads that had begun are outrun."""
        for key in list(self.entries.stored):
            with suppress(Exception):  # The key's own error, which is no business of the others.
                self._end_one(now, key)
        for loads in self.places:
            for key, found in list(loads.traffic.items()):
                if not (isinstance(found, Running) and _asks(found.flight)):
                    with suppress(Exception):
                        loads.outrun(key)

    def _end_one(self, now: int, key: K) -> None:
        entry = self.entries.get(key)
        if entry is not None and not self._is_set_and_owed(key, entry):
            self._keep(key, expire(entry, now), now)

    def _is_set_and_owed(self, key: K, entry: Entry[V, E]) -> bool:
        """Say whether ``entry`` was set here, and is what the store is still to be told."""
        debt = self.ledger.owed.keys.get(key)
        return isinstance(debt, SetTo) and debt.what.answer is entry.answer

    def _known(self, key: K) -> Known[V, E, Mark]:
        return cast("Known[V, E, Mark]", self.entries.known(key)) if key in self.entries.stored else None

    def _keep(self, key: K, known: Known[V, E, Mark], now: int) -> object:
        return self.entries.drop(key) if known is None else self.entries.put(key, known, now)

    def _trust(self) -> int:
        """Give how long the store's word is taken: shortened by jitter, so that processes do not ask all at once."""
        trust = self._second.trust_for
        return max(1, trust - int(trust * self.policy.jitter * self._draw()))


def _asks(flight: Flight[V, E]) -> bool:
    """Say whether a load still asks the store: its callback has not begun."""
    return flight.loan is not None and not flight.loan.is_heard


def _may_go_on(flight: Flight[V, E], wrote: Wrote) -> bool:
    """Say whether a load stays attached though another process wrote its key."""
    loan = flight.loan
    fenced = loan is not None and loan.is_heard and loan.lease is not None
    return _is_younger(flight, wrote.version) or (fenced and wrote.how is not How.DELETED)


def _is_younger(flight: Flight[V, E], version: Version) -> bool:
    """Say whether a load asked the store after that had ``version``: it was granted a younger lease of that record."""
    loan = flight.loan
    if loan is None or not loan.is_heard:
        return False
    if isinstance(loan.verdict, Filled):
        return not is_newer(version, loan.verdict.version)
    lease = None if loan.lease is None else loan.lease.lease
    return lease is not None and lease.epoch == version.epoch and lease.number > version.writes


def _is_due_early(known: Known[V, E, Mark], now: int) -> bool:
    """Say whether a fresh value is due for its early load."""
    entry = plain(known)
    return isinstance(entry, RefreshAhead) and entry.until < now <= entry.fresh_until
