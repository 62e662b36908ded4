"""The laws of the pure core."""

from dataclasses import replace

from hypothesis import assume, given
from hypothesis import strategies as st
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import CachedValue, failed
from lastcache._checks import nanoseconds
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
)
from lastcache.core.traffic import Running
from lastcache.core.transitions import (
    dead,
    deadline,
    expire,
    fresh,
    fresh_until,
    lookup,
    outrun,
    settle,
    view,
)
from tests.strategies import (
    draws,
    failures,
    forgetting_failures,
    instants,
    keeping_failures,
    outcomes,
    plain_policies,
    policies,
    situations,
    stored_situations,
    values,
)
from tests.test_transition_tables import QUEUED, REFRESHING, RUNNING, SIE, SWR, UnderWay

Situation = tuple[Policy, Entry[int, str], int]
StoredSituation = tuple[Policy, Stored[int, str], int]
strategies = st.sampled_from(Strategy)
traffics: st.SearchStrategy[UnderWay] = st.sampled_from([None, QUEUED, RUNNING, REFRESHING])


@given(situations(), strategies, traffics)
def test_what_stands_is_served(situation: Situation, strategy: Strategy, traffic: UnderWay) -> None:
    """While an entry stands its answer is served, whoever asks and whatever is under way."""
    policy, entry, now = situation
    if now <= entry.until:
        assert Serve(entry.answer) == lookup(policy, strategy, entry, traffic, now)


@given(situations(), strategies, traffics)
def test_what_does_not_stand_is_loaded(situation: Situation, strategy: Strategy, traffic: UnderWay) -> None:
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
            assert decision == (JOIN if isinstance(traffic, Running) else LOAD)


@given(situations(), traffics)
def test_a_soft_timeout_gives_what_stale_while_revalidate_gives(situation: Situation, traffic: UnderWay) -> None:
    """Whoever waits with a soft timeout is given, once it is over, what stale-while-revalidate gives at once."""
    policy, entry, now = situation
    softly = lookup(policy, Strategy.STALE_IF_SLOW, entry, traffic, now)
    assert softly == lookup(policy, SWR, entry, traffic, now)


