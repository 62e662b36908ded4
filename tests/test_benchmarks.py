"""The benchmarks run, at a tiny size; what they measure is no matter of a test."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import hit_ratios
from tests.benchmarks.__main__ import WORKS

pytestmark = pytest.mark.slow

IN_PROCESSES = ("memory", "gc", "growth")


def benchmarks(file: Path, *arguments: str) -> dict[str, Any]:
    """Give what a tiny run writes, and prints as tables, too.

    It is the command itself that runs, in a process of its own: some caches leave threads, and warn on some Pythons.
    """
    command = [sys.executable, "-m", "tests.benchmarks", "--scale", "tiny", "--json", str(file), *arguments]
    ran = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603  # our own
    read: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert [line[3:] for line in ran.stdout.splitlines() if line.startswith("## ")] == [
        t["title"] for t in read["tables"]
    ]
    return read


def assert_measured(table: dict[str, Any]) -> None:
    """Every cache is there, with every figure."""
    assert table["missing"] == []
    columns = {column for row in table["rows"].values() for column in row}
    for row in table["rows"].values():
        assert row.keys() == columns
        assert all(found["minimum"] <= found["median"] for found in row.values())


def test_every_work_runs_with_every_cache(tmp_path: Path) -> None:
    """Whatever is timed in one process measures each cache that takes part in it, and can be drawn."""
    file, charts = tmp_path / "run.json", tmp_path / "charts"
    ran = benchmarks(file, "--only", ",".join(work for work in WORKS if work not in IN_PROCESSES))
    for table in ran["tables"]:
        assert_measured(table)
    assert len(ran["tables"][0]["rows"]) > 10
    command = [sys.executable, "-m", "tests.benchmarks.plots", str(file), str(charts)]
    subprocess.run(command, check=True)  # noqa: S603  # our own
    assert {"hits.svg", "misses.svg", "latency.svg", "throughput.svg"} <= {chart.name for chart in charts.iterdir()}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is read there")
def test_every_work_runs_in_processes(tmp_path: Path) -> None:
    """Whatever needs a process for each cache measures those that were chosen, beside the floor."""
    chosen = "lastcache,lastcache:windows,cachetools"
    ran = benchmarks(tmp_path / "run.json", "--only", ",".join(IN_PROCESSES), "--caches", chosen)
    for table in ran["tables"]:
        assert_measured(table)
        assert list(table["rows"]) == ["floor", *chosen.split(",")]


def test_hit_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    """Each workload is replayed at each size through each cache, and gives a share of hits."""
    hit_ratios.main(["--keys", "200", "--length", "2000"])
    rows = [line.split("|")[3:-1] for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 5 * len(hit_ratios.SIZES)
    assert all(len(row) == len(hit_ratios.CACHES) and 0 <= float(ratio) <= 100 for row in rows for ratio in row)


def test_sieve_counts_what_the_queue_keeps() -> None:
    """A key that is asked for twice in a row hits; with room for all, each key misses once."""
    assert hit_ratios.sieve(1, ["a", "a", "b", "b", "a"]) == 2
    assert hit_ratios.sieve(10, hit_ratios.zipf(0.9, 10, 500)) == 490
