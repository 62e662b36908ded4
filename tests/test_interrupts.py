"""An interrupt may strike at any line of lastcache: whoever is struck, the key loads again and nobody else hangs.

A tracer raises at each line that a call runs through, one line a trial, until no line is left.
What it cannot reach, signals do, in ``tests.test_processes``.
"""

import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel
import pytest
from returns.result import Success

import lastcache
from lastcache import Config, LastCache, ReentrantLoadError, Revalidation, failed
from lastcache._shell.flight import Flight
from lastcache._shell.inflight import CacheState
from lastcache._shell.reentrancy import LoadNode
from lastcache.core.states import Answer, Outcome, Strategy
from lastcache.core.traffic import Running
from lastcache.tasks import AsyncLastCache
from lastcache.testing import ManualClock
from tests.kit import PATIENCE, gated, given, gives, in_thread, kept_in, never, small_cache, ticks
from tests.shells import TaskCall

pytestmark = [
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    # A strike between the call of an asynchronous callback and its await.
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
]

Cache: TypeAlias = LastCache[str, str, str]
Load: TypeAlias = Callable[[str], Outcome[str, str]]
HOME: Final = str(Path(lastcache.__file__).parent)
SECOND: Final = 1.0


class Strike(BaseException):
    """The interrupt."""


class Striking:
    """A tracer that raises at the n-th line of lastcache that this thread comes to."""

    def __init__(self, at: int, home: str = HOME) -> None:
        self.ahead = at
        self.home = home
        self.struck = ""

    def __call__(self, frame: FrameType, event: str, _arg: object) -> Any:  # what sys.settrace takes
        if not frame.f_code.co_filename.startswith(self.home):
            return None
        if event == "line":
            self.ahead -= 1
            if self.ahead == 0:
                self.struck = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
                raise Strike
        return self


