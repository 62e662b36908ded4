"""What is written to a cache by its users, and how the store beside it, if there is one, comes to know of it.

A change acts here at once, and is *owed* to the store from the same instant on. In threads the caller tells the store
before it returns; in tasks, and wherever that is not possible, the sender does. Until the store knows, no load of this
process asks it about the key: it might answer what is over.

Who tells the store of a key holds a lock meanwhile, in one line for the reason that ``guard`` gives: an interrupt frees
it, and so nobody waits for a word that is not on the way.
"""

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from threading import Lock
from typing import Final, Generic, NamedTuple, TypeVar, cast, final

from returns.result import Failure, Result

from lastcache._shell.background import start_thread
from lastcache._shell.guard import inside
from lastcache._shell.inflight import CacheState
from lastcache._shell.ledger import Change, Claimed
from lastcache._shell.level import NOT_ASKED, Level, Loan, is_calling
from lastcache._shell.marks import Mark, marked
from lastcache._shell.pushed import Pushed
from lastcache._shell.sender import Sender, Start
from lastcache._shell.shared_state import SharedState
from lastcache._shell.shell import Shell
from lastcache.config import Config
from lastcache.core.away import Away
from lastcache.core.owed import SetTo, Told, is_owed
from lastcache.events import ChangedElsewhere, StoreAway, StoreBack, StoreSkipped
from lastcache.second.options import Second
from lastcache.second.protocol import Outrun, Put, StoreFailure, Tell, Trouble, Verdict

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
T = TypeVar("T")

TOO_MUCH: Final = "more is owed than owe_at_most: once the store is back, all is cleared there"
AT_ONCE: Final = 64
"""How many changes the store is told of in one message."""

SHORTEST: Final = 0.0005
LONGEST: Final = 0.01
"""The seconds between two looks at whether another thread has told the store of a key."""

LOOK_AGAIN: Final = 0.1
"""The seconds after which the sender looks at the clock again while the store is away, or full."""

WORD: Final = 8
"""The bytes of a generation."""


@final
class Word(NamedTuple, Generic[K]):
    """A change that the store was told of, what it said, and the version that was known ``before``."""

    key: K
    change: Change
    verdict: Verdict
    before: Mark | None


