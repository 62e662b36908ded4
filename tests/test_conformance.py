"""The scenarios observed on the reference implementation, with the differences that the docs name."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeAlias

import pytest
from returns.pipeline import is_successful
from returns.result import Result, Success

from lastcache import CachedValue, Config, LastCache, failed
from lastcache.transitions import Outcome
from tests.kit import TICK, ManualClock, result_of, ticks

Json: TypeAlias = Any  # The vectors are JSON: their values are of any type.
Cache: TypeAlias = LastCache[str, Json, str]

VECTORS: Final[list[dict[str, Json]]] = [
    json.loads(line) for line in (Path(__file__).parent / "conformance" / "vectors.jsonl").read_text().splitlines()
]


class Replay:
    """One scenario on a cache of its own, with a clock that stands still."""

    def __init__(self, config: dict[str, int]) -> None:
        self.clock = ManualClock()
        self.cache: Cache = LastCache(
            Config(
                global_ttl=ticks(config["global_ttl"]),
                extend_ttl=ticks(config["extend_ttl"]),
                async_semaphore=config["async_semaphore"],
            ),
            clock=self.clock,
        )
        self.called = False

    def perform(self, op: dict[str, Json]) -> dict[str, Json]:
        """Do what ``op`` says, and give what came of it in the form of the vectors."""
        act: Callable[[dict[str, Json]], dict[str, Json]] = getattr(self, f"_{op['op']}")
        return act(op)

    def _advance(self, op: dict[str, Json]) -> dict[str, Json]:
        self.clock.advance(op["ticks"])
        return {}

    def _set(self, op: dict[str, Json]) -> dict[str, Json]:
        self.cache.set(op["key"], op["value"])
        return {}

    def _delete(self, op: dict[str, Json]) -> dict[str, Json]:
        self.cache.delete(op["key"])
        return {}

    def _ttl(self, op: dict[str, Json]) -> dict[str, Json]:
        return {"ttl": self.cache.ttl(op["key"]).map(in_ticks).value_or(None)}

    def _range(self, _op: dict[str, Json]) -> dict[str, Json]:
        stored = self.cache.entries()
        return {"items": sorted([e.key, e.cached.value, in_ticks(e.ttl)] for e in stored)}

    def _load_or_store(self, op: dict[str, Json]) -> dict[str, Json]:
        answer = self.cache.load_or_store(op["key"], self._callback(op["outcome"]))
        return {"called": self.called, **shown(answer)}

    def _async_load_or_store(self, op: dict[str, Json]) -> dict[str, Json]:
        answer = self.cache.async_load_or_store(op["key"], self._callback(op["outcome"]))
        refresh = answer.unwrap().refresh if is_successful(answer) else None
        refreshed = None if refresh is None else shown(result_of(refresh))
        return {"called": self.called, **shown(answer.map(lambda given: given.cached)), "refresh": refreshed}

    def _callback(self, outcome: dict[str, Json]) -> Callable[[str], Outcome[Json, str]]:
        self.called = False

        def callback(_key: str) -> Outcome[Json, str]:
            self.called = True
            for op in outcome.get("during", []):
                self.perform(op)
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


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_scenario(vector: dict[str, Json]) -> None:
    """What comes of every operation is what the scenario says, to the tick."""
    replay = Replay(vector["config"])
    for number, op in enumerate(vector["ops"]):
        assert (number, op["expect"]) == (number, replay.perform(op))
