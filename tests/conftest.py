"""What holds after every test: no thread is left, and nothing was logged that nobody asked for."""

import gc
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import settings

from tests.kit import PATIENCE

settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


@pytest.fixture(autouse=True)
def nothing_left(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After every test no thread is left that it started, and no log record that it did not take back."""
    before = set(threading.enumerate())
    yield
    gave_up_at = time.monotonic() + PATIENCE
    while (left := [t for t in threading.enumerate() if t not in before]) and time.monotonic() < gave_up_at:
        # A thread that is just starting cannot be joined yet.
        with suppress(RuntimeError):
            left[0].join(0.1)
    gc.collect()
    assert left == []
    assert [r.getMessage() for r in caplog.get_records("call") if r.levelno >= logging.WARNING] == []
