"""The options of a round, drawn by chance, and what its callbacks will do."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any, Final

from lastcache import Config
from tests.kit import ticks

KEYS: Final = tuple("abcdef")

MICRO: Final = 1000

STRIKES: Final = ("KeyboardInterrupt", "SystemExit", "GeneratorExit")


@dataclass(frozen=True, slots=True)
class Setting:
    """What the laws must know of a round.

    ``interrupted``: signals or cancellations strike callers, so that what was told and what was given may differ.
    ``refuses``: an executor may refuse, or nobody may run what was queued. ``twice``: one call may be struck twice.
    ``observed``: the cache has an observer. ``stored``: it has a second level of its own, whose
    messages are lost as often as ``losing`` says: what a load forgot then is kept there, to cover a failure.
    """

    config: Config
    world: str = "threads"
    interrupted: bool = False
    refuses: bool = False
    twice: bool = False
    loops: int = 1
    own_ttls: bool = False
    observed: bool = True
    stored: bool = False
    losing: float = 0.0

    @property
    def max_queued(self) -> int | None:
        queued: int | None = getattr(self.config, "max_queued", None)
        return queued

    def nanoseconds(self, option: str) -> int | None:
        duration: timedelta | None = getattr(self.config, option)
        return None if duration is None else duration // timedelta(microseconds=1) * MICRO

    def slots(self) -> int:
        """Give how many keys can be loaded in the background at once; none where each is loaded in the foreground."""
        if self.refuses or self.config.stale_while_revalidate == timedelta(0):
            return 0
        bounds = (self.config.max_entries, self.max_queued, self.config.async_semaphore)
        return min(bound for bound in bounds if bound is not None)

    def least(self, ttl: int) -> int:
        """Give the shortest time that a TTL may come to, by its jitter and by rounding."""
        return int(ttl * (1 - self.config.jitter)) - MICRO


@dataclass(frozen=True, slots=True)
class Plan:
    """What one callback does: pause, move the clock, ask for another key, and come to its end.

    ``remember_for`` is that of its failure, in nanoseconds, if it has one.
    """

    fate: str = "success"
    pause: float = 0.0
    gate: int | None = None
    moves: int = 0
    ttl: int = 20 * MICRO
    cleanup: bool = False
    remember_for: int | None = None
    nested: "Nested | None" = None


@dataclass(frozen=True, slots=True)
class Nested:
    """What a callback asks the cache for, and how stale a value it takes."""

    kind: str
    key: str
    plan: Plan
    max_stale: int | None = None


@dataclass(frozen=True, slots=True)
class Manners:
    """How the players of a round behave: how often each act is chosen, and how often callbacks go wrong."""

    acts: Mapping[str, float]
    failing: float
    raising: float
    striking: float
    nesting: float
    demanding: float
    pauses: tuple[float, ...]

    def act(self, chance: random.Random) -> str:
        return chance.choices(tuple(self.acts), tuple(self.acts.values()))[0]


def draw_config(chance: random.Random, *, soft: float = 0.4) -> Config:
    """Draw options; about half of them stay at their defaults."""
    options: dict[str, Any] = {
        "global_ttl": ticks(chance.choice([1, 20, 200])),
        "extend_ttl": ticks(chance.choice([0, 0, 5, 50])),
        "async_semaphore": chance.randint(1, 5),
        "count_hits": chance.random() < 0.4,
    }
    rarer: dict[str, list[Any]] = {
        "stale_if_error": [ticks(0), ticks(5), ticks(60)],
        "stale_while_revalidate": [ticks(0), ticks(5), ticks(60)],
        "negative_ttl": [ticks(3), ticks(30)],
        "refresh_after": [ticks(1), ticks(10)],
        "jitter": [0.1, 0.5],
        "backoff": [1.5, 2.0],
        "max_entries": [2, 4],
        "max_queued": [1, 3],
    }
    known = {each.name for each in fields(Config)}
    options |= {name: chance.choice(rarer[name]) for name in rarer if name in known and chance.random() < 0.3}
    if chance.random() < soft:
        options["soft_timeout"] = timedelta(milliseconds=chance.choice([0, 0.3, 2, 10]))
    return Config(**options)


def draw_steps(chance: random.Random) -> list[int]:
    """Draw how far each move takes the clock: not at all, a little, a TTL, or far."""
    far = chance.choice([1_000, 30_000, 300_000])
    return [chance.choice([0, 1, 300, 700, 1_000, 5_000, 20_000, far]) for _ in range(997)]


def draw_manners(chance: random.Random) -> Manners:
    """Draw how often players write, look and ask, and what their callbacks do."""
    writes = chance.choice([0.1, 1.0, 4.0])
    acts = {
        "load_or_store": 6.0,
        "async_load_or_store": 6.0,
        "load_or_store_many": chance.choice([0.0, 1.0]),
        "load_or_store_with_ctx": 0.5,
        "async_load_or_store_with_ctx": 0.5,
        "set": 0.4 * writes,
        "set_ttl": 0.2 * writes,
        "delete": 0.4 * writes,
        "expire": writes,
        "clear": 0.05 * writes,
        "peek": 1.0,
        "if_cached": chance.choice([0.3, 2.0]),
        "explain": 0.5,
        "entries": 0.2,
        "len": 0.5,
        "ttl and stats": 0.5,
        "move": chance.choice([1.0, 4.0]),
        "gate": 0.5,
    }
    return Manners(
        acts,
        failing=chance.choice([0.1, 0.4]),
        raising=chance.choice([0.0, 0.05]),
        striking=chance.choice([0.0, 0.05]),
        nesting=chance.choice([0.0, 0.1]),
        demanding=chance.choice([0.0, 0.2, 0.6]),
        pauses=chance.choice([(0.0,), (0.0, 0.0, 0.0001, 0.002), (0.0001, 0.001)]),
    )


def draw_fate(chance: random.Random, manners: Manners) -> str:
    """Draw how a callback ends."""
    drawn = chance.random()
    if drawn < manners.striking:
        return chance.choice(STRIKES)
    if drawn < manners.striking + manners.raising:
        return "raise"
    if drawn < manners.striking + manners.raising + manners.failing:
        return chance.choice(["covered", "covered", "uncovered", "forgets"])
    return "success"


def draw_demand(chance: random.Random, manners: Manners) -> int | None:
    """Draw how stale a value a reader takes, in nanoseconds: none at all, some ticks, or any, as most readers do."""
    return chance.choice([0, 0, 3, 30]) * MICRO if chance.random() < manners.demanding else None


def draw_memory(chance: random.Random) -> int | None:
    """Draw for how long a failure says that it is to be remembered, in nanoseconds; most do not say."""
    return chance.choice([0, 2, 100]) * MICRO if chance.random() < 0.4 else None


def draw_plan(chance: random.Random, manners: Manners, key: str) -> Plan:
    """Draw what a callback does. It asks for later keys alone, so that no circle can come about."""
    plan = Plan(
        draw_fate(chance, manners),
        chance.choice(manners.pauses),
        gate=chance.randrange(3) if chance.random() < 0.05 else None,
        moves=chance.choice([0, 1, 1, 2]),
        ttl=chance.choice([0, 2, 20, 100]) * MICRO,
        cleanup=chance.random() < 0.3,
        remember_for=draw_memory(chance),
    )
    later = KEYS[KEYS.index(key) + 1 :]
    if not later or chance.random() >= manners.nesting:
        return plan
    inner = chance.choice(later)
    kind = chance.choice(["load_or_store", "async_load_or_store"])
    return replace(plan, nested=Nested(kind, inner, draw_plan(chance, manners, inner), draw_demand(chance, manners)))
