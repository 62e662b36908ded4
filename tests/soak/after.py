"""What must hold when the players have ended: nothing is left, every key loads, and no worker was lost."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, TypeVar

from returns.pipeline import is_successful
from returns.result import Success

from lastcache import LoadDroppedError
from lastcache.core.states import Outcome
from tests.kit import in_thread
from tests.soak.game import PATIENCE, Answer
from tests.soak.history import NEVER, Count, Err, Value
from tests.soak.setting import KEYS

if TYPE_CHECKING:
    from tests.soak.threads import ThreadGame

T = TypeVar("T")


def check_afterwards(game: "ThreadGame", players: Sequence["Future[None]"], until: float) -> None:
    """Wait for all, with a bound; then use the cache once more, and close it."""
    for gate in game.gates:
        gate.set()
    for player in players:
        try:
            player.result(max(0.0, until - time.monotonic()))
        except FutureTimeoutError:
            game.history.note("every call ends", f"these calls hang: {sorted(game.doing.values())}")
            game.over = True
            return
    game.over = True
    ended = _refreshes_ended(game)
    if not game.abrupt:
        if ended:
            _settled(game)
        in_thread_or_note(game, "a new load of each key", lambda: _load_each(game))
        in_thread_or_note(game, "a call of each key in the background", lambda: _refresh_each(game))
    game.close(game.cache)


def in_thread_or_note(game: "ThreadGame", what: str, act: Callable[[], T]) -> None:
    """Have a thread do this; note what it raises, or that it hangs."""
    try:
        in_thread(act).result(PATIENCE)
    except FutureTimeoutError:
        game.history.note("every key loads", f"{what} hangs")
    except BaseException as err:
        game.history.note("every key loads", f"{what} raised {err!r}")


def _refreshes_ended(game: "ThreadGame") -> bool:
    ends_at = time.monotonic() + PATIENCE
    waiting = [refresh for refresh in list(game.refreshes.values()) if refresh.ended == NEVER]
    while waiting and time.monotonic() < ends_at:
        time.sleep(0.002)
        waiting = [refresh for refresh in waiting if refresh.ended == NEVER]
    if waiting and not game.setting.twice:
        calls = [call for call in game.history.calls if call.refresh in waiting]
        game.history.note("every refresh ends", f"{len(waiting)} did not, such as that of {calls[0]}")
    return not waiting or game.setting.twice


def _settled(game: "ThreadGame") -> None:
    """Wait until nothing more is counted, then write the counts down."""
    ends_at, before = time.monotonic() + PATIENCE, None
    while time.monotonic() < ends_at:
        now = game.cache.stats(), len(game.history.events)
        if now == before and all(load.ended != NEVER for load in game.history.loads[-100:]) and _all_told(game):
            break
        before = now
        time.sleep(0.02)
    game.history.count = Count(game.cache.stats(), game.history.seq())


def _all_told(game: "ThreadGame") -> bool:
    """Say whether each load was counted; where callers are struck some never are."""
    stats = game.cache.stats()
    told = stats.loaded + stats.load_failed + stats.load_raised
    return game.setting.interrupted or told >= sum(load.ended != NEVER for load in game.history.loads.copy())


def _load_each(game: "ThreadGame") -> None:
    for key in KEYS:
        value = Value(game.history.numbers(), key, game.ttl)
        game.cache.delete(key)
        answer = game.cache.load_or_store(key, lambda _key, value=value: Success(value))  # type: ignore[misc]
        if not is_successful(answer) or answer.unwrap().value != value:
            game.history.note("every key loads", f"a load of {key!r} after a delete gave {answer}")


def _refresh_each(game: "ThreadGame") -> None:
    """Run as many loads in the background at once as may be; all of them must meet."""
    count = game.setting.slots()
    meeting = threading.Barrier(max(1, count))

    def meet(key: str) -> Outcome[Value, Err]:
        meeting.wait(PATIENCE / 2)
        return Success(Value(game.history.numbers(), key, game.ttl))

    refreshes = [_stale_refresh(game, key, meet) for key in KEYS[:count]]
    for refresh in refreshes:
        try:
            if refresh is not None:
                refresh.result(PATIENCE)
        except (threading.BrokenBarrierError, LoadDroppedError, FutureTimeoutError) as err:
            game.history.note("no worker is lost", f"{count} loads in the background did not run at once: {err!r}")
            return


def _stale_refresh(game: "ThreadGame", key: str, load: Callable[[str], Outcome[Value, Err]]) -> "Future[Answer] | None":
    game.cache.set(key, Value(game.history.numbers(), key, game.ttl))
    game.cache.expire(key)
    return game.cache.async_load_or_store(key, load).unwrap().refresh
