"""The loads of one cache, in threads: who leads, who joins, and who works in the background.

It decides under the guard and acts after it: no callback, and nobody who waits for a ``refresh``, runs inside.
A flight is led inside ``with flight.latch``, which frees its joiners however the leader ends. What a leader leaves
behind is put in order by ``_tidy``, which may be called any number of times, by whoever finds it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from threading import get_ident
from typing import TypeAlias, TypeVar, final

from lastcache._checks import checked_executor
from lastcache._shell.background import Worker, drop, resolve_all, resolve_elsewhere, start_thread
from lastcache._shell.batches import Batch, check_mapping, check_surplus, outcome_of
from lastcache._shell.flight import Answered, Flight, Landing, Queued, Raised, Stale, attempt
from lastcache._shell.guard import Guard, inside
from lastcache._shell.inflight import CLOSED
from lastcache._shell.reentrancy import ASKER, Asking, current_asker, waiting
from lastcache._shell.shell import Shell
from lastcache.config import Config
from lastcache.core.states import Answer, Outcome, Strategy
from lastcache.errors import LoadDroppedError
from lastcache.events import Observer

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")

Callback: TypeAlias = Callable[[K], Outcome[V, E]]
BatchCallback: TypeAlias = Callable[[tuple[K, ...]], Mapping[K, Outcome[V, E]]]
ThreadBatch: TypeAlias = Batch[K, V, E, Callback[K, V, E]]
ThreadFlight: TypeAlias = Flight[K, V, E, Callback[K, V, E]]
ThreadQueued: TypeAlias = Queued[K, V, E, Callback[K, V, E]]


@final
class Loads(Shell[K, V, E, Callback[K, V, E]]):
    """The shell of the cache for threads."""

    __slots__ = ("_executor",)

    def __init__(
        self,
        config: Config,
        clock: Callable[[], int],
        ttl_for: Callable[[V], timedelta] | None = None,
        observer: Observer[K, E] | None = None,
        executor: Callable[[Callable[[], object]], object] | None = None,
    ) -> None:
        super().__init__(config, clock, ttl_for, observer)
        self._executor = checked_executor(executor)

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
            self._drop(queued, CLOSED)
            self._guard.run(self.state.background.drain)

    def _shut_inside(self) -> None:
        self._drop(self.state.shut()[0], CLOSED)
        self.state.background.drain()

    def _drop(self, queued: Sequence[ThreadQueued[K, V, E]], why: str) -> None:
        """Tell who waits for these loads, and the observer, that they will not run."""
        drop(queued, why)
        self.report_dropped(queued, why)

    def wait(self, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call that waits for its load: no longer than the soft timeout where a stale value may be given."""
        strategy = Strategy.STALE_IF_ERROR if self._soft_timeout is None else Strategy.STALE_IF_SLOW
        step = self.ask(strategy, key, callback)
        given = self._wait_softly(step) if isinstance(step, Stale) else step
        self.reports.given(key, given)
        return given

    def revalidate(self, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call that takes a stale value ahead of its load."""
        given = self.ask(Strategy.STALE_WHILE_REVALIDATE, key, callback)
        self.reports.given(key, given)
        return given

    def _wait_softly(self, stale: Stale[V, E]) -> Landing[V, E] | Stale[V, E]:
        try:
            err = stale.refresh.exception(self.patience(stale))
        except TimeoutError:
            return stale
        if err is None:
            return Answered(stale.refresh.result())
        return stale if isinstance(err, LoadDroppedError) else Raised(err, err.__traceback__, get_ident())

    def ask(self, strategy: Strategy, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call for which no answer stood on the hit path."""
        standing = self.look(key)
        if standing is not None:
            return standing
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
            self._staff()
            self.report(key, flight)
            if not isinstance(step, Flight):
                return step
            with waiting(asker, step):
                self.reports.join(key)
                step.wait()
            if step.landing is not None:
                return step.landing
            self._tidy(key, step)

    def ask_many(self, keys: Iterable[K], callback: BatchCallback[K, V, E]) -> dict[K, Answer[V, E]]:
        """Answer a call for many keys: its own are loaded and land before those that others load are waited for."""
        wanted = tuple(dict.fromkeys(keys))
        self.check_open()
        asker, landings = current_asker(), self.look_at(wanted)
        if inside() is not None or (asker is not None and asker.boarding):
            landings |= self._many_inside(tuple(key for key in wanted if key not in landings), callback)
        while len(landings) < len(wanted):
            batch: ThreadBatch[K, V, E] = Batch(asker, tuple(key for key in wanted if key not in landings))
            self._board_many(batch, callback)
            for key, flight in batch.joined.items():
                with waiting(asker, flight):
                    self.reports.join(key)
                    flight.wait()
                if flight.landing is not None:
                    batch.landings[key] = flight.landing
                self._tidy(key, flight)
            landings |= batch.landings
        return self.answers(landings, wanted)

    def _board_many(self, batch: ThreadBatch[K, V, E], callback: BatchCallback[K, V, E]) -> None:
        """Decide for each key, and lead those that are this call's own."""
        token = ASKER.set(batch.flight)
        try:
            with batch.flight.latch: self._fly_many(batch, callback)  # noqa: E701  # fmt: skip
        finally:
            ASKER.reset(token)
            for key, flight in batch.flights.items():
                self._tidy(key, flight)
            self._staff()
            for key, flight in batch.flights.items():
                self.report(key, flight)

    def _fly_many(self, batch: ThreadBatch[K, V, E], callback: BatchCallback[K, V, E]) -> None:
        self.board(self.state, batch, partial(_alone, callback), self._clock())
        if not batch.own:
            return
        with waiting(batch.flight.asker, batch.flight):
            batch.flight.calling = True
            returned = _attempt_many(callback, tuple(batch.own))
            batch.flight.calling = False
        self.land_batch(self.state, batch, returned)
        check_surplus(batch.own, returned)

    def _many_inside(self, keys: tuple[K, ...], callback: BatchCallback[K, V, E]) -> dict[K, Landing[V, E]]:
        """Answer where nothing may be waited for, or stored."""
        at_hand, began_at = self.at_hand_of(keys), self._clock()
        missing = tuple(key for key in keys if key not in at_hand)
        return at_hand | (self.uncached_of(missing, _attempt_many(callback, missing), began_at) if missing else {})

    def _ask_inside(self, strategy: Strategy, key: K, callback: Callback[K, V, E]) -> Landing[V, E] | Stale[V, E]:
        """Answer a call that comes from inside a change, or from between the steps of a load that this thread leads.

        Nothing may be waited for there: the callback runs uncached.
        """
        now = self._clock()
        at_hand = self.at_hand(strategy, key, now)
        return self.uncached(key, attempt(callback, key, self.measured), now) if at_hand is None else at_hand

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
                if step is not flight:
                    return step
                if asker is None:
                    return self._fly(key, callback, flight)
                with waiting(asker, flight):
                    return self._fly(key, callback, flight)
            finally:
                if flight.untidy:
                    self._tidy(key, flight)
        finally:
            # An interrupt may have struck inside the first.
            if flight.untidy:
                self._tidy(key, flight)

    def _fly(self, key: K, callback: Callback[K, V, E], flight: ThreadFlight[K, V, E]) -> Landing[V, E]:
        """Run ``callback`` and land its outcome."""
        flight.calling = True
        attempted = attempt(callback, key, self.measured)
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
        if not self.state.background.queue:
            return
        worker = Worker()
        try:
            if self._guard.run(self.state.background.hire, worker):
                self._start(partial(self._work, worker, get_ident()), partial(self._dismiss, worker))
        except BaseException:
            self._guard.run(self.state.background.dismiss, worker)
            self._staff()
            raise

    def _start(self, work: Callable[[], object], refused: Callable[[str], object]) -> None:
        if self._executor is None:
            start_thread(work, "lastcache-refresh", refused)
            return
        try:
            self._executor(work)
        except BaseException as err:
            refused(str(err))
            if not isinstance(err, Exception):
                raise

    def _dismiss(self, worker: Worker, why: str) -> None:
        self._guard.run(self.state.background.dismiss, worker)
        self._drop(self._guard.run(self.state.strand), why)

    def _work(self, worker: Worker, starter: int) -> None:
        """Run queued loads until none is left.

        An executor may do so at once, in the thread that started it: then a callback that runs there waits for them.
        """
        asker = current_asker() if get_ident() == starter else None
        try:
            while (queued := self._guard.run(self.state.background.next, worker)) is not None:
                self._refresh(queued, asker)
        finally:
            self._guard.run(self.state.background.leave, worker)
            self._staff()

    def _refresh(self, queued: ThreadQueued[K, V, E], asker: Asking | None) -> None:
        """Run one background load, and tell who waits for it how it ended, whatever was raised."""
        flight: ThreadFlight[K, V, E] = Flight(None)
        behind = self._fly_behind
        try:
            with waiting(asker, flight), flight.latch: landing = queued.context.run(behind, queued, flight)  # noqa: E701  # fmt: skip
        except BaseException as struck:
            landing = Raised(struck, struck.__traceback__, get_ident())
        if landing is None:
            return
        self.report_behind(queued.key, flight, landing)
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
            if not isinstance(started, Flight):
                return started
            self.report_start(queued.key)
            return self._fly(queued.key, queued.callback, flight)
        finally:
            flight.behind = None
            self._tidy(queued.key, flight)


def _alone(callback: BatchCallback[K, V, E], key: K) -> Outcome[V, E]:
    """Load one key with a callback of many."""
    returned = callback((key,))
    check_mapping(returned)
    return outcome_of(key, returned)


def _attempt_many(callback: BatchCallback[K, V, E], keys: tuple[K, ...]) -> Mapping[K, Outcome[V, E]] | Raised:
    """Call ``callback``; what it raises comes back as a value, as in ``attempt``."""
    try:
        returned = callback(keys)
        check_mapping(returned)
    except Exception as err:
        return Raised(err, err.__traceback__, get_ident())
    return returned
