"""What is written to a cache by its users, and how the store beside it, if there is one, comes to know of it.

A change acts here at once, and is *owed* to the store from the same instant on. In threads the caller tells the store
before it returns; in tasks, and wherever that is not possible, the sender does. Until the store knows, no load of this
process asks it about the key: it might answer what is over.
"""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from threading import get_ident
from typing import Any, Final, TypeVar, cast

from returns.result import Failure

from lastcache._shell.guard import inside
from lastcache._shell.ledger import Change, Claimed
from lastcache._shell.level import NOT_YET, Level, Loan, is_calling
from lastcache._shell.place import Place
from lastcache._shell.sender import Sender
from lastcache._shell.shared_state import SharedState
from lastcache._shell.shell import Shell
from lastcache.config import Config
from lastcache.core.away import Away
from lastcache.core.owed import SetTo
from lastcache.events import ChangedElsewhere, Observer, StoreAway, StoreBack, StoreSkipped
from lastcache.second.options import Second
from lastcache.second.protocol import Kept, StoreFailure, Trouble, Verdict

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C", bound=Callable[..., Any])

AT_ONCE: Final = 64
"""How many changes the store is told of in one message."""

SHORTEST: Final = 0.0005
LONGEST: Final = 0.01
"""The seconds between two looks at whether another thread has told the store of a key."""

LOOK_AGAIN: Final = 0.1
"""The seconds after which the sender looks at the clock again while the store is away, or full."""

WORD: Final = 8
"""The bytes of a generation."""


