"""What broke: an error for a key that a cached client had, a stale value without the mark, a value of another key.

Only what is certain counts. A client had a key if a call that gave it ended before the failing call started.
A value landed in the cache before the first call that gave it ended, and before the load behind it ended; a call that
starts later than the TTL after that must find it expired, however slow the machine. So there is no tolerance.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple, TypeVar

from lastcache._demo.record import SECOND, Failed, Fetched, History, Phase, Sample, Switch, phase_at

_MILLISECOND: Final = SECOND // 1000

K = TypeVar("K")


class Broken(NamedTuple):
    """A promise that was not kept, and when the call started."""

    client: str
    phase: Phase
    key: int
    started_at: int
    what: str


class Known(NamedTuple):
    """What is certain about one client's cache: by when it had a key, and by when it had stored a value."""

    had: dict[int, int]
    landed: dict[Fetched, int]


def broken(histories: Iterable[History], switches: tuple[Switch, ...], ttl: int) -> tuple[Broken, ...]:
    """Find every promise that the cached clients did not keep; ``ttl`` in nanoseconds."""
    return tuple(
        Broken(history.client, phase_at(switches, sample.started_at), sample.key, sample.started_at, what)
        for history in histories
        if history.cached
        for sample, what in _breaches(history, ttl)
    )


def _breaches(history: History, ttl: int) -> Iterator[tuple[Sample, str]]:
    known = _known(history)
    for sample in history.samples:
        what = _breach(sample, known, ttl)
        if what is not None:
            yield sample, what


def _breach(sample: Sample, known: Known, ttl: int) -> str | None:
    answer = sample.answer
    if isinstance(answer, Failed):
        had = known.had.get(sample.key, sample.started_at) < sample.started_at
        return f"an error for a key that it had: {answer.error}" if had else None
    if answer.value.key != sample.key:
        return f"the value of another key: {answer.value.key}"
    if answer.stale or sample.started_at <= known.landed[answer.value] + ttl:
        return None
    age = (sample.started_at - answer.value.fetched_at) // _MILLISECOND
    return f"a value fetched {age} ms before, not marked stale; the TTL is {ttl / _MILLISECOND:g} ms"


def _known(history: History) -> Known:
    known = Known({}, {})
    for sample in history.samples:
        if not isinstance(sample.answer, Failed):
            _learn(known.had, sample.key, sample.ended_at)
            _learn(known.landed, sample.answer.value, sample.ended_at)
    for landing in history.landings:
        _learn(known.landed, landing.value, landing.at)
    return known


def _learn(known: dict[K, int], name: K, at: int) -> None:
    known[name] = min(at, known.get(name, at))
