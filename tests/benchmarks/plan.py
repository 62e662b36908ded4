"""How much of each work is done, and the clock that all of them are timed with."""

import gc
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from tests.benchmarks.caches import Case, Open
from tests.benchmarks.tables import Figure, figure


class Scale(NamedTuple):
    """The sizes of the works; times in seconds."""

    calls: int
    keys: int
    entries: int
    growth: tuple[int, ...]
    herd: int
    load_for: float
    read_for: float
    rounds: int


SCALES: Final[Mapping[str, Scale]] = {
    "tiny": Scale(
        calls=200, keys=100, entries=1_000, growth=(100, 1_000), herd=10, load_for=0.005, read_for=0.1, rounds=1
    ),
    "small": Scale(
        calls=20_000,
        keys=100_000,
        entries=100_000,
        growth=(1_000, 10_000, 100_000),
        herd=200,
        load_for=0.05,
        read_for=1,
        rounds=3,
    ),
    "full": Scale(
        calls=200_000,
        keys=100_000,
        entries=1_000_000,
        growth=(1_000, 10_000, 100_000, 1_000_000, 10_000_000),
        herd=200,
        load_for=0.05,
        read_for=5,
        rounds=5,
    ),
}


class Plan(NamedTuple):
    """What a run was asked for."""

    scale: Scale
    rounds: int
    caches: tuple[str, ...] = ("*",)


def nanoseconds_each(work: Callable[[], object], calls: int) -> float:
    """Time ``calls`` calls, and give the time of one.

    What others left is collected before; what the work itself leaves is its own cost.
    """
    gc.collect()
    return timed(work) / calls


def timed(work: Callable[[], object]) -> int:
    """Give the nanoseconds of a work."""
    began = time.perf_counter_ns()
    work()
    return time.perf_counter_ns() - began


def interleaved(
    cases: Iterable[Case[Open]], rounds: int, measure: Callable[[Case[Open]], Mapping[str, float]]
) -> dict[str, dict[str, Figure]]:
    """Measure every cache once in each round, so that what disturbs the machine for a while disturbs all of them."""
    lineup = tuple(cases)
    measured = [{case.name: measure(case) for case in lineup} for _ in range(rounds)]
    return {
        case.name: {column: figure([one[case.name][column] for one in measured]) for column in measured[0][case.name]}
        for case in lineup
    }
