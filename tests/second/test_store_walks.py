"""Walks over one record: every short one against the laws, and long ones of one store against another."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import product
from typing import Final, TypeAlias

import pytest

from lastcache.second.protocol import (
    Absent,
    Ask,
    Busy,
    Expire,
    Fill,
    Forget,
    Gone,
    Held,
    Kept,
    Lease,
    Put,
    Release,
    Same,
    Tell,
    Told,
    Verdict,
    Version,
    Want,
)
from tests.second.stages import (
    HOUR,
    LEASE_FOR,
    MS,
    NAMES,
    SPACE,
    WORD,
    Stage,
    ask,
    expire,
    fill,
    forget,
    put,
    release,
    staged,
)

pytestmark = pytest.mark.slow


@dataclass(slots=True)
class Load:
    """A load that began at step ``began``, under a lease."""

    lease: Lease
    began: int


@dataclass(slots=True)
class History:
    """What happened to one record, step by step, and what the laws say of it. It knows no numbers and no epochs.

    ``barrier`` is the step of the last set, delete, expire or loss, ``filled`` the step at which the load began that
    filled last, ``changed`` the step of the last change of any kind.
    """

    stage: Stage
    name: bytes
    step: int = 0
    barrier: int = 0
    filled: int = 0
    changed: int = 0
    says: bytes | type[Absent] | None = Absent
    fresh: bool = False
    exclusive: Load | None = None
    until: int = 0
    loads: list[Load] = field(default_factory=list[Load])
    known: list[tuple[Version, int]] = field(default_factory=list[tuple[Version, int]])

    def check(self) -> None:
        """Look at the record, and compare it with the laws."""
        told = self.stage.ask(ask(name=self.name))
        if self.says is Absent:
            assert told == Absent(None)
        elif self.says is None:
            assert isinstance(told, Gone)
        else:
            assert isinstance(told, Held)
            assert (self.says, self.fresh) == (told.body, told.fresh_for >= timedelta(0))
            self.known.append((told.version, self.changed))
        for version, changed in self.known[:1] + self.known[-1:]:
            same = self.fresh and changed == self.changed
            assert isinstance(self.stage.ask(ask(name=self.name, known=version)), Same) == same

    def lease(self) -> None:
        """Ask for a lease: given unless the record is fresh, or another is exclusive."""
        told = self.stage.ask(ask(Want.LEASE, name=self.name))
        assert isinstance(told, Held | Gone | Absent)
        held = self.exclusive is not None and self.stage.clock.now < self.until
        if self.fresh:
            assert told.grant is None
        elif held and self.exclusive is not None:
            left = (self.until - self.stage.clock.now) * MS
            assert told.grant == Busy(self.exclusive.lease.number, left)
        else:
            assert isinstance(told.grant, Lease)
            self.exclusive, self.until = Load(told.grant, self.step), self.stage.clock.now + LEASE_FOR // MS
            self.loads.append(self.exclusive)

    def force(self) -> None:
        """Ask for a lease that others may hold as well: given unless the record is fresh."""
        told = self.stage.ask(ask(Want.FORCE, name=self.name))
        assert isinstance(told, Held | Gone | Absent)
        assert self.fresh == (told.grant is None)
        if isinstance(told.grant, Lease):
            self.loads.append(Load(told.grant, self.step))

    def fill_with(self, which: int) -> None:
        """Fill under the first or the last lease: that counts if nothing newer is there."""
        if not self.loads:
            return
        load = self.loads[which]
        verdict = self.stage.tell(fill(load.lease, str(load.began).encode(), name=self.name))
        counts = load.began > self.barrier and load.began > self.filled
        assert isinstance(verdict, Kept) == counts, (load, self)
        if isinstance(verdict, Kept):
            self.known.append((verdict.version, self.step))
            self.filled, self.changed, self.fresh = load.began, self.step, True
            self.says = str(load.began).encode()
            if self.exclusive is not None and self.exclusive.began <= load.began:
                self.exclusive = None

    def fill_first(self) -> None:
        self.fill_with(0)

    def fill_last(self) -> None:
        self.fill_with(-1)

    def release_first(self) -> None:
        if self.loads:
            self.stage.tell(release(self.loads[0].lease, name=self.name))
            if self.exclusive is self.loads[0]:
                self.exclusive = None

    def bar(self, says: bytes | type[Absent] | None, *, fresh: bool) -> None:
        self.barrier = self.changed = self.step
        self.says, self.fresh, self.exclusive = says, fresh, None

    def put(self) -> None:
        body = str(self.step).encode()
        assert isinstance(self.stage.tell(put(body, name=self.name)), Kept)
        self.bar(body, fresh=True)

    def forget(self) -> None:
        assert isinstance(self.stage.tell(forget(name=self.name)), Kept)
        self.bar(None, fresh=False)

    def expire(self) -> None:
        assert isinstance(self.stage.tell(expire(name=self.name)), Kept)
        self.bar(self.says, fresh=False)

    def lose(self) -> None:
        self.stage.evict(self.name)
        self.bar(Absent, fresh=False)

    def wait(self) -> None:
        self.stage.clock.move(LEASE_FOR)


Act: TypeAlias = Callable[[History], None]
ACTS: Final[tuple[Act, ...]] = (
    History.lease,
    History.force,
    History.fill_first,
    History.fill_last,
    History.release_first,
    History.put,
    History.forget,
    History.expire,
    History.lose,
    History.wait,
)


def walk_all(stage: Stage, length: int) -> None:
    """Do every sequence of ``length`` acts, each to a record of its own, and check the laws at its end."""
    for number, acts in enumerate(product(ACTS, repeat=length)):
        history = History(stage, b"users:%d:%d" % (length, number))
        for step, act in enumerate(acts, start=1):
            history.step = step
            act(history)
        history.check()


@pytest.mark.parametrize(("name", "longest"), [("memory", 4), ("sqlite", 3), ("redis", 3), ("valkey", 2)])
def test_every_short_walk(name: str, longest: int) -> None:
    """After every walk of up to three or four acts, the record is what the laws say."""
    with staged(name) as stage:
        for length in range(1, longest + 1):
            walk_all(stage, length)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "length"), [("memory", 5), ("sqlite", 4), ("redis", 4)])
def test_every_longer_walk(name: str, length: int) -> None:
    """After every walk of four and of five acts, the record is what the laws say."""
    with staged(name) as stage:
        walk_all(stage, length)


@dataclass(slots=True)
class Pair:
    """Two stores that are told the same, and the epochs of each in the order in which they came."""

    model: Stage
    other: Stage
    epochs: tuple[dict[bytes, int], dict[bytes, int]] = field(default_factory=lambda: ({}, {}))
    leases: list[tuple[Lease, Lease]] = field(default_factory=list[tuple[Lease, Lease]])
    versions: list[tuple[Version, Version]] = field(default_factory=list[tuple[Version, Version]])

    def seen(self, side: int, epoch: bytes) -> int:
        return self.epochs[side].setdefault(epoch, len(self.epochs[side]))

    def plain(self, side: int, value: object) -> object:
        """Write an answer down with its epochs counted."""
        if isinstance(value, Version | Lease):
            return (type(value).__name__, self.seen(side, value.epoch), value[1])
        if isinstance(value, tuple):
            return (type(value).__name__, *(self.plain(side, each) for each in value))
        return value

    def ask(self, one: Ask, two: Ask) -> None:
        told = self.model.ask(one), self.other.ask(two)
        assert self.plain(0, told[0]) == self.plain(1, told[1]), one
        grants = [getattr(each, "grant", None) for each in told]
        if isinstance(grants[0], Lease) and isinstance(grants[1], Lease):
            self.leases.append((grants[0], grants[1]))
        self.remember(*told)

    def tell(self, one: Tell, two: Tell) -> None:
        said = self.model.tell(one), self.other.tell(two)
        assert self.plain(0, said[0]) == self.plain(1, said[1]), one
        self.remember(*said)

    def remember(self, one: Told | Verdict, two: Told | Verdict) -> None:
        versions = getattr(one, "version", None), getattr(two, "version", None)
        if isinstance(versions[0], Version) and isinstance(versions[1], Version):
            self.versions.append((versions[0], versions[1]))


LENGTHS: Final = (timedelta(0), MS, 3 * MS, 10 * MS, HOUR)


@dataclass(slots=True)
class Walk:
    """A walk of two stores over three records, by chance."""

    pair: Pair
    chance: random.Random
    generation: bytes = WORD

    def step(self) -> None:
        self.chance.choices(STEPS, WEIGHTS)[0](self)

    def name(self) -> bytes:
        return b"users:%d" % self.chance.randrange(3)

    def length(self) -> timedelta:
        return self.chance.choice(LENGTHS)

    def ask(self) -> None:
        known = self.chance.choice([*self.pair.versions[-4:], (None, None)])
        generation = self.chance.choice([self.generation] * 8 + [None, b"unknown."])
        asked = Ask(
            SPACE, self.name(), generation, None, self.chance.choice(list(Want)), 10 * MS, self.chance.choice(LENGTHS)
        )
        self.pair.ask(asked._replace(known=known[0]), asked._replace(known=known[1]))

    def fill(self) -> None:
        if self.pair.leases:
            one, two = self.chance.choice(self.pair.leases[-5:])
            body = self.chance.choice([b"", b"body", b"x" * 5000, None])
            filled = Fill(SPACE, self.name(), self.generation, one, body, "v1", self.length(), self.length())
            self.pair.tell(filled, filled._replace(lease=two))

    def release(self) -> None:
        if self.pair.leases:
            one, two = self.chance.choice(self.pair.leases[-5:])
            given = Release(SPACE, self.name(), self.generation, one)
            self.pair.tell(given, given._replace(lease=two))

    def put(self) -> None:
        known = self.chance.choice([*self.pair.versions[-4:], (None, None)])
        written = Put(SPACE, self.name(), self.generation, b"set", "v2", self.length(), self.length())
        self.pair.tell(written._replace(only_if=known[0]), written._replace(only_if=known[1]))

    def forget(self) -> None:
        told = Forget(SPACE, self.name(), self.generation, self.length())
        self.pair.tell(told, told)

    def expire(self) -> None:
        told = expire(name=self.name(), keep_for=self.length())._replace(generation=self.generation)
        self.pair.tell(told, told)

    def spoil(self) -> None:
        if self.pair.leases:
            one, two = self.chance.choice(self.pair.leases[-5:])
            ended = Expire(SPACE, self.name(), self.generation, self.length(), one)
            self.pair.tell(ended, ended._replace(lease=two))

    def wait(self) -> None:
        by = self.chance.choice([*LENGTHS[:4], 10 * MS, -MS, timedelta(seconds=-2), HOUR])
        for stage in (self.pair.model, self.pair.other):
            stage.clock.move(by)

    def lose(self) -> None:
        name = self.name()
        for stage in (self.pair.model, self.pair.other):
            stage.evict(name, self.generation)

    def lose_generation(self) -> None:
        for stage in (self.pair.model, self.pair.other):
            stage.lose_generation()
        restoring = forget(name=self.name())._replace(generation=self.generation)
        self.pair.tell(restoring, restoring)

    def clear(self) -> None:
        self.generation = self.chance.randbytes(8)
        for stage in (self.pair.model, self.pair.other):
            assert stage.store.clear(SPACE, self.generation).unwrap() is None


STEPS: Final[tuple[Callable[[Walk], None], ...]] = (
    Walk.ask,
    Walk.fill,
    Walk.release,
    Walk.put,
    Walk.forget,
    Walk.expire,
    Walk.spoil,
    Walk.wait,
    Walk.lose,
    Walk.lose_generation,
    Walk.clear,
)
WEIGHTS: Final = (40, 20, 5, 8, 4, 4, 4, 12, 2, 1, 1)


def compare(name: str, seeds: range, steps: int) -> None:
    for seed in seeds:
        with staged("memory") as model, staged(name) as other:
            walk = Walk(Pair(model, other), random.Random(seed))
            other.store.clear(SPACE, WORD)
            model.store.clear(SPACE, WORD)
            for _ in range(steps):
                walk.step()


@pytest.mark.parametrize("name", NAMES[1:])
def test_a_store_says_what_the_model_says(name: str) -> None:
    """Over two thousand steps by chance, a store in a file or in a server says what the one in memory says."""
    compare(name, range(10), 200)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[1:])
def test_a_store_says_what_the_model_says_for_long(name: str) -> None:
    """Over twenty thousand steps by chance, a store in a file or in a server says what the one in memory says."""
    compare(name, range(100, 140), 500)
