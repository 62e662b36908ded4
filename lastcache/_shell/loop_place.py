"""The place of tasks: how those of one event loop call and wait, and what runs in its background."""

from asyncio import AbstractEventLoop
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar, final
from weakref import ref

from anyio import Event, current_time, get_current_task, sleep

from lastcache._shell.awaited import Callback, awaited, exception_for_waiters
from lastcache._shell.flight import Flight, Job
from lastcache._shell.guard import inside
from lastcache._shell.inflight import CacheState
from lastcache._shell.loops import (
    TaskLeader,
    TaskWaiter,
    is_being_cancelled,
    running_loop,
    running_task,
    soon,
    wait_for,
)
from lastcache._shell.reentrancy import LoadNode
from lastcache._shell.scopes import Scope
from lastcache.config import Config

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
T = TypeVar("T")

TaskJob: TypeAlias = Job[K, V, E, Callback[K, V, E]]


if TYPE_CHECKING:
    from lastcache._shell.tasks import TaskShell


@final
class _Start:
    """A task that was started for a load in ``scope``, and has not run yet."""

    __slots__ = ("scope",)

    def __init__(self, scope: Scope) -> None:
        self.scope = scope


@final
class LoopPlace(Generic[K, V, E]):
    """The part of one cache in one event loop: its loads, its blocks, and what runs in them.

    All but ``state`` is for that loop alone to touch. ``starting`` has the queued loads whose task has not run yet: it
    takes the load from the queue in its first step, and one that is cancelled before never does.
    """

    __slots__ = ("_limit", "_running", "_shell", "_starts", "_working", "loop", "scopes", "starting", "state")

    @property
    def awaited(self) -> Callable[[Any], Awaitable[Any]]:
        """Give what awaits what a callback returned."""
        return awaited

    def __init__(self, shell: "TaskShell[K, V, E]", loop: object, config: Config) -> None:
        self._shell = ref(shell)
        self._limit = config.async_semaphore
        self._running = 0
        self._starts = False
        self._working = set[object]()
        self.loop: ref[object] = ref(loop)
        self.scopes: list[Scope] = []
        self.starting: dict[TaskJob[K, V, E], _Start] = {}
        self.state: CacheState[K, V, E, Callback[K, V, E]] = shell.new_state(config, self.timer, beside=shell.state)

    def is_here(self) -> bool:
        """Whether its event loop runs in this thread: not so where the collector closes a coroutine of a dead one."""
        with suppress(RuntimeError):
            return running_loop() is self.loop()
        return False

    def has_ended(self) -> bool:
        """Whether its event loop is gone; one that was closed may be kept alive by the tasks that it left."""
        loop = self.loop()
        return loop is None or (isinstance(loop, AbstractEventLoop) and loop.is_closed())

    def leader(self) -> TaskLeader:
        """Give the task that runs."""
        return TaskLeader(running_task())

    def is_cancelled(self) -> bool:
        """Whether the running task is being cancelled."""
        return is_being_cancelled()

    async def join(self, flight: Flight[V, E]) -> None:
        """Return once ``flight``, which another task of this loop leads, has landed or was abandoned."""
        if flight.over:
            return
        if flight.event is None:
            flight.event = Event()
        await flight.event.wait()

    async def patiently(self, job: TaskJob[K, V, E], seconds: float) -> None:
        """Return once ``job`` has ended, or after ``seconds`` of the loop's clock."""
        await wait_for(job, seconds)

    async def call_store(self, call: Callable[[], T]) -> T:
        """Call the store in a thread of our own, so that the loop goes on, and nobody else's threads are taken."""
        shell = self._shell()
        if shell is None:
            return call()
        waiter, given = TaskWaiter(), list[T]()
        shell.store_threads.run(partial(_call_for, call, given, waiter))
        await waiter.event.wait()
        return given[0]

    async def pause(self, seconds: float) -> None:
        """Sleep."""
        await sleep(seconds)

    def timer(self) -> float:
        """Give an instant of the loop's clock."""
        return current_time()

    def has_block(self) -> bool:
        """Whether there is a block: outside of one nothing can load in the background."""
        return bool(self.scopes)

    def has_background(self) -> bool:
        """Say yes: a task can always be had."""
        return True

    def wake(self, flight: Flight[V, E]) -> None:
        """Let those go on who wait for ``flight``."""
        if flight.event is not None:
            soon(self.loop(), flight.event.set)

    def tell(self, jobs: Sequence[TaskJob[K, V, E]], *, here: bool) -> None:  # noqa: ARG002  # tasks are woken from anywhere
        """Let go of what tasks await: who waits was woken, and holds it."""
        for job in jobs:
            job.refresh = None

    def start(self) -> None:
        """Start a task for each queued load, as far as there is room; outside of a block they are dropped."""
        shell = self._shell()
        if shell is None or self._starts or inside() is not None or not self.is_here():
            return
        self._starts = True
        try:
            while self._running < self._limit and self.state.loads.queue:
                # Other loops and threads take jobs out of the queue, too.
                job = shell.guard.run(self._next)
                if job is None:
                    return
                self._start(shell, job)
        finally:
            self._starts = False

    def _next(self) -> TaskJob[K, V, E] | None:
        """Give the queued load that has waited longest of those that have no task yet."""
        return next((job for job in self.state.loads.queue if job not in self.starting), None)

    def _start(self, shell: "TaskShell[K, V, E]", job: TaskJob[K, V, E]) -> None:
        if not self.scopes:
            shell.guard.run(self.state.strand, "the block of its cache was left")
            shell.notify(self)
            return
        self._running += 1
        begun = self.starting[job] = _Start(self.scopes[0])
        try:
            begun.scope.spawn(job.context, partial(self._work, shell, job), partial(self._lost, shell, job, begun))
        except BaseException as refusal:
            self._lost(shell, job, begun, str(refusal))
            if not isinstance(refusal, Exception):
                raise

    def _lost(
        self, shell: "TaskShell[K, V, E]", job: TaskJob[K, V, E], begun: "_Start", why: str = "it was cancelled"
    ) -> None:
        """Drop a load whose task is over, and has not taken its first step."""
        if self.starting.get(job) is begun:
            del self.starting[job]
            self._running -= 1
            shell.guard.write(self.state.drop, job, why)
            shell.notify(self)
            self.start()

    async def _work(self, shell: "TaskShell[K, V, E]", job: TaskJob[K, V, E]) -> None:
        """Run one background load. Nothing that interrupts it is raised again: it ends in its ``refresh``."""
        self.starting.pop(job, None)
        me = running_task()
        self._working.add(me)
        flight: Flight[V, E] = Flight(LoadNode(None, self.leader()))
        try:
            with flight.latch:
                await self._lead(shell, job, flight)
        finally:
            self._working.discard(me)
            self._running -= 1
            self.wake(flight)
            shell.report_refresh(job.key, job, flight)
            shell.end_refresh(self, flight)
            self.start()

    async def _lead(self, shell: "TaskShell[K, V, E]", job: TaskJob[K, V, E], flight: Flight[V, E]) -> None:
        """Take the job and lead it, unless it was taken over, dropped, or is not needed any more."""
        try:
            if shell.guard.run_now(self.state.start, job, flight):
                await shell.refresh(self, job.key, job.callback, flight)
        except BaseException as interrupt:
            landing = exception_for_waiters(interrupt, here=self.is_here())
            if flight.began_at is None:
                shell.guard.write(self.state.end, job, landing)
            else:
                shell.guard.write(self.state.fail, job.key, flight, landing)

    async def leave(self, shell: "TaskShell[K, V, E]", *, raised: bool) -> None:
        """End the block that this task entered last, or else the one that was entered last."""
        task = get_current_task().id
        if running_task() in self._working:
            raise RuntimeError("a background load cannot leave the block of an AsyncLastCache that it runs in")
        if not self.scopes:
            raise RuntimeError("no block of this AsyncLastCache is open in this event loop: it was left before")
        own = [scope for scope in self.scopes if scope.task == task]
        scope = (own or self.scopes)[-1]
        self.scopes.remove(scope)
        try:
            await scope.end(raised=raised)
        except RuntimeError:
            self.scopes.append(scope)
            raise
        for job, begun in list(self.starting.items()):
            if begun.scope is scope:
                self._lost(shell, job, begun)
        self.start()


def _call_for(call: Callable[[], T], given: list[T], waiter: TaskWaiter) -> None:
    given.append(call())
    waiter.wake()
