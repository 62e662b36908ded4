"""What every round has: its setting, clock, history and callbacks' fates; and the acts that never wait."""

import itertools
import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from typing import Final, Protocol, TypeAlias

from returns.maybe import Maybe, Some
from returns.result import Result, Success

from lastcache import CacheClosedError, CachedValue, LastCache, LoadDroppedError, Strategy, failed
from lastcache.core.states import Outcome
from lastcache.tasks import AsyncLastCache
from tests.soak.history import NEVER, Call, Clock, Err, History, Load, Refresh, Seen, Value, number_of, seen
from tests.soak.setting import KEYS, MICRO, STRIKES, Manners, Plan, Setting, draw_manners, draw_steps

Answer: TypeAlias = Result[CachedValue[Value, Err], Err]
Threaded: TypeAlias = LastCache[str, Value, Err]
Tasked: TypeAlias = AsyncLastCache[str, Value, Err]

PATIENCE: Final = 20.0

LOOKS: Final = ("peek", "entries", "len", "ttl and stats", "if_cached", "explain")

STATES: Final = frozenset({"missing", "fresh", "due early", "expired", "extended", "refused", "remembered"})


class SourceError(Exception):
    """What a callback raises, against its contract."""


class CleanupError(OSError):
    """What a cancelled callback raises while it puts things in order."""


class Refusal(Exception):  # noqa: N818  # it is an executor's answer
    """What an executor raises that takes nothing."""


class Resolvable(Protocol):
    """What ``Future.add_done_callback`` belongs to."""

    def add_done_callback(self, function: Callable[[Future[Answer]], object], /) -> None: ...


