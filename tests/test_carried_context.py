"""A thread that carries the context of a callback is no part of the load that called it."""

import threading
from concurrent.futures import Future
from contextvars import copy_context

import pytest
from returns.result import Success

from lastcache import LastCache
from lastcache.core.states import Answer, Outcome
from lastcache.testing import ManualClock
from tests.held import MOMENT
from tests.kit import PATIENCE, given, in_thread, result_of


class Slow(str):
    """A key that holds up the thread that leads its load once the callback has returned, until ``loaded`` is set."""

    __slots__ = ("landing", "loaded", "returned")

    def __init__(self, _text: str) -> None:
        self.returned, self.landing, self.loaded = threading.Event(), threading.Event(), threading.Event()

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __hash__(self) -> int:
        if self.returned.is_set() and not self.landing.is_set():
            self.landing.set()
            # A cache that waits for its lock here cannot load before this thread goes on.
            self.loaded.wait(MOMENT)
        return str.__hash__(self)


@pytest.mark.slow
def test_what_a_thread_with_the_context_of_a_callback_loads_is_stored() -> None:
    """A thread that a callback started, with its context, loads other keys as any caller does: they are stored."""
    cache: LastCache[str, str, str] = LastCache(clock=ManualClock())
    key = Slow("k")
    others: list[Future[Answer[str, str]]] = []

    def other(_key: str) -> Outcome[str, str]:
        key.loaded.set()
        return Success("other")

    def ask() -> Answer[str, str]:
        assert key.landing.wait(PATIENCE)
        return cache.load_or_store("other", other)

    def load(_key: str) -> Outcome[str, str]:
        context = copy_context()
        others.append(in_thread(lambda: context.run(ask)))
        key.returned.set()
        return Success("v")

    assert cache.load_or_store(key, load) == given("v")
    assert result_of(others[0]) == given("other")
    assert ["k", "other"] == sorted(entry.key for entry in cache.entries())
