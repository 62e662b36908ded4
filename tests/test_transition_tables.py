"""The rules of freshness, as tables: each state, just before, at and after each instant."""

import pytest
from returns.result import Failure, Success

from lastcache import CachedValue, failed
from lastcache.core.policy import Policy
from lastcache.core.states import (
    JOIN,
    LOAD,
    NEVER,
    Entry,
    Extended,
    Fresh,
    NegativelyCached,
    Outcome,
    RefreshAhead,
    Refused,
    Revalidate,
    Serve,
    ServeAndRefresh,
    Strategy,
    Transition,
)
from lastcache.core.traffic import Queued, Running, Traffic
from lastcache.core.transitions import (
    dead,
    expire,
    fresh,
    kept_error,
    lookup,
    settle,
    view,
)

UnderWay = Traffic[str, str] | None
QUEUED: Queued[str] = Queued("job")
RUNNING: Running[str, str] = Running("flight")
REFRESHING: Running[str, str] = Running("flight", "job")
POLICY = Policy(global_ttl=100, extend_ttl=50)
STALE = CachedValue("old", stale=True, err="e")
FRESH: Fresh[str, str] = Fresh(Success(CachedValue("old")), 1000)
EARLY: RefreshAhead[str, str] = RefreshAhead(Success(CachedValue("old")), 700, 1000)
EXTENDED: Extended[str, str] = Extended(Success(STALE), 1000, 700, 50)
REFUSED: Refused[str, str] = Refused(Failure("e"), NEVER, STALE, 1000, 700)
TOLD: Refused[str, str] = Refused(Failure("e"), 1000, STALE, 1000, 700)
REMEMBERED: NegativelyCached[str, str] = NegativelyCached(Failure("e"), 1000)
SIE, SWR = Strategy.STALE_IF_ERROR, Strategy.STALE_WHILE_REVALIDATE


@pytest.mark.parametrize(
    ("strategy", "entry", "traffic", "now", "expected"),
    [
        (SIE, None, None, 0, LOAD),
        (SIE, None, QUEUED, 0, LOAD),
        (SIE, None, RUNNING, 0, JOIN),
        (SIE, None, REFRESHING, 0, JOIN),
        (SIE, FRESH, None, 999, Serve(FRESH.answer)),
        (SIE, FRESH, RUNNING, 1000, Serve(FRESH.answer)),
        (SIE, FRESH, None, 1001, LOAD),
        (SIE, FRESH, RUNNING, 1001, JOIN),
        (SIE, EXTENDED, None, 1000, Serve(EXTENDED.answer)),
        (SIE, EXTENDED, QUEUED, 1001, LOAD),
        (SIE, REFUSED, None, 0, LOAD),
        (SWR, None, None, 0, LOAD),
        (SWR, None, RUNNING, 0, JOIN),
        (SWR, FRESH, None, 1000, Serve(FRESH.answer)),
        (SWR, FRESH, None, 1001, Revalidate(CachedValue("old", stale=True))),
        (SWR, FRESH, QUEUED, 1001, Revalidate(CachedValue("old", stale=True))),
        (SWR, FRESH, RUNNING, 1001, Revalidate(CachedValue("old", stale=True))),
        (SWR, FRESH, REFRESHING, 1001, Revalidate(CachedValue("old", stale=True))),
        (SWR, EXTENDED, None, 1001, Revalidate(CachedValue("old", stale=True, err="e"))),
        (SIE, EARLY, None, 700, Serve(EARLY.answer)),
        (SIE, EARLY, None, 701, ServeAndRefresh(EARLY.answer)),
        (SIE, EARLY, RUNNING, 1000, ServeAndRefresh(EARLY.answer)),
        (SIE, EARLY, QUEUED, 1001, LOAD),
        (SIE, REMEMBERED, RUNNING, 1000, Serve(REMEMBERED.answer)),
        (SIE, REMEMBERED, None, 1001, LOAD),
        (SIE, TOLD, None, 1000, Serve(TOLD.answer)),
        (SIE, TOLD, None, 1001, LOAD),
        (SWR, EARLY, None, 701, ServeAndRefresh(EARLY.answer)),
        (SWR, EARLY, None, 1001, Revalidate(CachedValue("old", stale=True))),
        (SWR, REMEMBERED, None, 1001, LOAD),
        (SWR, REFUSED, None, 0, LOAD),
        (SWR, REFUSED, QUEUED, 0, LOAD),
        (SWR, REFUSED, RUNNING, 0, JOIN),
    ],
)
def test_the_table_of_lookup(
    strategy: Strategy, entry: Entry[str, str] | None, traffic: UnderWay, now: int, expected: object
) -> None:
    """Each state, just before, at and after its instant, asks for what the table says."""
    assert expected == lookup(POLICY, strategy, entry, traffic, now)