@given(stored_situations(), strategies, traffics, outcomes, draws)
def test_staleness_is_bounded(
    situation: StoredSituation, strategy: Strategy, traffic: UnderWay, outcome: Outcome[int, str], draw: float
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
    answer = settle(policy, entry, outcome, now, draw=draw)[0]
    if is_successful(answer) and answer.unwrap().stale:
        assert now <= fresh_end + policy.stale_if_error


@given(plain_policies, st.none() | situations().map(lambda situation: situation[1]), values, instants)
def test_a_success_is_fresh_for_the_global_ttl(
    policy: Policy, entry: Entry[int, str] | None, value: int, now: int
) -> None:
    """After a success the answer is the bare value, and it stands until a load is due: global_ttl later."""
    bare: Answer[int, str] = Success(CachedValue(value))
    assert (bare, Fresh(bare, now + policy.global_ttl)) == settle(policy, entry, Success(value), now)


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


@given(situations(), keeping_failures, draws)
def test_a_failure_keeps_value_and_freshness(situation: Situation, failure: Outcome[int, str], draw: float) -> None:
    """A failure that does not forget keeps the stored value, and the end of its freshness, unless the value is dead."""
    policy, entry, now = situation
    settled = settle(policy, entry, failure, now, draw=draw)[1]
    if isinstance(entry, NegativelyCached) or dead(policy, entry, now):
        assert settled is None or isinstance(settled, NegativelyCached)
        return
    assert settled is not None
    assert not isinstance(settled, NegativelyCached)
    assert (view(entry, now).value, fresh_until(entry)) == (view(settled, now).value, fresh_until(settled))


@given(situations(), keeping_failures, draws)
def test_a_failure_changes_no_answer_that_stands(situation: Situation, failure: Outcome[int, str], draw: float) -> None:
    """A failure that comes in while an answer stands, or of an early load, changes nothing that is answered."""
    policy, entry, now = situation
    settled = settle(policy, entry, failure, now, draw=draw)
    if now <= entry.until:
        assert (entry.answer, entry) == settled
    elif isinstance(entry, RefreshAhead) and now <= entry.fresh_until:
        assert isinstance(settled[1], Fresh | RefreshAhead)
        again_at = now + policy.extend_ttl if policy.extend_ttl else FOREVER
        expected = min(again_at, entry.fresh_until), entry.fresh_until
        assert (settled[1].until, fresh_until(settled[1])) == expected
        assert settled[0] == entry.answer == settled[1].answer


@given(situations(), failures, draws)
def test_a_failure_is_remembered(situation: Situation, failure: Outcome[int, str], draw: float) -> None:
    """An answer that is a failure stands for its ``remember_for``, else for ``negative_ttl``; for zero not at all."""
    policy, entry, now = situation
    assume(now > entry.until)
    settled = settle(policy, entry, failure, now, draw=draw)
    if is_successful(settled[0]):
        return
    own = failure.failure().remember_for
    lasts_for = policy.negative_ttl if own is None else nanoseconds(own)
    if lasts_for:
        assert settled[1] is not None
        assert (settled[1].answer, settled[1].until) == (settled[0], now + lasts_for)
    else:
        assert settled[1] is None or settled[1].until == NEVER


@given(st.none() | situations(), forgetting_failures, st.lists(failures), draws)
def test_what_was_forgotten_comes_back_by_no_failure(
    situation: Situation | None, forgetting: Outcome[int, str], later: list[Outcome[int, str]], draw: float
) -> None:
    """After a failure that forgets no answer has a value, in whatever state it came, until a load brings one."""
    policy, entry, now = situation or (Policy(1), None, 0)
    answer, settled = settle(policy, entry, forgetting, now, draw=draw)
    assert answer == Failure(forgetting.failure().err)
    for number, outcome in enumerate([forgetting, *later]):
        assert settled is None or isinstance(settled, NegativelyCached)
        for strategy in Strategy:
            match lookup(policy, strategy, settled, None, now + number):
                case Serve(given):
                    assert not is_successful(given)
                case decision:
                    assert decision == LOAD
        settled = settle(policy, settled, outcome, now + number, draw=draw)[1]


@given(situations(), outcomes, draws)
def test_an_answer_says_until_when_it_is_fresh(situation: Situation, outcome: Outcome[int, str], draw: float) -> None:
    """The ``fresh_until`` of a value that is given, shown or stored is that of the entry that holds it."""
    policy, entry, now = situation
    settled = settle(policy, entry, outcome, now, draw=draw)[1]
    ended = None if settled is None else expire(settled, now + 1)
    for held in (entry, settled, ended):
        if held is None or isinstance(held, NegativelyCached):
            continue
        assert view(held, now).fresh_until == fresh_until(held)
        if is_successful(held.answer):
            assert held.answer.unwrap().fresh_until == fresh_until(held)
        for strategy in Strategy:
            match lookup(policy, strategy, held, None, now):
                case Serve(Success(cached)) | ServeAndRefresh(Success(cached)) | Revalidate(cached):
                    assert cached.fresh_until == fresh_until(held)
                case _:
                    pass


@given(situations(), outcomes)
def test_what_is_not_stored_says_when_it_came(situation: Situation, outcome: Outcome[int, str]) -> None:
    """The value of a load that was outrun has the instant of its landing."""
    _, entry, now = situation
    if is_successful(outcome):
        assert outrun(entry, outcome, now).unwrap().fresh_until == now


@given(stored_situations(), failures, draws)
def test_extensions_grow_up_to_a_bound(situation: StoredSituation, failure: Outcome[int, str], draw: float) -> None:
    """An extension ends with its length or the window, whichever is first; it grows with each covered failure."""
    policy, entry, now = situation
    settled = settle(policy, entry, failure, now, draw=draw)[1]
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
    settled = settle(policy, entry, outcome, now)[1]
    if settled is None or isinstance(settled, NegativelyCached):
        return
    shown = view(settled, now + later)
    assert shown.stale or (shown.err is None and now + later <= fresh_until(settled))
    assert shown.stale == (now + later > fresh_until(settled))


@given(stored_situations())
def test_the_deadline_says_whether_it_is_expired(situation: StoredSituation) -> None:
    """An entry whose value is given without a load of its own has its deadline ahead; any other has it behind."""
    policy, entry, now = situation
    decision = lookup(policy, SIE, entry, None, now)
    given_now = isinstance(decision, Serve | ServeAndRefresh) and is_successful(decision.answer)
    assert (now <= deadline(entry)) == given_now


@given(situations(), outcomes, draws)
def test_the_waiting_get_what_is_stored(situation: Situation, outcome: Outcome[int, str], draw: float) -> None:
    """Who waited for a load gets the very answer that is stored from then on, if any is."""
    policy, entry, now = situation
    transition = settle(policy, entry, outcome, now, draw=draw)
    assert transition[1] is None or transition[0] is transition[1].answer


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
    assert isinstance(lookup(policy, SIE, expired, None, now), type(LOAD))
    assert expire(expired, now) is expired


@given(situations(), st.integers(0, 300))
def test_the_dead_stay_dead(situation: Situation, later: int) -> None:
    """What is dead is not given, neither by a read nor after a failure, now or later; without bounds nothing dies."""
    policy, entry, now = situation
    if dead(policy, entry, now):
        assert dead(policy, entry, now + later)
        for strategy in Strategy:
            assert lookup(policy, strategy, entry, None, now + later) == LOAD
        for use_stale in (True, False):
            told = settle(policy, entry, failed("down", use_stale=use_stale), now + later)
            assert told[0] == Failure("down")
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
    assert settle(policy, entry, outcome, now)[0].map(double) == mapped[0]
