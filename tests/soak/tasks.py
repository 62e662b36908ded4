"""The rounds of tasks: many of them call one cache in asyncio or trio, and are cancelled by chance."""

import itertools
import random
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from typing import Final

import anyio
import anyio.lowlevel
from returns.result import Success

from lastcache import LoadDroppedError
from lastcache.core.states import Outcome
from tests.kit import in_thread
from tests.soak.game import PATIENCE
from tests.soak.history import NEVER, Count, Err, History, Seen, Value, seen
from tests.soak.setting import KEYS, Setting, draw_config
from tests.soak.stores import draw_losing
from tests.soak.task_calls import TaskCalls

PLAYERS: Final = 12


class TaskGame(TaskCalls):
    """One cache, and the tasks of one event loop that use it, or of several."""

    async def close_at(self, seconds: float) -> None:
        """Close the cache while the others still use it."""
        await anyio.sleep(seconds)
        self.close(self.cache)

    async def use(self, chance: random.Random, ends_at: float) -> None:
        while time.monotonic() < ends_at and len(self.history.calls) < 30_000:
            await self.act(chance)
            if chance.random() < 0.3:
                await anyio.lowlevel.checkpoint()

    async def play_in_a_loop(self, seeds: list[float], seconds: float) -> None:
        """Let the players of one loop do as they like for so long; then nothing may be left."""
        async with anyio.create_task_group() as group:
            self.groups[threading.get_ident()] = group
            async with self.cache:
                with anyio.move_on_after(seconds + PATIENCE) as bound:
                    async with anyio.create_task_group() as players:
                        if self.abrupt:
                            players.start_soon(self.close_at, seconds * 0.9)
                        for seed in seeds:
                            players.start_soon(self.use, random.Random(seed), time.monotonic() + seconds)
                if bound.cancelled_caught:
                    self.history.note("every call ends", f"these calls hang: {sorted(self.doing.values())}")
                elif self.abrupt:
                    await anyio.sleep(0.005)
                elif await self.refreshes_ended() and self.setting.loops == 1:
                    await self.use_once_more()
                leave = self.history.write("leave", None)
            self.history.written(leave)
            with anyio.move_on_after(PATIENCE) as bound:
                await self.awaited()
            group.cancel_scope.cancel()

    async def awaited(self) -> None:
        """Wait until each refresh has ended; any loop may end one."""
        for call in self.history.calls:
            while call.refresh is not None and call.refresh.ended == NEVER:  # noqa: ASYNC110
                await anyio.sleep(0.002)

    async def refreshes_ended(self) -> bool:
        with anyio.move_on_after(PATIENCE):
            await self.awaited()
            return True
        left = [call for call in self.history.calls if call.refresh is not None and call.refresh.ended == NEVER]
        self.history.note("every refresh ends", f"{len(left)} did not, such as that of {left[0]}")
        return False

    async def use_once_more(self) -> None:
        """Load every key in the foreground, and as many as may be in the background at once."""
        await anyio.sleep(0.01)
        self.history.count = Count(self.cache.stats(), self.history.seq())
        with anyio.move_on_after(PATIENCE) as bound:
            for key in KEYS:
                value = Value(self.history.numbers(), key, self.ttl)
                self.cache.delete(key)
                if seen(await self.cache.load_or_store(key, partial(_given, value))) != Seen(value):
                    self.history.note("every key loads", f"a load of {key!r} after a delete gave something else")
            await self.refresh_each()
        if bound.cancelled_caught:
            self.history.note("every key loads", "a load after all calls have ended hangs")

    async def refresh_each(self) -> None:
        """Have as many loads run in the background at once as may be; all of them must meet."""
        count = self.setting.slots()
        met, all_met = itertools.count(1), anyio.Event()

        async def meet(key: str) -> Outcome[Value, Err]:
            if next(met) == count:
                all_met.set()
            with anyio.fail_after(PATIENCE / 2):
                await all_met.wait()
            return Success(Value(self.history.numbers(), key, self.ttl))

        refreshes = [await self.stale_refresh(key, meet) for key in KEYS[:count]]
        try:
            for refresh in refreshes:
                if refresh is not None:
                    await refresh
        except (TimeoutError, LoadDroppedError) as err:
            self.history.note("no worker is lost", f"{count} loads in the background did not run at once: {err!r}")

    async def stale_refresh(
        self, key: str, load: Callable[[str], Awaitable[Outcome[Value, Err]]]
    ) -> Awaitable[object] | None:
        self.cache.set(key, Value(self.history.numbers(), key, self.ttl))
        self.cache.expire(key)
        return (await self.cache.async_load_or_store(key, load)).unwrap().refresh


async def _given(value: Value, _key: str) -> Outcome[Value, Err]:
    return Success(value)


def run_in_a_loop(game: TaskGame, backend: str, seeds: list[float], seconds: float) -> None:
    anyio.run(game.play_in_a_loop, seeds, seconds, backend=backend)


def play_tasks(world: str, chance: random.Random, seconds: float, *, stored: bool = False) -> History:
    """Play a round of tasks in asyncio, in trio, or in both at once."""
    setting = Setting(
        draw_config(chance),
        world,
        interrupted=chance.random() < 0.7,
        own_ttls=chance.random() < 0.3,
        observed=chance.random() < 0.8,
        loops=2 if world == "loops" else 1,
        stored=stored,
        losing=draw_losing(chance, stored=stored),
    )
    game = TaskGame(setting, chance)
    backends = ["asyncio", "trio"] if world == "loops" else [world]
    rounds = []
    for backend in backends:
        seeds = [chance.random() for _ in range(PLAYERS // len(backends))]
        rounds.append(in_thread(partial(run_in_a_loop, game, backend, seeds, seconds)))
    for each in rounds:
        try:
            each.result(seconds + 4 * PATIENCE)
        except FutureTimeoutError:
            game.history.note("every call ends", f"a loop hangs: {sorted(game.doing.values())}")
        except BaseException as err:
            game.history.note("foreign exception", f"out of the loop came {err!r}")
    return game.history
