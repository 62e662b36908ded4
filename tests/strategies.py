"""What Hypothesis draws: policies, instants, outcomes, and every entry that the core can make of them."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from returns.result import Success

from lastcache import failed
from lastcache.config import FOREVER, Policy
from lastcache.states import Entry, Outcome, Remembered, Stored
from lastcache.transitions import expire, fresh, settle

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
failures: SearchStrategy[Outcome[int, str]] = st.builds(
    lambda err, use_stale: failed(err, use_stale=use_stale), errors, st.booleans()
)
outcomes: SearchStrategy[Outcome[int, str]] = st.one_of(successes, failures)


@st.composite
def reached(draw: st.DrawFn, policy: Policy, *, stored: bool) -> tuple[Entry[int, str], int]:
    """An entry that outcomes and expiries lead to, and the last instant of its history."""
    now = draw(instants)
    entry: Entry[int, str] | None = fresh(policy, draw(values), now, draw=draw(draws))
    for _ in range(draw(st.integers(0, 4))):
        now += draw(st.integers(0, 90))
        if entry is not None and draw(st.booleans()):
            entry = expire(entry, now)
        entry = settle(policy, entry, draw(outcomes), now, draw=draw(draws)).entry
    if entry is None or (stored and isinstance(entry, Remembered)):
        entry = fresh(policy, draw(values), now)
    return entry, now


@st.composite
def situations(
    draw: st.DrawFn, policies: SearchStrategy[Policy] = policies, *, stored: bool = False
) -> tuple[Policy, Entry[int, str], int]:
    """A policy, an entry, and a now that is not before the entry's last instant; boundaries are drawn often."""
    policy = draw(policies)
    entry, since = draw(reached(policy, stored=stored))
    boundary = st.integers(-1, 1).map(lambda off: entry.until + off)
    later = st.integers(0, 120).map(lambda passed: since + passed)
    return policy, entry, max(since, draw(st.one_of(boundary, later)))


@st.composite
def stored_situations(draw: st.DrawFn) -> tuple[Policy, Stored[int, str], int]:
    """A situation whose entry holds a value."""
    policy, entry, now = draw(situations(stored=True))
    assert not isinstance(entry, Remembered)
    return policy, entry, now
