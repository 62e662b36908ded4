"""What the samples come to: one row for each client and each phase."""

from collections.abc import Iterable
from math import ceil
from typing import Final, NamedTuple

from lastcache._demo.record import Failed, History, Phase, Sample, Switch, phase_at

_MILLISECOND: Final = 1_000_000


class Count(NamedTuple):
    """Answers by kind."""

    fresh: int = 0
    stale: int = 0
    errors: int = 0

    def plus(self, other: "Count") -> "Count":
        """Add kind by kind."""
        return Count(self.fresh + other.fresh, self.stale + other.stale, self.errors + other.errors)

    def minus(self, other: "Count") -> "Count":
        """Subtract kind by kind."""
        return Count(self.fresh - other.fresh, self.stale - other.stale, self.errors - other.errors)


class Row(NamedTuple):
    """One client in one phase; a latency is ``None`` where there was no request."""

    client: str
    phase: Phase
    requests: int
    fresh: int
    stale: int
    errors: int
    origin_calls: int
    p50_ms: float | None
    p99_ms: float | None


def count(samples: Iterable[Sample]) -> Count:
    """Count the answers by kind."""
    fresh = stale = errors = 0
    for sample in samples:
        if isinstance(sample.answer, Failed):
            errors += 1
        elif sample.answer.stale:
            stale += 1
        else:
            fresh += 1
    return Count(fresh, stale, errors)


def percentile(ordered: list[int], percent: int) -> float | None:
    """Give the smallest latency, in milliseconds, that ``percent`` of the ``ordered`` ones do not exceed.

    >>> percentile([1_000_000, 2_000_000, 9_000_000], 50)
    2.0
    """
    if not ordered:
        return None
    return ordered[ceil(len(ordered) * percent / 100) - 1] / _MILLISECOND


def rows(histories: Iterable[History], switches: tuple[Switch, ...], phases: tuple[Phase, ...]) -> tuple[Row, ...]:
    """Sum up each client in each phase; a request belongs to the phase in which it started."""
    return tuple(_row(history, switches, phase) for history in histories for phase in phases)


def _row(history: History, switches: tuple[Switch, ...], phase: Phase) -> Row:
    samples = [sample for sample in history.samples if phase_at(switches, sample.started_at) is phase]
    took = sorted(sample.ended_at - sample.started_at for sample in samples)
    calls = sum(phase_at(switches, call) is phase for call in history.calls)
    p50, p99 = percentile(took, 50), percentile(took, 99)
    return Row(history.client, phase, len(samples), *count(samples), calls, p50, p99)
