"""A second opinion: the promises of the cache for one key, written as a history with flags, in no way like the core.

It remembers what happened, and derives what may be seen from that; it shares no code with ``lastcache.transitions``.
"""

from dataclasses import dataclass

from returns.pipeline import is_successful
from returns.result import Failure, Result, Success

from lastcache import CachedValue
from lastcache.transitions import Answer, Outcome


@dataclass
class Model:
    """One key; durations and instants in the same unit."""

    ttl: int
    extension: int
    stored: bool = False
    value: str = ""
    fresh_until: int = 0
    stands_until: int = 0
    err: str | None = None
    refused: bool = False

    def put(self, value: str, now: int) -> None:
        """A value came in."""
        self.stored, self.value, self.err, self.refused = True, value, None, False
        self.fresh_until = self.stands_until = now + self.ttl

    def forget(self) -> None:
        self.stored = False

    def expire(self, now: int) -> None:
        if self.current(now):
            self.stands_until = now - 1
            self.fresh_until = min(self.fresh_until, now - 1)

    def current(self, now: int) -> bool:
        """Whether an answer stands, so that nobody has to load."""
        return self.stored and not self.refused and now <= self.stands_until

    def seen(self, now: int) -> CachedValue[str, str] | None:
        """What ``peek`` shows."""
        if not self.stored:
            return None
        return CachedValue(self.value, now > self.fresh_until, self.err)

    def standing(self, now: int) -> Answer[str, str]:
        seen = self.seen(now)
        assert seen is not None
        return Success(seen)

    def gives_stale(self, now: int) -> bool:
        """Whether stale-while-revalidate answers before the load."""
        return self.stored and not self.refused and not self.current(now)

    def land(self, outcome: Outcome[str, str], now: int) -> Answer[str, str]:
        """A load that nothing outran came back."""
        if is_successful(outcome):
            self.put(outcome.unwrap(), now)
            return Success(CachedValue(self.value))
        failure = outcome.failure()
        if not self.stored:
            return Failure(failure.err)
        if self.current(now):
            return self.standing(now)
        self.err, self.refused = failure.err, not failure.use_stale
        if self.refused:
            return Failure(failure.err)
        if self.extension:
            self.stands_until = now + self.extension
        return Success(CachedValue(self.value, stale=True, err=failure.err))

    def land_outrun(self, outcome: Outcome[str, str], now: int) -> Answer[str, str]:
        """A load came back that a newer write outran."""
        if is_successful(outcome):
            return Success(CachedValue(outcome.unwrap()))
        newer: Result[CachedValue[str, str], str] = Failure(outcome.failure().err)
        return self.standing(now) if self.current(now) else newer
