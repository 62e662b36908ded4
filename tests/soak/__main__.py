"""Play rounds until the time is over: ``python -m tests.soak --minutes M --seed S --only threads``."""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias

from tests.soak.forks import play_forks
from tests.soak.history import History, Violation
from tests.soak.interrupts import play_interrupts
from tests.soak.laws import judge
from tests.soak.tasks import play_tasks
from tests.soak.threads import play_threads

World: TypeAlias = Callable[[str, random.Random, float], History]

WORLDS: Final[Mapping[str, World]] = {
    "threads": play_threads,
    "executors": play_threads,
    "asyncio": play_tasks,
    "trio": play_tasks,
    "loops": play_tasks,
    "interrupts": play_interrupts,
    "forks": play_forks,
    "threads, stored": partial(play_threads, stored=True),
    "asyncio, stored": partial(play_tasks, stored=True),
    "trio, stored": partial(play_tasks, stored=True),
    "interrupts, stored": partial(play_interrupts, stored=True),
}


@dataclass
class Report:
    """What was found: how often each law was broken in each world, and one example."""

    rounds: Counter[str] = field(default_factory=Counter[str])
    calls: int = 0
    found: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    examples: dict[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def add(self, world: str, where: str, violations: Sequence[Violation]) -> None:
        for violation in violations:
            self.found[world, violation.law] += 1
            self.examples.setdefault((world, violation.law), f"{violation.message}\n    {where}")

    def lines(self) -> list[str]:
        """Say what was found, the commonest first."""
        played = ", ".join(f"{count} of {world}" for world, count in sorted(self.rounds.items()))
        if not self.found:
            return [f"rounds clean: {played}; {self.calls} calls"]
        found = [
            f"{count} x [{world}] {law}:\n    {self.examples[world, law]}"
            for (world, law), count in self.found.most_common()
        ]
        return [*found, f"rounds: {played}; {self.calls} calls"]


def soak(seconds: float, seed: int, worlds: Sequence[str], *, keep_going: bool, length: float = 0.6) -> Report:
    """Play the worlds in turn, each round by a seed of its own, and judge each."""
    report, began = Report(), time.monotonic()
    while (spent := time.monotonic() - began) < seconds and (keep_going or not report.found):
        world = worlds[sum(report.rounds.values()) % len(worlds)]
        length = min(length, max(0.1, seconds - spent))
        history = WORLDS[world](world.removesuffix(", stored"), random.Random(f"{world} {seed}"), length)
        report.rounds[world] += 1
        report.calls += len(history.calls)
        where = f"found after {time.monotonic() - began:.1f} s; again with: --only {world} --seed {seed}"
        report.add(world, f"{where}\n    {history.setting}", list(judge(history)))
        seed += 1
    return report


def main(arguments: Sequence[str]) -> int:
    """Give 1 if a law was broken, else 0."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="the first round's seed (default: 1)")
    parser.add_argument("--only", action="append", choices=tuple(WORLDS), help="this world alone; may be repeated")
    parser.add_argument("--keep-going", action="store_true", help="collect what is found instead of ending with it")
    options = parser.parse_args(arguments)
    worlds = options.only or list(WORLDS)
    report = soak(options.minutes * 60, options.seed, worlds, keep_going=options.keep_going)
    print("\n".join(report.lines()))  # noqa: T201
    return 1 if report.found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
