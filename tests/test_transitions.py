"""The laws of the pure core, and its table, row by row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import CachedValue, failed
from lastcache.config import Policy
from lastcache.transitions import (
    JOIN,
    LOAD,
    NEVER,
    Answer,
    Entry,
    Extended,
    Fresh,
    Outcome,
    Refused,
    Revalidate,
    Serve,
    Strategy,
    Traffic,
    Transition,
    deadline,
    expire,
    fresh,
    fresh_until,
    kept_error,
    lookup,
    outrun,
    settle,
    view,
)
from tests.strategies import failures, outcomes, policies, situations, values

Situation = tuple[Policy, Entry[int, str], int]
strategies = st.sampled_from(Strategy)
traffics = st.sampled_from(Traffic)

POLICY = Policy(global_ttl=100, extend_ttl=50)
FRESH: Fresh[str, str] = Fresh(Success(CachedValue("old")), 1000)
EXTENDED: Extended[str, str] = Extended(Success(CachedValue("old", stale=True, err="e")), 1000, 700)
REFUSED: Refused[str, str] = Refused(Failure("e"), NEVER, CachedValue("old", stale=True, err="e"), 1000, 700)
SIE, SWR = Strategy.STALE_IF_ERROR, Strategy.STALE_WHILE_REVALIDATE


@given(situations(), strategies, traffics)
def test_what_stands_is_served(situation: Situation, strategy: Strategy, traffic: Traffic) -> None:
    """While an entry stands its answer is served, whoever asks and whatever is under way."""
    _, entry, now = situation
    if now <= entry.until:
        assert Serve(entry.answer) == lookup(strategy, entry, traffic, now)


@given(situations(), strategies, traffics)
def test_what_does_not_stand_is_loaded(situation: Situation, strategy: Strategy, traffic: Traffic) -> None:
    """Past its instant no entry is served, and nobody begins a load where one runs."""
    _, entry, now = situation
    if now > entry.until:
        decision = lookup(strategy, entry, traffic, now)
        assert decision in ([JOIN] if traffic is Traffic.RUNNING else [LOAD]) or (
            strategy is SWR and decision == Revalidate(view(entry, now)) and not isinstance(entry, Refused)
        )


@given(policies, st.none() | situations().map(lambda situation: situation[1]), values, st.integers(-50, 400))
def test_a_success_is_fresh_for_the_global_ttl(
    policy: Policy, entry: Entry[int, str] | None, value: int, now: int
) -> None:
    """After a success the answer is the bare value, and it stands until a load is due: global_ttl later."""
    bare: Answer[int, str] = Success(CachedValue(value))
    assert Transition(bare, Fresh(bare, now + policy.global_ttl)) == settle(policy, entry, Success(value), now)


@given(situations(), failures)
def test_a_failure_keeps_value_and_freshness(situation: Situation, failure: Outcome[int, str]) -> None:
    """A failure changes neither the stored value nor the instant at which it stopped being fresh."""
    policy, entry, now = situation
    settled = settle(policy, entry, failure, now).entry
    assert settled is not None
    assert (view(entry, now).value, fresh_until(entry)) == (view(settled, now).value, fresh_until(settled))


@given(situations(), failures)
def test_a_failure_changes_nothing_that_stands(situation: Situation, failure: Outcome[int, str]) -> None:
    """A failure that comes in while the stored answer stands changes nothing."""
    policy, entry, now = situation
    if now <= entry.until:
        assert Transition(entry.answer, entry) == settle(policy, entry, failure, now)


@given(situations(), outcomes, st.integers(0, 200))
def test_staleness_is_told(situation: Situation, outcome: Outcome[int, str], later: int) -> None:
    """``stale=False`` implies that there is no error, and that the value is within its freshness."""
    policy, entry, now = situation
    settled = settle(policy, entry, outcome, now).entry
    assert settled is not None
    shown = view(settled, now + later)
    assert shown.stale or (shown.err is None and now + later <= fresh_until(settled))
    assert shown.stale == (now + later > fresh_until(settled))


@given(situations())
def test_the_deadline_says_whether_it_is_expired(situation: Situation) -> None:
    """An entry whose answer stands has its deadline ahead; one whose answer does not stand has it behind."""
    _, entry, now = situation
    assert (now <= deadline(entry)) == (now <= entry.until)


@given(situations(), outcomes)
def test_the_waiting_get_what_is_stored(situation: Situation, outcome: Outcome[int, str]) -> None:
    """Who waited for a load gets the very answer that is stored from then on."""
    policy, entry, now = situation
    transition = settle(policy, entry, outcome, now)
    assert transition.entry is not None
    assert transition.answer is transition.entry.answer


@given(situations(), outcomes)
def test_an_outrun_load_never_gives_what_is_expired(situation: Situation, outcome: Outcome[int, str]) -> None:
    """An outrun load gives its own value; if it failed, the newer answer where that stands, else its own error."""
    _, entry, now = situation
    expected = (
        Success(CachedValue(outcome.unwrap()))
        if is_successful(outcome)
        else entry.answer
        if now <= entry.until
        else Failure(outcome.failure().err)
    )
    assert expected == outrun(entry, outcome, now)


@given(situations())
def test_expire_ends_what_stands_and_nothing_else(situation: Situation) -> None:
    """``expire`` moves a standing deadline to just before now, keeps the value, and leaves an expired entry alone."""
    _, entry, now = situation
    expired = expire(entry, now)
    assert view(expired, now).value == view(entry, now).value
    if now <= entry.until:
        assert (now - 1, min(fresh_until(entry), now - 1)) == (expired.until, fresh_until(expired))
    else:
        assert expired is entry
    assert expire(expired, now) is expired


@given(situations(), outcomes)
def test_caching_commutes_with_map(situation: Situation, outcome: Outcome[int, str]) -> None:
    """Settling a mapped outcome on a mapped entry is the mapped settling: no rule looks into a value."""
    policy, entry, now = situation

    def double(cached: CachedValue[int, str]) -> CachedValue[int, str]:
        return CachedValue(cached.value * 2, cached.stale, cached.err)

    doubled: Entry[int, str]
    match entry:
        case Fresh(answer, until):
            doubled = Fresh(answer.map(double), until)
        case Extended(answer, until, since):
            doubled = Extended(answer.map(double), until, since)
        case Refused(answer, until, cached, expired_at, since):
            doubled = Refused(answer, until, double(cached), expired_at, since)
    mapped = settle(policy, doubled, outcome.map(lambda value: value * 2), now)
    assert settle(policy, entry, outcome, now).answer.map(double) == mapped.answer


@pytest.mark.parametrize(
    ("strategy", "entry", "traffic", "now", "expected"),
    [
        (SIE, None, Traffic.NONE, 0, LOAD),
        (SIE, None, Traffic.QUEUED, 0, LOAD),
        (SIE, None, Traffic.RUNNING, 0, JOIN),
        (SIE, FRESH, Traffic.NONE, 999, Serve(FRESH.answer)),
        (SIE, FRESH, Traffic.RUNNING, 1000, Serve(FRESH.answer)),
        (SIE, FRESH, Traffic.NONE, 1001, LOAD),
        (SIE, FRESH, Traffic.RUNNING, 1001, JOIN),
        (SIE, EXTENDED, Traffic.NONE, 1000, Serve(EXTENDED.answer)),
        (SIE, EXTENDED, Traffic.QUEUED, 1001, LOAD),
        (SIE, REFUSED, Traffic.NONE, 0, LOAD),
        (SWR, None, Traffic.NONE, 0, LOAD),
        (SWR, None, Traffic.RUNNING, 0, JOIN),
        (SWR, FRESH, Traffic.NONE, 1000, Serve(FRESH.answer)),
        (SWR, FRESH, Traffic.NONE, 1001, Revalidate(CachedValue("old", stale=True))),
        (SWR, FRESH, Traffic.QUEUED, 1001, Revalidate(CachedValue("old", stale=True))),
        (SWR, FRESH, Traffic.RUNNING, 1001, Revalidate(CachedValue("old", stale=True))),
        (SWR, EXTENDED, Traffic.NONE, 1001, Revalidate(CachedValue("old", stale=True, err="e"))),
        (SWR, REFUSED, Traffic.NONE, 0, LOAD),
        (SWR, REFUSED, Traffic.QUEUED, 0, LOAD),
        (SWR, REFUSED, Traffic.RUNNING, 0, JOIN),
    ],
)
def test_the_table_of_lookup(
    strategy: Strategy, entry: Entry[str, str] | None, traffic: Traffic, now: int, expected: object
) -> None:
    """Each state, just before, at and after its instant, asks for what the table says."""
    assert expected == lookup(strategy, entry, traffic, now)


@pytest.mark.parametrize(
    ("entry", "outcome", "expected"),
    [
        (None, failed("f"), Transition(Failure("f"), None)),
        (None, failed("f", use_stale=False), Transition(Failure("f"), None)),
        (
            FRESH,
            failed("f"),
            Transition(
                Success(CachedValue("old", stale=True, err="f")),
                Extended(Success(CachedValue("old", stale=True, err="f")), 2050, 1000),
            ),
        ),
        (
            FRESH,
            failed("f", use_stale=False),
            Transition(Failure("f"), Refused(Failure("f"), NEVER, CachedValue("old", stale=True, err="f"), 1000, 1000)),
        ),
        (
            EXTENDED,
            failed("f"),
            Transition(
                Success(CachedValue("old", stale=True, err="f")),
                Extended(Success(CachedValue("old", stale=True, err="f")), 2050, 700),
            ),
        ),
        (
            EXTENDED,
            failed("f", use_stale=False),
            Transition(Failure("f"), Refused(Failure("f"), NEVER, CachedValue("old", stale=True, err="f"), 1000, 700)),
        ),
        (
            REFUSED,
            failed("f"),
            Transition(
                Success(CachedValue("old", stale=True, err="f")),
                Extended(Success(CachedValue("old", stale=True, err="f")), 2050, 700),
            ),
        ),
        (
            REFUSED,
            failed("f", use_stale=False),
            Transition(Failure("f"), Refused(Failure("f"), NEVER, CachedValue("old", stale=True, err="f"), 1000, 700)),
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
        (EXTENDED, 999, Extended(EXTENDED.answer, 998, 700)),
        (EXTENDED, 1000, Extended(EXTENDED.answer, 999, 700)),
        (EXTENDED, 1001, EXTENDED),
        (REFUSED, 0, REFUSED),
    ],
)
def test_the_table_of_expire(entry: Entry[str, str], now: int, expected: Entry[str, str]) -> None:
    """``expire`` ends what stands just before now, at every boundary, and leaves all else."""
    assert expected == expire(entry, now)


def test_no_extension_leaves_the_deadline() -> None:
    """With ``extend_ttl`` zero a covered failure is marked, and the deadline stays where it was."""
    stale = Success(CachedValue("old", stale=True, err="f"))
    settled = settle(Policy(100, 0), FRESH, failed("f"), 2000)
    assert Transition(stale, Extended(stale, 1000, 1000)) == settled


def test_the_error_that_is_kept() -> None:
    """The error that an entry keeps alive is the one of its last failed load."""
    assert [None, None, "e", "e"] == [kept_error(entry) for entry in (None, FRESH, EXTENDED, REFUSED)]


def test_fresh_is_inclusive() -> None:
    """A value stands at the very instant of its deadline."""
    entry = fresh(POLICY, "v", 0)
    assert [(CachedValue("v"), CachedValue("v"), CachedValue("v", stale=True))] == [
        tuple(view(entry, now) for now in (99, 100, 101))
    ]
