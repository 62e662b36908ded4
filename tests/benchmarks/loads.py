"""The loaders: one that costs next to nothing, and one that takes its time and counts its calls."""

import asyncio
import itertools
import time
from typing import Final, NamedTuple

from returns.result import Success

from tests.benchmarks.caches import Loads

VALUE: Final = 42
READY: Final = Success(VALUE)


def _by_key(key: int) -> int:
    return VALUE


def _bare() -> int:
    return VALUE


def _outcome(key: int) -> Success[int]:
    return Success(VALUE)


def _ready(key: int) -> Success[int]:
    return READY


async def _task(key: int) -> int:
    return VALUE


async def _task_outcome(key: int) -> Success[int]:
    return Success(VALUE)


QUICK: Final = Loads(_by_key, _bare, _outcome, _task, _task_outcome)
PREPARED: Final = QUICK._replace(outcome=_ready)
"""The quick loader without the cost of its own ``Success``."""


class Counted(NamedTuple):
    """A loader, and how often it was called until now."""

    loads: Loads
    calls: "itertools.count[int]"

    def taken(self) -> int:
        """The number of calls. Asked once, as the question counts, too."""
        return next(self.calls)


def slow(seconds: float) -> Counted:
    """Make a loader that waits as if for a source."""
    calls = itertools.count()

    def by_key(key: int) -> int:
        next(calls)
        time.sleep(seconds)
        return VALUE

    async def task(key: int) -> int:
        next(calls)
        await asyncio.sleep(seconds)
        return VALUE

    async def task_outcome(key: int) -> Success[int]:
        return Success(await task(key))

    return Counted(
        Loads(by_key, lambda: by_key(0), lambda key: Success(by_key(key)), task, task_outcome),
        calls,
    )
