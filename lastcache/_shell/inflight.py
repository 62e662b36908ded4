"""The whole state of one cache, or of its part in one event loop, and every change of it.

Here is what happens under the guard, and nothing else: no method waits, calls a callback, resolves a future or reads a
clock. What is to be told afterwards is put into ``outbox``. Each leaves the state whole after every line, so that an
interrupt finds nothing half done that ``abandon`` cannot mend.
"""

from collections.abc import Callable
from contextlib import suppress
from random import random
from typing import Final, Generic, TypeVar

from lastcache._shell.flight import Dropped, Flight, Job, Landing, Raised, Stale, Unchecked
from lastcache._shell.reentrancy import CURRENT_LOAD, LoadNode
from lastcache.config import Config
from lastcache.core.entries import Entries
from lastcache.core.explain import StoreWord
from lastcache.core.loads import Loads
from lastcache.core.policy import Policy, policy_of
from lastcache.core.states import (
    JOIN,
    LOAD,
    Answer,
    Decision,
    Entry,
    Join,
    Load,
    Outcome,
    Revalidate,
    Serve,
    ServeAndRefresh,
    Strategy,
)
from lastcache.core.traffic import Queued, is_attached
from lastcache.core.transitions import expire, fresh, lookup, outrun, settle
from lastcache.core.values import SUCCESS
from lastcache.errors import CacheClosedError

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")

CLOSED: Final = "the cache was closed"
INSIDE: Final = "it was asked for inside a change of the cache"
DELETED: Final = "its key was deleted"
CHANGED: Final = "the hash of its key has changed"
CROWDED: Final = "the queue of background loads was full, and newer ones came"


