"""The origin: a small HTTP server on the loopback, as a process of its own.

It needs the standard library alone, so it can be run by its path and starts as fast as an interpreter does.
It ends when its standard input ends, so it cannot outlive the process that started it, however that one dies.
What it says on standard output, a line at a time: ``taken PORT`` while another process has its port, then
``listening PORT``; or ``failed REASON``, and it ends.
"""

import argparse
import errno
import itertools
import json
import os
import random
import socketserver
import sys
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Protocol

HOST: Final = "127.0.0.1"
RETRY_FOR: Final = 5.0
"""Seconds for which a taken port is tried again."""

_RETRY_AFTER: Final = 0.1
_QUICKEST: Final = 0.002
_SLOWEST: Final = 0.02
_MEAN_DELAY: Final = 0.002


class Desk(Protocol):
    """Whatever answers a request for a path with a status and JSON."""

    def answer(self, path: str) -> tuple[HTTPStatus, bytes]: ...


class Shop:
    """What the origin answers with: item ``n`` for ``0 <= n < items``, and each answer has a version of its own."""

    def __init__(self, items: int, seed: str) -> None:
        self._items = items
        self._versions = itertools.count(1)
        self._generation = time.time_ns()
        self._random = random.Random(seed)  # noqa: S311  # delays, not secrets

    def answer(self, path: str) -> tuple[HTTPStatus, bytes]:
        """Answer ``/item/N`` after a few milliseconds, as an origin that has to look something up."""
        time.sleep(min(_SLOWEST, _QUICKEST + self._random.expovariate(1 / _MEAN_DELAY)))
        key = path.removeprefix("/item/")
        if not key.isdecimal() or int(key) >= self._items:
            return HTTPStatus.NOT_FOUND, b"{}"
        body = {"key": int(key), "version": next(self._versions), "generation": self._generation}
        return HTTPStatus.OK, json.dumps(body).encode()


class Server(ThreadingHTTPServer):
    """A thread for each request, and a queue long enough for a burst of them."""

    daemon_threads = True
    request_queue_size = 256

    def server_bind(self) -> None:
        """Bind, and ask no resolver for this host's name, which takes seconds on some machines."""
        socketserver.TCPServer.server_bind(self)
        self.server_name = HOST
        self.server_port = self.socket.getsockname()[1]


def handler_for(desk: Desk) -> type[BaseHTTPRequestHandler]:
    """Make the handler class that has ``desk`` answer."""

    class Handler(BaseHTTPRequestHandler):
        disable_nagle_algorithm = True
        # Head and body leave in one piece.
        wbufsize = -1

        def do_GET(self) -> None:
            status, body = desk.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name
            """Say nothing: standard error belongs to whoever started the origin."""

        def handle(self) -> None:
            # A client that hung up is its own affair.
            try:
                super().handle()
            except ConnectionError:
                pass

    return Handler


def bind(port: int, desk: Desk, until: float) -> Server:
    """Listen on ``port``, trying again until ``until`` while somebody else has it. Raises ``OSError``."""
    while True:
        try:
            return Server((HOST, port), handler_for(desk))
        except OSError as refusal:
            if refusal.errno != errno.EADDRINUSE or time.monotonic() > until:
                raise
            say(f"taken {port}")
            time.sleep(_RETRY_AFTER)


def say(line: str) -> None:
    """Tell the process that started this one; if that is gone, there is nobody to tell."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(0)


def end_with_stdin() -> None:
    """End this process as soon as the other end of its standard input is closed."""
    # Unbuffered: a thread that held the lock of sys.stdin would trouble the interpreter's own end.
    while os.read(0, 1024):
        pass
    os._exit(0)


def serve(port: int, desk: Desk) -> int:
    """Have ``desk`` answer until this process is killed, or until standard input ends."""
    threading.Thread(target=end_with_stdin, daemon=True).start()
    try:
        server = bind(port, desk, time.monotonic() + RETRY_FOR)
    except OSError as refusal:
        say(f"failed cannot listen on {HOST}:{port}: {refusal}")
        return 1
    say(f"listening {server.server_port}")
    server.serve_forever()
    return 0


def main() -> int:
    """Be the origin."""
    parser = argparse.ArgumentParser(description="An HTTP origin for the demonstration; it ends with its stdin.")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--keys", type=int, default=20)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    return serve(options.port, Shop(options.keys, options.seed))


if __name__ == "__main__":
    raise SystemExit(main())
