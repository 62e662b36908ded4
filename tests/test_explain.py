"""Why a key answers as it does: derived from the core's own decision, and true on each shell."""

from datetime import timedelta
from typing import Final, get_args

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from returns.maybe import Nothing, Some
from returns.result import Failure, Success

from lastcache import Config, LastCache, Strategy, failed
from lastcache.core.demands import demanded
from lastcache.core.explain import Explanation, QueuePlace, State, explain
from lastcache.core.policy import FOREVER, Policy
from lastcache.core.states import Entry, Load, Outcome, Revalidate, Serve, ServeAndRefresh
from lastcache.core.traffic import Queued, Running, Traffic
from lastcache.core.transitions import dead, fresh, fresh_until, lookup, settle
from lastcache.testing import ManualClock
from tests.kit import given, ticks
from tests.shells import Stage, giving
from tests.strategies import instants, policies, situations
from tests.test_transition_tables import QUEUED, REFRESHING, RUNNING, UnderWay

Situation = tuple[Policy, Entry[int, str], int]
strategies = st.sampled_from(Strategy)
traffics: st.SearchStrategy[UnderWay] = st.sampled_from([None, QUEUED, RUNNING, REFRESHING])
demands = st.just(FOREVER) | st.integers(0, 80)
DOWN: Final[Outcome[str, str]] = failed("down", use_stale=True)


# --- laws


@drawn(situations(), strategies, traffics, demands)
def test_its_decision_is_that_of_the_core(
    situation: Situation, strategy: Strategy, traffic: UnderWay, max_stale: int
) -> None:
    """What is explained is what a call would do, with a demand or without."""
    policy, entry, now = situation
    explained = explain(policy, strategy, "k", entry, traffic, now, max_stale=max_stale)
    assert explained.decision == demanded(policy, strategy, entry, traffic, now, max_stale)
    if max_stale == FOREVER:
        assert explained.decision == lookup(policy, strategy, entry, traffic, now)
    assert str(explained).startswith("'k': a call ")


@drawn(situations(), strategies, traffics, demands)
def test_what_stands_is_served(situation: Situation, strategy: Strategy, traffic: UnderWay, max_stale: int) -> None:
    """While the answer stands the decision is to serve, and only then."""
    policy, entry, now = situation
    explained = explain(policy, strategy, "k", entry, traffic, now, max_stale=max_stale)
    assert isinstance(explained.stands_until, Some) == isinstance(explained.decision, Serve)


@drawn(situations(), traffics)
def test_a_value_is_given_ahead_and_covers_until_it_says(situation: Situation, traffic: UnderWay) -> None:
    """The bounds that are told are those by which the core decides: at them, and just after them."""
    policy, entry, now = situation
    explained = explain(policy, Strategy.STALE_WHILE_REVALIDATE, "k", entry, traffic, now)
    if isinstance(explained.decision, Revalidate):
        assert explained.ahead_until.map(lambda left: left >= timedelta(0)).value_or(default_value=True)
    if explained.state == "expired" and isinstance(explained.decision, Load):
        assert explained.ahead_until.map(lambda left: left < timedelta(0)).value_or(default_value=False)
    if explained.state == "expired":
        answer, _ = settle(policy, entry, failed("down", use_stale=True), now)
        covered = explained.covers_until.map(lambda left: left >= timedelta(0)).value_or(default_value=True)
        assert isinstance(answer, Success) == covered


@drawn(policies, strategies, instants)
def test_a_dead_entry_is_missing(policy: Policy, strategy: Strategy, now: int) -> None:
    """What can never be given again is told as if it were gone."""
    entry = fresh(policy, 1, now)
    later = fresh_until(entry) + 10_000
    if dead(policy, entry, later):
        assert explain(policy, strategy, "k", entry, None, later).state == "missing"
        assert explain(policy, strategy, "k", entry, None, later).fresh_until == Nothing


@drawn(situations(), strategies, traffics, st.integers(0, 80), st.integers(0, 80))
def test_who_takes_what_is_staler_gets_no_less(
    situation: Situation, strategy: Strategy, traffic: UnderWay, strict: int, more: int
) -> None:
    """A demand narrows and never widens, and is monotone; where an answer stands it loads nothing."""
    policy, entry, now = situation
    plain = lookup(policy, strategy, entry, traffic, now)
    narrow = demanded(policy, strategy, entry, traffic, now, strict)
    wider = demanded(policy, strategy, entry, traffic, now, strict + more)
    assert demanded(policy, strategy, entry, traffic, now, FOREVER) == plain
    if narrow == plain:
        assert wider == plain
    if isinstance(plain, Serve):
        assert isinstance(narrow, Serve)
    match narrow:
        case Serve(Success(cached)) | ServeAndRefresh(Success(cached)) | Revalidate(cached):
            assert narrow == plain
            assert not cached.stale or now <= cached.fresh_until + strict
        case _:
            pass


