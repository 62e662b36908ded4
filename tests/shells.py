"""Both shells as one scenario sees them: what waits is awaited, whether a thread waits or a task.

A scenario is an ``async`` test with a ``stage``. In threads nothing that it awaits ever suspends: each step of the
stage waits as threads do, and a callback is driven to its end in the thread that calls it.
"""

import asyncio
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypedDict, TypeVar, Unpack, cast

import anyio
import anyio.lowlevel
import pytest
from anyio.abc import TaskGroup
from returns.result import Result

from lastcache import CachedValue, Config, LastCache
from lastcache._shell.facade import CacheBase
from lastcache.core.states import Answer, Outcome
from lastcache.events import Event, LoadStarted, Observer, Waited
from lastcache.second import Second
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock, ScriptedLoad
from lastcache.testing.tasks import AsyncScriptedLoad
from tests.kit import PATIENCE, error_of, gated, in_thread, result_of, ticks, until

T = TypeVar("T")

LONG: Final = timedelta(seconds=PATIENCE)

Json: TypeAlias = Any
Cache: TypeAlias = CacheBase[str, Json, str, Any]
Load: TypeAlias = Callable[[str], Awaitable[Outcome[Json, str]]]

LoadMany: TypeAlias = Callable[[tuple[str, ...]], Awaitable[Mapping[str, Outcome[Json, str]]]]
TtlFor: TypeAlias = Callable[[Json], timedelta]


class Options(TypedDict, total=False):
    """What a scenario may set beside TTL, extension and workers."""

    stale_if_error: timedelta
    stale_while_revalidate: timedelta
    negative_ttl: timedelta
    soft_timeout: timedelta
    refresh_after: timedelta
    jitter: float
    backoff: float
    max_queued: int
    max_entries: int
    count_hits: bool


SHELLS: Final = (
    "threads",
    "asyncio",
    "trio",
    *(["uvloop"] if find_spec("uvloop") else []),
    *(["asyncio, eager"] if sys.version_info >= (3, 12) else []),
)
LOOPS: Final = tuple(shell for shell in SHELLS if shell != "threads")
QUICK: Final = ("threads", "asyncio")
"""The shells of the quick run: threads and tasks once."""


def each_of(shells: Iterable[str] = SHELLS, quick: Collection[str] = QUICK) -> list[Any]:
    """Give ``shells`` as parameters, for which pytest has no type; those not ``quick`` are left to the whole run."""
    return [pytest.param(shell, marks=() if shell in quick else pytest.mark.slow) for shell in shells]


class Given(NamedTuple):
    """What stale-while-revalidate gave, in either shell."""

    cached: CachedValue[Json, str]
    refresh: object


class Call(ABC, Generic[T]):
    """A call that a thread or a task of its own makes."""

    @abstractmethod
    async def result(self) -> T:
        """Wait for what it gives."""

    @abstractmethod
    async def error(self) -> BaseException | None:
        """Wait for what it raises."""


class Gated(ABC):
    """A callback that reports that it runs, waits until it is let go, and then gives its outcome or raises."""

    @property
    @abstractmethod
    def calls(self) -> int:
        """How many calls have begun."""

    @abstractmethod
    async def __call__(self, key: str) -> Outcome[Json, str]: ...

    @abstractmethod
    async def started(self) -> None:
        """Wait until one more call has begun."""

    @abstractmethod
    def let_go(self) -> None:
        """Let one call end."""

    def opened(self) -> "Gated":
        """Let the first call go before it comes."""
        self.let_go()
        return self


