"""A process with one cache, which does what ``store_peers`` tells it: a line of JSON each way.

``python -m tests.benchmarks.store_peers_child NAME URL DIRECTORY TTL``. It ends when nobody tells it anything more.
"""

import json
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import Future
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.benchmarks.store_peers_caches import KNOWN, Reader, Setup
from tests.benchmarks.store_peers_origin import Origin

LONGEST: Final = 10.0
"""The seconds after which a call counts as one that hangs."""
HANGS: Final = f"no answer in {LONGEST:.0f} s"
_LIFE: Final = 120


class Answer(NamedTuple):
    """How one call ended; ``began_at`` is on the clock that all processes of a machine share."""

    value: str | None
    is_stale: bool | None
    error: str | None
    began_at: float
    took: float


class Watched(NamedTuple):
    """When an old value was given for the last time, whether another came after it, and how many calls failed."""

    last_at: float
    came: bool
    failed: int


def read(reader: Reader, key: str) -> Answer:
    """Ask for one key."""
    began_at = time.monotonic()
    value, error, is_stale = None, None, None
    try:
        value, is_stale = reader.read(key).result(LONGEST)
    except Exception as err:
        error = HANGS if time.monotonic() - began_at >= LONGEST else type(err).__name__
    return Answer(value, is_stale, error, began_at, time.monotonic() - began_at)


def read_all(reader: Reader, keys: list[str], at: float, every: float, until: float) -> list[Answer]:
    """Ask for keys, one after the other, from ``at`` on and no faster than one in ``every`` seconds."""
    answers = list[Answer]()
    for nth, key in enumerate(keys):
        time.sleep(max(0.0, at + nth * every - time.monotonic()))
        if time.monotonic() > until:
            break
        answers.append(read(reader, key))
    return answers


def watch(reader: Reader, key: str, old: str, every: float, until: float) -> Watched:
    """Ask for a key until it has another value."""
    last_at, count = time.monotonic(), 0
    while time.monotonic() < until:
        answer = read(reader, key)
        if answer.value == old:
            last_at = answer.began_at + answer.took
        elif answer.error is None:
            return Watched(last_at, came=True, failed=count)
        else:
            count += 1
        time.sleep(every)
    return Watched(last_at, came=False, failed=count)


def delete(reader: Reader, key: str) -> float:
    """Delete a key, and say when that had been done."""
    deleted: Future[object] = reader.delete(key)
    deleted.result(LONGEST)
    return time.monotonic()


def end_with(parent: int) -> None:
    """End when the process that tells this one what to do has ended."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


_WORKS: Final = {"read": read_all, "watch": watch, "delete": delete}


def main() -> None:
    """Do what is told until the input ends."""
    name, url, directory, ttl = sys.argv[1:]
    signal.alarm(_LIFE)
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    logging.disable(logging.CRITICAL)
    reader = KNOWN[name].open(Setup(url, Origin(Path(directory)), timedelta(seconds=float(ttl))))
    for line in sys.stdin:
        told: dict[str, Any] = json.loads(line)
        work: Any = _WORKS[told.pop("work")]
        sys.stdout.write(json.dumps(work(reader, **told)) + "\n")
        sys.stdout.flush()
    # Calls that hang are not waited for.
    os._exit(0)


if __name__ == "__main__":
    main()
