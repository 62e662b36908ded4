"""Which options are accepted; the same table stands in ``docs/semantics.md``."""

import dataclasses
import math
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from returns.maybe import Some
from returns.result import Success

from lastcache import Config, ConfigError, LastCache
from lastcache._checks import duration_of, nanoseconds
from lastcache.core.policy import Policy, policy_of
from lastcache.testing import ManualClock
from tests.kit import gives, never, ticks

NO_DURATION = [
    60,
    1.5,
    math.nan,
    math.inf,
    1e30,
    True,
    "60",
    None,
    datetime(2020, 1, 1, tzinfo=UTC),
    timedelta(microseconds=-1),
    timedelta.min,
]
NO_COUNT = [0, -1, 1.0, 1.5, math.nan, math.inf, 1e30, True, False, "1", None, timedelta(1)]


def make(option: str, value: object) -> Config:
    """Make a config whose one option may be of any type."""
    return Config(**{option: value})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # under test


UNBOUNDED = ["stale_if_error", "stale_while_revalidate", "soft_timeout", "refresh_after"]


@pytest.mark.parametrize("option", ["global_ttl", "extend_ttl", "negative_ttl", *UNBOUNDED])
@pytest.mark.parametrize("value", NO_DURATION, ids=repr)
def test_what_is_no_duration_is_refused(option: str, value: object) -> None:
    """The error names the option, the value and what is right; None is right where there may be no bound."""
    if value is None and option in UNBOUNDED:
        assert make(option, value) == Config()
        return
    with pytest.raises(ConfigError) as told:
        make(option, value)
    text = f"-{abs(value)!r}" if isinstance(value, timedelta) else repr(value)
    assert str(told.value).startswith(f"{option}={text}: must be a timedelta")
    assert str(told.value).endswith(", or None") == (option in UNBOUNDED)


@pytest.mark.parametrize(
    ("option", "accepted", "refused"),
    [
        ("jitter", [0, 0.0, 0.5, 0.999], [1, 1.0, -0.1, 2]),
        ("backoff", [1, 1.0, 1.5, 1e30], [0, 0.999, -1, math.inf]),
    ],
)
def test_numbers(option: str, accepted: list[float], refused: list[float]) -> None:
    """A number within its bounds is accepted; one outside of them, and all that is no number, is refused."""
    for number in accepted:
        assert getattr(make(option, number), option) == number
    for value in (*refused, math.nan, -math.inf, True, False, "1", None, timedelta(1)):
        with pytest.raises(ConfigError) as told:
            make(option, value)
        assert str(told.value).startswith(f"{option}={value!r}: must be a ")


@pytest.mark.parametrize("value", NO_COUNT, ids=repr)
def test_what_is_no_count_is_refused(value: object) -> None:
    """The error names the option, the value and what is right."""
    with pytest.raises(ConfigError) as told:
        make("async_semaphore", value)
    assert str(told.value) == f"async_semaphore={value!r}: must be an int of 1 or more"


@pytest.mark.parametrize("value", NO_COUNT, ids=repr)
def test_what_is_no_bound_is_refused(value: object) -> None:
    """The bound of a cache is a count, or None for no bound."""
    if value is None:
        assert make("max_entries", value) == Config()
        return
    with pytest.raises(ConfigError) as told:
        make("max_entries", value)
    assert str(told.value) == f"max_entries={value!r}: must be an int of 1 or more, or None"


def test_zero() -> None:
    """A TTL of zero is refused, an extension of zero is the default."""
    with pytest.raises(ConfigError, match=r"^global_ttl=datetime.timedelta\(0\): must be a timedelta above zero$"):
        Config(global_ttl=timedelta(0))
    with pytest.raises(ConfigError, match=r"^extend_ttl=-datetime.timedelta\(seconds=1\): must be a timedelta of zero"):
        Config(extend_ttl=timedelta(seconds=-1))
    with pytest.raises(ConfigError, match=r"^refresh_after=datetime.timedelta\(0\): must be a timedelta above zero"):
        Config(refresh_after=timedelta(0))
    zero = timedelta(0)
    assert Config(extend_ttl=zero, negative_ttl=zero) == Config()
    assert Config(stale_if_error=zero, stale_while_revalidate=zero, soft_timeout=zero) != Config()


