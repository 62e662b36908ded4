"""The cache for threads.

A hit reads one dict, asks the clock once and compares once: an entry holds the answer, and the instant until which it
stands. Whatever else there is to decide, the script of a call does: ``_shell.calls``.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, final

from returns.result import Result, Success

from lastcache._checks import NOTHING, check_duration
from lastcache._shell.facade import CacheBase
from lastcache._shell.flight import Stale
from lastcache._shell.thread_place import Callback
from lastcache._shell.threads import ThreadShell
from lastcache.config import Config
from lastcache.core.states import Outcome
from lastcache.events import Event
from lastcache.records import CachedValue
from lastcache.views import DemandingCache, Revalidation, ThreadCache, without_refresh

__all__ = ["DemandingCache", "LastCache", "Revalidation", "ThreadCache"]

if TYPE_CHECKING:
    from lastcache.second.options import Second

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
Ctx = TypeVar("Ctx")


@final
class LastCache(ThreadCache[K, V, E], CacheBase[K, V, E, Callback[K, V, E]]):
    """An in-memory cache of ``K`` to ``V`` that keeps answering when the source fails with ``E`` or is slow.

    Safe to share between threads. Per key at most one callback runs at a time, and everyone who needs it waits for it.
    It grows with the keys that are loaded unless ``max_entries`` or both windows are set.

    A callback gives ``Success(value)`` or ``Failure(LoadFailure(err, use_stale))``; ``E`` must not include ``None``.
    One that raises breaks its contract: the exception goes to everyone who waited, and nothing is stored.
    Errors of misuse: ``ConfigError`` for an option or a clock that is none, ``ReentrantLoadError`` for a callback that
    would wait for itself, ``TypeError`` for a callback that returns something else, and ``CacheClosedError``.

    ``clock`` gives nanoseconds, and must not go back. ``ttl_for`` gives a value a TTL of its own; zero stores it
    expired. It is called after the callback, as a part of it, and for what is ``set`` without a TTL.
    ``observer`` is told what happens off the hit path, see ``lastcache.events``; ``name`` is what events, logs and
    metrics call this cache. ``executor`` is a function that has
    what it is given run elsewhere, such as the ``submit`` of a pool; without one, background loads run in daemon
    threads, which do not hold up the interpreter's exit.

    ``second`` is a store beside the cache, which outlives the process and is shared with others, see
    ``lastcache.second``. It is asked before a load and told of every change; while it does not answer, the cache works
    as without it.

    >>> from datetime import timedelta
    >>> from returns.result import Success
    >>> cache = LastCache[str, int, str](Config(global_ttl=timedelta(minutes=5)))
    >>> cache.load_or_store("answer", lambda key: Success(42))
    <Success: CachedValue(value=42, stale=False, err=None)>
    """

    __slots__ = ()

    def __init__(
        self,
        config: Config = Config(),
        *,
        clock: Callable[[], int] = time.monotonic_ns,
        ttl_for: Callable[[V], timedelta] | None = None,
        observer: Callable[[Event[K, E]], None] | None = None,
        executor: Callable[[Callable[[], object]], object] | None = None,
        name: str = "",
        second: "Second[K, V] | None" = None,
    ) -> None:
        self._calls: ThreadShell[K, V, E] = ThreadShell(config, clock, ttl_for, observer, executor, name, second)
        super().__init__(self._calls, clock, counted=config.count_hits)

    def load_or_store(self, key: K, callback: Callable[[K], Outcome[V, E]]) -> Result[CachedValue[V, E], E]:
        """Give the value of ``key``, loading it when it is missing or expired: stale-if-error (RFC 5861, section 4).

        If the load of an expired value fails and the failure allows it, the expired value is given, marked stale.
        Waits for the callback, its own or that of whoever came first; with ``soft_timeout`` no longer than that where
        there is an expired value to give, and the load goes on in the background.
        """
        try:
            entry = self._entries[key]
            if self._clock() <= entry.until:
                if self._bounded:
                    entry.node.visited = True  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # held
                return entry.answer
            del entry
        except KeyError:
            pass
        return self._calls.load(key, callback)

    def async_load_or_store(self, key: K, callback: Callable[[K], Outcome[V, E]]) -> Result[Revalidation[V, E], E]:
        """Give the value of ``key``, an expired one at once: stale-while-revalidate (RFC 5861, section 3).

        The load of an expired value runs behind the answer, in a worker thread, and ends in ``refresh``.
        A missing value is loaded in the foreground, and so is one whose last failure did not allow stale data.
        The callback sees the context variables of the caller.
        """
        try:
            entry = self._entries[key]
            if self._clock() <= entry.until:
                if self._bounded:
                    entry.node.visited = True  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # held
                return entry.answer.map(without_refresh)
            del entry
        except KeyError:
            pass
        given = self._calls.revalidate(key, callback)
        if isinstance(given, Stale):
            return Success(Revalidation(given.cached, self._calls.refresh_of(given.job)))
        return given.map(without_refresh)

    def load_or_store_many(
        self, keys: Iterable[K], callback: Callable[[tuple[K, ...]], Mapping[K, Outcome[V, E]]]
    ) -> dict[K, Result[CachedValue[V, E], E]]:
        """Do as ``load_or_store`` does for each of ``keys``, with one call for all that need a load.

        The callback is given those keys, and returns a mapping from key to outcome. What is loaded by others is joined,
        after the own keys have landed, so that two calls that overlap cannot wait for each other. The answer has the
        keys in the order in which they came. ``soft_timeout`` is of no effect here.
        If the callback raises, or an outcome is missing, wrong or surplus (a ``TypeError``), the others are stored.

        >>> from returns.result import Success
        >>> cache = LastCache[str, int, str]()
        >>> cache.set("a", 1)
        >>> cache.load_or_store_many("ab", lambda keys: {key: Success(ord(key)) for key in keys})["b"]
        <Success: CachedValue(value=98, stale=False, err=None)>
        """
        return self._calls.load_many(keys, callback)

    def settled(self, timeout: timedelta) -> bool:
        """Say whether the store of the second level knows every change that was made here; wait for that if need be.

        ``timeout`` is the longest wait, zero for none. A ``set``, ``delete``, ``expire`` or ``clear`` tells the store
        before it returns; where that was away, it is told once it is back. Without a second level it is True at once.
        Raises ``ConfigError`` for a negative ``timeout``, and ``CacheClosedError``.

        >>> cache = LastCache[str, int, str]()
        >>> cache.settled(timedelta(0))
        True
        """
        self._calls.check_open()
        check_duration("timeout", timeout, at_least=NOTHING, right="a timedelta of zero or more")
        return self._calls.wait_settled(timeout.total_seconds())

    def __enter__(self) -> Self:
        self._calls.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._calls.flush()
        finally:
            self.close()
