"""Observers that are ready to use: one that logs, and one made of several."""

import logging
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from threading import RLock
from typing import TypeVar, final

from lastcache._checks import MICROSECOND, check_duration, checked_clock, nanoseconds
from lastcache._lines import Line
from lastcache._outages import CacheLog
from lastcache._shell.forks import reset_in_children
from lastcache.events import Event, Observer

__all__ = ["all_of", "log_to"]

K = TypeVar("K")
E = TypeVar("E")


def log_to(
    logger: logging.Logger,
    *,
    every: timedelta = timedelta(minutes=1),
    clock: Callable[[], int] = time.monotonic_ns,
) -> Callable[[Event[object, object]], None]:
    """Make an observer that logs what somebody should read, and not a line for each load that fails in an outage.

    For each cache it logs the first load that fails as a warning, and the first that raises as an error with its
    traceback; then one warning in ``every`` that counts what happened since; then one when loads succeed again. Stale
    answers in between are counted in those lines. Outside of an outage they are information, dropped background loads
    are warnings, and of both there is the first, and then one line in ``every`` that says how many.
    All else, and each event that has no line of its own, is for debugging. ``clock`` gives nanoseconds.

    Each kind of line has one template, and its record's ``event`` is the event that it was written at. Caches are told
    apart by their names. Keys and errors are written out: mind what they tell. Raises ``ConfigError``.

    >>> from lastcache import LastCache, failed
    >>> logger = logging.getLogger("doctest")
    >>> logger.addHandler(logging.StreamHandler(__import__("sys").stdout))
    >>> cache = LastCache[str, int, str](name="answers", observer=log_to(logger), clock=lambda: 0)
    >>> _ = cache.load_or_store("answer", lambda key: failed("connection lost", use_stale=True))
    cache answers: load of 'answer' failed after 0 ms, stale data may cover it: 'connection lost'
    """
    check_duration("every", every, at_least=MICROSECOND, right="a timedelta of more than zero")
    return _Log(logger, nanoseconds(every), checked_clock(clock)).hear


@final
class _Log:
    """Decides under a lock, which a signal handler of its thread may take again, and writes outside of it."""

    def __init__(self, logger: logging.Logger, every: int, clock: Callable[[], int]) -> None:
        self._logger = logger
        self._clock = clock
        self._caches = defaultdict[str, CacheLog](partial(CacheLog, every))
        self._lock = RLock()
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Begin with a free lock, as the child of a fork must."""
        self._lock = RLock()

    def hear(self, event: Event[object, object]) -> None:
        with self._lock:
            lines = self._caches[event.cache].lines(event, self._clock())
        for line in lines:
            self._write(line.about(event.cache), event)

    def _write(self, line: Line, event: Event[object, object]) -> None:
        self._logger.log(line.level, line.template, *line.values, exc_info=line.raised, extra={"event": event})


def all_of(*observers: Observer[K, E]) -> Observer[K, E]:
    """Make one observer of several: each is told, in turn, whatever the others raise.

    >>> from lastcache import LastCache
    >>> cache = LastCache[str, int, str](observer=all_of(print, print))
    >>> cache.expire("answer")
    """

    def tell(event: Event[K, E]) -> None:
        with ExitStack() as told:
            for observer in reversed(observers):
                told.callback(observer, event)

    return tell