class Writes(Shell[K, V, E, C]):
    """The changes of one cache."""

    __slots__ = ("_sender",)

    def __init__(
        self,
        config: Config,
        clock: Callable[[], int],
        ttl_for: Callable[[V], timedelta] | None,
        observer: Observer[K, E] | None,
        timer: Callable[[], float],
        name: str = "",
        second: Second[K, V] | None = None,
    ) -> None:
        super().__init__(config, clock, ttl_for, observer, timer, name, second)
        self._sender = Sender()

    def second_level(self, place: "Place[K, V, E, C] | None" = None) -> tuple[Level[K, V], SharedState[K, V, E, C]]:
        """Give the second level, where there is one, and the state of ``place`` that goes with it."""
        state = self.state if place is None else place.state
        return cast("Level[K, V]", self.level), cast("SharedState[K, V, E, C]", state)

    def set(self, key: K, value: V, ttl: int | None) -> None:
        """Store ``value``."""
        if self.level is None:
            self.write_now(self.state.set, key, value, ttl)
            return
        level, state = self.second_level()
        self.check_open()
        level.form_of(key)
        body = level.encode(value)
        if isinstance(body, str):
            self.reports.of_store(StoreSkipped, key, body)
        self.write_now(state.set_and_owe, key, value, ttl, None if isinstance(body, str) else body)
        self.tell_debt(key)

    def expire(self, key: K) -> None:
        """End the freshness of ``key``."""
        if self.level is None:
            self.write_now(self.state.expire, key)
            return
        level, state = self.second_level()
        self.check_open()
        level.form_of(key)
        self.write_now(state.expire_and_owe, key)
        self.tell_debt(key)

    def delete(self, key: K) -> None:
        """Forget ``key``."""
        if self.level is None:
            self.write(self.state.delete, key)
            return
        level, state = self.second_level()
        self.check_open()
        level.form_of(key)
        self.write(state.delete_and_owe, key)
        self.tell_debt(key)

    def clear(self) -> None:
        """Forget every key."""
        if self.level is None:
            self.write(self.state.clear)
            return
        _, state = self.second_level()
        self.write(state.clear_and_owe)
        self.tell_cleared()

    def tell_debt(self, key: K) -> None:
        """Have the store told of what ``key`` owes, before this returns if that can be."""
        raise NotImplementedError

    def tell_cleared(self) -> None:
        """Have the store told that all is cleared, before this returns if that can be."""
        raise NotImplementedError

    def may_tell_here(self) -> bool:
        """Say whether the calling thread may call the store: not from inside a change, or a call of a store."""
        return inside() is None and not is_calling()

    def tell_now(self, key: K) -> None:
        """Tell the store what ``key`` owes; where another thread does so, wait until it has."""
        pause = SHORTEST
        while (told := self._tell_one(key)) is not False:
            if told is None:
                time.sleep(pause)
                pause = min(2 * pause, LONGEST)
        if not self.is_settled():
            self.wake_sender()

    def _tell_one(self, key: K) -> bool | None:
        """Tell the store what ``key`` owes; say whether there may be more to tell, None where another tells it."""
        _, state = self.second_level()
        me = get_ident()
        try:
            change = self.guard.run(state.ledger.claim, key, me)
            if change is None or isinstance(change, Claimed):
                return None if isinstance(change, Claimed) else False
            return self._tell_changes([(key, change)])
        finally:
            self.guard.run(state.ledger.unclaim, [key], me)

    def _tell_changes(self, changes: "list[tuple[K, Change]]") -> bool:
        """Tell the store of changes that were claimed; say whether it was reached."""
        level, state = self.second_level()
        generation = self._generation()
        if generation is None:
            return False
        now = self.clock()
        tells = [
            level.word_of(level.form_of(key), generation, change, now, late=state.ledger.is_late(change))
            for key, change in changes
        ]
        told = level.tell(tells)
        if isinstance(told, Failure):
            self.fail(state, told.failure())
            if told.failure().trouble is Trouble.FULL:
                self.guard.run(state.ledger.shrink, changes)
            return False
        for (key, change), verdict in zip(changes, told.unwrap(), strict=True):
            self._take_verdict(key, change, verdict, now)
        return True

    def _take_verdict(self, key: K, change: Change, verdict: Verdict, told_at: int) -> None:
        _, state = self.second_level()
        before = state.ledger.generation
        if not isinstance(verdict, Kept) and not state.ledger.is_late(change) and self._greet() != before:
            # It was told under another generation: it is told once more under that which there is.
            return
        self.guard.run(state.ledger.pay, key, change)
        if isinstance(verdict, Kept) and isinstance(change, SetTo):
            self.guard.run(state.vouched, key, change.what.fresh_until, verdict.version, told_at)

    def _generation(self) -> bytes | None:
        """Give the generation of the namespace; where none is known yet, ask for it."""
        _, state = self.second_level()
        return state.ledger.generation if state.ledger.generation is not None else self._greet()

    def _greet(self) -> bytes | None:
        level, state = self.second_level()
        told = level.greet()
        if isinstance(told, Failure):
            self.fail(state, told.failure())
            return None
        self.meet(state, told.unwrap())
        return told.unwrap()

    def meet(self, state: SharedState[K, V, E, C], generation: bytes) -> None:
        """Take in the generation of the namespace."""
        try:
            if self.guard.run_now(state.meet, generation):
                self.reports.of_store(ChangedElsewhere, None, "cleared")
        finally:
            self.settle_up()

    def fail(self, state: SharedState[K, V, E, C], failure: StoreFailure) -> None:
        """Take in that the store did not answer: it is away, unless it is full, or was not even asked."""
        if failure is NOT_YET or failure.trouble is Trouble.FULL:
            return
        if self.guard.run_now(state.ledger.fail):
            self.reports.of_store(StoreAway, failure)
            self.wake_sender()

    def leave_lease(self, loan: Loan) -> None:
        """Have the sender give a lease back: whoever held it was interrupted."""
        _, state = self.second_level()
        loan.is_over = True
        lease = loan.take()
        if lease is not None:
            state.ledger.loaned.append(lease)
            self.wake_sender()

    def wake_sender(self) -> None:
        """Have the sender look at what is to be done."""
        if self.level is not None and not self.state.closed:
            self._sender.wake(self)

    def send(self) -> float | None:
        """Do what there is to tell the store; give the seconds after which to look again, None where nothing is left.

        This is what the sender runs.
        """
        _, state = self.second_level()
        if state.closed:
            return None
        if not state.ledger.is_there():
            return self._probe()
        if state.ledger.owed.everything:
            return 0.0 if self.tell_clear() else LOOK_AGAIN
        if state.ledger.loaned:
            return self._send_leases()
        return self._send_changes()

    def _send_changes(self) -> float | None:
        _, state = self.second_level()
        me, changes = get_ident(), list[tuple[K, Change]]()
        try:
            changes += self.guard.run(state.ledger.claim_some, AT_ONCE, me)
            if changes and self._tell_changes(changes):
                return 0.0
        finally:
            self.guard.run(state.ledger.unclaim, [key for key, _ in changes], me)
        return None if self.is_settled() else LOOK_AGAIN

    def _probe(self) -> float:
        level, state = self.second_level()
        if not self.guard.run_now(state.ledger.begin_probe):
            breaker = state.ledger.breaker
            left = breaker.probe_at - self.clock() if isinstance(breaker, Away) else 0
            return min(max(left / 1_000_000_000, 0.001), LOOK_AGAIN)
        answered = not isinstance(level.probe(), Failure)
        away_for = self.guard.run_now(partial(state.ledger.probed, answered=answered))
        if away_for is not None:
            self.reports.of_store(StoreBack, timedelta(microseconds=away_for // 1000), len(state.ledger.owed.keys))
        return 0.0

    def tell_clear(self) -> bool:
        """Tell the store that all is cleared; say whether it knows."""
        level, state = self.second_level()
        clears, generation = state.ledger.clears, os.urandom(WORD)
        told = level.clear(generation)
        if isinstance(told, Failure):
            self.fail(state, told.failure())
            return False
        return self.guard.run(state.ledger.pay_everything, generation, clears)

    def _send_leases(self) -> float:
        level, state = self.second_level()
        lease = state.ledger.loaned.popleft()
        told = level.tell([level.release(lease)])
        if isinstance(told, Failure):
            self.fail(state, told.failure())
        return 0.0

    def is_settled(self) -> bool:
        """Say whether the store knows every change that was made here."""
        return self.level is None or self.second_level()[1].ledger.is_settled

    def lose_debts(self) -> None:
        """The cache is closed: tell of each change that the store will not be told of."""
        if self.level is not None:
            for key in self.guard.run(self.second_level()[1].ledger.forget):
                self.reports.of_store(StoreSkipped, key, "the cache was closed before the store was told")

    def forget_store_after_fork(self) -> None:
        """Owe nothing, and have no sender, as the child of a fork must: what is owed stays with its parent."""
        if self.level is not None:
            self.level.reset_after_fork()
            self.second_level()[1].ledger.forget()
            self._sender = Sender()
