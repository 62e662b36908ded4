"""A worker's place is given back, and every refresh is told, whatever a key or an executor raises on the way."""

import contextlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import pytest
from returns.result import Failure, Success

from lastcache import Config, LastCache, LoadFailure
from lastcache.core.states import Outcome
from tests.kit import PATIENCE, error_of, gated, given, gives, in_thread, never, result_of


@dataclass(frozen=True)
class Touchy:
    """A key that has the hash of each other; its comparison raises what stands in ``raises``, each but once."""

    name: str
    raises: list[BaseException] = field(default_factory=list[BaseException])

    def __eq__(self, other: object) -> bool:
        if self.raises:
            raise self.raises.pop()
        return isinstance(other, Touchy) and self.name == other.name

    def __hash__(self) -> int:
        return 1


ENDS: Final[dict[str, Outcome[str, str] | BaseException]] = {
    "succeeds": Success("new"),
    "fails": Failure(LoadFailure("down", use_stale=False)),
    "raises": ValueError("callback"),
    "exits": SystemExit("callback"),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("kind", "times"),
    [(ValueError, 1), (ValueError, 2), (ValueError, 3), (KeyError, 1), (SystemExit, 1), (SystemExit, 3)],
)
def test_a_place_is_given_back_whatever_a_comparison_raises(end: str, kind: type[BaseException], times: int) -> None:
    """Where a key's ``__eq__`` raises as its background load lands, the refresh is told, and others load behind it."""
    cache, raises, asked = LastCache[Touchy, str, str](), list[BaseException](), threading.Event()
    first, key, other = (Touchy(name, raises) for name in ("first", "key", "other"))
    held, outcome = gated(Success("first")), ENDS[end]
    caller = in_thread(lambda: cache.load_or_store(first, held))
    held.started()
    for expired in (key, other):
        cache.set(expired, "old")
        cache.expire(expired)

    def load(_key: Touchy) -> Outcome[str, str]:
        asked.wait(PATIENCE)
        raises.extend(kind("comparison") for _ in range(times))
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    refresh = cache.async_load_or_store(key, load).unwrap().refresh
    asked.set()
    _told = error_of(refresh)
    raises.clear()
    assert given("next") == result_of(cache.async_load_or_store(other, gives(Success("next"))).unwrap().refresh)
    cache.expire(key)
    assert given("again") == cache.load_or_store(key, gives(Success("again")))
    held.let_go()
    assert given("first") == result_of(caller)


class Pool:
    """An executor that keeps its work until it is told, runs it inline, or raises."""

    def __init__(self) -> None:
        self.kept: list[Callable[[], object]] = []
        self.inline = False
        self.raises: BaseException | None = None

    def __call__(self, work: Callable[[], object]) -> None:
        if self.raises is not None:
            raise self.raises
        if self.inline:
            work()
        else:
            self.kept.append(work)

    def first_alone(self) -> Callable[[], object]:
        """Give the work that came first, and lose the rest, as a pool does that is shut down."""
        first = self.kept[0]
        self.kept.clear()
        return first


def expired_in(pool: Pool, *keys: str) -> "LastCache[str, str, str]":
    """Make a cache with a worker for each of ``keys``, and the expired value ``old`` for it."""
    cache = LastCache[str, str, str](Config(async_semaphore=len(keys)), executor=pool)
    for key in keys:
        cache.set(key, "old")
        cache.expire(key)
    return cache


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, RuntimeError])
def test_an_executor_that_raises_inside_a_worker_leaves_no_refresh_untold(kind: type[BaseException]) -> None:
    """A worker whose executor raises when it is asked for one more has told of the load that it had taken."""
    pool = Pool()
    cache = expired_in(pool, "a", "b")
    refreshes = [cache.async_load_or_store(key, gives(Success("new"))).unwrap().refresh for key in "ab"]
    worker = pool.first_alone()
    pool.raises = kind("no more")
    with contextlib.suppress(kind):
        worker()
    pool.raises, pool.inline = None, True
    assert given("c") == cache.load_or_store("c", gives(Success("c")))
    cache.close()
    assert [True, True] == [refresh is not None and refresh.done() for refresh in refreshes]


def test_an_inline_load_does_not_run_inside_another_load() -> None:
    """A load that an executor runs inline in a worker may ask for the key of the load which that worker had taken."""
    pool, ran = Pool(), list[object]()
    cache = expired_in(pool, "a", "b")

    def load(key: str) -> Outcome[str, str]:
        ran.append(key)
        if key == "b":
            ran.append(cache.load_or_store("a", never))
        return Success("new")

    refreshes = [cache.async_load_or_store("a", load).unwrap().refresh]
    worker = pool.first_alone()
    refreshes.append(cache.async_load_or_store("b", load).unwrap().refresh)
    pool.kept.clear()
    pool.inline = True
    result_of(in_thread(worker))
    assert ["a", "b", given("new")] == ran
    assert [None, None] == [error_of(refresh) for refresh in refreshes]
    assert [given("new")] * 2 == [result_of(refresh) for refresh in refreshes]
