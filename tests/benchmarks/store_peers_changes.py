"""One process deletes what another holds: for how long the other goes on giving it."""

import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from tests.benchmarks.store_peers_caches import KNOWN
from tests.benchmarks.store_peers_cells import ms, plural
from tests.benchmarks.store_peers_origin import State
from tests.benchmarks.store_peers_processes import Bench, Process, must_give, processes
from tests.second.proxy import proxy

CUT: Final = 1.0
CAP: Final = 30.0
ROUNDS: Final = 3
TTL: Final = 60.0
SETTLE: Final = 1.0
"""The seconds in which whoever listens has begun to."""


def deleted(bench: Bench) -> Sequence[str]:
    """Delete what another process holds."""
    with processes(bench, [bench.server.url] * 2, TTL) as (one, other):
        time.sleep(SETTLE)
        changes = list[_Change]()
        while len(changes) < ROUNDS and (not changes or changes[-1].took is not None):
            changes.append(_change(bench, one, other, f"k{len(changes)}"))
        return (_of_copies(bench, changes),)


def missed(bench: Bench) -> Sequence[str]:
    """Delete what another process holds, whose subscription was killed, and what one holds that is cut off."""
    with processes(bench, [bench.server.url] * 2, TTL) as (one, other):
        time.sleep(SETTLE)
        unheard = _change(bench, one, other, "killed", lambda: bench.server.command("CLIENT", "KILL", "TYPE", "pubsub"))
    with (
        proxy(bench.server.port) as line,
        processes(bench, [line.url, bench.server.url], TTL) as (one, other),
    ):
        time.sleep(SETTLE)
        cut = _change(bench, one, other, "cut", line.drop, line.heal)
    return _of_copies(bench, [unheard]), _of_copies(bench, [cut])


class _Change(NamedTuple):
    """The seconds for which an old value was given after its delete, None above the cap; and the calls that failed."""

    took: float | None
    failed: int


def _change(
    bench: Bench,
    one: Process,
    other: Process,
    key: str,
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] | None = None,
) -> _Change:
    bench.origin.become(State())
    old = bench.origin.value(key)
    for process in (other, one):
        must_give(process.read(key), old)
    until = time.monotonic() + CAP
    one.begin_watching(key, old, every=0.002, until=until)
    time.sleep(0.05)
    before()
    bench.origin.become(State(version=2))
    deleted_at = other.delete(key)
    if after is not None:
        time.sleep(CUT)
        after()
    seen = one.watched(until)
    return _Change(max(0.0, seen.last_at - deleted_at) if seen.came else None, seen.failed)


def _of_copies(bench: Bench, changes: Sequence[_Change]) -> str:
    count = sum(change.failed for change in changes)
    took = [CAP if change.took is None else change.took for change in changes]
    capped = any(change.took is None for change in changes)
    worst = f"> {CAP:.0f} s (TTL {TTL:.0f} s)" if capped else ms(max(took))
    told = worst if KNOWN[bench.name].has_copies else f"no local copy ({worst})"
    return f"{told}; {plural(count, 'call')} failed meanwhile" if count else told
