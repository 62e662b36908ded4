"""The calls of the cache for tasks, and its place in each event loop.

Between two steps of a script nothing is awaited: what a task of one loop sees, no other task of that loop can have
changed. The callback runs in the task of its leader; a leader that is cancelled leaves the load to one of those who
wait, so that nothing needs to be shielded.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, TypeAlias, TypeVar, final

from lastcache._shell.awaited import BatchCallback, Callback, alone
from lastcache._shell.demanding import Demand, DemandingCalls
from lastcache._shell.flight import Landing, Stale
from lastcache._shell.guard import Guard
from lastcache._shell.loop_place import LoopPlace, TaskJob
from lastcache._shell.loops import running_loop
from lastcache._shell.scopes import open_scope
from lastcache._shell.store_threads import StoreThreads
from lastcache.config import Config
from lastcache.core.states import Answer, Strategy
from lastcache.events import Observer

if TYPE_CHECKING:
    from lastcache.second.options import Second

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")

TaskStale: TypeAlias = Stale[K, V, E, Callback[K, V, E]]


@final
class TaskShell(DemandingCalls[K, V, E, Callback[K, V, E]]):
    """The calls of the cache for tasks. ``state`` holds the entries; each event loop has one of its own beside it."""

    __slots__ = ("_config", "_loops", "_warned", "store_threads")

    def __init__(
        self,
        config: Config,
        clock: Callable[[], int],
        ttl_for: Callable[[V], timedelta] | None = None,
        observer: Observer[K, E] | None = None,
        name: str = "",
        second: "Second[K, V] | None" = None,
    ) -> None:
        super().__init__(config, clock, ttl_for, observer, monotonic, name, second)
        self.store_threads: StoreThreads = StoreThreads()
        self._config = config
        self._loops: dict[int, LoopPlace[K, V, E]] = {}
        self._warned = False

    async def load(self, key: K, callback: Callback[K, V, E]) -> Answer[V, E]:
        """Answer a call that waits for its load."""
        if self.counts and (standing := self.standing(key)) is not None:
            return self.give(key, standing)
        place = self.here()
        if self.soft_timeout is None:
            return self.give(key, await self.ask(place, Strategy.STALE_IF_ERROR, key, callback))
        if not place.scopes:
            self._warn_once()
        return self.give(key, await self.wait_softly(place, Strategy.STALE_IF_SLOW, key, callback))

    def _warn_once(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                "soft_timeout has no effect outside of the block of an AsyncLastCache: "
                "call it inside `async with cache:`, entered in this event loop",
                RuntimeWarning,
                stacklevel=4,
            )

    async def revalidate(self, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | TaskStale[K, V, E]:
        """Answer a call that takes a stale value ahead of its load."""
        if self.counts and (standing := self.standing(key)) is not None:
            return standing
        return await self.ask(self.here(), Strategy.STALE_WHILE_REVALIDATE, key, callback)

    async def load_many(self, keys: Iterable[K], callback: BatchCallback[K, V, E]) -> dict[K, Answer[V, E]]:
        """Answer a call for many keys."""
        return self.give_many(await self.ask_many(self.here(), Strategy.STALE_IF_ERROR, keys, callback))

    async def load_demanding(self, max_stale: int, key: K, callback: Callback[K, V, E]) -> Answer[V, E]:
        """Answer a call that waits for its load, and takes nothing staler than ``max_stale`` nanoseconds."""
        strategy = Strategy.STALE_IF_ERROR if self.soft_timeout is None else Strategy.STALE_IF_SLOW
        return self.give(key, await self.ask_demanding(self.here(), Demand(strategy, max_stale), key, callback))

    async def revalidate_demanding(
        self, max_stale: int, key: K, callback: Callback[K, V, E]
    ) -> Landing[V, E] | TaskStale[K, V, E]:
        """Answer a call that takes a stale value ahead of its load, if it is no staler than ``max_stale``."""
        demand = Demand(Strategy.STALE_WHILE_REVALIDATE, max_stale)
        return await self.ask_demanding(self.here(), demand, key, callback)

    async def load_many_demanding(
        self, max_stale: int, keys: Iterable[K], callback: BatchCallback[K, V, E]
    ) -> dict[K, Answer[V, E]]:
        """Answer a call for many keys, each no staler than ``max_stale``."""
        return self.give_many(await self.ask_many_demanding(self.here(), max_stale, keys, callback))

    def strategy_of_waiting(self) -> Strategy:
        """Give the strategy of a call that waits for its load: outside of a block there is no soft timeout."""
        with suppress(RuntimeError):
            if self.here().scopes:
                return super().strategy_of_waiting()
        return Strategy.STALE_IF_ERROR

    def here(self) -> LoopPlace[K, V, E]:
        """Give the part of this cache in the running event loop."""
        loop = running_loop()
        known = self._loops.get(id(loop))
        return known if known is not None and known.loop() is loop else self._open(loop)

    def _open(self, loop: object) -> LoopPlace[K, V, E]:
        opened = self.guard.run(self._open_loop, loop)
        self.settle_up()
        return opened

    def _open_loop(self, loop: object) -> LoopPlace[K, V, E]:
        """Make a place for ``loop``, and clear away those of loops that have ended."""
        self.check_open()
        for number, known in list(self._loops.items()):
            if known.has_ended():
                known.state.leave("its event loop has ended")
                del self._loops[number]
        self._loops[id(loop)] = opened = LoopPlace(self, loop, self._config)
        return opened

    def alone(self, callback: BatchCallback[K, V, E]) -> Callback[K, V, E]:
        """Make a callback of one key of a callback of many."""
        return partial(alone, callback)

    def tell(self, jobs: Sequence[TaskJob[K, V, E]], *, here: bool) -> None:  # noqa: ARG002  # tasks are woken from anywhere
        """Let go of what tasks await: who waits was woken, and holds it."""
        for job in jobs:
            job.refresh = None

    async def wait_settled(self, seconds: float) -> bool:
        """Wait until the store knows what was changed here, for so many seconds at most; say whether it does."""
        return self.is_settled() or await self.wait_until_settled(self.here(), seconds)

    def check_entered(self) -> None:
        """Raise ``RuntimeError`` unless the running event loop is inside a block of this cache."""
        self.check_open()
        if not self.here().scopes:
            raise RuntimeError(
                "async_load_or_store needs a place for loads in the background: call it inside `async with cache:`, "
                "entered in this event loop"
            )

    async def enter(self) -> None:
        """Begin a block. Raises ``CacheClosedError``."""
        self.check_open()
        place = self.here()
        place.scopes.append(await open_scope())

    async def leave(self, *, raised: bool) -> None:
        """End a block, which may have raised: its loads are cancelled and awaited; the entries stay."""
        place = self.here()
        await place.leave(self, raised=raised)
        if not self.is_settled():
            await place.call_store(self.flush)

    def close(self) -> None:
        """Detach every flight, drop what is queued, and forget the entries; nothing is waited for."""
        self.guard.write(self._shut)
        self.settle_up()
        self.store_threads.close()
        if self.second is not None:
            self.second.lose_debts(self)

    def _shut(self) -> object:
        for known in self._loops.values():
            known.state.closed = True
        return self.state.shut()

    def reset_after_fork(self) -> None:
        """Begin with a free lock and no event loop, as the child of a fork must; the entries stay."""
        self.guard: Guard = Guard(self.clock)
        if self.second is not None:
            self.second.reset_after_fork(self)
        self.store_threads = StoreThreads()
        loops, self._loops = self._loops, {}
        for known in loops.values():
            known.state.leave("the process forked")
        if self.state.outbox:
            self.notify(self)
