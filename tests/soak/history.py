"""What happened in a round, written down by the players without a lock, so that an interrupt cannot spoil it.

``seq`` orders all that happens: one number is drawn before a call begins and one after it has ended, so that of two
numbers the lesser came first. ``now`` is the cache's own clock. Whatever is not known yet stands at ``NEVER``.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from returns.pipeline import is_successful
from returns.result import Result

from lastcache import CachedValue
from lastcache.events import Event, Loaded, LoadFailed, Stats
from tests.soak.setting import Setting

NEVER: Final = 1 << 100

FORGETS: Final = frozenset({"set", "delete", "clear", "close"})


@dataclass(frozen=True, slots=True)
class Value:
    """A value with the number of the load or the write that made it; ``ttl`` is its own, in nanoseconds."""

    number: int
    key: str
    ttl: int


@dataclass(frozen=True, slots=True)
class Err:
    """A failure with the number of the load that made it."""

    number: int
    key: str


class Violation(NamedTuple):
    """A law that did not hold, and how that was seen."""

    law: str
    message: str


class Seen(NamedTuple):
    """What a caller was given for one key: a value, or the failure alone."""

    value: Value | None
    stale: bool = False
    err: Err | None = None


@dataclass(eq=False, slots=True)
class Refresh:
    """How a ``refresh`` ended. ``shared`` is the same for all who were given the same one."""

    shared: int
    ended: int = NEVER
    ended_at: int = NEVER
    seen: Seen | None = None
    raised: BaseException | None = None


@dataclass(eq=False, slots=True)
class Call:
    """One call of the cache by one player; ``within`` is the load whose callback made it.

    ``max_stale`` is how stale a value it takes, in nanoseconds; None: any.
    """

    kind: str
    keys: tuple[str, ...]
    player: int
    began: int
    began_at: int
    within: "Load | None" = None
    ended: int = NEVER
    ended_at: int = NEVER
    answers: dict[str, Seen] = field(default_factory=dict[str, Seen])
    raised: BaseException | None = None
    refresh: Refresh | None = None
    cancelled: bool = False
    max_stale: int | None = None

    def __str__(self) -> str:
        demand = "" if self.max_stale is None else f" with max_stale {self.max_stale}"
        return f"{self.kind}{self.keys}{demand} by player {self.player} [{self.began}..{_number(self.ended)}]"


@dataclass(eq=False, slots=True)
class Load:
    """One run of a callback for one key: in the player who called, or in the background.

    ``told``: an event told that it had landed. ``after``: when the same player ended the load before this one.
    ``remember_for`` is that of its failure, in nanoseconds, if it has one.
    """

    number: int
    key: str
    call: Call
    player: int
    loop: int
    began: int
    began_at: int
    ended: int = NEVER
    ended_at: int = NEVER
    outcome: str = "running"
    raised: BaseException | None = None
    told: int = NEVER
    told_at: int = NEVER
    ttl: int = 0
    remember_for: int | None = None
    background: bool = False
    after: int = 0

    def __str__(self) -> str:
        where = "background" if self.background else "foreground"
        return (
            f"load {self.number} of {self.key!r} ({self.outcome}, {where}) [{self.began}..{_number(self.ended)}] "
            f"for {self.call}"
        )


@dataclass(eq=False, slots=True)
class Write:
    """One ``set``, ``delete``, ``expire``, ``clear`` or ``close``; ``key`` is None where it concerns all keys."""

    kind: str
    key: str | None
    number: int
    began: int
    began_at: int
    ttl: int = 0
    ended: int = NEVER
    ended_at: int = NEVER

    def __str__(self) -> str:
        return f"{self.kind}({self.key!r}) [{self.began}..{_number(self.ended)}]"


class Count(NamedTuple):
    """What ``stats`` said when nothing was under way, and how much of the history had happened by then."""

    stats: Stats
    at: int


class Clock:
    """A clock that goes on when somebody moves it, and never back.

    How far it goes at each move is drawn beforehand: moving it is one ``append``, which nothing can interrupt.
    """

    def __init__(self, steps: list[int], hesitate: Callable[[], object] = lambda: None) -> None:
        self._instants = list(itertools.accumulate(steps, initial=0))
        self._moves: list[None] = []
        self._hesitate = hesitate

    def now(self) -> int:
        turns, rest = divmod(len(self._moves), len(self._instants) - 1)
        return turns * self._instants[-1] + self._instants[rest]

    def __call__(self) -> int:
        """Give the time to the cache; its thread may lose its turn just after it was read."""
        now = self.now()
        self._hesitate()
        return now

    def move(self) -> None:
        self._moves.append(None)


class History:
    """All that happened in one round."""

    def __init__(self, setting: Setting, clock: Clock, player: Callable[[], int]) -> None:
        self.setting = setting
        self.clock = clock
        self.player = player
        self.seq: Callable[[], int] = itertools.count(1).__next__
        self.numbers: Callable[[], int] = itertools.count(1).__next__
        self.calls: list[Call] = []
        self.loads: list[Load] = []
        self.writes: list[Write] = []
        self.events: list[tuple[int, Event[str, Err]]] = []
        self.notes: list[Violation] = []
        self.count: Count | None = None
        self._last: dict[tuple[int, str], Load] = {}
        self._latest: dict[int, int] = {}

    def call(self, kind: str, keys: tuple[str, ...], within: Load | None = None, max_stale: int | None = None) -> Call:
        call = Call(kind, keys, self.player(), self.seq(), self.clock.now(), within, max_stale=max_stale)
        self.calls.append(call)
        return call

    def answered(self, call: Call, answers: dict[str, Seen]) -> None:
        call.answers = answers
        call.ended_at, call.ended = self.clock.now(), self.seq()

    def raised(self, call: Call, raised: BaseException) -> None:
        call.raised = raised
        call.ended_at, call.ended = self.clock.now(), self.seq()

    def load(self, call: Call, key: str, loop: int = 0) -> Load:
        load = Load(self.numbers(), key, call, self.player(), loop, self.seq(), self.clock.now())
        load.background = load.player != call.player or call.ended != NEVER
        load.after = self._latest.get(load.player, 0)
        self.loads.append(load)
        return load

    def load_ended(self, load: Load, outcome: str, raised: BaseException | None = None) -> None:
        load.raised, load.outcome = raised, outcome
        self._last[self.player(), load.key] = load
        load.ended_at, load.ended = self.clock.now(), self.seq()
        self._latest[load.player] = load.ended

    def write(self, kind: str, key: str | None, ttl: int = 0) -> Write:
        write = Write(kind, key, self.numbers(), self.seq(), self.clock.now(), ttl)
        self.writes.append(write)
        return write

    def written(self, write: Write) -> None:
        write.ended_at, write.ended = self.clock.now(), self.seq()

    def refreshed(self, refresh: Refresh, result: Result[CachedValue[Value, Err], Err] | BaseException) -> None:
        if isinstance(result, BaseException):
            refresh.raised = result
        else:
            refresh.seen = seen(result)
        refresh.ended_at, refresh.ended = self.clock.now(), self.seq()

    def observe(self, event: Event[str, Err]) -> None:
        """Write an event down. Who tells of a load has just landed it."""
        at = self.seq()
        self.events.append((at, event))
        if isinstance(event, Loaded | LoadFailed):
            load = self._last.get((self.player(), event.key))
            if load is not None and load.told == NEVER:
                load.told_at, load.told = self.clock.now(), at

    def note(self, law: str, message: str) -> None:
        self.notes.append(Violation(law, message))


def seen(answer: Result[CachedValue[Value, Err], Err]) -> Seen:
    """Take an answer apart."""
    if not is_successful(answer):
        return Seen(None, stale=False, err=answer.failure())
    cached = answer.unwrap()
    return Seen(cached.value, cached.stale, cached.err)


def number_of(raised: BaseException | None) -> int | None:
    """Give the number of the load whose callback raised this; None where no callback did."""
    if raised is None or not raised.args or type(raised.args[0]) is not int:
        return None
    return raised.args[0]


def _number(seq: int) -> str:
    return "never" if seq == NEVER else str(seq)
