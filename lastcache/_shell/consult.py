"""What a call says to the store beside its cache, and hears from it: a script, as in ``calls``.

A load asks before its callback runs, and tells what that brought before it lands. The store is called outside of the
guard; what it says is taken in under it. Where it does not answer, a load runs as with no second level.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar, cast, final

from returns.result import Failure, Result

from lastcache._shell.flight import Again, Flight, Stale, Unchecked
from lastcache._shell.ledger import Loaned
from lastcache._shell.level import Heard, Level, Loan, Question
from lastcache._shell.place import Place
from lastcache._shell.shared_state import Hearing, SharedState
from lastcache._shell.writes import Writes
from lastcache.core.shared import Filled, Gone, Held, NoAnswer, Refuted
from lastcache.core.states import Answer, Outcome, Strategy
from lastcache.core.transitions import fresh, fresh_until
from lastcache.core.values import SUCCESS
from lastcache.events import ChangedElsewhere, StoreOutran, StoreServed, StoreSkipped, StoreUnread, WaitedElsewhere
from lastcache.second.protocol import Busy, Cleared, Kept, StoreFailure, Tell, Trouble, Verdict

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C", bound=Callable[..., Any])

FIRST_PAUSE: Final = 0.005
"""The seconds after which a load that another process makes is asked for again, at first."""

GREETINGS: Final = 3
"""How often in a row the generation may have changed before a call goes on as if the store were away."""


class Consults(Writes[K, V, E, C]):
    """What the calls of one cache say to its store."""

    __slots__ = ()

    async def consult(
        self, place: Place[K, V, E, C], strategy: Strategy | None, key: K, callback: C, flight: Flight[V, E]
    ) -> Answer[V, E] | Stale[K, V, E, C] | Again | None:
        """Ask the store before a load, and give what its word makes of the call; None where the callback is to run.

        It waits for one load of another process at most. Without a strategy the load is in the background.
        """
        level, state = self.second_level(place)
        loan = flight.loan = flight.loan or Loan()
        form = level.form_of(key)
        waiting = _Waiting(place.timer, level.policy.lease_for / 1_000_000_000)
        try:
            while True:
                forced = loan.forced or waiting.is_over
                question = self.guard.run_now(partial(state.question, background=strategy is None, forced=forced), key)
                asked_at = self.clock()
                heard = await self._ask_store(place, key, form, question, loan)
                waits = isinstance(heard.grant, Busy)
                hearing = Hearing(strategy, key, callback, flight, heard.found, asked_at, loan.lease is not None)
                self._report_change(state, key, heard)
                step = self.guard.run_now(state.hear, hearing)
                if step is not None:
                    if not isinstance(step, Again) and isinstance(heard.found, Held):
                        self.reports.of_store(StoreServed, key, isinstance(step, Stale) or heard.found.fresh_for < 0)
                    await self.give_back(place, loan)
                    return step
                if not waits:
                    return None
                await place.pause(waiting.pause(cast("Busy", heard.grant)))
        finally:
            if waiting.took is not None:
                self.reports.of_store(WaitedElsewhere, key, waiting.took)

    async def check(self, place: Place[K, V, E, C], key: K, unchecked: Unchecked[V, E]) -> Answer[V, E] | None:
        """Ask the store whether an answer is still its own; None where the call has to decide again."""
        level, state = self.second_level(place)
        form = level.form_of(key)
        question = self.guard.run_now(partial(state.question, background=False, forced=False), key)
        asked_at = self.clock()
        heard = await self._ask_store(place, key, form, question, Loan())
        self._report_change(state, key, heard)
        return self.guard.run_now(state.checked, key, unchecked, heard.found, asked_at)

    async def _ask_store(
        self, place: Place[K, V, E, C], key: K, form: bytes, question: Question | None, loan: Loan
    ) -> Heard[V]:
        """Ask the store; where it may not be asked, or does not answer, that is what was heard."""
        level, state = self.second_level(place)
        for _ in range(GREETINGS):
            if question is None:
                break
            told = await place.call_store(partial(self._ask_now, level, form, question, loan))
            if isinstance(told, Failure):
                self.fail(state, told.failure())
                break
            heard = told.unwrap()
            if not isinstance(heard, Cleared):
                if heard.unread is not None:
                    self.reports.of_store(StoreUnread, key, heard.unread)
                return heard
            self.meet(state, heard.generation)
            question = question._replace(generation=heard.generation)
        return Heard(NoAnswer(), None)

    def _ask_now(
        self, level: Level[K, V], form: bytes, question: Question, loan: Loan
    ) -> Result[Heard[V] | Cleared, StoreFailure]:
        """Ask the store, wherever its place calls it; a lease for a load that was given up meanwhile is given back."""
        told = level.ask(form, question, loan)
        if loan.is_over:
            self.leave_lease(loan)
        return told

    def _report_change(self, state: SharedState[K, V, E, C], key: K, heard: Heard[V]) -> None:
        if isinstance(heard.found, Held | Gone) and self.guard.run(state.changed, key, heard.found):
            self.reports.of_store(ChangedElsewhere, key, "set" if isinstance(heard.found, Held) else "deleted")

    async def share(
        self,
        place: Place[K, V, E, C],
        key: K,
        flight: Flight[V, E],
        loan: Loan,
        outcome: Outcome[V, E],
        ttl: int | None,
    ) -> None:
        """Tell the store what a load brought, before it lands; what the store says to it is written into its loan."""
        level, state = self.second_level(place)
        loan.told_at, loan.draw = self.clock(), state.draw()
        if loan.lease is None:
            return
        writes = self.guard.run(state.may_tell, key, flight) and _is_word(outcome)
        tell = self._word_of(level, state, key, loan.lease, loan, outcome, ttl) if writes else level.release(loan.lease)
        verdict = await self._tell_store(place, key, tell)
        loan.lease = None
        if writes and isinstance(verdict, Kept):
            loan.verdict = Filled(verdict.version)
        elif writes and verdict is not None:
            loan.verdict = Refuted()
            self.reports.of_store(StoreOutran, key)

    def _word_of(
        self,
        level: Level[K, V],
        state: SharedState[K, V, E, C],
        key: K,
        lease: Loaned,
        loan: Loan,
        outcome: Outcome[V, E],
        ttl: int | None,
    ) -> Tell:
        """Write what a load brought as the store is told of it; what cannot be shared ends the record in its place."""
        if type(outcome) is not SUCCESS:
            return level.fill(lease, None, 0)
        now = loan.told_at or 0
        body = level.encode(outcome.unwrap())
        if isinstance(body, str):
            self.reports.of_store(StoreSkipped, key, body)
            return level.spoil(lease)
        entry = fresh(state.policy, outcome.unwrap(), now, ttl=ttl, draw=loan.draw)
        return level.fill(lease, body, fresh_until(entry) - now)

    async def _tell_store(self, place: Place[K, V, E, C], key: K, tell: Tell) -> Verdict | None:
        """Tell the store one thing; None where it does not answer."""
        level, state = self.second_level(place)
        told = await place.call_store(partial(level.tell, [tell]))
        if not isinstance(told, Failure):
            return told.unwrap()[0]
        failure = told.failure()
        if failure.trouble is Trouble.FULL:
            self.reports.of_store(StoreSkipped, key, f"the store is full: {failure.detail}")
        else:
            self.fail(state, failure)
        return None

    async def give_back(self, place: Place[K, V, E, C], loan: Loan) -> None:
        """Give back the lease of a load that is not to be made, or has failed."""
        level, state = self.second_level(place)
        lease = loan.lease
        if lease is None:
            return
        if self.guard.run(state.ledger.is_there):
            told = await place.call_store(partial(level.tell, [level.release(lease)]))
            if isinstance(told, Failure):
                self.fail(state, told.failure())
        loan.lease = None


def _is_word(outcome: Outcome[V, E]) -> bool:
    """Say whether a load brought something for others: a value, or that there is none any more."""
    return type(outcome) is SUCCESS or outcome.failure().forget


@final
class _Waiting:
    """How long a call has waited for the load of another process: no longer than for one, or for ``at_most`` seconds.

    ``took`` is None where it has not waited. It is over once another than the first holds the lease.
    """

    __slots__ = ("_at_most", "_first", "_since", "_timer", "is_over")

    def __init__(self, timer: Callable[[], float], at_most: float) -> None:
        self._timer = timer
        self._at_most = at_most
        self._first: int | None = None
        self._since = 0.0
        self.is_over = False

    @property
    def took(self) -> timedelta | None:
        return None if self._first is None else timedelta(seconds=max(0.0, self._timer() - self._since))

    def pause(self, busy: Busy) -> float:
        """Give the seconds to wait before the store is asked again."""
        now = self._timer()
        if self._first is None:
            self._first, self._since = busy.number, now
        waited = now - self._since
        self.is_over = busy.number != self._first or waited >= self._at_most
        if self.is_over:
            return 0.0
        return min(max(FIRST_PAUSE, waited / 8), max(0.0, busy.ends_in.total_seconds()), self._at_most - waited)
