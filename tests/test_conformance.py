"""The scenarios observed on the reference implementation, with the differences that the docs name, on each shell."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from returns.pipeline import is_successful
from returns.result import Result, Success

from lastcache import CachedValue, failed
from lastcache.core.states import Outcome
from tests.kit import TICK, ticks
from tests.shells import Load, Stage

Json: TypeAlias = Any  # The vectors are JSON: their values are of any type.

VECTORS: Final[list[dict[str, Json]]] = [
    json.loads(line) for line in (Path(__file__).parent / "conformance" / "vectors.jsonl").read_text().splitlines()
]

BATCH: Final = 43


class Replay:
    """One scenario on a cache of its own, with a clock that stands still."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.cache = stage.cache
        self.called = False

    async def perform(self, op: dict[str, Json]) -> dict[str, Json]:
        """Do what ``op`` says, and give what came of it in the form of the vectors."""
        act: Callable[[dict[str, Json]], Awaitable[dict[str, Json]]] = getattr(self, f"_{op['op']}")
        return await act(op)

    async def _advance(self, op: dict[str, Json]) -> dict[str, Json]:
        self.stage.clock.advance(ticks(op["ticks"]))
        return {}

    async def _set(self, op: dict[str, Json]) -> dict[str, Json]:
        self.cache.set(op["key"], op["value"])
        return {}

    async def _delete(self, op: dict[str, Json]) -> dict[str, Json]:
        self.cache.delete(op["key"])
        return {}

    async def _ttl(self, op: dict[str, Json]) -> dict[str, Json]:
        return {"ttl": self.cache.ttl(op["key"]).map(in_ticks).value_or(None)}

    async def _range(self, _op: dict[str, Json]) -> dict[str, Json]:
        stored = self.cache.entries()
        return {"items": sorted([e.key, e.cached.value, in_ticks(e.ttl)] for e in stored)}

    async def _load_or_store(self, op: dict[str, Json]) -> dict[str, Json]:
        answer = await self.stage.ask(op["key"], self._callback(op["outcome"]))
        return {"called": self.called, **shown(answer)}

    async def _async_load_or_store(self, op: dict[str, Json]) -> dict[str, Json]:
        answer = await self.stage.revalidate(op["key"], self._callback(op["outcome"]))
        refresh = answer.unwrap().refresh if is_successful(answer) else None
        refreshed = None if refresh is None else shown(await self.stage.ended(refresh))
        return {"called": self.called, **shown(answer.map(lambda given: given.cached)), "refresh": refreshed}

    def _callback(self, outcome: dict[str, Json]) -> Load:
        self.called = False

        async def callback(_key: str) -> Outcome[Json, str]:
            self.called = True
            for op in outcome.get("during", []):
                await self.perform(op)
            if outcome["kind"] == "ok":
                return Success(outcome["value"])
            return failed(outcome["err"], use_stale=outcome["use_stale"])

        return callback


def shown(answer: Result[CachedValue[Json, str], str]) -> dict[str, Json]:
    """Show an answer in the form of the vectors."""
    if not is_successful(answer):
        return {"value": None, "stale": False, "err": None, "error": answer.failure()}
    cached = answer.unwrap()
    return {"value": cached.value, "stale": cached.stale, "err": cached.err, "error": None}


def in_ticks(duration: timedelta) -> int:
    return duration // TICK


def test_that_every_scenario_is_there() -> None:
    """All 344 scenarios are replayed."""
    assert len({vector["name"] for vector in VECTORS}) == 344


@pytest.mark.parametrize("first", range(0, len(VECTORS), BATCH))
async def test_scenarios(stage: Stage, first: int) -> None:
    """What comes of every operation is what the scenario says, to the tick; some scenarios share an event loop."""
    for vector in VECTORS[first : first + BATCH]:
        config = vector["config"]
        await stage.open(ttl=config["global_ttl"], extend=config["extend_ttl"], workers=config["async_semaphore"])
        replay = Replay(stage)
        for number, op in enumerate(vector["ops"]):
            expected = (vector["name"], number, op["expect"])
            assert expected == (vector["name"], number, await replay.perform(op))
