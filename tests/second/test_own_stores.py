"""Stores that others have written: those that grant no leases, whose answers can be read once, and that are slow."""

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

import pytest
from returns.result import Failure, Result, Success

from lastcache import Config, LastCache, LoadFailure
from lastcache.second import Second
from lastcache.second.codecs import JsonValue, json_codec
from lastcache.second.memory import MemoryStore
from lastcache.second.protocol import (
    Absent,
    Ask,
    Busy,
    Cleared,
    Gone,
    Held,
    Same,
    StoreFailure,
    Tell,
    Told,
    Trouble,
    Verdict,
    Version,
    Want,
)
from lastcache.tasks import AsyncLastCache
from tests.kit import in_thread

AGO: Final = timedelta(seconds=-1)
SOON: Final = timedelta(seconds=5)
VERSION: Final = Version(b"8 bytes!", 1)


class OwnStore:
    """A store in memory, of which a test changes what it answers, and how long it takes."""

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self.engine = MemoryStore(clock=clock)
        self.answer: Callable[[Ask], Told] | None = None
        self.asks: list[Want] = []
        self.takes = 0.0
        self.failure: StoreFailure | None = None
        self.told: Callable[[Sequence[Verdict]], Any] = tuple

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        self.asks += [ask.want for ask in asks]
        time.sleep(self.takes)
        if self.failure is not None:
            return Failure(self.failure)
        if self.answer is None or asks[0].generation is None:
            return self.engine.ask(asks)
        return Success([self.answer(ask) for ask in asks])

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        return self.engine.tell(tells).map(self.told)

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        return self.engine.clear(namespace, generation)

    def probe(self, _: bytes, /) -> Result[None, StoreFailure]:
        return Success(None) if self.failure is None else Failure(self.failure)

    def reset_after_fork(self) -> None:
        self.engine.reset_after_fork()

    def close(self) -> None:
        self.engine.close()


def second_on(store: OwnStore, lease_for: float = 0.05) -> Second[str, JsonValue]:
    return Second(store=store, codec=json_codec("any-1"), namespace="own", lease_for=timedelta(seconds=lease_for))


def loaded(key: str) -> Result[JsonValue, LoadFailure[str]]:
    return Success(key)


def held(ask: Ask) -> Told:
    return Held(b'"old"', "any-1", AGO, VERSION, None)


UNHELPFUL: Final[dict[str, Callable[[Ask], Told]]] = {
    "knows nothing, and grants nothing": lambda _: Absent(None),
    "a tombstone, and grants nothing": lambda _: Gone(VERSION, None),
    "something stale, and grants nothing": held,
    "the same as nothing": lambda _: Same(SOON),
    "another has it, always": lambda _: Absent(Busy(1, SOON)),
    "another had it, always": lambda _: Absent(Busy(1, AGO)),
}


@pytest.mark.parametrize("name", UNHELPFUL)
def test_a_store_that_grants_no_lease(name: str) -> None:
    """A load asks a few times, and then runs as with no store."""
    store = OwnStore()
    store.answer = UNHELPFUL[name]
    cache = LastCache[str, JsonValue, str](second=second_on(store))
    answer = in_thread(lambda: cache.load_or_store("k", loaded)).result(5)
    assert answer.unwrap().value == "k"
    assert len(store.asks) < 30


@pytest.mark.parametrize("form", [list, iter], ids=["a list", "an iterator"])
def test_verdicts_of_any_form(form: Callable[[Sequence[Verdict]], Any]) -> None:
    """What a store says may be read once alone."""
    store = OwnStore()
    store.told = form
    cache, other = (LastCache[str, JsonValue, str](second=second_on(store)) for _ in range(2))
    cache.set("set", 1)
    cache.expire("set")
    cache.delete("set")
    assert cache.load_or_store("k", loaded) == cache.load_or_store_many(["k", "l"], _loaded_many)["k"]
    assert other.load_or_store("l", loaded).unwrap().value == "many"


def _loaded_many(keys: tuple[str, ...]) -> dict[str, Result[JsonValue, LoadFailure[str]]]:
    return dict.fromkeys(keys, Success("many"))


@pytest.mark.slow
def test_tasks_that_wait_for_their_turn_at_a_store_that_went_away() -> None:
    """Those that wait in the row see that it is away: each waits for one answer at most, and not for all of them."""
    store = OwnStore()
    cache = AsyncLastCache[str, JsonValue, str](second=second_on(store))

    async def calls() -> float:
        await cache.load_or_store("first", _loaded_later)
        store.takes, store.failure = 0.1, StoreFailure(Trouble.TIMEOUT, "it takes too long")
        began = time.monotonic()
        await asyncio.gather(*(cache.load_or_store(f"k{n}", _loaded_later) for n in range(300)))
        return time.monotonic() - began

    assert asyncio.run(calls()) < 1.5


@pytest.mark.slow
def test_questions_that_nobody_waits_for_any_more() -> None:
    """A call that was given up while it waited for its turn asks nothing."""
    store = OwnStore()
    cache = AsyncLastCache[str, JsonValue, str](second=second_on(store))

    async def calls() -> float:
        await cache.load_or_store("first", _loaded_later)
        store.takes = 0.2
        given_up = [asyncio.wait_for(cache.load_or_store(f"k{n}", _loaded_later), 0.1) for n in range(200)]
        await asyncio.gather(*given_up, return_exceptions=True)
        began = time.monotonic()
        await cache.load_or_store("alone", _loaded_later)
        return time.monotonic() - began

    assert asyncio.run(calls()) < 2.0


async def _loaded_later(key: str) -> Result[JsonValue, LoadFailure[str]]:
    return Success(key)


def test_who_joined_a_question_takes_no_lease_by_force() -> None:
    """Who joined a call that was given a stale value asks for the lease, which another process has."""
    now = 0
    store = OwnStore(lambda: now)
    config = Config(global_ttl=timedelta(seconds=1), async_semaphore=1)
    second = second_on(store, lease_for=20)
    one, other = (LastCache[str, JsonValue, str](config, clock=lambda: now, second=second) for _ in range(2))
    for cache in (one, other):
        cache.load_or_store("k", loaded)
    now = 2_000_000_000
    behind, gate, begun = threading.Event(), threading.Event(), threading.Event()

    def waits(event: threading.Event) -> Callable[[str], Result[JsonValue, LoadFailure[str]]]:
        def load(key: str) -> Result[JsonValue, LoadFailure[str]]:
            begun.set()
            event.wait(10)
            return loaded(key)

        return load

    other.set("busy", 1, ttl=timedelta(0))
    other.async_load_or_store("busy", waits(behind))
    assert begun.wait(10)
    begun.clear()
    holder = in_thread(lambda: one.load_or_store("k", waits(gate)))
    assert begun.wait(10)
    store.takes = 0.02
    stale = in_thread(lambda: other.async_load_or_store("k", loaded))
    waiting = in_thread(lambda: other.load_or_store("k", loaded))
    assert stale.result(10).unwrap().cached.stale
    time.sleep(0.1)
    gate.set()
    assert [holder.result(10).unwrap().value, waiting.result(10).unwrap().value] == ["k", "k"]
    behind.set()
    assert Want.FORCE not in store.asks


def test_first_words() -> None:
    """Who knows no generation hears of one."""
    told = OwnStore().ask([Ask(b"own", b"own:", None, None, Want.LOOK, SOON)]).unwrap()
    assert isinstance(told[0], Cleared)
