"""The cache as a stage of pipelines on ``returns``.

Everything here is curried in one order: the cache first, the callback next, the key last. So ``cached(cache)`` is a
decorator, and ``cached(cache)(callback)`` a function of the key for ``flow`` and ``pipe``. What it gives is called as
the callback is, and has handles on the entry of each call: ``CachedFunction``.

A prefix names the container: ``io_`` is for callbacks in ``IO``, ``task_`` gives awaitables, and ``future_`` gives
containers of the future, which are awaited; the last two are for ``AsyncLastCache``.
"""

from lastcache.pipelines._adapters import (
    future_stale_if,
    future_stale_on,
    io_stale_if,
    io_stale_on,
    stale_if,
    stale_on,
)
from lastcache.pipelines._cached_values import (
    collected,
    error_of,
    fold,
    folding,
    fresh_only,
    or_stale_warning,
    together,
    value_of,
    value_or_raise,
    zipped,
)
from lastcache.pipelines._contexts import (
    context_cached,
    context_cached_in,
    future_context_cached,
    future_context_cached_in,
    io_context_cached,
    io_context_cached_in,
)
from lastcache.pipelines._functions import CachedFunction
from lastcache.pipelines._many import CachedManyFunction
from lastcache.pipelines._tasks import (
    future_cached,
    future_revalidating,
    task_cached,
    task_cached_many,
    task_revalidating,
)
from lastcache.pipelines._threads import cached, cached_many, io_cached, revalidating

__all__ = [
    "CachedFunction",
    "CachedManyFunction",
    "cached",
    "cached_many",
    "collected",
    "context_cached",
    "context_cached_in",
    "error_of",
    "fold",
    "folding",
    "fresh_only",
    "future_cached",
    "future_context_cached",
    "future_context_cached_in",
    "future_revalidating",
    "future_stale_if",
    "future_stale_on",
    "io_cached",
    "io_context_cached",
    "io_context_cached_in",
    "io_stale_if",
    "io_stale_on",
    "or_stale_warning",
    "revalidating",
    "stale_if",
    "stale_on",
    "task_cached",
    "task_cached_many",
    "task_revalidating",
    "together",
    "value_of",
    "value_or_raise",
    "zipped",
]
