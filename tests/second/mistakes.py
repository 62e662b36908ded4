"""The oracle of the partition walks finds mistakes: it is shown each of them in the cache, or in the store.

``python -m tests.second.mistakes`` makes one mistake after another, and walks until each is seen. It reaches into the
cache, as no test does.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

from lastcache._shell import shared_state
from lastcache._shell.accounts import Accounts
from lastcache._shell.ledger import Ledger
from lastcache._shell.level import Level
from lastcache._shell.second_level import SecondLevel
from lastcache._shell.shared_state import SharedState
from lastcache.core import shared
from lastcache.core.shared import Absent, Filled, Gone, Refuted
from lastcache.core.states import Strategy
from lastcache.second import memory, rules
from lastcache.second.protocol import Forget, Held, Lease, Put, Same, Version, Want
from tests.second.partitions import broken_by

WALKS: Final = 6000
SECONDS: Final = 45.0


def fills_without_fencing(patch: pytest.MonkeyPatch) -> None:
    """A store takes each fill of the right record."""
    filled = rules._filled  # noqa: SLF001  # the place of the mistake

    def unfenced(head: Any, fill: Any, moment: Any) -> Any:
        return None if head is None else filled(head, fill._replace(lease=Lease(head.epoch, head.number)), moment)

    patch.setattr(rules, "_filled", lambda head, fill, moment: unfenced(_unfloored(head), fill, moment))


def _unfloored(head: Any) -> Any:
    return head if head is None or head.floor < head.number else head._replace(number=head.number + 1)


def minds_no_epoch(patch: pytest.MonkeyPatch) -> None:
    """A lease of a record that was lost fills the next one of that name."""
    filled = rules._filled  # noqa: SLF001  # the place of the mistake

    def forgetful(head: Any, fill: Any, moment: Any) -> Any:
        if head is None or fill.lease.number <= head.floor:
            return filled(head, fill, moment)
        above = _unfloored(head)
        return filled(above, fill._replace(lease=Lease(head.epoch, above.number)), moment)

    patch.setattr(rules, "_filled", forgetful)


def stores_here_what_was_refused(patch: pytest.MonkeyPatch) -> None:
    """What the store refused is stored here all the same."""
    settle = shared.settle_shared

    def trusting(policy: Any, known: Any, outcome: Any, verdict: Any, *others: Any, **named: Any) -> Any:
        taken = Filled(Version(b"", 0)) if isinstance(verdict, Refuted) else verdict
        return settle(policy, known, outcome, taken, *others, **named)

    patch.setattr(shared_state, "settle_shared", trusting)


def asks_for_what_is_owed(patch: pytest.MonkeyPatch) -> None:
    """A key is asked for while the store is still to be told what was done to it."""
    patch.setattr(Ledger, "may_ask", lambda self, key: self.is_there())


def sets_late_and_blindly(patch: pytest.MonkeyPatch) -> None:
    """A set that was owed is told as any other."""
    patch.setattr(Ledger, "is_late", lambda self, change: False)


def trusts_from_the_landing(patch: pytest.MonkeyPatch) -> None:
    """What was loaded without a lease is trusted from its landing."""
    settle = shared.settle_shared

    def late(
        policy: Any, known: Any, outcome: Any, verdict: Any, began_at: int, now: int, trust: int, **named: Any
    ) -> Any:
        return settle(policy, known, outcome, verdict, now, now, trust, **named)

    patch.setattr(shared_state, "settle_shared", late)


def ignores_tombstones(patch: pytest.MonkeyPatch) -> None:
    """A tombstone is taken for a loss."""
    adopt = shared.adopt

    def deaf(policy: Any, known: Any, found: Any, *others: Any) -> Any:
        return adopt(policy, known, Absent() if isinstance(found, Gone) else found, *others)

    patch.setattr(shared_state, "adopt", deaf)


def takes_a_loss_for_a_delete(patch: pytest.MonkeyPatch) -> None:
    """A record that is not there takes the value from who has it."""
    adopt = shared.adopt

    def eager(policy: Any, known: Any, found: Any, *others: Any) -> Any:
        return adopt(policy, known, Gone(Version(b"", 0)) if isinstance(found, Absent) else found, *others)

    patch.setattr(shared_state, "adopt", eager)


def ignores_clears(patch: pytest.MonkeyPatch) -> None:
    """A new generation is learnt, and clears nothing."""

    def meet(self: Any, now: int, generation: bytes) -> bool:
        known, self.ledger.generation = self.ledger.generation, generation
        if known is None:
            self._end_all(now)
        return False

    patch.setattr(SharedState, "meet", meet)


def keeps_what_it_had_at_the_first_contact(patch: pytest.MonkeyPatch) -> None:
    """What was loaded before the first contact stands."""
    meet = SharedState.meet

    def lenient(self: Any, now: int, generation: bytes) -> bool:
        if self.ledger.generation is None:
            self.ledger.generation = generation
        return meet(self, now, generation)

    patch.setattr(SharedState, "meet", lenient)


def compares_no_versions(patch: pytest.MonkeyPatch) -> None:
    """A store says that a fresh record is the same to whoever knows any."""
    answer = rules.answer

    def vague(head: Any, body: Any, schema: str, ask: Any, *others: Any) -> Any:
        told, changed = answer(head, body, schema, ask, *others)
        fresh = ask.known is not None and isinstance(told, Held) and told.fresh_for > rules.NOW
        return (Same(told.fresh_for) if isinstance(told, Held) and fresh else told), changed

    patch.setattr(memory, "answer", vague)


def forgets_without_a_lease(patch: pytest.MonkeyPatch) -> None:
    """A load that finds nothing deletes what others have set meanwhile."""
    fill = Level.fill

    def blunt(self: Any, lease: Any, body: Any, fresh_for: int) -> Any:
        told: Any = fill(self, lease, body, fresh_for)
        return told if body is not None else Forget(told.namespace, told.name, told.generation, told.keep_for)

    patch.setattr(Level, "fill", blunt)


def fills_without_a_lease(patch: pytest.MonkeyPatch) -> None:
    """What was loaded is told as what was set."""
    fill = Level.fill

    def blunt(self: Any, lease: Any, body: Any, fresh_for: int) -> Any:
        told: Any = fill(self, lease, body, fresh_for)
        if body is None:
            return told
        return Put(told.namespace, told.name, told.generation, body, told.schema, told.fresh_for, told.keep_for)

    patch.setattr(Level, "fill", blunt)


def lands_what_was_detached(patch: pytest.MonkeyPatch) -> None:
    """A load that something here outran is stored here."""
    patch.setattr(shared_state, "is_attached", lambda found, flight: True)


def adopts_for_any_check(patch: pytest.MonkeyPatch) -> None:
    """What was heard of an answer is taken in, whatever is here by now."""

    def hasty(self: Any, now: int, key: Any, callback: Any, unchecked: Any, found: Any, asked_at: int) -> Any:
        known = self._take_in(now, key, found, asked_at)
        decision: Any = shared.look_up(self.policy, Strategy.STALE_IF_ERROR, known, None, now)
        return getattr(decision, "answer", None)

    patch.setattr(SharedState, "checked", hasty)


def trusts_for_ever(patch: pytest.MonkeyPatch) -> None:
    """The store is not asked again while a value is fresh."""
    patch.setattr(SharedState, "_trust", lambda self: 1 << 60)


def forces_each_lease(patch: pytest.MonkeyPatch) -> None:
    """Each load takes a lease that others may hold as well."""
    question = SharedState.question

    def forced(self: Any, now: int, key: Any, **others: Any) -> Any:
        asked = question(self, now, key, **others)
        return asked._replace(want=Want.FORCE) if asked is not None and asked.want is Want.LEASE else asked

    patch.setattr(SharedState, "question", forced)


def keeps_the_lease_of_a_failed_load(patch: pytest.MonkeyPatch) -> None:
    """A load that fails gives its lease back to nobody."""
    word_of = SecondLevel.word_of

    def mute(self: Any, *others: Any) -> Any:
        told = word_of(self, *others)
        return None if type(told).__name__ == "Release" else told

    patch.setattr(SecondLevel, "word_of", mute)


def owes_nothing(patch: pytest.MonkeyPatch) -> None:
    """What the store could not be told is forgotten."""
    tell_changes = Accounts._tell_changes  # noqa: SLF001  # the place of the mistake

    def careless(self: Any, shell: Any, changes: Any) -> bool:
        told = tell_changes(self, shell, changes)
        for key, change in changes:
            shell.state.ledger.pay(key, change)
        return told

    patch.setattr(Accounts, "_tell_changes", careless)


def leaves_the_sender_asleep(patch: pytest.MonkeyPatch) -> None:
    """Nobody is woken to tell what is owed."""
    patch.setattr(Accounts, "wake_sender", lambda self, shell: None)


def believes_in_longer_freshness(patch: pytest.MonkeyPatch) -> None:
    """What the store has is fresh for a whole TTL once more."""
    adopt = shared.adopt

    def hopeful(policy: Any, known: Any, found: Any, *others: Any) -> Any:
        fresh = isinstance(found, shared.Held) and found.fresh_for >= 0
        longer = shared.Held(found.value, policy.global_ttl, found.version) if fresh else found
        return adopt(policy, known, longer, *others)

    patch.setattr(shared_state, "adopt", hopeful)


def expires_here_alone(patch: pytest.MonkeyPatch) -> None:
    """An expire changes nothing in the store."""
    written = rules.written

    def lazy(head: Any, tell: Any, *others: Any) -> Any:
        return written(head, tell, *others) if type(tell).__name__ != "Expire" or head is None else head

    patch.setattr(memory, "written", lazy)


SEEDED: Final[list[Callable[[pytest.MonkeyPatch], None]]] = [
    fills_without_fencing,
    minds_no_epoch,
    stores_here_what_was_refused,
    asks_for_what_is_owed,
    sets_late_and_blindly,
    trusts_from_the_landing,
    ignores_tombstones,
    takes_a_loss_for_a_delete,
    ignores_clears,
    keeps_what_it_had_at_the_first_contact,
    compares_no_versions,
    forgets_without_a_lease,
    fills_without_a_lease,
    lands_what_was_detached,
    adopts_for_any_check,
    trusts_for_ever,
    forces_each_lease,
    keeps_the_lease_of_a_failed_load,
    owes_nothing,
    leaves_the_sender_asleep,
    believes_in_longer_freshness,
    expires_here_alone,
]


def walks_to_find(seed_it: Callable[[pytest.MonkeyPatch], None]) -> tuple[int, str] | None:
    """Walk with the mistake until a promise is broken: give how many walks that took, and which promise."""
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        seed_it(patch)
        for walks in range(1, WALKS + 1):
            found = broken_by(walks)
            if found is not None:
                return walks, found[0].law
            if time.monotonic() - began > SECONDS:
                return None
    return None


def main() -> int:
    """Say of each mistake how many walks it took to find it; fail where one was not found."""
    missed = 0
    for seed_it in SEEDED:
        found = walks_to_find(seed_it)
        missed += found is None
        told = "not found" if found is None else f"{found[0]} walks: {found[1]}"
        sys.stdout.write(f"{seed_it.__name__}: {told}\n")
        sys.stdout.flush()
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
