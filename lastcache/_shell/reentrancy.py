"""The wait-for graph: how a callback that would wait for itself is found before it waits.

A load whose callback asks for another load, to lead or to join it, has an edge to that load while it waits.
A path from the load that is asked for back to the one that asks is a deadlock that would never end.
An edge is drawn before the path is looked for: of those who close a circle at the same moment at least one sees it.
"""

from contextvars import ContextVar
from threading import Lock, get_ident
from types import TracebackType
from typing import Final, Protocol, final

from lastcache.errors import ReentrantLoadError


class Leader(Protocol):
    """The task that leads a load."""

    def is_another_in_this_context(self) -> bool:
        """Say whether another task runs now, in the very context of this one: not in a copy, as a child does."""
        ...


@final
class LoadNode:
    """A load as the graph sees it: it leads to no value, so that a context may keep it for long.

    ``latch`` is held while the load is led. ``before`` is what the context had in its place.
    ``calling`` is true while its callback runs: else its leader is in our own code, on the way there or back.
    """

    __slots__ = ("before", "calling", "latch", "leader", "thread", "waits_for")

    def __init__(self, before: "LoadNode | None", leader: Leader | None = None) -> None:
        self.before: LoadNode | None = before
        self.leader: Leader | None = leader
        self.latch: Lock = Lock()
        self.thread: int = get_ident()
        self.calling: bool = False
        self.waits_for: list[LoadNode] | None = None

    @property
    def over(self) -> bool:
        """Whether it has landed, or was abandoned."""
        return not self.latch.locked()

    def is_between_steps(self) -> bool:
        """Whether this very thread is in our own code around the callback: a finalizer or a signal handler asks."""
        return not self.calling and self.thread == get_ident()


CURRENT_LOAD: Final[ContextVar[LoadNode | None]] = ContextVar("lastcache_current_load", default=None)
"""The load that this context leads: the one that asks, if its callback runs.

To set it may run the collector, and with that a finalizer; if that sets it in the same context meanwhile, CPython
crashes. So it is set under a guard, or while its load is between its steps: a finalizer runs uncached there.
"""


def current_load() -> LoadNode | None:
    """Give the load whose callback asks now.

    A load that is over was left in the context by an interrupt, or by a callback that outlives it: it is taken out.
    One that another task leads in this very context has nothing to do with this task.
    """
    node = CURRENT_LOAD.get()
    if node is None:
        return None
    _shorten(node)
    if node.over:
        node = node.before
        CURRENT_LOAD.set(node)
    while node is not None and node.leader is not None and node.leader.is_another_in_this_context():
        node = _live(node.before)
    return node


def _shorten(node: LoadNode) -> None:
    """Let go of what is over: where many tasks share one context the path would grow with every load."""
    ahead: LoadNode | None = node
    while ahead is not None:
        following = _live(ahead.before)
        ahead.before = following
        ahead = following


def _live(node: LoadNode | None) -> LoadNode | None:
    while node is not None and node.over:
        node = node.before
    return node


def leave_load(node: LoadNode) -> None:
    """Take a load out of the context, unless another task that shares it has put its own there."""
    if CURRENT_LOAD.get() is node:
        CURRENT_LOAD.set(node.before)


@final
class WaitEdge:
    """Keeps the edge from ``asker`` to ``asked`` while its block runs.

    Raises ``ReentrantLoadError`` on entering if that closes a circle.
    """

    __slots__ = ("_asked", "_asker")

    def __init__(self, asker: LoadNode, asked: LoadNode) -> None:
        self._asker = asker
        self._asked = asked

    def __enter__(self) -> None:
        if self._asker.waits_for is None:
            self._asker.waits_for = []
        self._asker.waits_for.append(self._asked)
        if _reaches(self._asked, self._asker):
            self._asker.waits_for.remove(self._asked)
            raise ReentrantLoadError(
                "a callback asked for a key whose load waits for this very callback; "
                "load what it needs without the cache, or under another key"
            )

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._asker.waits_for is not None:
            self._asker.waits_for.remove(self._asked)


def _reaches(start: LoadNode, goal: LoadNode) -> bool:
    """Whether a path leads from ``start`` to ``goal`` through loads that are still under way."""
    ahead, seen = [start], set[int]()
    while ahead:
        node = ahead.pop()
        if node is goal:
            return True
        if id(node) not in seen and not node.over:
            seen.add(id(node))
            ahead += node.waits_for or []
    return False
