"""One process of a campaign: a cache beside the shared store, and threads that read and change keys, and judge."""

import os
import signal
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from multiprocessing.connection import Connection

from lastcache import Config, LastCache
from lastcache.second import Second
from lastcache.second.codecs import json_codec
from lastcache.second.redis import RedisStore
from tests.soak.many_processes_board import CALM, SECOND, Board
from tests.soak.many_processes_caller import LONGEST_READ, Caller, Setup
from tests.soak.many_processes_contact import Cache, Contact, Memory, Unsettled
from tests.soak.many_processes_counts import TOO_LONG, Finding, Tally
from tests.soak.many_processes_judge import Judge
from tests.soak.many_processes_mistakes import MISTAKES
from tests.soak.many_processes_values import LEASE, STALE_FOR, TRUST, TTL


def work(setup: Setup, board: Board, pipe: Connection) -> None:
    """Be a worker until all is over, and send what was counted."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    tally = Tally()
    contact = Contact(board, tally)
    made = RedisStore.from_url(setup.url, timeout=timedelta(seconds=setup.timeout), push=setup.push)
    store = made if setup.mistake is None else MISTAKES[setup.mistake].make(made)
    cache: Cache = LastCache(
        Config(global_ttl=_duration(TTL), stale_if_error=_duration(STALE_FOR), jitter=0.1),
        observer=contact,
        second=Second(
            store=store,
            codec=json_codec("value-1"),
            namespace="many",
            trust_for=_duration(TRUST),
            lease_for=_duration(LEASE),
        ),
    )
    unsettled, memory = Unsettled(board, contact, cache), Memory()
    tallies = [Tally() for _ in range(setup.threads)]
    judges = [Judge(board, contact, memory, each) for each in tallies]
    callers = [
        Caller(nth, setup, board, cache, judge, memory, each)
        for nth, (judge, each) in enumerate(zip(judges, tallies, strict=True))
    ]
    threads = [threading.Thread(target=caller.run, args=(unsettled,), daemon=True) for caller in callers]
    for thread in threads:
        thread.start()
    _watch(setup, board, judges)
    for thread in threads:
        thread.join(LONGEST_READ / SECOND + 10)
    time.sleep(1.0)
    for judge, each in zip(judges, tallies, strict=True):
        judge.judge_later(all_of_them=True)
        tally.merge(each)
    if any(thread.is_alive() for thread in threads):
        tally.find(CALM, Finding(TOO_LONG, "a thread has not ended", board.now()))
    cache.close()
    made.close()
    pipe.send(tally)


def _watch(setup: Setup, board: Board, judges: Sequence[Judge]) -> None:
    """Say how much was found, until all is over, or the parent is gone."""
    parent = os.getppid()
    while not board.over.get():
        time.sleep(0.1)
        board.found[setup.number] = sum(judge.found for judge in judges)
        if os.getppid() != parent:
            os._exit(1)


def _duration(nanoseconds: int) -> timedelta:
    return timedelta(microseconds=nanoseconds // 1000)
