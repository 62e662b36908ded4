"""The exceptions of misuse, and why a store did not answer.

What a source is expected to do, such as to fail, is a ``Failure`` of the user's own error type and never one of these.
"""

from enum import Enum
from typing import NamedTuple, final


class ConfigError(ValueError):
    """An option has a value that it cannot have; the message names the option, the value and what is right."""


class ReentrantLoadError(RuntimeError):
    """A callback asked, directly or around a circle, for a load that waits for that very callback."""


class LoadDroppedError(RuntimeError):
    """A background load ended without having run.

    No thread could be had for it, the cache was closed, the process is the child of a fork that took place meanwhile,
    or the load was asked for from inside a change of a cache.
    """


class CacheClosedError(RuntimeError):
    """The cache was closed before this call."""


class Trouble(Enum):
    """Why a store did not answer; ``BROKEN`` where it raised, or answered what makes no sense."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"
    FULL = "full"
    CORRUPT = "corrupt"
    BROKEN = "broken"


@final
class StoreFailure(NamedTuple):
    """A store did not answer; ``detail`` says more, for people."""

    trouble: Trouble
    detail: str
