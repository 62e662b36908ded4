# pyright: strict
"""What both services share: the errors of their upstream, the policy for what it gives, and what clients are told."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeAlias, TypeVar

import httpx
from returns.result import Failure, Result, Success

from lastcache import CachedValue, Config

V = TypeVar("V")

UPSTREAM = os.environ.get("UPSTREAM", "http://127.0.0.1:9")
PACE = float(os.environ.get("PACE", "1"))
PATIENCE = max(3 * PACE, 1.5)
POLICY = Config.resilient(timedelta(seconds=2 * PACE))
MISSING_FOR = timedelta(seconds=20 * PACE)
AUDITED = timedelta(seconds=1 * PACE)


@dataclass(frozen=True)
class NotFound:
    """The upstream answered that there is no such thing."""

    path: str


@dataclass(frozen=True)
class Down:
    """The upstream did not answer as it should."""

    reason: str


Error: TypeAlias = NotFound | Down


def understood(response: httpx.Response) -> Result[str, Error]:
    """Sort the responses; what cannot be read is an outage, too, since a callback that raises is covered by nothing."""
    if response.status_code == 404:
        return Failure(NotFound(response.url.path))
    if not response.is_success:
        return Failure(Down(f"status {response.status_code}"))
    try:
        return Success(str(response.json()["value"]))
    except (ValueError, KeyError, TypeError) as error:
        return Failure(Down(f"garbled: {type(error).__name__}"))


@dataclass(frozen=True)
class Reply:
    """What a client of a service is told, in the words of HTTP."""

    status: int
    body: dict[str, object]
    headers: dict[str, str]


def reply(
    answer: Result[CachedValue[V, Error], Error],
    fresh_for: Callable[[CachedValue[V, Error]], timedelta],
    waited: float,
) -> Reply:
    """Tell what was found, and how far to trust it; ``waited`` and the worker are for who measures."""
    seen = {"x-waited": str(waited), "x-worker": str(os.getpid())}
    match answer:
        case Success(CachedValue(value, stale, err) as cached):
            left = max(0, int(fresh_for(cached).total_seconds()))
            headers = seen | {"cache-control": f"max-age={left}, stale-if-error=3600"}
            return Reply(200, {"value": value, "stale": stale, "because": err and str(err)}, headers)
        case Failure(NotFound(path)):
            left = int(MISSING_FOR.total_seconds())
            return Reply(404, {"error": f"no {path}"}, seen | {"cache-control": f"max-age={left}"})
        case _:
            return Reply(503, {"error": "try again later"}, seen | {"cache-control": "no-store"})
