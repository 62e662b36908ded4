"""The cache as a stage of pipelines on ``returns``.

Everything here is curried in one order: the cache first, the callback next, the key last. So ``cached(cache)`` is a
decorator, and ``cached(cache)(callback)`` a function of the key for ``flow`` and ``pipe``. The names that begin with
``future_`` are for ``AsyncLastCache``, and answer with containers of the future, which are awaited.
"""

from lastcache.pipelines._adapters import future_stale_if, future_stale_on, stale_if, stale_on
from lastcache.pipelines._cached_values import (
    collected,
    error_of,
    fresh_only,
    or_stale_warning,
    together,
    value_of,
    zipped,
)
from lastcache.pipelines._stages import (
    cached,
    context_cached,
    context_cached_in,
    future_cached,
    future_context_cached,
    future_context_cached_in,
    future_revalidating,
    revalidating,
)

__all__ = [
    "cached",
    "collected",
    "context_cached",
    "context_cached_in",
    "error_of",
    "fresh_only",
    "future_cached",
    "future_context_cached",
    "future_context_cached_in",
    "future_revalidating",
    "future_stale_if",
    "future_stale_on",
    "or_stale_warning",
    "revalidating",
    "stale_if",
    "stale_on",
    "together",
    "value_of",
    "zipped",
]
