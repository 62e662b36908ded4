"""Which events of one cache are worth a line in a log, and what is said of those that are not.

An outage begins with a load that fails or raises, and ends with one that succeeds. It has a line at its beginning, one
for each interval while it lasts, and one at its end. A source that fails now and then would have a beginning and an end
for each of its failures: so what begins within an interval of the last line is not told at once, but counted, and
told when the interval is over. No failure goes untold for longer than that, if there is an event to tell it at.

What was interrupted or cancelled is no failure of the source, and no part of an outage.
"""

import logging
from collections.abc import Callable
from typing import Final, final

from lastcache._checks import duration_of
from lastcache._lines import Line, counted, lasted, line_of
from lastcache.events import Event, Loaded, LoadFailed, LoadRaised, RefreshRefused, ServedStale

KEEPS_FAILING: Final = "%s in the last %s, %s; loads have failed for %s, the last with %r"
SUCCEEDS_AGAIN: Final = "loads succeed again after %s: %s failed, %s"
STALE_SINCE: Final = "%s in the last %s, the last one of %r; the error behind it: %r"
DROPPED_SINCE: Final = "%s in the last %s, the last one of %r: %s"


def given(number: int) -> str:
    """Say how many stale answers were given."""
    return f"{counted(number, 'stale answer')} {were(number)} given"


def dropped(number: int) -> str:
    """Say how many background loads were dropped."""
    return f"{counted(number, 'background load')} {were(number)} dropped"


def were(number: int) -> str:
    """Conjugate."""
    return "was" if number == 1 else "were"


@final
class Outage:
    """What has happened since loads began to fail; ``recent_...`` is since the last line of this cache."""

    __slots__ = (
        "err",
        "failed",
        "raise_told",
        "recent_ended",
        "recent_failed",
        "recent_stale",
        "since",
        "stale",
        "told",
    )

    def __init__(self, since: int) -> None:
        self.since = since
        self.err: object = None
        self.failed = self.stale = 0
        self.told = self.raise_told = False
        self.begin_interval()

    def begin_interval(self) -> None:
        """Count anew what is recent."""
        self.recent_ended = self.recent_failed = self.recent_stale = 0

    def fail(self, err: object) -> None:
        """Count a load that failed with ``err``."""
        self.err = err
        self.failed += 1
        self.recent_failed += 1
        self.recent_ended += 1

    def give_stale(self) -> None:
        """Count a stale answer."""
        self.stale += 1
        self.recent_stale += 1

    def line(self, now: int, told_at: int) -> Line:
        """Say what is recent, and begin another interval."""
        failed = f"{self.recent_failed:,} of {counted(self.recent_ended, 'load')} failed"
        values = (
            failed if self.recent_ended else "no load was tried",
            lasted(duration_of(now - max(told_at, self.since))),
            given(self.recent_stale),
            lasted(duration_of(now - self.since)),
            self.err,
        )
        self.told = True
        self.begin_interval()
        return Line(logging.WARNING, KEEPS_FAILING, values)

    def end_line(self, now: int) -> Line:
        """Say what the outage was. Whoever read of its beginning reads of its end, so it is a warning, too."""
        values = (lasted(duration_of(now - self.since)), counted(self.failed, "load"), given(self.stale))
        return Line(logging.WARNING, SUCCEEDS_AGAIN, values)


@final
class Interval:
    """When a line was written last: there is one in an interval at most."""

    __slots__ = ("_count", "_every", "at")

    def __init__(self, every: int) -> None:
        self._every = every
        self._count = 0
        self.at: int | None = None

    def is_over(self, now: int) -> bool:
        """Whether a line may be written."""
        return self.at is None or now - self.at >= self._every

    def begin(self, now: int) -> int:
        """Write a line; give when the one before was written, or now where there was none."""
        before = now if self.at is None else self.at
        self.at = now
        return before

    def seldom(self, line: Line, now: int, template: str, say: Callable[[int], str]) -> list[Line]:
        """Give the first line of its kind, and then one that says how many there were."""
        self._count += 1
        if not self.is_over(now):
            return [line.quietly()]
        count, self._count = self._count, 0
        since = lasted(duration_of(now - self.begin(now)))
        if count == 1:
            return [line]
        return [line.quietly(), Line(line.level, template, (say(count), since, *line.values))]


@final
class CacheLog:
    """What was said of one cache, for one thread at a time."""

    __slots__ = ("_loads", "_outage", "_raised", "_refused", "_stale")

    def __init__(self, every: int) -> None:
        self._outage: Outage | None = None
        self._loads = Interval(every)
        self._raised = Interval(every)
        self._stale = Interval(every)
        self._refused = Interval(every)

    def lines(self, event: Event[object, object], now: int) -> list[Line]:
        """Give the lines that are to be written at ``event``; the first is its own, for debugging at least."""
        line = line_of(event)
        match event:
            case LoadFailed(err=err):
                return self._fail(line, err, now)
            case LoadRaised(exception=Exception() as err):
                return self._fail(line, err, now)
            case Loaded():
                return [line, *self._succeed(now)]
            case ServedStale():
                return self._give_stale(line, now)
            case RefreshRefused():
                return self._refused.seldom(line, now, DROPPED_SINCE, dropped)
            case _:
                return [line]

    def _fail(self, line: Line, err: object, now: int) -> list[Line]:
        outage = self._outage = self._outage or Outage(now)
        outage.fail(err)
        if not self._deserves_a_line(line, outage, now):
            return [line.quietly(), *self._go_on(outage, now)]
        outage.told = True
        if outage.failed > 1 or not self._loads.is_over(now):
            return [line, *self._go_on(outage, now)]
        self._loads.begin(now)
        outage.begin_interval()
        return [line]

    def _deserves_a_line(self, line: Line, outage: Outage, now: int) -> bool:
        """Whether a failure is told by itself: the first of an outage, and the first that raised."""
        if line.raised is None:
            return outage.failed == 1 and self._loads.is_over(now)
        if outage.raise_told or not self._raised.is_over(now):
            return False
        outage.raise_told = True
        self._raised.begin(now)
        return True

    def _go_on(self, outage: Outage, now: int) -> list[Line]:
        return [outage.line(now, self._loads.begin(now))] if self._loads.is_over(now) else []

    def _succeed(self, now: int) -> list[Line]:
        outage = self._outage
        if outage is None:
            return []
        if not outage.told:
            outage.recent_ended += 1
            if not self._loads.is_over(now):
                return []
            self._loads.begin(now)
        self._outage = None
        return [outage.end_line(now)]

    def _give_stale(self, line: Line, now: int) -> list[Line]:
        if self._outage is None:
            return self._stale.seldom(line, now, STALE_SINCE, given)
        self._outage.give_stale()
        return [line.quietly(), *self._go_on(self._outage, now)]
