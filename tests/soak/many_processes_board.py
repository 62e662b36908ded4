"""What all processes of a campaign see: one piece of memory, made before they fork.

Each key has the *version* of its value in the origin, which only grows, and the history that a judge needs:

- ``open_writes``: how many changes are under way: begun, and not yet known to the store; and how many of them are sets.
- ``written_at``: when the store knew of the last one. ``deleted``: the version that the last delete brought.
- the last changes that the store acknowledged, which *bind*: no older value may be fresh from ``trust_for`` after them.
- ``shared`` and ``shared_at``: the last version at which somebody loaded the key and the store took it.
- ``loading``: how many callbacks of the origin run, and ``load_began_at``: since when there is one.

A change binds only if no set of the key was open when it began: which of two sets at once is the newer one is known to
the store alone. Instants are in nanoseconds of the clock that all processes of a machine share.
"""

import mmap
import time
from collections.abc import Sequence
from enum import IntEnum
from multiprocessing import get_context
from typing import Final, NamedTuple, final

WORD: Final = 8
NEVER: Final = 1 << 62
SECOND: Final = 1_000_000_000
STRIPES: Final = 256
ACKS: Final = 8
"""How many changes are remembered of a key."""
SPREAD: Final = SECOND // 3
"""How far apart they are, where there are more: but for the last one, which is the last there was."""
SPANS: Final = 512

COLD, CALM, STOPPED, KILLED, FLUSHED, STORM, DOWN, BOTH = range(8)
PHASES: Final = ("cold", "calm", "stopped", "killed", "flushed", "storm", "origin down", "origin down, stopped")


class Kind(IntEnum):
    """What is done to a key."""

    SET = 0
    DELETE = 1
    EXPIRE = 2


@final
class Change(NamedTuple):
    """A change that a worker makes, and the version that the origin has since."""

    key: int
    kind: Kind
    version: int
    binds: bool


@final
class Ack(NamedTuple):
    """The store knew at ``at`` that nothing older than ``version`` counts any more."""

    version: int
    at: int
    kind: Kind


class Word:
    """One number that all processes see."""

    def __init__(self, words: "memoryview[int]") -> None:
        self._words = words

    def get(self) -> int:
        return self._words[0]

    def put(self, number: int) -> None:
        self._words[0] = number


class Spans:
    """The spans of time in which something was so: the parent writes them down, everybody reads them."""

    def __init__(self, words: "memoryview[int]") -> None:
        self._words = words

    def begin(self, at: int) -> None:
        """It is so from ``at`` on; what ended less than a second before goes on."""
        count = self._words[0]
        if count and at < self._words[2 * count] + SECOND:
            self._words[2 * count] = NEVER
            return
        self._words[2 * count + 1], self._words[2 * count + 2] = at, NEVER
        self._words[0] = count + 1

    def end(self, at: int) -> None:
        self._words[2 * self._words[0]] = at

    def is_open(self) -> bool:
        count = self._words[0]
        return count > 0 and self._words[2 * count] == NEVER

    def all(self) -> list[tuple[int, int]]:
        return [(self._words[2 * n + 1], self._words[2 * n + 2]) for n in range(self._words[0])]

    def touch(self, begin: int, end: int) -> bool:
        """Tell whether it was so at any time between the two."""
        return any(began <= end and begin <= ended for began, ended in self.all())

    def length(self, begin: int, end: int) -> int:
        """Give for how long in all it was so, in the spans that touch that time."""
        return sum(min(ended, end) - began for began, ended in self.all() if began <= end and begin <= ended)


@final
class Board:
    """The memory that a campaign shares."""

    def __init__(self, keys: int, workers: int) -> None:
        context = get_context("fork")
        sizes = [keys] * 9 + [keys * ACKS * 2, 2, workers] + [2 * SPANS + 1] * 3
        words = memoryview(mmap.mmap(-1, WORD * sum(sizes))).cast("Q")
        parts = [words[sum(sizes[:n]) : sum(sizes[: n + 1])] for n in range(len(sizes))]
        self.keys = keys
        self.version, self.deleted, self.written_at, self.open_writes, self._open_sets = parts[:5]
        self.shared, self.shared_at, self._loading, self._load_began_at = parts[5:9]
        self._acks, heads, self.found = parts[9:12]
        self.losses, self.stops, self.outages = map(Spans, parts[12:])
        self.phase, self.over = Word(heads[0:1]), Word(heads[1:2])
        self._locks = [context.Lock() for _ in range(STRIPES)]

    def now(self) -> int:
        return time.monotonic_ns()

    def begin(self, key: int, kind: Kind) -> Change:
        """Give the origin a newer value of ``key``, whose change is about to be told."""
        with self._locks[key % STRIPES]:
            self.version[key] += 1
            change = Change(key, kind, self.version[key], binds=not self._open_sets[key])
            self.open_writes[key] += 1
            self._open_sets[key] += kind is Kind.SET
            if kind is Kind.DELETE:
                self.deleted[key] = change.version
        return change

    def end(self, change: Change, *, binds: bool) -> None:
        """The store knows of ``change``, or of what took its place."""
        with self._locks[change.key % STRIPES]:
            now = self.now()
            self.open_writes[change.key] -= 1
            self._open_sets[change.key] -= change.kind is Kind.SET
            self.written_at[change.key] = now
            if binds and change.binds:
                self._remember(change, now)

    def _remember(self, change: Change, now: int) -> None:
        acks, size = self._acks, 2 * ACKS
        base = change.key * size
        if change.version <= acks[base] >> 2:
            return
        if now - acks[base + 3] >= SPREAD:
            acks[base + 2 : base + size] = acks[base : base + size - 2]
        acks[base], acks[base + 1] = change.version << 2 | change.kind, now

    def acks_after(self, key: int, version: int) -> list[Ack]:
        """Give the changes that the store knew of, and that made ``version`` too old; the first one first."""
        with self._locks[key % STRIPES]:
            words = self._acks[key * 2 * ACKS : (key + 1) * 2 * ACKS].tolist()
        acks = [Ack(word >> 2, at, Kind(word & 3)) for word, at in zip(words[::2], words[1::2], strict=True)]
        return [ack for ack in reversed(acks) if ack.version > version]

    def share(self, key: int, version: int, at: int) -> None:
        """Somebody loaded this version, nobody wrote meanwhile, and the store took it."""
        with self._locks[key % STRIPES]:
            if version >= self.shared[key]:
                self.shared[key], self.shared_at[key] = version, at

    def enter(self, key: int, asked_at: int) -> int | None:
        """A callback begins, of a call that began at ``asked_at``; say since when another runs for the same key.

        Not so where somebody has written since either of them began: then there may be two.
        """
        with self._locks[key % STRIPES]:
            self._loading[key] += 1
            if self._loading[key] == 1:
                self._load_began_at[key] = self.now()
                return None
            since = self._load_began_at[key]
            return None if self.open_writes[key] or self.written_at[key] > min(since, asked_at) else since

    def leave(self, key: int) -> None:
        with self._locks[key % STRIPES]:
            self._loading[key] -= 1

    def total_found(self) -> int:
        """Give how much the workers have found so far."""
        return sum(self.found)


def zipf(keys: int, exponent: float) -> Sequence[float]:
    """Give the weights of keys, each added to those before it: the nth is asked for 1/n**exponent as often."""
    total, weights = 0.0, list[float]()
    for rank in range(1, keys + 1):
        total += 1 / rank**exponent
        weights.append(total)
    return weights
