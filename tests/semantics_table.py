"""The table of states and options, and the diagram of states, in ``docs/semantics.md``: asked of the core itself.

``python -m tests.semantics_table`` writes them into the page; a test says when they are no longer true.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from returns.pipeline import is_successful
from returns.result import Success

from lastcache import failed
from lastcache.core.policy import Policy
from lastcache.core.states import (
    Answer,
    Decision,
    Entry,
    Extended,
    Fresh,
    Join,
    Load,
    NegativelyCached,
    Outcome,
    RefreshAhead,
    Refused,
    Revalidate,
    Serve,
    ServeAndRefresh,
    Strategy,
)
from lastcache.core.transitions import dead, expire, fresh, fresh_until, lookup, settle

Known: TypeAlias = Entry[str, str] | None

PAGE: Final = Path(__file__).parent.parent / "docs" / "semantics.md"
TTL, EXTENSION, WINDOW, SHORT_WINDOW, MEMORY, EARLY = 100, 30, 50, 20, 10, 60
SUCCESS: Final[Outcome[str, str]] = Success("w")
COVERED: Final[Outcome[str, str]] = failed("err", use_stale=True)
REFUSED: Final[Outcome[str, str]] = failed("err", use_stale=False)
FORGETTING: Final[Outcome[str, str]] = failed("err", use_stale=False, forget=True)


class Situation(NamedTuple):
    """A state under an option, at an instant."""

    option: str
    state: str
    policy: Policy
    entry: Known
    now: int


def situations() -> Iterator[Situation]:
    """List what the table has a row for."""
    yield from _of("none", Policy(TTL, EXTENSION), "missing", "fresh", "expired", "extended", "refused")
    yield from _of("`stale_if_error`", Policy(TTL, EXTENSION, stale_if_error=WINDOW), "expired", "past the window")
    yield from _of(
        "`stale_while_revalidate`", Policy(TTL, EXTENSION, stale_while_revalidate=WINDOW), "expired", "past the window"
    )
    both = Policy(TTL, EXTENSION, stale_if_error=WINDOW, stale_while_revalidate=WINDOW)
    yield from _of("both windows", both, "past the window")
    memory = Policy(TTL, EXTENSION, negative_ttl=MEMORY)
    yield from _of("`negative_ttl`", memory, "missing", "remembered", "expired", "refused")
    yield from _of("`refresh_after`", Policy(TTL, EXTENSION, refresh_after=EARLY), "fresh", "due early", "expired")


def _of(option: str, policy: Policy, *states: str) -> Iterator[Situation]:
    first = fresh(policy, "v", 0)
    expired_at = TTL + 1
    reached: dict[str, tuple[Known, int]] = {
        "missing": (None, 0),
        "fresh": (first, 1),
        "due early": (first, EARLY + 1),
        "expired": (first, expired_at),
        "past the window": (first, TTL + WINDOW + 1),
        "extended": (settle(policy, first, failed("last", use_stale=True), expired_at)[1], expired_at + 1),
        "refused": (settle(policy, first, failed("last", use_stale=False), expired_at)[1], expired_at + 1),
        "remembered": (settle(policy, None, failed("last", use_stale=True), 0)[1], 1),
    }
    for state in states:
        yield Situation(option, state, policy, *reached[state])


def table() -> str:
    """Set out a row for each situation."""
    head = (
        "| option | state | S | A | S with `soft_timeout` | `Success(w)` | covered by `use_stale` | not `use_stale` "
        "| `forget` |"
    )
    return "\n".join([head, "|---|---|---|---|---|---|---|---|---|", *map(_row, situations())])


def _row(at: Situation) -> str:
    asked = [
        _decision(lookup(at.policy, strategy, at.entry, None, at.now))
        for strategy in (Strategy.STALE_IF_ERROR, Strategy.STALE_WHILE_REVALIDATE)
    ]
    softly = lookup(at.policy, Strategy.STALE_IF_SLOW, at.entry, None, at.now)
    waits = "waits that long, then gives" if isinstance(softly, Revalidate) else ""
    told = _decision(softly).replace("gives", waits, 1) if waits else _decision(softly)
    runs = not isinstance(lookup(at.policy, Strategy.STALE_IF_ERROR, at.entry, None, at.now), Serve)
    nexts = [_next(at, outcome) if runs else "not called" for outcome in (SUCCESS, COVERED, REFUSED, FORGETTING)]
    return f"| {' | '.join([at.option, at.state, *asked, told, *nexts])} |"


def _decision(decision: Decision[str, str]) -> str:
    match decision:
        case Serve(answer):
            return f"gives {_answer(answer)}"
        case ServeAndRefresh(answer):
            return f"gives {_answer(answer)}, loads early behind it"
        case Revalidate(cached):
            return f"gives {_answer(Success(cached))}, loads behind it"
        case Load():
            return "loads"
        case Join():
            return "joins"


def _answer(answer: Answer[str, str]) -> str:
    if not is_successful(answer):
        return f"`Failure({answer.failure()})`"
    cached = answer.unwrap()
    return f"`({cached.value}, {cached.stale}, {cached.err})`"


def _next(at: Situation, outcome: Outcome[str, str]) -> str:
    answer, entry = settle_at(at, outcome)
    stands = entry is not None and at.now <= entry.until
    until = f" until {_until(entry.until - at.now)}" if stands and entry is not None else ""
    return f"{_answer(answer)}, {state_of(at.policy, entry, at.now)}{until}"


def settle_at(at: Situation, outcome: Outcome[str, str]) -> tuple[Answer[str, str], Known]:
    """Land ``outcome``."""
    return settle(at.policy, at.entry, outcome, at.now)


def _until(later: int) -> str:
    names = {TTL: "`global_ttl`", EXTENSION: "`extend_ttl`", MEMORY: "`negative_ttl`", EARLY: "`refresh_after`"}
    return names[later]


def state_of(policy: Policy, entry: Known, now: int) -> str:
    """Name the state of ``entry`` at ``now``."""
    if entry is None or dead(policy, entry, now):
        return "missing"
    names = {
        Fresh: "fresh",
        RefreshAhead: "fresh",
        Extended: "extended",
        NegativelyCached: "remembered",
        Refused: "refused",
    }
    if now <= entry.until or isinstance(entry, Refused):
        return names[type(entry)]
    return "due early" if isinstance(entry, RefreshAhead) and now <= entry.fresh_until else "expired"


def edges() -> set[tuple[str, str, str]]:
    """Walk through everything that can become of a key, and note each step from one state to another."""
    policy = Policy(
        TTL,
        EXTENSION,
        stale_if_error=WINDOW,
        stale_while_revalidate=SHORT_WINDOW,
        negative_ttl=MEMORY,
        refresh_after=EARLY,
    )
    found, seen, ahead = set[tuple[str, str, str]](), set[tuple[Known, int]](), list[tuple[Known, int]]([(None, 0)])
    while ahead:
        entry, now = ahead.pop()
        if (entry, now) in seen or now > 4 * TTL:
            continue
        seen.add((entry, now))
        for event, after, then in _steps(policy, entry, now):
            source, target = state_of(policy, entry, now), state_of(policy, after, then)
            if source != target:
                found.add((source, event, target))
            ahead.append((after, then))
    return found


def _steps(policy: Policy, entry: Known, now: int) -> Iterator[tuple[str, Known, int]]:
    if not isinstance(lookup(policy, Strategy.STALE_IF_ERROR, entry, None, now), Serve):
        yield "success", settle(policy, entry, SUCCESS, now)[1], now
        for outcome in (COVERED, REFUSED, FORGETTING):
            yield _failure(policy, entry, now, outcome), settle(policy, entry, outcome, now)[1], now
    if entry is not None:
        yield "expire", expire(entry, now), now
        instants = {entry.until + 1}
        if not isinstance(entry, NegativelyCached):
            instants |= {fresh_until(entry) + 1, fresh_until(entry) + WINDOW + 1}
        ahead = [instant for instant in instants if instant > now]
        if ahead:
            yield "time", entry, min(ahead)


def _failure(policy: Policy, entry: Known, now: int, outcome: Outcome[str, str]) -> str:
    if outcome is FORGETTING:
        return "failure that forgets"
    settled = settle(policy, entry, outcome, now)[1]
    return "covered failure" if isinstance(settled, Extended) else "failure"


def diagram() -> str:
    """Draw the states and what leads from one to another, with all options set."""
    steps: dict[tuple[str, str], list[str]] = {}
    for source, event, target in sorted(edges()):
        steps.setdefault((source, target), []).append(event)
    lines = [f"    {_name(s)} --> {_name(t)}: {', '.join(sorted(set(events)))}" for (s, t), events in steps.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> missing", *lines, "```"])


def _name(state: str) -> str:
    return state.replace(" ", "_")


def generated() -> dict[str, str]:
    """Give each part of the page that is written here."""
    return {"table": table(), "diagram": diagram()}


def written(page: str) -> str:
    """Give ``page`` with its generated parts made new."""
    for name, text in generated().items():
        marked = re.compile(rf"(<!-- generated: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        place = marked.search(page)
        if place is None:
            raise ValueError(f"the page has no place for the {name}")
        page = f"{page[: place.start()]}{place[1]}{text}{place[2]}{page[place.end() :]}"
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
