"""A history of one key, sorted so that a law can ask it quickly."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tests.soak.history import NEVER, Call, Err, History, Load, Seen, Value, Write
from tests.soak.setting import KEYS

ASKS: Final = frozenset({"load_or_store", "load_or_store_with_ctx", "load_or_store_many"})
REVALIDATES: Final = frozenset({"async_load_or_store", "async_load_or_store_with_ctx"})
ANSWERS: Final = ASKS | REVALIDATES | {"if_cached"}


class Given(NamedTuple):
    """One answer for one key: by a call, or later by its refresh."""

    call: Call
    key: str
    seen: Seen
    by_refresh: bool
    ended: int
    ended_at: int

    def __str__(self) -> str:
        return f"{self.call} {'had from its refresh' if self.by_refresh else 'was given'} {self.seen}"


class Origin(NamedTuple):
    """Where a value or a failure comes from: when it began, when it was stored at the earliest and the latest.

    ``began``: a write after this is newer. ``asked``: its flight began no sooner than this.
    """

    number: int
    began: int
    asked: int
    stored_at: int
    load: Load | None

    def __str__(self) -> str:
        return f"number {self.number}" if self.load is None else str(self.load)


class Best:
    """Of the items up to a bound, the greatest; both are integers."""

    def __init__(self, pairs: Iterable[tuple[int, int]]) -> None:
        self._bounds: list[int] = []
        self._greatest: list[int] = []
        greatest = -1
        for bound, value in sorted(pairs):
            greatest = max(greatest, value)
            self._bounds.append(bound)
            self._greatest.append(greatest)

    def below(self, bound: int) -> int:
        """Give the greatest of what stands below ``bound``; -1 where nothing does."""
        place = bisect_left(self._bounds, bound)
        return self._greatest[place - 1] if place else -1


class KeyIndex:
    """The writes and loads of one key."""

    def __init__(self, key: str, writes: list[Write], loads: list[Load]) -> None:
        self.key = key
        self.writes = sorted(writes, key=lambda write: write.began)
        self.loads = sorted(loads, key=lambda load: load.began)
        changes = [write for write in writes if write.kind != "leave"]
        done = [write for write in changes if write.ended != NEVER]
        self.last_forgetting = Best((w.ended, w.began) for w in done if w.kind != "expire")
        self.last_write = Best((w.ended, w.began) for w in done)
        self.expires = sorted((w for w in done if w.kind == "expire"), key=lambda write: write.ended)
        self._until = Best((write.began, write.ended) for write in changes)
        self._expire_until = Best((write.began, write.ended) for write in writes if write.kind == "expire")

    def written_between(self, after: int, before: int) -> bool:
        """Tell whether a write may have taken effect after the one instant and before the other."""
        return self._until.below(before) > after

    def expired_between(self, after: int, before: int) -> bool:
        return self._expire_until.below(before) > after


class Index:
    """The whole of a history, by key and by number."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.setting = history.setting
        self.keys = dict(self._keys(history))
        self.origins = {origin.number: origin for origin in self._origins(history)}
        self.given = list(self._given(history))
        self.by_call: defaultdict[int, list[Load]] = defaultdict(list)
        for load in history.loads:
            self.by_call[id(load.call)].append(load)
        self.raising: defaultdict[int, list[Call]] = defaultdict(list)
        for call in history.calls:
            self.raising[id(call.raised)].append(call)
        self.covering: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self.known: dict[int, int] = {}
        self.known_at: dict[int, int] = {}
        self._learn(history)
        self.forgotten = {key: Best(self._forgotten(each)) for key, each in self.keys.items()}

    def _learn(self, history: History) -> None:
        """Find out when each value and failure had landed at the latest: when it was given first, or told of."""
        for given in self.given:
            for token in (given.seen.value, given.seen.err):
                self._known(token, given.ended, given.ended_at)
            self._covering(given)
        for load in history.loads:
            self._known_by(load.number, load.told, load.told_at)
        for write in history.writes:
            self._known_by(write.number, write.ended, write.ended_at)

    def _forgotten(self, key: KeyIndex) -> Iterator[tuple[int, int]]:
        """Give when each failure that forgets was known, and when its load began, where nothing can have outrun it."""
        for load in key.loads:
            known = self.known[load.number]
            if load.outcome != "forgets" or known == NEVER:
                continue
            written = any(write.began < known and write.ended > load.call.began for write in key.writes)
            if not written and not self._ran_elsewhere(key, load, known):
                yield known, load.began

    def _ran_elsewhere(self, key: KeyIndex, load: Load, known: int) -> bool:
        """Tell whether another event loop may have landed a load while this one ran."""
        others = (other for other in key.loads if other.loop != load.loop and other.began < known)
        return any(max(other.ended, self.known[other.number]) > load.call.began for other in others)

    def _covering(self, given: Given) -> None:
        """Write down when it was known first that stale data covers a failure."""
        err = given.seen.err
        if given.call.kind not in ANSWERS or not given.seen.stale or err is None or err.number not in self.origins:
            return
        load, covering = self.origins[err.number].load, self.covering[given.key]
        if load is not None and load.outcome == "covered":
            covering[err.number] = min(covering.get(err.number, NEVER), given.ended)

    def closed(self) -> int:
        """Give when the closing began."""
        return min((write.began for write in self.history.writes if write.kind == "close"), default=NEVER)

    def _known(self, token: Value | Err | None, ended: int, ended_at: int) -> None:
        if token is not None:
            self._known_by(token.number, ended, ended_at)

    def _known_by(self, number: int, ended: int, ended_at: int) -> None:
        self.known[number] = min(self.known.get(number, NEVER), ended)
        self.known_at[number] = min(self.known_at.get(number, NEVER), ended_at)

    @staticmethod
    def _keys(history: History) -> Iterator[tuple[str, KeyIndex]]:
        writes: defaultdict[str, list[Write]] = defaultdict(list)
        loads: defaultdict[str, list[Load]] = defaultdict(list)
        for write in history.writes:
            for key in KEYS if write.key is None else (write.key,):
                writes[key].append(write)
        for load in history.loads:
            loads[load.key].append(load)
        for key in KEYS:
            yield key, KeyIndex(key, writes[key], loads[key])

    @staticmethod
    def _origins(history: History) -> Iterator[Origin]:
        for load in history.loads:
            yield Origin(load.number, load.began, load.call.began, load.ended_at, load)
        for write in history.writes:
            if write.kind == "set":
                yield Origin(write.number, write.ended, write.began, write.began_at, None)

    @staticmethod
    def _given(history: History) -> Iterator[Given]:
        for call in history.calls:
            for key, seen in call.answers.items():
                yield Given(call, key, seen, by_refresh=False, ended=call.ended, ended_at=call.ended_at)
            refresh = call.refresh
            if refresh is not None and refresh.seen is not None:
                yield Given(call, call.keys[0], refresh.seen, True, refresh.ended, refresh.ended_at)  # noqa: FBT003
