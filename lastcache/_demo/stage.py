"""The run itself: the origin lives, dies and comes back, while the load goes on."""

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from lastcache._demo.clients import Cache, Client, stale_if_error, stale_while_revalidate, without_cache
from lastcache._demo.launch import Listening, Removed, ServerProcess, Starting, origin_process
from lastcache._demo.load import leave, press, warm_up
from lastcache._demo.options import Options
from lastcache._demo.origin import HOST
from lastcache._demo.record import SECOND, TIMED, History, Phase, Switch
from lastcache._demo.screen import Screen
from lastcache._demo.signals import Signals
from lastcache._demo.timeline import Timeline, View, empty, extended

_TICK: Final = 0.05
_POLL: Final = 0.005
_SHOW_EVERY: Final = SECOND // 10
_START_WITHIN: Final = 30 * SECOND


class Run(NamedTuple):
    """What happened; ``signal`` ended it early, if any did."""

    switches: tuple[Switch, ...]
    histories: tuple[History, ...]
    ended_at: int
    signal: int | None


class StageError(Exception):
    """The demonstration itself cannot go on: a process does not start."""


class _InterruptedError(Exception):
    """A signal asked for the end."""


@dataclass(slots=True)
class Stage:
    """What changes while the run goes on; only the main thread touches it."""

    options: Options
    screen: Screen
    signals: Signals
    clients: tuple[Client, ...] = ()
    timeline: Timeline = field(default_factory=lambda: empty(0, 1, 1, 0))
    switches: tuple[Switch, ...] = ()
    shown: list[int] = field(default_factory=list[int])
    note: str = ""
    next_show_at: int = 0

    def switch(self, phase: Phase, note: str) -> None:
        self.note = note
        self.switches += (Switch(phase, time.monotonic_ns()),)

    def tick(self, at_most: float = _TICK) -> None:
        """Show how things stand, if it is time, and wait a little. Raises ``_InterruptedError`` if a signal came."""
        if self.signals.arrived is not None:
            raise _InterruptedError
        if time.monotonic_ns() >= self.next_show_at:
            self.next_show_at = time.monotonic_ns() + _SHOW_EVERY
            self.show()
        time.sleep(min(_TICK, at_most))

    def show(self) -> None:
        news = [client.log.samples[seen:] for client, seen in zip(self.clients, self.shown, strict=True)]
        self.shown = [seen + len(new) for seen, new in zip(self.shown, news, strict=True)]
        self.timeline = extended(self.timeline, news)
        names = tuple(client.name for client in self.clients)
        self.screen.show(View(names, self.timeline, self.switches, time.monotonic_ns(), self.note))


def perform(options: Options, screen: Screen, signals: Signals, play: "Callable[[Stage], None]") -> Run:
    """Run the whole of ``play``, or as much of it as a signal allows. Raises ``StageError``.

    However it ends, the threads have stopped, the caches are closed, and the processes are gone.
    """
    stage = Stage(options, screen, signals)
    interrupted = False
    try:
        play(stage)
    except _InterruptedError:
        interrupted = True
    histories = tuple(client.history() for client in stage.clients)
    return Run(stage.switches, histories, time.monotonic_ns(), signals.arrived if interrupted else None)


def play_outage(stage: Stage) -> None:
    """Have the origin live, die and come back."""
    options = stage.options
    with ExitStack() as stack:
        origin = stack.enter_context(origin_process(options.keys, options.seed))
        origin.start(0)
        port = listening(stage, origin)
        first = stack.enter_context(Cache(options.config))
        second = stack.enter_context(Cache(options.config))
        clients = without_cache(port), stale_if_error(port, first), stale_while_revalidate(port, second)
        stage.clients = (*clients, *_task_clients(stack, options, port))
        stop = threading.Event()
        threads: list[threading.Thread] = []
        stack.callback(leave, threads, stop)
        stage.note = f"warm-up from http://{HOST}:{port}"
        warm(stage, [client for client in stage.clients if client.cached], threads, stop)
        threads += press(stage.clients, options, begin(stage, f"process {origin.pid} answers"), stop)
        _phases(stage, origin, port)


def _task_clients(stack: ExitStack, options: Options, port: int) -> tuple[Client, ...]:
    """Start the clients of the cache for tasks, if they take part; only then is anyio needed."""
    if not options.tasks:
        return ()
    from lastcache._demo.tasks import task_clients

    return stack.enter_context(task_clients(port, options))


def listening(stage: Stage, server: ServerProcess) -> int:
    """Wait until ``server`` listens, and give its port. Raises ``StageError``."""
    until = time.monotonic_ns() + _START_WITHIN
    while time.monotonic_ns() < until:
        match server.status():
            case Listening(port):
                return port
            case Removed(reason):
                raise StageError(f"{server.name} did not start: {reason}")
            case Starting(trouble):
                stage.note = trouble or stage.note
        stage.tick(_POLL)
    raise StageError(f"{server.name} did not start within {_START_WITHIN // SECOND} s")


def warm(stage: Stage, clients: Iterable[Client], threads: list[threading.Thread], stop: threading.Event) -> None:
    """Have ``clients`` read every key once, in ``threads``."""
    stage.shown = [0] * len(stage.clients)
    stage.timeline = empty(time.monotonic_ns(), 1, stage.screen.cells, len(stage.clients))
    threads += warm_up(clients, stage.options.keys, stop)
    while any(thread.is_alive() for thread in threads):
        stage.tick()


def begin(stage: Stage, note: str) -> int:
    """Start the clock, and give the instant."""
    stage.switch(Phase.UP, note)
    stage.shown = [len(client.log.samples) for client in stage.clients]
    began_at = stage.switches[0].began_at
    stage.timeline = empty(began_at, round(stage.options.seconds * SECOND), stage.screen.cells, len(stage.clients))
    return began_at


def _phases(stage: Stage, origin: ServerProcess, port: int) -> None:
    _wait_a_third(stage)
    pid = origin.pid
    origin.kill()
    stage.switch(Phase.DOWN, f"process {pid} was killed (SIGKILL)")
    _wait_a_third(stage)
    stage.note = "the origin is starting again"
    origin.start(port)
    listening(stage, origin)
    stage.switch(Phase.RECOVERED, f"process {origin.pid} answers again")
    _wait_a_third(stage)
    stage.show()


def wait(stage: Stage, until: int) -> None:
    """Go on showing how things stand until then."""
    while (left := until - time.monotonic_ns()) > 0:
        stage.tick(left / SECOND)


def _wait_a_third(stage: Stage) -> None:
    wait(stage, stage.switches[-1].began_at + round(stage.options.seconds * SECOND) // len(TIMED))
