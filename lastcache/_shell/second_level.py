"""What a call says to the store beside its cache, and hears from it: a script, as in ``calls``.

A load asks before its callback runs, and tells what that brought before it lands. The store is called outside of the
guard; what it says is taken in under it. Where it does not answer, a load runs as with no second level.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Final, TypeVar, cast, final

from returns.result import Failure, Result

from lastcache._shell.accounts import LONGEST, SHORTEST, Accounts
from lastcache._shell.flight import Again, Flight, Stale, Unchecked
from lastcache._shell.ledger import Loaned
from lastcache._shell.level import Heard, Loan, Question
from lastcache._shell.marks import Mark, marked
from lastcache._shell.place import Place
from lastcache._shell.shared_state import Hearing, SharedState
from lastcache._shell.shell import Shell
from lastcache.core.shared import Filled, Found, Gone, Held, NoAnswer, Refuted
from lastcache.core.states import Answer, Outcome, Strategy
from lastcache.core.transitions import fresh, fresh_until
from lastcache.core.values import SUCCESS
from lastcache.events import ChangedElsewhere, StoreOutran, StoreServed, StoreSkipped, StoreUnread, WaitedElsewhere
from lastcache.second.protocol import Busy, Cleared, Kept, StoreFailure, Tell, Trouble, Verdict, Want

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")

FIRST_PAUSE: Final = 0.005
"""The seconds after which a load that another process makes is asked for again, at first."""

PATIENCE: Final = 1.0
"""The seconds for which a load waits at most for another thread to tell the store of its key."""

GREETINGS: Final = 3
"""How often in a row the generation may have changed before a call goes on as if the store were away."""


class SecondLevel(Accounts[K, V, E, C]):
    """What one cache says to its store in its calls; ``shell`` is that cache's, each time."""

    __slots__ = ()

    async def consult(
        self,
        shell: Shell[K, V, E, C],
        place: Place[K, V, E, C],
        strategy: Strategy | None,
        key: K,
        callback: C,
        flight: Flight[V, E],
    ) -> Answer[V, E] | Stale[K, V, E, C] | Again | None:
        """Ask the store before a load, and give what its word makes of the call; None where the callback is to run.

        It waits for one load of another process at most. Without a strategy the load is in the background.
        """
        loan = flight.loan = flight.loan or Loan()
        self.level.form_of(key)
        waiting = _Waiting(place.timer, self.level.policy.lease_for / 1_000_000_000)
        try:
            step = await self._ask_until(shell, place, Hearing(strategy, key, callback, flight), loan, waiting)
        finally:
            if waiting.took is not None:
                shell.reports.of_store(WaitedElsewhere, key, waiting.took)
        if step is not None:
            await self.give_back(shell, place, [loan])
        # In the background it loads all the same: somebody may wait for that very callback.
        return None if strategy is None and isinstance(step, Again) else step

    async def _ask_until(
        self,
        shell: Shell[K, V, E, C],
        place: Place[K, V, E, C],
        load: Hearing[K, V, E, C],
        loan: Loan,
        waiting: "_Waiting",
    ) -> Answer[V, E] | Stale[K, V, E, C] | Again | None:
        """Ask for a load until the store has said its last word on it."""
        state, again = shared_state(place), False
        while True:
            forced = loan.forced or waiting.is_over
            ask = partial(state.question, strategy=load.strategy, forced=forced, again=again)
            question = await self._question(shell, place, load.key, ask)
            asked_at = shell.clock()
            heard = await self._ask(shell, place, load.key, question, loan)
            step = self.hear(shell, state, load._replace(found=heard.found, asked_at=asked_at))
            if step is not None or _is_enough(heard, question, again=again):
                return step
            again = heard.grant is None and question is not None and question.want is not Want.LOOK
            if isinstance(heard.grant, Busy):
                await place.pause(waiting.pause(heard.grant))

    async def _question(
        self,
        shell: Shell[K, V, E, C],
        place: Place[K, V, E, C],
        key: K,
        ask: Callable[[int, K], Question | None],
    ) -> Question | None:
        """Say what to ask; the store is told first of what this process did to the key."""
        question = shell.guard.run_now(ask, key)
        if question is None and self.owes(shell, key):
            await self.pay_first(shell, place, [key])
            question = shell.guard.run_now(ask, key)
        return question

    async def pay_first(self, shell: Shell[K, V, E, C], place: Place[K, V, E, C], keys: "list[K]") -> None:
        """Have the store told what ``keys`` owe before it is asked for them; who tells it already is waited for."""
        ends_at, pause = place.timer() + PATIENCE, SHORTEST
        while not await place.call_store(partial(self.pay, shell, keys)) and place.timer() < ends_at:
            await place.pause(pause)
            pause = min(2 * pause, LONGEST)

    def hear(
        self, shell: Shell[K, V, E, C], state: SharedState[K, V, E, C], heard: Hearing[K, V, E, C]
    ) -> Answer[V, E] | Stale[K, V, E, C] | Again | None:
        """Take in what the store said to a load, and report it."""
        self.report_change(shell, state, heard.key, heard.found)
        step = shell.guard.run_now(state.hear, heard)
        if step is not None and not isinstance(step, Again) and isinstance(heard.found, Held):
            shell.reports.of_store(StoreServed, heard.key, heard.found.fresh_for < 0)
        return step

    async def check(
        self, shell: Shell[K, V, E, C], place: Place[K, V, E, C], key: K, callback: C, unchecked: Unchecked[V, E]
    ) -> Answer[V, E] | None:
        """Ask the store whether an answer is still its own; None where the call has to decide again."""
        state = shared_state(place)
        question = await self._question(shell, place, key, state.question)
        if question is not None and question.want is not Want.LOOK:
            return None
        asked_at = shell.clock()
        heard = await self._ask(shell, place, key, question, Loan())
        self.report_change(shell, state, key, heard.found)
        return shell.guard.run_now(state.checked, key, callback, unchecked, heard.found, asked_at)

    async def _ask(
        self,
        shell: Shell[K, V, E, C],
        place: Place[K, V, E, C],
        key: K,
        question: Question | None,
        loan: Loan,
    ) -> Heard[V]:
        """Ask the store; where it may not be asked, or does not answer, that is what was heard."""
        form = self.form_of(shell, key)
        for _ in range(GREETINGS):
            if question is None:
                self.wake_if_overdue(shell)
                break
            loan.asks(question)
            told = await place.call_store(partial(self._ask_now, shell, form, question, loan))
            if isinstance(told, Failure):
                self.fail(shell, told.failure())
                break
            heard = told.unwrap()
            if not isinstance(heard, Cleared):
                if heard.unread is not None and question.want is not Want.LOOK:
                    shell.reports.of_store(StoreUnread, key, heard.unread)
                return heard
            self.meet(shell, heard.generation)
            question = question._replace(generation=heard.generation)
        return Heard(NoAnswer(), None)

    def _ask_now(
        self, shell: Shell[K, V, E, C], form: bytes, question: Question, loan: Loan
    ) -> Result[Heard[V] | Cleared, StoreFailure]:
        """Ask the store, wherever its place calls it; a lease for a load that was given up meanwhile is given back."""
        told = self.if_there(shell, loan, lambda: self.level.ask(form, question, loan))
        if loan.is_over:
            self.leave_lease(shell, loan)
        return told

    def report_change(
        self, shell: Shell[K, V, E, C], state: SharedState[K, V, E, C], key: K, found: Found[V, Mark]
    ) -> None:
        """Report what another process did to a value that is here."""
        if isinstance(found, Held | Gone) and shell.guard.run(state.changed, key, found):
            shell.reports.of_store(ChangedElsewhere, key, "set" if isinstance(found, Held) else "deleted")

    async def share(
        self,
        shell: Shell[K, V, E, C],
        place: Place[K, V, E, C],
        key: K,
        flight: Flight[V, E],
        loan: Loan,
        outcome: Outcome[V, E],
        ttl: int | None,
    ) -> None:
        """Tell the store what a load brought, before it lands; what the store says to it is written into its loan."""
        tell = self.word_of(shell, shared_state(place), key, flight, loan, outcome, ttl)
        if tell is not None:
            (verdict,) = await self.tell_all(shell, place, [key], [tell])
            self.take_verdict(shell, key, loan, verdict)

    def word_of(
        self,
        shell: Shell[K, V, E, C],
        state: SharedState[K, V, E, C],
        key: K,
        flight: Flight[V, E],
        loan: Loan,
        outcome: Outcome[V, E],
        ttl: int | None,
    ) -> Tell | None:
        """Write what a load brought as the store is told of it; None where it has no lease.

        What cannot be shared ends the record in its place; what brought nothing for others gives its lease back.
        """
        loan.told_at, loan.draw = shell.clock(), state.draw()
        if loan.lease is None:
            return None
        loan.writes = _is_word(outcome) and shell.guard.run(state.may_tell, key, flight)
        if not loan.writes:
            return self.level.release(loan.lease)
        if type(outcome) is not SUCCESS:
            return self.level.fill(loan.lease, None, 0)
        return self._filling(shell, state, key, loan, loan.lease, outcome.unwrap(), ttl)

    def _filling(
        self,
        shell: Shell[K, V, E, C],
        state: SharedState[K, V, E, C],
        key: K,
        loan: Loan,
        lease: Loaned,
        value: V,
        ttl: int | None,
    ) -> Tell:
        body = self.level.encode(value)
        if isinstance(body, str):
            shell.reports.of_store(StoreSkipped, key, body)
            return self.level.spoil(lease)
        now = loan.told_at or 0
        return self.level.fill(lease, body, fresh_until(fresh(state.policy, value, now, ttl=ttl, draw=loan.draw)) - now)

    def take_verdict(self, shell: Shell[K, V, E, C], key: K, loan: Loan, verdict: Verdict | None) -> None:
        """Write down what the store said to what a load brought; None where it did not answer."""
        loan.ends()
        if not loan.writes or verdict is None:
            return
        if isinstance(verdict, Kept):
            loan.verdict = Filled(marked(verdict.version))
        else:
            loan.verdict = Refuted()
            shell.reports.of_store(StoreOutran, key)

    async def tell_all(
        self, shell: Shell[K, V, E, C], place: Place[K, V, E, C], keys: Sequence[K], tells: Sequence[Tell]
    ) -> Sequence[Verdict | None]:
        """Tell the store what the loads of ``keys`` brought, in one message; None for each where it does not answer."""
        told = await self._send(shell, place, tells)
        if not isinstance(told, Failure):
            return told.unwrap()
        failure = told.failure()
        if failure.trouble is Trouble.FULL:
            for key in keys:
                shell.reports.of_store(StoreSkipped, key, f"the store is full: {failure.detail}")
        else:
            self.fail(shell, failure)
        return [None] * len(keys)

    async def _send(
        self, shell: Shell[K, V, E, C], place: Place[K, V, E, C], tells: Sequence[Tell]
    ) -> Result[Sequence[Verdict], StoreFailure]:
        return await place.call_store(partial(self.if_there, shell, None, lambda: self.level.tell(tells)))

    async def give_back(self, shell: Shell[K, V, E, C], place: Place[K, V, E, C], loans: Sequence[Loan]) -> None:
        """Give back, in one message, the leases of loads that are not to be made, or have failed."""
        held = [(loan, loan.lease) for loan in loans if loan.lease is not None]
        if not held:
            return
        told = await self._send(shell, place, [self.level.release(lease) for _, lease in held])
        if isinstance(told, Failure):
            self.fail(shell, told.failure())
        for loan, _ in held:
            loan.ends()


def shared_state(place: Place[K, V, E, C]) -> SharedState[K, V, E, C]:
    """Give the state of a place whose cache has a second level."""
    return cast("SharedState[K, V, E, C]", place.state)


def _is_enough(heard: Heard[V], question: Question | None, *, again: bool) -> bool:
    """Say whether a load asks no further: it holds a lease, or the store has nothing more to say to it.

    A store that grants no lease where it must, time and again, or keeps off who need not wait, is not asked for ever.
    """
    if question is None or not isinstance(heard.grant, Busy):
        return heard.is_last_word or again
    return question.want is Want.FORCE


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
        left = busy.ends_in.total_seconds()
        longest = left if left > 0 else FIRST_PAUSE
        return min(max(FIRST_PAUSE, waited / 8), longest, self._at_most - waited)
