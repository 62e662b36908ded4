"""What the run with workers comes to: what was lost, what it cost, and what a delete was worth."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from lastcache._demo.options import Options
from lastcache._demo.record import SECOND, Answer, Failed, Fetched, History, Phase, Sample, Switch, phase_at

DELETED: Final = 0
"""The key that is deleted: the one that is asked for most."""


class Tally(NamedTuple):
    """The whole run.

    ``warm_up_calls`` of the origin are those of the first reads; a call of the dead one could only fail.
    ``seen_after`` is how many seconds after the delete the first worker's answer was another one.
    """

    answers: int
    lost: int
    warm_up_calls: int
    up_calls: int
    dead_calls: int
    recovered_calls: int
    worst_ms: float
    first_after_deploy: str | None
    deleted: bool
    seen_after: float | None


def tally(histories: tuple[History, ...], switches: tuple[Switch, ...]) -> Tally:
    """Sum the run up; of what was before the clock started only the calls count."""
    first = histories[0].samples if histories else ()
    began = {switch.phase: switch.began_at for switch in switches}
    samples = [
        sample
        for history in histories
        for sample in history.samples
        if phase_at(switches, sample.started_at) is not Phase.WARM_UP
    ]
    calls = [phase_at(switches, call) for history in histories for call in history.calls]
    return Tally(
        answers=len(samples),
        lost=sum(isinstance(sample.answer, Failed) for sample in samples),
        warm_up_calls=calls.count(Phase.WARM_UP),
        up_calls=calls.count(Phase.UP),
        dead_calls=calls.count(Phase.DOWN) + calls.count(Phase.DEPLOY),
        recovered_calls=calls.count(Phase.RECOVERED) + calls.count(Phase.DELETED),
        worst_ms=max((sample.ended_at - sample.started_at for sample in samples), default=0) / SECOND * 1000,
        first_after_deploy=_first_after(first, began.get(Phase.DEPLOY)),
        deleted=Phase.DELETED in began,
        seen_after=_seen_after(first, began.get(Phase.DELETED)),
    )


def lives(histories: tuple[History, ...], switches: tuple[Switch, ...]) -> tuple[History, ...]:
    """Part the first worker where it was killed: what began anew with nothing need not know what was known before."""
    at = next((switch.began_at for switch in switches if switch.phase is Phase.DEPLOY), None)
    if at is None:
        return histories
    first, *others = histories
    before = tuple(sample for sample in first.samples if sample.started_at < at)
    after = tuple(sample for sample in first.samples if sample.started_at >= at)
    return first._replace(samples=before), first._replace(samples=after), *others


def _first_after(samples: Iterable[Sample], deployed_at: int | None) -> str | None:
    if deployed_at is None:
        return None
    return next((_described(sample.answer) for sample in samples if sample.started_at >= deployed_at), None)


def _seen_after(samples: Iterable[Sample], deleted_at: int | None) -> float | None:
    if deleted_at is None:
        return None
    value: Fetched | None = None
    for sample in samples:
        if sample.key != DELETED or isinstance(sample.answer, Failed):
            continue
        if sample.started_at < deleted_at:
            value = sample.answer.value
        elif sample.answer.value != value:
            return (sample.ended_at - deleted_at) / SECOND
    return None


def words(counted: Tally, options: Options) -> str:
    """Say in plain words what the run shows."""
    calls = (
        f"Origin calls: {counted.warm_up_calls} for the first reads of {options.keys} keys, {counted.up_calls} until it"
        f" died,\n{counted.dead_calls} while it was dead, {counted.recovered_calls} since it is back."
    )
    lines = [f"Answers lost: {counted.lost} of {counted.answers}. Worst latency: {counted.worst_ms:.1f} ms.", calls]
    if counted.first_after_deploy is not None:
        lines.append(f"The first answer of worker A after its restart was {counted.first_after_deploy}")
    if counted.seen_after is not None:
        lines.append(f"Worker A saw the delete after {counted.seen_after:.2f} s (trust_for: {options.trust_for:g} s).")
    elif counted.deleted:
        lines.append("Worker A did not see the delete: it went on giving its own copy.")
    return "\n".join([*lines, *(_NO_STORE if options.store is None and counted.lost else ())])


def _described(answer: Answer) -> str:
    if isinstance(answer, Failed):
        return f"a failure:\n{answer.error}"
    return "fresh." if answer.error is None else f"stale, with the error of its load:\n{answer.error}"


_NO_STORE: Final = (
    "No store: every worker loaded every key by itself, and worker A lost its values with",
    "its process, so it had no answer until the origin was back.",
    "A store that the workers share keeps them: add --store sqlite:PATH",
)
