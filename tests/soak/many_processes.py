"""A campaign: many processes share one store, which is stopped, killed, flushed and overrun, as their origin fails.

``python -m tests.soak.many_processes --minutes M [--store redis|valkey] [--push] [--processes N] [--keys N]`` plays it
over a server of its own, then for a quarter of the time without one, and prints what happened, phase by phase. It ends
with 1 if an answer was lost or invented, a promise broken, or a call raised or took too long: ``many_processes_judge``
says what that means. ``--mistake NAME``, or ``all``, makes the workers' stores wrong, and ends with 1 if that is not
found.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from tests.second.servers import KINDS
from tests.soak.many_processes_counts import header, rows
from tests.soak.many_processes_mistakes import MISTAKES
from tests.soak.many_processes_stage import Outcome, Plan, campaign

AWAY_FOR = 0.25


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.soak.many_processes", description=__doc__)
    made.add_argument("--minutes", type=float, default=10.0, help="how long, with the store (default: 10)")
    made.add_argument("--store", choices=KINDS, default="redis", help="the kind of server (default: redis)")
    made.add_argument("--push", action="store_true", help="the store tells at once of what others write")
    made.add_argument("--processes", type=int, default=16, help="how many workers (default: 16)")
    made.add_argument("--threads", type=int, default=2, help="how many threads each has (default: 2)")
    made.add_argument("--keys", type=int, default=100_000, help="how many keys (default: 100000)")
    made.add_argument("--rate", type=float, default=2000.0, help="how many calls a second, in all (default: 2000)")
    made.add_argument("--timeout", type=float, default=0.1, help="the seconds that the store may take (default: 0.1)")
    made.add_argument("--seed", type=int, default=1, help="what keys are drawn by (default: 1)")
    made.add_argument(
        "--away",
        choices=("after", "only", "no"),
        nargs="?",
        const="only",
        default="after",
        help="a campaign without a store: after the other, for a quarter of its time (default), only that, or no such",
    )
    made.add_argument("--mistake", choices=(*MISTAKES, "all"), help="make the workers' stores wrong, until it is found")
    return made


def main(arguments: Sequence[str]) -> int:
    """Give 1 if something was found that must not be; with mistakes, if one was not found."""
    options = parser().parse_args(arguments)
    plan = Plan(
        options.store,
        options.push,
        options.processes,
        options.threads,
        options.keys,
        options.rate,
        options.timeout,
        options.seed,
    )
    if options.mistake is not None:
        names = list(MISTAKES) if options.mistake == "all" else [options.mistake]
        return sum([not found(plan._replace(mistake=name), options.minutes * 60) for name in names]) and 1
    return played(plan, options.minutes * 60, options.away)


def played(plan: Plan, seconds: float, away: str) -> int:
    """Play, print the table, and give 1 if something was found."""
    outcomes = dict[str, Outcome]()
    if away != "only":
        outcomes["there"] = campaign(plan, seconds)
    if away != "no":
        outcomes["away"] = campaign(plan, seconds if away == "only" else seconds * AWAY_FOR, away=True)
    say(*header())
    for store, outcome in outcomes.items():
        say(*rows(store, outcome.tally, outcome.seconds))
    say("")
    for store, outcome in outcomes.items():
        say(*(f"{store}: {line}" for line in outcome.tally.examples(outcome.began_at)))
    return 1 if any(outcome.tally.found() for outcome in outcomes.values()) else 0


def found(plan: Plan, seconds: float) -> bool:
    """Play with a mistake until something is found; say what, and after how long."""
    assert plan.mistake is not None
    began_at, wanted = time.monotonic(), MISTAKES[plan.mistake].finds
    outcome = campaign(plan, seconds)
    kinds = {finding.kind for finding in outcome.tally.findings}
    if wanted not in kinds:
        say(f"{plan.mistake}: not found in {time.monotonic() - began_at:.1f} s; found: {kinds or 'nothing'}")
        return False
    first = next(finding for finding in outcome.tally.findings if finding.kind == wanted)
    say(f"{plan.mistake}: {wanted}, after {(first.at - outcome.began_at) / 1e9:.1f} s: {first.text}")
    return True


def say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
