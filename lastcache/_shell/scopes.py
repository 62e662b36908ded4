"""The block of a cache for tasks: where its background loads run, and how they end with it."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, Protocol, cast, final

from anyio import CancelScope, create_task_group, get_current_task
from anyio.abc import TaskGroup

from lastcache._shell.loops import asyncio_task

Work = Callable[[], Coroutine[Any, Any, None]]


class Scope(Protocol):
    """One ``async with`` of a cache."""

    task: int

    def spawn(self, context: Context, work: Work, over: Callable[[], object]) -> None:
        """Run ``work`` in a task of its own, in ``context``; call ``over`` once that is over, or never began."""

    async def end(self, *, raised: bool) -> None:
        """Cancel what runs here, and wait for it to end; ``raised`` is whether the block raised.

        Raises ``RuntimeError`` where this task may not.
        """


async def open_scope() -> Scope:
    """Begin a block in the running event loop."""
    return TrioScope(await create_task_group().__aenter__()) if asyncio_task() is None else AsyncioScope()


@final
class AsyncioScope:
    """A block of asyncio: any task of its loop may leave it."""

    def __init__(self) -> None:
        self.task = get_current_task().id
        self._loop = asyncio.get_running_loop()
        self._tasks = set[asyncio.Task[None]]()

    def spawn(self, context: Context, work: Work, over: Callable[[], object]) -> None:
        """Run ``work`` in a task of its own, in ``context``."""
        begun = work()
        try:
            task = self._loop.create_task(begun, context=context)
        except BaseException:
            begun.close()
            raise
        if not task.done():
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _task: over())

    async def end(self, *, raised: bool) -> None:
        """Cancel the tasks, and wait for them to end.

        What cancels the waiting task meanwhile is raised once they have ended. It must not replace what the block
        raised: then it waits for the next step.
        """
        host = asyncio_task()
        for task in self._tasks.copy():
            task.cancel()
        cancelled = await self._all_ended()
        if cancelled is not None and not raised:
            raise cancelled
        if cancelled is not None and host is not None:
            host.uncancel()
            host.cancel()

    async def _all_ended(self) -> asyncio.CancelledError | None:
        """Wait for the tasks to end; give what cancelled the waiting one meanwhile."""
        cancelled: asyncio.CancelledError | None = None
        with CancelScope(shield=True):
            while running := [task for task in self._tasks if not task.done()]:
                try:
                    await asyncio.wait(running)
                except asyncio.CancelledError as err:
                    cancelled = err
        return cancelled


@final
class TrioScope:
    """A block of trio, which is a nursery: the task that entered it has to leave it."""

    def __init__(self, group: TaskGroup) -> None:
        self.task = get_current_task().id
        self._group = group

    def spawn(self, context: Context, work: Work, over: Callable[[], object]) -> None:  # noqa: ARG002  # they all begin
        """Run ``work`` in a task of its own, in a copy of ``context``."""
        shield_from_interrupts(work)
        _handle = context.run(self._group.start_soon, work)

    async def end(self, *, raised: bool) -> None:  # noqa: ARG002  # a nursery knows
        """Cancel the tasks, and wait for them to end."""
        if get_current_task().id != self.task:
            raise RuntimeError(
                "the block of an AsyncLastCache must be left in the task that entered it: under trio it is a nursery; "
                "write one `async with cache:` around all that uses the cache, see docs/async.md"
            )
        # What cancels the host meanwhile waits for its next step: it must not replace what the block raised.
        self._group.cancel_scope.shield = True
        self._group.cancel_scope.cancel()
        await self._group.__aexit__(None, None, None)


def shield_from_interrupts(work: Callable[..., object]) -> None:
    """Have trio give Ctrl-C to its main task, and not to a task that runs ``work``: there it would end in a refresh."""
    # Under trio it is imported; of a method, or of a part of one, it needs the function.
    lowlevel = cast("Any", sys.modules["trio"]).lowlevel
    work = getattr(work, "func", work)
    lowlevel.enable_ki_protection(getattr(work, "__func__", work))
