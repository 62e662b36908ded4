"""The store itself: messages in, answers out; one round trip each, by one script that sees all keys of a message."""

import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Final, TypeVar, cast, final

from returns.result import Failure, Result, Success

from lastcache._checks import MICROSECOND, check_duration, check_flag
from lastcache.second.protocol import (
    Absent,
    Ask,
    Cleared,
    Listener,
    Outrun,
    StoreFailure,
    Tell,
    Told,
    Verdict,
)
from lastcache.second.redis._client import Commands, checked_client, client_of, forget_connections, pools_of
from lastcache.second.redis._push import Push, Subscribes
from lastcache.second.redis._scripts import Script, scripts
from lastcache.second.redis._troubles import (
    ClosedError,
    SpoiltRecordError,
    StrangeReplyError,
    failure_of,
    is_unknown_script,
)
from lastcache.second.redis._wire import (
    WORD,
    answers_of,
    change_of,
    each_of,
    generation_key,
    question_of,
    record_key,
    told_of,
    verdicts_of,
)

M = TypeVar("M", Ask, Tell)
A = TypeVar("A")
T = TypeVar("T")

A_TIMEOUT: Final = "a timedelta above zero"
_TRIES: Final = 3
"""How often a record is asked for whose body is spoilt, each time by another."""


