"""The part of a cache in one event loop, what its tasks wait for, and how they are woken."""

import sys
from asyncio import AbstractEventLoop
from collections.abc import Callable, Generator
from contextlib import suppress
from threading import get_ident
from typing import Any, Generic, Protocol, TypeVar, cast, final
from weakref import ref

from anyio import Event
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token

from lastcache._shell.background import Worker
from lastcache._shell.flight import Answered, Flight, Landing, Queued, Raised, Refresh
from lastcache._shell.inflight import State
from lastcache.core.states import Answer

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")


@final
class Block(Generic[K, V, E, C]):
    """One ``async with`` of a cache: the task that entered it, and the group of its background loads.

    ``starting`` has the loads whose task has not run yet: one that is cancelled before its first step never does.
    """

    __slots__ = ("group", "starting", "task")

    def __init__(self, group: TaskGroup, task: int) -> None:
        self.group = group
        self.task = task
        self.starting: dict[Worker, Queued[K, V, E, C]] = {}


@final
class Lane(Generic[K, V, E, C]):
    """The flights, the queue and the blocks of one cache in one event loop.

    All but ``state`` is for that loop alone to touch. ``staffing`` while queued loads are being started.
    """

    __slots__ = ("blocks", "loop", "staffing", "state")

    def __init__(self, loop: object, state: State[K, V, E, C]) -> None:
        self.loop = ref(loop)
        self.state = state
        self.blocks: list[Block[K, V, E, C]] = []
        self.staffing = False

    def is_here(self) -> bool:
        """Whether its event loop runs in this thread: not so where the collector closes a coroutine of a dead one."""
        with suppress(RuntimeError):
            return running_loop() is self.loop()
        return False

    def has_ended(self) -> bool:
        """Whether its event loop is gone; one that was closed may be kept alive by the tasks that it left."""
        loop = self.loop()
        return loop is None or (isinstance(loop, AbstractEventLoop) and loop.is_closed())

    def block(self) -> Block[K, V, E, C]:
        """Give the block for background loads: of those that are not being left, the one that was entered first."""
        if not self.blocks:
            raise LookupError("the block of its cache was left")
        return self.blocks[0]

    async def join(self, flight: Flight[K, V, E, C]) -> None:
        """Return once ``flight``, which another task of this loop leads, has landed or was abandoned."""
        if flight.over:
            return
        if flight.event is None:
            flight.event = Event()
        await flight.event.wait()

    def wake(self, flight: Flight[K, V, E, C]) -> None:
        """Let those go on who wait for ``flight``."""
        if flight.event is not None:
            soon(self.loop(), flight.event.set)


class _TrioToken(Protocol):
    def run_sync_soon(self, act: Callable[[], object]) -> None: ...


def running_loop() -> object:
    """Give the event loop that runs in this thread: a loop of asyncio, or trio's token.

    Raises ``anyio.NoEventLoopError``, a ``RuntimeError``, where none runs.
    """
    return current_token().native_token


def soon(loop: object, act: Callable[[], object]) -> None:
    """Call ``act`` in ``loop``, from whichever thread; where the loop has ended there is nobody to call it for."""
    with suppress(RuntimeError):
        if isinstance(loop, AbstractEventLoop):
            loop.call_soon_threadsafe(act)
        elif loop is not None:
            cast("_TrioToken", loop).run_sync_soon(act)


def shield_from_interrupts(work: Callable[..., object]) -> None:
    """Have trio give Ctrl-C to its main task, and not to a task that runs ``work``: there it would end in a refresh."""
    trio = sys.modules.get("trio")
    if trio is not None:
        # Of a method, trio needs the function.
        trio.lowlevel.enable_ki_protection(getattr(work, "__func__", work))


@final
class AsyncRefresh(Generic[V, E]):
    """The answer that a caller who waited would have got, for any number of tasks, of any loop, to await.

    Nobody's cancellation ends it for the others. It raises what the callback raised, or ``LoadDroppedError``.
    """

    __slots__ = ("_landing", "_waiting")

    def __init__(self, future: Refresh[V, E]) -> None:
        self._landing: Landing[V, E] | None = None
        self._waiting = set[_Waiting]()
        future.add_done_callback(self._land)

    def __await__(self) -> Generator[Any, Any, Answer[V, E]]:
        return self._answer().__await__()

    async def _answer(self) -> Answer[V, E]:
        while (landing := self._landing) is None:
            await self._wait()
        try:
            return landing.give()
        finally:
            # What is raised keeps this frame, which must not lead back to it.
            del landing, self

    async def _wait(self) -> None:
        waiting = _Waiting()
        self._waiting.add(waiting)
        try:
            # It may have landed, in another thread, before that thread could see who waits.
            if self._landing is None:
                await waiting.event.wait()
        finally:
            self._waiting.discard(waiting)

    def _land(self, future: Refresh[V, E]) -> None:
        err = future.exception()
        self._landing = Answered(future.result()) if err is None else Raised(err, err.__traceback__, get_ident())
        for waiting in list(self._waiting):
            soon(waiting.loop(), waiting.event.set)


@final
class _Waiting:
    """A task that waits."""

    __slots__ = ("event", "loop")

    def __init__(self) -> None:
        self.event = Event()
        self.loop = ref(running_loop())
