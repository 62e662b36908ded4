"""The laws of loads: how many run at once, which are needed, and which must not run any more."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from tests.soak.game import dropped
from tests.soak.history import NEVER, Load, Violation
from tests.soak.index import REVALIDATES, Index, KeyIndex, Origin

OUTCOMES: Final = frozenset({"success", "covered", "uncovered", "forgets"})


def judge_flights(index: Index) -> Iterator[Violation]:
    """Hold every load to the laws."""
    for key in index.keys.values():
        yield from _one_at_a_time(index, key)
        yield from _dropped(index, key)
        yield from _dropped_runs(index, key)
        yield from _needed(index, key)
        yield from _spared(index, key)
        yield from _once(key)
    yield from _slots(index)


def _one_at_a_time(index: Index, key: KeyIndex) -> Iterator[Violation]:
    """Law: per key and loop one load at a time, unless a write came after the one was asked for.

    Which of two was asked for first is not known: a load that a write has outrun may call its callback late. A store
    that is reached late outruns what was loaded without it.
    """
    if index.setting.losing:
        return
    running: defaultdict[int, list[Load]] = defaultdict(list)
    for load in key.loads:
        others = [other for other in running[load.loop] if other.ended > load.began]
        for other in others:
            outrun = key.written_between(other.call.began, load.began) or _landed_elsewhere(index, key, other, load)
            if not outrun and not key.written_between(load.call.began, other.began):
                yield Violation("one load at a time", f"{load} began while {other} ran, and no write came between")
        running[load.loop] = [*others, load]


def _landed_elsewhere(index: Index, key: KeyIndex, first: Load, second: Load) -> bool:
    """Tell whether another loop stored its value while the first ran: that outruns it as a write does."""
    others = (load for load in key.loads if load.loop != first.loop and load.outcome == "success")
    return any(index.known[load.number] > first.call.began and load.ended < second.began for load in others)


def _dropped(index: Index, key: KeyIndex) -> Iterator[Violation]:
    """Law: what was queued before a ``delete`` or ``clear`` does not run after it.

    It is known to have been queued still where its worker was busy with something else when the write returned.
    """
    ran: set[int] = set()
    for load in key.loads:
        call = load.call
        queued = load.background and call.kind in REVALIDATES and call.refresh is not None and id(call) not in ran
        ran.add(id(call))
        if not queued:
            continue
        between = [w for w in key.writes if w.kind in {"delete", "clear"} and call.ended < w.began]
        if any(write.ended < load.after for write in between) and index.setting.loops == 1:
            yield Violation("delete drops what is queued", f"{load} began after a delete that came after its call")


def _dropped_runs(index: Index, key: KeyIndex) -> Iterator[Violation]:
    """Law: a refresh is dropped only if its callback does not run; one that runs answers."""
    if index.setting.world == "interrupts":
        return
    left = min((write.began for write in key.writes if write.kind == "leave"), default=NEVER)
    for load in key.loads:
        refresh = load.call.refresh
        ran = load.background and load.outcome in OUTCOMES and load.ended < left
        if ran and refresh is not None and dropped(refresh):
            yield Violation("what is dropped does not run", f"{load} ran, and its refresh was dropped")


def _needed(index: Index, key: KeyIndex) -> Iterator[Violation]:
    """Law: nothing is loaded while a value that is stored is fresh."""
    config = index.setting.config
    inexact = index.setting.loops > 1 or index.setting.stored
    if config.refresh_after is not None or config.max_entries is not None or inexact:
        return
    stored = sorted((index.known[o.number], o.number) for o in _stored(index, key))
    place, last = 0, None
    calls = sorted(key.loads, key=lambda load: load.call.began)
    for load in calls:
        while place < len(stored) and stored[place][0] < load.call.began:
            last = index.origins[stored[place][1]]
            place += 1
        if last is not None and _is_needless(index, key, last, load):
            yield Violation("nothing is loaded that is fresh", f"{load} at {load.began_at}, and {last} was fresh")


def _stored(index: Index, key: KeyIndex) -> Iterator[Origin]:
    """Give what was surely stored: a leader who is struck between callback and landing stores nothing."""
    for load in key.loads:
        struck = not load.background and load.call.raised is not None
        if not struck and load.outcome == "success" and index.known[load.number] != NEVER:
            yield index.origins[load.number]
    for write in key.writes:
        if write.kind == "set" and write.ended != NEVER:
            yield index.origins[write.number]


def _is_needless(index: Index, key: KeyIndex, origin: Origin, load: Load) -> bool:
    ttl = _ttl(index, origin)
    fresh = load.began_at <= origin.stored_at + index.setting.least(ttl)
    if not fresh:
        return False
    own = origin.load is None
    others = [
        write
        for write in key.writes
        if write.began < load.began and write.ended > origin.asked and not (own and write.number == origin.number)
    ]
    return not others


def _spared(index: Index, key: KeyIndex) -> Iterator[Violation]:
    """Law: while an extension stands nobody loads, whatever a reader demands.

    An extension is known to have come about where a caller was given a stale value with the failure that it covers.
    """
    config = index.setting.config
    least = index.setting.least(index.setting.nanoseconds("extend_ttl") or 0)
    if (
        least <= 0
        or index.setting.loops > 1
        or index.setting.losing
        or config.max_entries is not None
        or config.stale_if_error is not None
    ):
        return
    covering = sorted(index.covering[key.key].items(), key=lambda item: item[1])
    place, last = 0, None
    for load in sorted(key.loads, key=lambda load: load.call.began):
        while place < len(covering) and covering[place][1] < load.call.began:
            last = index.origins[covering[place][0]]
            place += 1
        if last is None or last.load is None or load.began_at > last.stored_at + least:
            continue
        if not key.written_between(last.asked, load.began):
            yield Violation("an extension spares the source", f"{load} at {load.began_at}, and {last} was covered")


def _once(key: KeyIndex) -> Iterator[Violation]:
    """Law: a call runs its callback for a key once at most while it waits."""
    led: set[int] = set()
    for load in key.loads:
        if not load.background and id(load.call) in led:
            yield Violation("a call waits for one load of its own", f"{load} is not its first")
        led |= set() if load.background else {id(load.call)}


def _ttl(index: Index, origin: Origin) -> int:
    if origin.load is None:
        return next(write.ttl for write in index.history.writes if write.number == origin.number)
    return origin.load.ttl


def _slots(index: Index) -> Iterator[Violation]:
    """Law: no more loads run in the background at once than the semaphore allows, in each loop."""
    running: defaultdict[int, list[Load]] = defaultdict(list)
    for load in sorted((each for each in index.history.loads if each.background), key=lambda each: each.began):
        running[load.loop] = [other for other in running[load.loop] if other.ended > load.began]
        running[load.loop].append(load)
        if len(running[load.loop]) > index.setting.config.async_semaphore:
            yield Violation("no more loads in the background than slots", f"{load} is one too many")
