# pyright: strict
"""The upstream of the services: a source of prices and users over HTTP that answers, hangs, breaks or refuses."""

import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Mode = Literal["ok", "hangs", "breaks", "garbles"]

CURRENCIES = tuple(f"C{n:02}" for n in range(20))
USERS = tuple(f"u{n}" for n in range(10))


class Server(ThreadingHTTPServer):
    """A server for many clients at once."""

    request_queue_size = 256
    block_on_close = False


class Upstream:
    """The upstream, with its switches."""

    def __init__(self) -> None:
        self.deleted: set[str] = set()
        self._asked = itertools.count(1)
        self._mode: Mode = "ok"
        self._let_go = threading.Event()
        self._server = self._serve(0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def turn(self, mode: Mode) -> None:
        """Answer like this from now on; what hangs is let go of, and answers late."""
        self._mode = mode
        self._let_go.set()
        self._let_go = threading.Event()

    def refuse(self) -> None:
        """Close the port."""
        self.turn("breaks")
        self._server.shutdown()
        self._server.server_close()

    def come_back(self, mode: Mode) -> None:
        """Open the same port again."""
        self.turn(mode)
        self._server = self._serve(self._server.server_port)

    def answer(self, path: str) -> tuple[int, str]:
        """Give the status and the body."""
        asked = next(self._asked)
        if self._mode == "hangs":
            self._let_go.wait(60)
        if self._mode == "breaks":
            return 500, "broken"
        if self._mode == "garbles":
            return 200, "<html>We will be back soon</html>"
        kind, _, name = path.strip("/").partition("/")
        if name in self.deleted or name not in CURRENCIES + USERS:
            return 404, "no such thing"
        return 200, json.dumps({"value": asked if kind == "price" else name.title()})

    def _serve(self, port: int) -> Server:
        upstream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, body = upstream.answer(self.path)
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body.encode())
                except OSError:
                    self.close_connection = True  # who hung up does not want to know

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its base calls it that
                """Be silent."""

        server = Server(("127.0.0.1", port), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        return server
