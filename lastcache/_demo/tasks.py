"""The clients of the cache for tasks: one event loop in a thread of its own, asked from the threads of the load."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from time import monotonic_ns
from typing import Any, Final, TypeAlias

import anyio
from anyio.abc import TaskGroup
from anyio.from_thread import BlockingPortal, start_blocking_portal
from returns.pipeline import is_successful

from lastcache._demo.clients import TIMEOUT, Client, Down, Log, OriginError, Outcome, Refreshed, land, outcome_of, told
from lastcache._demo.options import Options
from lastcache._demo.origin import HOST
from lastcache._demo.record import Answer, Fetched
from lastcache.records import failed
from lastcache.tasks import AsyncLastCache

Cache: TypeAlias = AsyncLastCache[int, Fetched, OriginError]
Ask: TypeAlias = Callable[[int], Coroutine[Any, Any, Answer]]

_CHUNK: Final = 65536


@contextmanager
def task_clients(port: int, options: Options) -> Generator[tuple[Client, Client], None, None]:
    """Run an event loop, with the block of each cache open, and give the clients that ask there."""
    first, second = Cache(options.config), Cache(options.config)
    with start_blocking_portal() as portal:
        blocks = portal.wrap_async_context_manager(opened(first, second))
        group = blocks.__enter__()
        try:
            yield stale_if_error(port, first, portal), stale_while_revalidate(port, second, portal, group)
        finally:
            # What ends the demonstration is no business of the event loop.
            blocks.__exit__(None, None, None)


@asynccontextmanager
async def opened(first: Cache, second: Cache) -> AsyncGenerator[TaskGroup, None]:
    """Open the block of each cache, and give a group for those who listen to what is loaded there."""
    async with first, second, anyio.create_task_group() as group:
        yield group
        group.cancel_scope.cancel()


def stale_if_error(port: int, cache: Cache, portal: BlockingPortal) -> Client:
    """Make the client that waits for a load, and is given an expired value only if the load fails."""
    log = Log()
    load = partial(fetch, port, log)

    async def ask(key: int) -> Answer:
        return told(await cache.load_or_store(key, load))

    return Client("async stale-if-error", cached=True, ask=partial(portal.call, ask), log=log)


def stale_while_revalidate(port: int, cache: Cache, portal: BlockingPortal, group: TaskGroup) -> Client:
    """Make the client that is given an expired value at once, while the load runs in a task behind its back."""
    log = Log()
    load = partial(fetch, port, log)

    async def ask(key: int) -> Answer:
        answer = await cache.async_load_or_store(key, load)
        refresh = answer.unwrap().refresh if is_successful(answer) else None
        if refresh is not None:
            _handle = group.start_soon(hear, log, refresh)
        return told(answer.map(lambda given: given.cached))

    return Client("async while-revalidate", cached=True, ask=partial(portal.call, ask), log=log)


async def hear(log: Log, refresh: Awaitable[Refreshed]) -> None:
    """Wait for the load behind an answer, and note when its value had been stored."""
    # A load that raised stored nothing; raised here, it would end the group and with it every client of the loop.
    with suppress(Exception):
        answer = await refresh
        land(log, lambda: answer)


async def fetch(port: int, log: Log, key: int) -> Outcome:
    """Ask the origin for ``key`` over HTTP, without holding up the loop."""
    log.calls.append(monotonic_ns())
    try:
        with anyio.fail_after(TIMEOUT):
            return parsed(key, await exchange(port, f"GET /item/{key} HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode()))
    except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as trouble:
        return failed(Down(f"{type(trouble).__name__}: {trouble}"), use_stale=True)


async def exchange(port: int, request: bytes) -> bytes:
    """Send ``request``, and give all that comes back until the origin hangs up."""
    response = b""
    async with await anyio.connect_tcp(HOST, port) as stream:
        await stream.send(request)
        try:
            while True:
                response += await stream.receive(_CHUNK)
        except anyio.EndOfStream:
            return response


def parsed(key: int, response: bytes) -> Outcome:
    r"""Decide what a whole HTTP response means.

    >>> parsed(7, b"HTTP/1.0 404 Not Found\r\n\r\n{}")
    <Failure: LoadFailure(err=NotFound(key=7), use_stale=False)>
    >>> parsed(7, b"")
    <Failure: LoadFailure(err=Down(reason='no HTTP response'), use_stale=True)>
    """
    head, _, body = response.partition(b"\r\n\r\n")
    _version, _, status = head.partition(b" ")
    if not status[:3].isdigit():
        return failed(Down("no HTTP response"), use_stale=True)
    return outcome_of(key, int(status[:3]), body, monotonic_ns())
