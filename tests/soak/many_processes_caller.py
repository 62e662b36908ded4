"""A thread of a campaign: it reads and changes keys at a steady rate, and has each answer judged."""

import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias, final

from returns.result import Result, Success

from lastcache import CachedValue, LoadFailure, failed
from lastcache.second.codecs import JsonValue
from tests.soak.many_processes_board import CALM, NEVER, SECOND, Board, Change, Kind
from tests.soak.many_processes_contact import Cache, Memory, Unsettled
from tests.soak.many_processes_counts import RAISED, TOO_LONG, Tally
from tests.soak.many_processes_judge import Judge
from tests.soak.many_processes_values import LEASE, Given, Read, written

Answer: TypeAlias = Result[CachedValue[JsonValue, str], str]

TAKES: Final = (0.002, 0.006)
"""The seconds that the origin takes, at least and at most."""
WRITES: Final = 0.05
LONGEST_READ: Final = LEASE + 2 * SECOND
"""A call waits for one load of another process at most, which has the key alone for ``lease_for`` at most."""
LONGEST_CHANGE: Final = 2 * SECOND
BACKLOG: Final = 1.0
"""The seconds by which a thread may be behind; what it did not come to by then is left out."""
DRAWN: Final = 1000


@final
class Setup(NamedTuple):
    """What a worker is told: ``rate`` is the calls a second of each of its threads."""

    number: int
    url: str
    push: bool
    timeout: float
    threads: int
    rate: float
    weights: Sequence[float]
    seed: int
    mistake: str | None


@final
class Caller:
    """A thread that asks and changes."""

    def __init__(
        self, nth: int, setup: Setup, board: Board, cache: Cache, judge: Judge, memory: Memory, tally: Tally
    ) -> None:
        self._setup = setup
        self._board = board
        self._cache = cache
        self._judge = judge
        self._memory = memory
        self._tally = tally
        self._chance = random.Random(f"{setup.seed} {setup.number} {nth}")
        self._keys: list[int] = []
        self._loaded = False
        self._asked_at = 0

    def run(self, unsettled: Unsettled) -> None:
        """Ask and change at a steady rate until all is over."""
        due_at = time.monotonic() + self._chance.random()
        while not self._board.over.get():
            due_at = max(due_at, time.monotonic() - BACKLOG) + self._chance.expovariate(self._setup.rate)
            time.sleep(max(0.0, due_at - time.monotonic()))
            if self._chance.random() < WRITES:
                self._change(self._key(), unsettled)
            else:
                self._read(self._key())
            unsettled.look()
            self._judge.judge_later()

    def _key(self) -> int:
        if not self._keys:
            drawn = range(self._board.keys)
            self._keys = self._chance.choices(drawn, cum_weights=self._setup.weights, k=DRAWN)
        return self._keys.pop()

    def _read(self, key: int) -> None:
        board = self._board
        phase, quiet, before = board.phase.get(), not board.open_writes[key], board.version[key]
        self._loaded = False
        self._asked_at = began_at = board.now()
        try:
            answer = self._cache.load_or_store(key, self._origin)
        except Exception as err:
            self._judge.call(phase, RAISED, f"load_or_store({key}) raised {err!r}")
            return
        ended_at = board.now()
        after = board.version[key]
        phase = _of(phase, board.phase.get())
        self._tally.phases[phase].reads.add(ended_at - began_at)
        self._check_length(phase, ended_at - began_at, LONGEST_READ, f"load_or_store({key})")
        quiet = quiet and before == after
        self._judged(Read(key, phase, began_at, ended_at, before, after, quiet, self._loaded), answer)

    def _judged(self, read: Read, answer: Answer) -> None:
        if isinstance(answer, Success):
            cached = answer.unwrap()
            self._judge.value(read, cached.value, cached.err, stale=cached.stale)
        else:
            self._judge.failure(read)

    def _origin(self, key: int) -> Result[JsonValue, LoadFailure[str]]:
        """Give what the origin has when it is asked; that takes its time."""
        board = self._board
        given = Given(key, board.version[key], board.now())
        is_down = board.outages.is_open()
        self._loaded = True
        since = board.enter(key, self._asked_at)
        what = self._tally.phases[board.phase.get()].what
        what["origin calls"] += 1
        what["second calls"] += since is not None and self._judge.is_second(since)
        time.sleep(self._chance.uniform(*TAKES))
        board.leave(key)
        return failed("the origin is down", use_stale=True) if is_down else Success(written(given))

    def _change(self, key: int, unsettled: Unsettled) -> None:
        board = self._board
        phase = board.phase.get()
        change = board.begin(key, self._chance.choice(list(Kind)))
        act = self._act(change)
        began_at = board.now()
        self._memory.changed[key] = began_at, NEVER
        try:
            act()
        except Exception as err:
            self._judge.call(phase, RAISED, f"{change} raised {err!r}")
        ended_at = board.now()
        self._memory.changed[key] = began_at, ended_at
        unsettled.add(change, began_at)
        phase = _of(phase, board.phase.get())
        self._tally.phases[phase].changes.add(ended_at - began_at)
        self._check_length(phase, ended_at - began_at, LONGEST_CHANGE, str(change))

    def _act(self, change: Change) -> Callable[[], object]:
        match change.kind:
            case Kind.SET:
                value = written(Given(change.key, change.version, self._board.now()))
                return partial(self._cache.set, change.key, value)
            case Kind.DELETE:
                return partial(self._cache.delete, change.key)
            case Kind.EXPIRE:
                return partial(self._cache.expire, change.key)

    def _check_length(self, phase: int, took: int, longest: int, what: str) -> None:
        if took > SECOND:
            self._tally.phases[phase].what["above 1 s"] += 1
        if took > longest:
            self._judge.call(phase, TOO_LONG, f"{what} took {took / SECOND:.3f} s")


def _of(before: int, after: int) -> int:
    """Give the phase of a call that began in one and ended in another: calm is what nothing happened in."""
    return before if after == CALM else after
