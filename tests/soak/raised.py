"""The laws of what is raised: who may get it, and that nothing else is."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from lastcache import CacheClosedError, LoadDroppedError
from tests.soak.game import CleanupError, SourceError, is_numbered
from tests.soak.history import NEVER, Call, Load, Refresh, Violation, number_of
from tests.soak.index import Index

STRIKES: Final = (KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)


class Interrupt(KeyboardInterrupt):
    """What a signal handler raises; it has no number of a load."""


def judge_raised(index: Index) -> Iterator[Violation]:
    """Hold everything that was raised to the laws."""
    loads: defaultdict[int, list[Load]] = defaultdict(list)
    for load in index.history.loads:
        number = number_of(load.raised)
        if number is not None:
            loads[number].append(load)
    for call in index.history.calls:
        if call.raised is not None:
            yield from _by_call(index, call, call.raised, loads)
        elif call.ended != NEVER:
            yield from _swallowed(call, index)
    yield from _by_refreshes(index, loads)


def _by_call(
    index: Index, call: Call, raised: BaseException, loads: defaultdict[int, list[Load]]
) -> Iterator[Violation]:
    if is_numbered(raised):
        yield from _by_callback(index, call, raised, loads)
    elif isinstance(raised, LoadDroppedError):
        yield Violation("no call is dropped", f"{call} raised {raised!r}")
    elif not _is_own(index, call, raised):
        yield Violation("foreign exception", f"{call} raised {raised!r}")


def _is_own(index: Index, call: Call, raised: BaseException) -> bool:
    """Tell whether this came from outside of the cache: an interrupt, a cancellation or a closing."""
    if isinstance(raised, CacheClosedError):
        return index.closed() < call.ended
    return isinstance(raised, Interrupt) or (is_cancellation(raised) and is_cancelled(call))


def is_cancellation(raised: BaseException) -> bool:
    """Tell whether this is how asyncio or trio cancel a task."""
    return type(raised).__name__ in {"CancelledError", "Cancelled"}


def is_cancelled(call: Call) -> bool:
    """Tell whether somebody cancelled this call, or the one whose callback made it."""
    if call.cancelled or call.within is None:
        return call.cancelled
    return is_cancelled(call.within.call) or call.within.background


def _by_callback(
    index: Index, call: Call, raised: BaseException, loads: defaultdict[int, list[Load]]
) -> Iterator[Violation]:
    """Law: what a callback raised reaches its leader and those who waited; what strikes reaches the leader alone."""
    number = number_of(raised) or 0
    mine = [load for load in loads[number] if load.key in call.keys]
    led = [load for load in mine if load.call is call and not load.background]
    if not mine:
        yield Violation("foreign exception", f"{call} raised {raised!r} of another key")
    elif isinstance(raised, STRIKES) and not led:
        yield Violation("what strikes one reaches nobody else", f"{call} raised {raised!r} of {mine[0]}")
    elif isinstance(raised, CleanupError) and not led:
        yield Violation("a cancelled callback's cleanup reaches nobody else", f"{call} raised {raised!r} of {mine[0]}")
    elif isinstance(raised, SourceError) and not led:
        yield from _joined(index, call, raised, mine)


def _joined(index: Index, call: Call, raised: BaseException, loads: list[Load]) -> Iterator[Violation]:
    """Law: an exception is not remembered, and a later call joins no load that a write has outrun."""
    if all(_known(index, load, raised) < call.began for load in loads):
        yield Violation("no exception is remembered", f"{call} raised {raised!r} of {loads[-1]}, known before")
    if all(index.keys[load.key].last_write.below(call.began) > load.began for load in loads):
        yield Violation("nothing from before a write is given", f"{call} raised {raised!r} of {loads[0]}")


def _known(index: Index, load: Load, raised: BaseException) -> int:
    """Give when the first call of this key alone had got what the load raised: a batch may have it of another key."""
    getting = (each for each in index.raising[id(raised)] if each.keys == (load.key,) and each.ended > load.ended)
    return min((each.ended for each in getting), default=NEVER)


def _swallowed(call: Call, index: Index) -> Iterator[Violation]:
    """Law: what a callback raised in the foreground comes out of the call that led it."""
    for load in index.by_call.get(id(call), ()):
        last = index.by_call[id(call)][-1]
        if load.raised is not None and not load.background and load is last and not call.cancelled:
            yield Violation("what a callback raised comes out", f"{call} swallowed {load.raised!r}")


def _by_refreshes(index: Index, loads: defaultdict[int, list[Load]]) -> Iterator[Violation]:
    calls: dict[int, list[Call]] = defaultdict(list)
    for call in index.history.calls:
        if call.refresh is not None:
            calls[id(call.refresh)].append(call)
    for given in calls.values():
        refresh = given[0].refresh
        if refresh is not None and refresh.raised is not None:
            yield from _by_refresh(index, given, refresh, refresh.raised, loads)


def _by_refresh(
    index: Index, calls: list[Call], refresh: Refresh, raised: BaseException, loads: defaultdict[int, list[Load]]
) -> Iterator[Violation]:
    """Law: a refresh ends with an answer, what a callback raised in the background, or because it was dropped."""
    call = calls[0]
    if isinstance(raised, LoadDroppedError):
        if not _may_be_dropped(index, calls, refresh):
            yield Violation("nothing is dropped without a reason", f"the refresh of {call}: {raised!r}")
        return
    mine = [load for load in loads[number_of(raised) or 0] if load.key in call.keys] if is_numbered(raised) else []
    if not mine:
        yield Violation("foreign exception", f"the refresh of {call} raised {raised!r}")
    elif isinstance(raised, STRIKES) and not any(load.background for load in mine):
        yield Violation("what strikes one reaches nobody else", f"the refresh of {call} raised {raised!r}")


def _may_be_dropped(index: Index, calls: list[Call], refresh: Refresh) -> bool:
    setting = index.setting
    if setting.refuses or setting.max_queued is not None or (setting.interrupted and setting.world == "interrupts"):
        return True
    key, began = calls[0].keys[0], min(call.began for call in calls)
    return any(
        write.kind in {"delete", "clear", "close", "leave"} and write.ended > began and write.began < refresh.ended
        for write in index.keys[key].writes
    )
