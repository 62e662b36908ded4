"""Many keys in one call: which of them one callback loads, and how each lands.

The flights of a batch share one node of the wait-for graph, and its latch: whoever waits for one of them waits for the
callback of all, and a circle through any of the keys is found as for a single one.
"""

from collections.abc import Callable, Container, Mapping
from typing import Generic, TypeVar, cast, final

from lastcache._shell.flight import Flight, Landing, Raised, Stale, Unchecked
from lastcache._shell.outcomes import check_outcome
from lastcache._shell.reentrancy import LoadNode
from lastcache.core.states import Outcome

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")


@final
class Batch(Generic[K, V, E]):
    """The flights that one call may lead, and what it found for each of its keys.

    ``landings`` are there at once, ``own`` are its to lead, and ``joined`` are led by others. ``unchecked`` are to be
    asked for before they are given, and ``elsewhere`` are those that another process loads.
    """

    __slots__ = ("elsewhere", "flights", "joined", "landings", "node", "own", "unchecked")

    def __init__(self, node: LoadNode, keys: tuple[K, ...]) -> None:
        self.node: LoadNode = node
        self.flights: dict[K, Flight[V, E]] = {key: Flight(node) for key in keys}
        self.landings: dict[K, Landing[V, E]] = {}
        self.own: dict[K, Flight[V, E]] = {}
        self.joined: dict[K, Flight[V, E]] = {}
        self.unchecked: dict[K, Unchecked[V, E]] = {}
        self.elsewhere: list[K] = []

    def decide(self, decide: Callable[[K, Flight[V, E]], object]) -> None:
        """Sort the keys by what ``decide`` says for each."""
        for key, flight in self.flights.items():
            step = decide(key, flight)
            if step is flight:
                self.own[key] = flight
            elif isinstance(step, Flight):
                self.joined[key] = cast("Flight[V, E]", step)
            elif isinstance(step, Unchecked):
                self.unchecked[key] = cast("Unchecked[V, E]", step)
            elif not isinstance(step, Stale):
                self.landings[key] = cast("Landing[V, E]", step)


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


def check_surplus(keys: Container[K], returned: Mapping[K, object] | Raised) -> None:
    """Raise ``TypeError`` where a callback returned an outcome for a key that it was not given."""
    if isinstance(returned, Raised):
        return
    for key in returned:
        if key not in keys:
            raise TypeError(f"the callback must return outcomes for the keys that it was given alone; {key!r} is none")
