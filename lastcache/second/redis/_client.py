"""Which clients a store may use: what is needed of one, what is refused, and one that is right.

The defaults of clients are made for programs that would rather wait: with those of redis-py one read of a server that
hangs took a minute, with those of valkey-py it never ended. So a client is asked what it is set to.
"""

import importlib
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any, Final, NamedTuple, NoReturn, Protocol, cast
from urllib.parse import urlsplit

from lastcache._checks import refuse, shown
from lastcache.errors import ConfigError

BYTES: Final = "a client that gives bytes, made with decode_responses=False"
RETRIES: Final = "a client that does not retry, made with retry=Retry(NoBackoff(), 0)"
OWN_CONNECTIONS: Final = "a client that lends each thread a connection, made with single_connection_client=False"
NO_QUEUE: Final = "a client whose pool gives a connection at once or fails, such as ConnectionPool"
A_CLIENT: Final = "a client such as redis.Redis or valkey.Valkey"
SYNC: Final = "a client that is not async: tasks reach it through threads"
URLS: Final = "a str such as redis://host:6379/0, rediss://, unix://path"


_LOCKS: Final = ("_lock", "_fork_lock", "_initialization_lock")


class Commands(Protocol):
    """What is needed of a client: ``redis.Redis``, ``valkey.Valkey`` and their clusters have it."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Send one command, and give its reply."""
        ...


class _Library(NamedTuple):
    """A client library, and what a program installs for it."""

    module: str
    client: str
    prefixes: tuple[str, ...]


_LIBRARIES: Final = (
    _Library("redis", "Redis", ("redis", "rediss", "unix")),
    _Library("valkey", "Valkey", ("valkey", "valkeys", "redis", "rediss", "unix")),
)


def checked_client(client: object, at_most: timedelta, *, pushes: bool) -> Commands:
    """Give ``client`` back if it fits; else a ``ConfigError`` says what is wrong with it."""
    if isinstance(client, type) or not callable(getattr(client, "execute_command", None)):
        _refuse(client, A_CLIENT)
    if _is_async(client):
        _refuse(client, SYNC)
    if pushes and not callable(getattr(client, "pubsub", None)):
        _refuse(client, "a client with pubsub, or push=False")
    settings = _settings(client)
    for name in ("socket_timeout", "socket_connect_timeout"):
        _check_timeout(client, settings, name, at_most)
    _check_sentinels(client, at_most)
    wrong = [right for is_wrong, right in _WRONG if is_wrong(client, settings)]
    if wrong:
        _refuse(client, wrong[0])
    return cast("Commands", client)


def _check_sentinels(client: object, at_most: timedelta) -> None:
    """Check the clients by which a client finds its server, where it has any: a call may wait for them, too."""
    manager = getattr(getattr(client, "connection_pool", None), "sentinel_manager", None)
    for sentinel in getattr(manager, "sentinels", ()):
        checked_client(sentinel, at_most, pushes=False)


def _refuse(client: object, right: str) -> NoReturn:
    raise ConfigError(f"client={_named(client)}: must be {right}")


def _named(client: object) -> str:
    """Name a client by its type: what it is set to is long, and has a password in it."""
    kind = type(client)
    return f"<{kind.__module__}.{kind.__qualname__}>" if hasattr(client, "execute_command") else repr(client)


def _is_async(client: object) -> bool:
    return any("asyncio" in kind.__module__ for kind in type(client).__mro__)


def _settings(client: object) -> Mapping[str, object]:
    """Give what the client makes its connections with; a cluster keeps that with its nodes."""
    holder = getattr(client, "connection_pool", None) or getattr(client, "nodes_manager", None)
    settings = getattr(holder, "connection_kwargs", None)
    if not isinstance(settings, Mapping):
        _refuse(client, f"{A_CLIENT}, which tells in connection_pool.connection_kwargs how long it may wait")
    return cast("Mapping[str, object]", settings)


def _check_timeout(client: object, settings: Mapping[str, object], name: str, at_most: timedelta) -> None:
    seconds = settings.get(name)
    if isinstance(seconds, int | float) and 0 < seconds <= at_most.total_seconds():
        return
    raise ConfigError(
        f"client={_named(client)}: its {name} is {seconds!r}; it must be above zero and at most "
        f"{at_most.total_seconds():g} seconds, which timeout_at_most={shown(at_most)} allows"
    )


