"""The futures of threads: what those hold who may wait for a background load."""

from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeAlias, TypeVar, cast

from lastcache._shell.flight import Dropped, Job, Raised
from lastcache.core.states import Answer

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")

Refresh: TypeAlias = Future[Answer[V, E]]
"""The future of the answer that a caller who waited would have got."""


def refresh_of(job: Job[K, V, E, C]) -> Refresh[V, E]:
    """Give the future that stale readers of ``job`` share. To be called inside the guard.

    It is running from birth, so that no holder can cancel it for the others.
    """
    if job.refresh is None:
        refresh: Refresh[V, E] = Future()
        refresh.set_running_or_notify_cancel()
        job.refresh = refresh
        resolve(job)
    return cast("Refresh[V, E]", job.refresh)


def resolve(job: Job[K, V, E, C]) -> None:
    """Resolve the future of ``job``, if there is one and the job has ended. It may be called again."""
    landing = job.landing
    if landing is None or job.refresh is None:
        return
    refresh = cast("Refresh[V, E]", job.refresh)
    with suppress(InvalidStateError):
        if isinstance(landing, Raised | Dropped):
            refresh.set_exception(landing.err)
        else:
            refresh.set_result(landing)


def resolve_all(jobs: Sequence[Job[Any, Any, Any, Any]]) -> None:
    """Resolve the futures of ``jobs``, whatever the callback of one of them raises."""
    for job in jobs:
        with suppress(BaseException):
            resolve(job)
