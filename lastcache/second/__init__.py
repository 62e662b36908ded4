"""A second level: a store beside the cache, which outlives the process and is shared by many.

``LastCache(second=Second(...))``, or ``AsyncLastCache``: before a load the cache asks the store, and tells it what the
load brought. ``SqliteStore`` (``lastcache.second.sqlite``) is for the processes of one machine; ``MemoryStore``
(``lastcache.second.memory``) is for tests. Values become bytes by a codec, see ``lastcache.second.codecs``.

>>> from lastcache import LastCache
>>> from lastcache.second.codecs import json_codec
>>> from lastcache.second.memory import MemoryStore
>>> from returns.result import Success
>>> second = Second(store=MemoryStore(), codec=json_codec("number-1"), namespace="numbers")
>>> one, other = LastCache(second=second), LastCache(second=second)
>>> one.load_or_store("answer", lambda key: Success(42))
<Success: CachedValue(value=42, stale=False, err=None)>
>>> other.load_or_store("answer", lambda key: Success(0))
<Success: CachedValue(value=42, stale=False, err=None)>
"""

from lastcache.second.options import Second

__all__ = ["Second"]
