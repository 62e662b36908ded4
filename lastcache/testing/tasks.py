"""Callbacks for ``AsyncLastCache`` that follow a script."""

from typing import Generic, TypeVar

from lastcache.core.states import Outcome
from lastcache.testing._scripts import PATIENCE, Script

try:
    from anyio import Semaphore, fail_after
except ImportError as _missing:
    raise ImportError("lastcache.testing.tasks needs anyio: pip install 'lastcache[anyio]'") from _missing

__all__ = ["AsyncScriptedLoad"]

V = TypeVar("V")
E = TypeVar("E")


class AsyncScriptedLoad(Generic[V, E]):
    """``ScriptedLoad`` for tasks: the call and ``started`` are awaited.

    >>> import anyio
    >>> from lastcache.tasks import AsyncLastCache
    >>> from returns.result import Success
    >>> load = AsyncScriptedLoad[int, str](Success(42))
    >>> anyio.run(AsyncLastCache[str, int, str]().load_or_store, "answer", load)
    <Success: CachedValue(value=42, stale=False, err=None)>
    """

    def __init__(self, *outcomes: Outcome[V, E] | BaseException, gated: bool = False, repeat: bool = False) -> None:
        self._script: Script[V, E] = Script(outcomes, repeat=repeat)
        self._gate = Semaphore(0) if gated else None
        self._starts = Semaphore(0)

    @property
    def calls(self) -> list[object]:
        """The keys that were asked for, in turn."""
        return self._script.calls

    async def __call__(self, key: object) -> Outcome[V, E]:
        """Give the next outcome, once the test lets it go."""
        self._script.ask(key)
        self._starts.release()
        if self._gate is not None:
            await self._gate.acquire()
        return self._script.play()

    async def started(self) -> None:
        """Wait until one more call has begun. Raises ``TimeoutError`` if none does."""
        with fail_after(PATIENCE.total_seconds()):
            await self._starts.acquire()

    def let_go(self, times: int = 1) -> None:
        """Let as many calls end, those that wait or those to come."""
        if self._gate is not None:
            for _ in range(times):
                self._gate.release()
