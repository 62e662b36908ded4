"""The clients in threads: how each of them comes to an answer."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from typing import Final, NamedTuple, TypeAlias

from returns.pipeline import is_successful
from returns.result import Result, Success

from lastcache import CachedValue, LastCache, LoadFailure, failed
from lastcache._demo.origin import HOST
from lastcache._demo.record import Answer, Failed, Fetched, Given, History, Landing, Sample

TIMEOUT: Final = 1.0
"""Seconds that one step of an HTTP request may take."""


class NotFound(NamedTuple):
    """The origin answered that there is no such item. Older data must not hide that."""

    key: int


class Down(NamedTuple):
    """The origin gave no answer that can be used. Older data may stand in for it."""

    reason: str


OriginError: TypeAlias = NotFound | Down
Outcome: TypeAlias = Result[Fetched, LoadFailure[OriginError]]
Cache: TypeAlias = LastCache[int, Fetched, OriginError]
Refreshed: TypeAlias = Result[CachedValue[Fetched, OriginError], OriginError]


@dataclass(frozen=True, slots=True)
class Log:
    """What a client's threads append to, and nobody ever removes."""

    samples: list[Sample] = field(default_factory=list[Sample])
    calls: list[int] = field(default_factory=list[int])
    landings: list[Landing] = field(default_factory=list[Landing])


@dataclass(frozen=True, slots=True)
class Client:
    """A way to ask for a key, and the log of what came of it."""

    name: str
    cached: bool
    ask: Callable[[int], Answer]
    log: Log

    def history(self) -> History:
        """Freeze what the log holds now."""
        log = self.log
        return History(self.name, self.cached, tuple(log.samples), tuple(log.calls), tuple(log.landings))


def without_cache(port: int) -> Client:
    """Make the client that asks the origin at every request."""
    log = Log()

    def ask(key: int) -> Answer:
        outcome = fetch(port, log, key)
        if not is_successful(outcome):
            return Failed(str(outcome.failure().err))
        return Given(outcome.unwrap(), stale=False)

    return Client("no cache", cached=False, ask=ask, log=log)


def stale_if_error(port: int, cache: Cache) -> Client:
    """Make the client that waits for a load, and is given an expired value only if the load fails."""
    log = Log()
    load = partial(fetch, port, log)

    def ask(key: int) -> Answer:
        return told(cache.load_or_store(key, load))

    return Client("stale-if-error", cached=True, ask=ask, log=log)


def stale_while_revalidate(port: int, cache: Cache) -> Client:
    """Make the client that is given an expired value at once, while the load runs behind its back."""
    log = Log()
    load = partial(fetch, port, log)

    def ask(key: int) -> Answer:
        answer = cache.async_load_or_store(key, load)
        refresh = answer.unwrap().refresh if is_successful(answer) else None
        if refresh is not None:
            refresh.add_done_callback(lambda done: land(log, done.result) if done.exception() is None else None)
        return told(answer.map(lambda given: given.cached))

    return Client("stale-while-revalidate", cached=True, ask=ask, log=log)


def told(answer: Refreshed) -> Answer:
    """Write down what a cache answered.

    >>> told(Success(CachedValue(Fetched(7, 1, 2, 3), stale=True)))
    Given(value=Fetched(key=7, version=1, generation=2, fetched_at=3), stale=True, error=None)
    """
    if not is_successful(answer):
        return Failed(str(answer.failure()))
    given = answer.unwrap()
    return Given(given.value, stale=given.stale, error=None if given.err is None else str(given.err))


def land(log: Log, result: Callable[[], Refreshed]) -> None:
    """Note the latest instant at which the value of a background load had been stored, if there is one."""
    answer = result()
    if is_successful(answer) and not answer.unwrap().stale:
        log.landings.append(Landing(answer.unwrap().value, time.monotonic_ns()))


def fetch(port: int, log: Log, key: int) -> Outcome:
    """Ask the origin for ``key`` over HTTP: the callback of every client."""
    log.calls.append(time.monotonic_ns())
    connection = HTTPConnection(HOST, port, timeout=TIMEOUT)
    try:
        connection.request("GET", f"/item/{key}")
        response = connection.getresponse()
        return outcome_of(key, response.status, response.read(), time.monotonic_ns())
    except (OSError, HTTPException) as trouble:
        return failed(Down(f"{type(trouble).__name__}: {trouble}"), use_stale=True)
    finally:
        connection.close()


def outcome_of(key: int, status: int, body: bytes, now: int) -> Outcome:
    """Decide what a response means: a value, a failure that older data may cover, or one that it must not cover.

    >>> outcome_of(7, 200, b'{"key": 7, "version": 1, "generation": 2}', now=3)
    <Success: Fetched(key=7, version=1, generation=2, fetched_at=3)>
    >>> outcome_of(7, 404, b"{}", now=3)
    <Failure: LoadFailure(err=NotFound(key=7), use_stale=False)>
    >>> outcome_of(7, 503, b"", now=3)
    <Failure: LoadFailure(err=Down(reason='HTTP status 503'), use_stale=True)>
    """
    if status == HTTPStatus.NOT_FOUND:
        return failed(NotFound(key), use_stale=False)
    if status != HTTPStatus.OK:
        return failed(Down(f"HTTP status {status}"), use_stale=True)
    try:
        answer: object = json.loads(body)
    except ValueError:
        return failed(Down("a body that is no JSON"), use_stale=True)
    match answer:
        case {"key": int(given), "version": int(version), "generation": int(generation)} if given == key:
            return Success(Fetched(key, version, generation, now))
        case _:
            return failed(Down("a body that is no answer for this key"), use_stale=True)
