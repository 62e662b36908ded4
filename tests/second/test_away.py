"""The breaker of a store: walked through every history, up to a length."""

from itertools import product
from typing import Final

import pytest

from lastcache.core.away import (
    CLOSED,
    FIRST_WAIT,
    LONGEST_WAIT,
    Away,
    Breaker,
    Probing,
    begin_probe,
    failed,
    is_due,
    may_ask,
    probed,
)

EVENTS: Final = ("failed", "waited", "waited long", "begin", "answered", "silent")


def step(breaker: Breaker, event: str, now: int) -> tuple[Breaker, int]:
    """Let one thing happen; ``now`` moves where time passes."""
    match event:
        case "failed":
            return failed(breaker, now), now
        case "waited":
            return breaker, now + FIRST_WAIT
        case "waited long":
            return breaker, now + LONGEST_WAIT
        case "begin":
            return begin_probe(breaker, now), now
        case "answered":
            return probed(breaker, now, answered=True), now
        case _:
            return probed(breaker, now, answered=False), now


@pytest.mark.parametrize("first", EVENTS)
def test_every_history_of_a_store(first: str) -> None:
    """Nobody asks while it is away; one probe at a time; only a probe that is answered closes it; waits have bounds."""
    for history in product(EVENTS, repeat=5):
        breaker: Breaker = CLOSED
        now, probes, outages, back = 0, 0, 0, 0
        for event in (first, *history):
            before = breaker
            breaker, now = step(before, event, now)
            probes += isinstance(breaker, Probing) - isinstance(before, Probing)
            outages += may_ask(before) and not may_ask(breaker)
            back += may_ask(breaker) and not may_ask(before)
            assert probes in {0, 1}
            assert outages - back == (not may_ask(breaker))
            if may_ask(breaker) and not may_ask(before):
                assert isinstance(before, Probing)
                assert event == "answered"
            if isinstance(breaker, Away):
                assert FIRST_WAIT <= breaker.wait <= LONGEST_WAIT
                assert breaker.since <= now
            if isinstance(before, Probing) and isinstance(breaker, Away):
                assert (breaker.wait, breaker.probe_at) == (min(2 * before.wait, LONGEST_WAIT), now + breaker.wait)


def test_a_probe_is_due_when_its_time_has_come() -> None:
    """Just before, at, and after the instant; while one is under way none is due."""
    away = failed(CLOSED, 1000)
    due_at = 1000 + FIRST_WAIT
    assert [is_due(away, now) for now in (due_at - 1, due_at, due_at + 1)] == [False, True, True]
    assert begin_probe(away, due_at - 1) is away
    probing = begin_probe(away, due_at)
    assert probing == Probing(1000, FIRST_WAIT)
    assert (is_due(probing, due_at), begin_probe(probing, due_at)) == (False, probing)


def test_waits_double_up_to_a_bound() -> None:
    """100 ms, 200, 400 ..., 2 s, and so on at 2 s."""
    breaker, now, waits = failed(CLOSED, 0), 0, list[int]()
    for _ in range(7):
        assert isinstance(breaker, Away)
        waits.append(breaker.wait // 1_000_000)
        now = breaker.probe_at
        breaker = probed(begin_probe(breaker, now), now, answered=False)
    assert waits == [100, 200, 400, 800, 1600, 2000, 2000]


def test_an_outage_that_was_over_changes_nothing() -> None:
    """The next outage waits as the first did."""
    away = failed(CLOSED, 0)
    assert isinstance(away, Away)
    long = probed(begin_probe(away, away.probe_at), away.probe_at, answered=False)
    assert isinstance(long, Away)
    closed = probed(begin_probe(long, long.probe_at), long.probe_at, answered=True)
    assert (closed, failed(closed, 10**10)) == (CLOSED, Away(10**10, 10**10 + FIRST_WAIT, FIRST_WAIT))
