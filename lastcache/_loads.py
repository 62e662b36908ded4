"""The flights of one cache, in threads: who leads, who joins, and what runs in the background.

It decides under the guard and acts after it: no callback, and nobody who waits for a ``refresh``, runs inside.
A flight is led inside ``with flight.latch``, which frees its joiners however the leader ends. What a leader leaves
behind is put in order by ``_tidy``, which may be called any number of times, by whoever finds it.
"""

from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from typing import Generic, ParamSpec, TypeAlias, TypeVar, final

from lastcache._background import Background, Worker, dropped, resolve_elsewhere, start_thread
from lastcache._circles import Asking, waiting
from lastcache._flight import ASKER, Answered, Flight, Landing, Queued, Raised, Returned, Stale, attempt, resolve
from lastcache._forks import renew_in_children
from lastcache._guard import Guard
from lastcache._outcomes import forget_frames
from lastcache._table import Landed, Table
from lastcache.config import Config, policy_of
from lastcache.errors import CacheClosedError
from lastcache.transitions import (
    Join,
    Load,
    Outcome,
    Revalidate,
    Serve,
    Strategy,
    Traffic,
    kept_error,
    lookup,
    settle,
)

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
P = ParamSpec("P")
T = TypeVar("T")

Callback: TypeAlias = Callable[[K], Outcome[V, E]]


