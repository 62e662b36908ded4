"""An in-memory cache for strictly typed Python that keeps answering when its source is slow or down."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lastcache.config import Config
    from lastcache.core.explain import Explanation
    from lastcache.core.states import Strategy
    from lastcache.errors import CacheClosedError, ConfigError, LoadDroppedError, ReentrantLoadError
    from lastcache.records import CachedValue, LoadFailure, StoredEntry, failed
    from lastcache.threads import LastCache, Revalidation
else:
    # Each name is imported when it is first asked for (PEP 562): who needs a part of the package pays for that part.
    _MODULES = ("config", "errors", "events", "records", "threads")
    _MODULE_OF = {
        "CacheClosedError": "errors",
        "CachedValue": "records",
        "Config": "config",
        "ConfigError": "errors",
        "Explanation": "core.explain",
        "LastCache": "threads",
        "LoadDroppedError": "errors",
        "LoadFailure": "records",
        "ReentrantLoadError": "errors",
        "Revalidation": "threads",
        "StoredEntry": "records",
        "Strategy": "core.states",
        "failed": "records",
    }

    def __getattr__(name: str) -> object:
        from importlib import import_module

        if name in _MODULES:
            return import_module(f"lastcache.{name}")
        if name not in _MODULE_OF:
            raise AttributeError(f"module 'lastcache' has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(f"lastcache.{_MODULE_OF[name]}"), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_MODULES, *__all__})


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
