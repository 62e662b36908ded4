"""What holds after every test: no flight and no thread is left, and nothing was logged that nobody asked for."""

import gc
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import settings

from lastcache._forks import kept_over_forks
from lastcache._loads import Loads
from tests.kit import PATIENCE

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def flights_left() -> list[object]:
    """The flights that are attached in the caches that are alive, each cache's in a dict of its own."""
    return [kept.state.table.flights for kept in kept_over_forks() if isinstance(kept, Loads)]


@pytest.fixture(autouse=True)
def nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After every test no flight is left in any cache, no thread that it started, and no log record not taken back."""
    before = set(threading.enumerate())
    yield
    gave_up_at = time.monotonic() + PATIENCE
    while (left := [t for t in threading.enumerate() if t not in before]) and time.monotonic() < gave_up_at:
        # A thread that is just starting cannot be joined yet.
        with suppress(RuntimeError):
            left[0].join(0.1)
    gc.collect()
    assert left == []
    assert [flights for flights in flights_left() if flights] == []
    assert [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.WARNING] == []
