"""The rounds of threads: many of them call one cache, and nobody waits longer than a bound."""

import itertools
import random
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Final

from returns.pipeline import is_successful

from lastcache import LastCache
from lastcache.core.states import Outcome
from lastcache.threads import ThreadCache
from tests.kit import in_thread
from tests.soak.game import LOOKS, PATIENCE, Answer, Game, Refusal, duration, is_numbered
from tests.soak.history import Call, Err, History, Load, Value, seen
from tests.soak.setting import KEYS, Plan, Setting, draw_config, draw_demand, draw_plan
from tests.soak.stores import draw_losing, second_of

PLAYERS: Final = 7


class Players(threading.local):
    """A number for each thread, never given twice."""

    numbers = itertools.count(1)

    def __init__(self) -> None:
        self.number = next(Players.numbers)

    def __call__(self) -> int:
        return self.number


class ThreadGame(Game):
    """One cache, and the threads that use it."""

    def __init__(self, setting: Setting, chance: random.Random) -> None:
        super().__init__(setting, chance, Players())
        self.chance = chance
        self.gates = [threading.Event() for _ in range(3)]
        self.pool = ThreadPoolExecutor(6) if setting.world == "executors" else None
        self.refusing = chance.choice([0.0, 0.2, 1.0]) if setting.refuses else 0.0
        self.doing: dict[int, str] = {}
        self.over = False
        self.players = PLAYERS
        self.abrupt = chance.random() < 0.25
        self.cache: LastCache[str, Value, Err] = LastCache(
            setting.config,
            clock=self.clock,
            ttl_for=self.ttl_of if setting.own_ttls else None,
            observer=self.history.observe if setting.observed else None,
            executor=None if self.pool is None else self.execute,
            second=second_of(self.clock, chance, setting.losing) if setting.stored else None,
        )

    def execute(self, work: Callable[[], object]) -> object:
        if self.pool is None or (not self.over and self.chance.random() < self.refusing):
            raise Refusal
        return self.pool.submit(work)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)

    def act(self, chance: random.Random) -> None:
        """Do one thing, drawn by chance; what a call raises is written down, and judged later."""
        self.do(self.manners.act(chance), chance.choice(KEYS), chance)

    def do(self, kind: str, key: str, chance: random.Random) -> None:
        if kind == "move":
            self.clock.move()
        elif kind == "gate":
            gate = chance.choice(self.gates)
            (gate.clear if gate.is_set() else gate.set)()
        elif kind in LOOKS:
            self.look(self.cache, kind, key, draw_demand(chance, self.manners))
        elif "load_or_store" in kind:
            self.ask(kind, self.keys_of(kind, key, chance), draw_plan(chance, self.manners, KEYS[-1]), chance)
        else:
            self.write(self.cache, kind, key, chance.choice([0, 2, 20]) * 1000)

    def keys_of(self, kind: str, key: str, chance: random.Random) -> tuple[str, ...]:
        return tuple(chance.sample(KEYS, chance.randint(1, 4))) if kind == "load_or_store_many" else (key,)

    def ask(self, kind: str, keys: tuple[str, ...], plan: Plan, chance: random.Random) -> None:
        """Make one of the calls that load."""
        planned = plan if kind == "load_or_store_many" else draw_plan(chance, self.manners, keys[0])
        self.doing[self.history.player()] = f"{kind}{keys}"
        with suppress(BaseException):  # it is written down, and judged later
            self.call(kind, keys, planned, None, draw_demand(chance, self.manners))
        self.doing.pop(self.history.player(), None)

    def call(
        self, kind: str, keys: tuple[str, ...], plan: Plan, within: Load | None, max_stale: int | None = None
    ) -> None:
        call = self.history.call(kind, keys, within, max_stale)
        try:
            self.called(call, plan)
        except BaseException as err:
            self.history.raised(call, err)
            raise

    def called(self, call: Call, plan: Plan) -> None:
        key, cache = call.keys[0], self.view(call.max_stale)
        match call.kind:
            case "load_or_store":
                self.history.answered(call, {key: seen(cache.load_or_store(key, partial(self.load, call, plan)))})
            case "load_or_store_with_ctx":
                answer = cache.load_or_store_with_ctx(call, key, partial(self.load_with, plan))
                self.history.answered(call, {key: seen(answer)})
            case "load_or_store_many":
                answers = cache.load_or_store_many(call.keys, partial(self.load_many, call, plan))
                self.history.answered(call, {each: seen(answer) for each, answer in answers.items()})
            case "async_load_or_store":
                both = cache.async_load_or_store(key, partial(self.load, call, plan))
                self.history.answered(call, {key: seen(both.map(lambda given: given.cached))})
                self.watched(call, both.unwrap().refresh if is_successful(both) else None)
            case _:
                both = cache.async_load_or_store_with_ctx(call, key, partial(self.load_with, plan))
                self.history.answered(call, {key: seen(both.map(lambda given: given.cached))})
                self.watched(call, both.unwrap().refresh if is_successful(both) else None)

    def view(self, max_stale: int | None) -> ThreadCache[str, Value, Err]:
        """Give the cache, or what a reader with a demand has of it."""
        return self.cache if max_stale is None else self.cache.demanding(max_stale=duration(max_stale))

    def watched(self, call: Call, refresh: "Future[Answer] | None") -> None:
        if refresh is not None:
            self.watch(call, refresh)

    def load_with(self, plan: Plan, call: Call, key: str) -> Outcome[Value, Err]:
        return self.load(call, plan, key)

    def load(self, call: Call, plan: Plan, key: str) -> Outcome[Value, Err]:
        load = self.history.load(call, key)
        try:
            self.work(load, plan)
            return self.outcome(load, plan)
        except BaseException as err:
            self.history.load_ended(load, "raised", err)
            raise

    def load_many(self, call: Call, plan: Plan, keys: tuple[str, ...]) -> Mapping[str, Outcome[Value, Err]]:
        loads = [self.history.load(call, key) for key in keys]
        try:
            self.work(loads[0], plan)
            return {load.key: self.outcome(load, plan) for load in loads}
        except BaseException as err:
            for load in loads:
                self.history.load_ended(load, "raised", err)
            raise

    def work(self, load: Load, plan: Plan) -> None:
        """Do what a callback does before it comes to its end."""
        if plan.gate is not None:
            self.gates[plan.gate].wait(0.003)
        if plan.pause:
            self.pause(plan.pause)
        for _ in range(plan.moves):
            self.clock.move()
        if plan.nested is not None:
            self.nested(load, plan)

    def nested(self, load: Load, plan: Plan) -> None:
        if plan.nested is None:
            return
        try:
            self.call(plan.nested.kind, (plan.nested.key,), plan.nested.plan, load, plan.nested.max_stale)
        except BaseException as err:
            if is_numbered(err):
                raise

    def play(self, seconds: float) -> History:
        """Let the players do as they like for so long; then nothing may be left, and every key can be loaded."""
        from tests.soak.after import check_afterwards

        before = sys.getswitchinterval()
        sys.setswitchinterval(self.chance.choice([1e-5, 1e-4, 5e-3]))
        try:
            ends_at = time.monotonic() + seconds
            seeds = [self.chance.random() for _ in range(self.players)]
            players = [in_thread(partial(self.use, random.Random(seed), ends_at)) for seed in seeds]
            self.lead(ends_at)
            if self.abrupt:
                self.close_at(ends_at)
            check_afterwards(self, players, time.monotonic() + seconds + PATIENCE)
        finally:
            sys.setswitchinterval(before)
            if self.pool is not None:
                self.pool.shutdown(wait=False)
        return self.history

    def lead(self, ends_at: float) -> None:
        """Let the main thread do what it does while the others play."""

    def close_at(self, ends_at: float) -> None:
        """Close the cache while the others still use it."""
        time.sleep(max(0.0, ends_at - time.monotonic() - 0.05))
        self.close(self.cache)

    def use(self, chance: random.Random, ends_at: float) -> None:
        while time.monotonic() < ends_at:
            self.act(chance)
            if len(self.history.calls) > 30_000:
                return


def thread_setting(world: str, chance: random.Random, *, stored: bool) -> Setting:
    """Draw the setting of a round of threads."""
    return Setting(
        draw_config(chance),
        world,
        refuses=world == "executors" and chance.random() < 0.6,
        own_ttls=chance.random() < 0.3,
        observed=chance.random() < 0.8,
        stored=stored,
        losing=draw_losing(chance, stored=stored),
    )


def play_threads(world: str, chance: random.Random, seconds: float, *, stored: bool = False) -> History:
    """Play a round of threads, or of threads with an executor."""
    return ThreadGame(thread_setting(world, chance, stored=stored), chance).play(seconds)
