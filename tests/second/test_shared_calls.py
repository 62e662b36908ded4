"""What a call answers, by what its process has, what the store has, and what the source says."""

from datetime import timedelta
from typing import Any, Final, NamedTuple

import pytest
from returns.result import Success

from lastcache.core.states import Answer, Outcome
from tests.kit import given
from tests.second.scenes import BROKEN, COVERED, DOWN, UNCOVERED, Process, Shared, move, process
from tests.shells import Json, Stage, giving, never

LOADED: Final[Outcome[Json, str]] = Success("new")
OUTCOMES: Final = (LOADED, COVERED, UNCOVERED)
NAMES: Final = ("success", "covered", "uncovered")

NEW: Final[Answer[Json, str]] = given("new")
OLD: Final[Answer[Json, str]] = given("old")
THEIRS: Final[Answer[Json, str]] = given("theirs")
OLD_STALE: Final[Answer[Json, str]] = given("old", stale=True)
THEIRS_STALE: Final[Answer[Json, str]] = given("theirs", stale=True)
OLD_COVERS, THEIRS_COVER = given("old", stale=True, err="down"), given("theirs", stale=True, err="down")

GONE: Final = "nothing"


class Row(NamedTuple):
    """What is here, what the store has, and the answers where the load succeeds, fails covered, and fails uncovered.

    ``at_once`` is what stale-while-revalidate answers ahead, where that differs. Where ``loads`` is false no callback
    runs. ``kept`` is the value that is here after a failure that may not be covered.
    """

    here: str
    there: str
    answers: tuple[Any, Any, Any]
    at_once: Any = None
    kept: str = GONE

    @property
    def loads(self) -> bool:
        return bool(self.answers[0] == NEW)


def standing(here: str, there: str, answer: Any, at_once: Any = None) -> Row:
    """Make the row of an answer that no load is made for."""
    return Row(here, there, (answer, answer, answer), at_once)


UNSETTLED: Final = ("missing", "long unchecked", "expired", "refused")
UNKNOWN: Final = ("absent", "away")

ROWS: Final = [
    *[standing("trusted", there, OLD) for there in ("theirs fresh", "theirs stale", "deleted", "same", *UNKNOWN)],
    *[standing("extended", there, OLD_COVERS) for there in ("theirs fresh", "theirs stale", "deleted", *UNKNOWN)],
    *[standing("remembered", there, BROKEN) for there in ("theirs fresh", "theirs stale", *UNKNOWN)],
    *[standing(here, "theirs fresh", THEIRS) for here in UNSETTLED],
    standing("unchecked", "theirs fresh", THEIRS, OLD),
    *[standing("unchecked", there, OLD, OLD) for there in ("same", *UNKNOWN)],
    *[standing("long unchecked", there, OLD) for there in ("same", *UNKNOWN)],
    *[Row(here, "theirs stale", (NEW, THEIRS_COVER, BROKEN), THEIRS_STALE, "theirs") for here in UNSETTLED],
    *[Row(here, "deleted", (NEW, DOWN, BROKEN)) for here in UNSETTLED],
    *[Row("missing", there, (NEW, DOWN, BROKEN)) for there in UNKNOWN],
    *[Row("expired", there, (NEW, OLD_COVERS, BROKEN), OLD_STALE, "old") for there in UNKNOWN],
    *[Row("refused", there, (NEW, OLD_COVERS, BROKEN), None, "old") for there in UNKNOWN],
    *[standing("extended, long unchecked", there, OLD_COVERS) for there in ("same", *UNKNOWN)],
    standing("extended, long unchecked", "theirs fresh", THEIRS),
    Row("extended, long unchecked", "deleted", (NEW, DOWN, BROKEN)),
    *[standing("remembered, long unchecked", there, BROKEN) for there in ("same", *UNKNOWN)],
    standing("remembered, long unchecked", "theirs fresh", THEIRS),
]

