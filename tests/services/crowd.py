# pyright: strict
"""Fifty clients of a service, what they saw, and what of that breaks a promise."""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from tests.services.upstream import CURRENCIES, USERS

COLD, DELETED = CURRENCIES[0], USERS[0]
SOFT = 0.1  # the soft timeout of Config.resilient


@dataclass(frozen=True)
class Seen:
    """What one client saw of one request: ``took`` by its own clock, ``waited`` for the cache by the service's."""

    phase: str
    path: str
    status: int
    stale: bool
    took: float
    waited: float
    worker: str

    @property
    def kind(self) -> str:
        special = " (cold)" if self.path.endswith(COLD) else " (deleted)" if self.path.endswith(DELETED) else ""
        return self.path.rpartition("/")[0] + special


class Crowd:
    """Fifty clients that ask until ``phase`` is "over"."""

    def __init__(self, url: str) -> None:
        self.phase = "warm"
        self.seen: list[Seen] = []
        self.unanswered: list[str] = []
        self._url = url

    def path(self) -> str:
        """Choose what to ask for: the cold currency only once the upstream is down."""
        chance = random.random()
        if chance < 0.01 and self.phase in {"hangs", "refuses"}:
            return f"/price/{COLD}"
        if chance < 0.05:
            return f"/audit/price/{random.choice(CURRENCIES[1:])}"
        return f"/price/{random.choice(CURRENCIES[1:])}" if chance < 0.6 else f"/user/{random.choice(USERS)}"

    async def ask(self, client: httpx.AsyncClient, path: str) -> None:
        phase, began = self.phase, time.perf_counter()
        try:
            response = await client.get(path)
        except httpx.HTTPError as error:
            self.unanswered.append(f"{phase} {path} {error!r}")
            return
        took, waited, worker = time.perf_counter() - began, response.headers["x-waited"], response.headers["x-worker"]
        stale = '"stale":true' in response.text.replace(" ", "")
        self.seen.append(Seen(phase, path, response.status_code, stale, took, float(waited), worker))

    async def client(self) -> None:
        async with httpx.AsyncClient(base_url=self._url, timeout=60) as client:
            while self.phase != "over":
                await self.ask(client, self.path())
                await asyncio.sleep(random.uniform(0.1, 0.3))


def broken_promises(seen: list[Seen], *, slack: float) -> Iterator[str]:
    """Name what nobody should see who asks for a value that may be given stale; waits may be longer by ``slack``."""
    yield from (f"the deleted user came back: {one}" for one in came_back(seen))
    for one in to_be_served(seen):
        if one.status != 200:
            yield f"an old value was not given: {one}"
        if one.waited > SOFT + slack:
            yield f"longer than the soft timeout: {one}"


def to_be_served(seen: list[Seen]) -> Iterator[Seen]:
    """Give the answers of workers that had a value: those who ask first, and those who audit, wait for the upstream."""
    warm: set[tuple[str, str]] = set()
    for one in (one for one in seen if one.kind in {"/price", "/user"}):
        if (one.worker, one.path) in warm:
            yield one
        if one.status == 200:
            warm.add((one.worker, one.path))


def came_back(seen: list[Seen]) -> Iterator[Seen]:
    """Give the answers with the deleted user, of a worker that had already said that there is no such user."""
    gone: set[str] = set()
    for one in seen:
        if one.kind == "/user (deleted)" and one.status == 404:
            gone.add(one.worker)
        elif one.kind == "/user (deleted)" and one.status == 200 and one.worker in gone:
            yield one


def quantiles(figures: list[float]) -> str:
    """Write the median, the 99th percentile and the maximum, in milliseconds."""
    ordered = sorted(figures)
    return " ".join(f"{ordered[int(q * (len(ordered) - 1))] * 1000:6.0f}" for q in (0.5, 0.99, 1.0))


def summary(seen: list[Seen]) -> Iterator[str]:
    """Write a line for each phase and kind of request: how long it took and waited, and what came."""
    groups: defaultdict[tuple[str, str], list[Seen]] = defaultdict(list)
    for one in seen:
        groups[one.phase, one.kind].append(one)
    yield f"{'phase':9}{'request':18}{'took p50 p99 max':>20} {'waited p50 p99 max':>20}  answers"
    for (phase, kind), group in groups.items():
        answers = Counter(f"{one.status}{' stale' if one.stale else ''}" for one in group)
        took, waited = quantiles([one.took for one in group]), quantiles([one.waited for one in group])
        yield f"{phase:9}{kind:18}{took} {waited}  {', '.join(f'{n} x {what}' for what, n in sorted(answers.items()))}"
