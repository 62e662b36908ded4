"""A store in memory: the model that every other store is compared with, and a stand-in for one in tests."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Final, NamedTuple, final

from returns.result import Failure, Result, Success

from lastcache._checks import checked_clock
from lastcache.second.protocol import (
    Ask,
    Cleared,
    Expire,
    Fill,
    Forget,
    Outrun,
    Put,
    Release,
    StoreFailure,
    Tell,
    Told,
    Trouble,
    Verdict,
)
from lastcache.second.rules import Head, Moment, answer, kept, verdict, written

MICROSECOND: Final = timedelta(microseconds=1)
WORD: Final = 8
"""The bytes of an epoch, and of a generation."""


class _Record(NamedTuple):
    head: Head
    body: bytes | None = None
    schema: str = ""


@final
class MemoryStore:
    r"""A store in the memory of one process, exact to the microsecond of ``clock``, which gives nanoseconds.

    It keeps what it is told until its time is over, or until a test takes it away: ``evict``, ``lose_all`` and
    ``lose_generation`` lose records as a server does, and ``fail_with`` makes it fail until told otherwise.
    ``chance`` gives as many random bytes as it is asked for. It is safe between threads.

    >>> from lastcache.second.protocol import Absent, Want
    >>> store = MemoryStore(clock=lambda: 0, chance=bytes)
    >>> store.ask([Ask(b"users", b"users:1", None, None, Want.LOOK, timedelta(seconds=5))])
    <Success: (Cleared(generation=b'\x00\x00\x00\x00\x00\x00\x00\x00'),)>
    >>> store.ask([Ask(b"users", b"users:1", bytes(8), None, Want.LOOK, timedelta(seconds=5))])
    <Success: (Absent(grant=None),)>
    """

    __slots__ = ("_chance", "_clock", "_failure", "_generations", "_lock", "_records")

    def __init__(
        self, clock: Callable[[], int] = time.monotonic_ns, chance: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._clock = checked_clock(clock)
        self._chance = chance
        self._lock = threading.Lock()
        self._failure: StoreFailure | None = None
        self._generations: dict[bytes, bytes] = {}
        self._records: dict[tuple[bytes, bytes], _Record] = {}

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        """Look up records, and take leases."""
        with self._lock:
            if self._failure is not None:
                return Failure(self._failure)
            moment = self._moment()
            return Success(tuple([self._ask(ask, moment) for ask in asks]))

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        """Write records, and give leases back."""
        with self._lock:
            if self._failure is not None:
                return Failure(self._failure)
            moment = self._moment()
            return Success(tuple([self._tell(tell, moment) for tell in tells]))

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        """Give ``namespace`` a new generation, and drop its records."""
        with self._lock:
            if self._failure is not None:
                return Failure(self._failure)
            self._generations[namespace] = generation
            self._records = {at: record for at, record in self._records.items() if at[0] != namespace}
            return Success(None)

    def probe(self, _: bytes, /) -> Result[None, StoreFailure]:
        """Say whether the store answers."""
        with self._lock:
            return Success(None) if self._failure is None else Failure(self._failure)

    def reset_after_fork(self) -> None:
        """Make the lock anew: the child of a fork has its own copy of the records."""
        self._lock = threading.Lock()

    def close(self) -> None:
        """Answer nothing any more."""
        self.fail_with(StoreFailure(Trouble.UNREACHABLE, "the store was closed"))

    def evict(self, namespace: bytes, name: bytes) -> None:
        """Lose one record, if it is there."""
        with self._lock:
            self._records.pop((namespace, name), None)

    def lose_all(self) -> None:
        """Lose every record and every generation, as a server that starts empty."""
        with self._lock:
            self._records.clear()
            self._generations.clear()

    def lose_generation(self, namespace: bytes) -> None:
        """Lose the generation of ``namespace``, whose records stay."""
        with self._lock:
            self._generations.pop(namespace, None)

    def fail_with(self, failure: StoreFailure | None) -> None:
        """Answer everything with ``failure``, until told otherwise; None ends it."""
        with self._lock:
            self._failure = failure

    def _moment(self) -> Moment:
        return Moment(self._clock() // 1000, MICROSECOND)

    def _epoch(self) -> bytes:
        return self._chance(WORD)

    def _ask(self, ask: Ask, moment: Moment) -> Told:
        if ask.generation is None:
            return Cleared(self._generations.setdefault(ask.namespace, self._chance(WORD)))
        if (there := self._generation(ask.namespace, ask.generation)) != ask.generation:
            return Cleared(there)
        record = self._record(ask, moment)
        told, head = (
            answer(None, None, "", ask, moment, self._epoch)
            if record is None
            else answer(record.head, record.body, record.schema, ask, moment, self._epoch)
        )
        if head is not None:
            kept_body = _Record(head) if record is None else record._replace(head=head)
            self._records[ask.namespace, ask.name] = kept_body
        return told

    def _tell(self, tell: Tell, moment: Moment) -> Verdict:
        if self._generation(tell.namespace, tell.generation) != tell.generation:
            return Outrun()
        record = self._record(tell, moment)
        head = written(None if record is None else record.head, tell, moment, self._epoch)
        if head is not None:
            self._records[tell.namespace, tell.name] = _with_body(record, head, tell)
        return verdict(head)

    def _generation(self, namespace: bytes, known: bytes) -> bytes:
        """Give the generation that there is; one that was lost is restored by who knows it."""
        return self._generations.setdefault(namespace, known)

    def _record(self, message: Ask | Tell, moment: Moment) -> _Record | None:
        """Give the record that is meant, unless its time is over."""
        record = self._records.get((message.namespace, message.name))
        return record if record is not None and kept(record.head, moment) is not None else None


def _with_body(record: _Record | None, head: Head, tell: Tell) -> _Record:
    match tell:
        case Put() | Fill():
            return _Record(head, tell.body, tell.schema)
        case Forget():
            return _Record(head)
        case Expire() | Release():
            return _Record(head) if record is None else record._replace(head=head)