HELD_BACK: Final = {"unchecked": 1.5, "long unchecked": 3.0}
"""Past the second of trust; and past one more, in which an answer is given ahead of the store's."""


class Scene(NamedTuple):
    """What is here, what is there, and who asks."""

    stage: Stage
    store: Shared
    other: Process
    asker: Process

    async def set(self, key: str, row: Row) -> None:
        """Bring about what the row begins with."""
        self.asker.store.heal()
        here = row.here.split(",")[0]
        asks = self.asker.ask
        if here == "remembered":
            assert await asks(key, giving(UNCOVERED)) == BROKEN
        elif here != "missing":
            assert await asks(key, giving(Success("old"))) == OLD
        if here in {"expired", "refused", "extended"}:
            move(self.stage, self.store, 101)
        if here == "refused":
            assert await asks(key, giving(UNCOVERED)) == BROKEN
        if here == "extended":
            assert await asks(key, giving(COVERED)) == OLD_COVERS
        await self._change(key, row.there)
        move(self.stage, self.store, HELD_BACK.get(row.here.split(", ")[-1], 0))

    async def _change(self, key: str, there: str) -> None:
        match there:
            case "theirs fresh":
                self.other.cache.set(key, "theirs")
            case "theirs stale":
                self.other.cache.set(key, "theirs")
                await self.other.told()
                self.other.cache.expire(key)
            case "deleted":
                self.other.cache.delete(key)
            case "absent":
                self.store.engine.lose_all()
            case "away":
                self.asker.store.fail()
            case _:
                pass
        await self.other.told()


async def scene(stage: Stage, store: Shared, row: Row) -> Scene:
    negative = timedelta(seconds=50 if row.here.startswith("remembered") else 0)
    extend = 50 if row.here.startswith("extended") else 0
    other = await process(stage, store)
    return Scene(stage, store, other, await process(stage, store, extend=extend, negative_ttl=negative))


def cases(*slow: int) -> list[Any]:
    """Give each row with each outcome, for which pytest has no type; where no callback runs one is enough.

    Some outcomes are left to the whole run.
    """
    return [
        pytest.param(
            row,
            turn,
            id=f"{row.here} here, {row.there} there, {NAMES[turn]}",
            marks=pytest.mark.slow if turn in slow else (),
        )
        for row in ROWS
        for turn in range(3 if row.loads else 1)
    ]


@pytest.mark.parametrize(("row", "turn"), cases(1, 2))
async def test_a_call_that_waits(stage: Stage, store: Shared, row: Row, turn: int) -> None:
    """A call that waits for its load takes the store's word first, and calls the source only where that is none."""
    told = await scene(stage, store, row)
    await told.set("k", row)
    load = stage.gated(OUTCOMES[turn]).opened()
    assert await told.asker.ask("k", load) == row.answers[turn]
    assert load.calls == row.loads
    if row.loads and turn == 2:
        assert told.asker.cache.peek("k").map(lambda cached: cached.value).value_or(GONE) == row.kept


@pytest.mark.slow
@pytest.mark.parametrize(("row", "turn"), cases(1, 2))
async def test_a_call_that_revalidates(stage: Stage, store: Shared, row: Row, turn: int) -> None:
    """A call that revalidates gives what is stale or unchecked ahead, and what the waiting call gives behind it."""
    told = await scene(stage, store, row)
    await told.set("k", row)
    load = stage.gated(OUTCOMES[turn]).opened()
    got = await stage.revalidate("k", load, told.asker.cache)
    assert got.map(lambda revalidation: revalidation.cached) == (row.at_once or row.answers[turn])
    refresh = got.map(lambda revalidation: revalidation.refresh).value_or(None)
    if refresh is not None:
        assert await stage.ended(refresh) == row.answers[turn]
    await told.asker.quiet()
    assert load.calls == row.loads
    if row.at_once == OLD:
        assert await told.asker.ask("k", never) == row.answers[turn]