class Game:
    """One round without its players."""

    def __init__(
        self, setting: Setting, chance: random.Random, player: Callable[[], int], manners: Manners | None = None
    ) -> None:
        self.setting = setting
        self.manners = draw_manners(chance) if manners is None else manners
        hesitates = chance.choice([0, 0, 30, 7])
        turns = itertools.count(1)

        def hesitate() -> None:
            if hesitates and next(turns) % hesitates == 0:
                time.sleep(0.00005)

        self.clock = Clock(draw_steps(chance), hesitate)
        self.history = History(setting, self.clock, player)
        self.ttl = setting.nanoseconds("global_ttl") or 0
        self.refreshes: dict[int, Refresh] = {}
        self.kept: list[object] = []

    def ttl_of(self, value: Value) -> timedelta:
        return duration(value.ttl)

    def close(self, cache: Threaded | Tasked) -> None:
        write = self.history.write("close", None)
        cache.close()
        self.history.written(write)

    def write(self, cache: Threaded | Tasked, kind: str, key: str, ttl: int) -> None:
        """Write, and note what it raised, for nothing may be raised here."""
        own = kind == "set_ttl" or self.setting.own_ttls
        name, length = kind.removesuffix("_ttl"), ttl if own else self.ttl
        write = self.history.write(name, None if kind == "clear" else key, length)
        value = Value(write.number, key, length)
        acts: dict[str, Callable[[], object]] = {
            "set": lambda: cache.set(key, value),
            "set_ttl": lambda: cache.set(key, value, ttl=self.ttl_of(value)),
            "delete": lambda: cache.delete(key),
            "expire": lambda: cache.expire(key),
            "clear": cache.clear,
        }
        if self.guarded(kind, acts[kind]):
            self.history.written(write)

    def guarded(self, kind: str, act: Callable[[], object]) -> bool:
        """Do what may raise nothing but that the cache was closed; give whether it was done."""
        try:
            act()
        except CacheClosedError:
            return False
        except Exception as err:
            self.history.note("foreign exception", f"{kind} raised {err!r}")
            return False
        return True

    def look(self, cache: Threaded | Tasked, kind: str, key: str, max_stale: int | None) -> None:
        call = self.history.call(kind, (key,), max_stale=max_stale if kind in {"if_cached", "explain"} else None)
        self.guarded(kind, lambda: self.history.answered(call, self.looked(cache, call)))

    def looked(self, cache: Threaded | Tasked, call: Call) -> dict[str, Seen]:
        key = call.keys[0]
        match call.kind:
            case "if_cached":
                given = self.given_if_cached(cache, call)
                return {key: seen(given.unwrap())} if isinstance(given, Some) else {}
            case "explain":
                return self.explained(cache, call)
            case "peek":
                found = cache.peek(key)
                return {key: seen(Success(found.unwrap()))} if isinstance(found, Some) else {}
            case "entries":
                return self.entries(cache)
            case "len":
                self.check_count(len(cache))
            case _:
                cache.ttl(key)
                self.check_count(cache.stats().entries)
        return {}

    def given_if_cached(self, cache: Threaded | Tasked, call: Call) -> Maybe[Answer]:
        """Ask for what needs no load: by an argument or by a view, which is the same."""
        if call.max_stale is None:
            return cache.if_cached(call.keys[0])
        max_stale = duration(call.max_stale)
        if call.began % 2:
            return cache.if_cached(call.keys[0], max_stale=max_stale)
        return cache.demanding(max_stale=max_stale).if_cached(call.keys[0])

    def explained(self, cache: Threaded | Tasked, call: Call) -> dict[str, Seen]:
        """Have a key explained, and give what a call would be given at once."""
        key = call.keys[0]
        view = cache if call.max_stale is None else cache.demanding(max_stale=duration(call.max_stale))
        explanation = view.explain(key, strategy=Strategy.STALE_WHILE_REVALIDATE if call.began % 2 else None)
        if explanation.state not in STATES or f"({explanation.state}: " not in str(explanation):
            self.history.note("explain names a state", f"{call}: {explanation}")
        answer: Answer | None = getattr(explanation.decision, "answer", None)
        cached: CachedValue[Value, Err] | None = getattr(explanation.decision, "cached", None)
        answer = answer if cached is None else Success(cached)
        return {} if answer is None else {key: seen(answer)}

    def entries(self, cache: Threaded | Tasked) -> dict[str, Seen]:
        entries = list(cache.entries())
        self.check_count(len({entry.key for entry in entries}), len(entries))
        return {entry.key: seen(Success(entry.cached)) for entry in entries}

    def check_count(self, *counts: int) -> None:
        bound = self.setting.config.max_entries or len(KEYS)
        if len(set(counts)) > 1 or not 0 <= counts[0] <= min(bound, len(KEYS)):
            self.history.note("number of entries", f"{counts} entries")

    def outcome(self, load: Load, plan: Plan) -> Outcome[Value, Err]:
        """Come to the end that was planned, and write it down."""
        match plan.fate:
            case "raise":
                raise SourceError(load.number)
            case "KeyboardInterrupt":
                raise KeyboardInterrupt(load.number)
            case "SystemExit":
                raise SystemExit(load.number)
            case "GeneratorExit":
                raise GeneratorExit(load.number)
            case "success":
                ttl = plan.ttl if self.setting.own_ttls else self.ttl
                load.ttl = ttl
                self.history.load_ended(load, "success")
                return Success(Value(load.number, load.key, ttl))
            case fate:
                load.remember_for = plan.remember_for
                self.history.load_ended(load, fate)
                return failed(
                    Err(load.number, load.key),
                    use_stale=fate == "covered",
                    forget=fate == "forgets",
                    remember_for=None if plan.remember_for is None else duration(plan.remember_for),
                )

    def refresh_of(self, call: Call, refresh: object) -> Refresh:
        """Make the record of a refresh that was given; the same one is known by its identity."""
        self.kept.append(refresh)  # an identity is one only while it is kept
        call.refresh = self.refreshes.setdefault(id(refresh), Refresh(id(refresh)))
        return call.refresh

    def watch(self, call: Call, refresh: "Future[Answer]") -> None:
        """Write down how and when a refresh ends."""
        record = self.refresh_of(call, refresh)
        refresh.add_done_callback(partial(self._resolved, record))

    def _resolved(self, record: Refresh, refresh: "Future[Answer]") -> None:
        if record.ended == NEVER:
            raised = refresh.exception()
            self.history.refreshed(record, refresh.result() if raised is None else raised)


def duration(nanoseconds: int) -> timedelta:
    """Give a duration as users write it."""
    return timedelta(microseconds=nanoseconds // MICRO)


def is_numbered(raised: BaseException) -> bool:
    """Tell whether a callback raised this, on purpose."""
    known = isinstance(raised, SourceError | CleanupError) or type(raised).__name__ in {*STRIKES, "CancelledError"}
    return known and number_of(raised) is not None


def dropped(refresh: Refresh) -> bool:
    """Tell whether a refresh ended without having run."""
    return isinstance(refresh.raised, LoadDroppedError)
