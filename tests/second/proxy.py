"""A proxy on loopback between a client and a server, which delays, cuts, drops and refuses."""

import socket
import struct
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final, final

PIECE: Final = 65536
_ABRUPT: Final = struct.pack("ii", 1, 0)


@final
class Proxy:
    """Forwards what it may: ``delay`` holds each piece of the server's replies back for so many seconds.

    Everything may be changed at any time, and counts from the next piece on.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.delay = 0.0
        self._left: int | None = None
        self._drops = False
        self._over = False
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._guard = threading.Lock()
        self._accept(self._listener)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def cut_after(self, count: int) -> None:
        """Let so many bytes of the server's replies through, then break off the connection that has more."""
        self._left = count

    def drop(self) -> None:
        """Swallow everything, both ways: a host that is there no more, and says nothing of it."""
        self._drops = True

    def refuse(self) -> None:
        """Close every connection, and refuse new ones."""
        self._listener.close()
        self.disconnect()

    def heal(self) -> None:
        """Forward everything again. What was swallowed is lost, and so are the connections of that time."""
        self.delay, self._left = 0.0, None
        if self._drops:
            self._drops = False
            self.disconnect()
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port))
            self._accept(self._listener)

    def disconnect(self) -> None:
        """Close every connection; new ones are accepted."""
        with self._guard:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            _close(*pair)

    def connections(self) -> int:
        """Count the connections that are open."""
        with self._guard:
            return len(self._pairs)

    def end(self) -> None:
        """End it."""
        self._over = True
        self.refuse()

    def _accept(self, listener: socket.socket) -> None:
        threading.Thread(target=self._serve, args=(listener,), daemon=True).start()

    def _serve(self, listener: socket.socket) -> None:
        while not self._over:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                _close(client)
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._guard:
                self._pairs.append((client, server))
            threading.Thread(target=self._forward, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _forward(self, one: socket.socket, other: socket.socket, replies: bool) -> None:  # noqa: FBT001
        with suppress(OSError):
            while piece := one.recv(PIECE):
                if self._drops:
                    continue
                if replies and not self._pass(piece, other):
                    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABRUPT)
                    break
                if not replies:
                    other.sendall(piece)
        with self._guard:
            self._pairs = [pair for pair in self._pairs if one not in pair]
        _close(one, other)

    def _pass(self, piece: bytes, client: socket.socket) -> bool:
        """Give the client what it may have; say whether the connection goes on."""
        if self.delay:
            time.sleep(self.delay)
        with self._guard:
            left = self._left
            self._left = None if left is None or len(piece) > left else left - len(piece)
        if left is None or len(piece) <= left:
            client.sendall(piece)
            return True
        client.sendall(piece[:left])
        return False


def _close(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
        each.close()


@contextmanager
def proxy(port: int) -> Generator[Proxy, None, None]:
    """Start a proxy of the server on ``port``, and end it at the end."""
    made = Proxy(port)
    try:
        yield made
    finally:
        made.end()
