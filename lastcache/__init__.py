"""An in-memory cache for strictly typed Python that keeps answering when its source is slow or down."""

from lastcache.config import Config
from lastcache.core.explain import Explanation
from lastcache.core.states import Strategy
from lastcache.errors import CacheClosedError, ConfigError, LoadDroppedError, ReentrantLoadError
from lastcache.records import CachedValue, LoadFailure, StoredEntry, failed
from lastcache.threads import LastCache, Revalidation

__all__ = [
    "CacheClosedError",
    "CachedValue",
    "Config",
    "ConfigError",
    "Explanation",
    "LastCache",
    "LoadDroppedError",
    "LoadFailure",
    "ReentrantLoadError",
    "Revalidation",
    "StoredEntry",
    "Strategy",
    "failed",
]
