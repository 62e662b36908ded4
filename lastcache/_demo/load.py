"""The load: threads that send each client its requests, at the asked rate and no faster."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from lastcache._demo.clients import Client
from lastcache._demo.options import Options
from lastcache._demo.record import SECOND, Answer, Failed, Sample

_WARMERS: Final = 8
_LEAVE_WITHIN: Final = 4.0


def warm_up(clients: Iterable[Client], keys: int, stop: threading.Event) -> list[threading.Thread]:
    """Have each client read every key once, in some threads of its own, which are given back."""

    def read(client: Client, first: int) -> None:
        for key in range(first, keys, _WARMERS):
            if stop.is_set():
                return
            client.log.samples.append(sample(client, key))

    return [_started(partial(read, client, first)) for client in clients for first in range(_WARMERS)]


def press(clients: Iterable[Client], options: Options, starts_at: int, stop: threading.Event) -> list[threading.Thread]:
    """Send each client its requests from ``starts_at`` until ``stop``, in threads that are given back."""
    workers = options.workers
    gap = round(SECOND / options.rate)
    weights = zipf(options.keys)

    def send(client: Client, worker: int) -> None:
        # The same for each client: they ask for the same keys, side by side.
        chance = random.Random(f"{options.seed}/{worker}")  # noqa: S311  # keys, not secrets
        due_at = starts_at + worker * gap
        while not stop.wait(max(0, due_at - time.monotonic_ns()) / SECOND):
            (key,) = chance.choices(range(options.keys), cum_weights=weights)
            client.log.samples.append(sample(client, key))
            due_at = next_due(due_at, workers * gap, time.monotonic_ns())

    return [_started(partial(send, client, worker)) for client in clients for worker in range(workers)]


def sample(client: Client, key: int) -> Sample:
    """Ask once, and measure the call alone."""
    started_at = time.monotonic_ns()
    answer = asked(client, key)
    return Sample(key, started_at, time.monotonic_ns(), answer)


def asked(client: Client, key: int) -> Answer:
    """Ask; an exception is an answer that the check will not like, not the end of the load."""
    try:
        return client.ask(key)
    except Exception as raised:
        return Failed(repr(raised))


def next_due(due_at: int, step: int, now: int) -> int:
    """Tell when the next request is due: one step on, and at once when that has passed; nothing is made up for.

    >>> next_due(100, 10, now=105), next_due(100, 10, now=150)
    (110, 150)
    """
    return max(due_at + step, now)


def zipf(keys: int) -> list[float]:
    """Weigh the keys by Zipf's law, cumulated: the n-th is asked for 1/n as often as the first.

    >>> zipf(2)
    [1.0, 1.5]
    """
    return list(itertools.accumulate(1 / rank for rank in range(1, keys + 1)))


def leave(threads: list[threading.Thread], stop: threading.Event) -> None:
    """Stop the threads, and wait until they have ended what they were at; HTTP's timeouts bound that."""
    stop.set()
    until = time.monotonic() + _LEAVE_WITHIN
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))


def _started(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread
