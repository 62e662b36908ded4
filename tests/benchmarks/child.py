"""A process of its own for one cache: what it takes there is nobody else's.

``python -m tests.benchmarks.child footprint NAME ENTRIES ROUNDS`` and ``... growth NAME SIZES ROUNDS`` print JSON.
"""

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.caches import HOUR, OpenReader, Reader, Setup, ThreadCase, read_all
from tests.benchmarks.hits import spare
from tests.benchmarks.loads import QUICK
from tests.benchmarks.own import BASE, PLAIN, SHAPES, WINDOWS
from tests.benchmarks.peers import PEERS
from tests.benchmarks.plan import timed

CASES: Final[tuple[ThreadCase, ...]] = (*BASE, PLAIN, *SHAPES, WINDOWS, *PEERS)
STATM: Final = Path("/proc/self/statm")
CALLS: Final = 100_000
LIMIT: Final = 6_000_000_000
"""Bytes; a cache that would exceed them is not grown further."""


def ask(work: str, name: str, size: object, rounds: int) -> Any:
    """Run a work in a child, and give what it measured."""
    command = [sys.executable, "-m", "tests.benchmarks.child", work, name, str(size), str(rounds)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)  # noqa: S603  # our own


def resident() -> int:
    """The bytes of this process that are in memory."""
    return int(STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _pauses(rounds: int) -> list[float]:
    return [timed(gc.collect) / 1e6 for _ in range(rounds)]


def footprint(open_reader: OpenReader, entries: int, rounds: int) -> Mapping[str, Sequence[float]]:
    """Fill a cache, and give its bytes per entry and the milliseconds of a full collection, unfrozen and frozen."""
    # What the first use of a cache imports and starts is no entry's cost.
    read_all(open_reader(Setup(QUICK, room=10, ttl=HOUR)), range(5))
    gc.collect()
    before = resident()
    reader = open_reader(Setup(QUICK, room=spare(entries), ttl=HOUR))
    read_all(reader, range(entries))
    gc.collect()
    grown = (resident() - before) / entries
    pauses = _pauses(rounds)
    gc.freeze()
    return {"bytes": [grown], "collected": pauses, "frozen": _pauses(rounds)}


def growth(open_reader: OpenReader, sizes: Sequence[int], rounds: int) -> Sequence[Mapping[str, Any]]:
    """Grow a cache as far as memory goes, and give the nanoseconds of a hit and of a miss at each size."""
    base, stored, measured = resident(), 0, list[Mapping[str, Any]]()
    reader = open_reader(Setup(QUICK, room=spare(2 * sizes[-1]), ttl=HOUR))
    for size in sizes:
        each = (resident() - base) / stored if stored else 0
        if base + each * size > LIMIT:
            break
        read_all(reader, range(stored, size))
        calls = min(CALLS, size)
        new = max(1, calls // 10)
        parts = [range(begin, begin + new) for begin in range(size, size + rounds * new, new)]
        hits = [timed(_walk(reader, random.Random(seed).choices(range(size), k=calls))) for seed in range(rounds)]
        misses = [timed(_walk(reader, part)) for part in parts]
        stored = parts[-1].stop
        measured.append({"size": size, "hit": [ns / calls for ns in hits], "miss": [ns / new for ns in misses]})
    return measured


def _walk(reader: Reader, keys: Iterable[int]) -> Callable[[], None]:
    return lambda: read_all(reader, keys)


def main() -> None:
    """Do the work that is named."""
    work, name, size, rounds = sys.argv[1:]
    open_reader = next(case.open for case in CASES if case.name == name)
    answer: object = (
        footprint(open_reader, int(size), int(rounds))
        if work == "footprint"
        else growth(open_reader, [int(part) for part in size.split(",")], int(rounds))
    )
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main()
