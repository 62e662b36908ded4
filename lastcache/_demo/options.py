"""What can be chosen on the command line, checked before anything starts."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib.util import find_spec
from math import ceil
from pathlib import Path
from typing import Final

from returns.pipeline import is_successful

from lastcache import Config
from lastcache._demo.record import Phase
from lastcache.errors import ConfigError

_SLOTS: Final = 4
_MOST_WORKERS: Final = 16
_RATE_OF_A_WORKER: Final = 50

_HEAD: Final = 100
_WORD: Final = slice(68, 72)
"""Where the head of a file of SQLite says whose file it is."""

LETTERS: Final = "ABCD"
"""The names of the workers."""
LAST_FOR: Final = {Phase.UP: 0.5, Phase.DOWN: 1.0, Phase.DEPLOY: 1.0, Phase.RECOVERED: 0.5, Phase.DELETED: 0.5}
"""How many TTLs a phase lasts, with workers."""


@dataclass(frozen=True, slots=True)
class Options:
    """One run; seconds, and requests per second for each client."""

    seconds: float
    rate: float
    keys: int
    ttl: float
    seed: int
    json: Path | None
    tasks: bool
    processes: int = 0
    store: Path | None = None

    @property
    def config(self) -> Config:
        """The options of the caches."""
        ttl, extend_ttl = timedelta(seconds=self.ttl), timedelta(seconds=self.extend_ttl)
        return Config(global_ttl=ttl, extend_ttl=extend_ttl, async_semaphore=_SLOTS)

    @property
    def extend_ttl(self) -> float:
        """For how many seconds a value stands after a failure that it covers."""
        return self.ttl / (4 if self.processes else 2)

    @property
    def trust_for(self) -> float:
        """For how many seconds a worker takes its own copy's word."""
        return min(1.0, self.ttl / 5)

    @property
    def workers(self) -> int:
        """How many threads ask for each client."""
        return min(_MOST_WORKERS, max(2, ceil(self.rate / _RATE_OF_A_WORKER)))


_EPILOG: Final = f"""\
The run: an HTTP origin starts as a process of its own on a free port of
127.0.0.1. Each cached client reads every key once; these reads are checked, but
not counted. Then the clock starts: for a third of --seconds the origin is up,
for a third it is dead (SIGKILL), then it starts again on the same port, and
when it listens the last third begins. The time that the processes need to start
comes on top.

The clients ask side by side, for the same keys, a few of them often and most of
them rarely (by Zipf's law):
  no cache                every request is an HTTP request
  stale-if-error          LastCache.load_or_store
  stale-while-revalidate  LastCache.async_load_or_store
with Config(global_ttl=TTL, extend_ttl=TTL/2, async_semaphore={_SLOTS}).
With --async two more, each with an AsyncLastCache, in one event loop of a
thread of its own; the same threads ask them, and latency includes the way to
the loop:
  async stale-if-error    AsyncLastCache.load_or_store
  async while-revalidate  AsyncLastCache.async_load_or_store

The summary: a request belongs to the phase in which it started; one that is
under way when the origin is killed counts for "up". Latency is that of the call
alone, of answers and errors alike. Origin calls are HTTP requests that were
tried, failed ones included. A request that comes late because the machine is
busy is not made up for, so there may be fewer of them than --rate asks for.

The verdict: an error for a key that a cached client had broke the promise, and
so did a stale value without the mark. A value counts as stale when the call
started later than TTL after the first moment at which the value is known to
have been stored: the end of the first call that gave it, or of the load behind
that. This needs no tolerance, and no load on the machine can make it wrong.

With --workers N, each a process with a LastCache and a client: every worker
reads each key once, one worker after the other. The origin answers, is killed,
and when the values are stale worker A is killed (SIGKILL) and starts anew; it
is sent nothing until it listens. The origin comes back, then the last worker
deletes the key that is asked for most. The phases last 3.5 TTLs in all. With
--store the workers share a second level: Second(store=SqliteStore(PATH), ...),
whose word they take for trust_for, a fifth of the TTL, but at most a second.
What is stored stays in PATH; each run has a namespace of its own. Without
--store what the restart of worker A loses is no promise broken.

Exit status: 0 all promises kept; 1 one was broken, and which; 2 a bad option;
3 the demonstration itself could not go on; 130 after Ctrl-C; 143 after SIGTERM;
141 when nobody reads its output any more and there is no --json to go on for.
NO_COLOR is respected. Without a terminal, plain lines come twice a second.
"""


