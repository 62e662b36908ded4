"""The laws of the pure core, and its table, row by row."""

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import CachedValue, failed
from lastcache.core.policy import FOREVER, Policy
from lastcache.core.states import (
    JOIN,
    LOAD,
    NEVER,
    Answer,
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
    Stored,
    Strategy,
    Traffic,
    Transition,
)
from lastcache.core.transitions import (
    dead,
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
from tests.strategies import (
    draws,
    failures,
    instants,
    outcomes,
    plain_policies,
    policies,
    situations,
    stored_situations,
    values,
)

Situation = tuple[Policy, Entry[int, str], int]
StoredSituation = tuple[Policy, Stored[int, str], int]
strategies = st.sampled_from(Strategy)
traffics = st.sampled_from(Traffic)

POLICY = Policy(global_ttl=100, extend_ttl=50)
STALE = CachedValue("old", stale=True, err="e")
FRESH: Fresh[str, str] = Fresh(Success(CachedValue("old")), 1000)
EARLY: RefreshAhead[str, str] = RefreshAhead(Success(CachedValue("old")), 700, 1000)
EXTENDED: Extended[str, str] = Extended(Success(STALE), 1000, 700, 50)
REFUSED: Refused[str, str] = Refused(Failure("e"), NEVER, STALE, 1000, 700)
TOLD: Refused[str, str] = Refused(Failure("e"), 1000, STALE, 1000, 700)
REMEMBERED: NegativelyCached[str, str] = NegativelyCached(Failure("e"), 1000)
SIE, SWR = Strategy.STALE_IF_ERROR, Strategy.STALE_WHILE_REVALIDATE


@given(situations(), strategies, traffics)
def test_what_stands_is_served(situation: Situation, strategy: Strategy, traffic: Traffic) -> None:
    """While an entry stands its answer is served, whoever asks and whatever is under way."""
    policy, entry, now = situation
    if now <= entry.until:
        assert Serve(entry.answer) == lookup(policy, strategy, entry, traffic, now)


@given(situations(), strategies, traffics)
def test_what_does_not_stand_is_loaded(situation: Situation, strategy: Strategy, traffic: Traffic) -> None:
    """Past its instant no entry is served without a load, and nobody begins one where one runs."""
    policy, entry, now = situation
    assume(now > entry.until)
    decision = lookup(policy, strategy, entry, traffic, now)
    match decision:
        case Serve():
            raise AssertionError
        case ServeAndRefresh(answer):
            assert isinstance(entry, RefreshAhead)
            assert (answer, now <= entry.fresh_until) == (entry.answer, True)
        case Revalidate(cached):
            assert strategy is not SIE
            assert isinstance(entry, Fresh | RefreshAhead | Extended)
            assert cached == view(entry, now)
        case _:
            assert decision == (JOIN if traffic is Traffic.RUNNING else LOAD)


@given(situations(), traffics)
def test_a_soft_timeout_gives_what_stale_while_revalidate_gives(situation: Situation, traffic: Traffic) -> None:
    """Whoever waits with a soft timeout is given, once it is over, what stale-while-revalidate gives at once."""
    policy, entry, now = situation
    softly = lookup(policy, Strategy.STALE_IF_SLOW, entry, traffic, now)
    assert softly == lookup(policy, SWR, entry, traffic, now)


@given(stored_situations(), strategies, traffics, outcomes, draws)
def test_staleness_is_bounded(
    situation: StoredSituation, strategy: Strategy, traffic: Traffic, outcome: Outcome[int, str], draw: float
) -> None:
    """No stale value is given after a failure later than ``stale_if_error`` past the end of its freshness.

    Nor is one given ahead of a load later than ``stale_while_revalidate`` past it.
    """
    policy, entry, now = situation
    fresh_end = fresh_until(entry)
    decision = lookup(policy, strategy, entry, traffic, now)
    if isinstance(decision, Revalidate):
        assert now <= fresh_end + policy.stale_while_revalidate
    if isinstance(decision, Serve) and is_successful(decision.answer) and decision.answer.unwrap().stale:
        assert now <= fresh_end + policy.stale_if_error
    answer = settle(policy, entry, outcome, now, draw=draw).answer
    if is_successful(answer) and answer.unwrap().stale:
        assert now <= fresh_end + policy.stale_if_error


@given(plain_policies, st.none() | situations().map(lambda situation: situation[1]), values, instants)
def test_a_success_is_fresh_for_the_global_ttl(
    policy: Policy, entry: Entry[int, str] | None, value: int, now: int
) -> None:
    """After a success the answer is the bare value, and it stands until a load is due: global_ttl later."""
    bare: Answer[int, str] = Success(CachedValue(value))
    assert Transition(bare, Fresh(bare, now + policy.global_ttl)) == settle(policy, entry, Success(value), now)


@given(policies, values, instants, st.none() | st.integers(0, 60), draws)
def test_a_success_is_fresh_for_its_ttl(policy: Policy, value: int, now: int, ttl: int | None, draw: float) -> None:
    """A value is fresh for its own TTL or the cache's, shortened by at most the jitter; 0 makes it expired.

    Its answer stands as long, or until the early load is due.
    """
    entry = fresh(policy, value, now, ttl=ttl, draw=draw)
    longest = policy.global_ttl if ttl is None else ttl
    lasts_for = fresh_until(entry) - now
    assert entry.answer == Success(CachedValue(value))
    if longest == 0:
        assert (entry.until, lasts_for) == (now - 1, -1)
    else:
        assert max(1, longest * (1 - policy.jitter * draw)) <= lasts_for + 1e-6
        assert lasts_for <= longest
        assert entry.until == now + min(lasts_for, policy.refresh_after)


@given(situations(), failures, draws)
def test_a_failure_keeps_value_and_freshness(situation: Situation, failure: Outcome[int, str], draw: float) -> None:
    """A failure changes neither the stored value nor the instant at which it stopped being fresh, unless it is dead."""
    policy, entry, now = situation
    settled = settle(policy, entry, failure, now, draw=draw).entry
    if isinstance(entry, NegativelyCached) or dead(policy, entry, now):
        assert settled is None or isinstance(settled, NegativelyCached)
        return
    assert settled is not None
    assert not isinstance(settled, NegativelyCached)
    assert (view(entry, now).value, fresh_until(entry)) == (view(settled, now).value, fresh_until(settled))


@given(situations(), failures, draws)
def test_a_failure_changes_no_answer_that_stands(situation: Situation, failure: Outcome[int, str], draw: float) -> None:
    """A failure that comes in while an answer stands, or of an early load, changes nothing that is answered."""
    policy, entry, now = situation
    settled = settle(policy, entry, failure, now, draw=draw)
    if now <= entry.until:
        assert Transition(entry.answer, entry) == settled
    elif isinstance(entry, RefreshAhead) and now <= entry.fresh_until:
        assert isinstance(settled.entry, Fresh | RefreshAhead)
        again_at = now + policy.extend_ttl if policy.extend_ttl else FOREVER
        expected = min(again_at, entry.fresh_until), entry.fresh_until
        assert (settled.entry.until, fresh_until(settled.entry)) == expected
        assert settled.answer == entry.answer == settled.entry.answer


@given(situations(), failures, draws)
def test_a_failure_is_remembered(situation: Situation, failure: Outcome[int, str], draw: float) -> None:
    """An answer that is a failure stands for ``negative_ttl``, and not at all without it."""
    policy, entry, now = situation
    assume(now > entry.until)
    settled = settle(policy, entry, failure, now, draw=draw)
    if is_successful(settled.answer):
        return
    if policy.negative_ttl:
        assert settled.entry is not None
        assert (settled.entry.answer, settled.entry.until) == (settled.answer, now + policy.negative_ttl)
    else:
        assert settled.entry is None or settled.entry.until == NEVER


@given(stored_situations(), failures, draws)
def test_extensions_grow_up_to_a_bound(situation: StoredSituation, failure: Outcome[int, str], draw: float) -> None:
    """An extension ends with its length or the window, whichever is first; it grows with each covered failure."""
    policy, entry, now = situation
    settled = settle(policy, entry, failure, now, draw=draw).entry
    if not isinstance(settled, Extended) or settled is entry or not policy.extend_ttl:
        return
    before = entry.extension if isinstance(entry, Extended) else None
    longest = max(policy.extend_ttl, policy.global_ttl)
    expected = policy.extend_ttl if before is None else int(min(before * policy.backoff, longest))
    assert settled.extension == expected
    shortest = max(1, int(expected * (1 - policy.jitter * draw)))
    window = fresh_until(entry) + policy.stale_if_error
    assert min(now + shortest, window) <= settled.until <= min(now + expected, window)


@given(stored_situations(), outcomes, st.integers(0, 200))
def test_staleness_is_told(situation: StoredSituation, outcome: Outcome[int, str], later: int) -> None:
    """``stale=False`` implies that there is no error, and that the value is within its freshness."""
    policy, entry, now = situation
    settled = settle(policy, entry, outcome, now).entry
    if settled is None or isinstance(settled, NegativelyCached):
        return
    shown = view(settled, now + later)
    assert shown.stale or (shown.err is None and now + later <= fresh_until(settled))
    assert shown.stale == (now + later > fresh_until(settled))


@given(stored_situations())
def test_the_deadline_says_whether_it_is_expired(situation: StoredSituation) -> None:
    """An entry whose value is given without a load of its own has its deadline ahead; any other has it behind."""
    policy, entry, now = situation
    decision = lookup(policy, SIE, entry, Traffic.NONE, now)
    given_now = isinstance(decision, Serve | ServeAndRefresh) and is_successful(decision.answer)
    assert (now <= deadline(entry)) == given_now


@given(situations(), outcomes, draws)
def test_the_waiting_get_what_is_stored(situation: Situation, outcome: Outcome[int, str], draw: float) -> None:
    """Who waited for a load gets the very answer that is stored from then on, if any is."""
    policy, entry, now = situation
    transition = settle(policy, entry, outcome, now, draw=draw)
    assert transition.entry is None or transition.answer is transition.entry.answer


@given(situations(), outcomes)
def test_an_outrun_load_never_gives_what_is_expired(situation: Situation, outcome: Outcome[int, str]) -> None:
    """An outrun load gives its own value; if it failed, the newer value where that stands, else its own error."""
    _, entry, now = situation
    if is_successful(outcome):
        expected: Answer[int, str] = Success(CachedValue(outcome.unwrap()))
    elif is_successful(entry.answer) and not isinstance(entry, NegativelyCached) and now <= deadline(entry):
        expected = entry.answer
    else:
        expected = Failure(outcome.failure().err)
    assert expected == outrun(entry, outcome, now)


@given(situations())
def test_expire_ends_what_stands_and_nothing_else(situation: Situation) -> None:
    """``expire`` moves a standing deadline to just before now, keeps the value, and leaves an expired entry alone."""
    policy, entry, now = situation
    expired = expire(entry, now)
    if isinstance(entry, NegativelyCached) or expired is None:
        assert expired is None
        assert isinstance(entry, NegativelyCached)
        return
    assert not isinstance(expired, NegativelyCached)
    assert view(expired, now).value == view(entry, now).value
    if now <= deadline(entry) and not isinstance(entry, Refused):
        assert (now - 1, min(fresh_until(entry), now - 1)) == (expired.until, fresh_until(expired))
    elif not isinstance(entry, Refused):
        assert expired is entry
    assert isinstance(lookup(policy, SIE, expired, Traffic.NONE, now), type(LOAD))
    assert expire(expired, now) is expired


@given(situations(), st.integers(0, 300))
def test_the_dead_stay_dead(situation: Situation, later: int) -> None:
    """What is dead is not given, neither by a read nor after a failure, now or later; without bounds nothing dies."""
    policy, entry, now = situation
    if dead(policy, entry, now):
        assert dead(policy, entry, now + later)
        for strategy in Strategy:
            assert lookup(policy, strategy, entry, Traffic.NONE, now + later) == LOAD
        for use_stale in (True, False):
            told = settle(policy, entry, failed("down", use_stale=use_stale), now + later)
            assert told.answer == Failure("down")
    assert not (FOREVER in policy[2:4] and not isinstance(entry, NegativelyCached) and dead(policy, entry, now))


@given(situations(), outcomes)
def test_caching_commutes_with_map(situation: Situation, outcome: Outcome[int, str]) -> None:
    """Settling a mapped outcome on a mapped entry is the mapped settling: no rule looks into a value."""
    policy, entry, now = situation

    def double(cached: CachedValue[int, str]) -> CachedValue[int, str]:
        return CachedValue(cached.value * 2, cached.stale, cached.err)

    doubled: Entry[int, str] = entry
    if isinstance(entry, Refused):
        doubled = replace(entry, cached=double(entry.cached))
    elif not isinstance(entry, NegativelyCached):
        doubled = replace(entry, answer=entry.answer.map(double))
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
        (SIE, EARLY, Traffic.NONE, 700, Serve(EARLY.answer)),
        (SIE, EARLY, Traffic.NONE, 701, ServeAndRefresh(EARLY.answer)),
        (SIE, EARLY, Traffic.RUNNING, 1000, ServeAndRefresh(EARLY.answer)),
        (SIE, EARLY, Traffic.QUEUED, 1001, LOAD),
        (SIE, REMEMBERED, Traffic.RUNNING, 1000, Serve(REMEMBERED.answer)),
        (SIE, REMEMBERED, Traffic.NONE, 1001, LOAD),
        (SIE, TOLD, Traffic.NONE, 1000, Serve(TOLD.answer)),
        (SIE, TOLD, Traffic.NONE, 1001, LOAD),
        (SWR, EARLY, Traffic.NONE, 701, ServeAndRefresh(EARLY.answer)),
        (SWR, EARLY, Traffic.NONE, 1001, Revalidate(CachedValue("old", stale=True))),
        (SWR, REMEMBERED, Traffic.NONE, 1001, LOAD),
        (SWR, REFUSED, Traffic.NONE, 0, LOAD),
        (SWR, REFUSED, Traffic.QUEUED, 0, LOAD),
        (SWR, REFUSED, Traffic.RUNNING, 0, JOIN),
    ],
)
def test_the_table_of_lookup(
    strategy: Strategy, entry: Entry[str, str] | None, traffic: Traffic, now: int, expected: object
) -> None:
    """Each state, just before, at and after its instant, asks for what the table says."""
    assert expected == lookup(POLICY, strategy, entry, traffic, now)


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
                Extended(Success(CachedValue("old", stale=True, err="f")), 2050, 1000, 50),
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
                Extended(Success(CachedValue("old", stale=True, err="f")), 2050, 700, 50),
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
                Extended(Success(CachedValue("old", stale=True, err="f")), 2050, 700, 50),
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
    settled = settle(Policy(100, 0), FRESH, failed("f"), 2000)
    assert Transition(stale, Extended(stale, 1000, 1000, 0)) == settled


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
    assert expected == settle(policy, None, Success("old"), 0, ttl=ttl, draw=draw).entry


def test_without_a_draw_nothing_is_shortened() -> None:
    """Who draws nothing gets the whole TTL."""
    policy = Policy(100, jitter=0.5)
    assert fresh(policy, "old", 0) == settle(policy, None, Success("old"), 0).entry == Fresh(EARLY.answer, 100)


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
    assert expected == settle(Policy(100, extension), EARLY, failed("f"), now).entry


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
    assert settle(policy, FRESH, failed("f"), 1020).entry == Refused(
        Failure("f"), NEVER, CachedValue("old", stale=True, err="f"), 1000, 1000
    )
    assert settle(policy, FRESH, failed("f"), 1021) == Transition(Failure("f"), None)


def test_an_extension_longer_than_the_ttl_does_not_shrink() -> None:
    """Extensions grow up to the longer of ``extend_ttl`` and ``global_ttl``."""
    for policy, expected in ((Policy(10, 50, backoff=2.0), 50), (Policy(80, 50, backoff=2.0), 80)):
        entry: Entry[str, str] = Extended(Success(STALE), 1000, 700, 50)
        assert settle(policy, entry, failed("f"), 2000).entry == Extended(
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
