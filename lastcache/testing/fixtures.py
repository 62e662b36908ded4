"""A fixture for pytest: put ``pytest_plugins = ["lastcache.testing.fixtures"]`` into the top ``conftest.py``."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final, TypeVar, final

from lastcache.config import Config
from lastcache.events import Event
from lastcache.testing._clock import ManualClock
from lastcache.testing._executors import ManualExecutor
from lastcache.threads import LastCache

try:
    import pytest
except ImportError as _missing:
    raise ImportError("lastcache.testing.fixtures needs pytest: pip install 'lastcache[testing]'") from _missing

__all__ = ["CacheKit", "cache_kit"]

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")


@final
class CacheKit:
    """Opens caches that share a ``clock``, an ``executor`` for their background, and a list of ``events``."""

    def __init__(self) -> None:
        self.clock: Final = ManualClock()
        self.executor: Final = ManualExecutor()
        self.events: Final[list[Event[Any, Any]]] = []
        self._opened: list[LastCache[Any, Any, Any]] = []

    def open(self, config: Config = Config(), *, ttl_for: Callable[[V], timedelta] | None = None) -> LastCache[K, V, E]:  # pyright: ignore[reportInvalidTypeVarUse]  # they are those of what it is assigned to
        """Make a cache; its types are those of what it is assigned to."""
        cache: LastCache[K, V, E] = LastCache(
            config, clock=self.clock, ttl_for=ttl_for, observer=self.events.append, executor=self.executor
        )
        self._opened.append(cache)
        return cache

    def close(self) -> None:
        """Close every cache."""
        for cache in self._opened:
            cache.close()


@pytest.fixture
def cache_kit() -> Iterator[CacheKit]:
    """Open caches whose time stands still and whose background waits to be told; they are closed after the test."""
    kit = CacheKit()
    yield kit
    kit.close()
