"""What a call for many keys says to the store: each thing in one message, as ``second_level`` says it for one key."""

from collections.abc import Mapping
from functools import partial
from typing import TypeVar, cast, final

from returns.result import Failure, Result

from lastcache._shell.batches import Batch
from lastcache._shell.calls import Returned
from lastcache._shell.flight import Again, Raised, Stale
from lastcache._shell.level import Heard, Loan, Question
from lastcache._shell.place import Place
from lastcache._shell.second_level import SecondLevel, shared_state
from lastcache._shell.shared_state import Hearing, SharedState
from lastcache._shell.shell import Shell
from lastcache.core.shared import NoAnswer
from lastcache.core.states import Strategy
from lastcache.events import StoreUnread
from lastcache.second.protocol import Busy, Cleared, StoreFailure, Tell, Want

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")


@final
class SecondLevelOfMany(SecondLevel[K, V, E, C]):
    """What one cache says to its store, in calls for many keys, too."""

    __slots__ = ()

    async def consult_many(
        self, shell: Shell[K, V, E, C], place: Place[K, V, E, C], strategy: Strategy, batch: Batch[K, V, E], alone: C
    ) -> None:
        """Ask the store about the keys of a batch: its own are those alone, from now on, that the callback loads.

        What the store has is given. What another process loads is waited for later, after the own keys have landed.
        """
        state = shared_state(place)
        for flight in batch.own.values():
            flight.loan = flight.loan or Loan()
        keys = [*batch.own, *batch.unchecked]
        asked_at = shell.clock()
        heard = await self._ask_many(shell, place, batch, keys)
        for key, unchecked in batch.unchecked.items():
            found = heard[key].found
            self.report_change(shell, state, key, found)
            answer = shell.guard.run_now(state.checked, key, alone, unchecked, found, asked_at)
            if answer is not None:
                batch.landings[key] = answer
        for key, flight in list(batch.own.items()):
            hearing = Hearing(strategy, key, alone, flight, heard[key].found, asked_at)
            alone_next = isinstance(heard[key].grant, Busy) or not heard[key].is_last_word
            self._hear_one(shell, state, batch, hearing, alone_next=alone_next)
        given_up = [flight.loan for key, flight in batch.flights.items() if key not in batch.own]
        await self.give_back(shell, place, [loan for loan in given_up if loan is not None])

    def _hear_one(
        self,
        shell: Shell[K, V, E, C],
        state: SharedState[K, V, E, C],
        batch: Batch[K, V, E],
        heard: Hearing[K, V, E, C],
        *,
        alone_next: bool,
    ) -> None:
        """Take in what the store said about one key: it is given, or loaded here, or asked for alone afterwards.

        That is where another process loads it, or where the store has to be asked once more.
        """
        step = self.hear(shell, state, heard)
        if step is None and not alone_next:
            return
        del batch.own[heard.key]
        if step is None:
            shell.guard.run(state.leave_flight, heard.key, heard.flight)
            batch.elsewhere.append(heard.key)
        elif not isinstance(step, Again | Stale):
            batch.landings[heard.key] = step

    async def _ask_many(
        self, shell: Shell[K, V, E, C], place: Place[K, V, E, C], batch: Batch[K, V, E], keys: list[K]
    ) -> Mapping[K, Heard[V]]:
        """Ask the store in one message; what it was not asked, or did not answer, is what was heard of that key."""
        nothing = dict.fromkeys(keys, Heard[V](NoAnswer(), None))
        asked = {
            key: question
            for key, question in (await self._questions(shell, place, keys)).items()
            if question.want is Want.LOOK or key in batch.own
        }
        questions = [(self.form_of(shell, key), question, _loan_of(batch, key)) for key, question in asked.items()]
        for _ in range(2):
            if not questions:
                break
            for _, question, loan in questions:
                loan.asks(question)
            told = await place.call_store(partial(self._ask_many_now, shell, questions))
            if isinstance(told, Failure):
                self.fail(shell, told.failure())
                break
            answers = told.unwrap()
            cleared = next((answer for answer in answers if isinstance(answer, Cleared)), None)
            if cleared is None:
                heard = dict(zip(asked, cast("list[Heard[V]]", answers), strict=True))
                self._report_unread(shell, heard)
                return nothing | heard
            self.meet(shell, cleared.generation)
            questions = [(form, of._replace(generation=cleared.generation), loan) for form, of, loan in questions]
        return nothing

    async def _questions(self, shell: Shell[K, V, E, C], place: Place[K, V, E, C], keys: list[K]) -> dict[K, Question]:
        """Say what to ask the store about each key; nothing about those that it must not be asked for.

        The store is told first of what this process did to them.
        """
        owing = [key for key in keys if self.owes(shell, key)]
        if owing:
            await self.pay_first(shell, place, owing)
        ask = shared_state(place).question
        asked = {key: found for key in keys if (found := shell.guard.run_now(ask, key)) is not None}
        if len(asked) < len(keys):
            self.wake_if_overdue(shell)
        return asked

    def _ask_many_now(
        self, shell: Shell[K, V, E, C], questions: list[tuple[bytes, Question, Loan]]
    ) -> Result[list[Heard[V] | Cleared], StoreFailure]:
        told = self.if_there(shell, None, lambda: self.level.ask_many(questions))
        for _, _, loan in questions:
            if loan.is_over:
                self.leave_lease(shell, loan)
        return told

    def _report_unread(self, shell: Shell[K, V, E, C], heard: Mapping[K, Heard[V]]) -> None:
        for key, word in heard.items():
            if word.unread is not None:
                shell.reports.of_store(StoreUnread, key, word.unread)

    async def share_many(
        self,
        shell: Shell[K, V, E, C],
        place: Place[K, V, E, C],
        batch: Batch[K, V, E],
        each: Mapping[K, Returned[V, E] | Raised],
    ) -> None:
        """Tell the store what the callback brought for each key, before any of it lands."""
        state = shared_state(place)
        tells: dict[K, Tell] = {}
        for key, flight in batch.own.items():
            tell = self._word_of_one(shell, state, key, batch, each[key]) if flight.loan is not None else None
            if tell is not None:
                tells[key] = tell
        if not tells:
            return
        verdicts = await self.tell_all(shell, place, list(tells), list(tells.values()))
        for key, verdict in zip(tells, verdicts, strict=True):
            self.take_verdict(shell, key, _loan_of(batch, key), verdict)

    def _word_of_one(
        self,
        shell: Shell[K, V, E, C],
        state: SharedState[K, V, E, C],
        key: K,
        batch: Batch[K, V, E],
        one: Returned[V, E] | Raised,
    ) -> Tell | None:
        loan = _loan_of(batch, key)
        if isinstance(one, Raised):
            return None if loan.lease is None else self.level.release(loan.lease)
        return self.word_of(shell, state, key, batch.own[key], loan, one.outcome, one.ttl)


def _loan_of(batch: Batch[K, V, E], key: K) -> Loan:
    """Give what the load of ``key`` has to do with the store; what is only checked takes no lease."""
    return batch.flights[key].loan or Loan()
