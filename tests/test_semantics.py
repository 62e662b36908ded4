"""The table of ``docs/semantics.md``, row by row, on each shell: what is answered, what runs, what is stored next."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import pytest
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import CachedValue, StoredEntry, failed
from lastcache.core.states import Answer, Outcome
from tests.kit import given, ticks
from tests.semantics_table import PAGE, edges, written
from tests.shells import Cache, Load, Stage, giving, never

TTL: Final = 100
EXTENSION: Final = 30
NEW: Final = Success("new")
COVERED: Final = failed("down", use_stale=True)
GONE: Final = failed("gone", use_stale=False)
STALE: Final[Answer[str, str]] = given("old", stale=True)


async def missing(stage: Stage) -> None:
    """Nothing is stored."""
    await stage.open(ttl=TTL, extend=EXTENSION)


async def fresh(stage: Stage) -> None:
    """The value is at the last instant of its freshness."""
    (await stage.open(ttl=TTL, extend=EXTENSION)).set("k", "old")
    stage.clock.advance(ticks(TTL))


async def expired(stage: Stage) -> None:
    """The value is just past its freshness."""
    await stage.open("k", ttl=TTL, extend=EXTENSION)


async def extended(stage: Stage) -> None:
    """A load failed, and allowed stale data; it is the last instant of the extension."""
    await expired(stage)
    await stage.ask("k", giving(failed("before", use_stale=True)))
    stage.clock.advance(ticks(EXTENSION))


async def past_extension(stage: Stage) -> None:
    """The extension is just over."""
    await extended(stage)
    stage.clock.advance(ticks(1))


async def refused(stage: Stage) -> None:
    """A load failed, and did not allow stale data."""
    await expired(stage)
    await stage.ask("k", giving(failed("before", use_stale=False)))


State = Callable[[Stage], Awaitable[None]]
Stored = tuple[CachedValue[str, str], int] | None

FRESH: Final[Stored] = (CachedValue("new"), TTL)
EXTENDED: Final[Stored] = (CachedValue("old", stale=True, err="down"), EXTENSION)
REFUSED: Final[Stored] = (CachedValue("old", stale=True, err="gone"), -1)
BEFORE: Final[Answer[str, str]] = given("old", stale=True, err="before")


class Row(NamedTuple):
    """A row of the table; ``at_once`` is None where A answers as S does."""

    state: State
    outcome: Outcome[str, str] | None
    answer: Answer[str, str]
    at_once: Answer[str, str] | None
    stored: Stored

    @property
    def load(self) -> Load:
        return never if self.outcome is None else giving(self.outcome)


ROWS: Final[list[tuple[State, Outcome[str, str] | None, Answer[str, str], Answer[str, str] | None, Stored]]] = [
    # state, outcome, what S answers, what A answers at once (None: as S), what is stored next and its ttl
    (missing, NEW, given("new"), None, FRESH),
    (missing, COVERED, Failure("down"), None, None),
    (missing, GONE, Failure("gone"), None, None),
    (fresh, None, given("old"), None, (CachedValue("old"), 0)),
    (expired, NEW, given("new"), STALE, FRESH),
    (expired, COVERED, given("old", stale=True, err="down"), STALE, EXTENDED),
    (expired, GONE, Failure("gone"), STALE, REFUSED),
    (extended, None, BEFORE, None, (CachedValue("old", stale=True, err="before"), 0)),
    (past_extension, NEW, given("new"), BEFORE, FRESH),
    (past_extension, COVERED, given("old", stale=True, err="down"), BEFORE, EXTENDED),
    (past_extension, GONE, Failure("gone"), BEFORE, REFUSED),
    (refused, NEW, given("new"), None, FRESH),
    (refused, COVERED, given("old", stale=True, err="down"), None, EXTENDED),
    (refused, GONE, Failure("gone"), None, REFUSED),
]

rows = pytest.mark.parametrize("row", [Row(*row) for row in ROWS], ids=lambda row: row.state.__name__)


def entries_of(cache: Cache) -> list[StoredEntry[str, Any, str]]:
    return list(cache.entries())


def entries_expected(stored: Stored) -> list[StoredEntry[str, Any, str]]:
    return [] if stored is None else [StoredEntry("k", stored[0], ticks(stored[1]))]


@rows
async def test_stale_if_error(stage: Stage, row: Row) -> None:
    """``load_or_store`` answers as the table says, and stores what it says."""
    await row.state(stage)
    assert row.answer == await stage.ask("k", row.load)
    assert entries_expected(row.stored) == entries_of(stage.cache)


@rows
async def test_stale_while_revalidate(stage: Stage, row: Row) -> None:
    """``async_load_or_store`` answers as the table says, ``refresh`` ends in what S would have answered."""
    await row.state(stage)
    told = await stage.revalidate("k", row.load)
    refresh = told.unwrap().refresh if is_successful(told) else None
    assert (row.at_once or row.answer) == told.map(lambda given: given.cached)
    assert (refresh is None) == (row.at_once is None)
    assert refresh is None or await stage.ended(refresh) == row.answer
    assert entries_expected(row.stored) == entries_of(stage.cache)


@pytest.mark.slow
def test_the_page_says_what_the_core_says() -> None:
    """The table of options and the diagram of states are those that the core gives; ``python -m`` writes them anew."""
    assert written(PAGE.read_text()) == PAGE.read_text()


@pytest.mark.slow
def test_the_diagram_has_every_state() -> None:
    """Each state that the core knows is reached, and left again."""
    states = {"missing", "fresh", "due early", "expired", "extended", "refused", "remembered"}
    assert {source for source, _, _ in edges()} == {target for _, _, target in edges()} == states
