"""Where a call is made: a thread, or a task of one event loop. A place says how to call and how to wait."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

from lastcache._shell.flight import Flight, Job
from lastcache._shell.inflight import CacheState
from lastcache._shell.reentrancy import Leader

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
T = TypeVar("T")


class Place(Protocol[K, V, E, C]):
    """What the script asks of a place; nothing of a rule is here."""

    @property
    def state(self) -> CacheState[K, V, E, C]:
        """The entries of the cache, and the loads of this place."""
        ...

    @property
    def leader(self) -> Callable[[], Leader] | None:
        """Give what gives the task that runs; None where threads lead."""
        ...

    @property
    def awaited(self) -> Callable[[Any], Awaitable[Any]] | None:
        """Give what awaits what a callback returned; None where callbacks return their outcome."""
        ...

    def is_cancelled(self) -> bool:
        """Whether the running task is being cancelled: what its callback raises then is its own affair."""
        ...

    async def join(self, flight: Flight[V, E]) -> None:
        """Return once ``flight`` has landed or was abandoned."""

    async def patiently(self, job: Job[K, V, E, C], seconds: float) -> None:
        """Return once ``job`` has ended, or after ``seconds`` of the timer."""

    async def call_store(self, call: Callable[[], T]) -> T:
        """Call a store, which takes a while, and give what it says."""
        ...

    async def pause(self, seconds: float) -> None:
        """Return after ``seconds``."""

    def timer(self) -> float:
        """Give an instant in seconds, by which soft timeouts are measured."""
        ...

    def has_block(self) -> bool:
        """Whether loads may be left to the background here: tasks need a block for that."""
        ...

    def has_background(self) -> bool:
        """Whether what is left to the background is run: not so where no worker could be had, time and again."""
        ...

    def wake(self, flight: Flight[V, E]) -> None:
        """Let those go on who wait for ``flight``."""

    def tell(self, jobs: Sequence[Job[K, V, E, C]], *, here: bool) -> None:
        """Resolve the futures of ``jobs``, which have ended: in this very thread, or elsewhere."""

    def start(self) -> None:
        """Have queued jobs run, as far as there is room."""
