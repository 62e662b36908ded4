"""A worker: a small HTTP server around a ``LastCache``, as a process of its own.

It starts, speaks and ends as the origin does. ``/item/N`` gives an answer of the cache, ``/delete/N`` deletes a key.
"""

import argparse
import os
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Final, NamedTuple

from lastcache import Config
from lastcache._demo.clients import Cache, Log, fetch, told
from lastcache._demo.origin import serve
from lastcache._demo.record import Answer, Failed, Fetched, Given
from lastcache.second import Second
from lastcache.second.codecs import JsonValue, json_codec, read_json, write_json

_KEEP_FOR: Final = 20
"""How many TTLs the store keeps what is past its freshness."""
_PATIENCE: Final = timedelta(seconds=1)
"""More than by default: a machine that is busy with the picture, too, must not lose an answer."""


class Said(NamedTuple):
    """What a worker says: an answer of its cache, its process, and how often that has called the origin so far."""

    answer: Answer
    process: int
    calls: int


class Counter:
    """Where a worker answers: its cache, and the count of its calls of the origin."""

    def __init__(self, origin: int, cache: Cache) -> None:
        self._log = Log()
        self._cache = cache
        self._load = partial(fetch, origin, self._log)

    def answer(self, path: str) -> tuple[HTTPStatus, bytes]:
        """Answer from the cache, or delete."""
        word, _, key = path.removeprefix("/").partition("/")
        if word == "delete":
            self._cache.delete(int(key))
            return HTTPStatus.OK, b"{}"
        answer = told(self._cache.load_or_store(int(key), self._load))
        return HTTPStatus.OK, written(Said(answer, os.getpid(), len(self._log.calls)))


def written(said: Said) -> bytes:
    """Write down what a worker says.

    >>> written(Said(Failed("Down"), process=7, calls=2))
    b'{"failed":"Down","process":7,"calls":2}'
    """
    answer = said.answer
    what = {"failed": answer.error} if isinstance(answer, Failed) else answer._asdict()
    return write_json({**what, "process": said.process, "calls": said.calls})


def read(body: bytes) -> Said:
    """Read what a worker said. Raises ``ValueError``.

    >>> read(b'{"failed":"Down","process":7,"calls":2}')
    Said(answer=Failed(error='Down'), process=7, calls=2)
    """
    match read_json(body):
        case {"failed": str(error), "process": int(process), "calls": int(calls)}:
            return Said(Failed(error), process, calls)
        case {
            "value": value,
            "stale": bool(stale),
            "error": (str() | None) as error,
            "process": int(process),
            "calls": int(calls),
        }:
            return Said(Given(fetched(value), stale, error), process, calls)
        case other:
            raise ValueError(f"{other!r} is nothing that a worker says")


def fetched(written: JsonValue) -> Fetched:
    """Read what the codec wrote.

    >>> fetched([7, 1, 2, 3])
    Fetched(key=7, version=1, generation=2, fetched_at=3)
    """
    match written:
        case [int(key), int(version), int(generation), int(fetched_at)]:
            return Fetched(key, version, generation, fetched_at)
        case _:
            raise ValueError(f"{written!r} is nothing that the origin gave")


def second_level(store: Path, namespace: str, ttl: timedelta, trust_for: timedelta) -> Second[int, Fetched]:
    """Choose the options of the second level."""
    # Whoever only reads what a worker says needs no store.
    from lastcache.second.sqlite import SqliteStore

    return Second(
        store=SqliteStore(store, timeout=_PATIENCE),
        codec=json_codec("fetched-1", encode=lambda value: value, decode=fetched),
        namespace=namespace,
        trust_for=trust_for,
        keep_for=_KEEP_FOR * ttl,
    )


def main() -> int:
    """Be a worker."""
    parser = argparse.ArgumentParser(description="A worker for the demonstration; it ends with its stdin.")
    add = parser.add_argument
    add("--port", type=int, default=0, help="0 for a free one")
    add("--origin", type=int, required=True, help="the port of the origin")
    add("--ttl", type=float, required=True)
    add("--extend-ttl", type=float, required=True)
    add("--trust-for", type=float, required=True)
    add("--store", type=Path)
    add("--namespace", default="demo")
    options = parser.parse_args()
    ttl, trust_for = timedelta(seconds=options.ttl), timedelta(seconds=options.trust_for)
    config = Config(global_ttl=ttl, extend_ttl=timedelta(seconds=options.extend_ttl))
    second = None if options.store is None else second_level(options.store, options.namespace, ttl, trust_for)
    return serve(options.port, Counter(options.origin, Cache(config, second=second)))


if __name__ == "__main__":
    raise SystemExit(main())
