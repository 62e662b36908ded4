"""Event loops: which one runs, who runs in it, what its tasks wait for, and how they are woken."""

import asyncio
import gc
import math
import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Generator
from contextlib import suppress
from contextvars import Context
from typing import Any, Generic, Protocol, TypeVar, cast, final
from weakref import ref

from anyio import Event, current_effective_deadline, move_on_after
from anyio.lowlevel import current_token

from lastcache._shell.flight import Dropped, Job, Raised
from lastcache.core.states import Answer

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")


class _TrioToken(Protocol):
    def run_sync_soon(self, act: Callable[[], object]) -> None: ...


def running_loop() -> object:
    """Give the event loop that runs in this thread: a loop of asyncio, or trio's token.

    Raises ``anyio.NoEventLoopError``, a ``RuntimeError``, where none runs.
    """
    task = asyncio_task()
    return current_token().native_token if task is None else task.get_loop()


def asyncio_task() -> "asyncio.Task[Any] | None":
    """Give the task of asyncio that runs in this thread, if one does."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def soon(loop: object, act: Callable[[], object]) -> None:
    """Call ``act`` in ``loop``, from whichever thread; where the loop has ended there is nobody to call it for."""
    with suppress(RuntimeError):
        if isinstance(loop, AbstractEventLoop):
            loop.call_soon_threadsafe(act)
        elif loop is not None:
            cast("_TrioToken", loop).run_sync_soon(act)


def is_being_cancelled() -> bool:
    """Whether the running task is being cancelled: by ``Task.cancel``, or by a cancel scope around it."""
    task = asyncio_task()
    if task is not None and task.cancelling():
        return True
    return bool(current_effective_deadline() == -math.inf)


def running_task() -> object:
    """Give the task that runs: of asyncio, or of trio."""
    return asyncio_task() or cast("Any", sys.modules["trio"]).lowlevel.current_task()


@final
class TaskLeader:
    """A task that leads a load."""

    __slots__ = ("_task",)

    def __init__(self, task: object) -> None:
        self._task = ref(task)

    def is_another_in_this_context(self) -> bool:
        """Say whether another task runs now, in the very context of this one: not in a copy, as a child does."""
        task, running = self._task(), running_task()
        if task is None or task is running:
            return False
        return _context_of(task) is _context_of(running)


def _context_of(task: object) -> Context | None:
    if not isinstance(task, asyncio.Task):
        return cast("Context", cast("Any", task).context)  # a task of trio
    if sys.version_info >= (3, 12):
        return cast("asyncio.Task[object]", task).get_context()
    # Before, a task does not tell; but the collector sees its context, before those of its callbacks.
    return next((found for found in gc.get_referents(task) if isinstance(found, Context)), None)


@final
class TaskWaiter:
    """An event of one loop, which can be set from any thread."""

    __slots__ = ("_loop", "event")

    def __init__(self) -> None:
        self.event = Event()
        self._loop = ref(running_loop())

    def wake(self) -> None:
        """Let the task go on."""
        soon(self._loop(), self.event.set)


async def wait_for(job: Job[K, V, E, C], seconds: float = math.inf) -> None:
    """Return once ``job`` has ended, or after ``seconds``."""
    waiter = TaskWaiter()
    wake = waiter.wake
    job.waiting.append(wake)
    try:
        # It may have ended, in another thread, before that thread could see who waits.
        if job.landing is None:
            with move_on_after(seconds):
                await waiter.event.wait()
    finally:
        job.waiting.remove(wake)


@final
class AsyncRefresh(Generic[K, V, E, C]):
    """The answer that a caller who waited would have got, for any number of tasks, of any loop, to await.

    Nobody's cancellation ends it for the others. It raises what the callback raised, or ``LoadDroppedError``.
    """

    __slots__ = ("_job",)

    def __init__(self, job: Job[K, V, E, C]) -> None:
        self._job = job

    def __await__(self) -> Generator[Any, Any, Answer[V, E]]:
        return self._answer().__await__()

    async def _answer(self) -> Answer[V, E]:
        while (landing := self._job.landing) is None:
            await wait_for(self._job)
        if isinstance(landing, Dropped):
            raise landing.err
        return landing.give() if isinstance(landing, Raised) else landing


def refresh_of(job: Job[K, V, E, C]) -> AsyncRefresh[K, V, E, C]:
    """Give what all tasks can await that were given a stale value ahead of ``job``."""
    if job.landing is not None:
        return AsyncRefresh(job)
    if job.refresh is None:
        made: AsyncRefresh[K, V, E, C] = AsyncRefresh(job)
        job.refresh = made
        return made
    return cast("AsyncRefresh[K, V, E, C]", job.refresh)
