"""The observers that are ready to use: one that logs, and one made of several."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final

import pytest
from returns.result import Success

from lastcache import Config, ConfigError, LastCache, failed
from lastcache.events import (
    Event,
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    LoadStarted,
    RefreshRefused,
    RefreshStarted,
    ServedStale,
    Swept,
    Waited,
)
from lastcache.observers import all_of, log_to
from lastcache.testing import ManualClock
from tests.kit import gives, in_thread, result_of

SECOND: Final = timedelta(seconds=1)
BROKEN: Final = ValueError("broken")

FAILED: Final[Event[str, str]] = LoadFailed("k", "down", use_stale=True, took=SECOND, background=False)
RAISED: Final[Event[str, str]] = LoadRaised("k", BROKEN, background=False, took=SECOND)
LOADED: Final[Event[str, str]] = Loaded("k", SECOND, background=False)
STALE: Final[Event[str, str]] = ServedStale("k", "down")
REFUSED: Final[Event[str, str]] = RefreshRefused("k", "the queue was full")

FAILED_LINE: Final = "load of 'k' failed after 1.0 s, stale data may cover it: 'down'"
RAISED_LINE: Final = "load of 'k' raised after 1.0 s: ValueError('broken')"


class Log:
    """A log, with a clock that stands still; what is asked for is taken out of it."""

    def __init__(self, caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> None:
        self.clock = ManualClock()
        self._caplog = caplog
        caplog.set_level(level)
        self.tell = log_to(logging.getLogger("users"), clock=self.clock)

    def __call__(self, event: Event[Any, Any]) -> None:
        self.tell(event)

    def after(self, seconds: float, *events: Event[str, str]) -> list[str]:
        """Give what is logged at ``events``, which come after ``seconds``."""
        self.clock.advance(timedelta(seconds=seconds))
        for event in events:
            self.tell(event)
        return [record.getMessage() for record in self.records()]

    def records(self) -> list[logging.LogRecord]:
        records = self._caplog.records.copy()
        self._caplog.clear()
        return records


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> Iterator[Log]:
    """A log of all that is information or worse."""
    yield Log(caplog)
    caplog.clear()


def test_each_kind_of_event_has_a_level_and_a_template(caplog: pytest.LogCaptureFixture) -> None:
    """A record has the template, its values apart, and the event itself; what was raised has its traceback."""
    told = Log(caplog, logging.DEBUG)
    lines: list[tuple[Event[str, str], int, str]] = [
        (LoadStarted("k", background=True), logging.DEBUG, "background load of 'k' begins"),
        (LOADED, logging.DEBUG, "load of 'k' took 1.0 s"),
        (Joined("k"), logging.DEBUG, "a caller waits for the load of 'k'"),
        (Waited("k", SECOND), logging.DEBUG, "a caller has waited 1.0 s for the load of 'k'"),
        (STALE, logging.INFO, "a stale value of 'k' was given; the error behind it: 'down'"),
        (RefreshStarted("k"), logging.DEBUG, "a background load of 'k' was begun"),
        (REFUSED, logging.WARNING, "the background load of 'k' was dropped: the queue was full"),
        (Evicted("k"), logging.DEBUG, "'k' had to make room for another key"),
        (Swept("k"), logging.DEBUG, "'k' was dropped: it could never be given again"),
        (FAILED, logging.WARNING, FAILED_LINE),
        (RAISED, logging.ERROR, RAISED_LINE),
    ]
    for event, level, text in lines:
        told(event)
        (record,) = told.records()
        assert (record.levelno, record.getMessage(), vars(record)["event"]) == (level, text, event)
        assert "'k'" not in record.msg
        assert (record.exc_info is not None) == isinstance(event, LoadRaised)


def test_a_name_is_a_part_of_the_line(log: Log) -> None:
    """It stands before what happened, as a value of the template; without one nothing is missed."""
    failure = LoadFailed("k", "down", use_stale=False, took=SECOND, background=True, cache="users")
    log(failure)
    (record,) = log.records()
    assert record.getMessage() == (
        "cache users: background load of 'k' failed after 1.0 s, stale data must not cover it: 'down'"
    )
    assert record.msg == "cache %s: %s of %r failed after %s, stale data %s cover it: %r"


def test_an_outage_is_a_line_at_its_beginning_one_in_an_interval_and_one_at_its_end(log: Log) -> None:
    """All lines together count every load and every stale answer."""
    assert log.after(0, FAILED, STALE) == [FAILED_LINE]
    assert log.after(30, *[FAILED, STALE] * 20) == []
    assert log.after(29.999999, FAILED, STALE) == []
    assert log.after(0.000001, FAILED, STALE) == [
        (
            "22 of 22 loads failed in the last 60 s, 22 stale answers were given; "
            "loads have failed for 60 s, the last with 'down'"
        )
    ]
    assert log.after(59, *[STALE] * 3877) == []
    assert log.after(1, STALE, STALE) == [
        (
            "no load was tried in the last 60 s, 3,879 stale answers were given; "
            "loads have failed for 120 s, the last with 'down'"
        )
    ]
    assert log.after(23, LOADED) == ["loads succeed again after 143 s: 23 loads failed, 3,902 stale answers were given"]
    assert log.after(0, LOADED, LOADED) == []


def test_who_reads_of_the_beginning_reads_of_the_end(log: Log) -> None:
    """All three are warnings at least."""
    log.after(0, FAILED)
    for event in (FAILED, LOADED):
        log.clock.advance(60 * SECOND)
        log(event)
        assert [record.levelno for record in log.records()] == [logging.WARNING]


def test_what_raises_in_an_outage_has_its_traceback_once(log: Log) -> None:
    """It may be a mistake in the program, so a failure before it does not hide it."""
    assert log.after(0, FAILED, RAISED, RAISED) == [FAILED_LINE, RAISED_LINE]
    assert log.after(60, RAISED) == [
        (
            "3 of 3 loads failed in the last 60 s, 0 stale answers were given; "
            "loads have failed for 60 s, the last with ValueError('broken')"
        )
    ]
    assert log.after(1, LOADED) == ["loads succeed again after 61 s: 4 loads failed, 0 stale answers were given"]


def test_a_source_that_fails_now_and_then_is_told_of_once_in_an_interval(log: Log) -> None:
    """One load in ten fails, for ten minutes: two lines in a minute, which count them all."""
    assert log.after(0, FAILED, LOADED) == [
        FAILED_LINE,
        "loads succeed again after 0 ms: 1 load failed, 0 stale answers were given",
    ]
    lines: list[str] = []
    for _ in range(600):
        lines += log.after(1, FAILED, *[LOADED] * 9)
    assert len(lines) == 20
    assert lines[:2] == [
        (
            "60 of 591 loads failed in the last 59 s, 0 stale answers were given; "
            "loads have failed for 59 s, the last with 'down'"
        ),
        "loads succeed again after 59 s: 60 loads failed, 0 stale answers were given",
    ]


def test_a_traceback_comes_once_in_an_interval(log: Log) -> None:
    """A load that raises each time, and succeeds in between, fills no log."""
    lines: list[str] = []
    for _ in range(121):
        lines += log.after(1, RAISED, LOADED)
    assert lines.count(RAISED_LINE) == 3
    assert len(lines) <= 8


def test_failures_that_had_no_line_are_told_once_they_are_over(log: Log) -> None:
    """What began within the interval after a line, and ended, is told at the first success after it."""
    assert len(log.after(0, FAILED, LOADED)) == 2
    assert log.after(10, FAILED, STALE, LOADED) == []
    assert log.after(51, LOADED) == ["loads succeed again after 51 s: 1 load failed, 1 stale answer was given"]
    assert log.after(60, FAILED) == [FAILED_LINE]


def test_an_interrupted_load_is_no_failure(log: Log) -> None:
    """Whoever cancels a load has no news of its source."""
    assert log.after(0, LoadRaised("k", KeyboardInterrupt(), background=False)) == []
    assert log.after(0, FAILED) == [FAILED_LINE]


def test_stale_answers_outside_of_an_outage_are_told_now_and_then(log: Log) -> None:
    """The first, and then how many there were."""
    line = "a stale value of 'k' was given; the error behind it: 'down'"
    assert log.after(0, *[STALE] * 12) == [line]
    assert log.after(60, STALE, STALE) == [
        "12 stale answers were given in the last 60 s, the last one of 'k'; the error behind it: 'down'"
    ]
    assert log.after(600, *[STALE]) == [
        "2 stale answers were given in the last 10 min, the last one of 'k'; the error behind it: 'down'"
    ]
    assert log.after(60, STALE) == [line]


def test_dropped_background_loads_are_told_now_and_then(log: Log) -> None:
    """In an outage, too: they say that there is no room, and not that the source is down."""
    assert log.after(0, *[REFUSED] * 3) == ["the background load of 'k' was dropped: the queue was full"]
    assert log.after(60, REFUSED) == [
        "3 background loads were dropped in the last 60 s, the last one of 'k': the queue was full"
    ]


def test_what_has_no_line_of_its_own_is_there_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    """Each event is one record for debugging at least, and none has a traceback twice."""
    told = Log(caplog, logging.DEBUG)
    for event in (RAISED, RAISED, STALE, STALE, REFUSED, REFUSED):
        told(event)
    found = [(vars(record)["event"], record.levelno, record.exc_info is not None) for record in told.records()]
    assert found == [
        (RAISED, logging.ERROR, True),
        (RAISED, logging.DEBUG, False),
        (STALE, logging.DEBUG, False),
        (STALE, logging.DEBUG, False),
        (REFUSED, logging.WARNING, False),
        (REFUSED, logging.DEBUG, False),
    ]


def test_each_cache_has_its_own_outage(log: Log) -> None:
    """One that is well says nothing of one that is not."""
    clock = ManualClock()
    caches = {name: LastCache[str, str, str](clock=clock, observer=log, name=name) for name in ("users", "orders")}
    for cache in caches.values():
        cache.load_or_store("k", gives(failed("down", use_stale=True)))
    caches["users"].load_or_store("k", gives(Success("v")))
    assert [record.getMessage() for record in log.records()] == [
        "cache users: load of 'k' failed after 0 ms, stale data may cover it: 'down'",
        "cache orders: load of 'k' failed after 0 ms, stale data may cover it: 'down'",
        "cache users: loads succeed again after 0 ms: 1 load failed, 0 stale answers were given",
    ]


def test_an_outage_of_a_real_cache_counts_the_answers_inside_of_extensions(log: Log) -> None:
    """The source is asked every ten seconds, and every caller in between is counted."""
    clock = log.clock
    config = Config(global_ttl=SECOND, extend_ttl=10 * SECOND)
    cache = LastCache[str, str, str](config, clock=clock, observer=log, name="users")
    cache.set("k", "old")
    lines: list[str] = []
    for outcome in [failed("down", use_stale=True)] * 100 + [Success("new")] * 20:
        clock.advance(SECOND)
        cache.load_or_store("k", gives(outcome))
        lines += [record.getMessage() for record in log.records()]
    assert lines[0] == "cache users: load of 'k' failed after 0 ms, stale data may cover it: 'down'"
    assert [line.partition(": ")[2].partition(";")[0] for line in lines[1:]] == [
        "5 of 5 loads failed in the last 60 s, 61 stale answers were given",
        "loads succeed again after 99 s: 9 loads failed, 99 stale answers were given",
    ]


def test_threads_count_together(caplog: pytest.LogCaptureFixture) -> None:
    """Every failure is in one line, whichever thread it came from."""
    caplog.set_level(logging.INFO)
    clock, start = ManualClock(), threading.Barrier(4)
    tell = log_to(logging.getLogger("users"), clock=clock)

    def fail() -> None:
        start.wait()
        for _ in range(500):
            tell(FAILED)
            tell(STALE)

    for thread in [in_thread(fail) for _ in range(4)]:
        result_of(thread)
    tell(LOADED)
    messages = [record.getMessage() for record in caplog.records]
    caplog.clear()
    assert Counter(messages) == {
        FAILED_LINE: 1,
        "loads succeed again after 0 ms: 2,000 loads failed, 2,000 stale answers were given": 1,
    }


@pytest.mark.parametrize("every", [timedelta(0), -SECOND, 60])
def test_an_interval_is_a_duration(every: Any) -> None:
    """The error names the argument, its value, and what is right."""
    with pytest.raises(ConfigError, match=r"every=.*: must be a timedelta of more than zero"):
        log_to(logging.getLogger("users"), every=every)


def test_all_of_several_observers_are_told() -> None:
    """Each observer is told in turn, and what one raises does not keep the others from it."""
    told: list[object] = []

    def broken(event: Event[str, str]) -> None:
        told.append("broken")
        raise BROKEN

    with pytest.raises(ValueError, match="broken"):
        all_of(told.append, broken, told.append)(Joined("k"))
    assert told == [Joined("k"), "broken", Joined("k")]
