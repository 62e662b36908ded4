"""A soak: ``python -m tests.soak --minutes N`` drives one cache at random on many threads, and holds it to its laws.

Each round has a cache of its own, with options drawn by chance; the seed of a round that fails is said.
"""

import argparse
import random
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from returns.pipeline import is_successful
from returns.result import Success

from lastcache import CachedValue, Config, LastCache, LoadDroppedError, failed
from lastcache.states import Answer, Outcome
from tests.kit import PATIENCE, in_thread, ticks, until

KEYS: Final = tuple("abcdef")
THREADS: Final = 8


class BrokenLawError(AssertionError):
    """Something that the cache promises did not hold."""


class SourceError(Exception):
    """What a callback raises, against its contract."""


class Struck(BaseException):
    """What strikes a leader alone."""


@dataclass(frozen=True)
class Value:
    """A value, and when the call of the callback that made it began, among the events of its key."""

    number: int
    began_at: int
    loaded: bool


@dataclass
class Ledger:
    """What happened to one key, counted so that the laws can be checked without stopping anybody."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    events: int = 0
    begun: int = 0
    ended: int = 0
    barrier: int = 0
    running: dict[int, int] = field(default_factory=dict[int, int])
    landed_by: dict[Value, int] = field(default_factory=dict[Value, int])

    def event(self) -> int:
        with self.lock:
            self.events += 1
            return self.events

    def write_begins(self) -> int:
        with self.lock:
            self.events += 1
            self.begun += 1
            return self.events

    def write_ended(self, began_at: int, *, forgets: bool) -> None:
        with self.lock:
            self.ended += 1
            self.barrier = max(self.barrier, began_at) if forgets else self.barrier

    def load_begins(self, load: int, ended_before: int) -> None:
        """Law: at most one load runs per key, unless a write came after the first was asked for."""
        with self.lock:
            for other_ended_before in self.running.values():
                if self.begun == other_ended_before:
                    raise BrokenLawError("two loads of one key run at once, and no write came between")
            self.running[load] = ended_before

    def load_ends(self, load: int) -> None:
        with self.lock:
            del self.running[load]


class Round:
    """One cache, its clock, and the threads that use it."""

    def __init__(self, seed: int) -> None:
        chance = random.Random(seed)
        self.ttl = chance.choice([1, 20, 200])
        config = Config(
            global_ttl=ticks(self.ttl),
            extend_ttl=ticks(chance.choice([0, 0, 5, 50])),
            async_semaphore=chance.choice([1, 2, 5]),
        )
        self.seed = seed
        self.now = 0
        self.cache: LastCache[str, Value, str] = LastCache(config, clock=lambda: self.now)
        self.ledgers: defaultdict[str, Ledger] = defaultdict(Ledger)
        for key in KEYS:
            self.ledgers[key].event()
        self.loads = iter(range(10**9))
        self.refreshes: list[Future[Answer[Value, str]]] = []
        self.done: Counter[str] = Counter()

    def play(self, seconds: float) -> Counter[str]:
        """Let every thread do as it likes for so long; then nothing may be left."""
        ends_at = time.monotonic() + seconds
        players = [in_thread(partial(self.use, random.Random(self.seed * 100 + n), ends_at)) for n in range(THREADS)]
        for player in players:
            player.result(seconds + PATIENCE)
        for refresh in self.refreshes:
            raised = refresh.exception(PATIENCE)
            if not isinstance(raised, SourceError | Struck | LoadDroppedError | None):
                raise BrokenLawError(f"a refresh ended with {raised!r}") from raised
        state = self.cache._loads.state  # noqa: SLF001  # nothing may be left
        until(lambda: not state.table.flights and not state.background)
        return self.done

    def use(self, chance: random.Random, ends_at: float) -> None:
        acts: list[Callable[[random.Random, str], None]] = [
            *[self.stale_if_error] * 6,
            *[self.stale_while_revalidate] * 6,
            self.write,
            self.look,
            self.advance,
            self.advance,
        ]
        while time.monotonic() < ends_at:
            act = chance.choice(acts)
            act(chance, chance.choice(KEYS))
            self.done[act.__name__] += 1

    def advance(self, chance: random.Random, _key: str) -> None:
        self.now += chance.choice([0, 500, 1000, 10_000, 30_000])

    def look(self, chance: random.Random, key: str) -> None:
        self.cache.peek(key)
        self.cache.ttl(key)
        if chance.random() < 0.1 and len(list(self.cache.entries())) > len(KEYS):
            raise BrokenLawError("more entries than keys")

    def write(self, chance: random.Random, key: str) -> None:
        ledger = self.ledgers[key]
        kind = chance.choice(["set", "delete", "expire"])
        began_at = ledger.write_begins()
        try:
            if kind == "set":
                self.cache.set(key, Value(next(self.loads), began_at, loaded=False))
            elif kind == "delete":
                self.cache.delete(key)
            else:
                self.cache.expire(key)
        finally:
            ledger.write_ended(began_at, forgets=kind != "expire")

    def stale_if_error(self, chance: random.Random, key: str) -> None:
        ledger, called_at = self.ledgers[key], self.now
        barrier = ledger.barrier
        try:
            answer = self.cache.load_or_store(key, self.callback(chance, key))
        except (SourceError, Struck):
            self.done["raised"] += 1
            return
        if is_successful(answer):
            self.check(key, answer.unwrap(), barrier, called_at)

    def stale_while_revalidate(self, chance: random.Random, key: str) -> None:
        ledger, called_at = self.ledgers[key], self.now
        barrier = ledger.barrier
        try:
            answer = self.cache.async_load_or_store(key, self.callback(chance, key))
        except (SourceError, Struck):
            self.done["raised"] += 1
            return
        if not is_successful(answer):
            return
        cached, refresh = answer.unwrap()
        self.check(key, cached, barrier, called_at)
        if refresh is not None:
            self.done["refresh"] += 1
            if chance.random() < 0.05:
                self.refreshes.append(refresh)

    def callback(self, chance: random.Random, key: str) -> Callable[[str], Outcome[Value, str]]:
        ledger, load = self.ledgers[key], next(self.loads)
        ended_before = ledger.ended
        fate, pause = chance.random(), chance.choice([0, 0, 0.0001, 0.002])

        def call(_key: str) -> Outcome[Value, str]:
            ledger.load_begins(load, ended_before)
            began_at = ledger.event()
            try:
                time.sleep(pause)
                self.now += 700
                if fate < 0.05:
                    raise SourceError
                if fate < 0.08:
                    raise Struck
                if fate < 0.35:
                    return failed("down", use_stale=fate < 0.25)
                return Success(Value(load, began_at, loaded=True))
            finally:
                ledger.load_ends(load)

        return call

    def check(self, key: str, cached: CachedValue[Value, str], barrier: int, called_at: int) -> None:
        """Hold an answer to the laws."""
        value, ledger = cached.value, self.ledgers[key]
        if cached.err is not None and not cached.stale:
            raise BrokenLawError(f"an error without stale: {cached}")
        if value.loaded and value.began_at < barrier:
            raise BrokenLawError(f"{key}: {value} was loaded before a write that had returned at {barrier}")
        landed_by = ledger.landed_by.setdefault(value, self.now)
        if not cached.stale and called_at > landed_by + self.ttl * 1000:
            raise BrokenLawError(f"{key}: {cached} is past its freshness, and not marked")


def main(arguments: list[str]) -> int:
    """Play rounds until the time is over."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="the first round's seed (default: 1)")
    options = parser.parse_args(arguments)
    done: Counter[str] = Counter()
    ends_at, seed = time.monotonic() + options.minutes * 60, options.seed
    while time.monotonic() < ends_at:
        try:
            done += Round(seed).play(min(2.0, max(0.2, ends_at - time.monotonic())))
        except BaseException:
            print(f"round {seed} failed; again with: python -m tests.soak --seed {seed}", file=sys.stderr)  # noqa: T201
            raise
        seed += 1
    print(f"{seed - options.seed} rounds clean: {dict(done)}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
