"""Bar charts of what a run has written: ``python -m tests.benchmarks.plots FILE.json DIRECTORY`` (extra ``plots``).

They have no background of their own, and colours that are read on a light one and on a dark one. The same figures give
the same bytes.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.benchmarks.tables import short

TEXT: Final = "#808080"
OWN: Final = "#2f81f7"
BASE: Final = "#8b949e"
PEER: Final = "#d9822b"
SERIES: Final = ("#2f81f7", "#d9822b", "#3fa66a", "#a371c7", "#c95f7b")
WAITS: Final = ("p50", "p99", "p99.9")
READS: Final = "thousands of reads in a second; more is better"
STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "lastcache",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
}


class Chart(NamedTuple):
    """What of one table is drawn: one bar for each cache and column."""

    file: str
    work: str
    title: str
    label: str
    of: str = "median"
    columns: tuple[str, ...] = ()
    log: bool = False


CHARTS: Final = (
    Chart("hits", "hit", "Hits of one key", "times the floor; less is better", of="ratio", columns=("one key",)),
    Chart("misses", "miss", "Misses that load and store", "times the floor; less is better", of="ratio"),
    Chart("memory", "memory", "Memory", "bytes per entry; less is better"),
    Chart("latency", "latency", "Waits of readers while values expire", "µs; less is better", columns=WAITS, log=True),
    Chart("throughput", "throughput", "Threads that hit", READS),
    Chart("throughput-mixed", "throughput-mixed", "Threads that miss once in 20 reads", READS),
)


def draw(chart: Chart, table: Mapping[str, Any]) -> Figure:
    """Draw a chart; the caches stand in the order of the table, so that each is found at the same place in all."""
    columns = chart.columns or tuple(dict.fromkeys(column for row in table["rows"].values() for column in row))
    rows = {cache: row for cache, row in table["rows"].items() if row.keys() >= set(columns)}
    drawn = Figure(figsize=(8, 0.9 + len(rows) * (0.18 + 0.14 * len(columns))), layout="constrained")
    axes = drawn.subplots()
    _bars(axes, chart, rows, columns)
    axes.set_title(chart.title, fontsize=11, loc="left")
    axes.set_xlabel(chart.label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    if len(columns) > 1:
        drawn.legend(loc="outside lower right", ncols=len(columns), frameon=False, fontsize=8)
    return drawn


def _bars(axes: Axes, chart: Chart, rows: Mapping[str, Any], columns: Sequence[str]) -> None:
    thick = 0.8 / len(columns)
    for number, column in enumerate(columns):
        lengths = [row[column][chart.of] for row in rows.values()]
        places = [place + (number - (len(columns) - 1) / 2) * thick for place in range(len(rows))]
        colours = [_colour(cache) for cache in rows] if len(columns) == 1 else [SERIES[number]] * len(rows)
        bars = axes.barh(places, lengths, height=thick * 0.9, color=colours, label=column)
        axes.bar_label(bars, labels=[short(length) for length in lengths], padding=3, fontsize=7, color=TEXT)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.margins(x=0.1)
    if chart.log:
        axes.set_xscale("log")


def _colour(cache: str) -> str:
    if cache.startswith("lastcache"):
        return OWN
    return BASE if cache in {"floor", "lru_cache"} else PEER


def plot(ran: Mapping[str, Any], directory: Path) -> list[Path]:
    """Write a chart for each table that has one, and give the files."""
    tables = {table["work"]: table for table in ran["tables"] if table["rows"]}
    directory.mkdir(parents=True, exist_ok=True)
    written = list[Path]()
    with mpl.rc_context(STYLE):
        for chart in CHARTS:
            if chart.work in tables:
                written.append(directory / f"{chart.file}.svg")
                metadata = {"Date": None, "Creator": None}
                draw(chart, tables[chart.work]).savefig(written[-1], transparent=True, metadata=metadata)
    return written


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw what a run has written."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.plots", description=__doc__)
    parser.add_argument("file", type=Path, help="what python -m tests.benchmarks --json has written")
    parser.add_argument("directory", type=Path, help="where the charts go")
    read = parser.parse_args(arguments)
    plot(json.loads(read.file.read_text(encoding="utf-8")), read.directory)


if __name__ == "__main__":
    main()
