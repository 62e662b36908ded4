"""The run itself: the origin lives, dies and comes back, while the load goes on."""

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from lastcache._demo.clients import Cache, Client, stale_if_error, stale_while_revalidate, without_cache
from lastcache._demo.launch import Listening, OriginProcess, Removed, Starting
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
    """The demonstration itself cannot go on: the origin does not start."""


class _InterruptedError(Exception):
    """A signal asked for the end."""


@dataclass(slots=True)
class _Stage:
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


def perform(options: Options, screen: Screen, signals: Signals) -> Run:
    """Run the whole demonstration, or as much of it as a signal allows. Raises ``StageError``.

    However it ends, the threads have stopped, the caches are closed, and the origin is gone.
    """
    stage = _Stage(options, screen, signals)
    interrupted = False
    try:
        _perform(stage)
    except _InterruptedError:
        interrupted = True
    histories = tuple(client.history() for client in stage.clients)
    return Run(stage.switches, histories, time.monotonic_ns(), signals.arrived if interrupted else None)


def _perform(stage: _Stage) -> None:
    options = stage.options
    with ExitStack() as stack:
        origin = stack.enter_context(OriginProcess(options.keys, options.seed))
        origin.start(0)
        port = _listening(stage, origin)
        first = stack.enter_context(Cache(options.config))
        second = stack.enter_context(Cache(options.config))
        clients = without_cache(port), stale_if_error(port, first), stale_while_revalidate(port, second)
        stage.clients = (*clients, *_task_clients(stack, options, port))
        stop = threading.Event()
        threads: list[threading.Thread] = []
        stack.callback(leave, threads, stop)
        _warm_up(stage, threads, stop, f"http://{HOST}:{port}")
        _press(stage, threads, stop, origin.pid)
        _phases(stage, origin, port)


def _task_clients(stack: ExitStack, options: Options, port: int) -> tuple[Client, ...]:
    """Start the clients of the cache for tasks, if they take part; only then is anyio needed."""
    if not options.tasks:
        return ()
    from lastcache._demo.tasks import task_clients

    return stack.enter_context(task_clients(port, options))


def _listening(stage: _Stage, origin: OriginProcess) -> int:
    until = time.monotonic_ns() + _START_WITHIN
    while time.monotonic_ns() < until:
        match origin.status():
            case Listening(port):
                return port
            case Removed(reason):
                raise StageError(f"the origin did not start: {reason}")
            case Starting(trouble):
                stage.note = trouble or stage.note
        stage.tick(_POLL)
    raise StageError(f"the origin did not start within {_START_WITHIN // SECOND} s")


def _warm_up(stage: _Stage, threads: list[threading.Thread], stop: threading.Event, address: str) -> None:
    stage.note = f"warm-up from {address}"
    stage.shown = [0] * len(stage.clients)
    stage.timeline = empty(time.monotonic_ns(), 1, stage.screen.cells, len(stage.clients))
    threads += warm_up([client for client in stage.clients if client.cached], stage.options.keys, stop)
    while any(thread.is_alive() for thread in threads):
        stage.tick()


def _press(stage: _Stage, threads: list[threading.Thread], stop: threading.Event, pid: int) -> None:
    stage.switch(Phase.UP, f"process {pid} answers")
    stage.shown = [len(client.log.samples) for client in stage.clients]
    began_at = stage.switches[0].began_at
    stage.timeline = empty(began_at, round(stage.options.seconds * SECOND), stage.screen.cells, len(stage.clients))
    threads += press(stage.clients, stage.options, began_at, stop)


def _phases(stage: _Stage, origin: OriginProcess, port: int) -> None:
    _wait(stage)
    pid = origin.pid
    origin.kill()
    stage.switch(Phase.DOWN, f"process {pid} was killed (SIGKILL)")
    _wait(stage)
    stage.note = "the origin is starting again"
    origin.start(port)
    _listening(stage, origin)
    stage.switch(Phase.RECOVERED, f"process {origin.pid} answers again")
    _wait(stage)
    stage.show()


def _wait(stage: _Stage) -> None:
    until = stage.switches[-1].began_at + round(stage.options.seconds * SECOND) // len(TIMED)
    while (left := until - time.monotonic_ns()) > 0:
        stage.tick(left / SECOND)
