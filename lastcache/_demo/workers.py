"""The run with workers: processes that each have a cache, of which one is killed and started anew amid an outage."""

import os
import sys
import threading
import time
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from typing import Final

from lastcache._demo import worker
from lastcache._demo.clients import TIMEOUT, Client, Log
from lastcache._demo.launch import ServerProcess, origin_process
from lastcache._demo.load import leave, press
from lastcache._demo.options import LAST_FOR, LETTERS, Options
from lastcache._demo.origin import HOST
from lastcache._demo.record import SECOND, Answer, Failed, Phase
from lastcache._demo.stage import Stage, StageError, begin, listening, wait, warm
from lastcache._demo.tally import DELETED
from lastcache._demo.worker import read

_PATIENCE: Final = 3 * TIMEOUT
"""Seconds that a step of an HTTP request to a worker may take; it may ask the origin in between."""


def play_workers(stage: Stage) -> None:
    """Warm the workers, kill the origin, then the first worker; bring both back, and delete a key in the last one."""
    options = stage.options
    with ExitStack() as stack:
        origin = stack.enter_context(origin_process(options.keys, options.seed))
        origin.start(0)
        origin_port = listening(stage, origin)
        crew = [stack.enter_context(process) for process in _crew(options, origin_port)]
        for process in crew:
            process.start(0)
        ports = [listening(stage, process) for process in crew]
        pressed = [_Pressed(_client(process.name, port)) for process, port in zip(crew, ports, strict=True)]
        stage.clients = tuple(pressure.client for pressure in pressed)
        for pressure in pressed:
            stack.callback(pressure.end)
            warm(stage, (pressure.client,), pressure.threads, pressure.stop)
            calls = len(pressure.client.log.calls)
            stage.note = f"{pressure.client.name} has read every key: {calls} calls of the origin"
            stage.show()
        began_at = begin(stage, f"the origin answers: process {origin.pid}")
        for pressure in pressed:
            pressure.begin(options, began_at)
        _last(stage)
        origin.kill()
        stage.switch(Phase.DOWN, "the origin was killed (SIGKILL)")
        _last(stage)
        _deploy(stage, crew[0], ports[0], pressed[0])
        stage.note = "the origin is starting again"
        origin.start(origin_port)
        listening(stage, origin)
        stage.switch(Phase.RECOVERED, f"the origin is back: process {origin.pid}")
        _last(stage)
        _delete(stage, ports[-1])
        _last(stage)
        stage.show()


class _Pressed:
    """A worker's client, and the threads that have it ask."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.stop = threading.Event()
        self.threads: list[threading.Thread] = []

    def begin(self, options: Options, at: int) -> None:
        self.threads += press((self.client,), options, at, self.stop)

    def end(self) -> None:
        leave(self.threads, self.stop)
        self.stop, self.threads = threading.Event(), []


def _deploy(stage: Stage, process: ServerProcess, port: int, pressed: _Pressed) -> None:
    """Kill a worker and start it anew; meanwhile it is sent nothing, as a balancer would do."""
    pressed.end()
    process.kill()
    stage.switch(Phase.DEPLOY, f"{process.name} was killed (SIGKILL)")
    process.start(port)
    listening(stage, process)
    stage.note = f"{process.name} is back: process {process.pid}"
    now = time.monotonic_ns()
    pressed.begin(stage.options, now)
    wait(stage, now + _lasting(stage))


def _delete(stage: Stage, port: int) -> None:
    try:
        _exchange(port, f"/delete/{DELETED}")
    except (OSError, HTTPException) as trouble:
        raise StageError(f"{stage.clients[-1].name} did not delete: {trouble!r}") from trouble
    stage.switch(Phase.DELETED, f"{stage.clients[-1].name} has deleted key {DELETED}")


def _last(stage: Stage) -> None:
    wait(stage, stage.switches[-1].began_at + _lasting(stage))


def _lasting(stage: Stage) -> int:
    return round(LAST_FOR[stage.switches[-1].phase] * stage.options.ttl * SECOND)


def _crew(options: Options, origin: int) -> list[ServerProcess]:
    command = [
        # Not the folder of the file: the names in there are not meant for all to import.
        *(sys.executable, "-P", worker.__file__, f"--origin={origin}"),
        *(f"--ttl={options.ttl}", f"--extend-ttl={options.extend_ttl}", f"--trust-for={options.trust_for}"),
        *(() if options.store is None else (f"--store={options.store}", f"--namespace=demo-{time.time_ns()}")),
    ]
    # A worker finds what this process has found.
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return [ServerProcess(f"worker {letter}", command, environ) for letter in LETTERS[: options.processes]]


def _client(name: str, port: int) -> Client:
    log, counted, guard = Log(), dict[int, int](), threading.Lock()

    def ask(key: int) -> Answer:
        began_at = time.monotonic_ns()
        try:
            said = read(_exchange(port, f"/item/{key}"))
        except (OSError, HTTPException, ValueError) as trouble:
            return Failed(f"no answer of the worker: {trouble!r}")
        with guard:
            before = counted.get(said.process, 0)
            counted[said.process] = max(before, said.calls)
            log.calls.extend([began_at] * (said.calls - before))
        return said.answer

    return Client(name, cached=True, ask=ask, log=log)


def _exchange(port: int, path: str) -> bytes:
    connection = HTTPConnection(HOST, port, timeout=_PATIENCE)
    try:
        connection.request("GET", path)
        return connection.getresponse().read()
    finally:
        connection.close()
