"""Observers that are ready to use: one that logs, and one made of several."""

import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Final, TypeVar

from lastcache.events import (
    Event,
    LoadFailed,
    LoadRaised,
    Observer,
    RefreshRefused,
    ServedStale,
)

__all__ = ["all_of", "log_to"]

K = TypeVar("K")
E = TypeVar("E")

_LEVELS: Final[dict[type, int]] = {
    LoadRaised: logging.ERROR,
    LoadFailed: logging.WARNING,
    RefreshRefused: logging.WARNING,
    ServedStale: logging.INFO,
}


def log_to(logger: logging.Logger) -> Callable[[Event[object, object]], None]:
    """Make an observer that logs each event: what a callback raised as an error, with its traceback.

    A failure and a refused refresh are warnings, a stale answer is information, and all else is for debugging.
    The record's ``event`` is the event itself. Keys and errors are written out: mind what they tell.

    >>> from lastcache import LastCache, failed
    >>> logger = logging.getLogger("doctest")
    >>> logger.addHandler(logging.StreamHandler(__import__("sys").stdout))
    >>> cache = LastCache[str, int, str](observer=log_to(logger), clock=lambda: 0)
    >>> _ = cache.load_or_store("answer", lambda key: failed("connection lost", use_stale=True))
    LoadFailed(key='answer', err='connection lost', use_stale=True, took=datetime.timedelta(0), background=False)
    """

    def log(event: Event[object, object]) -> None:
        raised = event.exception if isinstance(event, LoadRaised) else None
        logger.log(_LEVELS.get(type(event), logging.DEBUG), "%r", event, exc_info=raised, extra={"event": event})

    return log


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