def parse(arguments: list[str] | None) -> Options:
    """Read the options; what is wrong ends the program with status 2 and names argument, value and what is right."""
    parser = argparse.ArgumentParser(
        prog="python -m lastcache",
        description="Clients, side by side, and an HTTP origin that dies and comes back.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--seconds", type=_number(0.3, 120), metavar="S", help="how long, from 0.3 to 120 (default: 6)")
    add(
        "--rate",
        type=_number(0.1, 2000),
        metavar="N",
        help="requests per second and client (default: 200, with --workers 50)",
    )
    add(
        "--keys",
        type=_whole(1, 1000),
        metavar="N",
        help="how many keys, from 1 to 1000 (default: 20, with --workers 6)",
    )
    add(
        "--ttl",
        type=_number(0.001, 3600),
        metavar="S",
        help="seconds a value is fresh (default: 0.5, with --workers 2)",
    )
    add("--seed", type=_whole(None, None), default=1, metavar="N", help="for keys and delays (default: 1)")
    add("--async", action="store_true", dest="tasks", help="let two clients of the cache for tasks take part, too")
    add("--json", type=Path, metavar="FILE", help="write the whole summary to FILE, options included")
    add("--workers", type=_whole(2, len(LETTERS)), metavar="N", help="worker processes instead, from 2 to 4; see below")
    add("--store", type=_store, metavar="sqlite:PATH", help="what the workers share, and what outlives them")
    read = parser.parse_args(arguments)
    if read.json is not None:
        _check_file(parser, read.json)
    if read.tasks and find_spec("anyio") is None:
        parser.error("argument --async: needs anyio: pip install 'lastcache[anyio]'")
    if read.workers is not None:
        return _with_workers(parser, read)
    if read.store is not None:
        parser.error("argument --store: only with --workers, as in --workers 2")
    # None of them may be zero.
    numbers = read.seconds or 6.0, read.rate or 200.0, read.keys or 20, read.ttl or 0.5
    return Options(*numbers, read.seed, read.json, read.tasks)


def _with_workers(parser: argparse.ArgumentParser, read: argparse.Namespace) -> Options:
    if read.tasks:
        parser.error("argument --async: not with --workers")
    if read.seconds is not None:
        parser.error("argument --seconds: not with --workers, where a run lasts 3.5 TTLs: choose --ttl")
    if read.store is not None:
        _check_store(parser, read.store)
    ttl = read.ttl or 2.0
    seconds = ttl * sum(LAST_FOR.values())
    numbers = seconds, read.rate or 50.0, read.keys or 6, ttl
    return Options(*numbers, read.seed, read.json, tasks=False, processes=read.workers, store=read.store)


def _store(text: str) -> Path:
    kind, _, path = text.partition(":")
    if kind != "sqlite" or not path:
        raise argparse.ArgumentTypeError(f"{text!r}: must be sqlite:PATH, where PATH is a file, or none yet")
    # No shell does that behind a colon.
    return Path(os.path.expanduser(path)).absolute()  # noqa: PTH111  # the other one raises for an unknown user


def _check_store(parser: argparse.ArgumentParser, path: Path) -> None:
    """Make the store, if it is not there."""
    from lastcache.second.sqlite import SqliteStore

    refusal = f"argument --store: 'sqlite:{path}': must be a store, or a file that can be made"
    try:
        if path.exists() and not _may_be_store(path):
            parser.error(f"{refusal} (it is something else)")
        store = SqliteStore(path)
    except (OSError, ValueError, ConfigError) as trouble:
        parser.error(f"{refusal} ({trouble})")
    probed = store.probe(b"probe")
    store.close()
    if not is_successful(probed):
        parser.error(f"{refusal} ({probed.failure().detail})")


def _may_be_store(path: Path) -> bool:
    """Look, before the store does: it would take a file of another kind for a spoilt store, and set it aside."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_HEAD)
    return not head or head[_WORD] == b"LCS1"


def _number(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        # Also false for what is not a number.
        if low <= value <= high:
            return value
        raise argparse.ArgumentTypeError(f"{text!r}: must be a number from {low:g} to {high:g}")

    return number


def _whole(low: int | None, high: int | None) -> Callable[[str], int]:
    right = "a whole number" if low is None else f"a whole number from {low} to {high}"

    def whole(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: must be {right}") from None
        if (low is not None and value < low) or (high is not None and value > high):
            raise argparse.ArgumentTypeError(f"{text!r}: must be {right}")
        return value

    return whole


def _check_file(parser: argparse.ArgumentParser, path: Path) -> None:
    try:
        # The only sure way to know; nothing that is there is lost.
        with path.open("a"):
            pass
    except (OSError, ValueError) as refusal:
        parser.error(f"argument --json: {str(path)!r}: must be a file that can be written ({refusal})")
