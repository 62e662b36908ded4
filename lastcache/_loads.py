"""The loads of one cache, in threads: who leads, who joins, and who works in the background.

It decides under the guard and acts after it: no callback, and nobody who waits for a ``refresh``, runs inside.
A flight is led inside ``with flight.latch``, which frees its joiners however the leader ends. What a leader leaves
behind is put in order by ``_tidy``, which may be called any number of times, by whoever finds it.
"""

from collections.abc import Callable
from functools import partial
from threading import get_ident
from typing import TypeAlias, TypeVar, final

from lastcache._background import Worker, drop, resolve_all, resolve_elsewhere, start_thread
from lastcache._circles import ASKER, Asking, current_asker, waiting
from lastcache._flight import Flight, Landing, Queued, Raised, Stale, attempt
from lastcache._guard import Guard, inside
from lastcache._shell import Shell
from lastcache._state import CLOSED
from lastcache.transitions import Outcome, Strategy

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")

Callback: TypeAlias = Callable[[K], Outcome[V, E]]
ThreadFlight: TypeAlias = Flight[K, V, E, Callback[K, V, E]]
ThreadQueued: TypeAlias = Queued[K, V, E, Callback[K, V, E]]


@final
class Loads(Shell[K, V, E, Callback[K, V, E]]):
    """The shell of the cache for threads."""

    __slots__ = ()

    def renew(self) -> None:
        """Begin with a free lock, no flight and no worker, as the child of a fork must; the entries stay."""
        self._guard = Guard()
        drop(self.state.renew(), "the process forked")

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
            flight: ThreadFlight[K, V, E] = Flight(asker)
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
        at_hand = self.state.at_hand(strategy, key, self._clock())
        return self.uncached(key, attempt(callback, key, self._clock)) if at_hand is None else at_hand

    def _board(
        self,
        strategy: Strategy,
        key: K,
        callback: Callback[K, V, E],
        flight: ThreadFlight[K, V, E],
        asker: Asking | None,
    ) -> Landing[V, E] | Stale[V, E] | ThreadFlight[K, V, E]:
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

    def _fly(self, key: K, callback: Callback[K, V, E], flight: ThreadFlight[K, V, E]) -> Landing[V, E]:
        """Run ``callback`` and land its outcome."""
        flight.calling = True
        attempted = attempt(callback, key, self._clock)
        flight.calling = False
        return self.land(self.state, key, flight, attempted)

    def _tidy(self, key: K, flight: ThreadFlight[K, V, E]) -> None:
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

    def _refresh(self, queued: ThreadQueued[K, V, E]) -> None:
        """Run one background load, and tell who waits for it how it ended, whatever was raised."""
        flight: ThreadFlight[K, V, E] = Flight(None)
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

    def _fly_behind(self, queued: ThreadQueued[K, V, E], flight: ThreadFlight[K, V, E]) -> Landing[V, E] | None:
        """Lead ``flight`` in place of ``queued``, in the context of the caller who left it."""
        ASKER.set(flight)
        try:
            started = self._guard.run(self.state.start, queued, flight, self._clock())
            return self._fly(queued.key, queued.callback, flight) if isinstance(started, Flight) else started
        finally:
            flight.behind = None
            self._tidy(queued.key, flight)
