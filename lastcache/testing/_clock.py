"""A clock that stands still."""

from datetime import timedelta

from lastcache._checks import nanoseconds


class ManualClock:
    """A clock for a cache that moves only when it is told to; ``now`` is in nanoseconds.

    >>> clock = ManualClock()
    >>> before = clock()
    >>> clock.advance(timedelta(seconds=3))
    >>> clock() - before
    3000000000
    """

    def __init__(self, now: int = 1_000_000_000) -> None:
        self.now: int = now

    def __call__(self) -> int:
        return self.now

    def advance(self, duration: timedelta) -> None:
        """Move by ``duration``: back, if it is negative."""
        self.now = self.now + nanoseconds(duration)
