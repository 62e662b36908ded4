"""What all caches have in common for a benchmark: something to call, and perhaps the loader to call it with.

No cache is wrapped, so that nothing is measured but itself: where the documented way is ``call(key, loader)``, the
loader is of the form which that cache asks for, and where it is a decorator, ``call(key)`` is all there is.
"""

import importlib.util
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from fnmatch import fnmatchcase
from typing import Any, Final, Generic, NamedTuple, TypeAlias, TypeVar

from returns.result import Success

Open = TypeVar("Open")

FLOOR: Final = "floor"
"""The name of the cache that all others are measured by."""

MINUTE: Final = 60.0
HOUR: Final = 3600.0
"""For what fills a cache so long that the first entry would expire before the last has come."""


class Loads(NamedTuple):
    """One loader in all the forms in which caches ask for it."""

    by_key: Callable[[int], int]
    bare: Callable[[], int]
    outcome: Callable[[int], Success[int]]
    task: Callable[[int], Coroutine[Any, Any, int]]
    task_outcome: Callable[[int], Coroutine[Any, Any, Success[int]]]


class Setup(NamedTuple):
    """What a cache is opened with: the loader, room for how many entries where it has a bound, the TTL in seconds."""

    loads: Loads
    room: int
    ttl: float = MINUTE


class Reader(NamedTuple):
    """An open cache: ``call(key)``, or ``call(key, loader)`` if there is one.

    Where ``call`` is awaited, ``beside(key, loader)`` is called after it, without a function around the two.
    """

    call: Callable[..., Any]
    loader: Callable[..., object] | None = None
    close: Callable[[], object] = lambda: None
    beside: Callable[..., object] | None = None


OpenReader: TypeAlias = Callable[[Setup], Reader]
OpenTaskReader: TypeAlias = Callable[[Setup], AbstractAsyncContextManager[Reader]]
Opened: TypeAlias = AsyncIterator[Reader]


class Case(NamedTuple, Generic[Open]):
    """A cache in one configuration, the module that must be there for it, and how many entries it can be asked to hold.

    Only a cache whose misses take the longer the more it holds has such a bound: filling it would take hours.
    """

    name: str
    module: str
    open: Open
    most: float = math.inf


ThreadCase: TypeAlias = Case[OpenReader]
TaskCase: TypeAlias = Case[OpenTaskReader]


class Lineup(NamedTuple, Generic[Open]):
    """The caches that take part in a work, and the names of those that are not installed."""

    present: tuple[Case[Open], ...]
    missing: tuple[str, ...]

    def notes(self, entries: int) -> tuple[str, ...]:
        """Say which caches are not measured with so many entries."""
        small = [case for case in self.present if case.most < entries]
        return tuple(f"{case.name} looks at all entries at a miss: up to {case.most:,} of them only." for case in small)


def chosen(cases: Iterable[Case[Open]], patterns: Iterable[str]) -> Lineup[Open]:
    """Choose by shell patterns; the floor is always there, or there would be nothing to compare with.

    >>> chosen([Case("floor", "time", 0), Case("a:b", "no_such_module", 1), Case("c", "time", 2)], ["a*"])
    Lineup(present=(Case(name='floor', module='time', open=0, most=inf),), missing=('a:b',))
    """
    wanted = tuple(patterns)
    found = [case for case in cases if case.name == FLOOR or any(fnmatchcase(case.name, part) for part in wanted)]
    installed = {case.module: importlib.util.find_spec(case.module) is not None for case in found}
    return Lineup(
        present=tuple(case for case in found if installed[case.module]),
        missing=tuple(case.name for case in found if not installed[case.module]),
    )


def read_all(reader: Reader, keys: Iterable[int]) -> None:
    """Read every key once."""
    call, loader = reader.call, reader.loader
    if loader is None:
        for key in keys:
            call(key)
    else:
        for key in keys:
            call(key, loader)


async def await_all(reader: Reader, keys: Iterable[int]) -> None:
    """Read every key once, in one task."""
    call, loader, beside = reader.call, reader.loader, reader.beside
    if beside is not None:
        for key in keys:
            await call()
            beside(key, loader)
    elif loader is None:
        for key in keys:
            await call(key)
    else:
        for key in keys:
            await call(key, loader)
