"""A bag that forgets what nobody else refers to any more.

A ``WeakSet`` does so in callbacks, which are Python code: a signal that strikes there is swallowed, not raised.
Here the dead are swept as the bag grows, so that adding stays cheap.
"""

from typing import Generic, TypeVar, final
from weakref import ref

T = TypeVar("T")


@final
class WeakBag(Generic[T]):
    """The things that were added, as long as they live.

    >>> class Thing: ...
    >>> bag, thing = WeakBag[Thing](), Thing()
    >>> bag.add(thing)
    >>> bag.add(Thing())
    >>> thing in bag, len(bag.all())
    (True, 1)
    """

    __slots__ = ("_refs", "_sweep_at")

    def __init__(self) -> None:
        self._refs: dict[int, ref[T]] = {}
        self._sweep_at = 8

    def __contains__(self, thing: T) -> bool:
        found = self._refs.get(id(thing))
        return found is not None and found() is thing

    def add(self, thing: T) -> None:
        """Add ``thing``, without keeping it alive."""
        self._refs[id(thing)] = ref(thing)
        if len(self._refs) > self._sweep_at:
            self._refs = {key: kept for key, kept in self._refs.items() if kept() is not None}
            self._sweep_at = 2 * len(self._refs) + 8

    def discard(self, thing: T) -> None:
        """Take ``thing`` out, if it is there."""
        if thing in self:
            del self._refs[id(thing)]

    def all(self) -> list[T]:
        """Give what is alive."""
        return [thing for kept in self._refs.values() if (thing := kept()) is not None]