class Scene:
    """A cache with an expired key; ``act`` is struck, ``after`` says what must still come to an end."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.cache = small_cache(self.clock)
        self.cache.set("k", "old")
        self.clock.advance(ticks(101))

    def act(self) -> object:
        raise NotImplementedError

    def after(self) -> None:
        """Nobody beside the one who was struck."""


class Leader(Scene):
    """A caller who loads an expired key."""

    def act(self) -> object:
        return self.cache.load_or_store("k", gives(Success("new")))


class FailingLeader(Scene):
    """A caller whose load fails."""

    def act(self) -> object:
        return self.cache.load_or_store("k", gives(failed("down", use_stale=False)))


class RaisingLeader(Scene):
    """A caller whose callback raises."""

    def act(self) -> object:
        def load(_key: str) -> Outcome[str, str]:
            raise ValueError

        try:
            return self.cache.load_or_store("k", load)
        except ValueError:
            return None


class Nested(Scene):
    """A caller whose callback loads another key."""

    def act(self) -> object:
        def load(_key: str) -> Outcome[str, str]:
            self.cache.load_or_store("inner", gives(Success("v")))
            return Success("new")

        return self.cache.load_or_store("k", load)


class StaleReader(Scene):
    """A caller who leaves a load to the background."""

    given: "list[Revalidation[str, str]]"

    def act(self) -> object:
        self.given = []
        self.given.append(self.cache.async_load_or_store("k", gives(Success("new"))).unwrap())
        return None

    def after(self) -> None:
        self.given.append(self.cache.async_load_or_store("k", gives(Success("new"))).unwrap())
        for revalidation in self.given:
            if revalidation.refresh is not None:
                revalidation.refresh.result(SECOND)


class TakeOver(Scene):
    """A caller who takes a queued load over, on whose ``refresh`` somebody waits."""

    def __init__(self) -> None:
        super().__init__()
        self.cache.set("stuck", "old")
        self.clock.advance(ticks(101))
        self.stuck = gated(Success("late"))
        self.hung = self.cache.async_load_or_store("stuck", self.stuck).unwrap().refresh
        self.stuck.started()
        self.refresh = self.cache.async_load_or_store("k", gives(Success("behind"))).unwrap().refresh

    def act(self) -> object:
        return self.cache.load_or_store("k", gives(failed("down", use_stale=True)))

    def after(self) -> None:
        self.stuck.let_go()
        assert self.hung is not None
        assert self.refresh is not None
        self.hung.result(SECOND)
        self.refresh.result(SECOND)


class LeaderWithRefresh(Scene):
    """A caller on whose load a stale reader in another thread waits through ``refresh``."""

    def act(self) -> object:
        self.behind: list[Revalidation[str, str]] = []

        def load(_key: str) -> Outcome[str, str]:
            reader = in_thread(lambda: self.cache.async_load_or_store("k", gives(Success("behind"))).unwrap())
            self.behind.append(reader.result(PATIENCE))
            return Success("new")

        return self.cache.load_or_store("k", load)

    def after(self) -> None:
        for revalidation in self.behind:
            if revalidation.refresh is not None:
                revalidation.refresh.result(SECOND)


class LeaderWithJoiners(Scene):
    """A caller whose load others joined, or are about to join."""

    def act(self) -> object:
        self.joiners: list[Future[Answer[str, str]]] = []

        def join() -> Answer[str, str]:
            return self.cache.load_or_store("k", gives(Success("own")))

        def load(_key: str) -> Outcome[str, str]:
            self.joiners += [in_thread(join) for _ in range(3)]
            return Success("new")

        return self.cache.load_or_store("k", load)

    def after(self) -> None:
        for joiner in self.joiners:
            joiner.result(SECOND)


class Joiner(Scene):
    """A caller who joins a load that another leads, beside two more joiners."""

    def __init__(self) -> None:
        super().__init__()
        self.gated = gated(Success("new"))
        self.others = [in_thread(lambda: self.cache.load_or_store("k", self.gated)) for _ in range(3)]
        self.gated.started()

    def act(self) -> object:
        threading.Timer(0.005, self.gated.let_go).start()
        return self.cache.load_or_store("k", never)

    def after(self) -> None:
        self.gated.let_go()
        for other in self.others:
            assert other.result(SECOND) == Success(lastcache.CachedValue("new"))


class Writer(Scene):
    """A caller who writes while another loads."""

    def __init__(self) -> None:
        super().__init__()
        self.gated = gated(Success("older"))
        self.leader = in_thread(lambda: self.cache.load_or_store("k", self.gated))
        self.gated.started()

    def act(self) -> object:
        self.cache.set("k", "set")
        self.cache.expire("k")
        self.cache.delete("k")
        self.cache.clear()
        return None

    def after(self) -> None:
        self.gated.let_go()
        self.leader.result(SECOND)


class Closer(TakeOver):
    """A caller who closes the cache while a load is queued."""

    def act(self) -> object:
        self.cache.close()
        return None

    def after(self) -> None:
        self.cache.close()
        self.stuck.let_go()
        assert self.hung is not None
        assert self.refresh is not None
        self.hung.result(SECOND)
        self.refresh.exception(SECOND)
        self.cache = small_cache(self.clock)


class Batch(Scene):
    """A caller who loads many keys at once."""

    def act(self) -> object:
        return self.cache.load_or_store_many(["a", "k", "b"], lambda keys: {key: Success("new") for key in keys})

    def after(self) -> None:
        for key in ("a", "b"):
            in_thread(partial(self.cache.load_or_store, key, gives(Success("again")))).result(SECOND)


class Options(Scene):
    """A cache with a bound, windows, remembered failures and a soft timeout, which are written to and asked."""

    def __init__(self) -> None:
        super().__init__()
        config = Config(
            global_ttl=ticks(100),
            stale_if_error=ticks(10_000),
            stale_while_revalidate=ticks(10_000),
            negative_ttl=ticks(50),
            soft_timeout=timedelta(milliseconds=50),
            max_entries=3,
        )
        self.cache = LastCache(config, clock=self.clock)
        for key in ("a", "b", "k"):
            self.cache.set(key, "old")
        self.clock.advance(ticks(101))

    def act(self) -> object:
        self.cache.set("c", "new")
        self.cache.load_or_store("d", gives(failed("down", use_stale=True)))
        return self.cache.load_or_store("k", gives(Success("new")))

    def after(self) -> None:
        """Whatever was broken off, the bound holds as soon as other keys have come."""
        for number in range(8):
            self.cache.set(f"other {number}", "v")
        assert kept_in(self.cache) == 3


SCENES: Final = [
    Leader,
    FailingLeader,
    RaisingLeader,
    Nested,
    StaleReader,
    TakeOver,
    LeaderWithRefresh,
    LeaderWithJoiners,
    Joiner,
    Writer,
    Closer,
    Batch,
    Options,
]
QUICK: Final = (Leader, StaleReader, Joiner)


def struck_at(scene: Scene, line: int, home: str) -> str:
    """Let ``scene`` be struck at its n-th line; say where that was, or nothing if it has fewer lines."""
    tracer = Striking(line, home)
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        scene.act()
    except Strike:
        pass
    finally:
        sys.settrace(before)
    return tracer.struck


def test_an_interrupted_call_leaves_no_trace_in_the_context() -> None:
    """A circle is found also after an interrupt, at whichever line, kept an inner call from saying that it is over."""

    def trial(at: int) -> str:
        cache, strike = small_cache(ManualClock()), Striking(at)

        def load(key: str) -> Outcome[str, str]:
            before = sys.gettrace()
            sys.settrace(strike)
            try:
                cache.load_or_store("inner", gives(Success("v")))
            except Strike:
                pass
            finally:
                sys.settrace(before)
            cache.load_or_store(key, never)
            return Success("not reached")

        with pytest.raises(ReentrantLoadError):
            in_thread(lambda: cache.load_or_store("k", load)).result(SECOND)
        return strike.struck

    trials = 1
    while trial(trials):
        trials += 1
    assert trials > 15


def test_an_abandoned_load_does_not_keep_the_early_one_away() -> None:
    """A reader who finds an early load due, and only the trace of one that an interrupt ended, has it begin."""
    state = CacheState[str, str, str, Load](Config(refresh_after=ticks(60)), lambda: 0.0)
    state.set(0, "k", "old", None)
    state.loads.traffic["k"] = Running(Flight(LoadNode(None)))
    step = state.decide(61_000, Strategy.STALE_IF_ERROR, "k", never, Flight(LoadNode(None)))
    assert (step, len(state.loads.queue)) == (given("old"), 1)


def hurt_by(scene: Callable[[], Scene], home: str = HOME) -> tuple[Counter[str], int]:
    """Play ``scene`` once for each of its lines, which is struck; count who was hurt, after which line."""
    hurt = Counter[str]()
    trials, where = 0, "the start"
    while where:
        played = scene()
        trials += 1
        where = struck_at(played, trials, home)
        try:
            played.after()
            in_thread(partial(played.cache.load_or_store, "k", gives(Success("again")))).result(SECOND)
        except BaseException as err:
            hurt[f"{type(err).__name__} after {where}"] += 1
        played.cache.close()
    return hurt, trials


@pytest.mark.parametrize(
    "scene",
    [pytest.param(scene, marks=() if scene in QUICK else pytest.mark.slow) for scene in SCENES],
    ids=lambda scene: scene.__name__,
)
def test_an_interrupt_at_every_line(scene: type[Scene]) -> None:
    """Wherever the interrupt strikes, what others wait for ends within a second, and the key loads again."""
    hurt, trials = hurt_by(scene)
    assert hurt == Counter()
    assert trials > 15


class Careless(Scene):
    """A caller of a lock that is not given back where an interrupt strikes between its lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def act(self) -> object:
        self.lock.acquire()
        answer = 1
        self.lock.release()
        return answer

    def after(self) -> None:
        if not self.lock.acquire(timeout=0.1):
            raise TimeoutError


