"""Other caches, each asked for a value or its load, with a TTL, in the way that its documentation shows.

They are imported where they are opened: what is not installed is reported, and what is not asked for takes no memory.
"""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from tests.benchmarks.caches import Case, Reader, Setup, ThreadCase


def moka_py(setup: Setup) -> Reader:
    """``Moka.get_with``, which loads once for all threads."""
    from moka_py import Moka

    return Reader(Moka[int, int](setup.room, ttl=setup.ttl).get_with, setup.loads.bare)


def cachebox(setup: Setup) -> Reader:
    """``cachebox.cached`` with a ``TTLCache`` and its lock, as by default."""
    from cachebox import TTLCache, cached

    return Reader(cached(TTLCache[int, int](setup.room, setup.ttl))(setup.loads.by_key))


def cacheout(setup: Setup) -> Reader:
    """``Cache.get`` with a function as the default. A miss looks for what has expired among all entries."""
    from cacheout import Cache

    return Reader(Cache(maxsize=setup.room, ttl=setup.ttl).get, setup.loads.by_key)


def theine(setup: Setup) -> Reader:
    """``Cache.get``, and ``Cache.set`` with a TTL after a miss."""
    from theine import Cache

    cache, load, ttl = Cache[int, int](setup.room), setup.loads.by_key, timedelta(seconds=setup.ttl)
    get, put = cache.get, cache.set

    def read(key: int) -> int | None:
        value, found = get(key)
        if not found:
            value = load(key)
            put(key, value, ttl)
        return value

    return Reader(read, close=cache.close)


def theine_memoize(setup: Setup) -> Reader:
    """``Memoize`` with a function for the key, which loads once for all threads."""
    from theine import Memoize

    memoized: Any = Memoize(setup.room, timedelta(seconds=setup.ttl))(_own(setup.loads.by_key))
    memoized.key(lambda key: key)
    return Reader(memoized, close=memoized._cache.close)  # noqa: SLF001  # there is no other way to end its thread's work


def cachetools(setup: Setup) -> Reader:
    """``cached`` with a ``TTLCache`` and a condition, which loads once for all threads."""
    from cachetools import TTLCache, cached

    cache = TTLCache[Any, int](setup.room, setup.ttl)
    return Reader(cached(cache, condition=threading.Condition())(setup.loads.by_key))


def dogpile(setup: Setup) -> Reader:
    """``CacheRegion.get_or_create`` with the backend for memory."""
    return _region(setup, None)


def dogpile_runner(setup: Setup) -> Reader:
    """``CacheRegion.get_or_create`` with the documented ``async_creation_runner``, a thread for each refresh."""
    return _region(setup, refresh_in_a_thread)


def refresh_in_a_thread(region: Any, key: str, creator: Callable[[], object], mutex: Any) -> None:
    """Refresh a value of dogpile.cache as its documentation does."""

    def create() -> None:
        try:
            region.set(key, creator())
        finally:
            mutex.release()

    threading.Thread(target=create).start()


def _region(setup: Setup, runner: Any) -> Reader:
    from dogpile.cache import make_region

    region = make_region(async_creation_runner=runner)
    region.configure("dogpile.cache.memory", expiration_time=setup.ttl)
    return Reader(region.get_or_create, setup.loads.bare)


def cachier(setup: Setup) -> Reader:
    """``cachier`` with the backend for memory and ``next_time``, which gives the stale value and loads behind it."""
    from cachier import cachier as cached
    from cachier.core import _get_executor

    stale_after = timedelta(seconds=setup.ttl)
    read = cached(backend="memory", stale_after=stale_after, next_time=True)(_own(setup.loads.by_key))

    def close() -> None:
        # Loads that it queued would run on beside the caches that come after.
        executor: Any = _get_executor
        executor().shutdown(cancel_futures=True)
        executor(reset=True)

    return Reader(read, close=close)


def _own(load: Callable[[int], int]) -> Callable[[int], int]:
    """Make a function of its own: some decorators keep what they cached by the name of the function."""

    def loaded(key: int) -> int:
        return load(key)

    return loaded


PEERS: Final[tuple[ThreadCase, ...]] = (
    Case("moka-py", "moka_py", moka_py),
    Case("cachebox", "cachebox", cachebox),
    Case("cacheout", "cacheout", cacheout, most=10_000),
    Case("theine", "theine", theine),
    Case("theine:memoize", "theine", theine_memoize),
    Case("cachetools", "cachetools", cachetools),
    Case("dogpile.cache", "dogpile", dogpile),
)
CACHIER: Final[ThreadCase] = Case("cachier:next_time", "cachier", cachier)
EXPIRING: Final[tuple[ThreadCase, ...]] = (
    *(case for case in PEERS if case.name in {"moka-py", "theine:memoize", "cachetools", "dogpile.cache"}),
    Case("dogpile.cache:runner", "dogpile", dogpile_runner),
    CACHIER,
)
