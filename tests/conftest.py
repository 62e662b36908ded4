"""What holds after every test: no flight and no thread is left, and nothing was logged that nobody asked for."""

import gc
import logging
import os
import threading
from collections.abc import Iterator

import pytest
from hypothesis import settings

from lastcache._forks import kept_over_forks
from lastcache._loads import Loads
from tests.kit import counting_joiners, until

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def threads_beside(before: set[threading.Thread]) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread not in before]


def flights_left() -> list[object]:
    """The flights that are attached in the caches that are alive."""
    loads = [kept for kept in kept_over_forks() if isinstance(kept, Loads)]
    return [flight for kept in loads for flight in kept.state.table.flights.values()]


@pytest.fixture(autouse=True, scope="session")
def joiners_are_counted() -> Iterator[None]:
    """Tests can wait until others wait."""
    with counting_joiners():
        yield


@pytest.fixture(autouse=True)
def nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After every test no flight is left in any cache, no thread that it started, and no log record not taken back."""
    before = set(threading.enumerate())
    yield
    until(lambda: not threads_beside(before) and not flights_left())
    gc.collect()
    assert [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.WARNING] == []
