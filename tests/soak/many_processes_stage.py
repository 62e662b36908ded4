"""The parent of a campaign: it starts the server and the workers, and collects what was counted."""

import signal
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Final, NamedTuple, final

from tests.second.servers import free_port, server
from tests.soak.many_processes_board import DOWN, Board, zipf
from tests.soak.many_processes_caller import Setup
from tests.soak.many_processes_counts import Tally
from tests.soak.many_processes_incidents import INCIDENTS, Incident, Stage, WorkerGoneError, play
from tests.soak.many_processes_mistakes import MISTAKES
from tests.soak.many_processes_worker import work

EXPONENT: Final = 1.0
RECORD: Final = 700
"""The bytes that a record takes in the server, and something more."""
SPARE: Final = 16 << 20
BOUND: Final = 40.0


@final
class Plan(NamedTuple):
    """What a campaign is: ``store`` is a kind of server."""

    store: str
    push: bool
    processes: int
    threads: int
    keys: int
    rate: float
    timeout: float
    seed: int
    mistake: str | None = None


@final
class Outcome(NamedTuple):
    """What a campaign came to: ``seconds`` are those of each phase."""

    tally: Tally
    seconds: Sequence[float]
    began_at: int


def incidents_of(plan: Plan, *, away: bool) -> Sequence[Incident]:
    """Give what can happen: to a server that is not there nothing can, and a mistake is to be found without others."""
    if plan.mistake is not None:
        phase = MISTAKES[plan.mistake].phase
        return [each for each in INCIDENTS if each.phase == phase]
    return [each for each in INCIDENTS if each.phase == DOWN] if away else INCIDENTS


def campaign(plan: Plan, seconds: float, *, away: bool = False) -> Outcome:
    """Play one campaign; ``away``: nobody listens where the store should be."""
    room = str(room_of(plan.keys))
    options = ("--maxmemory", room, "--maxmemory-policy", "allkeys-lru")
    with nullcontext() if away else server(plan.store, *options) as running:
        port = free_port() if running is None else running.port
        url = f"{plan.store}://127.0.0.1:{port}/0"
        board, began_at = Board(plan.keys, plan.processes), time.monotonic_ns()
        with started(plan, board, url) as (workers, pipes):
            stage = Stage(board, running, workers, room_of(plan.keys), until_found=plan.mistake is not None)
            try:
                play(stage, seconds, incidents_of(plan, away=away))
            finally:
                board.over.put(1)
            tally = collected(pipes)
        return Outcome(tally, stage.seconds, began_at)


@contextmanager
def started(plan: Plan, board: Board, url: str) -> "Generator[tuple[list[ForkProcess], list[Connection]], None, None]":
    """Start the workers, and end them at the end, however that comes."""
    context = get_context("fork")
    weights = zipf(plan.keys, EXPONENT)
    workers, pipes = list[ForkProcess](), list[Connection]()
    rate = plan.rate / plan.processes / plan.threads
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        for number in range(plan.processes):
            mine, theirs = context.Pipe(duplex=False)
            setup = Setup(number, url, plan.push, plan.timeout, plan.threads, rate, weights, plan.seed, plan.mistake)
            worker = context.Process(target=work, args=(setup, board, theirs), daemon=True)
            worker.start()
            theirs.close()
            workers.append(worker)
            pipes.append(mine)
        yield workers, pipes
    finally:
        board.over.put(1)
        for worker in workers:
            worker.join(1.0)
            with suppress(ValueError):
                worker.kill()
            worker.join()


def collected(pipes: "Sequence[Connection]") -> Tally:
    """Hear what each worker counted."""
    tally, ends_at = Tally(), time.monotonic() + BOUND
    for pipe in pipes:
        if not pipe.poll(max(0.0, ends_at - time.monotonic())):
            raise WorkerGoneError("a worker does not end")
        said: object = pipe.recv()
        assert isinstance(said, Tally)
        tally.merge(said)
    return tally


def room_of(keys: int) -> int:
    """Give the bytes that the server may use: all keys find room, and nothing is left for much else."""
    return keys * RECORD + SPARE
