"""What is written down while the demonstration runs: frozen records of nanoseconds on one monotonic clock."""

from enum import StrEnum
from typing import Final, NamedTuple, TypeAlias

SECOND: Final = 1_000_000_000
"""In nanoseconds."""


class Phase(StrEnum):
    """Where in the run an instant lies; before the clock starts, every key is read once: the warm-up."""

    WARM_UP = "warm-up"
    UP = "up"
    DOWN = "down"
    DEPLOY = "deploy"
    RECOVERED = "recovered"
    DELETED = "delete"


TIMED: Final = (Phase.UP, Phase.DOWN, Phase.RECOVERED)
TIMED_WORKERS: Final = (Phase.UP, Phase.DOWN, Phase.DEPLOY, Phase.RECOVERED, Phase.DELETED)


class Switch(NamedTuple):
    """From ``began_at`` on, it is ``phase``."""

    phase: Phase
    began_at: int


class Fetched(NamedTuple):
    """What the origin gave: a version that no other answer of this ``generation``, this life of the origin, has.

    ``fetched_at`` is taken when the whole response was there.
    """

    key: int
    version: int
    generation: int
    fetched_at: int


class Given(NamedTuple):
    """An answer with a value, as the client got it, and the error that the value covered, if any."""

    value: Fetched
    stale: bool
    error: str | None = None


class Failed(NamedTuple):
    """An answer without a value."""

    error: str


Answer: TypeAlias = Given | Failed


class Sample(NamedTuple):
    """One request of a client for ``key``: the call began and ended at these instants."""

    key: int
    started_at: int
    ended_at: int
    answer: Answer


class Landing(NamedTuple):
    """A load behind a stale answer had been stored by ``at``, at the latest."""

    value: Fetched
    at: int


class History(NamedTuple):
    """All that one client did; ``calls`` are the instants at which it began to call the origin."""

    client: str
    cached: bool
    samples: tuple[Sample, ...]
    calls: tuple[int, ...]
    landings: tuple[Landing, ...]


def phase_at(switches: tuple[Switch, ...], instant: int) -> Phase:
    """Tell the phase of ``instant``.

    >>> phase_at((Switch(Phase.UP, 10), Switch(Phase.DOWN, 20)), 19)
    <Phase.UP: 'up'>
    """
    return next((switch.phase for switch in reversed(switches) if switch.began_at <= instant), Phase.WARM_UP)
