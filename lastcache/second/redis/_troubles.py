"""What a client's exceptions mean, by the names that redis-py and valkey-py give them."""

from typing import Final, final

from lastcache.second.protocol import StoreFailure, Trouble


@final
class StrangeReplyError(Exception):
    """A reply does not belong to what was asked, or is none that a script gives."""


@final
class SpoiltRecordError(Exception):
    """The body of a record is not the one that was written; ``checksum`` is that of the latter."""

    def __init__(self, checksum: int) -> None:
        super().__init__("a body is not the one that was written")
        self.checksum = checksum


@final
class ClosedError(Exception):
    """The store was closed."""


_TROUBLES: Final = {
    "StrangeReplyError": Trouble.CORRUPT,
    "InvalidResponse": Trouble.CORRUPT,
    "ClosedError": Trouble.UNREACHABLE,
    "OutOfMemoryError": Trouble.FULL,
    "AuthenticationError": Trouble.REFUSED,
    "AuthorizationError": Trouble.REFUSED,
    "BusyLoadingError": Trouble.REFUSED,
    "MaxConnectionsError": Trouble.REFUSED,
    "ResponseError": Trouble.REFUSED,
    "RedisClusterException": Trouble.REFUSED,
    "ValkeyClusterException": Trouble.REFUSED,
    "ClusterError": Trouble.REFUSED,
    "TimeoutError": Trouble.TIMEOUT,
    "ConnectionError": Trouble.UNREACHABLE,
    "OSError": Trouble.UNREACHABLE,
}
_FULL: Final = "OOM "
_REFUSED: Final = ("max number of clients reached",)


def trouble_of(err: Exception) -> Trouble:
    """Say which trouble ``err`` means: the nearest of its kinds that has a meaning counts."""
    text = str(err)
    if _FULL in text and _is(err, "ResponseError"):
        return Trouble.FULL
    if any(known in text for known in _REFUSED):
        return Trouble.REFUSED
    for kind in type(err).__mro__:
        if kind.__name__ in _TROUBLES:
            return _TROUBLES[kind.__name__]
    return Trouble.BROKEN


def _is(err: Exception, name: str) -> bool:
    return any(kind.__name__ == name for kind in type(err).__mro__)


def failure_of(err: Exception) -> StoreFailure:
    """Say that a store did not answer, and why."""
    return StoreFailure(trouble_of(err), f"{type(err).__name__}: {err}")


def is_unknown_script(err: Exception) -> bool:
    """Say whether the server does not remember a script: it was started anew, or was told to forget."""
    return _is(err, "NoScriptError")