# --- as a user sees it


EXPLAINED: Final = """\
'user:7': a call is served (extended: the last load failed, and stale data covers that)
  fresh                  until 19.000 s ago
  stands                 for 6.000 s more
  given ahead of a load  for 101.000 s more
  covers failures        for 3581.000 s more
  last error             'down'"""


def test_an_explanation_reads_at_a_glance() -> None:
    """Its text is a table, in seconds from now."""
    clock = ManualClock()
    config = Config(
        global_ttl=timedelta(seconds=60),
        extend_ttl=timedelta(seconds=10),
        stale_if_error=timedelta(hours=1),
        stale_while_revalidate=timedelta(seconds=120),
    )
    cache = LastCache[str, str, str](config, clock=clock)
    cache.set("user:7", "v")
    clock.advance(timedelta(seconds=75))
    cache.load_or_store("user:7", lambda _: DOWN)
    clock.advance(timedelta(seconds=4))
    assert str(cache.explain("user:7")) == EXPLAINED


async def test_a_load_under_way_is_explained(stage: Stage) -> None:
    """Who asks in the middle hears how long the load has been running, and what place a queued one has."""
    cache = await stage.open("a", "b", "c")
    load = stage.gated(Success("new"))
    refresh = await stage.behind("a", load)
    await load.started()
    behind = [await stage.behind(key, giving(Success("new"))) for key in "bc"]
    stage.clock.advance(ticks(5))
    running, first, last = (cache.explain(key) for key in "abc")
    assert (running.traffic, running.running_for, running.queue) == ("running", Some(ticks(5)), Nothing)
    assert (first.traffic, first.queue, last.queue) == ("queued", Some(QueuePlace(1, 2)), Some(QueuePlace(2, 2)))
    assert str(last).endswith("queued, place 2 of 2")
    load.let_go()
    for ending in (refresh, *behind):
        assert await stage.ended(ending) == given("new")
    assert [cache.explain(key).traffic for key in "abc"] == ["none"] * 3


async def test_an_explanation_changes_nothing(stage: Stage) -> None:
    """It marks, loads and drops nothing, whatever the state."""
    cache = await stage.open("k")
    before = cache.stats()
    for strategy in Strategy:
        assert cache.explain("k", strategy=strategy).state == "expired"
        assert cache.explain("nobody", strategy=strategy).state == "missing"
    assert cache.stats() == before
    await stage.ask("k", giving(failed("gone", use_stale=False)))
    assert (cache.explain("k").state, cache.explain("k").last_error) == ("refused", Some("gone"))


def test_every_state_has_its_sentence() -> None:
    """Each state that there is can be told, with each decision that the core takes in it."""
    policy = Policy(60, 10, stale_if_error=50, stale_while_revalidate=20, negative_ttl=10, refresh_after=30)
    value = fresh(policy, "v", 0)
    gone: Outcome[str, str] = failed("gone", use_stale=False)
    entries: list[tuple[Entry[str, str] | None, int]] = [
        (None, 0),
        (value, 0),
        (value, 31),
        (value, 61),
        (value, 90),
        (settle(policy, value, DOWN, 61)[1], 62),
        (settle(policy, value, gone, 61)[1], 62),
        (settle(policy, value, gone, 61)[1], 75),
        (settle(policy, None, gone, 0)[1], 1),
    ]
    running: tuple[Traffic[str, str] | None, ...] = Running("flight"), Queued("job"), None
    told = {
        (explained.state, type(explained.decision).__name__): str(explained)
        for entry, now in entries
        for strategy in Strategy
        for traffic in running
        for explained in [explain(policy, strategy, "k", entry, traffic, now)]
    }
    assert {state for state, _ in told} == set(get_args(State))
    assert len(told) == len(set(told.values())) == 12


def test_a_record_is_typed_for_its_cache() -> None:
    """The error of an explanation is that of the cache."""
    cache = LastCache[str, int, str]()
    explained: Explanation[str, int, str] = cache.explain("k")
    assert explained.last_error == Nothing
    cache.load_or_store("k", lambda _: failed("gone", use_stale=False, remember_for=timedelta(hours=1)))
    assert cache.explain("k").decision == Serve(Failure("gone"))
    assert cache.explain("k").state == "remembered"


@pytest.mark.parametrize("strategy", Strategy)
def test_a_closed_cache_explains_nothing(strategy: Strategy) -> None:
    """As every other method it says that the cache is closed."""
    cache = LastCache[str, int, str]()
    cache.close()
    with pytest.raises(RuntimeError, match="closed"):
        cache.explain("k", strategy=strategy)
