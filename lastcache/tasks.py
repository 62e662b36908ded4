"""The cache for tasks: of asyncio and trio, and of several event loops at once.

A hit is that of the cache for threads: it awaits nothing. Whatever else there is to decide, the script of a call does:
``_shell.calls``.
"""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, final

from returns.io import IOResult
from returns.result import Result

from lastcache._shell.facade import CacheBase
from lastcache._shell.flight import Stale
from lastcache.config import Config
from lastcache.core.states import Outcome
from lastcache.events import Event
from lastcache.records import CachedValue, LoadFailure

try:
    from lastcache._checks import NOTHING, check_duration
    from lastcache._shell.awaited import Callback
    from lastcache._shell.loops import refresh_of
    from lastcache._shell.tasks import TaskShell
    from lastcache.task_views import AsyncDemandingCache, AsyncRevalidation, TaskCache, without_refresh
except ImportError as _missing:
    raise ImportError("lastcache.tasks needs anyio: pip install 'lastcache[anyio]'") from _missing

__all__ = ["AsyncDemandingCache", "AsyncLastCache", "AsyncRevalidation", "TaskCache"]

if TYPE_CHECKING:
    from lastcache.second.options import Second

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
Ctx = TypeVar("Ctx")


@final
class AsyncLastCache(TaskCache[K, V, E], CacheBase[K, V, E, Callback[K, V, E]]):
    """``LastCache`` for asyncio and trio: the same rules, with callbacks that are awaited.

    A callback is an async function that returns ``Success(value)`` or ``Failure(LoadFailure(err, use_stale))``, or a
    function that returns a ``FutureResult`` of the same. It runs in the task of the caller who leads the load; if that
    caller is cancelled, one of those who wait takes the load over with its own callback.

    ``async with cache:`` is the block in which loads run in the background: ``async_load_or_store`` needs it. Leaving
    the block cancels them and waits for them to end, and keeps what is stored. A cache may be entered again, and in
    several event loops at once; per key and loop at most one callback runs at a time.

    ``load_or_store`` needs no block. A hit awaits nothing: it is no checkpoint.

    ``second`` is a store beside the cache, which outlives the process and is shared with others, see
    ``lastcache.second``. It is called in threads of the cache's own; ``set``, ``delete``, ``expire`` and ``clear`` have
    one of them tell it soon, and ``await cache.settled(...)`` waits for that.

    >>> import anyio
    >>> from returns.result import Success
    >>> async def load(key: str) -> Result[int, LoadFailure[str]]:
    ...     return Success(42)
    >>> cache = AsyncLastCache[str, int, str]()
    >>> anyio.run(cache.load_or_store, "answer", load)
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
        name: str = "",
        second: "Second[K, V] | None" = None,
    ) -> None:
        self._calls: TaskShell[K, V, E] = TaskShell(config, clock, ttl_for, observer, name, second)
        super().__init__(self._calls, clock, counted=config.count_hits)

    async def load_or_store(
        self, key: K, callback: Callable[[K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]]
    ) -> Result[CachedValue[V, E], E]:
        """Give the value of ``key``, loading it when it is missing or expired: stale-if-error (RFC 5861, section 4).

        If the load of an expired value fails and the failure allows it, the expired value is given, marked stale.
        Waits for the callback, its own or that of whoever came first in this event loop; inside a block and with
        ``soft_timeout`` no longer than that where there is an expired value to give, and the load goes on behind it.
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
        return await self._calls.load(key, callback)

    async def async_load_or_store(
        self, key: K, callback: Callable[[K], Awaitable[Outcome[V, E] | IOResult[V, LoadFailure[E]]]]
    ) -> Result[AsyncRevalidation[V, E], E]:
        """Give the value of ``key``, an expired one at once: stale-while-revalidate (RFC 5861, section 3).

        The load of an expired value runs behind the answer, in a task of the block, and ends in ``refresh``.
        A missing value is loaded in the foreground, and so is one whose last failure did not allow stale data.
        The callback sees the context variables of the caller.
        Raises ``RuntimeError`` where the running event loop is not inside ``async with cache:``.
        """
        self._calls.check_entered()
        try:
            entry = self._entries[key]
            if self._clock() <= entry.until:
                if self._bounded:
                    entry.node.visited = True  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # held
                return entry.answer.map(without_refresh)
            del entry
        except KeyError:
            pass
        step = await self._calls.revalidate(key, callback)
        if isinstance(step, Stale):
            return self._calls.give(key, step).map(lambda cached: AsyncRevalidation(cached, refresh_of(step.job)))
        return self._calls.give(key, step).map(without_refresh)

    async def load_or_store_many(
        self, keys: Iterable[K], callback: Callable[[tuple[K, ...]], Awaitable[Mapping[K, Outcome[V, E]]]]
    ) -> dict[K, Result[CachedValue[V, E], E]]:
        """Do as ``load_or_store`` does for each of ``keys``, with one call for all that need a load.

        The callback is given those keys, and returns a mapping from key to outcome. What is loaded by others is joined,
        after the own keys have landed, so that two calls that overlap cannot wait for each other. The answer has the
        keys in the order in which they came. ``soft_timeout`` is of no effect here.
        If the callback raises, or an outcome is missing, wrong or surplus (a ``TypeError``), the others are stored.
        """
        return await self._calls.load_many(keys, callback)

    async def settled(self, timeout: timedelta) -> bool:  # noqa: ASYNC109  # as in threads: what it says is an answer
        """Say whether the store of the second level knows every change that was made here; wait for that if need be.

        ``timeout`` is the longest wait, zero for none. ``set``, ``delete``, ``expire`` and ``clear`` are plain calls,
        which have a thread tell the store. Without a second level it is True at once.
        Raises ``ConfigError`` for a negative ``timeout``, and ``CacheClosedError``.
        """
        self._calls.check_open()
        check_duration("timeout", timeout, at_least=NOTHING, right="a timedelta of zero or more")
        return await self._calls.wait_settled(timeout.total_seconds())

    async def __aenter__(self) -> Self:
        await self._calls.enter()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._calls.leave(raised=raised is not None)
