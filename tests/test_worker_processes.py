"""Metrics of several worker processes: the multiprocess mode of prometheus_client, with real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest
from prometheus_client import CollectorRegistry, generate_latest, multiprocess

from tests.kit import PATIENCE

pytestmark = pytest.mark.slow

ROOT: Final = Path(__file__).parent.parent

WORKER: Final = """
import sys, threading
from datetime import timedelta
from returns.result import Success
from lastcache import Config, LastCache, failed
from lastcache.prometheus import PrometheusMetrics

metrics = PrometheusMetrics()
config = Config(global_ttl=timedelta(seconds=1), async_semaphore=1, count_hits=True)
now = 0
cache = LastCache(config, clock=lambda: now, observer=metrics.observer(), name="users")
metrics.watch(cache)
gate = threading.Event()

def slow(key):
    gate.wait()
    return Success("new")

for key in sys.argv[1]:
    cache.load_or_store(key, lambda key: Success("v"))
    cache.load_or_store(key, lambda key: Success("v"))
now = 2 * 10**9
cache.load_or_store("a", lambda key: failed("down", use_stale=True))
refreshes = [cache.async_load_or_store(key, slow).unwrap().refresh for key in "ab"]
while cache.stats().running != 1:
    pass
cache.async_load_or_store("b", slow)
print("waits", flush=True)
sys.stdin.readline()
gate.set()
for refresh in refreshes:
    refresh.result()
other = LastCache(observer=metrics.observer(), name="short-lived")
metrics.watch(other)
other.load_or_store("x", lambda key: Success("v"))
del other
cache.load_or_store("z", lambda key: Success("v"))
while cache.stats().running:
    pass
cache.load_or_store("y", lambda key: Success("v"))
print("rests", flush=True)
sys.stdin.readline()
"""


FORKING: Final = """
import os, signal, sys
from returns.result import Success
from lastcache import LastCache
from lastcache.prometheus import PrometheusMetrics

metrics = PrometheusMetrics()
cache = LastCache(observer=metrics.observer(), name="users")
metrics.watch(cache)
for key in "ab":
    cache.load_or_store(key, lambda key: Success("v"))
if os.fork() == 0:
    signal.alarm(20)
    cache.load_or_store("c", lambda key: Success("v"))
    print("rests", flush=True)
    sys.stdin.readline()
else:
    os.wait()
"""


@contextmanager
def worker(files: Path, keys: str, program: str = WORKER) -> Iterator["subprocess.Popen[str]"]:
    """Run a worker that loads ``keys``, until the block ends."""
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(files), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(  # noqa: S603  # our own text
        [sys.executable, "-c", program, keys],
        env=environment,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        # A worker ends with its standard input, and so does one that was forked.
        try:
            process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def says(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def goes_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def scraped(files: Path) -> dict[str, float]:
    """Give what a scrape finds, as a process that answers it for all would: what is not zero, by name and labels."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=str(files))  # type: ignore[no-untyped-call]  # it has no types
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    figures = {series: float(number) for series, _, number in (line.rpartition(" ") for line in lines)}
    return {series: number for series, number in figures.items() if number and "_bucket" not in series}


def gauges(files: Path) -> list[float]:
    """Give entries, loads that run, and loads that wait."""
    found = scraped(files)
    names = ("entries", "active_loads", "queued_loads")
    return [found.get(f'lastcache_{name}{{cache="users"}}', 0) for name in names]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Where the workers write."""
    return tmp_path


def test_workers_are_added_up_and_one_that_ended_has_no_gauges(files: Path) -> None:
    """Counters and histograms keep what it did; entries and loads are those of the workers that live."""
    with ExitStack() as workers:
        first, second = (workers.enter_context(worker(files, keys)) for keys in ("ab", "abcd"))
        assert [says(first), says(second)] == ["waits", "waits"]
        users, outcome = 'cache="users"', 'cache="users",outcome'
        assert gauges(files) == [2 + 4, 2, 2]
        found = scraped(files)
        assert found[f'lastcache_loads_total{{background="false",{outcome}="success"}}'] == 6
        assert found[f'lastcache_loads_total{{background="false",{outcome}="failure"}}'] == 2
        assert found[f'lastcache_load_duration_seconds_count{{{outcome}="success"}}'] == 6
        assert found[f"lastcache_stale_answers_total{{{users}}}"] == 2 * 4
        assert found[f"lastcache_hits_total{{{users}}}"] == 6
        first.kill()
        first.wait()
        multiprocess.mark_process_dead(first.pid, str(files))  # type: ignore[no-untyped-call]  # it has no types
        assert gauges(files) == [4, 1, 1]
        assert without_gauges(scraped(files)) == without_gauges(found)
        goes_on(second)
        assert says(second) == "rests"
        assert gauges(files) == [6, 0, 0]
        assert 'lastcache_entries{cache="short-lived"}' not in scraped(files)


def without_gauges(figures: dict[str, float]) -> dict[str, float]:
    """Give what a worker that ended leaves."""
    gone = ("lastcache_entries", "lastcache_active_loads", "lastcache_queued_loads")
    return {series: number for series, number in figures.items() if not series.startswith(gone)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_worker_that_was_forked_counts_for_itself(files: Path) -> None:
    """What was counted before the fork is counted once; the entries that the child has are its own."""
    with worker(files, "", FORKING) as process:
        assert says(process) == "rests"
        assert gauges(files) == [2 + 3, 0, 0]
        found = scraped(files)
        assert found['lastcache_loads_total{background="false",cache="users",outcome="success"}'] == 3
        assert found['lastcache_misses_total{cache="users"}'] == 3
