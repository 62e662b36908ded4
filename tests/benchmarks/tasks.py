"""What a hit costs in a task."""

import asyncio
import gc
import random
import time
from collections.abc import Iterator, Mapping, Sequence

from tests.benchmarks.caches import Reader, Setup, TaskCase, await_all, chosen
from tests.benchmarks.hits import spare
from tests.benchmarks.loads import QUICK
from tests.benchmarks.plan import Plan, interleaved
from tests.benchmarks.tables import Table
from tests.benchmarks.task_caches import TASKS


def task_hits(plan: Plan) -> Iterator[Table]:
    """Read one key again and again in one task, and then some at random."""
    calls, keys = plan.scale.calls, min(plan.scale.keys, 1_000)
    drawn = random.Random(7).choices(range(keys), k=calls)

    async def walk(case: TaskCase) -> Mapping[str, float]:
        async with case.open(Setup(QUICK, room=spare(keys))) as reader:
            await await_all(reader, range(keys))
            one, many = await _each(reader, [keys // 2] * calls), await _each(reader, drawn)
        return {"one key": one, f"random of {keys:,} keys": many}

    lineup = chosen(TASKS, plan.caches)
    rows = interleaved(lineup.present, plan.rounds, lambda case: asyncio.run(walk(case)))
    notes = (
        "The floor is an async function here.",
        "The yardstick is an empty coroutine that is awaited, and a hit of the cache for threads beside it.",
    )
    yield Table("async", "Hits in a task of asyncio, ns", rows, lineup.missing, notes)


async def _each(reader: Reader, keys: Sequence[int]) -> float:
    gc.collect()
    began = time.perf_counter_ns()
    await await_all(reader, keys)
    return (time.perf_counter_ns() - began) / len(keys)
