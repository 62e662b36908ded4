"""The calls of the cache for threads, as its doors make them: each drives a script to its end."""

from collections.abc import Iterable
from functools import partial
from typing import Final, TypeVar, cast, final

from returns.result import Result

from lastcache._shell.calls import drive
from lastcache._shell.demanding import Demand
from lastcache._shell.flight import Landing, Stale
from lastcache._shell.futures import Refresh, refresh_of
from lastcache._shell.thread_place import BatchCallback, Callback, ThreadJob, ThreadPlace
from lastcache.core.states import Answer, Strategy
from lastcache.records import CachedValue

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")

STALE_IF_ERROR: Final = Strategy.STALE_IF_ERROR


@final
class ThreadShell(ThreadPlace[K, V, E]):
    """The calls of the cache for threads."""

    __slots__ = ()

    def load(self, key: K, callback: Callback[K, V, E]) -> Answer[V, E]:
        """Answer a call that waits for its load."""
        if self.counts and (standing := self.standing(key)) is not None:
            return self.give(key, standing)
        if self.soft_timeout is None:
            return self.give(key, drive(self.ask, self, STALE_IF_ERROR, key, callback))
        return self.give(key, drive(self.wait_softly, self, Strategy.STALE_IF_SLOW, key, callback))

    def revalidate(
        self, key: K, callback: Callback[K, V, E]
    ) -> Result[CachedValue[V, E], E] | Stale[K, V, E, Callback[K, V, E]]:
        """Answer a call that takes a stale value ahead of its load."""
        if self.counts and (standing := self.standing(key)) is not None:
            return self.give(key, standing)
        step: Landing[V, E] | Stale[K, V, E, Callback[K, V, E]] = drive(
            self.ask, self, Strategy.STALE_WHILE_REVALIDATE, key, callback
        )
        if not isinstance(step, Stale):
            return self.give(key, step)
        self.reports.stale(key, step.cached)
        return step

    def load_demanding(self, max_stale: int, key: K, callback: Callback[K, V, E]) -> Answer[V, E]:
        """Answer a call that waits for its load, and takes nothing staler than ``max_stale`` nanoseconds."""
        strategy = STALE_IF_ERROR if self.soft_timeout is None else Strategy.STALE_IF_SLOW
        return self.give(key, drive(self.ask_demanding, self, Demand(strategy, max_stale), key, callback))

    def revalidate_demanding(
        self, max_stale: int, key: K, callback: Callback[K, V, E]
    ) -> Result[CachedValue[V, E], E] | Stale[K, V, E, Callback[K, V, E]]:
        """Answer a call that takes a stale value ahead of its load, if it is no staler than ``max_stale``."""
        demand = Demand(Strategy.STALE_WHILE_REVALIDATE, max_stale)
        step: Landing[V, E] | Stale[K, V, E, Callback[K, V, E]] = drive(self.ask_demanding, self, demand, key, callback)
        if not isinstance(step, Stale):
            return self.give(key, step)
        self.reports.stale(key, step.cached)
        return step

    def load_many_demanding(
        self, max_stale: int, keys: Iterable[K], callback: BatchCallback[K, V, E]
    ) -> dict[K, Answer[V, E]]:
        """Answer a call for many keys, each no staler than ``max_stale``."""
        return self.give_many(drive(self.ask_many_demanding, self, max_stale, keys, callback))

    def refresh_of(self, job: ThreadJob[K, V, E]) -> Refresh[V, E]:
        """Give the future that stale readers of ``job`` share."""
        known = cast("Refresh[V, E] | None", job.refresh)
        return self.read(partial(refresh_of, job)) if known is None else known

    def load_many(self, keys: Iterable[K], callback: BatchCallback[K, V, E]) -> dict[K, Answer[V, E]]:
        """Answer a call for many keys."""
        return self.give_many(drive(self.ask_many, self, Strategy.STALE_IF_ERROR, keys, callback))
