"""How events read in a log: one template for each kind, so that logs can be grouped by it, and its values."""

import logging
from datetime import timedelta
from typing import Final, NamedTuple, final

from lastcache.events import (
    ChangedElsewhere,
    Event,
    Evicted,
    Joined,
    Loaded,
    LoadFailed,
    LoadRaised,
    LoadStarted,
    PushBack,
    PushLost,
    RefreshRefused,
    RefreshStarted,
    ServedStale,
    StoreAway,
    StoreBack,
    StoreOutran,
    StoreServed,
    StoreSkipped,
    StoreUnread,
    Swept,
    Waited,
    WaitedElsewhere,
)


@final
class Line(NamedTuple):
    """One line of a log; ``raised`` is what has its traceback in it."""

    level: int
    template: str
    values: tuple[object, ...]
    raised: BaseException | None = None

    def quietly(self) -> "Line":
        """Give this line for debugging, without a traceback."""
        return Line(logging.DEBUG, self.template, self.values)

    def about(self, cache: str) -> "Line":
        """Name the cache, if it has a name."""
        if not cache:
            return self
        return self._replace(template=f"cache %s: {self.template}", values=(cache, *self.values))


_OF_KEY: Final[dict[type, str]] = {
    Joined: "a caller waits for the load of %r",
    RefreshStarted: "a background load of %r was begun",
    Evicted: "%r had to make room for another key",
    Swept: "%r was dropped: it could never be given again",
    StoreServed: "the store had a value of %r",
    StoreOutran: "something newer than what was loaded for %r was written elsewhere",
}
_OF_WAIT: Final[dict[type, str]] = {
    Waited: "a caller has waited %s for the load of %r",
    WaitedElsewhere: "a caller has waited %s for another process to load %r",
}
_WITH_REASON: Final[dict[type, str]] = {
    RefreshRefused: "the background load of %r was dropped: %s",
    StoreSkipped: "other processes do not know of %r: %s",
    StoreUnread: "what the store has of %r counts as nothing: %s",
}


def line_of(event: Event[object, object]) -> Line:
    """Say what happened, at the level that it has by itself.

    >>> line_of(Joined("ada")).about("users")
    Line(level=10, template='cache %s: a caller waits for the load of %r', values=('users', 'ada'), raised=None)
    """
    match event:
        case LoadRaised() | LoadFailed():
            return _line_of_bad_load(event)
        case ServedStale(key, err):
            return Line(logging.INFO, "a stale value of %r was given; the error behind it: %r", (key, err))
        case RefreshRefused(key, reason) | StoreSkipped(key, reason) | StoreUnread(key, reason):
            return Line(logging.WARNING, _WITH_REASON[type(event)], (key, reason))
        case _:
            return _line_of_course(event)


def _line_of_bad_load(event: LoadRaised[object] | LoadFailed[object, object]) -> Line:
    load = load_of(background=event.background)
    if isinstance(event, LoadFailed):
        may = "may" if event.use_stale else "must not"
        why = (load, event.key, lasted(event.took), may, event.err)
        return Line(logging.WARNING, "%s of %r failed after %s, stale data %s cover it: %r", why)
    values = (load, event.key, lasted(event.took), event.exception)
    if isinstance(event.exception, Exception):
        return Line(logging.ERROR, "%s of %r raised after %s: %r", values, event.exception)
    return Line(logging.DEBUG, "%s of %r was interrupted after %s: %r", values)


def _line_of_course(event: Event[object, object]) -> Line:
    match event:
        case LoadStarted(key, background):
            return Line(logging.DEBUG, "%s of %r begins", (load_of(background=background), key))
        case Loaded(key, took, background):
            return Line(logging.DEBUG, "%s of %r took %s", (load_of(background=background), key, lasted(took)))
        case Waited(key, took) | WaitedElsewhere(key, took):
            return Line(logging.DEBUG, _OF_WAIT[type(event)], (lasted(took), key))
        case StoreAway() | StoreBack() | ChangedElsewhere():
            return _line_of_store(event)
        case PushLost() | PushBack():
            return _line_of_push(event)
        case _:
            return Line(logging.DEBUG, _OF_KEY[type(event)], (event.key,))


def _line_of_store(event: StoreAway | StoreBack | ChangedElsewhere[object]) -> Line:
    match event:
        case StoreAway(failure):
            return Line(logging.WARNING, "the store is away (%s): %s", (failure.trouble.value, failure.detail))
        case StoreBack(away_for, owed):
            return Line(
                logging.WARNING,
                "the store is back after %s; it is to be told of %s",
                (lasted(away_for), counted(owed, "change")),
            )
        case ChangedElsewhere(None):
            return Line(logging.INFO, "everything was cleared in another process", ())
        case ChangedElsewhere(key, how):
            return Line(logging.DEBUG, "%r was %s in another process", (key, how))


def _line_of_push(event: PushLost | PushBack) -> Line:
    match event:
        case PushLost(failure):
            why = (failure.trouble.value, failure.detail)
            return Line(logging.WARNING, "changes elsewhere are no longer heard at once (%s): %s", why)
        case PushBack(lost_for):
            return Line(logging.WARNING, "changes elsewhere are heard at once again, after %s", (lasted(lost_for),))


def load_of(*, background: bool) -> str:
    """Name a load."""
    return "background load" if background else "load"


def lasted(duration: timedelta) -> str:
    """Write a duration as one reads it at a glance.

    >>> [lasted(timedelta(seconds=seconds)) for seconds in (0.25, 2.5, 83, 5400)]
    ['250 ms', '2.5 s', '83 s', '90 min']
    """
    seconds = duration.total_seconds()
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:  # noqa: PLR2004  # a decimal tells something up to here
        return f"{seconds:.1f} s"
    if seconds < 600:  # noqa: PLR2004  # ten minutes
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min"


def counted(number: int, what: str) -> str:
    """Write how many there were.

    >>> counted(1, "load"), counted(3900, "stale answer")
    ('1 load', '3,900 stale answers')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"
