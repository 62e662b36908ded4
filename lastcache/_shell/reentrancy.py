"""Who waits for whom: how a callback that would wait for itself is found before it waits.

A flight whose callback asks for another flight, to lead or to join it, has an edge to that flight while it waits.
A path from the flight asked for back to the asking one is a circle that would never end.
An edge is drawn before the path is looked for: of those who close a circle at the same moment at least one sees it.
"""

from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from types import TracebackType
from typing import Final, Protocol, final

from lastcache.errors import ReentrantLoadError


class Asking(Protocol):
    """A flight as the circles see it."""

    @property
    def asker(self) -> "Asking | None": ...

    @property
    def asks(self) -> "list[Asking]": ...

    @property
    def over(self) -> bool: ...

    @property
    def boarding(self) -> bool: ...


ASKER: Final[ContextVar[Asking | None]] = ContextVar("lastcache_asker", default=None)
"""The flight that this context leads: the one that asks, if its callback runs."""

_NOBODY: Final = nullcontext()


def current_asker() -> Asking | None:
    """Give the flight whose callback asks now. One that is over was left by an interrupt: who asked for it asks now."""
    asker = ASKER.get()
    while asker is not None and asker.over:
        asker = asker.asker
    return asker


def waiting(asker: Asking | None, asked: Asking) -> AbstractContextManager[None]:
    """Keep the edge from ``asker`` to ``asked`` while its block runs; there is none where nobody asks.

    Raises ``ReentrantLoadError`` on entering if that closes a circle.
    """
    return _NOBODY if asker is None else _Waiting(asker, asked)


@final
class _Waiting:
    __slots__ = ("_asked", "_asker")

    def __init__(self, asker: Asking, asked: Asking) -> None:
        self._asker = asker
        self._asked = asked

    def __enter__(self) -> None:
        self._asker.asks.append(self._asked)
        if _reaches(self._asked, self._asker):
            self._asker.asks.remove(self._asked)
            raise ReentrantLoadError(
                "a callback asked for a key whose load waits for this very callback; "
                "load what it needs without the cache, or under another key"
            )

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._asker.asks.remove(self._asked)


def _reaches(start: Asking, goal: Asking) -> bool:
    """Whether a path leads from ``start`` to ``goal`` through flights that are still under way."""
    ahead, seen = [start], set[int]()
    while ahead:
        flight = ahead.pop()
        if flight is goal:
            return True
        if id(flight) not in seen and not flight.over:
            seen.add(id(flight))
            ahead += flight.asks.copy()
    return False
