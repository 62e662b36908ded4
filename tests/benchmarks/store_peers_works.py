"""What ``store_peers`` has each cache do; a work gives the cells of its rows, for one cache beside its own server."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tests.benchmarks.store_peers_cells import counted, errors, longest, plural
from tests.benchmarks.store_peers_changes import CUT, ROUNDS, SETTLE, TTL, deleted, missed
from tests.benchmarks.store_peers_child import Answer
from tests.benchmarks.store_peers_origin import State
from tests.benchmarks.store_peers_processes import EVERY, Bench, Process, must_give, processes

HERD: Final = 16
READS: Final = 100
"""The calls of each of two processes."""
SHORT: Final = 1.0
LOAD: Final = 0.2
OUTAGE: Final = 3.0


class Work(NamedTuple):
    """Some rows, and how their cells are found; ``apart``: one cache after the other, else all at once."""

    rows: tuple[str, ...]
    cells: Callable[[Bench], Sequence[str]]
    apart: bool = True


def herd(bench: Bench) -> Sequence[str]:
    """Have many processes ask for one cold key at once, then for one whose loads fail."""
    with processes(bench, [bench.server.url] * HERD, TTL) as herd_of:
        bench.origin.become(State(takes=LOAD))
        good = _at_once(bench, herd_of, "cold")
        bench.origin.become(State(takes=LOAD, fails=True))
        return good, _at_once(bench, herd_of, "failing")


def _at_once(bench: Bench, herd_of: Sequence[Process], key: str) -> str:
    at = time.monotonic() + 0.5
    for process in herd_of:
        process.begin_reading([key], at=at)
    answers = [answer for process in herd_of for answer in process.answers(at)]
    calls, failures = bench.origin.calls(key), Counter(answer.error for answer in answers if answer.error)
    told = [f"{count} {error}" for error, count in failures.items() if error != "OriginError"]
    return "; ".join([plural(calls, "origin call"), f"slowest {longest(answers)}", *told])


def suspended(bench: Bench) -> Sequence[str]:
    """Stop the server for a while, and have two processes go on asking for a warm key."""
    with processes(bench, [bench.server.url] * 2, TTL) as two:
        _warm(bench, two, "k")
        began_at = time.monotonic()
        bench.server.suspend()
        try:
            answers_by = _begin(two, "k", READS, within=2 * OUTAGE)
            time.sleep(max(0.0, began_at + OUTAGE - time.monotonic()))
        finally:
            bench.server.go_on()
        answers = _heard(two, answers_by)
        return (f"{counted(answers, bench.origin.value('k'))}; {_loads(bench, began_at)}",)


def killed(bench: Bench) -> Sequence[str]:
    """Kill the server, start it anew without its data, and have two processes go on asking for a warm key."""
    with processes(bench, [bench.server.url] * 2, TTL) as two:
        _warm(bench, two, "k")
        began_at = time.monotonic()
        bench.server.kill()
        try:
            answers_by = _begin(two, "k", 2 * READS, within=3 * OUTAGE)
            time.sleep(max(0.0, began_at + OUTAGE - time.monotonic()))
        finally:
            again_at = time.monotonic()
            bench.server.start()
        answers = _heard(two, answers_by)
        without = [answer for answer in answers if answer.began_at < again_at]
        after = [answer for answer in answers if answer.began_at >= again_at]
        value = bench.origin.value("k")
        return (
            f"{counted(without, value)}; {_loads(bench, began_at, again_at)}",
            f"{counted(after, value)}; {_loads(bench, again_at)}",
        )


def deploy(bench: Bench) -> Sequence[str]:
    """Have a process store values, which expire; then the origin goes down, and a new process asks for them."""
    keys = [f"k{nth}" for nth in range(READS)]
    bench.origin.become(State())
    with processes(bench, [bench.server.url], SHORT) as (old,):
        old.begin_reading(keys)
        for key, answer in zip(keys, old.answers(time.monotonic() + OUTAGE), strict=True):
            must_give(answer, bench.origin.value(key))
        time.sleep(1.5 * SHORT)
        bench.origin.become(State(fails=True))
    with processes(bench, [bench.server.url], SHORT) as (new,):
        until = time.monotonic() + 3 * OUTAGE
        new.begin_reading(keys, until=until)
        answers = new.answers(until)
    given = [answer for answer in answers if answer.error is None]
    marks = Counter(answer.is_stale for answer in given)
    named = {True: "marked as stale", False: "marked as fresh", None: "unmarked"}
    told = [f"{count} {named[mark]}" for mark, count in marks.items()]
    return ("; ".join([f"{len(given)} answered", *told, *errors(answers)]),)


def _warm(bench: Bench, two: Sequence[Process], key: str) -> None:
    """Have each process hold what one has loaded, or ask as often as it would."""
    bench.origin.become(State(takes=LOAD / 10))
    for process in two:
        must_give(process.read(key), bench.origin.value(key))
    time.sleep(SETTLE)


def _begin(two: Sequence[Process], key: str, count: int, within: float) -> float:
    at = time.monotonic()
    for process in two:
        process.begin_reading([key] * count, at=at, every=EVERY, until=at + within)
    return at + within


def _heard(two: Sequence[Process], until: float) -> list[Answer]:
    return [answer for process in two for answer in process.answers(until)]


def _loads(bench: Bench, since: float, until: float = float("inf")) -> str:
    return plural(bench.origin.calls("k", since, until), "origin call")


WORKS: Final = (
    Work((f"{HERD} processes ask for one cold key, which loads in 200 ms", "the same, and the loads fail"), herd),
    Work((f"a warm key is read {2 * READS} times while the server is stopped for 3 s: answers / errors",), suspended),
    Work(
        (
            "a warm key is read while the server is killed for 3 s: answers / errors",
            "the same, from when it is started anew, empty",
        ),
        killed,
    ),
    Work((f"B deletes what A holds: A gives it for so long, worst of {ROUNDS}",), deleted),
    Work(
        (
            "the same, and the pub/sub connections were killed just before",
            f"the same, and A is cut off around it, for {CUT:.0f} s",
        ),
        missed,
        apart=False,
    ),
    Work((f"a new process asks for {READS} expired keys while the origin is down",), deploy, apart=False),
)
