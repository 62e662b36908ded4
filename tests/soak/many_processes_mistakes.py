"""Mistakes that a campaign must find: stores that do not do what they say, in the workers only."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from itertools import count
from typing import Final, NamedTuple, final

from returns.result import Result, Success

from lastcache.second.protocol import (
    Ask,
    Expire,
    Fill,
    Forget,
    Gone,
    Held,
    Kept,
    Listener,
    Outrun,
    Put,
    Same,
    StoreFailure,
    Tell,
    Told,
    Verdict,
    Version,
)
from lastcache.second.redis import RedisStore
from tests.soak.many_processes_board import CALM, DOWN
from tests.soak.many_processes_counts import BROKEN, INVENTED, LOST, TOO_LONG

NOTHING: Final = timedelta(0)


class Wrapped:
    """A store that does what another does."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        told = self._store.ask(asks)
        if not isinstance(told, Success):
            return told
        return Success([self._said(ask, each) for ask, each in zip(asks, told.unwrap(), strict=True)])

    def _said(self, ask: Ask, told: Told) -> Told:
        return told

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        return self._store.tell(tells)

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        return self._store.clear(namespace, generation)

    def probe(self, namespace: bytes, /) -> Result[None, StoreFailure]:
        return self._store.probe(namespace)

    def listen(self, namespace: bytes, listener: Listener, /) -> bool:
        return self._store.listen(namespace, listener)

    def reset_after_fork(self) -> None:
        self._store.reset_after_fork()

    def close(self) -> None:
        self._store.close()


@final
class SaysKept(Wrapped):
    """What is set, deleted or expired is said to be kept, and is not written."""

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        if all(isinstance(tell, Put | Forget | Expire) for tell in tells):
            return Success([Kept(Version(os.urandom(8), 1)) for _ in tells])
        return self._store.tell(tells)


@final
class AnswersOfBefore(Wrapped):
    """What was fresh is answered once more for up to five seconds, without asking the server."""

    def __init__(self, store: RedisStore) -> None:
        super().__init__(store)
        self._held: dict[bytes, tuple[Held, float]] = {}

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        old = [self._old(ask) for ask in asks]
        known = [told for told in old if told is not None]
        return Success(known) if len(known) == len(old) else super().ask(asks)

    def _old(self, ask: Ask) -> Told | None:
        held, at = self._held.get(ask.name, (None, 0.0))
        left = NOTHING if held is None else held.fresh_for - timedelta(seconds=time.monotonic() - at)
        if held is None or left <= NOTHING:
            return None
        return Same(left) if ask.known == held.version else held._replace(fresh_for=left)

    def _said(self, ask: Ask, told: Told) -> Told:
        if isinstance(told, Held) and told.fresh_for > NOTHING:
            self._held[ask.name] = told, time.monotonic()
        return told


@final
class FillsAllTheSame(Wrapped):
    """A fill that is outrun is set in its place."""

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        told = self._store.tell(tells)
        if not isinstance(told, Success):
            return told
        return Success([self._filled(tell, each) for tell, each in zip(tells, told.unwrap(), strict=True)])

    def _filled(self, tell: Tell, verdict: Verdict) -> Verdict:
        if not isinstance(verdict, Outrun) or not isinstance(tell, Fill) or tell.body is None:
            return verdict
        again = Put(tell.namespace, tell.name, tell.generation, tell.body, tell.schema, tell.fresh_for, tell.keep_for)
        put = self._store.tell([again])
        return put.unwrap()[0] if isinstance(put, Success) else verdict


@final
class CallsStaleFresh(Wrapped):
    """What is past its freshness is said to be fresh for five seconds more."""

    def _said(self, ask: Ask, told: Told) -> Told:
        if isinstance(told, Held) and told.fresh_for < NOTHING:
            return told._replace(fresh_for=timedelta(seconds=5))
        return told


@final
class MixesKeys(Wrapped):
    """Every now and then the body of another key is given."""

    def __init__(self, store: RedisStore) -> None:
        super().__init__(store)
        self._turns = count(1)
        self._body: bytes | None = None

    def _said(self, ask: Ask, told: Told) -> Told:
        if not isinstance(told, Held):
            return told
        body, self._body = self._body, told.body
        return told if body is None or next(self._turns) % 100 else told._replace(body=body)


@final
class ForgetsStale(Wrapped):
    """What is past its freshness is said to be deleted."""

    def _said(self, ask: Ask, told: Told) -> Told:
        if isinstance(told, Held) and told.fresh_for < NOTHING:
            return Gone(told.version, told.grant)
        return told


@final
class Hangs(Wrapped):
    """Every now and then a question takes eight seconds."""

    def __init__(self, store: RedisStore) -> None:
        super().__init__(store)
        self._turns = count(1)

    def _said(self, ask: Ask, told: Told) -> Told:
        if next(self._turns) % 500 == 0:
            time.sleep(8.0)
        return told


@final
class Mistake(NamedTuple):
    """How a store is made wrong, what must be found, and the phase in which it shows."""

    make: Callable[[RedisStore], Wrapped]
    finds: str
    phase: int = CALM


MISTAKES: Final[Mapping[str, Mistake]] = {
    "says-kept": Mistake(SaysKept, BROKEN),
    "answers-of-before": Mistake(AnswersOfBefore, BROKEN),
    "fills-all-the-same": Mistake(FillsAllTheSame, BROKEN),
    "calls-stale-fresh": Mistake(CallsStaleFresh, BROKEN),
    "mixes-keys": Mistake(MixesKeys, INVENTED),
    "forgets-stale": Mistake(ForgetsStale, LOST, DOWN),
    "hangs": Mistake(Hangs, TOO_LONG),
}
