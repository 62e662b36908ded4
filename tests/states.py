"""The state of one cache, as the tests of it make it, and all that can be seen of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import pytest
from returns.result import Success

from lastcache import CachedValue, Config
from lastcache._shell.flight import Dropped, Flight, Job, Landing, Raised, Stale
from lastcache._shell.inflight import CacheState
from lastcache.core.states import Answer, Entry, Fresh, Strategy
from lastcache.core.traffic import Queued, Traffic
from tests.test_walk import clockless, led
from tests.test_walk import config as options

Load: TypeAlias = Flight[str, str]
Work: TypeAlias = Job[str, str, str, str]
State: TypeAlias = CacheState[str, str, str, str]
UnderWay: TypeAlias = dict[str, Traffic[Work, Load]]

TICK: Final = 1000
TTL: Final = 100 * TICK
CONFIG: Final = options(100, 0)
SIE, SLOW, SWR = Strategy
RAISED: Final = Raised(OSError("raised"), None)


def left(key: str = "k") -> Work:
    return Job(key, "callback", 0.0)


def state_with(
    config: Config = CONFIG, *, beside: State | None = None, draw: float = 0.0, **traffic: Traffic[Work, Load]
) -> State:
    """Give a state with this under way, the queue as it follows from that."""
    state: State = CacheState(config, clockless, beside=beside, draw=lambda: draw, enter=id)
    state.loads.traffic.update(traffic)
    state.loads.queue.update((found.job, None) for found in traffic.values() if isinstance(found, Queued))
    return state


def entry(value: str, now: int = 0) -> Fresh[str, str]:
    return Fresh(Success(CachedValue(value)), now + TTL)


def given(value: str, *, stale: bool = False) -> Answer[str, str]:
    return Success(CachedValue(value, stale))


class Signal:
    """An event that nobody waits for."""

    def set(self) -> None:
        pass

    async def wait(self) -> None:
        pass


@dataclass
class Seen:
    """All that can be seen of a state."""

    stored: Mapping[str, Entry[str, str] | None] = field(default_factory=dict[str, Entry[str, str] | None])
    traffic: UnderWay = field(default_factory=dict[str, Traffic[Work, Load]])
    queue: list[Work] = field(default_factory=list[Work])
    kept: dict[Load, Work] = field(default_factory=dict[Load, Work])
    forgotten: dict[Load, Work] = field(default_factory=dict[Load, Work])
    told: Sequence[tuple[Work, Landing[str, str] | Dropped]] = field(
        default_factory=list[tuple[Work, Landing[str, str] | Dropped]]
    )


def seen(state: State) -> Seen:
    """Show all that can be seen of ``state``; those who are told are told how the one in the outbox ended."""
    assert all(job.over for job in state.outbox)
    return Seen(
        {key: state.entries.get(key) for key in state.entries.stored},
        state.loads.traffic,
        list(state.loads.queue),
        state.loads.kept,
        state.loads.forgotten,
        [(told, job.landing) for job in state.outbox if job.landing is not None for told in job.everyone()],
    )


WRITES: Final[dict[str, Callable[[State], object]]] = {
    "set": lambda state: state.set(50, "k", "new", None),
    "expire": lambda state: state.expire(50, "k"),
    "delete": lambda state: state.delete("k"),
}
FORGETS: Final[dict[str, Callable[[State], object]]] = {
    "delete": lambda state: state.delete("k"),
    "clear": lambda state: state.clear(),
    "shut": lambda state: state.shut(),
}
STORED: Final[dict[str, dict[str, Fresh[str, str]]]] = {
    "set": {"k": entry("new", 50)},
    "expire": {"k": Fresh(Success(CachedValue("old")), 49)},
    "delete": {},
}
writes = pytest.mark.parametrize("write", WRITES)


def expired_state(config: Config, *keys: str) -> State:
    """Give a state whose keys were stored at 0, and are expired at ``2 * TTL``."""
    state = state_with(config)
    for key in keys:
        state.set(0, key, key, None)
    return state


def stale(state: State, key: str) -> Work:
    """Give the job behind the stale value of ``key``."""
    step = state.decide(2 * TTL, SWR, key, "callback", led())
    assert isinstance(step, Stale)
    assert step.cached == CachedValue(key, stale=True)
    return step.job