def _retries(client: object, settings: Mapping[str, object]) -> bool:
    """Say whether the client tries again. Without a count of tries, to name what to retry on means to retry once."""
    tries = [each for each in (settings.get("retry"), getattr(client, "retry", None)) if each is not None]
    if not tries and (settings.get("retry_on_timeout") or settings.get("retry_on_error")):
        return True
    return any(_count(retry) != 0 for retry in tries) or bool(getattr(client, "cluster_error_retry_attempts", 0))


def _count(retry: object) -> int:
    count = getattr(retry, "_retries", None)
    return count if isinstance(count, int) else 1


def _gives_text(_: object, settings: Mapping[str, object]) -> bool:
    return bool(settings.get("decode_responses"))


def _has_one_connection(client: object, _: Mapping[str, object]) -> bool:
    return getattr(client, "connection", None) is not None


def _queues(client: object, _: Mapping[str, object]) -> bool:
    return "Blocking" in type(getattr(client, "connection_pool", None)).__name__


_WRONG: Final = (
    (_gives_text, BYTES),
    (_retries, RETRIES),
    (_has_one_connection, OWN_CONNECTIONS),
    (_queues, NO_QUEUE),
)
"""What may be wrong with a client, and what would be right."""


def client_of(url: object, timeout: timedelta) -> Commands:
    """Make a client of ``url`` that waits ``timeout`` at most for a connection and for a reply, and does not retry."""
    scheme = urlsplit(url).scheme if isinstance(url, str) else ""
    libraries = [library for library in _LIBRARIES if scheme in library.prefixes]
    if not libraries:
        refuse("url", _public(url), URLS)
    module, library = _imported(libraries, scheme)
    seconds = timeout.total_seconds()
    retry = importlib.import_module(f"{library.module}.retry").Retry(
        importlib.import_module(f"{library.module}.backoff").NoBackoff(), 0
    )
    make: Callable[..., Commands] = getattr(module, library.client).from_url
    try:
        return make(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=retry, protocol=2, decode_responses=False
        )
    except ValueError as err:
        raise ConfigError(f"url={_public(url)!r}: must be {URLS}; {err}") from err


def _public(url: object) -> object:
    """Give an address without the user and the password in it.

    >>> _public("redis://ada:secret@host:6379/0")
    'redis://***@host:6379/0'
    """
    if not isinstance(url, str) or "@" not in url:
        return url
    scheme, separator, rest = url.rpartition("://")
    return f"{scheme}{separator}***@{rest.rpartition('@')[2]}"


def _imported(libraries: list[_Library], scheme: str) -> tuple[Any, _Library]:
    for library in libraries:
        try:
            return importlib.import_module(library.module), library
        except ImportError:
            continue
    extras = " or ".join(f"pip install 'lastcache[{library.module}]'" for library in libraries)
    raise ImportError(f"a store at {scheme}:// needs {' or '.join(each.module for each in libraries)}: {extras}")


def pools_of(client: Any) -> list[Any]:
    """Give the pools of connections of a client: a cluster has one for each node that it has spoken to."""
    if hasattr(client, "connection_pool"):
        return [client.connection_pool]
    links = [getattr(node, f"{name}_connection", None) for node in client.get_nodes() for name in ("redis", "valkey")]
    return [link.connection_pool for link in links if link is not None]


def forget_connections(client: Any) -> None:
    """Have a client make its connections anew, in the child of a fork.

    Its locks are made anew first: where a thread of the parent held one at that moment nobody will ever give it back,
    and the pools of redis-py would wait for it for good.
    """
    for holder in (client, getattr(client, "nodes_manager", None)):
        _renew_locks(holder)
    for pool in pools_of(client):
        _renew_locks(pool)
        _renew_locks(getattr(pool, "_event_dispatcher", None))
        with suppress(Exception):
            pool.reset()


def _renew_locks(holder: object) -> None:
    for name in _LOCKS:
        if hasattr(holder, name):
            setattr(holder, name, threading.RLock())
