"""What a work has measured, as a table in markdown and as JSON."""

import os
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from statistics import median
from typing import Any, Final, NamedTuple

from tests.benchmarks.caches import FLOOR

PACKAGES: Final = (
    "aiocache",
    "anyio",
    "async-lru",
    "cachebox",
    "cacheout",
    "cachetools",
    "cachier",
    "cashews",
    "dogpile.cache",
    "lastcache",
    "moka-py",
    "returns",
    "theine",
)


class Figure(NamedTuple):
    """What the rounds of one cache gave in one column."""

    median: float
    minimum: float


def figure(rounds: Sequence[float]) -> Figure:
    """Sum the rounds up.

    >>> figure([3, 1, 9])
    Figure(median=3, minimum=1)
    """
    return Figure(median(rounds), min(rounds))


class Table(NamedTuple):
    """One work: the figures of each cache by column, in the unit of the title unless the column has its own.

    In ``ratios`` the median is given as a multiple of the floor's, too.
    """

    work: str
    title: str
    rows: Mapping[str, Mapping[str, Figure]]
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    ratios: bool = True

    def ratio(self, cache: str, column: str) -> float | None:
        """How many times the floor's median this one is, where there is a floor."""
        floor = self.rows.get(FLOOR, {}).get(column)
        return self.rows[cache][column].median / floor.median if self.ratios and floor and floor.median else None


def markdown(table: Table) -> Iterator[str]:
    r"""Set the table out, line by line, with a foot that says what is not in it.

    >>> table = Table("hit", "Hits, ns", {"floor": {"one key": Figure(50, 40)}, "b": {"one key": Figure(75, 74.5)}})
    >>> print(*markdown(table._replace(missing=("c",))), sep="\n")
    ## Hits, ns
    <BLANKLINE>
    | cache | one key |
    |---|---|
    | floor | **1.00** (50, 40) |
    | b | **1.50** (75, 74.5) |
    <BLANKLINE>
    In bold: times the floor. In brackets: median and minimum of the rounds.
    Not installed: c.
    """
    columns = tuple(dict.fromkeys(column for row in table.rows.values() for column in row))
    yield from (f"## {table.title}", "", f"| cache | {' | '.join(columns)} |", f"|---{'|---' * len(columns)}|")
    for cache in table.rows:
        yield f"| {cache} | {' | '.join(_cell(table, cache, column) for column in columns)} |"
    yield from ("", _legend(table), *table.notes)
    if table.missing:
        yield f"Not installed: {', '.join(table.missing)}."


def _legend(table: Table) -> str:
    brackets = "median and minimum of the rounds."
    return f"In bold: times the floor. In brackets: {brackets}" if table.ratios else f"The {brackets}"


def _cell(table: Table, cache: str, column: str) -> str:
    found = table.rows[cache].get(column)
    if found is None:
        return ""
    rounds = (found.median, found.minimum) if found.minimum < found.median else (found.median,)
    both = ", ".join(map(short, rounds))
    ratio = table.ratio(cache, column)
    return both if ratio is None else f"**{ratio:.2f}** ({both})"


def short(number: float) -> str:
    """Three digits say enough.

    >>> [short(number) for number in (0.01234, 12.34, 1234.5, 7)]
    ['0.0123', '12.3', '1,234', '7']
    """
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def as_json(table: Table) -> dict[str, Any]:
    """Give the table with its ratios, and nothing rounded."""
    return {
        "work": table.work,
        "title": table.title,
        "rows": {
            cache: {column: {**found._asdict(), "ratio": table.ratio(cache, column)} for column, found in row.items()}
            for cache, row in table.rows.items()
        },
        "missing": list(table.missing),
        "notes": list(table.notes),
    }


def machine() -> dict[str, Any]:
    """What the figures depend on; without a date, so that two runs differ by what they measured only."""
    return {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "platform": platform.platform(),
        "processors": os.cpu_count(),
        "packages": dict(_versions(PACKAGES)),
    }


def _versions(packages: Iterable[str]) -> Iterator[tuple[str, str]]:
    for package in packages:
        try:
            yield package, metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
