"""The rounds of interrupts: signals strike the main thread while it calls the cache, and other threads call it, too.

A handler raises only where the cache's own code runs, or where a callback pauses: what a round writes down about
itself stays whole. So every strike is one that the cache, or the callback, must stand.
"""

import itertools
import random
import signal
import time
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import FrameType
from typing import Final

import lastcache
from lastcache import Config
from tests.soak.history import History
from tests.soak.raised import Interrupt
from tests.soak.setting import KEYS, Setting, draw_config
from tests.soak.stores import draw_losing
from tests.soak.threads import ThreadGame

LIBRARY: Final = str(Path(lastcache.__file__).parent)

HERE: Final = str(Path(__file__).parent.parent)


def pause_that_may_be_struck(seconds: float) -> None:
    """Pause, as a callback does."""
    time.sleep(seconds)


class InterruptGame(ThreadGame):
    """One cache that the main thread uses under fire, and other threads beside it."""

    def __init__(self, setting: Setting, chance: random.Random) -> None:
        super().__init__(setting, chance)
        self.interval = chance.choice([0.001, 0.001, 0.005])
        self.players = chance.choice([1, 3, 6])
        self.often = chance.choice([0.0, 0.8, 0.8])
        self.armed = False
        self.strikes = itertools.count(1)

    def strike(self, _signal: int, frame: FrameType | None) -> None:
        """Raise, if it is the cache or a pause that was interrupted, and this call was not struck before."""
        while frame is not None and not frame.f_code.co_filename.startswith((LIBRARY, HERE)):
            frame = None if "weakref" in frame.f_code.co_filename else frame.f_back  # Python drops what those raise
        if frame is None or not self.armed:
            return
        if frame.f_code is pause_that_may_be_struck.__code__ or frame.f_code.co_filename.startswith(LIBRARY):
            self.armed = self.setting.twice
            raise Interrupt(f"strike {next(self.strikes)}")

    def pause(self, seconds: float) -> None:
        pause_that_may_be_struck(seconds)

    def lead(self, ends_at: float) -> None:
        """Call the cache in the main thread, under fire."""
        chance = random.Random(self.chance.random())
        before = signal.signal(signal.SIGALRM, self.strike)
        signal.setitimer(signal.ITIMER_REAL, self.interval, self.interval)
        try:
            while time.monotonic() < ends_at:
                self.armed = True
                with suppress(Interrupt):
                    self.act(chance)
                if chance.random() < self.often:
                    self.wait_softly(chance)
        finally:
            self.armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def wait_softly(self, chance: random.Random) -> None:
        """Let a key expire and ask for it, again and again: with a soft timeout that is a short wait for a worker."""
        self.clock.move()
        self.armed = True
        with suppress(Interrupt):
            self.do("load_or_store", chance.choice(KEYS), chance)


def draw_interrupted(chance: random.Random) -> Config:
    """Draw options; most callers wait softly and shortly, so that they begin and end to wait often."""
    soft = timedelta(milliseconds=chance.choice([0, 0, 0.3, 2]))
    config = draw_config(chance, soft=0.0)
    if chance.random() < 0.3:
        return config
    slots = chance.choice([1, 1, config.async_semaphore])
    return replace(config, soft_timeout=soft, async_semaphore=slots, refresh_after=None)


def play_interrupts(world: str, chance: random.Random, seconds: float, *, stored: bool = False) -> History:
    """Play a round of interrupts, in the main thread."""
    setting = Setting(
        draw_interrupted(chance),
        world,
        interrupted=True,
        twice=chance.random() < 0.2,
        own_ttls=chance.random() < 0.2,
        observed=chance.random() < 0.8,
        stored=stored,
        losing=draw_losing(chance, stored=stored),
    )
    return InterruptGame(setting, chance).play(seconds)