@final
class Loads(Generic[K, V, E]):
    """The table of one cache behind its guard, with the flights and the background loads."""

    __slots__ = ("__weakref__", "_background", "_clock", "_guard", "_workers", "closed", "table")

    def __init__(self, config: Config, clock: Callable[[], int]) -> None:
        self._workers = config.async_semaphore
        self._clock = clock
        self._guard = Guard()
        self._background: Background[K, V, E] = Background(self._workers)
        self.table: Table[K, V, E, Queued[K, V, E] | Flight[K, V, E]] = Table(policy_of(config))
        self.closed = False
        renew_in_children(self)

    def renew(self) -> None:
        """Begin with a free lock, no flight and no worker, as the child of a fork must; the entries stay."""
        flights = tuple(self.table.flights.values())
        stranded = {*self._background.drain(), *(behind for flight in flights if (behind := _behind(flight)))}
        self._guard = Guard()
        self._background = Background(self._workers)
        self.table.flights.clear()
        _drop(stranded, "the process forked")

    def check_open(self) -> None:
        """Raise ``CacheClosedError`` if the cache is closed."""
        if self.closed:
            raise CacheClosedError("the cache is closed")

    def read(self, look: Callable[[], T]) -> T:
        """Give what ``look`` sees of the table between two changes, or, where the guard is held, inside this one."""
        return look() if self._guard.held() else self._guard.run(look)

    def write(self, change: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Make a change of the table. Raises ``CacheClosedError``."""
        self.check_open()
        self._guard.write(change, *args, **kwargs)

    def close(self) -> None:
        """Detach every flight, drop what is queued, and forget the entries; nothing is waited for."""
        if self._guard.held():
            self._guard.write(lambda: _drop(self._shut()[0], "the cache was closed"))
        else:
            _drop(self._guard.run(self._shut)[0], "the cache was closed")

    def ask(self, strategy: Strategy, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call for which no answer stood on the hit path."""
        if self._guard.held():
            return self._ask_inside(strategy, key, callback)
        asker = ASKER.get()
        while True:
            flight: Flight[K, V, E] = Flight()
            with flight.latch: step = self._board(strategy, key, callback, flight, asker)  # noqa: E701  # fmt: skip
            if not isinstance(step, Flight):
                return step
            with waiting(asker, step):
                step.wait()
            if step.landing is not None:
                return step.landing
            self._tidy(key, step)

    def _ask_inside(self, strategy: Strategy, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call from inside a change: without a flight, and without storing anything."""
        self.check_open()
        entry = self.table.entries.get(key)
        match lookup(strategy, entry, Traffic.NONE, self._clock()):
            case Serve(answer):
                return Answered(answer)
            case Revalidate(cached):
                behind = Queued(key, callback, copy_context())
                resolve(behind.refresh, dropped("it was asked for inside a change of the cache"))
                return Stale(cached, behind.refresh)
            case Load() | Join():
                attempted = attempt(callback, key, self._clock)
                if isinstance(attempted, Raised):
                    return attempted
                return Answered(settle(self.table.policy, entry, attempted.outcome, attempted.now).answer)

    def _board(
        self, strategy: Strategy, key: K, callback: Callback[K, V, E], flight: Flight[K, V, E], asker: Asking | None
    ) -> Landing[V, E] | Stale[V, E] | Flight[K, V, E]:
        """Decide, and lead ``flight`` where that is the decision; give the flight to join where there is one."""
        try:
            try:
                step = self._guard.run(self._decide, strategy, key, callback, flight, self._clock())
                if step is flight:
                    with waiting(asker, flight):
                        return self._fly(key, callback, flight)
                self._staff()
                return step
            finally:
                self._tidy(key, flight)
        finally:
            # An interrupt may have struck inside the first.
            self._tidy(key, flight)

    def _fly(self, key: K, callback: Callback[K, V, E], flight: Flight[K, V, E]) -> Landing[V, E]:
        """Run ``callback`` and land its outcome."""
        token = ASKER.set(flight)
        try:
            attempted = attempt(callback, key, self._clock)
        finally:
            ASKER.reset(token)
        if isinstance(attempted, Raised):
            self._guard.run(self._crash, key, flight, attempted)
            return attempted
        landed = self._guard.run(self._land, key, flight, attempted)
        kept = kept_error(landed.transition.entry)
        forget_frames(kept)
        return Answered(landed.transition.answer)

    def _tidy(self, key: K, flight: Flight[K, V, E]) -> None:
        """Put in order what the leader of ``flight`` left: done already where it landed and nobody waits behind it."""
        if not flight.untidy:
            return
        if flight.landing is None:
            self._guard.run(self._abandon, key, flight)
            if self.closed:
                self.close()
            self._staff()
        elif flight.behind is not None:
            resolve_elsewhere([flight.behind.refresh], flight.landing)
        flight.untidy = False

    def _staff(self) -> None:
        """Start a worker if the queue wants one. Where none can be had, what nobody will run is dropped."""
        if not self._background:
            return
        worker = Worker()
        try:
            if self._guard.run(self._background.hire, worker):
                start_thread(partial(self._work, worker), "lastcache-refresh")
        except Exception as refused:
            self._guard.run(self._background.dismiss, worker)
            _drop(self._guard.run(self._strand), str(refused))
        except BaseException:
            self._guard.run(self._background.dismiss, worker)
            self._staff()
            raise

    def _work(self, worker: Worker) -> None:
        """Run queued loads until none is left."""
        try:
            while (queued := self._guard.run(self._background.next, worker)) is not None:
                self._refresh(queued)
        finally:
            self._guard.run(self._background.dismiss, worker)
            self._staff()

    def _refresh(self, queued: Queued[K, V, E]) -> None:
        """Run one background load, and tell who waits for it how it ended, whatever was raised."""
        flight: Flight[K, V, E] = Flight()
        try:
            with flight.latch: landing = self._fly_behind(queued, flight)  # noqa: E701  # fmt: skip
        except BaseException as struck:
            landing = Raised(struck, struck.__traceback__)
        resolve(queued.refresh, landing)

    def _fly_behind(self, queued: Queued[K, V, E], flight: Flight[K, V, E]) -> Landing[V, E]:
        try:
            standing = self._guard.run(self._take_off_behind, queued, flight, self._clock())
            if standing is not None:
                return standing
            return queued.context.run(self._fly, queued.key, queued.callback, flight)
        finally:
            flight.behind = None
            self._tidy(queued.key, flight)

    # What follows is called under the guard.

    def _decide(
        self, strategy: Strategy, key: K, callback: Callback[K, V, E], flight: Flight[K, V, E], now: int
    ) -> Landing[V, E] | Stale[V, E] | Flight[K, V, E]:
        self.check_open()
        found = self.table.flights.get(key)
        match self.table.decide(strategy, key, now):
            case Serve(answer):
                return Answered(answer)
            case Revalidate(cached):
                return Stale(cached, self._share(key, callback, found).refresh)
            case Join() if isinstance(found, Flight):
                return found
            case Load() | Join():
                flight.behind = _behind(found)
                flight.untidy = True
                self.table.flights[key] = flight
                if flight.behind is not None:
                    self._background.remove(flight.behind)
                return flight

    def _share(
        self, key: K, callback: Callback[K, V, E], found: Queued[K, V, E] | Flight[K, V, E] | None
    ) -> Queued[K, V, E]:
        """Give the background load of ``key``; there is one from now on, queued or stood in for by a flight."""
        behind = _behind(found) or Queued(key, callback, copy_context())
        if isinstance(found, Flight) and not found.over:
            found.behind = behind
        else:
            self._background.add(behind)
            self.table.flights[key] = behind
        return behind

    def _take_off_behind(self, queued: Queued[K, V, E], flight: Flight[K, V, E], now: int) -> Landing[V, E] | None:
        """Let ``flight`` stand in for ``queued``, unless an answer stands by now."""
        match lookup(Strategy.STALE_IF_ERROR, self.table.entries.get(queued.key), Traffic.NONE, now):
            case Serve(answer):
                self.table.detach(queued.key, queued)
                return Answered(answer)
            case Revalidate() | Load() | Join():
                flight.behind = queued
                flight.untidy = True
                self.table.replace(queued.key, queued, flight)
                return None

    def _land(self, key: K, flight: Flight[K, V, E], returned: Returned[V, E]) -> Landed[V, E]:
        landed = self.table.land(key, flight, returned.outcome, returned.now)
        flight.landing = Answered(landed.transition.answer)
        return landed

    def _crash(self, key: K, flight: Flight[K, V, E], raised: Raised) -> None:
        flight.landing = raised
        self.table.detach(key, flight)

    def _abandon(self, key: K, flight: Flight[K, V, E]) -> None:
        """Put ``flight`` out of the way; the background load that it stood in for is queued again."""
        if flight.behind is None:
            self.table.detach(key, flight)
            return
        self.table.replace(key, flight, flight.behind)
        self._background.add(flight.behind)
        flight.behind = None

    def _strand(self) -> list[Queued[K, V, E]]:
        stranded = self._background.strand()
        for queued in stranded:
            self.table.detach(queued.key, queued)
        return stranded

    def _shut(self) -> tuple[list[Queued[K, V, E]], object]:
        self.closed = True
        queued = self._background.drain()
        for waiting_one in queued:
            self.table.detach(waiting_one.key, waiting_one)
        return queued, self.table.clear()


def _behind(flight: Queued[K, V, E] | Flight[K, V, E] | None) -> Queued[K, V, E] | None:
    """Give the background load that ``flight`` is, or stands in for."""
    return flight.behind if isinstance(flight, Flight) else flight


def _drop(queued: Iterable[Queued[K, V, E]], why: str) -> None:
    resolve_elsewhere([dropped_one.refresh for dropped_one in queued], dropped(why))