@pytest.mark.parametrize("wrong", [None, 0, 1, "yes", 1.0])
def test_a_flag_is_true_or_false(wrong: object) -> None:
    """``count_hits`` takes a bool, and nothing that merely behaves like one."""
    with pytest.raises(ConfigError) as told:
        make("count_hits", wrong)
    assert str(told.value) == f"count_hits={wrong!r}: must be True or False"
    assert make("count_hits", value=True).count_hits


def test_defaults() -> None:
    """A minute, no extension, one background load at a time."""
    assert Policy(60_000_000_000, 0) == policy_of(Config())
    assert Config() == Config(
        global_ttl=timedelta(minutes=1),
        extend_ttl=timedelta(0),
        async_semaphore=1,
        stale_if_error=None,
        stale_while_revalidate=None,
        negative_ttl=timedelta(0),
        soft_timeout=None,
        refresh_after=None,
        jitter=0.0,
        backoff=1.0,
        max_entries=None,
        count_hits=False,
    )


def test_every_option_reaches_the_core() -> None:
    """The policy of a config has its durations in nanoseconds, and its numbers as they are."""
    micro = timedelta(microseconds=1)
    config = Config(
        global_ttl=micro,
        extend_ttl=2 * micro,
        stale_if_error=3 * micro,
        stale_while_revalidate=4 * micro,
        negative_ttl=5 * micro,
        refresh_after=6 * micro,
        jitter=0.5,
        backoff=2.0,
    )
    assert Policy(1000, 2000, 3000, 4000, 5000, 6000, 0.5, 2.0) == policy_of(config)


def test_a_config_is_frozen_and_takes_keywords_only() -> None:
    """Options cannot be changed once a cache may rely on them, nor be mixed up."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().global_ttl = timedelta(1)  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        Config(timedelta(1))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def test_forever() -> None:
    """``timedelta.max`` is a TTL like any other, also where the clock went back meanwhile."""
    clock = ManualClock()
    cache: LastCache[str, str, str] = LastCache(Config(global_ttl=timedelta.max, extend_ttl=timedelta.max), clock=clock)
    cache.load_or_store("k", gives(Success("v")))
    clock.advance(ticks(-1_000))
    assert cache.ttl("k") == Some(timedelta.max)
    clock.advance(ticks(10**15))
    assert cache.load_or_store("k", never).unwrap().stale is False


@pytest.mark.parametrize("config", [None, {}, Config, timedelta(1)], ids=repr)
def test_what_is_no_config_is_refused(config: object) -> None:
    """A cache says what it was given in place of a ``Config``."""
    with pytest.raises(ConfigError, match=f"^{re.escape(f'config={config!r}: must be a Config')}$"):
        LastCache(config)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("clock", [None, 5, lambda: 1.5, lambda: None, lambda: True], ids=repr)
def test_what_is_no_clock_is_refused(clock: object) -> None:
    """A clock must give integers of nanoseconds; it is asked once to see."""
    said = f"clock={clock!r}: must be a function that gives nanoseconds as an int, "
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}"):
        LastCache(clock=clock)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@given(st.timedeltas())
def test_durations_are_counted_exactly(duration: timedelta) -> None:
    """No duration that users can write is rounded."""
    assert duration == duration_of(nanoseconds(duration))


@pytest.mark.parametrize("beyond", [0, 1, 2, 10**9])
def test_what_cannot_be_shown_is_clamped(beyond: int) -> None:
    """Just at and just past what a ``timedelta`` can hold, its end is shown."""
    assert timedelta.max == duration_of(nanoseconds(timedelta.max) + beyond * 1000)
    assert timedelta.min == duration_of(nanoseconds(timedelta.min) - beyond * 1000)


@given(st.integers(-(10**26), 10**26))
def test_durations_are_rounded_down(count: int) -> None:
    """What is shown keeps the sign, is never more than what was counted, and is clamped at what can be shown."""
    shown = nanoseconds(duration_of(count))
    held = max(nanoseconds(timedelta.min), min(nanoseconds(timedelta.max), count))
    assert (shown < 0, 0 <= held - shown < 1000) == (held < 0, True)
