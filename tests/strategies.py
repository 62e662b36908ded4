"""What Hypothesis draws: policies, instants, outcomes, and every entry that the core can make of them."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from returns.result import Failure, Success

from lastcache import LoadFailure
from lastcache.core.policy import FOREVER, Policy
from lastcache.core.states import Entry, NegativelyCached, Outcome, Stored
from lastcache.core.transitions import fresh
from lastcache.testing import strategies as kit
from lastcache.testing.strategies import load_failures

values: SearchStrategy[int] = st.integers(0, 9)
errors: SearchStrategy[str] = st.sampled_from(["down", "slow", "gone"])
instants: SearchStrategy[int] = st.integers(-50, 400)
draws: SearchStrategy[float] = st.floats(0, 1)
bounds: SearchStrategy[int] = st.one_of(st.just(FOREVER), st.integers(0, 60))

durations: SearchStrategy[int] = st.one_of(st.just(0), st.integers(1, 60))

plain_policies: SearchStrategy[Policy] = st.tuples(st.integers(1, 60), durations).map(lambda drawn: Policy(*drawn))
policies: SearchStrategy[Policy] = plain_policies | st.builds(
    Policy,
    global_ttl=st.integers(1, 60),
    extend_ttl=durations,
    stale_if_error=bounds,
    stale_while_revalidate=bounds,
    negative_ttl=durations,
    refresh_after=st.one_of(st.just(FOREVER), st.integers(1, 60)),
    jitter=st.one_of(st.just(0.0), st.floats(0, 1, exclude_max=True)),
    backoff=st.one_of(st.just(1.0), st.floats(1, 1e300)),
)

successes: SearchStrategy[Outcome[int, str]] = values.map(Success)
failures: SearchStrategy[Outcome[int, str]] = load_failures(errors).map(Failure)
keeping_failures: SearchStrategy[Outcome[int, str]] = load_failures(errors).map(
    lambda failure: Failure(LoadFailure(failure.err, failure.use_stale, remember_for=failure.remember_for))
)
forgetting_failures: SearchStrategy[Outcome[int, str]] = load_failures(errors).map(
    lambda failure: Failure(LoadFailure(failure.err, use_stale=False, forget=True, remember_for=failure.remember_for))
)
outcomes: SearchStrategy[Outcome[int, str]] = kit.outcomes(values, errors)


@st.composite
def situations(
    draw: st.DrawFn, policies: SearchStrategy[Policy] = policies, *, stored: bool = False
) -> tuple[Policy, Entry[int, str], int]:
    """A policy, an entry, and a now that is not before the entry's last instant; boundaries are drawn often."""
    policy = draw(policies)
    entry, since = draw(kit.entries(policy, values, errors))
    if stored and isinstance(entry, NegativelyCached):
        entry = fresh(policy, draw(values), since)
    boundary = st.integers(-1, 1).map(lambda off: entry.until + off)
    later = st.integers(0, 120).map(lambda passed: since + passed)
    return policy, entry, max(since, draw(st.one_of(boundary, later)))


@st.composite
def stored_situations(draw: st.DrawFn) -> tuple[Policy, Stored[int, str], int]:
    """A situation whose entry holds a value."""
    policy, entry, now = draw(situations(stored=True))
    assert not isinstance(entry, NegativelyCached)
    return policy, entry, now


def examples(percent: int) -> int:
    """Give this many in a hundred of the examples that the profile of Hypothesis has."""
    return settings().max_examples * percent // 100
