"""Several threads: how much they read together, and how often a missing key is loaded when all want it at once."""

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from tests.benchmarks.caches import OpenReader, Reader, Setup, ThreadCase, chosen, read_all
from tests.benchmarks.hits import spare
from tests.benchmarks.loads import QUICK, slow
from tests.benchmarks.own import BASE, PLAIN, REVALIDATING, SHAPES
from tests.benchmarks.peers import CACHIER, PEERS
from tests.benchmarks.plan import Plan, interleaved
from tests.benchmarks.tables import Table

THREADS: Final = (1, 2, 4, 8)
HOT: Final = 1_000
"""How many keys are in the cache before the threads begin."""


def together(works: Sequence[Callable[[], object]]) -> float:
    """Begin all works at once, each in a thread, and give the seconds until the last has ended."""
    gate = threading.Barrier(len(works) + 1)

    def run(work: Callable[[], object]) -> None:
        gate.wait()
        work()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    gate.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def shares(calls: int, threads: int, misses: float) -> list[list[int]]:
    """Draw the keys of each thread: hot ones, and for a part of the calls new ones that no other thread has."""
    chance = random.Random(7)
    new = iter(range(HOT, HOT + calls))
    return [
        [next(new) if chance.random() < misses else chance.randrange(HOT) for _ in range(calls // threads)]
        for _ in range(threads)
    ]


def throughput(plan: Plan) -> Iterator[Table]:
    """Read with more and more threads, hits only, and with a miss in twenty."""
    for work, title, misses in (
        ("throughput", "hits only", 0.0),
        ("throughput-mixed", "one read in 20 misses", 0.05),
    ):
        drawn = {threads: shares(plan.scale.calls, threads, misses) for threads in THREADS}

        def measure(case: ThreadCase, drawn: dict[int, list[list[int]]] = drawn) -> Mapping[str, float]:
            return {_named(threads): _rate(case.open, parts) for threads, parts in drawn.items()}

        lineup = chosen((*BASE, PLAIN, *SHAPES, REVALIDATING, *PEERS), plan.caches)
        rows = interleaved(lineup.present, plan.rounds, measure)
        yield Table(work, f"Thousands of reads in a second, {title}", rows, lineup.missing)


def _named(threads: int) -> str:
    return f"{threads} thread{'s' if threads > 1 else ''}"


def _rate(open_reader: OpenReader, parts: list[list[int]]) -> float:
    calls = sum(map(len, parts))
    reader = open_reader(Setup(QUICK, room=spare(HOT + calls)))
    read_all(reader, range(HOT))
    spent = together([_walk(reader, part) for part in parts])
    reader.close()
    return calls / spent / 1000


def _walk(reader: Reader, keys: Sequence[int]) -> Callable[[], None]:
    return lambda: read_all(reader, keys)


def stampede(plan: Plan) -> Iterator[Table]:
    """Let a herd of threads ask for one missing key whose load is slow."""

    def measure(case: ThreadCase) -> Mapping[str, float]:
        source = slow(plan.scale.load_for)
        reader = case.open(Setup(source.loads, room=spare(HOT)))
        spent = together([_walk(reader, [1])] * plan.scale.herd)
        reader.close()
        return {"loads": source.taken(), "ms until all have it": spent * 1000}

    lineup = chosen((*BASE, PLAIN, REVALIDATING, *SHAPES, *PEERS, CACHIER), plan.caches)
    rows = interleaved(lineup.present, plan.rounds, measure)
    title = f"{plan.scale.herd} threads ask for a missing key that takes {plan.scale.load_for * 1000:g} ms to load"
    yield Table("stampede", title, rows, lineup.missing, ratios=False)
