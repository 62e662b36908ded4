"""The observers that are ready to use: one that logs, and one made of several."""

import logging
from datetime import timedelta

import pytest

from lastcache.events import Event, Joined, LoadFailed, LoadRaised, ServedStale
from lastcache.observers import all_of, log_to

SECOND = timedelta(seconds=1)
BROKEN = ValueError("broken")


def test_logging_by_what_an_event_means(caplog: pytest.LogCaptureFixture) -> None:
    """Each event is one record, whose level says how bad it is, with the traceback of what was raised."""
    caplog.set_level(logging.DEBUG)
    log = log_to(logging.getLogger("users"))
    events: list[Event[str, str]] = [
        LoadRaised("k", BROKEN, background=False),
        LoadFailed("k", "down", use_stale=True, took=SECOND, background=True),
        ServedStale("k", None),
        Joined("k"),
    ]
    for event in events:
        log(event)
    found = [(record.levelno, record.getMessage(), vars(record)["event"]) for record in caplog.records]
    levels = [logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG]
    assert found == [(level, repr(event), event) for level, event in zip(levels, events, strict=True)]
    assert [record.exc_info is not None for record in caplog.records] == [True, False, False, False]
    caplog.clear()


def test_all_of_several_observers_are_told() -> None:
    """Each observer is told in turn, and what one raises does not keep the others from it."""
    told: list[object] = []

    def broken(event: Event[str, str]) -> None:
        told.append("broken")
        raise BROKEN

    with pytest.raises(ValueError, match="broken"):
        all_of(told.append, broken, told.append)(Joined("k"))
    assert told == [Joined("k"), "broken", Joined("k")]