def test_the_campaign_can_fail() -> None:
    """The campaign finds who is left waiting by code that minds no interrupts."""
    hurt, trials = hurt_by(Careless, __file__)
    assert trials > len(hurt) > 0


@pytest.mark.slow
def test_tasks_survive_an_interrupt_at_every_line() -> None:
    """In an event loop that is struck at any line of lastcache one task hears of it; the others and the key go on."""

    async def trial(strike: Striking) -> tuple[list[str], str]:
        cache: AsyncLastCache[str, str, str] = AsyncLastCache(clock=ManualClock(), observer=lambda _event: None)
        calls = [TaskCall[Answer[str, str]]() for _ in range(3)]

        async def load(_key: str) -> Outcome[str, str]:
            await anyio.lowlevel.checkpoint()
            return Success("v")

        async with anyio.create_task_group() as group:
            sys.settrace(strike)
            for call in calls:
                _ = group.start_soon(call.run, partial(cache.load_or_store, "k", load))
            await anyio.wait_all_tasks_blocked()
            sys.settrace(None)
        ends = [type(call.outcome.exception(0)).__name__ for call in calls]
        with anyio.fail_after(SECOND):
            return ends, (await cache.load_or_store("k", load)).unwrap().value

    strikes = []
    for at in range(1, 5000):
        strike = Striking(at)
        ends, value = anyio.run(trial, strike, backend="trio")
        assert (sorted(ends), value) in (
            (["NoneType", "NoneType", "Strike"], "v"),
            (["NoneType"] * 3, "v"),
        ), strike.struck
        strikes.append(strike.struck)
        if not strike.struck:
            break
    assert len(set(strikes)) > 60
