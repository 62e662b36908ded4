"""What many entries cost: memory, pauses of the garbage collector, and slower reads; each cache in its own process."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from tests.benchmarks.caches import Lineup, OpenReader, chosen
from tests.benchmarks.child import CASES, LIMIT, STATM, ask
from tests.benchmarks.plan import Plan
from tests.benchmarks.tables import Figure, Table, figure


@cache
def _footprint(name: str, entries: int, rounds: int) -> Mapping[str, Sequence[float]]:
    """Fill one process, from which both works have their figures."""
    found: Mapping[str, Sequence[float]] = ask("footprint", name, entries, rounds)
    return found


def _footprints(lineup: Lineup[OpenReader], entries: int, rounds: int) -> dict[str, Mapping[str, Sequence[float]]]:
    cases = [case for case in lineup.present if entries <= case.most]
    return {case.name: _footprint(case.name, entries, rounds) for case in cases}


def _needed() -> tuple[str, ...]:
    return () if STATM.exists() else (f"It needs {STATM}.",)


def memory(plan: Plan) -> Iterator[Table]:
    """Measure by how much a process grows."""
    entries = plan.scale.entries
    lineup = chosen(CASES if STATM.exists() else (), plan.caches)
    found = _footprints(lineup, entries, plan.rounds)
    rows = {name: {"bytes": figure(taken["bytes"])} for name, taken in found.items()}
    title = f"Memory, resident bytes per entry of {entries:,}"
    notes = ("One process each, and so one figure. The keys count, the values are one small int.",)
    yield Table("memory", title, rows, lineup.missing, (*_needed(), *notes, *lineup.notes(entries)))


def collections(plan: Plan) -> Iterator[Table]:
    """Time full collections, and after that with all entries frozen."""
    entries = plan.scale.entries
    lineup = chosen(CASES if STATM.exists() else (), plan.caches)
    found = _footprints(lineup, entries, plan.rounds)
    rows = {
        name: {"gc.collect()": figure(pauses["collected"]), "after gc.freeze()": figure(pauses["frozen"])}
        for name, pauses in found.items()
    }
    title = f"Pauses of a full collection beside {entries:,} entries, ms"
    yield Table("gc", title, rows, lineup.missing, (*_needed(), *lineup.notes(entries)), ratios=False)


def growth(plan: Plan) -> Iterator[Table]:
    """Time hits and misses as a cache grows."""
    sizes, lineup = plan.scale.growth, chosen(CASES if STATM.exists() else (), plan.caches)
    steps = {
        case.name: ask("growth", case.name, ",".join(str(size) for size in sizes if size <= case.most), plan.rounds)
        for case in lineup.present
    }
    bound = f"One process each; a cell is empty where the process would have taken more than {LIMIT / 1e9:g} GB."
    notes = (*_needed(), bound, *lineup.notes(sizes[-1]))
    for work, title in (("hit", "Hits at random"), ("miss", "Misses that load and store a new key")):
        rows = {name: _row(measured, work) for name, measured in steps.items()}
        yield Table(f"growth-{work}", f"{title} as entries grow, ns", rows, lineup.missing, notes)


def _row(measured: Sequence[Mapping[str, Any]], work: str) -> dict[str, Figure]:
    return {f"{step['size']:,}": figure(step[work]) for step in measured}
