"""What Hypothesis draws: policies, instants, outcomes, and every entry that the core can make of them."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from returns.result import Success

from lastcache import failed
from lastcache.config import Policy
from lastcache.transitions import Entry, Outcome, expire, fresh, settle

values: SearchStrategy[int] = st.integers(0, 9)
errors: SearchStrategy[str] = st.sampled_from(["down", "slow", "gone"])
instants: SearchStrategy[int] = st.integers(-50, 400)
policies: SearchStrategy[Policy] = st.builds(
    Policy, global_ttl=st.integers(1, 60), extend_ttl=st.one_of(st.just(0), st.integers(1, 60))
)

successes: SearchStrategy[Outcome[int, str]] = values.map(Success)
failures: SearchStrategy[Outcome[int, str]] = st.builds(
    lambda err, use_stale: failed(err, use_stale=use_stale), errors, st.booleans()
)
outcomes: SearchStrategy[Outcome[int, str]] = st.one_of(successes, failures)


@st.composite
def reached(draw: st.DrawFn, policy: Policy) -> tuple[Entry[int, str], int]:
    """An entry that outcomes and expiries lead to, and the last instant of its history."""
    now = draw(instants)
    entry: Entry[int, str] = fresh(policy, draw(values), now)
    for _ in range(draw(st.integers(0, 4))):
        now += draw(st.integers(0, 90))
        if draw(st.booleans()):
            entry = expire(entry, now)
        entry = settle(policy, entry, draw(outcomes), now).entry or entry
    return entry, now


@st.composite
def situations(draw: st.DrawFn) -> tuple[Policy, Entry[int, str], int]:
    """A policy, an entry, and a now that is not before the entry's last instant; boundaries are drawn often."""
    policy = draw(policies)
    entry, since = draw(reached(policy))
    boundary = st.integers(-1, 1).map(lambda off: entry.until + off)
    later = st.integers(0, 120).map(lambda passed: since + passed)
    return policy, entry, max(since, draw(st.one_of(boundary, later)))
