"""How tasks call a cache, how they are cancelled, and what their callbacks do."""

import asyncio
import itertools
import random
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial

import anyio
import anyio.lowlevel
import sniffio
import trio
from anyio.abc import TaskGroup
from returns.pipeline import is_successful
from returns.result import Result

from lastcache import CachedValue
from lastcache.core.states import Outcome
from lastcache.tasks import AsyncLastCache, TaskCache
from tests.soak.game import LOOKS, CleanupError, Game, duration, is_numbered
from tests.soak.history import Call, Err, Load, Refresh, Value, seen
from tests.soak.setting import KEYS, Nested, Plan, Setting, draw_demand, draw_plan
from tests.soak.stores import second_of


class TaskPlayers:
    """A number for each task, never given twice: the tasks are kept."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._next = itertools.count(1)

    def __call__(self) -> int:
        task = current_task()
        number = self._numbers.get(task)
        return self._numbers.setdefault(task, next(self._next)) if number is None else number


def current_task() -> object:
    """Give the task that runs; outside of all tasks, the thread."""
    try:
        library = sniffio.current_async_library()
    except sniffio.AsyncLibraryNotFoundError:
        return threading.current_thread()
    return trio.lowlevel.current_task() if library == "trio" else asyncio.current_task()


class TaskCalls(Game):
    """One cache, and what the tasks that use it can do."""

    def __init__(self, setting: Setting, chance: random.Random) -> None:
        super().__init__(setting, chance, TaskPlayers())
        self.chance = chance
        self.cancelling = chance.choice([0.1, 0.4]) if setting.interrupted else 0.0
        self.abrupt = chance.random() < 0.25
        self.groups: dict[int, TaskGroup] = {}
        self.doing: dict[int, str] = {}
        self.scopes: dict[int, list[anyio.CancelScope]] = {}
        self.tasks: dict[int, list[asyncio.Task[None]]] = {}
        self.cache: AsyncLastCache[str, Value, Err] = AsyncLastCache(
            setting.config,
            clock=self.clock,
            ttl_for=self.ttl_of if setting.own_ttls else None,
            observer=self.history.observe if setting.observed else None,
            second=second_of(self.clock, chance, setting.losing) if setting.stored else None,
        )

    async def act(self, chance: random.Random) -> None:
        """Do one thing, drawn by chance; what a call raises is written down, and judged later."""
        kind, key = self.manners.act(chance), chance.choice(KEYS)
        if kind == "move":
            self.clock.move()
        elif kind == "gate":
            self.strike(chance)
        elif kind in LOOKS:
            self.look(self.cache, kind, key, draw_demand(chance, self.manners))
        elif kind == "load_or_store_many":
            await self.ask(kind, tuple(chance.sample(KEYS, chance.randint(1, 4))), chance)
        elif "load_or_store" in kind:
            await self.ask(kind, (key,), chance)
        else:
            self.write(self.cache, kind, key, chance.choice([0, 2, 20]) * 1000)

    def strike(self, chance: random.Random) -> None:
        """Cancel somebody."""
        loop = threading.get_ident()
        if self.scopes.get(loop) and chance.random() < self.cancelling * 2:
            chance.choice(self.scopes[loop]).cancel()
        if self.tasks.get(loop) and chance.random() < self.cancelling * 2:
            chance.choice(self.tasks[loop]).cancel()

    async def ask(self, kind: str, keys: tuple[str, ...], chance: random.Random) -> None:
        """Make one of the calls that load: plainly, in a scope that may be cancelled, or in a task of its own."""
        plan = draw_plan(chance, self.manners, max(keys) if kind == "load_or_store_many" else keys[0])
        if chance.random() >= self.cancelling:
            await self.shielded(kind, keys, plan, lambda: False)
        elif self.setting.world == "asyncio" and chance.random() < 0.5:
            await self.in_a_task(kind, keys, plan)
        else:
            await self.in_a_scope(kind, keys, plan, chance.choice([0, 0, 0.0005, 0.003, 1.0]))

    async def shielded(self, kind: str, keys: tuple[str, ...], plan: Plan, cancelled: Callable[[], bool]) -> None:
        """Make a call; only a cancellation that came from outside is raised."""
        try:
            await self.call(kind, keys, plan, cancelled, None, draw_demand(self.chance, self.manners))
        except anyio.get_cancelled_exc_class() as err:
            if not is_numbered(err):
                raise
        except BaseException:  # noqa: S110  # it is written down, and judged later
            pass

    async def in_a_scope(self, kind: str, keys: tuple[str, ...], plan: Plan, seconds: float) -> None:
        scopes = self.scopes.setdefault(threading.get_ident(), [])
        with anyio.move_on_after(seconds) as scope:
            scopes.append(scope)
            await self.shielded(kind, keys, plan, lambda: scope.cancel_called)
        scopes.remove(scope)

    async def in_a_task(self, kind: str, keys: tuple[str, ...], plan: Plan) -> None:
        tasks = self.tasks.setdefault(threading.get_ident(), [])
        task = asyncio.create_task(self.alone(kind, keys, plan))
        tasks.append(task)
        await asyncio.wait({task})
        tasks.remove(task)
        with suppress(asyncio.CancelledError):
            task.result()

    async def alone(self, kind: str, keys: tuple[str, ...], plan: Plan) -> None:
        task = asyncio.current_task()
        await self.shielded(kind, keys, plan, lambda: task is not None and task.cancelling() > 0)

    async def call(
        self,
        kind: str,
        keys: tuple[str, ...],
        plan: Plan,
        cancelled: Callable[[], bool],
        within: Load | None = None,
        max_stale: int | None = None,
    ) -> None:
        call = self.history.call(kind, keys, within, max_stale)
        self.doing[call.player] = f"{kind}{keys}"
        try:
            await self.called(call, plan)
        except BaseException as err:
            self.history.raised(call, err)
            raise
        finally:
            call.cancelled = cancelled()
            self.doing.pop(call.player, None)

    async def called(self, call: Call, plan: Plan) -> None:
        key, load, cache = call.keys[0], partial(self.load, call, plan), self.view(call.max_stale)
        match call.kind:
            case "load_or_store":
                self.history.answered(call, {key: seen(await cache.load_or_store(key, load))})
            case "load_or_store_with_ctx":
                answer = await cache.load_or_store_with_ctx(call, key, partial(self.load_with, plan))
                self.history.answered(call, {key: seen(answer)})
            case "load_or_store_many":
                answers = await cache.load_or_store_many(call.keys, partial(self.load_many, call, plan))
                self.history.answered(call, {each: seen(answer) for each, answer in answers.items()})
            case "async_load_or_store":
                both = await cache.async_load_or_store(key, load)
                self.history.answered(call, {key: seen(both.map(lambda given: given.cached))})
                self.watched(call, both.unwrap().refresh if is_successful(both) else None)
            case _:
                both = await cache.async_load_or_store_with_ctx(call, key, partial(self.load_with, plan))
                self.history.answered(call, {key: seen(both.map(lambda given: given.cached))})
                self.watched(call, both.unwrap().refresh if is_successful(both) else None)

    def view(self, max_stale: int | None) -> TaskCache[str, Value, Err]:
        """Give the cache, or what a reader with a demand has of it."""
        return self.cache if max_stale is None else self.cache.demanding(max_stale=duration(max_stale))

    def watched(self, call: Call, refresh: "Awaitable[Result[CachedValue[Value, Err], Err]] | None") -> None:
        if refresh is None:
            return
        self.kept.append(refresh)
        call.refresh = Refresh(id(refresh))
        self.groups[threading.get_ident()].start_soon(self.await_refresh, call.refresh, refresh)

    async def await_refresh(self, record: Refresh, refresh: "Awaitable[Result[CachedValue[Value, Err], Err]]") -> None:
        try:
            self.history.refreshed(record, await refresh)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as err:
            self.history.refreshed(record, err)

    async def load_with(self, plan: Plan, call: Call, key: str) -> Outcome[Value, Err]:
        return await self.load(call, plan, key)

    async def load(self, call: Call, plan: Plan, key: str) -> Outcome[Value, Err]:
        load = self.history.load(call, key, threading.get_ident())
        try:
            await self.work([load], plan)
            return self.outcome(load, plan)
        except BaseException as err:
            self.history.load_ended(load, "raised", err)
            raise

    async def load_many(self, call: Call, plan: Plan, keys: tuple[str, ...]) -> Mapping[str, Outcome[Value, Err]]:
        loads = [self.history.load(call, key, threading.get_ident()) for key in keys]
        try:
            await self.work(loads, plan)
            return {load.key: self.outcome(load, plan) for load in loads}
        except BaseException as err:
            for load in loads:
                self.history.load_ended(load, "raised", err)
            raise

    async def work(self, loads: list[Load], plan: Plan) -> None:
        """Do what a callback does before it comes to its end; a cancelled one may fail to put things in order."""
        try:
            await anyio.sleep(plan.pause)
            if plan.gate is not None:
                await anyio.lowlevel.checkpoint()
            for _ in range(plan.moves):
                self.clock.move()
            if plan.nested is not None:
                await self.nested(loads[0], plan.nested)
        except anyio.get_cancelled_exc_class() as err:
            if plan.cleanup and not is_numbered(err):
                raise CleanupError(loads[0].number) from None
            raise

    async def nested(self, load: Load, nested: Nested) -> None:
        try:
            await self.call(nested.kind, (nested.key,), nested.plan, lambda: False, load, nested.max_stale)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as err:
            if is_numbered(err):
                raise
