"""What Hypothesis draws: configs, outcomes, answers, records, and every entry that the core can make of them."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, TypeVar, get_args, get_origin

from returns.result import Failure, Success

from lastcache.config import Config
from lastcache.core.policy import Policy
from lastcache.core.states import Answer, Entry, Outcome
from lastcache.core.transitions import expire, fresh, settle
from lastcache.records import CachedValue, LoadFailure, StoredEntry

try:
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy
except ImportError as _missing:
    raise ImportError("lastcache.testing.strategies needs hypothesis: pip install 'lastcache[testing]'") from _missing

__all__ = [
    "answers",
    "cached_values",
    "configs",
    "entries",
    "load_failures",
    "outcomes",
    "stored_entries",
]

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")

_NOTHING = timedelta(0)
_MICROSECOND = timedelta(microseconds=1)


def configs(longest: timedelta = timedelta(hours=1)) -> SearchStrategy[Config]:
    """Draw configs that the cache accepts, with every option, and durations up to ``longest``."""
    some, any_length = st.timedeltas(_MICROSECOND, longest), st.timedeltas(_NOTHING, longest)
    return st.builds(
        Config,
        global_ttl=some,
        extend_ttl=st.just(_NOTHING) | any_length,
        async_semaphore=st.integers(1, 4),
        stale_if_error=st.none() | any_length,
        stale_while_revalidate=st.none() | any_length,
        negative_ttl=st.just(_NOTHING) | any_length,
        soft_timeout=st.none() | any_length,
        refresh_after=st.none() | some,
        jitter=st.just(0.0) | st.floats(0, 1, exclude_max=True),
        backoff=st.just(1.0) | st.floats(1, 1e300),
        max_entries=st.none() | st.integers(1, 100),
        count_hits=st.booleans(),
    )


def load_failures(errors: SearchStrategy[E]) -> SearchStrategy[LoadFailure[E]]:
    """Draw payloads of failed outcomes: with and without ``use_stale``, ``forget`` and ``remember_for``."""
    remembered = st.none() | st.just(_NOTHING) | st.timedeltas(_MICROSECOND, timedelta(minutes=1))
    kinds = st.sampled_from([(True, False), (False, False), (False, True)])

    def failure(err: E, kind: tuple[bool, bool], remember_for: timedelta | None) -> LoadFailure[E]:
        use_stale, forget = kind
        return LoadFailure(err, use_stale, forget=forget, remember_for=remember_for)

    return st.builds(failure, errors, kinds, remembered)


def outcomes(values: SearchStrategy[V], errors: SearchStrategy[E]) -> SearchStrategy[Outcome[V, E]]:
    """Draw what a callback may return."""
    success: SearchStrategy[Outcome[V, E]] = values.map(Success)
    failure: SearchStrategy[Outcome[V, E]] = load_failures(errors).map(Failure)
    return success | failure


def cached_values(values: SearchStrategy[V], errors: SearchStrategy[E]) -> SearchStrategy[CachedValue[V, E]]:
    """Draw values that are fresh, expired, or expired with an error; never fresh with one."""
    fresh_ones: SearchStrategy[CachedValue[V, E]] = st.builds(CachedValue, values)
    return fresh_ones | st.builds(CachedValue, values, st.just(value=True), st.none() | errors)


def answers(values: SearchStrategy[V], errors: SearchStrategy[E]) -> SearchStrategy[Answer[V, E]]:
    """Draw what ``load_or_store`` may give."""
    success: SearchStrategy[Answer[V, E]] = cached_values(values, errors).map(Success)
    failure: SearchStrategy[Answer[V, E]] = errors.map(Failure)
    return success | failure


def stored_entries(
    keys: SearchStrategy[K], values: SearchStrategy[V], errors: SearchStrategy[E]
) -> SearchStrategy[StoredEntry[K, V, E]]:
    """Draw what ``entries`` may show: a TTL is negative where a stale value has no error, and never of a fresh one."""

    def stored(key: K, cached: CachedValue[V, E], ttl: timedelta) -> StoredEntry[K, V, E]:
        if not cached.stale:
            return StoredEntry(key, cached, ttl)
        return StoredEntry(key, cached, -ttl - _MICROSECOND if cached.err is None else ttl - timedelta(minutes=30))

    return st.builds(stored, keys, cached_values(values, errors), st.timedeltas(_NOTHING, timedelta(hours=1)))


@st.composite
def entries(
    draw: st.DrawFn, policy: Policy, values: SearchStrategy[V], errors: SearchStrategy[E]
) -> tuple[Entry[V, E], int]:
    """Draw an entry that outcomes and expiries lead to under ``policy``, and the last instant of its history."""
    now = draw(st.integers(-50, 400))
    draws = st.floats(0, 1)
    entry: Entry[V, E] | None = fresh(policy, draw(values), now, draw=draw(draws))
    for _ in range(draw(st.integers(0, 4))):
        now += draw(st.integers(0, 90))
        if entry is not None and draw(st.booleans()):
            entry = expire(entry, now)
        _, entry = settle(policy, entry, draw(outcomes(values, errors)), now, draw=draw(draws))
    return (fresh(policy, draw(values), now) if entry is None else entry), now


_STRATEGY_OF: Final[Mapping[type[Any], Callable[..., SearchStrategy[Any]]]] = {
    Config: configs,
    CachedValue: cached_values,
    LoadFailure: load_failures,
    StoredEntry: stored_entries,
}


def of_record(record: type[Any]) -> SearchStrategy[Any]:
    """Draw what Hypothesis asks for by a type; a generic one without arguments is one of strings."""
    arguments = get_args(record) or (str,) * len(getattr(record, "__parameters__", ()))
    make: Callable[..., SearchStrategy[Any]] = _STRATEGY_OF[get_origin(record) or record]
    return make(*(st.from_type(argument) for argument in arguments))
