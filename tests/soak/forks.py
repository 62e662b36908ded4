"""The rounds of forks: the process forks while its threads are busy, and each child uses the cache in new threads."""

import os
import random
import select
import signal
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Final

from returns.result import Success

from lastcache.core.states import Outcome
from tests.kit import in_thread
from tests.soak.game import Answer
from tests.soak.history import Err, History, Seen, Value, seen
from tests.soak.setting import KEYS, Setting, draw_config
from tests.soak.threads import ThreadGame

CHILD_PATIENCE: Final = 20.0

CLEAN: Final = 17
"""The status of a child that found all as it should be; chance would not give it."""


class BrokenInChildError(AssertionError):
    """Something did not hold in a child."""


class ForkGame(ThreadGame):
    """One cache that busy threads use, and a main thread that forks."""

    def __init__(self, setting: Setting, chance: random.Random) -> None:
        super().__init__(setting, chance)
        self.abrupt = False

    def lead(self, ends_at: float) -> None:
        """Fork, again and again, and hear what each child found."""
        while time.monotonic() < ends_at:
            reading, writing = os.pipe()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                self.be_a_child(writing)
            os.close(writing)
            self.hear(child, reading)

    def hear(self, child: int, reading: int) -> None:
        """Wait for a child, with a bound; note what it found."""
        ready, _, _ = select.select([reading], [], [], CHILD_PATIENCE)
        found = os.read(reading, 4000).decode() if ready else "it hangs"
        os.close(reading)
        if not ready:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if found or os.waitstatus_to_exitcode(status) != CLEAN:
            self.history.note("a child of a fork can go on", found or f"it ended with {status}")

    def be_a_child(self, writing: int) -> None:
        """Use the cache in new threads, say what did not hold, and end."""
        signal.alarm(0)
        status = 1
        try:
            found = in_child(self)
            os.write(writing, found.encode()[:3000])
            status = CLEAN
        finally:
            os._exit(status)


def in_child(game: ForkGame) -> str:
    """Do in new threads what a user would do, and say what went wrong; nothing where all went well."""
    users = [in_thread(partial(use_in_child, game, key)) for key in KEYS]
    for user in users:
        try:
            user.result(CHILD_PATIENCE / 2)
        except BaseException as err:
            return f"{type(err).__name__}: {err}"
    return ""


def use_in_child(game: ForkGame, key: str) -> None:
    """Write, read, load and refresh one key, which nobody else in this process uses."""
    cache, config = game.cache, game.setting.config
    value = Value(game.history.numbers(), key, 10**15)
    cache.set(key, value, ttl=game.ttl_of(value))
    if config.max_entries is None:
        expect(f"peek({key!r}) after a set", seen_of(game, key), Seen(value))
        answer = cache.load_or_store(key, partial(fail_in_child, key))
        expect(f"load_or_store({key!r}) after a set", seen(answer), Seen(value))
    cache.delete(key)
    loaded = Value(game.history.numbers(), key, 10**15)
    expect("a load after a delete", seen(cache.load_or_store(key, load_in_child(loaded))), Seen(loaded))
    if config.max_entries is None:
        expect(f"peek({key!r}) after a load", seen_of(game, key).value, loaded)
        refresh_in_child(game, key)


def refresh_in_child(game: ForkGame, key: str) -> None:
    """Have a load run in the background, and wait for it."""
    game.cache.expire(key)
    renewed = Value(game.history.numbers(), key, 10**15)
    given = game.cache.async_load_or_store(key, load_in_child(renewed)).unwrap()
    if given.refresh is None:
        expect("a load of an expired key", given.cached.value, renewed)
        return
    if game.setting.max_queued is None:
        answer: Answer = given.refresh.result(CHILD_PATIENCE / 2)
        expect("a refresh", seen(answer), Seen(renewed))


def seen_of(game: ForkGame, key: str) -> Seen:
    found = game.cache.peek(key)
    return Seen(None) if found.value_or(None) is None else seen(Success(found.unwrap()))


def load_in_child(value: Value) -> Callable[[str], Outcome[Value, Err]]:
    return lambda _key: Success(value)


def fail_in_child(key: str, _key: str) -> Outcome[Value, Err]:
    raise BrokenInChildError(f"{key!r} was loaded though it had been set, in thread {threading.get_ident()}")


def expect(what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise BrokenInChildError(f"{what}: {found} in place of {wanted}")


def play_forks(world: str, chance: random.Random, seconds: float) -> History:
    """Play a round of forks."""
    return ForkGame(Setting(draw_config(chance), world, own_ttls=False, observed=chance.random() < 0.8), chance).play(
        seconds
    )