@pytest.mark.parametrize(
    ("entry", "outcome", "expected"),
    [
        (None, failed("f", use_stale=True), (Failure("f"), None)),
        (None, failed("f", use_stale=False), (Failure("f"), None)),
        (
            FRESH,
            failed("f", use_stale=True),
            (
                Success(CachedValue("old", stale=True, err="f")),
                Extended(Success(CachedValue("old", stale=True, err="f")), 2050, 1000, 50),
            ),
        ),
        (
            FRESH,
            failed("f", use_stale=False),
            (Failure("f"), Refused(Failure("f"), NEVER, CachedValue("old", stale=True, err="f"), 1000, 1000)),
        ),
        (
            EXTENDED,
            failed("f", use_stale=True),
            (
                Success(CachedValue("old", stale=True, err="f")),
                Extended(Success(CachedValue("old", stale=True, err="f")), 2050, 700, 50),
            ),
        ),
        (
            EXTENDED,
            failed("f", use_stale=False),
            (Failure("f"), Refused(Failure("f"), NEVER, CachedValue("old", stale=True, err="f"), 1000, 700)),
        ),
        (
            REFUSED,
            failed("f", use_stale=True),
            (
                Success(CachedValue("old", stale=True, err="f")),
                Extended(Success(CachedValue("old", stale=True, err="f")), 2050, 700, 50),
            ),
        ),
        (
            REFUSED,
            failed("f", use_stale=False),
            (Failure("f"), Refused(Failure("f"), NEVER, CachedValue("old", stale=True, err="f"), 1000, 700)),
        ),
    ],
)
def test_the_table_of_settle(
    entry: Entry[str, str] | None, outcome: Outcome[str, str], expected: Transition[str, str]
) -> None:
    """Each failure on each expired state leads to the answer and the entry that the table says."""
    assert expected == settle(POLICY, entry, outcome, 2000)


@pytest.mark.parametrize(
    ("entry", "now", "expected"),
    [
        (FRESH, 999, Fresh(FRESH.answer, 998)),
        (FRESH, 1000, Fresh(FRESH.answer, 999)),
        (FRESH, 1001, FRESH),
        (EXTENDED, 999, Extended(EXTENDED.answer, 998, 700, 50)),
        (EXTENDED, 1000, Extended(EXTENDED.answer, 999, 700, 50)),
        (EXTENDED, 1001, EXTENDED),
        (EARLY, 699, Fresh(EARLY.answer, 698)),
        (EARLY, 1000, Fresh(EARLY.answer, 999)),
        (EARLY, 1001, EARLY),
        (REFUSED, 0, REFUSED),
        (TOLD, 1000, REFUSED),
        (TOLD, 1001, TOLD),
        (REMEMBERED, 1000, None),
        (REMEMBERED, 1001, None),
    ],
)
def test_the_table_of_expire(entry: Entry[str, str], now: int, expected: Entry[str, str] | None) -> None:
    """``expire`` ends what stands just before now, at every boundary, and leaves all else."""
    assert expected == expire(entry, now)


def test_no_extension_leaves_the_deadline() -> None:
    """With ``extend_ttl`` zero a covered failure is marked, and the deadline stays where it was."""
    stale = Success(CachedValue("old", stale=True, err="f"))
    settled = settle(Policy(100, 0), FRESH, failed("f", use_stale=True), 2000)
    assert (stale, Extended(stale, 1000, 1000, 0)) == settled


@pytest.mark.parametrize(
    ("policy", "ttl", "draw", "expected"),
    [
        (Policy(100), None, 0.0, Fresh(EARLY.answer, 100)),
        (Policy(100), 0, 0.0, Fresh(EARLY.answer, -1)),
        (Policy(100, jitter=0.5), 0, 1.0, Fresh(EARLY.answer, -1)),
        (Policy(100, jitter=0.5), None, 1.0, Fresh(EARLY.answer, 50)),
        (Policy(100, jitter=0.9), 1, 1.0, Fresh(EARLY.answer, 1)),
        (Policy(100, refresh_after=99), None, 0.0, RefreshAhead(EARLY.answer, 99, 100)),
        (Policy(100, refresh_after=100), None, 0.0, Fresh(EARLY.answer, 100)),
    ],
)
def test_the_table_of_fresh(policy: Policy, ttl: int | None, draw: float, expected: Entry[str, str]) -> None:
    """A value that comes in at 0 is stored as the table says, whether it was loaded or set."""
    assert expected == fresh(policy, "old", 0, ttl=ttl, draw=draw)
    assert expected == settle(policy, None, Success("old"), 0, ttl=ttl, draw=draw)[1]


