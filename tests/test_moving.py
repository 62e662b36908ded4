"""The programs of ``docs/moving.md``: what their users see, and that the page shows them as they are."""

from typing import Final

import pytest

from tests.moving.page import FOLDER, PAGE, PEERS, seen_by_users, written

pytestmark = pytest.mark.slow

FAILED: Final = ["1.08", "1.08", "sorry: no route to the bank", "1.09"]
STALE: Final = ["1.08", "1.08", "1.08 (stale)", "1.09"]
STALE_AND_WHY: Final = ["1.08", "1.08", "1.08 (stale: no route to the bank)", "1.09"]
UNSEEN: Final = "Task exception was never retrieved"
EXPECTED: Final = {
    "cachetools_before": FAILED,
    "cachetools_after": STALE_AND_WHY,
    "lru_cache_before": FAILED,
    "lru_cache_after": STALE,
    "async_lru_before": FAILED,
    "async_lru_after": STALE_AND_WHY,
    "dogpile_before": FAILED,
    "dogpile_after": STALE,
    "cashews_early_before": ["1.08", "1.08", "1.08", "1.08", "1.09"],
    "cashews_early_after": ["1.08", "1.08", "1.08 (stale)", "1.08 (stale)", "1.09"],
    "cashews_failover_before": ["1.08", "1.08", "1.08", "1.09"],
    "cashews_failover_after": STALE_AND_WHY,
    "aiocache_before": FAILED,
    "aiocache_after": STALE,
}


@pytest.mark.parametrize("program", EXPECTED)
def test_what_users_see(program: str, caplog: pytest.LogCaptureFixture) -> None:
    """A program that moved here shows a stale value, marked, where the one before shows an error or no mark."""
    assert EXPECTED[program] == seen_by_users(program)
    complaints = {record.getMessage().splitlines()[0] for record in caplog.records if record.levelname == "ERROR"}
    assert complaints == ({UNSEEN} if program == "cashews_early_before" else set())
    caplog.clear()


def test_every_pair_is_run() -> None:
    """Each peer of the page has a program before and one after, and there are no others."""
    assert {f"{peer}_{when}" for peer in PEERS for when in ("before", "after")} == set(EXPECTED)
    assert {path.stem for path in FOLDER.glob("*_*.py") if not path.stem.startswith("__")} == set(EXPECTED)


def test_the_page_shows_the_programs() -> None:
    """The page has the text of the programs, and what their users see; ``python -m tests.moving`` writes them anew."""
    assert written(PAGE.read_text(), EXPECTED.__getitem__) == PAGE.read_text()
