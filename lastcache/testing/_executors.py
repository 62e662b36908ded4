"""Executors: what ``LastCache(executor=...)`` has background loads run by, without a thread of its own."""

from collections import deque
from collections.abc import Callable
from typing import final


def run_inline(work: Callable[[], object]) -> None:
    """Run a background load at once, within the call that gave the stale value.

    >>> from lastcache import LastCache
    >>> from returns.result import Success
    >>> cache = LastCache[str, int, str](executor=run_inline)
    >>> cache.set("answer", 41)
    >>> cache.expire("answer")
    >>> cache.async_load_or_store("answer", lambda key: Success(42)).unwrap().cached
    CachedValue(value=41, stale=True, err=None)
    >>> cache.peek("answer").unwrap()
    CachedValue(value=42, stale=False, err=None)
    """
    work()


@final
class ManualExecutor:
    """Keeps background work until it is told to run it, in the thread that tells; ``len`` is how much waits.

    One piece of work is a worker of the cache: it runs what is queued, one load after the other.

    >>> executor = ManualExecutor()
    >>> executor(lambda: print("a load"))
    >>> len(executor), executor.run_all(), executor.run_next()
    a load
    (1, 1, False)
    """

    def __init__(self) -> None:
        self._waiting = deque[Callable[[], object]]()

    def __call__(self, work: Callable[[], object]) -> None:
        self._waiting.append(work)

    def __len__(self) -> int:
        return len(self._waiting)

    def __bool__(self) -> bool:
        return True

    def run_next(self) -> bool:
        """Run the work that has waited longest, and say whether there was any."""
        if not self._waiting:
            return False
        self._waiting.popleft()()
        return True

    def run_all(self) -> int:
        """Run all work, also what comes meanwhile, and count it."""
        count = 0
        while self.run_next():
            count += 1
        return count