def test_without_a_draw_nothing_is_shortened() -> None:
    """Who draws nothing gets the whole TTL."""
    policy = Policy(100, jitter=0.5)
    assert fresh(policy, "old", 0) == settle(policy, None, Success("old"), 0)[1] == Fresh(EARLY.answer, 100)


@pytest.mark.parametrize(
    ("extension", "now", "expected"),
    [
        (50, 701, RefreshAhead(EARLY.answer, 751, 1000)),
        (50, 949, RefreshAhead(EARLY.answer, 999, 1000)),
        (50, 950, Fresh(EARLY.answer, 1000)),
        (50, 1000, Fresh(EARLY.answer, 1000)),
        (0, 701, Fresh(EARLY.answer, 1000)),
        (50, 1001, Extended(Success(CachedValue("old", stale=True, err="f")), 1051, 1000, 50)),
    ],
)
def test_the_table_of_early_failures(extension: int, now: int, expected: Entry[str, str]) -> None:
    """A failed early load puts the next one off; one that comes past the freshness is settled as ever."""
    assert expected == settle(Policy(100, extension), EARLY, failed("f", use_stale=True), now)[1]


@pytest.mark.parametrize(
    ("entry", "now", "expected"),
    [
        (REMEMBERED, 1000, False),
        (REMEMBERED, 1001, True),
        (FRESH, 1020, False),
        (FRESH, 1021, True),
        (EARLY, 1020, False),
        (EARLY, 1021, True),
        (EXTENDED, 1000, False),
        (EXTENDED, 1001, True),
        (REFUSED, 720, False),
        (REFUSED, 721, True),
        (TOLD, 1000, False),
        (TOLD, 1001, True),
    ],
)
def test_the_table_of_the_dead(entry: Entry[str, str], now: int, *, expected: bool) -> None:
    """An entry dies past the longer window, or with what it remembered or extended, at the instant after."""
    for windows in ((10, 20), (20, 10)):
        policy = Policy(100, 50, stale_if_error=windows[0], stale_while_revalidate=windows[1])
        assert dead(policy, entry, now) == expected


def test_a_failure_finds_the_dead_gone() -> None:
    """A failure of a key whose value is past both windows is a first failure: the value is kept no longer."""
    policy = Policy(100, 50, stale_if_error=10, stale_while_revalidate=20)
    assert settle(policy, FRESH, failed("f", use_stale=True), 1020)[1] == Refused(
        Failure("f"), NEVER, CachedValue("old", stale=True, err="f"), 1000, 1000
    )
    assert settle(policy, FRESH, failed("f", use_stale=True), 1021) == (Failure("f"), None)


def test_an_extension_longer_than_the_ttl_does_not_shrink() -> None:
    """Extensions grow up to the longer of ``extend_ttl`` and ``global_ttl``."""
    for policy, expected in ((Policy(10, 50, backoff=2.0), 50), (Policy(80, 50, backoff=2.0), 80)):
        entry: Entry[str, str] = Extended(Success(STALE), 1000, 700, 50)
        assert settle(policy, entry, failed("f", use_stale=True), 2000)[1] == Extended(
            Success(CachedValue("old", stale=True, err="f")), 2000 + expected, 700, expected
        )


def test_the_error_that_is_kept() -> None:
    """The error that an entry keeps alive is the one of its last failed load."""
    entries = (None, FRESH, EARLY, EXTENDED, REFUSED, REMEMBERED)
    assert [None, None, None, "e", "e", "e"] == [kept_error(entry) for entry in entries]


def test_fresh_is_inclusive() -> None:
    """A value stands at the very instant of its deadline."""
    entry = fresh(POLICY, "v", 0)
    assert [(CachedValue("v"), CachedValue("v"), CachedValue("v", stale=True))] == [
        tuple(view(entry, now) for now in (99, 100, 101))
    ]
