"""What happens to the server and to the origin of a campaign, in which order, and for how long."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from multiprocessing.context import ForkProcess
from typing import Final, NamedTuple, TypeAlias, final

from tests.second.servers import Server
from tests.soak.many_processes_board import (
    BOTH,
    CALM,
    COLD,
    DOWN,
    FLUSHED,
    KILLED,
    PHASES,
    STOPPED,
    STORM,
    Board,
    Spans,
)

COLD_FOR: Final = 6.0
CYCLE: Final = 110.0
"""The seconds of a round with one incident of each kind, about; a longer campaign has several rounds."""
LEAST_CALM: Final = 1.0
LOOK: Final = 0.25
FOREIGN: Final = 4096
AT_ONCE: Final = 100


class WorkerGoneError(RuntimeError):
    """A worker ended too early, or said nothing."""


@final
class Stage:
    """What incidents are made on: the board, and the server, if there is one, which may use ``room`` bytes.

    ``until_found``: all is over once something was found.
    """

    def __init__(
        self, board: Board, running: Server | None, workers: Sequence[ForkProcess], room: int, *, until_found: bool
    ) -> None:
        self.board = board
        self.running = running
        self.seconds = [0.0] * len(PHASES)
        self._workers = workers
        self._until_found = until_found
        self._evicted = 0
        self._looked_at = board.now()
        self.room = room

    @property
    def is_over(self) -> bool:
        """Whether the mistake was found that was made on purpose."""
        return self._until_found and self.board.total_found() > 0

    def during(self, phase: int, act: Callable[[], object], seconds: float) -> None:
        """Let something happen, and what comes of it."""
        if self.is_over:
            return
        began_at = time.monotonic()
        self.board.phase.put(phase)
        act()
        self.wait(seconds)
        self.seconds[phase] += time.monotonic() - began_at

    def wait(self, seconds: float, *, looks: bool = True) -> None:
        """Let the workers work; see whether they live, and whether the server evicts."""
        ends_at = time.monotonic() + seconds
        while (left := ends_at - time.monotonic()) > 0 and not self.is_over:
            time.sleep(min(left, LOOK))
            if any(worker.exitcode is not None for worker in self._workers):
                raise WorkerGoneError("a worker has ended too early")
            if looks and self.running is not None:
                self.look()

    def look(self) -> None:
        """Write down that the server lost records, if it evicted any since the last look."""
        assert self.running is not None
        before, self._looked_at = self._looked_at, self.board.now()
        evicted: int = self.running.command("INFO", "stats")["evicted_keys"]
        if evicted > self._evicted:
            with span(self.board.losses, self.board, before):
                pass
        self._evicted = evicted


@contextmanager
def span(spans: Spans, board: Board, since: int | None = None) -> Generator[None, None, None]:
    """Write down that something is so meanwhile."""
    spans.begin(board.now() if since is None else since)
    try:
        yield
    finally:
        spans.end(board.now())


@contextmanager
def stopped(stage: Stage) -> Generator[None, None, None]:
    """Stop the server meanwhile."""
    if stage.running is None:
        yield
        return
    with span(stage.board.stops, stage.board):
        stage.running.suspend()
        try:
            yield
        finally:
            stage.running.go_on()


def stop(stage: Stage, scale: float) -> None:
    with stopped(stage):
        stage.wait(3.0 * scale, looks=False)


def kill(stage: Stage, scale: float) -> None:
    assert stage.running is not None
    with span(stage.board.losses, stage.board):
        stage.running.kill()
        stage.wait(2.0 * scale, looks=False)
        stage.running.start()


def flush(stage: Stage, scale: float) -> None:
    assert stage.running is not None
    with span(stage.board.losses, stage.board):
        stage.running.command("FLUSHALL")


def storm(stage: Stage, scale: float) -> None:
    """Write so much of something else that everything has to make room, then take that away."""
    import redis

    assert stage.running is not None
    lasts = 5.0 * scale
    ends_at, body, rate = time.monotonic() + lasts, b"x" * FOREIGN, 2 * stage.room / lasts
    written, began_at = 0, time.monotonic()
    with redis.Redis(port=stage.running.port, db=1) as client, span(stage.board.losses, stage.board):
        while time.monotonic() < ends_at:
            pipe = client.pipeline(transaction=False)
            for _ in range(AT_ONCE):
                written += FOREIGN
                pipe.set(f"foreign {written}", body)
            pipe.execute()
            stage.wait(began_at + written / rate - time.monotonic(), looks=False)
        client.execute_command("FLUSHDB", "ASYNC")
        stage.wait(0.5)


def fail(stage: Stage, scale: float) -> None:
    with span(stage.board.outages, stage.board):
        stage.wait(9.0 * scale)


def fail_both(stage: Stage, scale: float) -> None:
    """The origin fails, and in the middle of that the server stops."""
    with span(stage.board.outages, stage.board):
        stage.wait(3.0 * scale)
        with stopped(stage):
            stage.wait(3.0 * scale, looks=False)
        stage.wait(4.0 * scale)


Act: TypeAlias = Callable[[Stage, float], None]


@final
class Incident(NamedTuple):
    """Something that happens: what it does, for how many seconds, and how long what comes of it is counted with it."""

    phase: int
    act: Act
    lasts: float
    after: float


INCIDENTS: Final = (
    Incident(STOPPED, stop, 3.0, 4.0),
    Incident(KILLED, kill, 2.0, 4.0),
    Incident(FLUSHED, flush, 0.0, 3.0),
    Incident(STORM, storm, 5.5, 3.0),
    Incident(DOWN, fail, 9.0, 2.0),
    Incident(BOTH, fail_both, 10.0, 3.0),
)


def rounds(seconds: float, incidents: Sequence[Incident]) -> Iterator[tuple[float, float, Incident | None]]:
    """Give what happens in turn: how long it is calm, by how much an incident is shortened, and which one comes."""
    count = max(1, int(seconds // CYCLE))
    of_each = (seconds - cold_for(seconds)) / count
    lasts = sum(each.lasts + each.after for each in incidents)
    calm = max(LEAST_CALM, (of_each - lasts) / (len(incidents) + 1))
    scale = min(1.0, max(0.1, (of_each - calm * (len(incidents) + 1)) / lasts)) if incidents else 1.0
    for _ in range(count):
        for incident in incidents:
            yield calm, scale, incident
        yield calm, scale, None


def play(stage: Stage, seconds: float, incidents: Sequence[Incident]) -> None:
    """Let everything happen, in its order."""
    stage.during(COLD, nothing, cold_for(seconds))
    for calm, scale, incident in rounds(seconds, incidents):
        stage.during(CALM, nothing, calm)
        if incident is not None:
            stage.during(incident.phase, partial(incident.act, stage, scale), incident.after * scale)
    stage.board.phase.put(CALM)


def cold_for(seconds: float) -> float:
    """Give how long the caches may take to fill."""
    return min(COLD_FOR, seconds / 4)


def nothing() -> None:
    """Let the workers work."""
