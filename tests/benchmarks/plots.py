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

TEXT: Final = "#808080"
OWN: Final = "#2f81f7"
BASE: Final = "#8b949e"
PEER: Final = "#d9822b"
SERIES: Final = ("#2f81f7", "#d9822b", "#3fa66a", "#a371c7", "#c95f7b")
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
    label: str
    of: str = "median"
    columns: tuple[str, ...] = ()
    logarithmic: bool = False


CHARTS: Final = (
    Chart("hits", "hit", "times the floor", of="ratio", columns=("one key",)),
    Chart("misses", "miss", "times the floor", of="ratio"),
    Chart("memory", "memory", "bytes per entry"),
    Chart("latency", "latency", "µs", columns=("p50", "p99", "p99.9"), logarithmic=True),
    Chart("throughput", "throughput", "thousands of reads in a second"),
    Chart("throughput-mixed", "throughput-mixed", "thousands of reads in a second"),
)


def draw(chart: Chart, table: Mapping[str, Any]) -> Figure:
    """Draw a chart; what is better stands where it stood in the table, for all charts have the same order."""
    columns = chart.columns or tuple(dict.fromkeys(column for row in table["rows"].values() for column in row))
    rows = {cache: row for cache, row in table["rows"].items() if row.keys() >= set(columns)}
    drawn = Figure(figsize=(8, 0.9 + len(rows) * (0.18 + 0.14 * len(columns))), layout="constrained")
    axes = drawn.subplots()
    _bars(axes, chart, rows, columns)
    axes.set_title(table["title"], fontsize=11, loc="left")
    axes.set_xlabel(chart.label)
    axes.spines[["top", "right"]].set_visible(False)
    axes.invert_yaxis()
    return drawn


def _bars(axes: Axes, chart: Chart, rows: Mapping[str, Any], columns: Sequence[str]) -> None:
    thick = 0.8 / len(columns)
    for number, column in enumerate(columns):
        lengths = [row[column][chart.of] for row in rows.values()]
        places = [place + (number - (len(columns) - 1) / 2) * thick for place in range(len(rows))]
        colours = [_colour(cache) for cache in rows] if len(columns) == 1 else [SERIES[number]] * len(rows)
        bars = axes.barh(places, lengths, height=thick * 0.9, color=colours, label=column)
        axes.bar_label(bars, fmt="{:,.3g}" if max(lengths) < 100 else "{:,.0f}", padding=3, fontsize=7, color=TEXT)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.margins(x=0.1)
    if chart.logarithmic:
        axes.set_xscale("log")
    if len(columns) > 1:
        axes.legend(frameon=False, fontsize=8)


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
