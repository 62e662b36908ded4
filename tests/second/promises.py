"""The oracle of the partition walks: it knows what a second level promises, and nothing of how that is kept.

Every value has a number of its own. Everything that happens is a *step*, and steps are counted: so of two things it is
known which came first, also where the clock stood still. A value is *older* than a write if its load began, or its set
had ended, before the write began. Instants and durations are in nanoseconds of the world's one clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from returns.result import Result

from lastcache.records import CachedValue

Key = str
Answer = Result[CachedValue[int, str], str]

FENCED: Final = "nothing older than an acknowledged write is stored"
HEARD: Final = "an acknowledged write is heard within trust_for"
OWN: Final = "a process knows what it wrote itself"
LOST: Final = "a loss brings nothing older back"
TAKEN: Final = "a loss takes no value away"
MARKED: Final = "nothing is fresh for longer than its TTL"
COVERS: Final = "nothing covers for longer than stale_if_error"
KEPT: Final = "what the store has is not loaded"
ALONE: Final = "one load at a time over all processes"
NOBODY: Final = "nobody waits for a load that is not made"
SETTLED: Final = "what is owed is told"
RAISED: Final = "no call raises"


class Broken(BaseException):
    """A promise was broken. No cache and no store holds it up on its way."""

    def __init__(self, law: str, message: str) -> None:
        super().__init__(f"{law}: {message}")
        self.law = law


@dataclass(frozen=True, slots=True)
class Terms:
    """What was agreed in one walk; None where a window has no bound."""

    ttl: int
    trust: int
    lease: int
    window: int | None
    ahead: int
    keep: int
    in_background: bool
    overflows: bool


@dataclass(slots=True, eq=False)
class Value:
    """A value that process ``by`` set or loaded.

    It is fresh until ``fresh_until``, and for as long more as messages that carried it took: ``delays``. The store took
    it at step ``stored``. A set has ``ended`` once it is told, or given up for now; any value ``is_over`` once the call
    that brought it has returned.
    """

    number: int
    key: Key
    by: int
    began: int
    is_set: bool
    fresh_until: int | None = None
    delays: int = 0
    stored: int | None = None
    ended: int | None = None
    is_over: bool = False


@dataclass(slots=True, eq=False)
class Write:
    """A set, delete, expire, clear or forget; without a key it is of all keys.

    ``is_silent``: it expired a record that had been lost before, of which the store has no word for others.
    ``spared`` are the copies that a loss of the record allows: those that processes had in their hands at that moment.
    """

    kind: str
    key: Key | None
    by: int
    began: int
    began_at: int
    number: int | None = None
    returned: int | None = None
    acked: int | None = None
    acked_at: int = 0
    was_taken: bool = False
    is_void: bool = False
    is_silent: bool = False
    spared: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])

    @property
    def removes(self) -> bool:
        return self.kind in {"delete", "clear", "forget"}

    def concerns(self, key: Key) -> bool:
        return self.key is None or self.key == key

    def is_newer_than(self, value: Value) -> bool:
        if not self.concerns(value.key) or value.number == self.number or self.is_void:
            return False
        if value.is_set:
            # A set wins over a load, whatever that found.
            return value.ended is not None and value.ended < self.began and self.kind != "forget"
        return value.began < self.began


@dataclass(slots=True, eq=False)
class Call:
    """A call of process ``by`` for ``keys``, which began at a step and an instant; ``failed`` says how loads ended."""

    by: int
    keys: tuple[Key, ...]
    began: int
    began_at: int
    in_background: bool = False
    failed: dict[Key, str] = field(default_factory=dict[Key, str])
    before: dict[Key, tuple[int, int]] = field(default_factory=dict[Key, tuple[int, int]])


@dataclass(slots=True, eq=False)
class Load:
    """A callback under way, by a lease that was exclusive from an instant on, if any was."""

    value: Value
    call: Call
    leased: int | None
    leased_at: int


class Promises:
    """What has happened, and what therefore may not happen."""

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self.step = 0
        self.now = 0
        self.values: dict[int, Value] = {}
        self.writes: list[Write] = []
        self.calls: list[Call] = []
        self.loads: list[Load] = []
        self.shared: dict[Key, tuple[int, int]] = {}
        self.away: dict[tuple[int, Key], tuple[int, int]] = {}
        self.disturbed: dict[Key, int] = {}
        self.removed: dict[Key, int] = {}
        self.given: dict[tuple[int, Key], tuple[int, int]] = {}
        self.granted: dict[tuple[int, Key], tuple[int, int] | None] = {}
        self.trouble_at = -(1 << 62)

    def tick(self) -> int:
        self.step += 1
        return self.step

    # What processes do.

    def begin_value(self, key: Key, by: int, *, is_set: bool) -> Value:
        value = Value(len(self.values) + 1, key, by, self.tick(), is_set)
        self.values[value.number] = value
        return value

    def begin_write(self, kind: str, key: Key | None, by: int, keys: Iterable[Key], number: int | None = None) -> Write:
        write = Write(kind, key, by, self.tick(), self.now, number)
        for earlier in self.writes:
            if earlier.by == by and earlier.acked is None and (key is None or earlier.key == key):
                earlier.is_void = earlier.is_void or earlier.returned is not None
        self.writes.append(write)
        self.disturb([key] if key is not None else keys, removes=True)
        return write

    def end_write(self, write: Write, *, waits: bool) -> None:
        """A write has returned; one that ``waits`` for its turn, while the store is there, is still being made."""
        write.returned = self.tick()
        if write.number is not None and not waits:
            self.values[write.number].ended = write.returned

    def acknowledge(self, write: Write) -> None:
        """The store knows of ``write``, as far as its process can tell. A late set may have come too late."""
        write.acked, write.acked_at = self.tick(), self.now
        if write.number is not None and self.values[write.number].ended is None:
            self.values[write.number].ended = write.acked
        write.is_void = write.is_void or (write.kind in {"set", "forget"} and not write.was_taken)

    def begin_call(self, by: int, keys: tuple[Key, ...], *, in_background: bool = False) -> Call:
        call = Call(by, keys, self.tick(), self.now, in_background)
        self.calls.append(call)
        return call

    def end_call(self, call: Call) -> None:
        self.tick()
        self.calls.remove(call)
        for value in self.values.values():
            if value.by == call.by and not any(other.by == call.by for other in self.calls):
                value.is_over = True

    def begin_load(self, call: Call, key: Key, *, forced: bool, is_dead: bool) -> Load:
        """The origin is called."""
        leased = self.granted.pop((call.by, key), None)
        if not is_dead:
            self._may_load(call, key, forced=forced)
        value = self.begin_value(key, call.by, is_set=False)
        load = Load(value, call, *(leased or (None, 0)))
        self.loads.append(load)
        return load

    def end_load(self, load: Load) -> None:
        self.tick()
        load.value.fresh_until = self.now + self.terms.ttl
        self.loads.remove(load)

    def _may_load(self, call: Call, key: Key, *, forced: bool) -> None:
        if self._was_away(call.by, key, call.began):
            return
        stored = self.shared.get(key)
        if stored and stored[0] < call.began and self.now <= stored[1] and not self.terms.in_background:
            raise Broken(KEPT, f"process {call.by} loads {key}, which is in the store since step {stored[0]}")
        for load in self.loads:
            other = load.call
            if (
                load.value.key == key
                and other.by != call.by
                and not forced
                and load.leased is not None
                and self.now < load.leased_at + self.terms.lease
                and self.disturbed.get(key, 0) < load.leased
                and not self._was_away(other.by, key, other.began)
            ):
                raise Broken(ALONE, f"processes {other.by} and {call.by} load {key}")

    def _was_away(self, by: int, key: Key, since: int) -> bool:
        return self.away.get((by, key), (0, 0))[0] >= since

    def wait(self, key: Key) -> None:
        """A call is told to wait for another process's load."""
        if sum(key in call.keys for call in self.calls) < 2 and self.now > self.trouble_at + self.terms.lease:
            raise Broken(NOBODY, f"for {key}")

    # What becomes of the store.

    def disturb(self, keys: Iterable[Key], *, removes: bool) -> None:
        """Something is written, or lost: what the store has of these keys is not known any more."""
        for key in keys:
            self.shared.pop(key, None)
            self.disturbed[key] = self.step
            if removes:
                self.removed[key] = self.step

    def take(self, value: Value, fresh_for: int, *, is_set: bool) -> None:
        """The store took a value."""
        step = self.tick()
        for write in self.writes:
            if write.number == value.number:
                write.was_taken = True
            if write.acked is not None and write.is_newer_than(value):
                raise Broken(FENCED, f"{value} after {write}")
        value.stored = step
        self.disturb([value.key], removes=is_set)
        self.shared[value.key] = step, self.now + fresh_for

    def delete(self, key: Key, by: int) -> None:
        """The store was told to delete a key."""
        mine = [write for write in self.writes if write.by == by and write.key == key and write.acked is None]
        if not any(write.kind == "delete" for write in mine):
            raise Broken(KEPT, f"process {by} deletes {key}, which nobody did")

    def lose(self, key: Key | None, copies: Iterable[tuple[int, int]], *, clears: bool) -> None:
        """Records were lost; these numbers were in the hands of these processes."""
        self.tick()
        spared = {*copies}
        spared |= {(value.by, value.number) for value in self.values.values() if not value.is_over}
        for write in self.writes:
            if key is None or write.key == key:
                write.spared |= spared if clears or write.key is not None else set()

    # What callers are given.

    def check(self, call: Call, key: Key, answer: Answer) -> None:  # noqa: C901  # one law after another
        cached = answer.value_or(None)
        if cached is None:
            self._check_failure(call, key)
            return
        value = self.values[cached.value]
        assert value.key == key
        if value.by == call.by and value.began > call.began:
            return
        self._check_windows(call, value, stale=cached.stale)
        for write in self.writes:
            # What the store never had may cover a failure: it was loaded, or set, while the store was away. And a call
            # that takes a stale value ahead of its load does not ask before.
            # Nor does it heed what a clear has overwritten that was owed by a process with too much to tell.
            asks = not call.in_background and not self.terms.overflows and not self._expired_itself(call, value)
            covers = write.removes and value.stored is not None and asks
            if write.is_newer_than(value) and (covers or not cached.stale):
                self._check_write(call, value, write, stale=cached.stale)
        if not cached.stale and value.stored is not None:
            known, known_at = self.given.get((call.by, key), (0, 0))
            if value.stored < known and known_at < call.began:
                raise Broken(LOST, f"process {call.by} knew what was stored at step {known}, and gives {value}")
            if value.stored > known:
                self.given[call.by, key] = value.stored, self.step

    def _expired_itself(self, call: Call, value: Value) -> bool:
        """Say whether a process expired what it had of a key: it does not know any more which version that was."""
        mine = [write for write in self.writes if write.by == call.by and write.kind == "expire"]
        return any(write.is_newer_than(value) for write in mine)

    def _check_windows(self, call: Call, value: Value, *, stale: bool) -> None:
        ends_at = (value.fresh_until or call.began_at) + value.delays
        if not stale and call.began_at > ends_at:
            raise Broken(MARKED, f"{value} at {call.began_at}")
        window = self.terms.window
        if call.in_background and window is not None:
            window = max(window, self.terms.ahead)
        if stale and window is not None and call.began_at > ends_at + window:
            raise Broken(COVERS, f"{value} at {call.began_at}")

    def _check_write(  # noqa: C901  # what lifts the promise, one after another
        self, call: Call, value: Value, write: Write, *, stale: bool
    ) -> None:
        if (call.by, value.number) in write.spared:
            return
        what = f"process {call.by} gives {'stale' if stale else 'fresh'} {value} at {call.began_at} in spite of {write}"
        is_own = write.by == call.by and write.kind in {"delete", "expire", "clear"}
        if is_own and write.returned is not None and write.returned < call.began:
            raise Broken(OWN, what)
        if write.acked is None or write.acked > call.began:
            return
        if write.is_silent and write.by != call.by:
            return
        if write.by == call.by:
            raise Broken(OWN, what)
        trust = self.terms.trust * (2 if self.terms.in_background else 1)
        if call.began_at > max(write.acked_at, self.away.get((call.by, value.key), (0, 0))[1]) + trust:
            raise Broken(HEARD, what)

    def _check_failure(self, call: Call, key: Key) -> None:
        if key not in call.before or call.failed.get(key) != "covered":
            return
        number, fresh_until = call.before[key]
        value = self.values[number]
        if value.stored is None or self.removed.get(key, 0) > value.stored or self.disturbed.get(key, 0) > call.began:
            return
        if self.terms.window is None or self.now <= fresh_until + self.terms.window:
            raise Broken(TAKEN, f"process {call.by} had {value}, and gives none")
