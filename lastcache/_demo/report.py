"""The summary for machines."""

import json
from dataclasses import asdict
from typing import NamedTuple

from lastcache._demo.checks import Broken
from lastcache._demo.options import Options
from lastcache._demo.record import SECOND, Failed, History, Phase, Sample, phase_at
from lastcache._demo.stage import Run
from lastcache._demo.summary import Row
from lastcache._demo.tally import Tally


class Result(NamedTuple):
    """What a run comes to; ``tally`` is there with workers only."""

    rows: tuple[Row, ...]
    breaches: tuple[Broken, ...]
    verdict: str
    tally: Tally | None


def warmed(run: Run) -> tuple[int, int]:
    """Count the first reads of the cached clients: those that gave a value, and all."""
    answers = [sample.answer for history in run.histories for sample in _warm_up_of(run, history)]
    return sum(not isinstance(answer, Failed) for answer in answers), len(answers)


def _warm_up_of(run: Run, history: History) -> list[Sample]:
    return [sample for sample in history.samples if phase_at(run.switches, sample.started_at) is Phase.WARM_UP]


def as_json(options: Options, run: Run, result: Result) -> str:
    """Write down everything that the summary is made of; instants in seconds since the clock started."""
    began_at = run.switches[0].began_at if run.switches else run.ended_at
    config = options.config
    loaded, read = warmed(run)
    return json.dumps(
        {
            "options": _written(options),
            "config": {
                "global_ttl": config.global_ttl.total_seconds(),
                "extend_ttl": config.extend_ttl.total_seconds(),
                "async_semaphore": config.async_semaphore,
            },
            "workers_per_client": options.workers,
            "warm_up": {"reads": read, "loaded": loaded},
            "phases": [{"phase": s.phase, "began_at": (s.began_at - began_at) / SECOND} for s in run.switches],
            "ended_at": (run.ended_at - began_at) / SECOND,
            "interrupted_by_signal": run.signal,
            "rows": [row._asdict() for row in result.rows],
            "broken": [b._asdict() | {"started_at": (b.started_at - began_at) / SECOND} for b in result.breaches],
            "verdict": result.verdict,
        }
        | ({} if result.tally is None else {"trust_for": options.trust_for, "tally": result.tally._asdict()}),
        indent=2,
    )


def _written(options: Options) -> dict[str, object]:
    written: dict[str, object] = {**asdict(options), "json": options.json and str(options.json)}
    processes, store = written.pop("processes"), written.pop("store")
    return written | ({"workers": processes, "store": store and str(store)} if processes else {})
