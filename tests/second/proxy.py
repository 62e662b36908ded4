"""A line between clients and a server on loopback, which fails in the ways that lines do.

All its work is done in one daemon thread, in an event loop of its own; a strike has struck when its method returns.
"""

import asyncio
import socket
import threading
from collections.abc import Coroutine, Generator, Iterable
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

HOST: Final = "127.0.0.1"
BOUND: Final = 10.0
"""The seconds after which a strike is called a hang."""
_PIECE: Final = 65536
_LOOK_AFTER: Final = 0.005
"""The seconds after which it is looked again whether the delay was changed."""


class _Link:
    """A client's connection: ``open`` until the client hangs up, ``lost`` once something of it was swallowed."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self.open = True
        self.lost = False
        self.held = asyncio.Queue[tuple[float, bytes]]()
        """What the server said, and when; nothing stands for its end."""


class Proxy:
    """A line to the server on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.delay = 0.0
        """The seconds for which each piece of the replies is held back; it counts for those that are held already."""
        self._server = (HOST, port)
        self._dropping = self._listening = False
        self._left: int | None = None
        self._links = dict[_Link, asyncio.Task[None]]()
        self._listener = _bound(0)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"redis://{HOST}:{self.port}/0"
        self._loop = asyncio.SelectorEventLoop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self.heal()

    def cut_after(self, count: int) -> None:
        """Let ``count`` more bytes of the replies through, and close the connection that reaches them; once."""

        async def strike() -> None:
            self._left = count

        self._do(strike())

    def drop(self) -> None:
        """From now on swallow everything, ends of connections too, as a host does that drops packets.

        New connections are accepted, and hear nothing.
        """

        async def strike() -> None:
            self._dropping = True
            self._listen()

        self._do(strike())

    def refuse(self) -> None:
        """Close all connections, and refuse new ones. The port stays ours."""

        async def strike() -> None:
            if self._listening:
                self._accept()
                self._listening = False
                self._loop.remove_reader(self._listener)
                _close(self._listener)
                self._listener = _bound(self.port)
            await self._end(self._links)

        self._do(strike())

    def heal(self) -> None:
        """Forward everything again, on the same port, and forget the cut to come.

        A connection of which something was swallowed is closed: it cannot go on where it was.
        """

        async def strike() -> None:
            if self._listening:
                self._accept()
            self._dropping, self._left = False, None
            await self._end(link for link in self._links if link.lost)
            self._listen()

        self._do(strike())

    def disconnect(self) -> None:
        """Close every connection now, and go on accepting."""

        async def strike() -> None:
            if self._listening:
                self._accept()
            await self._end(self._links)

        self._do(strike())

    def connections(self) -> int:
        """Count the connections that their clients hold open."""

        async def counted() -> int:
            if self._listening:
                self._accept()
            return sum(link.open for link in self._links)

        return self._do(counted())

    def end(self) -> None:
        """Close all, and end the thread."""
        if self._loop.is_closed():
            return
        self.refuse()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(BOUND)
        _close(self._listener)
        self._loop.close()

    def _do(self, strike: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(strike, self._loop).result(BOUND)

    def _listen(self) -> None:
        if not self._listening:
            self._listening = True
            self._listener.listen(128)
            self._loop.add_reader(self._listener, self._accept)

    def _accept(self) -> None:
        """Accept all who have called."""
        with suppress(OSError):
            while True:
                link = _Link(_ready(self._listener.accept()[0]))
                link.lost = self._dropping
                self._links[link] = task = self._loop.create_task(self._carry(link))
                task.add_done_callback(partial(self._forget, link))

    def _forget(self, link: _Link, _task: "asyncio.Task[None]") -> None:
        _close(link.client)
        del self._links[link]

    async def _end(self, links: Iterable[_Link]) -> None:
        """Close connections, and wait until they are closed."""
        tasks = [self._links[link] for link in links]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _carry(self, link: _Link) -> None:
        """Carry what both sides say, until one side hangs up or the connection is cut."""
        pumps = list[asyncio.Task[None]]()
        with closing(_ready(socket.socket())) as server, suppress(OSError):
            try:
                if not link.lost:
                    await self._loop.sock_connect(server, self._server)
                    pumps.append(asyncio.create_task(self._hear(link, server)))
                ends = [asyncio.create_task(self._ask(link, server)), asyncio.create_task(self._tell(link))]
                pumps += ends
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                # Whoever cancels this as well still waits until the loop has let go of both sockets.
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)

    async def _ask(self, link: _Link, server: socket.socket) -> None:
        """Forward what the client says, until it hangs up."""
        while piece := await self._heard(link.client):
            if self._passes(link):
                # A server that has gone may have said something before, which is told first.
                with suppress(OSError):
                    await self._loop.sock_sendall(server, piece)
        link.open = False
        if not self._passes(link):
            await self._loop.create_future()

    async def _hear(self, link: _Link, server: socket.socket) -> None:
        """Hold what the server says, until it hangs up."""
        piece = b"anything"
        while piece:
            piece = await self._heard(server)
            link.held.put_nowait((self._loop.time(), piece))

    async def _tell(self, link: _Link) -> None:
        """Forward what was held long enough, until the server hangs up or the cut is reached."""
        while True:
            heard_at, piece = await link.held.get()
            while (left_for := heard_at + self.delay - self._loop.time()) > 0:  # noqa: ASYNC110  # the delay is a plain number
                await asyncio.sleep(min(left_for, _LOOK_AFTER))
            if not self._passes(link):
                continue
            let, is_last = self._let_through(piece)
            with suppress(OSError):
                await self._loop.sock_sendall(link.client, let)
            if is_last:
                return

    def _let_through(self, piece: bytes) -> tuple[bytes, bool]:
        """Give what arrives of a piece, and tell whether it is the last."""
        if not piece or self._left is None:
            return piece, not piece
        let, self._left = piece[: self._left], max(0, self._left - len(piece))
        if self._left:
            return let, False
        self._left = None
        return let, True

    def _passes(self, link: _Link) -> bool:
        """Tell whether what is said now arrives; what does not is lost, and so is all that follows."""
        link.lost = link.lost or self._dropping
        return not link.lost

    async def _heard(self, side: socket.socket) -> bytes:
        """Give what a side says; nothing when it has hung up."""
        with suppress(OSError):
            return await self._loop.sock_recv(side, _PIECE)
        return b""


def _bound(port: int) -> socket.socket:
    """Give a socket with a port, on which it does not listen yet."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.bind((HOST, port))
    made.settimeout(0)
    return made


def _ready(side: socket.socket) -> socket.socket:
    """Make a connection one that the loop can wait for, and that sends small pieces at once."""
    side.settimeout(0)
    side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return side


def _close(side: socket.socket) -> None:
    """Close a socket for all who have it, such as a forked process."""
    with suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)
    side.close()


@contextmanager
def proxy(port: int) -> Generator[Proxy, None, None]:
    """Draw a line to the server on a port, and take it away at the end."""
    made = Proxy(port)
    try:
        yield made
    finally:
        made.end()
