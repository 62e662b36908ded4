"""The laws of what is told and counted, where docs/observing.md promises an equality."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from lastcache.events import LoadFailed, LoadRaised, ServedStale
from tests.soak.game import SourceError, dropped
from tests.soak.history import Load, Seen, Violation
from tests.soak.index import ANSWERS, ASKS, REVALIDATES, Index

LAW: Final = "what is told and counted is what happened"

NAMES: Final = {
    "Loaded": "loaded",
    "LoadFailed": "load_failed",
    "LoadRaised": "load_raised",
    "Joined": "joined",
    "ServedStale": "served_stale",
    "RefreshStarted": "refresh_started",
    "RefreshRefused": "refresh_refused",
    "Evicted": "evicted",
    "Swept": "swept",
}


def judge_counts(index: Index) -> Iterator[Violation]:
    """Compare what was told, what was counted and what happened, up to when nothing was under way.

    Where nobody is told, what was counted stands for it.
    """
    count = index.history.count
    if count is None:
        return
    told = Counter({name: getattr(count.stats, counted) for name, counted in NAMES.items()})
    if index.setting.observed:
        counted, told = told, Counter(type(event).__name__ for at, event in index.history.events if at < count.at)
        for name in () if index.setting.interrupted else NAMES:
            if told[name] != counted[name]:
                yield Violation(LAW, f"{told[name]} x {name} told, {counted[name]} counted")
    yield from _loads(index, told, count.at)
    yield from _calls(index, count.stats.hits, count.stats.misses)
    yield from _stale(index, told["ServedStale"], count.at)
    yield from _refreshes(index, told, count.at)


def _differs(index: Index, told: int, happened: int) -> bool:
    """Where callers are struck something may happen untold; nothing is told that did not happen."""
    return told > happened if index.setting.interrupted else told != happened


def _loads(index: Index, told: Counter[str], at: int) -> Iterator[Violation]:
    loads = [load for load in index.history.loads if load.ended < at]
    ends = Counter(load.outcome for load in loads)
    if _differs(index, told["Loaded"], ends["success"]):
        yield Violation(LAW, f"{told['Loaded']} x Loaded, and {ends['success']} loads gave a value")
    failures = ends["covered"] + ends["uncovered"] + ends["forgets"]
    if _differs(index, told["LoadFailed"], failures):
        yield Violation(LAW, f"{told['LoadFailed']} x LoadFailed, and {failures} loads failed")
    yield from _raised(index, told, loads)
    behind = sum(load.background for load in loads)
    if told["RefreshStarted"] != behind and not index.setting.interrupted:
        yield Violation(LAW, f"{told['RefreshStarted']} x RefreshStarted, and {behind} loads ran in the background")
    events = [event for _, event in index.history.events if isinstance(event, LoadFailed)]
    covers = {(event.err.number, event.use_stale) for event in events}
    for load in loads:
        if (load.number, load.outcome != "covered") in covers:
            yield Violation(LAW, f"{load} is told of with the wrong use_stale")


def _raised(index: Index, told: Counter[str], loads: list[Load]) -> Iterator[Violation]:
    """Law: each exception of a callback is told of. Where callers are struck, a load may be before it calls back."""
    raised = [load for load in loads if load.outcome == "raised"]
    plain = sum(isinstance(load.raised, SourceError) and load.call.kind != "load_or_store_many" for load in raised)
    if not index.setting.interrupted and not plain <= told["LoadRaised"] <= len(raised):
        told_of = [repr(event.exception) for _, event in index.history.events if isinstance(event, LoadRaised)]
        what = f"{told['LoadRaised']} x LoadRaised, and {len(raised)} loads raised, {plain} an Exception"
        yield Violation(LAW, f"{what}; told of {', '.join(told_of)[:500]}")


def _calls(index: Index, hits: int | None, misses: int) -> Iterator[Violation]:
    calls = sum(len(call.keys) for call in index.history.calls if call.kind in ASKS | REVALIDATES)
    if hits is not None and (hits + misses > calls if index.setting.interrupted else hits + misses != calls):
        yield Violation(LAW, f"{hits} hits and {misses} misses, and {calls} calls by key")
    if misses > calls:
        yield Violation(LAW, f"{misses} misses, and {calls} calls by key")


def _stale(index: Index, told: int, at: int) -> Iterator[Violation]:
    """Law: each stale answer is told of once, with its key and its error.

    A call that was struck may have been told of. Where nobody counts, the hit path counts nothing.
    """
    calls = [call for call in index.history.calls if call.kind in ANSWERS and call.ended < at]
    given = Counter(_named(*each) for call in calls for each in call.answers.items() if each[1].stale)
    struck = sum(len(call.keys) for call in calls if call.raised is not None) if index.setting.interrupted else 0
    counts = index.setting.observed or index.setting.config.count_hits
    least = 0 if index.setting.interrupted or not counts else given.total()
    if not least <= told <= given.total() + struck:
        yield Violation(LAW, f"{told} x ServedStale, and {given.total()} stale answers")
    events = [event for when, event in index.history.events if isinstance(event, ServedStale) and when < at]
    named = Counter((event.key, None if event.err is None else event.err.number) for event in events)
    if index.setting.observed and not index.setting.interrupted and named != given:
        more, less = named - given, given - named
        yield Violation(LAW, f"stale answers told of and not given: {more}; given and not told of: {less}")


def _named(key: str, seen: Seen) -> tuple[str, int | None]:
    return key, None if seen.err is None else seen.err.number


def _refreshes(index: Index, told: Counter[str], at: int) -> Iterator[Violation]:
    refreshes = {id(call.refresh): call.refresh for call in index.history.calls if call.refresh is not None}
    if index.setting.world in {"asyncio", "trio", "loops"}:
        return  # each caller has an awaitable of its own there
    seen = sum(dropped(refresh) and refresh.ended < at for refresh in refreshes.values())
    if told["RefreshRefused"] < seen and not index.setting.interrupted:
        yield Violation(LAW, f"{told['RefreshRefused']} x RefreshRefused, and {seen} refreshes were dropped")
    config = index.setting.config
    # A reader with a demand may find the stale value too stale for it by then, and is not given its refresh.
    demanding = [call for call in index.history.calls if call.max_stale is not None and call.kind in REVALIDATES]
    unseen = sum(call.refresh is None for call in demanding)
    exact = not index.setting.interrupted and not index.setting.stored  # a check behind a fresh answer is a job, too
    visible = config.soft_timeout is None and config.refresh_after is None and exact
    if visible and told["RefreshRefused"] > seen + unseen:
        yield Violation(LAW, f"{told['RefreshRefused']} x RefreshRefused, and only {seen} refreshes were dropped")
