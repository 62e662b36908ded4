"""The loads of one cache, in tasks: who leads, who joins, and what runs in the background of each event loop.

It decides under the guard and acts after it, and awaits nothing in between: what a task of one loop sees, no other task
of that loop can have changed. The callback runs in the task of its leader, inside ``with flight.latch``, and a leader
that is cancelled leaves the load to one of those who wait, so that nothing needs to be shielded. What a leader leaves
behind is put in order by ``_tidy``, without waiting: also when a coroutine is closed because its loop has died.
"""

from asyncio import get_running_loop
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TypeAlias, TypeVar, final

from anyio import create_task_group, get_current_task, move_on_after

from lastcache._shell.awaited import BatchCallback, Callback, alone, attempt, attempt_many, drop, told
from lastcache._shell.background import Worker, resolve_all
from lastcache._shell.batches import Batch, check_surplus
from lastcache._shell.flight import Answered, Flight, Landing, Queued, Raised, Refresh, Stale
from lastcache._shell.guard import Guard, inside
from lastcache._shell.inflight import CLOSED, State
from lastcache._shell.loops import AsyncRefresh, Block, Lane, running_loop, shield_from_interrupts
from lastcache._shell.reentrancy import ASKER, current_asker, waiting
from lastcache._shell.shell import Shell
from lastcache.config import Config
from lastcache.core.states import Answer, Strategy
from lastcache.errors import LoadDroppedError
from lastcache.events import Observer

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")

TaskBatch: TypeAlias = Batch[K, V, E, Callback[K, V, E]]
TaskFlight: TypeAlias = Flight[K, V, E, Callback[K, V, E]]
TaskQueued: TypeAlias = Queued[K, V, E, Callback[K, V, E]]
TaskBlock: TypeAlias = Block[K, V, E, Callback[K, V, E]]
TaskLane: TypeAlias = Lane[K, V, E, Callback[K, V, E]]