@final
class RedisStore:
    """A store in Redis or Valkey, by a client of redis-py or valkey-py: for the processes of many machines.

    The client must wait no longer than ``timeout_at_most`` for a connection or a reply, must not retry, and must give
    bytes; ``from_url`` makes one that is right. One store, and so one pool of connections, serves any number of
    caches, threads and event loops; tasks reach it through threads. A message is one round trip; the first on a new
    connection is preceded by the connection's own.

    What is promised holds as far as the server keeps what it acknowledged: a failover that loses a write, or a server
    that comes back with an older copy of its data, may bring a deleted value back until its end.
    A full server that evicts nothing still gives what it has, and still takes deletes.

    With ``push`` it tells the others of every set, delete, expire and clear at once, and hears what they tell, in a
    thread and by a connection of its own: that spares them the rest of ``trust_for`` as a rule, and is no promise.
    Caches that have one and the same store object hear nothing of each other by it.

    Raises ``ConfigError`` for a client that may wait longer, retries, or does not fit. After that nothing is raised
    any more. ``_clock`` is an expression that gives the milliseconds of a test.

    >>> RedisStore.from_url("localhost:6379")
    Traceback (most recent call last):
    lastcache.errors.ConfigError: url='localhost:6379': must be a str such as redis://host:6379/0, rediss://, unix://path
    """

    def __init__(
        self,
        client: Commands,
        *,
        timeout_at_most: timedelta = timedelta(milliseconds=250),
        push: bool = False,
        _clock: str | None = None,
    ) -> None:
        check_duration("timeout_at_most", timeout_at_most, at_least=MICROSECOND, right=A_TIMEOUT)
        check_flag("push", push)
        self._client: Final = checked_client(client, timeout_at_most, pushes=push)
        self._push: Final = Push(cast("Subscribes", client)) if push else None
        self._scripts: Final = scripts() if _clock is None else scripts(_clock, 3_600_000)
        self._closed = False
        self._begin()

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        timeout: timedelta = timedelta(milliseconds=100),
        push: bool = False,
        _clock: str | None = None,
    ) -> "RedisStore":
        """Make a store of an address such as ``redis://host:6379/0``, ``rediss://`` for TLS, or ``unix://path``.

        A user, a password, certificates and whatever else the client knows may stand in the address, as the client
        library has it. The client is redis-py or, for ``valkey://`` and where redis-py is not installed, valkey-py. It
        waits ``timeout`` at most for a connection, and as long for a reply, and does not retry.

        Raises ``ConfigError`` for an address that is none, and ``ImportError`` where no client library is installed.
        """
        check_duration("timeout", timeout, at_least=MICROSECOND, right=A_TIMEOUT)
        return cls(client_of(url, timeout), timeout_at_most=timeout, push=push, _clock=_clock)

    def _begin(self) -> None:
        self._pid = os.getpid()
        # Distinct in each process: a reply that another process's copy of a connection left is not taken for ours.
        self._marks = itertools.count(int.from_bytes(os.urandom(WORD - 1), "little"))

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        """Look up records, and take leases."""
        return self._try(lambda: _in_groups(asks, self._ask))

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        """Write records, and give leases back."""
        return self._try(lambda: _in_groups(tells, self._tell))

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        """Give ``namespace`` a new generation: no record of an older one is found any more, and each ends in time."""
        return self._try(lambda: self._clear(namespace, generation))

    def probe(self, namespace: bytes, /) -> Result[None, StoreFailure]:
        """Say whether the store answers, and takes writes of ``namespace``."""
        return self._try(lambda: self._probe(namespace))

    def reset_after_fork(self) -> None:
        """Forget every connection, as the child of a fork must, which shares them with its parent."""
        if self._pid != os.getpid():
            self._begin()
            if self._push is not None:
                self._push.reset_after_fork()
            forget_connections(self._client)

    def close(self) -> None:
        """End the use of the store, and close the connections that nobody uses; what is stored stays."""
        self._closed = True
        if self._push is not None:
            self._push.end()
        self._drop_connections()

    def listen(self, namespace: bytes, listener: Listener, /) -> bool:
        """With ``push``, tell ``listener`` of what other processes write, as long as it lives; else say no."""
        self.reset_after_fork()
        return self._push is not None and self._push.listen(namespace, listener)

    @property
    def hears(self) -> bool:
        """Whether this store hears at this moment what others write, as far as is known: never without ``push``."""
        return self._push is not None and self._push.hears()

    def _ask(self, namespace: bytes, generation: bytes | None, asks: Sequence[Ask]) -> Sequence[Told]:
        known = generation or b""
        keys = [record_key(namespace, known, ask.name) for ask in asks]
        questions = [question_of(ask, os.urandom(WORD)) for ask in asks]
        answers = self._run(self._scripts.ask, namespace, known, keys, questions)
        if isinstance(answers, Cleared):
            return [answers] * len(asks)
        parts = zip(keys, asks, each_of(answers, len(asks)), strict=True)
        return [self._told(namespace, known, key, ask, part) for key, ask, part in parts]

    def _told(self, namespace: bytes, known: bytes, key: bytes, ask: Ask, answer: bytes) -> Told:
        """Read an answer; where a body is spoilt, ask again as if that record were not there."""
        for _ in range(_TRIES):
            try:
                return told_of(answer)
            except SpoiltRecordError as err:
                question = question_of(ask, os.urandom(WORD), err.checksum)
            answers = self._run(self._scripts.ask, namespace, known, [key], [question])
            if isinstance(answers, Cleared):
                return answers
            (answer,) = each_of(answers, 1)
        return Absent(None)

    def _tell(self, namespace: bytes, generation: bytes | None, tells: Sequence[Tell]) -> Sequence[Verdict]:
        word = generation or b""
        keys = [record_key(namespace, word, tell.name) for tell in tells]
        changes = [part for tell in tells for part in change_of(tell, os.urandom(WORD))]
        answers = self._run(self._scripts.tell, namespace, word, keys, [self._writer, *changes])
        return [Outrun()] * len(tells) if isinstance(answers, Cleared) else verdicts_of(answers)

    def _clear(self, namespace: bytes, generation: bytes) -> None:
        self._run(self._scripts.tell, namespace, generation, [], [self._writer])

    @property
    def _writer(self) -> bytes:
        return b"" if self._push is None else self._push.own

    def _probe(self, namespace: bytes) -> None:
        # A write that a full server takes, and no server that takes none.
        if not isinstance(self._client.execute_command("UNLINK", generation_key(namespace) + b":"), int):
            raise StrangeReplyError("the server did not say what it removed")

    def _run(
        self, script: Script, namespace: bytes, generation: bytes, keys: Sequence[bytes], words: Sequence[bytes]
    ) -> bytes | Cleared:
        """Run a script; give what it answered, or the generation that there is in place of that one."""
        mark = next(self._marks).to_bytes(WORD, "little")
        rest = (1 + len(keys), generation_key(namespace), *keys, mark + generation, *words)
        try:
            reply = self._client.execute_command("EVALSHA", script.sha, *rest)
        except Exception as err:
            if not is_unknown_script(err):
                raise
            reply = self._client.execute_command("EVAL", script.text, *rest)
        return answers_of(reply, mark)

    def _try(self, act: Callable[[], T]) -> Result[T, StoreFailure]:
        if self._closed:
            return Failure(failure_of(ClosedError("the store was closed")))
        self.reset_after_fork()
        try:
            return Success(act())
        except StrangeReplyError as err:
            self._drop_connections()
            return Failure(failure_of(err))
        except Exception as err:
            return Failure(failure_of(err))
        except BaseException:
            # An interrupt may have left a reply on its way: nobody may take that for the next one.
            self._drop_connections()
            raise

    def _drop_connections(self) -> None:
        """Close the connections that nobody uses; of a cluster, those to each node."""
        for pool in pools_of(self._client):
            with suppress(Exception):
                pool.disconnect(inuse_connections=False)


def _in_groups(messages: Sequence[M], act: Callable[[bytes, bytes | None, Sequence[M]], Sequence[A]]) -> Sequence[A]:
    """Send together what is of one generation, as all of it is, as a rule; give the answers in their order."""
    if len(messages) == 1:
        return act(messages[0].namespace, messages[0].generation, messages)
    groups: dict[tuple[bytes, bytes | None], list[int]] = {}
    for place, message in enumerate(messages):
        groups.setdefault((message.namespace, message.generation), []).append(place)
    answers: dict[int, A] = {}
    for (namespace, generation), places in groups.items():
        given = act(namespace, generation, [messages[place] for place in places])
        answers.update(zip(places, given, strict=True))
    return tuple([answers[place] for place in range(len(messages))])
