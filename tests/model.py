"""A second opinion: the promises of the cache for one key, written as a history with flags, in no way like the core.

It remembers what happened, and derives what may be seen from that; it shares no code with the core.
"""

from dataclasses import dataclass
from datetime import timedelta
from math import inf

from returns.pipeline import is_successful
from returns.result import Failure, Result, Success

from lastcache import CachedValue, LoadFailure
from lastcache.core.states import Answer, Outcome


@dataclass
class Model:
    """One key; durations and instants in the same unit, ``inf`` where there is no bound."""

    ttl: int
    extension: int
    cover_for: float = inf
    give_for: float = inf
    remember_for: int = 0
    early_after: float = inf
    growth: int = 1

    stored: bool = False
    value: str = ""
    fresh_until: int = 0
    stands_until: int = 0
    early_at: float = inf
    err: str | None = None
    refused: bool = False
    in_a_row: int = 0
    failure: str = ""
    remembered_until: float = -inf

    def put(self, value: str, now: int, *, ttl: int | None = None) -> None:
        """A value came in."""
        lasts_for = self.ttl if ttl is None else ttl
        self.stored, self.value, self.err, self.refused, self.in_a_row = True, value, None, False, 0
        self.fresh_until = self.stands_until = now + (lasts_for or -1)
        self.early_at = now + self.early_after
        self.remembered_until = -inf

    def forget(self) -> None:
        self.stored, self.remembered_until = False, -inf

    def expire(self, now: int) -> None:
        self.remembered_until = -inf
        if self.gives_current(now):
            self.stands_until = now - 1
            self.fresh_until = min(self.fresh_until, now - 1)

    def gives_current(self, now: int) -> bool:
        """Whether the value is fresh or extended."""
        return self.stored and not self.refused and now <= self.stands_until

    def current(self, now: int) -> bool:
        """Whether an answer stands, so that nobody has to load."""
        return now <= self.remembered_until or self.gives_current(now)

    def due_early(self, now: int) -> bool:
        """Whether the value is fresh, and a read should begin its next load."""
        return self.gives_current(now) and now <= self.fresh_until and now > self.early_at

    def dead(self, now: int) -> bool:
        """Whether nothing that is stored can be given again."""
        return not self.current(now) and (
            not self.stored or now > self.fresh_until + max(self.cover_for, self.give_for)
        )

    def seen(self, now: int) -> CachedValue[str, str] | None:
        """What ``peek`` shows."""
        if not self.stored:
            return None
        return CachedValue(self.value, now > self.fresh_until, self.err)

    def standing(self, now: int) -> Answer[str, str]:
        if now <= self.remembered_until:
            return Failure(self.failure)
        seen = self.seen(now)
        assert seen is not None
        return Success(seen)

    def gives_stale(self, now: int) -> bool:
        """Whether stale-while-revalidate answers before the load."""
        return self.stored and not self.refused and not self.current(now) and now <= self.fresh_until + self.give_for

    def land(self, outcome: Outcome[str, str], now: int) -> Answer[str, str]:
        """A load that nothing outran came back."""
        if is_successful(outcome):
            self.put(outcome.unwrap(), now)
            return Success(CachedValue(self.value))
        failure = outcome.failure()
        if failure.forget:
            self.forget()
            return self.denied(failure, now)
        if self.due_early(now):
            again_at = now + self.extension
            self.early_at = again_at if self.extension and again_at < self.fresh_until else inf
            return self.standing(now)
        if self.current(now):
            return self.standing(now)
        if self.dead(now):
            self.stored = False
            return self.denied(failure, now)
        return self.settled(failure, now)

    def settled(self, failure: LoadFailure[str], now: int) -> Answer[str, str]:
        """A load of an expired value failed."""
        self.err = failure.err
        self.refused = not (failure.use_stale and now <= self.fresh_until + self.cover_for)
        if self.refused:
            self.in_a_row = 0
            return self.denied(failure, now)
        if self.extension:
            length = min(self.extension * self.growth**self.in_a_row, max(self.extension, self.ttl))
            self.stands_until = now + length
        self.stands_until = int(min(self.stands_until, self.fresh_until + self.cover_for))
        self.in_a_row += 1
        return Success(CachedValue(self.value, stale=True, err=failure.err))

    def denied(self, failure: LoadFailure[str], now: int) -> Answer[str, str]:
        """An answer is a failure; it may be remembered."""
        own = failure.remember_for
        lasts_for = self.remember_for if own is None else own // timedelta(microseconds=1) * 1000
        if lasts_for:
            self.failure, self.remembered_until = failure.err, now + lasts_for
        return Failure(failure.err)

    def land_outrun(self, outcome: Outcome[str, str], now: int) -> Answer[str, str]:
        """A load came back that a newer write outran."""
        if is_successful(outcome):
            return Success(CachedValue(outcome.unwrap()))
        newer: Result[CachedValue[str, str], str] = Failure(outcome.failure().err)
        return Success(self.seen(now)).map(known) if self.gives_current(now) else newer


def known(seen: CachedValue[str, str] | None) -> CachedValue[str, str]:
    """Give what is seen where something is."""
    assert seen is not None
    return seen