@final
class TaskLoads(Shell[K, V, E, Callback[K, V, E]]):
    """The shell of the cache for tasks. ``state`` holds the entries; each event loop has one of its own beside it."""

    __slots__ = ("_config", "_lanes", "_refreshes")

    def __init__(
        self,
        config: Config,
        clock: Callable[[], int],
        ttl_for: Callable[[V], timedelta] | None = None,
        observer: Observer[K, E] | None = None,
    ) -> None:
        super().__init__(config, clock, ttl_for, observer)
        self._config = config
        self._lanes: dict[int, TaskLane[K, V, E]] = {}
        self._refreshes: dict[Refresh[V, E], AsyncRefresh[V, E]] = {}

    def renew(self) -> None:
        """Begin with a free lock and no event loop, as the child of a fork must; the entries stay."""
        self._guard = Guard()
        lanes, self._lanes = self._lanes, {}
        for lane in lanes.values():
            lane.state.table.leave()
            drop(lane.state.renew(), "the process forked")

    def close(self) -> None:
        """Detach every flight, drop what is queued, and forget the entries; nothing is waited for."""
        self._guard.write(self._shut)
        # What is queued leaves the queue once it was told, so that closing again completes what was broken off.
        for lane in self.lanes():
            self._drop(lane.state.background.waiting(), CLOSED)
            self._guard.write(lane.state.background.drain)

    def _drop(self, queued: Sequence[TaskQueued[K, V, E]], why: str) -> None:
        """Tell who waits for these loads, and the observer, that they will not run."""
        drop(queued, why)
        self.report_dropped(queued, why)

    def _shut(self) -> object:
        return self.state.shut(), [lane.state.shut() for lane in self.lanes()]

    def lanes(self) -> list[TaskLane[K, V, E]]:
        """Give the parts of this cache in all event loops that it met, and that are alive."""
        return list(self._lanes.values())

    def lane(self) -> TaskLane[K, V, E]:
        """Give the part of this cache in the running event loop."""
        loop = running_loop()
        lane = self._lanes.get(id(loop))
        if lane is None or lane.loop() is not loop:
            lane, ended = self._guard.run(self._open_lane, loop)
            self._drop(ended, "its event loop has ended")
        return lane

    def _open_lane(self, loop: object) -> tuple[TaskLane[K, V, E], list[TaskQueued[K, V, E]]]:
        """Make a place for ``loop``, and clear away those of loops that have ended; give what they left undone."""
        self.check_open()
        shield_from_interrupts(self._work)
        ended = [(number, lane) for number, lane in self._lanes.items() if lane.has_ended()]
        for number, lane in ended:
            lane.state.table.leave()
            del self._lanes[number]
        self._lanes[id(loop)] = opened = Lane(loop, State(self._config, beside=self.state))
        return opened, [queued for _, lane in ended for queued in lane.state.renew()]

    def check_entered(self) -> None:
        """Raise ``RuntimeError`` unless the running event loop is inside a block of this cache."""
        self.check_open()
        if not (self._known_lane() or self.lane()).blocks:
            raise RuntimeError(
                "async_load_or_store needs a place for loads in the background: call it inside `async with cache:`, "
                "entered in this event loop"
            )

    def _known_lane(self) -> TaskLane[K, V, E] | None:
        """Give what ``lane`` gives, for a known loop of asyncio alone: hits come this way, and anyio takes longer."""
        try:
            loop = get_running_loop()
        except RuntimeError:
            return None
        lane = self._lanes.get(id(loop))
        return lane if lane is not None and lane.loop() is loop else None

    async def enter(self) -> None:
        """Begin a block. Raises ``CacheClosedError``."""
        self.check_open()
        lane, group = self.lane(), create_task_group()
        await group.__aenter__()
        lane.blocks.append(Block(group, get_current_task().id))

    async def leave(self) -> None:
        """End the block that this task began last: its loads are cancelled and awaited; the entries stay."""
        lane, task = self.lane(), get_current_task().id
        block = next((block for block in reversed(lane.blocks) if block.task == task), None)
        if block is None:
            raise RuntimeError("a block of a cache must be left in the task that entered it")
        lane.blocks.remove(block)
        # What strikes the host meanwhile waits for its next step: it must not take the place of what the block raised.
        block.group.cancel_scope.shield = True
        block.group.cancel_scope.cancel()
        await block.group.__aexit__(None, None, None)
        for worker, queued in block.starting.items():
            self._call_off(lane, worker, queued, "it was cancelled")
        self._staff(lane)

    async def wait(self, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call that waits for its load, but no longer than the soft timeout where a stale value may be given.

        Outside of a block, where nothing could load in the background, it waits as if there were no such timeout.
        """
        softly = self._soft_timeout is not None and self.lane().blocks
        step = await self.ask(Strategy.STALE_IF_SLOW if softly else Strategy.STALE_IF_ERROR, key, callback)
        given = await self._wait_softly(step) if isinstance(step, Stale) else step
        self.reports.given(key, given)
        return given

    async def revalidate(self, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call that takes a stale value ahead of its load."""
        given = await self.ask(Strategy.STALE_WHILE_REVALIDATE, key, callback)
        self.reports.given(key, given)
        return given

    async def _wait_softly(self, stale: Stale[V, E]) -> Landing[V, E] | Stale[V, E]:
        refresh = self.awaitable(stale.refresh)
        with move_on_after(self.patience(stale)), suppress(LoadDroppedError):
            return Answered(await refresh)
        return stale

    async def ask(self, strategy: Strategy, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call for which no answer stood on the hit path."""
        standing = self.look(key)
        if standing is not None:
            return standing
        if inside() is not None:
            return await self._ask_inside(strategy, key, callback)
        lane, asker = self.lane(), current_asker()
        while True:
            flight: TaskFlight[K, V, E] = Flight(asker)
            flight.calling = True
            step = await self._board(lane, strategy, key, callback, flight)
            self.report(key, flight)
            if not isinstance(step, Flight):
                return step
            with waiting(asker, step):
                self.reports.join(key)
                await lane.join(step)
            if step.landing is not None:
                return step.landing

    async def _ask_inside(self, strategy: Strategy, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call that comes from inside a change: nothing may be waited for, the callback runs uncached."""
        now = self._clock()
        at_hand = self.at_hand(strategy, key, now)
        return self.uncached(key, await attempt(callback, key, self.measured), now) if at_hand is None else at_hand

    async def ask_many(self, keys: Iterable[K], callback: BatchCallback[K, V, E]) -> dict[K, Answer[V, E]]:
        """Answer a call for many keys: its own are loaded and land before those that others load are waited for."""
        wanted = tuple(dict.fromkeys(keys))
        self.check_open()
        lane, asker, landings = self.lane(), current_asker(), self.look_at(wanted)
        if inside() is not None:
            landings |= await self._many_inside(tuple(key for key in wanted if key not in landings), callback)
        while len(landings) < len(wanted):
            batch: TaskBatch[K, V, E] = Batch(asker, tuple(key for key in wanted if key not in landings))
            await self._board_many(lane, batch, callback)
            for key, flight in batch.joined.items():
                with waiting(asker, flight):
                    self.reports.join(key)
                    await lane.join(flight)
                if flight.landing is not None:
                    batch.landings[key] = flight.landing
            landings |= batch.landings
        return self.answers(landings, wanted)

    async def _many_inside(self, keys: tuple[K, ...], callback: BatchCallback[K, V, E]) -> dict[K, Landing[V, E]]:
        """Answer where nothing may be waited for, or stored."""
        at_hand, began_at = self.at_hand_of(keys), self._clock()
        missing = tuple(key for key in keys if key not in at_hand)
        return at_hand | (self.uncached_of(missing, await attempt_many(callback, missing), began_at) if missing else {})

    async def _board_many(
        self, lane: TaskLane[K, V, E], batch: TaskBatch[K, V, E], callback: BatchCallback[K, V, E]
    ) -> None:
        """Decide for each key, and lead those that are this call's own."""
        token = ASKER.set(batch.flight)
        try:
            with batch.flight.latch:
                await self._lead_many(lane, batch, callback)
        finally:
            with suppress(ValueError):
                ASKER.reset(token)
            for key, flight in batch.flights.items():
                self._tidy(lane, key, flight)
            self._staff(lane)
            for key, flight in batch.flights.items():
                self.report(key, flight)

    async def _lead_many(
        self, lane: TaskLane[K, V, E], batch: TaskBatch[K, V, E], callback: BatchCallback[K, V, E]
    ) -> None:
        self.board(lane.state, batch, partial(alone, callback), self._clock())
        if not batch.own:
            return
        batch.flight.calling = True
        with waiting(batch.flight.asker, batch.flight):
            returned = await attempt_many(callback, tuple(batch.own))
        self.land_batch(lane.state, batch, returned)
        check_surplus(batch.own, returned)

    async def _board(
        self,
        lane: TaskLane[K, V, E],
        strategy: Strategy,
        key: K,
        callback: Callback[K, V, E],
        flight: TaskFlight[K, V, E],
    ) -> Landing[V, E] | Stale[V, E] | TaskFlight[K, V, E]:
        """Decide, and lead ``flight`` where that is the decision; give the flight to join where there is one."""
        try:
            try:
                with flight.latch:
                    step = self._guard.run(lane.state.decide, strategy, key, callback, flight, self._clock())
                    if step is flight:
                        with waiting(flight.asker, flight):
                            return await self._lead(lane, key, callback, flight)
                return step
            finally:
                self._tidy(lane, key, flight)
        finally:
            # An interrupt may have struck inside the first.
            self._tidy(lane, key, flight)
            self._staff(lane)

    async def _lead(
        self, lane: TaskLane[K, V, E], key: K, callback: Callback[K, V, E], flight: TaskFlight[K, V, E]
    ) -> Landing[V, E]:
        """Run ``callback`` and land its outcome."""
        token = ASKER.set(flight)
        try:
            attempted = await attempt(callback, key, self.measured)
        finally:
            # A coroutine may be closed by the collector, in another context.
            with suppress(ValueError):
                ASKER.reset(token)
        return self.land(lane.state, key, flight, attempted)

    def _tidy(self, lane: TaskLane[K, V, E], key: K, flight: TaskFlight[K, V, E]) -> None:
        """Put in order what the leader of ``flight`` left, and let those go on who wait for it."""
        if flight.untidy:
            if flight.landing is None:
                self._guard.write(lane.state.abandon, key, flight)
            elif flight.behind is not None:
                resolve_all(flight.behind.refreshes, flight.landing)
            flight.untidy = False
        lane.wake(flight)

    def _staff(self, lane: TaskLane[K, V, E]) -> None:
        """Start what is queued, as far as there is room; what nobody will run is dropped."""
        if lane.staffing or not lane.state.background.queue or not lane.is_here():
            return
        lane.staffing = True
        try:
            while self._start_next(lane):
                pass
        finally:
            lane.staffing = False

    def _start_next(self, lane: TaskLane[K, V, E]) -> bool:
        """Start one queued load in a task of its own, in the context of the caller who left it; say whether one was."""
        worker = Worker()
        queued = self._guard.run(lane.state.background.take, worker)
        if queued is None:
            return False
        try:
            queued.context.run(self._spawn, lane, lane.block(), worker, queued)
        except BaseException as refusal:
            self._call_off(lane, worker, queued, str(refusal))
            if not isinstance(refusal, Exception):
                raise
        return True

    def _spawn(
        self, lane: TaskLane[K, V, E], block: TaskBlock[K, V, E], worker: Worker, queued: TaskQueued[K, V, E]
    ) -> None:
        block.starting[worker] = queued
        try:
            _handle = block.group.start_soon(self._work, lane, block, worker, queued)
        except BaseException:
            block.starting.pop(worker, None)
            raise

    def _call_off(self, lane: TaskLane[K, V, E], worker: Worker, queued: TaskQueued[K, V, E], why: str) -> None:
        """Drop a load that was about to start."""
        self._guard.run(lane.state.background.leave, worker)
        self._guard.run(lane.state.table.detach, queued.key, queued)
        self._drop([queued], why)

    async def _work(
        self, lane: TaskLane[K, V, E], block: TaskBlock[K, V, E], worker: Worker, queued: TaskQueued[K, V, E]
    ) -> None:
        """Run one background load, and tell who waits for it how it ended, whatever was raised.

        Nothing that strikes it is raised again: it ends here, and its group must go on.
        """
        block.starting.pop(worker, None)
        flight: TaskFlight[K, V, E] = Flight(None)
        flight.calling = True
        landing: Landing[V, E] | None = None
        ASKER.set(flight)
        try:
            with flight.latch:
                landing = await self._lead_behind(lane, queued, flight)
        except BaseException as struck:
            landing = told(struck, here=lane.is_here())
        finally:
            flight.behind = None
            self._tidy(lane, queued.key, flight)
            if landing is not None:
                self.report_behind(queued.key, flight, landing)
                resolve_all(queued.refreshes, landing)
                self._guard.write(lane.state.table.detach, queued.key, queued)
            if isinstance(landing, Raised):
                landing.forget_frames()
            self._guard.write(lane.state.background.leave, worker)
            self._staff(lane)
            # This frame still runs, and a traceback may lead to it: it must not lead back to the exception.
            del landing, queued, flight

    async def _lead_behind(
        self, lane: TaskLane[K, V, E], queued: TaskQueued[K, V, E], flight: TaskFlight[K, V, E]
    ) -> Landing[V, E] | None:
        """Lead ``flight`` in place of ``queued``, unless that became needless."""
        started = self._guard.run(lane.state.start, queued, flight, self._clock())
        if not isinstance(started, Flight):
            return started
        self.report_start(queued.key)
        return self.land(lane.state, queued.key, flight, await attempt(queued.callback, queued.key, self.measured))

    def awaitable(self, refresh: Refresh[V, E]) -> AsyncRefresh[V, E]:
        """Give what tasks can await in place of ``refresh``: the same for all who ask."""
        known = self._refreshes.get(refresh)
        if known is None:
            known = self._refreshes[refresh] = AsyncRefresh(refresh)
            refresh.add_done_callback(self._forget)
        return known

    def _forget(self, refresh: Refresh[V, E]) -> None:
        self._refreshes.pop(refresh, None)
