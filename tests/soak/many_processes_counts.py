"""What a campaign counts, phase by phase: how calls ended, how long they took, and what was found wrong."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, final

from tests.soak.many_processes_board import PHASES, SECOND

LOST: Final = "lost"
INVENTED: Final = "invented"
BROKEN: Final = "broken"
RAISED: Final = "raised"
TOO_LONG: Final = "too long"
FOUND: Final = (LOST, INVENTED, BROKEN, RAISED, TOO_LONG)
"""What must not be found."""

_FINE: Final = 3
_BUCKETS: Final = 64 << _FINE
_EXAMPLES: Final = 4


@final
class Finding(NamedTuple):
    """Something that must not be, when it was found, and how one may see that it is so."""

    kind: str
    text: str
    at: int


@final
class Latencies:
    """How often a call took how long: in buckets that are an eighth of a power of two wide, in nanoseconds."""

    def __init__(self) -> None:
        self.counts = [0] * _BUCKETS
        self.longest = 0

    def add(self, took: int) -> None:
        magnitude = max(took.bit_length() - 1 - _FINE, 0)
        self.counts[(magnitude << _FINE) + (took >> magnitude)] += 1
        self.longest = max(self.longest, took)

    def merge(self, other: "Latencies") -> None:
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.longest = max(self.longest, other.longest)

    @property
    def count(self) -> int:
        return sum(self.counts)

    def quantile(self, part: float) -> float:
        """Give the milliseconds that so large a part took at most, or an eighth less."""
        left = self.count * part
        for bucket, count in enumerate(self.counts):
            left -= count
            if left <= 0:
                magnitude = max((bucket >> _FINE) - 1, 0)
                return min(((bucket - (magnitude << _FINE) + 1) << magnitude) - 1, self.longest) / 1e6
        return self.longest / 1e6

    def __str__(self) -> str:
        if not self.count:
            return "-"
        return " / ".join(_plain(ms) for ms in [*map(self.quantile, (0.5, 0.99, 0.999)), self.longest / 1e6])


def _plain(milliseconds: float) -> str:
    return f"{milliseconds:.3f}" if milliseconds < 1 else f"{milliseconds:.1f}"


@final
@dataclass
class Counts:
    """What one phase came to. ``oldest`` is how long after its change an older value was given as fresh, at most."""

    reads: Latencies = field(default_factory=Latencies)
    changes: Latencies = field(default_factory=Latencies)
    what: Counter[str] = field(default_factory=Counter[str])
    oldest: int = 0

    def merge(self, other: "Counts") -> None:
        self.reads.merge(other.reads)
        self.changes.merge(other.changes)
        self.what.update(other.what)
        self.oldest = max(self.oldest, other.oldest)


@final
@dataclass
class Tally:
    """What one thread, one process or all of a campaign counted, and examples of what was found."""

    phases: list[Counts] = field(default_factory=lambda: [Counts() for _ in PHASES])
    findings: list[Finding] = field(default_factory=list[Finding])

    def find(self, phase: int, finding: Finding) -> None:
        self.phases[phase].what[finding.kind] += 1
        self.findings.append(finding)

    def merge(self, other: "Tally") -> None:
        for mine, theirs in zip(self.phases, other.phases, strict=True):
            mine.merge(theirs)
        self.findings = sorted([*self.findings, *other.findings], key=lambda finding: finding.at)

    def found(self) -> int:
        return sum(counts.what[kind] for counts in self.phases for kind in FOUND)

    def examples(self, began_at: int) -> list[str]:
        """Say of each kind what was found first."""
        lines = list[str]()
        for kind in FOUND:
            found = [finding for finding in self.findings if finding.kind == kind]
            for finding in found[:_EXAMPLES]:
                lines.append(f"{kind}, after {(finding.at - began_at) / SECOND:.1f} s: {finding.text}")
        return lines


_PLAIN: Final = (
    "reads",
    "changes",
    "origin calls",
    "second calls",
    "stale",
    "failures",
    "outrun here",
    *FOUND,
    "above 1 s",
)
"""``second calls``: the origin was called for a key for which it was being called, though nobody had changed that, the
store was there, and the origin answered. ``failures``: nobody had a value, unless they are ``outrun here`` or ``lost``.
``outrun here``: the process changed the key itself meanwhile. A call that begins in one phase and ends in another
counts for the one that is not calm, and for the later one of two.
"""
_TIMES: Final = ("oldest (s)", "reads (ms): p50 / p99 / p99.9 / max", "changes (ms): p50 / p99 / p99.9 / max")
_STORE: Final = ("StoreAway / StoreBack", "waited elsewhere", "outran")


def header() -> list[str]:
    """Give the first two lines of the table."""
    names = ("store", "phase", "s", *_PLAIN, *_TIMES, *_STORE)
    return [_row(names), _row("---" for _ in names)]


def rows(store: str, tally: Tally, seconds: Sequence[float]) -> list[str]:
    """Give a line for each phase that there was, and one for all of them."""
    everything = Counts()
    lines = list[str]()
    for name, counts, lasted in zip(PHASES, tally.phases, seconds, strict=True):
        if counts.reads.count + counts.changes.count:
            lines.append(_line(store, name, counts, lasted))
            everything.merge(counts)
    return [*lines, _line(store, "all", everything, sum(seconds))]


def _line(store: str, name: str, counts: Counts, lasted: float) -> str:
    what = counts.what
    what["reads"], what["changes"] = counts.reads.count, counts.changes.count
    away = f"{what['StoreAway']} / {what['StoreBack']}"
    times = (f"{counts.oldest / SECOND:.2f}", counts.reads, counts.changes)
    others = (away, what["WaitedElsewhere"], what["StoreOutran"])
    return _row((store, name, f"{lasted:.0f}", *(what[word] for word in _PLAIN), *times, *others))


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
