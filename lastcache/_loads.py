"""The loads of one cache, in threads: who leads, who joins, and who works in the background.

It decides under the guard and acts after it: no callback, and nobody who waits for a ``refresh``, runs inside.
A flight is led inside ``with flight.latch``, which frees its joiners however the leader ends. What a leader leaves
behind is put in order by ``_tidy``, which may be called any number of times, by whoever finds it.
"""

from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from threading import get_ident
from typing import Generic, ParamSpec, TypeVar, final

from lastcache._background import Worker, drop, resolve_all, resolve_elsewhere, start_thread
from lastcache._circles import Asking, waiting
from lastcache._flight import (
    ASKER,
    Answered,
    Flight,
    Landing,
    Queued,
    Raised,
    Stale,
    attempt,
    current_asker,
    dropped,
    resolve,
)
from lastcache._forks import renew_in_children
from lastcache._guard import Guard, inside
from lastcache._outcomes import forget_frames
from lastcache._state import CLOSED, Callback, State
from lastcache.config import Config
from lastcache.transitions import Join, Load, Revalidate, Serve, Strategy, Traffic, kept_error, lookup, settle

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
P = ParamSpec("P")
T = TypeVar("T")


@final
class Loads(Generic[K, V, E]):
    """The state of one cache behind its guard, and the threads that move it."""

    __slots__ = ("__weakref__", "_clock", "_guard", "state")

    def __init__(self, config: Config, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._guard = Guard()
        self.state: State[K, V, E] = State(config)
        renew_in_children(self)

    def renew(self) -> None:
        """Begin with a free lock, no flight and no worker, as the child of a fork must; the entries stay."""
        self._guard = Guard()
        drop(self.state.renew(), "the process forked")

    def read(self, look: Callable[[], T]) -> T:
        """Give what ``look`` sees between two changes, or, where the guard is held, inside this one."""
        return look() if inside() is not None else self._guard.run(look)

    def write(self, change: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Make a change of the table. Raises ``CacheClosedError``."""
        self.state.check_open()
        self._guard.write(self.state.change, change, *args, **kwargs)

    def close(self) -> None:
        """Detach every flight, drop what is queued, and forget the entries; nothing is waited for.

        What is queued leaves the queue once it was told, so that closing again completes what an interrupt broke off.
        """
        if inside() is not None:
            self._guard.write(self._shut_inside)
        else:
            queued, _let_go = self._guard.run(self.state.shut)
            drop(queued, CLOSED)
            self._guard.run(self.state.background.drain)

    def _shut_inside(self) -> None:
        drop(self.state.shut()[0], CLOSED)
        self.state.background.drain()

    def ask(self, strategy: Strategy, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call for which no answer stood on the hit path."""
        asker = current_asker()
        if inside() is not None or (asker is not None and asker.boarding):
            return self._ask_inside(strategy, key, callback)
        while True:
            flight: Flight[K, V, E] = Flight(asker)
            token = ASKER.set(flight)
            try:
                with flight.latch: step = self._board(strategy, key, callback, flight, asker)  # noqa: E701  # fmt: skip
            finally:
                ASKER.reset(token)
            if not isinstance(step, Flight):
                return step
            with waiting(asker, step):
                step.wait()
            if step.landing is not None:
                return step.landing
            self._tidy(key, step)

    def _ask_inside(self, strategy: Strategy, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call that comes from inside a change, or from between the steps of a load that this thread leads.

        Nothing may be waited for there: the callback runs uncached.
        """
        self.state.check_open()
        entry = self.state.table.entries.get(key)
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
                return Answered(settle(self.state.table.policy, entry, attempted.outcome, attempted.now).answer)

    def _board(
        self, strategy: Strategy, key: K, callback: Callback[K, V, E], flight: Flight[K, V, E], asker: Asking | None
    ) -> Landing[V, E] | Stale[V, E] | Flight[K, V, E]:
        """Decide, and lead ``flight`` where that is the decision; give the flight to join where there is one."""
        try:
            try:
                step = self._guard.run(self.state.decide, strategy, key, callback, flight, self._clock())
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
        flight.calling = True
        attempted = attempt(callback, key, self._clock)
        flight.calling = False
        if isinstance(attempted, Raised):
            self._guard.run(self.state.crash, key, flight, attempted)
            return attempted
        landed = self._guard.run(self.state.land, key, flight, attempted)
        forget_frames(kept_error(landed.transition.entry))
        return Answered(landed.transition.answer)

    def _tidy(self, key: K, flight: Flight[K, V, E]) -> None:
        """Put in order what the leader of ``flight`` left: nothing where it landed and no ``refresh`` is waited for."""
        if not flight.untidy:
            return
        if flight.landing is None:
            self._guard.run(self.state.abandon, key, flight)
            self._staff()
        elif flight.behind is not None:
            resolve_elsewhere(flight.behind.refreshes, flight.landing)
        flight.untidy = False

    def _staff(self) -> None:
        """Start a worker if the queue wants one. Where none can be had, what nobody will run is dropped."""
        if not self.state.background:
            return
        worker = Worker()
        try:
            if self._guard.run(self.state.background.hire, worker):
                start_thread(partial(self._work, worker), "lastcache-refresh", partial(self._dismiss, worker))
        except BaseException:
            self._guard.run(self.state.background.dismiss, worker)
            self._staff()
            raise

    def _dismiss(self, worker: Worker, why: str) -> None:
        self._guard.run(self.state.background.dismiss, worker)
        drop(self._guard.run(self.state.strand), why)

    def _work(self, worker: Worker) -> None:
        """Run queued loads until none is left."""
        try:
            while (queued := self._guard.run(self.state.background.next, worker)) is not None:
                self._refresh(queued)
        finally:
            self._guard.run(self.state.background.leave, worker)
            self._staff()

    def _refresh(self, queued: Queued[K, V, E]) -> None:
        """Run one background load, and tell who waits for it how it ended, whatever was raised."""
        flight: Flight[K, V, E] = Flight(None)
        try:
            with flight.latch: landing = queued.context.run(self._fly_behind, queued, flight)  # noqa: E701  # fmt: skip
        except BaseException as struck:
            landing = Raised(struck, struck.__traceback__, get_ident())
        if landing is None:
            return
        resolve_all(queued.refreshes, landing)
        if isinstance(landing, Raised):
            landing.forget_frames()
            self._guard.run(self.state.table.detach, queued.key, queued)
            # This frame still runs, and the traceback leads to it: it must not lead back to the exception.
            del landing, queued, flight

    def _fly_behind(self, queued: Queued[K, V, E], flight: Flight[K, V, E]) -> Landing[V, E] | None:
        """Lead ``flight`` in place of ``queued``, in the context of the caller who left it."""
        ASKER.set(flight)
        try:
            started = self._guard.run(self.state.start, queued, flight, self._clock())
            return self._fly(queued.key, queued.callback, flight) if isinstance(started, Flight) else started
        finally:
            flight.behind = None
            self._tidy(queued.key, flight)