class Stage(ABC):
    """One shell with a clock that stands still; the scenario's cache is ``cache`` once it was opened."""

    cache: Cache

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.events: list[Event[str, str]] = []
        self.frames: list[LoadStarted[str] | Waited[str]] = []

    async def open(
        self,
        *expired: str,
        ttl: int = 100,
        extend: int = 0,
        workers: int = 1,
        ttl_for: TtlFor | None = None,
        observer: Observer[str, str] | None = None,
        second: Second[str, Json] | None = None,
        **options: Unpack[Options],
    ) -> Cache:
        """Open a cache, with options in ticks, in which each key of ``expired`` has the expired value ``old``.

        It may be one of several, over one store that stands for that of several processes.
        """
        config = Config(global_ttl=ticks(ttl), extend_ttl=ticks(extend), async_semaphore=workers, **options)
        self.cache = await self.made(config, ttl_for, observer or self.hear, second)
        for key in expired:
            self.cache.set(key, "old")
        if expired:
            self.clock.advance(ticks(ttl + 1))
        return self.cache

    def hear(self, event: Event[str, str]) -> None:
        """Keep an event; those that only frame what is told anyway are kept apart."""
        if isinstance(event, LoadStarted | Waited):
            self.frames.append(event)
        else:
            self.events.append(event)

    async def revalidate(self, key: str, load: Load, cache: Cache | None = None) -> Result[Given, str]:
        """Call ``async_load_or_store``."""
        answer = await self.revalidation(cache or self.cache, key, load)
        return answer.map(lambda given: Given(given.cached, given.refresh))

    async def behind(self, key: str, load: Load) -> object:
        """Give the refresh of a stale answer."""
        given = (await self.revalidate(key, load)).unwrap()
        assert given.cached.stale
        assert given.refresh is not None
        return given.refresh

    async def ended(self, refresh: object) -> Answer[Json, str]:
        """Wait for a refresh to give its answer."""
        return await self.start(lambda: self.refreshed(refresh)).result()

    async def failed(self, refresh: object) -> BaseException | None:
        """Wait for a refresh to raise."""
        return await self.start(lambda: self.refreshed(refresh)).error()

    def asking(self, key: str, load: Load, cache: Cache | None = None) -> Call[Answer[Json, str]]:
        """Call ``load_or_store`` in a thread or task of its own."""
        cache = cache or self.cache
        return self.start(lambda: self.ask(key, load, cache))

    @abstractmethod
    async def made(
        self,
        config: Config,
        ttl_for: TtlFor | None,
        observer: Observer[str, str],
        second: Second[str, Json] | None = None,
    ) -> Cache: ...

    @abstractmethod
    async def ask(self, key: str, load: Load, cache: Cache | None = None) -> Answer[Json, str]:
        """Call ``load_or_store``."""

    @abstractmethod
    async def ask_many(
        self, keys: Iterable[str], load: LoadMany, cache: Cache | None = None
    ) -> dict[str, Answer[Json, str]]:
        """Call ``load_or_store_many``."""

    @abstractmethod
    async def revalidation(self, cache: Cache, key: str, load: Load) -> Result[Any, str]: ...

    @abstractmethod
    async def refreshed(self, refresh: Any) -> Answer[Json, str]: ...

    @abstractmethod
    async def settled(self, cache: Cache, within: timedelta = LONG) -> bool:
        """Call ``settled``."""

    @abstractmethod
    async def leave(self, cache: Cache) -> None:
        """Leave the block of ``cache``, once more than it was entered here."""

    @abstractmethod
    def start(self, act: Callable[[], Coroutine[Any, Any, T]]) -> Call[T]:
        """Run ``act`` in a thread or task of its own."""

    @abstractmethod
    def gated(self, *outcomes: Outcome[Json, str] | BaseException) -> Gated: ...

    @abstractmethod
    def barrier(self, parties: int) -> Callable[[], Awaitable[object]]:
        """Make what holds each up until all have come."""

    async def joined(self, count: int) -> None:
        """Wait until ``count`` calls have joined a load that another leads, since the cache was opened."""
        await self.until(lambda: self.cache.stats().joined >= count)

    @abstractmethod
    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what others bring about; a hang is a failure."""

    @abstractmethod
    async def pause(self) -> None:
        """Give others the time to do what they must not do."""


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("T", end.value)
    raise AssertionError("a scenario in threads has nothing to suspend for")


async def awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable


class ThreadCall(Call[T]):
    """A call that a thread makes."""

    def __init__(self, future: Future[T]) -> None:
        self.future = future

    async def result(self) -> T:
        return result_of(self.future)

    async def error(self) -> BaseException | None:
        return error_of(self.future)


class ThreadGated(Gated):
    """A callback that holds up its thread."""

    def __init__(self, *outcomes: Outcome[Json, str] | BaseException) -> None:
        self.load: ScriptedLoad[Json, str] = gated(*outcomes)

    async def __call__(self, key: str) -> Outcome[Json, str]:
        return self.load(key)

    async def started(self) -> None:
        self.load.started()

    @property
    def calls(self) -> int:
        return len(self.load.calls)

    def let_go(self) -> None:
        self.load.let_go()


class Threads(Stage):
    """``LastCache``, and a thread for whatever runs beside the scenario."""

    async def made(
        self,
        config: Config,
        ttl_for: TtlFor | None,
        observer: Observer[str, str],
        second: Second[str, Json] | None = None,
    ) -> Cache:
        return LastCache[str, Json, str](config, clock=self.clock, ttl_for=ttl_for, observer=observer, second=second)

    async def ask(self, key: str, load: Load, cache: Cache | None = None) -> Answer[Json, str]:
        return cast("LastCache[str, Json, str]", cache or self.cache).load_or_store(key, self.driven(load))

    async def ask_many(
        self, keys: Iterable[str], load: LoadMany, cache: Cache | None = None
    ) -> dict[str, Answer[Json, str]]:
        asked = cast("LastCache[str, Json, str]", cache or self.cache)
        return asked.load_or_store_many(keys, lambda own: drive(awaited(load(own))))

    async def settled(self, cache: Cache, within: timedelta = LONG) -> bool:
        return cast("LastCache[str, Json, str]", cache).settled(within)

    async def leave(self, cache: Cache) -> None:
        with cast("LastCache[str, Json, str]", cache):
            pass

    async def revalidation(self, cache: Cache, key: str, load: Load) -> Result[Any, str]:
        return cast("LastCache[str, Json, str]", cache).async_load_or_store(key, self.driven(load))

    async def refreshed(self, refresh: Any) -> Answer[Json, str]:
        return result_of(cast("Future[Answer[Json, str]]", refresh))

    def driven(self, load: Load) -> Callable[[str], Outcome[Json, str]]:
        return lambda key: drive(awaited(load(key)))

    def start(self, act: Callable[[], Coroutine[Any, Any, T]]) -> Call[T]:
        return ThreadCall(in_thread(lambda: drive(act())))

    def gated(self, *outcomes: Outcome[Json, str] | BaseException) -> Gated:
        return ThreadGated(*outcomes)

    def barrier(self, parties: int) -> Callable[[], Awaitable[object]]:
        barrier = threading.Barrier(parties)

        async def wait() -> object:
            return barrier.wait(PATIENCE)

        return wait

    async def until(self, condition: Callable[[], bool]) -> None:
        until(condition)

    async def pause(self) -> None:
        threading.Event().wait(0.05)


class TaskCall(Call[T]):
    """A call that a task makes, and that can be cancelled."""

    def __init__(self) -> None:
        self.outcome: Future[T] = Future()
        self.over = anyio.Event()
        self.scope = anyio.CancelScope()

    async def run(self, act: Callable[[], Coroutine[Any, Any, T]]) -> None:
        try:
            with self.scope:
                self.outcome.set_result(await act())
        except Exception as err:
            self.outcome.set_exception(err)
        except BaseException as err:
            self.outcome.set_exception(err)
            if isinstance(err, anyio.get_cancelled_exc_class()):
                raise
        finally:
            self.over.set()

    def cancel(self) -> None:
        self.scope.cancel()

    async def result(self) -> T:
        await self.over.wait()
        return self.outcome.result(0)

    async def error(self) -> BaseException | None:
        await self.over.wait()
        return self.outcome.exception(0)


class TaskGated(Gated):
    """A callback that holds up its task."""

    def __init__(self, *outcomes: Outcome[Json, str] | BaseException) -> None:
        self.load: AsyncScriptedLoad[Json, str] = AsyncScriptedLoad(*outcomes, gated=True, repeat=True)

    async def __call__(self, key: str) -> Outcome[Json, str]:
        return await self.load(key)

    async def started(self) -> None:
        await self.load.started()

    @property
    def calls(self) -> int:
        return len(self.load.calls)

    def let_go(self) -> None:
        self.load.let_go()


class Tasks(Stage):
    """``AsyncLastCache``, inside its block, and a task for whatever runs beside the scenario."""

    def __init__(self, group: TaskGroup, caches: AsyncExitStack) -> None:
        super().__init__()
        self.group = group
        self.caches = caches

    async def made(
        self,
        config: Config,
        ttl_for: TtlFor | None,
        observer: Observer[str, str],
        second: Second[str, Json] | None = None,
    ) -> Cache:
        cache = AsyncLastCache[str, Json, str](
            config, clock=self.clock, ttl_for=ttl_for, observer=observer, second=second
        )
        return await self.caches.enter_async_context(cache)

    async def ask(self, key: str, load: Load, cache: Cache | None = None) -> Answer[Json, str]:
        return await cast("AsyncLastCache[str, Json, str]", cache or self.cache).load_or_store(key, load)

    async def ask_many(
        self, keys: Iterable[str], load: LoadMany, cache: Cache | None = None
    ) -> dict[str, Answer[Json, str]]:
        return await cast("AsyncLastCache[str, Json, str]", cache or self.cache).load_or_store_many(keys, load)

    async def settled(self, cache: Cache, within: timedelta = LONG) -> bool:
        return await cast("AsyncLastCache[str, Json, str]", cache).settled(within)

    async def leave(self, cache: Cache) -> None:
        async with cast("AsyncLastCache[str, Json, str]", cache):
            pass

    async def revalidation(self, cache: Cache, key: str, load: Load) -> Result[Any, str]:
        return await cast("AsyncLastCache[str, Json, str]", cache).async_load_or_store(key, load)

    async def refreshed(self, refresh: Any) -> Answer[Json, str]:
        return await cast("Awaitable[Answer[Json, str]]", refresh)

    def start(self, act: Callable[[], Coroutine[Any, Any, T]]) -> "TaskCall[T]":
        call = TaskCall[T]()
        _handle = self.group.start_soon(call.run, act)
        return call

    def gated(self, *outcomes: Outcome[Json, str] | BaseException) -> Gated:
        return TaskGated(*outcomes)

    def barrier(self, parties: int) -> Callable[[], Awaitable[object]]:
        full, waiting = anyio.Event(), [0]

        async def wait() -> None:
            waiting[0] += 1
            if waiting[0] == parties:
                full.set()
            await full.wait()

        return wait

    async def until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            await anyio.lowlevel.checkpoint()

    async def pause(self) -> None:
        for _ in range(50):
            await anyio.lowlevel.checkpoint()


@asynccontextmanager
async def task_stage() -> AsyncIterator[Tasks]:
    """A stage in the event loop that runs; when it is left, everything that runs on it must have ended."""
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group, AsyncExitStack() as caches:
            yield Tasks(group, caches)


def run_in_loop(shell: str, act: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``act`` in an event loop of its own."""
    if shell == "trio":
        return anyio.run(act, backend="trio")

    async def eagerly() -> T:
        # Python has it since 3.12.
        asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory"))  # noqa: B009
        return await act()

    options = {"use_uvloop": shell == "uvloop"}
    return anyio.run(eagerly if "eager" in shell else act, backend="asyncio", backend_options=options)


def perform(shell: str, scenario: Callable[[Stage], Coroutine[Any, Any, T]]) -> T:
    """Run ``scenario`` on a stage of ``shell``."""
    if shell == "threads":
        return drive(scenario(Threads()))

    async def on_a_stage() -> T:
        async with task_stage() as stage:
            return await scenario(stage)

    return run_in_loop(shell, on_a_stage)


def giving(outcome: Outcome[Json, str]) -> Load:
    """Make a callback with this outcome."""

    async def load(_key: str) -> Outcome[Json, str]:
        return outcome

    return load


async def never(_key: str) -> Outcome[Json, str]:
    """Stand for a callback that must not be called."""
    raise AssertionError("this callback must not run")


async def never_many(_keys: tuple[str, ...]) -> Mapping[str, Outcome[Json, str]]:
    """Stand for a callback of many keys that must not be called."""
    raise AssertionError("this callback must not run")