class Accounts(Generic[K, V, E, C]):
    """What one cache tells its store of what its users write; ``shell`` is that cache's, each time."""

    __slots__ = ("_listens", "_pushed", "_sender", "level")

    def __init__(self, second: Second[K, V], config: Config, start: Start = start_thread) -> None:
        self.level: Level[K, V] = Level(second, config)
        self._sender = Sender(start)
        self._listens: bool = False
        self._pushed: Pushed[K, V, E, C] | None = None

    def form_of(self, shell: Shell[K, V, E, C], key: K) -> bytes:
        """Write ``key`` as bytes, and hear at once what other processes write to it, where the store tells that."""
        form = self.level.form_of(key)
        if not self._listens:
            self._listens = True
            pushed = Pushed(shell, self.level.namespace)
            self._pushed = pushed if self.level.listen(pushed) else None
        if self._pushed is not None:
            self._pushed.note(form, key)
        return form

    def new_state(
        self,
        config: Config,
        timer: Callable[[], float],
        *,
        beside: CacheState[K, V, E, C] | None,
        watched: bool,
    ) -> CacheState[K, V, E, C]:
        """Make the state of this cache, or of one of its places ``beside`` the others."""
        known = cast("SharedState[K, V, E, C] | None", beside)
        return SharedState(config, timer, self.level.policy, beside=known, watched=watched)

    def owed(self, shell: Shell[K, V, E, C]) -> int:
        """Count the keys whose change the store is still to be told of."""
        return state_of(shell).ledger.debts

    def set(self, shell: Shell[K, V, E, C], key: K, value: V, ttl: int | None) -> None:
        """Store ``value``."""
        level, state = self.level, state_of(shell)
        shell.check_open()
        self.form_of(shell, key)
        body = level.encode(value)
        if isinstance(body, str):
            shell.reports.of_store(StoreSkipped, key, body)
        stored = None if isinstance(body, str) else body
        self._change(shell, key, lambda: shell.write_now(state.set_and_owe, key, value, ttl, stored))

    def expire(self, shell: Shell[K, V, E, C], key: K) -> None:
        """End the freshness of ``key``."""
        shell.check_open()
        self.level.form_of(key)
        self._change(shell, key, lambda: shell.write_now(state_of(shell).expire_and_owe, key))

    def delete(self, shell: Shell[K, V, E, C], key: K) -> None:
        """Forget ``key``."""
        shell.check_open()
        self.level.form_of(key)
        self._change(shell, key, lambda: shell.write(state_of(shell).delete_and_owe, key))

    def clear(self, shell: Shell[K, V, E, C]) -> None:
        """Forget every key."""
        try:
            shell.write(state_of(shell).clear_and_owe)
            if _may_tell(shell):
                self.tell_clear(shell)
        finally:
            self._leave_to_sender(shell)

    def _change(self, shell: Shell[K, V, E, C], key: K, write: Callable[[], object]) -> None:
        """Make a change of ``key``, and have the store told of it, before this returns if that can be.

        What an interrupt keeps from being told is left to the sender.
        """
        ledger = state_of(shell).ledger
        overflows = ledger.overflows
        try:
            write()
            if ledger.overflows != overflows:
                shell.reports.of_store(StoreSkipped, key, TOO_MUCH)
            if _may_tell(shell):
                self._tell_now(shell, key)
        finally:
            self._leave_to_sender(shell)

    def _leave_to_sender(self, shell: Shell[K, V, E, C]) -> None:
        """Have the sender tell what is left; from inside a change, as soon as that is complete."""
        guard = inside()
        if guard is None:
            self.wake_if_owing(shell)
        else:
            guard.put_off(partial(self.wake_if_owing, shell))

    def wake_if_owing(self, shell: Shell[K, V, E, C]) -> None:
        """Have the sender look at what is owed, if anything is."""
        if not self.is_settled(shell):
            self.wake_sender(shell)

    def wake_if_overdue(self, shell: Shell[K, V, E, C]) -> None:
        """Have the sender do what it should have done: no thread was to be had for it, or it was never woken."""
        ledger = state_of(shell).ledger
        if ledger.is_there():
            self.wake_if_owing(shell)
        elif shell.guard.run_now(ledger.is_overdue):
            self.wake_sender(shell)

    def owes(self, shell: Shell[K, V, E, C], key: K) -> bool:
        """Say whether the store is there, and is still to be told of a change of ``key``."""
        ledger = state_of(shell).ledger
        return ledger.is_there() and is_owed(ledger.owed, key) and not is_calling()

    def pay(self, shell: Shell[K, V, E, C], keys: Iterable[K]) -> bool:
        """Tell the store what ``keys`` owe: what it is asked then is of after that.

        Say whether that was done, or tried; not so where another thread tells it of one of them at this moment.
        """
        if state_of(shell).ledger.owed.everything and not self.tell_clear(shell):
            return True
        paid = [self._pay_one(shell, key) for key in keys]
        return all(paid)

    def _pay_one(self, shell: Shell[K, V, E, C], key: K) -> bool:
        while (told := self._tell_one(shell, key)) is not False:
            if told is None:
                return False
        return True

    def _tell_now(self, shell: Shell[K, V, E, C], key: K) -> None:
        """Tell the store what ``key`` owes; where another thread does so, wait until it has."""
        pause = SHORTEST
        while (told := self._tell_one(shell, key)) is not False:
            if told is None:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST)

    def _tell_one(self, shell: Shell[K, V, E, C], key: K) -> bool | None:
        """Tell the store what ``key`` owes; say whether there may be more to tell, None where another tells it."""
        me = Lock()
        with me: return self._tell_claimed(shell, key, me)  # noqa: E701  # fmt: skip

    def _tell_claimed(self, shell: Shell[K, V, E, C], key: K, me: Lock) -> bool | None:
        ledger = state_of(shell).ledger
        try:
            change = shell.guard.run(ledger.claim, key, me)
            if change is None or isinstance(change, Claimed):
                return None if isinstance(change, Claimed) else False
            return self._tell_changes(shell, [(key, change)])
        finally:
            shell.guard.run(ledger.unclaim, [key], me)

    def _tell_changes(self, shell: Shell[K, V, E, C], changes: "list[tuple[K, Change]]") -> bool:
        """Tell the store of changes that were claimed; say whether it was reached."""
        level, state = self.level, state_of(shell)
        generation = self._generation(shell)
        if generation is None:
            return False
        now = shell.clock()
        before = [state.version_of(key) for key, _ in changes]
        tells = [
            level.word_of(level.form_of(key), generation, change, now, late=state.ledger.is_late(change))
            for key, change in changes
        ]
        told = level.tell(tells)
        if isinstance(told, Failure):
            self.fail(shell, told.failure())
            if told.failure().trouble is Trouble.FULL:
                self._shrink(shell, changes, told.failure())
            return False
        # What was told under another generation is told once more under that which there is.
        heard = [
            Word(key, change, verdict, version)
            for (key, change), tell, verdict, version in zip(changes, tells, told.unwrap(), before, strict=True)
            if not self._is_refused(shell, tell, verdict, generation)
        ]
        shell.guard.run(state.ledger.pay, [(w.key, w.change, isinstance(w.verdict, Outrun)) for w in heard])
        for word in heard:
            self._take_verdict(shell, word, now)
        return True

    def _is_refused(self, shell: Shell[K, V, E, C], tell: Tell, verdict: Verdict, generation: bytes) -> bool:
        """Say whether ``tell`` was refused for its generation: nothing newer may be there, and there is another one."""
        return isinstance(verdict, Outrun) and not _may_be_outrun(tell) and self._greet(shell) != generation

    def _shrink(self, shell: Shell[K, V, E, C], changes: "list[tuple[K, Change]]", failure: StoreFailure) -> None:
        """Tell a full store, in place of a value, that the record has ended: that takes no room."""
        for key, change in changes:
            if isinstance(change, SetTo) and change.what.body is not None:
                shell.reports.of_store(StoreSkipped, key, f"the store is full: {failure.detail}")
        shell.guard.run(state_of(shell).ledger.shrink, changes)

    def _take_verdict(self, shell: Shell[K, V, E, C], word: "Word[K]", told_at: int) -> None:
        state = state_of(shell)
        key, change, verdict, before = word
        if isinstance(verdict, Outrun) or change is Told.DELETE:
            return
        mark = marked(verdict.version)
        if not isinstance(change, SetTo):
            shell.guard.run(state.reversioned, key, before, mark, told_at)
        elif state.ledger.is_late(change) and (change.what.version is None or change.what.body is None):
            shell.guard.run(state.unvouched, key, change.what.answer, told_at)
        else:
            shell.guard.run(state.vouched, key, change.what.answer, mark, told_at)

    def _generation(self, shell: Shell[K, V, E, C]) -> bytes | None:
        """Give the generation of the namespace; where none is known yet, ask for it."""
        state = state_of(shell)
        return state.ledger.generation if state.ledger.generation is not None else self._greet(shell)

    def _greet(self, shell: Shell[K, V, E, C]) -> bytes | None:
        told = self.level.greet()
        if isinstance(told, Failure):
            self.fail(shell, told.failure())
            return None
        self.meet(shell, told.unwrap())
        return told.unwrap()

    def meet(self, shell: Shell[K, V, E, C], generation: bytes) -> None:
        """Take in the generation of the namespace."""
        try:
            if shell.guard.run_now(state_of(shell).meet, generation):
                shell.reports.of_store(ChangedElsewhere, None, "cleared")
        finally:
            shell.settle_up()

    def fail(self, shell: Shell[K, V, E, C], failure: StoreFailure) -> None:
        """Take in that the store did not answer: it is away, unless it is full, or was not even asked."""
        if failure is NOT_ASKED or failure.trouble is Trouble.FULL:
            return
        if shell.guard.run_now(state_of(shell).ledger.fail):
            shell.reports.of_store(StoreAway, failure)
            self.wake_sender(shell)

    def leave_lease(self, shell: Shell[K, V, E, C], loan: Loan) -> None:
        """Have the sender give a lease back: whoever held it was interrupted."""
        loan.is_over = True
        lease = loan.take()
        if lease is not None:
            state_of(shell).ledger.loaned.append(lease)
            self.wake_sender(shell)

    def wake_sender(self, shell: Shell[K, V, E, C]) -> None:
        """Have the sender look at what is to be done."""
        if inside() is None and not shell.state.closed:
            self._sender.wake(shell)

    def send(self, shell: Shell[K, V, E, C]) -> float | None:
        """Do what there is to tell the store; give the seconds after which to look again, None where nothing is left.

        This is what the sender runs.
        """
        state = state_of(shell)
        if state.closed:
            return None
        if not state.ledger.is_there():
            return self._probe(shell)
        if state.ledger.owed.everything:
            return 0.0 if self.tell_clear(shell) else LOOK_AGAIN
        if state.ledger.loaned:
            return self._send_leases(shell)
        return self._send_changes(shell)

    def _send_changes(self, shell: Shell[K, V, E, C]) -> float | None:
        ledger, me, changes = state_of(shell).ledger, Lock(), list[tuple[K, Change]]()
        with me:
            try:
                changes += shell.guard.run(ledger.claim_some, AT_ONCE, me)
                if changes and self._tell_changes(shell, changes):
                    return 0.0
            finally:
                shell.guard.run(ledger.unclaim, [key for key, _ in changes], me)
        return None if self.is_settled(shell) else LOOK_AGAIN

    def _probe(self, shell: Shell[K, V, E, C]) -> float:
        level, state = self.level, state_of(shell)
        if not shell.guard.run_now(state.ledger.begin_probe):
            breaker = state.ledger.breaker
            left = breaker.probe_at - shell.clock() if isinstance(breaker, Away) else 0
            return min(max(left / 1_000_000_000, 0.001), LOOK_AGAIN)
        answered = not isinstance(level.probe(), Failure)
        away_for = shell.guard.run_now(partial(state.ledger.probed, answered=answered))
        if away_for is not None:
            shell.reports.of_store(StoreBack, timedelta(microseconds=away_for // 1000), state.ledger.debts)
        return 0.0

    def tell_clear(self, shell: Shell[K, V, E, C]) -> bool:
        """Tell the store that all is cleared; say whether it knows."""
        state, generation = state_of(shell), os.urandom(WORD)
        clears = shell.guard.run(state.ledger.write, generation)
        told = self.level.clear(generation)
        if isinstance(told, Failure):
            self.fail(shell, told.failure())
            return False
        return shell.guard.run_now(state.pay_everything, generation, clears)

    def _send_leases(self, shell: Shell[K, V, E, C]) -> float:
        level, state = self.level, state_of(shell)
        with suppress(IndexError):
            lease = state.ledger.loaned.popleft()
            told = level.tell([level.release(lease)])
            if isinstance(told, Failure):
                self.fail(shell, told.failure())
        return 0.0

    def flush(self, shell: Shell[K, V, E, C]) -> None:
        """Tell the store what is owed, as long as it answers: who leaves waits for that, and no longer.

        What another thread tells it at this moment is waited for as well.
        """
        ledger = state_of(shell).ledger
        while ledger.is_there() and not self.is_settled(shell):
            if self.send(shell) == 0.0:
                continue
            if not ledger.claimed:
                return
            time.sleep(SHORTEST)

    def if_there(
        self, shell: Shell[K, V, E, C], loan: Loan | None, call: Callable[[], Result[T, StoreFailure]]
    ) -> Result[T, StoreFailure]:
        """Call the store, unless it went away while this call waited for its turn, or nobody waits for it any more."""
        if not state_of(shell).ledger.is_there() or (loan is not None and loan.is_over):
            return Failure(NOT_ASKED)
        return call()

    def is_settled(self, shell: Shell[K, V, E, C]) -> bool:
        """Say whether the store knows every change that was made here."""
        return state_of(shell).ledger.is_settled

    def lose_debts(self, shell: Shell[K, V, E, C]) -> None:
        """The cache is closed: tell of each change that the store will not be told of."""
        self._sender.end()
        self._pushed = None
        for key in shell.guard.run(state_of(shell).ledger.forget):
            shell.reports.of_store(StoreSkipped, key, "the cache was closed before the store was told")

    def reset_after_fork(self, shell: Shell[K, V, E, C]) -> None:
        """Owe nothing, and have no sender, as the child of a fork must: what is owed stays with its parent."""
        self.level.reset_after_fork()
        state_of(shell).ledger.forget()
        self._listens, self._pushed = False, None
        self._sender = self._sender.anew()


def state_of(shell: Shell[K, V, E, C]) -> SharedState[K, V, E, C]:
    """Give the state of a cache that has a second level."""
    return cast("SharedState[K, V, E, C]", shell.state)


def _may_be_outrun(tell: Tell) -> bool:
    """Say whether something newer may be there than what is told."""
    return isinstance(tell, Put) and tell.only_if is not None


def _may_tell(shell: Shell[K, V, E, C]) -> bool:
    """Say whether the calling thread may wait for the store: not from inside a change, or a call of a store."""
    return shell.waits_for_store and inside() is None and not is_calling()
