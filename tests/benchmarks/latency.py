"""How long readers wait while a value expires again and again, and its load is slow.

A reader has a read due at fixed times. One that is late counts from when it was due: a reader that is held up must not
hide the reads that it could not even begin.
"""

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Final

from tests.benchmarks.caches import OpenTaskReader, Reader, Setup, TaskCase, ThreadCase, chosen
from tests.benchmarks.loads import Counted, slow
from tests.benchmarks.own import EXPIRING as OWN
from tests.benchmarks.peers import EXPIRING as PEERS
from tests.benchmarks.plan import Plan, interleaved
from tests.benchmarks.tables import Table
from tests.benchmarks.task_caches import EXPIRING_TASKS

READERS: Final = 4
EVERY: Final = 1_000_000
"""Nanoseconds from one read of a reader to its next."""
KEY: Final = 1


def latency(plan: Plan) -> Iterator[Table]:
    """Read one key from a few threads, or tasks, over many expiries."""
    ttl, load_for, read_for = 2 * plan.scale.load_for, plan.scale.load_for, plan.scale.read_for

    def measure(case: ThreadCase) -> Mapping[str, float]:
        source = slow(load_for)
        reader = case.open(Setup(source.loads, room=10, ttl=ttl))
        waits = _read(reader, read_for)
        reader.close()
        return _summary(waits, source)

    def measure_tasks(case: TaskCase) -> Mapping[str, float]:
        source = slow(load_for)
        waits = asyncio.run(_read_tasks(case.open, Setup(source.loads, room=10, ttl=ttl), read_for))
        return _summary(waits, source)

    lineup, tasks = chosen((*OWN, *PEERS), plan.caches), chosen(EXPIRING_TASKS, plan.caches)
    rows = interleaved(lineup.present, plan.rounds, measure)
    rows |= interleaved(tasks.present, plan.rounds, measure_tasks)
    title = f"Waits of readers, µs: a load takes {load_for * 1000:g} ms, its value expires {ttl * 1000:g} ms later"
    notes = (
        f"{READERS} readers, each with a read every {EVERY // 1_000_000} ms for {read_for:g} s.",
        "lastcache:failing has a source that is down; the last ones are read by tasks of one event loop.",
    )
    yield Table("latency", title, rows, (*lineup.missing, *tasks.missing), notes, ratios=False)


def _summary(waits: list[int], source: Counted) -> Mapping[str, float]:
    waits.sort()
    marks = {name: waits[int(part * (len(waits) - 1))] / 1000 for name, part in (("p50", 0.5), ("p99", 0.99))}
    return {**marks, "p99.9": waits[int(0.999 * (len(waits) - 1))] / 1000, "loads": source.taken()}


def _read(reader: Reader, read_for: float) -> list[int]:
    call, arguments = reader.call, () if reader.loader is None else (reader.loader,)
    call(KEY, *arguments)
    clock, began = time.perf_counter_ns, time.perf_counter_ns()
    waits: list[list[int]] = [[] for _ in range(READERS)]

    def run(waited: list[int], due: int) -> None:
        while due < began + read_for * 1e9:
            if (early := due - clock()) > 0:
                time.sleep(early / 1e9)
                due = clock()
            call(KEY, *arguments)
            waited.append(clock() - due)
            due += EVERY

    threads = [
        threading.Thread(target=run, args=(waited, began + EVERY * number // READERS))
        for number, waited in enumerate(waits)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [wait for waited in waits for wait in waited]


async def _read_tasks(open_reader: OpenTaskReader, setup: Setup, read_for: float) -> list[int]:
    waits: list[int] = []
    async with open_reader(setup) as reader:
        call, arguments = reader.call, () if reader.loader is None else (reader.loader,)
        await call(KEY, *arguments)
        clock, began = time.perf_counter_ns, time.perf_counter_ns()

        async def run(due: int) -> None:
            while due < began + read_for * 1e9:
                if (early := due - clock()) > 0:
                    await asyncio.sleep(early / 1e9)
                    due = clock()
                await call(KEY, *arguments)
                waits.append(clock() - due)
                due += EVERY

        await asyncio.gather(*(run(began + EVERY * number // READERS) for number in range(READERS)))
    return waits
