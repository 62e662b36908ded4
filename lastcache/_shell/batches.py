"""Many keys in one call: which of them one callback loads, and how each lands.

The flights of a batch share one latch, and whoever waits for one of them waits for the callback of all: each asks for
the batch, which is what the callback itself asks as. So a circle through any of the keys is found as ever.
"""

from collections.abc import Callable, Container, Mapping
from threading import get_ident
from typing import Generic, TypeVar, cast, final

from lastcache._shell.flight import Flight, Landing, Raised, Returned
from lastcache._shell.outcomes import check_outcome
from lastcache._shell.reentrancy import Asking
from lastcache.core.states import Outcome

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")


@final
class Batch(Generic[K, V, E, C]):
    """The flights that one call may lead, and what it found for each of its keys.

    ``landings`` are there at once, ``own`` are its to lead, and ``joined`` are led by others.
    """

    __slots__ = ("flight", "flights", "joined", "landings", "own")

    def __init__(self, asker: Asking | None, keys: tuple[K, ...]) -> None:
        self.flight: Flight[K, V, E, C] = Flight(asker)
        self.flights: dict[K, Flight[K, V, E, C]] = {key: self._flight(asker) for key in keys}
        self.landings: dict[K, Landing[V, E]] = {}
        self.own: dict[K, Flight[K, V, E, C]] = {}
        self.joined: dict[K, Flight[K, V, E, C]] = {}

    def _flight(self, asker: Asking | None) -> Flight[K, V, E, C]:
        flight: Flight[K, V, E, C] = Flight(asker, self.flight.latch)
        flight.asks.append(self.flight)
        return flight


def told_apart(
    keys: tuple[K, ...],
    returned: Mapping[K, Outcome[V, E]] | Raised,
    measured: Callable[[Outcome[V, E]], Returned[V, E]],
) -> dict[K, Returned[V, E] | Raised]:
    """Give for each key what came of it; what is missing or wrong is a ``TypeError`` of that key alone."""
    if isinstance(returned, Raised):
        return dict.fromkeys(keys, returned)
    return {key: _of_one(key, returned, measured) for key in keys}


def _of_one(
    key: K, returned: Mapping[K, Outcome[V, E]], measured: Callable[[Outcome[V, E]], Returned[V, E]]
) -> Returned[V, E] | Raised:
    try:
        return measured(outcome_of(key, returned))
    except Exception as err:
        return Raised(err, err.__traceback__, get_ident())


def outcome_of(key: K, returned: Mapping[K, Outcome[V, E]]) -> Outcome[V, E]:
    """Give what a callback of many keys returned for ``key``. Raises ``TypeError`` where that is nothing, or wrong."""
    if key not in returned:
        raise TypeError(f"the callback must return an outcome for each key that it was given; none came for {key!r}")
    outcome = returned[key]
    check_outcome(outcome)
    return outcome


def check_mapping(returned: object) -> None:
    """Raise ``TypeError``, saying what came, unless ``returned`` is a mapping."""
    if not isinstance(returned, Mapping):
        raise TypeError(f"the callback must return a mapping from key to outcome; it returned {returned!r}")


def check_surplus(keys: Container[K], returned: object) -> None:
    """Raise ``TypeError`` where a callback returned an outcome for a key that it was not given."""
    if isinstance(returned, Raised):
        return
    for key in cast("Mapping[K, object]", returned):
        if key not in keys:
            raise TypeError(f"the callback must return outcomes for the keys that it was given alone; {key!r} is none")
