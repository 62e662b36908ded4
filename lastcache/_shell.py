"""What both shells do alike: the state of one cache behind its guard, and how a load that ran lands in it."""

from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

from lastcache._flight import Answered, Flight, Landing, Raised, Returned
from lastcache._forks import renew_in_children
from lastcache._guard import Guard, inside
from lastcache._outcomes import forget_frames
from lastcache._state import State
from lastcache.config import Config
from lastcache.transitions import kept_error, settle

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
P = ParamSpec("P")
T = TypeVar("T")


class Shell(Generic[K, V, E, C]):
    """The state of one cache behind its guard; ``C`` is the type of its callbacks."""

    __slots__ = ("__weakref__", "_clock", "_guard", "state")

    def __init__(self, config: Config, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._guard = Guard()
        self.state: State[K, V, E, C] = State(config)
        renew_in_children(self)

    def renew(self) -> None:
        """Begin with a free lock, no flight and nobody at work, as the child of a fork must; the entries stay."""
        raise NotImplementedError

    def close(self) -> None:
        """End the use of the cache, without waiting: detach every flight, drop what is queued, forget the entries."""
        raise NotImplementedError

    def check_open(self) -> None:
        """Raise ``CacheClosedError`` if the cache is closed."""
        self.state.check_open()

    def read(self, look: Callable[[], T]) -> T:
        """Give what ``look`` sees between two changes, or, where the guard is held, inside this one."""
        return look() if inside() is not None else self._guard.run(look)

    def write(self, change: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Make a change of the table. Raises ``CacheClosedError``."""
        self.state.check_open()
        self._guard.write(self.state.change, change, *args, **kwargs)

    def land(
        self, state: State[K, V, E, C], key: K, flight: Flight[K, V, E, C], attempted: Returned[V, E] | Raised
    ) -> Landing[V, E]:
        """Land in ``state`` what came of the callback that ``flight`` ran."""
        if isinstance(attempted, Raised):
            self._guard.run(state.crash, key, flight, attempted)
            return attempted
        landed = self._guard.run(state.land, key, flight, attempted)
        forget_frames(kept_error(landed.transition.entry))
        return Answered(landed.transition.answer)

    def uncached(self, key: K, attempted: Returned[V, E] | Raised) -> Landing[V, E]:
        """Give what a load answers that ran where nothing may be waited for, and so is not stored."""
        if isinstance(attempted, Raised):
            return attempted
        entry = self.state.table.entries.get(key)
        return Answered(settle(self.state.table.policy, entry, attempted.outcome, attempted.now).answer)
