"""A store beside the cache of a round: its values as bytes, and a store that fails and hesitates by chance."""

import json
import random
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from returns.result import Failure, Result

from lastcache.second import Second
from lastcache.second.codecs import bytes_codec
from lastcache.second.memory import MemoryStore
from lastcache.second.protocol import Ask, Store, StoreFailure, Tell, Told, Trouble, Verdict
from tests.soak.history import Value

T = TypeVar("T")

LOST: Final = StoreFailure(Trouble.TIMEOUT, "it was lost on the way")


class UncertainStore:
    """A store whose messages are lost by chance, on the way there or on the way back, and take their time."""

    def __init__(self, store: Store, chance: random.Random, losing: float) -> None:
        self._store = store
        self._chance = chance
        self._losing = losing
        self._slow = chance.choice([0.0, 0.05])

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        return self._sent(lambda: self._store.ask(asks))

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        return self._sent(lambda: self._store.tell(tells))

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        return self._sent(lambda: self._store.clear(namespace, generation))

    def probe(self, namespace: bytes, /) -> Result[None, StoreFailure]:
        return self._sent(lambda: self._store.probe(namespace))

    def _sent(self, send: Callable[[], Result[T, StoreFailure]]) -> Result[T, StoreFailure]:
        drawn = self._chance.random()
        if drawn < self._losing / 2:
            return Failure(LOST)
        if self._chance.random() < self._slow:
            time.sleep(0.0005)
        sent = send()
        return Failure(LOST) if drawn < self._losing else sent

    def reset_after_fork(self) -> None:
        self._store.reset_after_fork()

    def close(self) -> None:
        self._store.close()


def draw_losing(chance: random.Random, *, stored: bool) -> float:
    """Draw how often a message is lost."""
    return chance.choice([0.0, 0.0, 0.02, 0.2]) if stored else 0.0


def second_of(clock: Callable[[], int], chance: random.Random, losing: float) -> Second[str, Value]:
    """Give a second level that no other cache uses: so that what holds of one cache holds of this one, too."""
    return Second(
        store=UncertainStore(MemoryStore(clock=clock), chance, losing),
        codec=bytes_codec("value-1", encode=_write, decode=_read),
        namespace="soak",
        trust_for=timedelta(microseconds=chance.choice([1, 5, 1000])),
        lease_for=timedelta(milliseconds=chance.choice([1, 50])),
        owe_at_most=chance.choice([2, 10_000]) if losing else 10_000,
        keep_for=chance.choice([None, timedelta(milliseconds=1)]),
    )


def _write(value: Value) -> bytes:
    return json.dumps([value.number, value.key, value.ttl]).encode()


def _read(body: bytes) -> Value:
    number, key, ttl = json.loads(body)
    return Value(number, key, ttl)