class CacheState(Generic[K, V, E, C]):
    """Entries and loads of one cache; ``beside`` another, of the same entries, with loads of its own.

    Where flights cannot be joined from everywhere, as those of an event loop cannot be from another, each place has a
    state of its own. A write outruns the flights of all places, and so does the first success to land: the others
    answer their callers as if they had joined it.
    ``timer`` gives seconds, by which soft timeouts are measured. ``draw`` draws for jitter, where there is any.
    ``enter`` puts the node of a load that is led into the context of its leader.
    ``outbox`` has jobs that have ended, to be told.
    """

    __slots__ = ("_draw", "_enter", "_max_queued", "_timer", "closed", "entries", "loads", "outbox", "places", "policy")

    def __init__(
        self,
        config: Config,
        timer: Callable[[], float],
        *,
        beside: "CacheState[K, V, E, C] | None" = None,
        draw: Callable[[], float] = random,
        enter: Callable[[LoadNode], object] = CURRENT_LOAD.set,
        watched: bool = False,
    ) -> None:
        self.policy: Policy = policy_of(config)
        self._max_queued = config.max_queued
        self._draw = draw if config.jitter else float  # which gives 0.0
        self._timer = timer
        self._enter = enter
        self.closed: bool = False
        self.loads: Loads[K, Flight[V, E], Job[K, V, E, C]] = Loads()
        self.entries: Entries[K, V, E] = (
            Entries(self.policy, config.max_entries, watched=watched) if beside is None else beside.entries
        )
        self.outbox: dict[Job[K, V, E, C], None] = {} if beside is None else beside.outbox
        self.places: list[Loads[K, Flight[V, E], Job[K, V, E, C]]] = [] if beside is None else beside.places
        self.places.append(self.loads)

    def check_open(self) -> None:
        """Raise ``CacheClosedError`` if the cache is closed."""
        if self.closed:
            raise CacheClosedError("the cache is closed")

    def store_word(self, key: K) -> StoreWord | None:  # noqa: ARG002  # of use where there is a store
        """Say what becomes of the store beside the cache in a call for ``key``; None where there is none."""
        return None

    def decide(
        self, now: int, strategy: Strategy, key: K, callback: C, flight: Flight[V, E]
    ) -> Answer[V, E] | Stale[K, V, E, C] | Flight[V, E] | Unchecked[V, E]:
        """Decide what a call has to do, and attach ``flight`` if it is to lead; a flight to join is another one.

        One that leads is the load of its context from here on.
        """
        if self.closed:
            self.check_open()
        entry = self.entries.read(key, now) if key in self.entries.stored else None
        found = self.loads.find(key) if key in self.loads.traffic else None
        decision = lookup(self.policy, strategy, entry, found, now)
        if decision is not LOAD and decision is not JOIN:
            given = self._give(decision, key, callback)
            if given is not None:
                return given
        flight.began_at = now
        led = self.loads.wait(key, flight)
        if led is flight:
            self._enter(flight.node)
        else:
            flight.began_at = None
        return led

    def stand_in(self, now: int, strategy: Strategy, key: K, callback: C) -> Answer[V, E] | Stale[K, V, E, C] | None:
        """Give the answer of a call that need not wait, and leave the load behind it; None where it must wait."""
        if self.closed:
            self.check_open()
        return self._give(lookup(self.policy, strategy, self.entries.read(key, now), None, now), key, callback)

    def _give(self, decision: Decision[V, E], key: K, callback: C) -> Answer[V, E] | Stale[K, V, E, C] | None:
        match decision:
            case Revalidate(cached):
                job = self.loads.leave(key, lambda: Job(key, callback, self._timer()))
                self._drop_oldest()
                return Stale(cached, job)
            case Serve(answer):
                return answer
            case ServeAndRefresh(answer):
                self.loads.refresh(key, lambda: Job(key, callback, self._timer()))
                self._drop_oldest()
                return answer
            case Load() | Join():
                return None

    def _drop_oldest(self) -> None:
        if self._max_queued is None:
            return
        while len(self.loads.queue) > self._max_queued:
            job = self.loads.oldest()
            if job is not None:
                self.drop(job, CROWDED)

    def without_load(
        self, now: int, strategy: Strategy, key: K, callback: C
    ) -> Answer[V, E] | Stale[K, V, E, C] | None:
        """Give what a call can be given now that may neither wait nor leave a load, if anything; nothing changes."""
        self.check_open()
        match lookup(self.policy, strategy, self.entries.get(key), None, now):
            case Serve(answer) | ServeAndRefresh(answer):
                return answer
            case Revalidate(cached):
                job: Job[K, V, E, C] = Job(key, callback, self._timer())
                job.landing = Dropped(INSIDE)
                return Stale(cached, job)
            case Load() | Join():
                return None

    def start_next(self, now: int, flight: Flight[V, E]) -> Job[K, V, E, C] | None:
        """Let ``flight`` lead the job that has waited longest and is still needed, and give that job."""
        while (job := self.loads.oldest()) is not None:
            if self.start(now, job, flight):
                return job
        return None

    def start(self, now: int, job: Job[K, V, E, C], flight: Flight[V, E]) -> bool:
        """Let ``flight`` lead ``job``, if it still waits for that and is needed; say whether it does."""
        if job not in self.loads.queue:
            return False
        try:
            return self._start(now, job, flight)
        except Exception as err:
            # The key's own error: it must not keep the others waiting.
            self.end(job, Raised(err, err.__traceback__))
            return False

    def _start(self, now: int, job: Job[K, V, E, C], flight: Flight[V, E]) -> bool:
        if job.over:  # An interrupt left it there.
            self.end_queued(job)
            return False
        answer = self._needless(now, job.key)
        if answer is not None:
            self.finish(job, answer)
            self.loads.withdraw(job, job.key)
            return False
        flight.began_at, flight.carries = now, job
        if self.loads.start(job, job.key, flight):
            return True
        flight.began_at = flight.carries = None
        self.finish(job, Dropped(CHANGED))
        return False

    def _needless(self, now: int, key: K) -> Answer[V, E] | None:
        """Give the answer that makes a load in the background needless, if there is one."""
        decision = lookup(self.policy, Strategy.STALE_IF_ERROR, self.entries.get(key), None, now)
        return decision.answer if isinstance(decision, Serve) else None

    def land(self, now: int, key: K, flight: Flight[V, E], outcome: Outcome[V, E], ttl: int | None) -> Landing[V, E]:
        """Settle ``outcome`` where ``flight`` is attached, and end it; an outrun flight stores nothing."""
        flight.landed_at = now
        entry = self.entries.get(key) if key in self.entries.stored else None
        running = self.loads.traffic.get(key)
        if not is_attached(running, flight):
            answer = outrun(entry, outcome, now)
            flight.outcome = outcome
            self._end(key, flight, answer)
            return answer
        answer, settled = settle(self.policy, entry, outcome, now, ttl=ttl, draw=self._draw())
        flight.replaced = self.entries.drop(key) if settled is None else self.entries.put(key, settled, now)
        if running is not None and running.job is not None:
            self._finish_carried(flight, running.job, answer)
        del self.loads.traffic[key]
        if self.loads.kept or self.loads.forgotten:  # What an interrupt left there.
            self.loads.land(key, flight)
        flight.outcome = outcome
        flight.landing = answer
        if len(self.places) > 1 and type(outcome) is SUCCESS:
            flight.replaced = flight.replaced, self._outrun(key)
        return answer

    def crash(self, now: int, key: K, flight: Flight[V, E], raised: Raised) -> None:
        """End ``flight``, whose callback raised: nothing else changes."""
        flight.landed_at = now
        flight.outcome = raised
        self._end(key, flight, raised)

    def _end(self, key: K, flight: Flight[V, E], landing: Landing[V, E]) -> None:
        job = self.loads.carried(key, flight)
        if job is not None:
            self._finish_carried(flight, job, landing)
        self.loads.land(key, flight)
        flight.landing = landing

    def _finish_carried(self, flight: Flight[V, E], job: Job[K, V, E, C], landing: Landing[V, E] | Dropped) -> None:
        """Write down how ``job`` ended; its leader tells who waits for it, where it runs in the background."""
        if flight.carries is not job:
            self.finish(job, landing)
        elif job.landing is None:
            job.landing, flight.tells = landing, job

    def needs_cleanup(self, flight: Flight[V, E]) -> bool:
        """Say whether ``flight`` was abandoned, is waited for by tasks, or has left anything to be told or started."""
        abandoned = flight.landing is None and flight.began_at is not None
        return abandoned or flight.event is not None or bool(self.outbox) or bool(self.loads.queue)

    def abandon(self, key: K, flight: Flight[V, E]) -> None:
        """End ``flight``, whose leader was interrupted; its job is left to the key's next load, which may be there."""
        rival, job = self.loads.rival(key, flight), self.loads.carried(key, flight)
        if job is not None and flight in self.loads.forgotten:
            self.finish(job, Dropped(DELETED))
        elif rival is not None and job is not None and not job.over:
            self._join(job, rival)
        self.loads.abandon(key, flight)
        self._drop_oldest()
        if self.closed:
            self.strand(CLOSED)

    def _join(self, job: Job[K, V, E, C], rival: Job[K, V, E, C]) -> None:
        """Have who waits for ``job`` told how ``rival`` ends."""
        if rival.landing is not None:
            self.finish(job, rival.landing)
        elif job not in rival.absorbed:
            rival.absorbed.append(job)

    def fail(self, key: K, flight: Flight[V, E], landing: Raised | Dropped) -> None:
        """End ``flight``, whose load in the background was interrupted, and tell who waits for it; no load follows."""
        job: Job[K, V, E, C] | None = flight.carries or self.loads.carried(key, flight)
        if job is not None:
            self._finish_carried(flight, job, landing)
        with suppress(BaseException):  # The key's own error: whoever comes next puts the flight out of the way.
            self.loads.land(key, flight)

    def drop(self, job: Job[K, V, E, C], why: str) -> None:
        """Drop a job that has not begun."""
        self.end(job, Dropped(why))

    def end(self, job: Job[K, V, E, C], landing: Raised | Dropped) -> None:
        """End a job that has not begun; not so if somebody has taken it over meanwhile."""
        if job not in self.loads.queue:
            return
        self.finish(job, landing)
        self.end_queued(job)

    def end_queued(self, job: Job[K, V, E, C]) -> None:
        """Take a job that was told out of the queue."""
        with suppress(Exception):  # The key's own error: who waits was told all the same.
            self.loads.withdraw(job, job.key)
        self.loads.queue.pop(job, None)

    def end_oldest(self, landing: Raised) -> None:
        """End the job that has waited longest: what should have started it raised."""
        job = self.loads.oldest()
        if job is not None:
            self.end(job, landing)

    def strand(self, why: str) -> None:
        """Drop everything that is queued: nobody is left to run it."""
        for job in list(self.loads.queue):
            self.drop(job, why)

    def finish(self, job: Job[K, V, E, C], landing: Landing[V, E] | Dropped) -> None:
        """Write down how ``job`` ended, and have it told; it ends once."""
        if job.landing is None:
            job.landing, self.outbox[job] = landing, None

    def set(self, now: int, key: K, value: V, ttl: int | None) -> object:
        """Store ``value``; a load that had begun is outrun."""
        if self.closed:
            return None
        entry = fresh(self.policy, value, now, ttl=ttl, draw=self._draw())
        return self._outrun(key), self.entries.put(key, entry, now)

    def expire(self, now: int, key: K) -> object:
        """End the answer that stands for ``key``; a load that had begun is outrun."""
        if self.closed:
            return None
        entry = self.entries.get(key)
        return self._outrun(key), None if entry is None else self._store(key, expire(entry, now), now)

    def delete(self, key: K) -> object:
        """Forget ``key``, and what is queued for it; a load that had begun is outrun."""
        if self.closed:
            return None
        for loads in self.places:
            found = loads.find(key)
            if isinstance(found, Queued):
                self.finish(found.job, Dropped(DELETED))
        return [loads.forget(key) for loads in self.places], self.entries.drop(key)

    def clear(self) -> object:
        """Forget every key, and all that is queued; every load that had begun is outrun."""
        return self._forget_all(DELETED)

    def shut(self) -> object:
        """Close: forget everything, and drop all that is queued."""
        self.closed = True
        return self._forget_all(CLOSED)

    def _forget_all(self, why: str) -> object:
        for loads in self.places:
            for job in list(loads.queue):
                self.finish(job, Dropped(why))
            loads.clear()
        return self.entries.clear()

    def leave(self, why: str) -> None:
        """End this place: forget its loads, and tell who waits for them; the entries stay with the others."""
        for job in self.loads.unfinished():
            self.finish(job, Dropped(why))
        self.loads.clear()
        self.loads.forgotten.clear()
        self.places[:] = [loads for loads in self.places if loads is not self.loads]

    def reset_after_fork(self, why: str) -> None:
        """Forget every load, as the child of a fork must: nobody is left to run it."""
        self.leave(why)
        self.places.append(self.loads)

    def _store(self, key: K, entry: Entry[V, E] | None, now: int) -> object:
        return self.entries.drop(key) if entry is None else self.entries.put(key, entry, now)

    def _outrun(self, key: K) -> object:
        return [loads.outrun(key) for loads in self.places]
