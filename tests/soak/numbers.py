"""The laws of what an observer is told of each load and each wait, from its beginning to its end."""

from collections import Counter
from collections.abc import Iterator
from typing import Final, TypeAlias

from lastcache.events import Joined, Loaded, LoadFailed, LoadRaised, LoadStarted, Waited
from tests.soak.counts import LAW
from tests.soak.history import Err, Violation
from tests.soak.index import Index

STARTS: Final = "a load starts once"

ENDED: Final = "a load ends once, as the one that it started as"

UNSTARTED: Final = "no load ends that has not started"

WAITED: Final = "who has waited has joined"

End: TypeAlias = Loaded[str] | LoadFailed[str, Err] | LoadRaised[str]

ENDS: Final = (Loaded, LoadFailed, LoadRaised)


def judge_numbers(index: Index) -> Iterator[Violation]:
    """Hold the events to the laws; where nothing is under way any more, none may be missing."""
    if not index.setting.observed:
        return
    yield from _in_order(index)
    yield from _waits(index)
    if index.history.count is not None and not index.setting.interrupted:
        yield from _complete(index, index.history.count.at)


def _in_order(index: Index) -> Iterator[Violation]:
    """Law: a number starts once and ends once at most, later, of the same key, in the background or not."""
    started: dict[int, LoadStarted[str]] = {}
    ended: dict[int, End] = {}
    for _, event in sorted(index.history.events, key=lambda each: each[0]):
        if isinstance(event, LoadStarted):
            if event.load in started:
                yield Violation(STARTS, f"{event} started twice, by number {event.load}")
            started[event.load] = event
        elif isinstance(event, ENDS):
            yield from _end(event, started.get(event.load), ended.get(event.load))
            ended[event.load] = event


def _end(event: End, start: LoadStarted[str] | None, before: End | None) -> Iterator[Violation]:
    if start is None:
        yield Violation(UNSTARTED, f"{event} ended without a start, by number {event.load}")
        return
    if (start.key, start.background) != (event.key, event.background):
        yield Violation(ENDED, f"{event} is the end of {start}, by number {event.load}")
    if before is not None:
        yield Violation(ENDED, f"{event} ended twice, by number {event.load}: before it came {before}")


def _waits(index: Index) -> Iterator[Violation]:
    """Law: who has waited for a key has joined before."""
    waiting = Counter[str]()
    for _, event in sorted(index.history.events, key=lambda each: each[0]):
        if isinstance(event, Joined):
            waiting[event.key] += 1
        elif isinstance(event, Waited):
            waiting[event.key] -= 1
            if waiting[event.key] < 0:
                yield Violation(WAITED, f"{event} came before it had joined")
                waiting[event.key] = 0


def _complete(index: Index, at: int) -> Iterator[Violation]:
    """Law: every load that ran started and ended, and everybody who joined has waited."""
    events = [event for when, event in index.history.events if when < at]
    started = Counter((event.key, event.background) for event in events if isinstance(event, LoadStarted))
    ended = Counter((event.key, event.background) for event in events if isinstance(event, ENDS))
    ran = Counter((load.key, load.background) for load in index.history.loads if load.ended < at)
    if not started == ended == ran:
        yield Violation(LAW, f"started: {started}; ended: {ended}; ran: {ran}")
    kinds = Counter(type(event) for event in events)
    if kinds[Joined] != kinds[Waited]:
        yield Violation(WAITED, f"{kinds[Joined]} joined, and {kinds[Waited]} have waited")
