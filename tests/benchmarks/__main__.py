"""Every work beside other caches: ``python -m tests.benchmarks`` prints tables, and writes JSON if asked."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.hits import hits, misses
from tests.benchmarks.latency import latency
from tests.benchmarks.plan import SCALES, Plan
from tests.benchmarks.processes import collections, growth, memory
from tests.benchmarks.tables import Table, as_json, machine, markdown
from tests.benchmarks.tasks import task_hits
from tests.benchmarks.threads import stampede, throughput

WORKS: Final[Mapping[str, Callable[[Plan], Iterator[Table]]]] = {
    "hit": hits,
    "miss": misses,
    "memory": memory,
    "throughput": throughput,
    "stampede": stampede,
    "latency": latency,
    "async": task_hits,
    "gc": collections,
    "growth": growth,
}


def _works(names: str) -> list[str]:
    works = names.split(",")
    if wrong := [work for work in works if work not in WORKS]:
        raise argparse.ArgumentTypeError(f"{', '.join(wrong)}: the works are {', '.join(WORKS)}")
    return works


def _count(number: str) -> int:
    if (count := int(number)) < 1:
        raise argparse.ArgumentTypeError(f"{number}: at least one round")
    return count


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", type=_works, default=list(WORKS), help=f"some of {','.join(WORKS)}")
    parser.add_argument("--caches", default="*", help="names or shell patterns, with commas between")
    parser.add_argument("--scale", choices=SCALES, default="small", help="how much is done")
    parser.add_argument("--rounds", type=_count, help="how often each cache is measured")
    parser.add_argument("--json", type=Path, help="the file for the figures")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Do the works that are asked for; each table is printed as soon as it is there."""
    read = _parser().parse_args(arguments)
    scale = SCALES[read.scale]
    plan = Plan(scale, read.rounds or scale.rounds, tuple(read.caches.split(",")))
    tables = list[Table]()
    for work in read.only:
        for table in WORKS[work](plan):
            tables.append(table)
            sys.stdout.write("\n".join([*markdown(table), "", ""]))
            sys.stdout.flush()
    if read.json is not None:
        ran = {**machine(), "scale": read.scale, "rounds": plan.rounds, "tables": [as_json(table) for table in tables]}
        read.json.write_text(json.dumps(ran, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
