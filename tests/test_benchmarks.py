"""The benchmarks run, at a tiny size; what they measure is no matter of a test."""

import pytest

from tests.benchmarks import hit_ratios


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
