"""The whole state of one cache, or of its part in one event loop, and every change of it.

Here is what happens under the guard, and nothing else: no method waits, calls a callback or resolves a future.
Each leaves the state whole after every line, so that an interrupt finds nothing half done that ``abandon`` cannot mend.
"""

from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from time import monotonic
from typing import Final, Generic, ParamSpec, TypeVar, final

from lastcache._shell.background import Background
from lastcache._shell.flight import (
    Answered,
    Attached,
    Flight,
    Landing,
    Queued,
    Raised,
    Refresh,
    Returned,
    Stale,
    dropped,
    new_refresh,
    resolve,
)
from lastcache._shell.weakbag import WeakBag
from lastcache.config import Config
from lastcache.core.policy import policy_of
from lastcache.core.states import Join, Load, Revalidate, Serve, ServeAndRefresh, Strategy, Traffic
from lastcache.core.table import Landed, Table
from lastcache.core.transitions import lookup
from lastcache.errors import CacheClosedError

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")
P = ParamSpec("P")

CLOSED: Final = "the cache was closed"
INSIDE: Final = "it was asked for inside a change of the cache"


@final
class State(Generic[K, V, E, C]):
    """Entries, flights and queued loads of one cache; ``beside`` another, with flights and a queue of its own."""

    __slots__ = ("_unfinished", "background", "closed", "table")

    def __init__(self, config: Config, *, beside: "State[K, V, E, C] | None" = None) -> None:
        shared = None if beside is None else beside.table
        self.table: Table[K, V, E, Attached[K, V, E, C]] = Table(
            policy_of(config), max_entries=config.max_entries, beside=shared
        )
        self.background: Background[K, V, E, C] = Background(config.async_semaphore)
        self.closed = False
        self._unfinished = WeakBag[Queued[K, V, E, C]]()

    def check_open(self) -> None:
        """Raise ``CacheClosedError`` if the cache is closed."""
        if self.closed:
            raise CacheClosedError("the cache is closed")

    def change(self, change: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> object:
        """Make a change of the table, and give what it let go of; one that ``close`` overtook is void."""
        return None if self.closed else change(*args, **kwargs)

    def at_hand(self, strategy: Strategy, key: K, now: int) -> Answered[V, E] | Stale[V, E] | None:
        """Give what a call that may not wait for anybody can be given without a load, if anything."""
        self.check_open()
        match lookup(self.table.policy, strategy, self.table.stock.get(key), Traffic.NONE, now):
            case Serve(answer) | ServeAndRefresh(answer):
                return Answered(answer)
            case Revalidate(cached):
                refresh: Refresh[V, E] = new_refresh()
                resolve(refresh, dropped(INSIDE))
                return Stale(cached, refresh, monotonic())
            case Load() | Join():
                return None

    def decide(
        self, strategy: Strategy, key: K, callback: C, flight: Flight[K, V, E, C], now: int
    ) -> Landing[V, E] | Stale[V, E] | Flight[K, V, E, C]:
        """Decide what a call has to do, and attach ``flight`` if it is to lead; a flight to join is another one."""
        self.check_open()
        found = self.table.flights.get(key)
        match self.table.decide(strategy, key, now):
            case Serve(answer):
                return Answered(answer)
            case ServeAndRefresh(answer):
                self._share_early(key, callback, found)
                return Answered(answer)
            case Revalidate(cached):
                behind = self._share(key, callback, found)
                return Stale(cached, behind.refresh, behind.since)
            case Join() if isinstance(found, Flight):
                return found
            case Load() | Join():
                self._take_off(key, flight, found)
                flight.began_at = now
                return flight

    def _take_off(self, key: K, flight: Flight[K, V, E, C], found: Attached[K, V, E, C] | None) -> None:
        """Attach ``flight``; it stands in for the background load that it finds, queued or abandoned."""
        flight.untidy = True
        if found is None:
            self.table.flights[key] = flight
            return
        flight.behind = _behind(found)
        self.table.flights[key] = flight
        if isinstance(found, Flight):
            found.behind = None
        if flight.behind is not None:
            flight.behind.taken = True
            self.background.remove(flight.behind)

    def _share(self, key: K, callback: C, found: Attached[K, V, E, C] | None) -> Queued[K, V, E, C]:
        """Give the background load of ``key``; there is one from now on."""
        behind = _behind(found) or self._left(key, callback)
        self._put_behind(key, behind, found)
        return behind

    def _left(self, key: K, callback: C) -> Queued[K, V, E, C]:
        queued: Queued[K, V, E, C] = Queued(key, callback, copy_context())
        self._unfinished.add(queued)
        return queued

    def _share_early(self, key: K, callback: C, found: Attached[K, V, E, C] | None) -> None:
        """See to it that an early load of ``key`` is under way; nobody waits for it."""
        if found is None or found.traffic is Traffic.NONE:
            self._share(key, callback, found)

    def _put_behind(self, key: K, behind: Queued[K, V, E, C], found: Attached[K, V, E, C] | None) -> None:
        """Let the flight that runs stand in for ``behind``, or else queue it."""
        if isinstance(found, Flight) and not found.over:
            behind.taken = True
            found.behind = behind
            return
        self.table.flights[key] = behind
        if found is not behind:
            behind.taken = False
        if not behind.taken:
            self.background.add(behind)
        if isinstance(found, Flight):
            found.behind = None

    def start(
        self, queued: Queued[K, V, E, C], flight: Flight[K, V, E, C], now: int
    ) -> Landing[V, E] | Flight[K, V, E, C] | None:
        """Let ``flight`` stand in for ``queued``, and give it: unless an answer stands by now, or the cache was closed.

        There is nothing to do where another took the load over meanwhile.
        """
        if queued.taken:
            return None
        queued.taken = True
        if self.closed:
            return dropped(CLOSED)
        match lookup(self.table.policy, Strategy.STALE_IF_ERROR, self.table.stock.get(queued.key), Traffic.NONE, now):
            case Serve(answer):
                self.table.detach(queued.key, queued)
                return Answered(answer)
            case ServeAndRefresh() | Revalidate() | Load() | Join():
                flight.behind = queued
                flight.began_at = now
                flight.untidy = True
                self.table.replace(queued.key, queued, flight)
                return flight

    def land(self, key: K, flight: Flight[K, V, E, C], returned: Returned[V, E]) -> tuple[Answered[V, E], Landed[V, E]]:
        """Land what the callback returned."""
        landed = self.table.land(key, flight, returned.outcome, returned.now, ttl=returned.ttl, draw=returned.draw)
        flight.landing = landing = Answered(landed.transition.answer)
        return landing, landed

    def crash(self, key: K, flight: Flight[K, V, E, C], raised: Raised) -> None:
        """Land what the callback raised: nothing changes but that the flight is gone."""
        flight.landing = raised
        self.table.detach(key, flight)

    def abandon(self, key: K, flight: Flight[K, V, E, C]) -> None:
        """Put ``flight`` out of the way; the background load that it stood in for is left to the key's next load.

        That is the load that is there by now, or else a queued one.
        """
        self.table.detach(key, flight)
        behind, found = flight.behind, self.table.flights.get(key)
        if behind is None:
            return
        other = _behind(found)
        if other is None:
            self._put_behind(key, behind, found)
        elif other is not behind:
            other.refreshes += behind.refreshes
        flight.behind = None

    def strand(self) -> list[Queued[K, V, E, C]]:
        """Give the queued loads if nobody is left to run them."""
        stranded = self.background.strand()
        for queued in stranded:
            # A key that cannot be looked up any more must not keep the others from being told.
            with suppress(Exception):
                self.table.detach(queued.key, queued)
        return stranded

    def shut(self) -> tuple[list[Queued[K, V, E, C]], object]:
        """Close: detach every flight, forget the entries, and give what is queued, beside all that was let go of."""
        self.closed = True
        return self.background.waiting(), self.table.empty()

    def renew(self) -> list[Queued[K, V, E, C]]:
        """Forget every flight and every worker, as the child of a fork must; give the loads that nobody will run."""
        unfinished = self._unfinished.all()
        self.background = Background(self.background.limit)
        self.table.flights.clear()
        return unfinished


def _behind(flight: Attached[K, V, E, C] | None) -> Queued[K, V, E, C] | None:
    """Give the background load that ``flight`` is, or stands in for."""
    return flight.behind if isinstance(flight, Flight) else flight
