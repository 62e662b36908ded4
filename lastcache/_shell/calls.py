"""A call of the cache from beginning to end, written once for threads and tasks.

Everything here is a script: an ``async`` function over a ``Place``, which says how to call and how to wait there.
In tasks a script is awaited. In threads nothing that it awaits ever suspends, and ``drive`` runs it to its end at once:
an interrupt strikes it at a line, as it strikes any function.

It decides under the guard and acts after it: no callback, no observer, and nobody who waits for a load, runs inside.
A flight is led inside ``with flight.latch``, one line for the reason that ``guard`` gives: that frees those who joined
however the leader ends. ``clean_up`` mends what an interrupted leader left, and may be called again.
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final, Generic, NamedTuple, TypeVar, cast

from lastcache._shell.flight import AGAIN, Again, Dropped, Flight, Job, Landing, Raised, Stale, Unchecked
from lastcache._shell.frames import forget_frames
from lastcache._shell.guard import inside
from lastcache._shell.inflight import INSIDE
from lastcache._shell.outcomes import check_outcome
from lastcache._shell.place import Place
from lastcache._shell.reentrancy import CURRENT_LOAD, LoadNode, WaitEdge, current_load, leave_load
from lastcache._shell.reports import Number
from lastcache._shell.shell import Shell
from lastcache.core.states import Answer, Outcome, Strategy
from lastcache.core.transitions import kept_error, settle
from lastcache.core.values import SUCCESS
from lastcache.errors import LoadDroppedError
from lastcache.records import LoadFailure

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C", bound=Callable[..., Any])
T = TypeVar("T")
W = TypeVar("W")
X = TypeVar("X")
Y = TypeVar("Y")
Z = TypeVar("Z")


SETTLED: Final = 0.005
"""The seconds between two looks at whether the store knows what was changed here."""


def drive(script: Callable[[W, X, Y, Z], Coroutine[Any, Any, T]], first: W, second: X, third: Y, fourth: Z) -> T:
    """Run a script that never suspends.

    It is made and begun in one expression, with its arguments one by one: CPython looks for no signal between, so that
    none leaves it unawaited.
    """
    try:
        script(first, second, third, fourth).send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    raise RuntimeError("a script in threads has nothing to suspend for")


class Returned(NamedTuple, Generic[V, E]):
    """What a callback returned, and the value's own TTL in nanoseconds, if it has one."""

    outcome: Outcome[V, E]
    ttl: int | None


class Calls(Shell[K, V, E, C]):
    """The calls of one cache."""

    __slots__ = ()

    async def wait_softly(
        self, place: Place[K, V, E, C], strategy: Strategy, key: K, callback: C
    ) -> Landing[V, E] | Stale[K, V, E, C]:
        """Answer a call that waits for its load, but no longer than the soft timeout where stale data may be given.

        When the time is over, or the load behind was dropped or interrupted, it looks up again, once: what stands by
        then is given, or a stale value that may be; else it joins the load that runs, or loads with its own callback.
        Where no worker can be had, time and again, it loads with its own callback, too.
        """
        if not place.has_block():
            return await self.ask(place, Strategy.STALE_IF_ERROR, key, callback)
        step = await self.ask(place, strategy, key, callback)
        if not isinstance(step, Stale):
            return step
        given = await self._wait_for(place, step)
        if given is None:
            given = self._look_again(place, strategy, key, callback)
        if given is not None:
            return given
        return await self.ask(place, Strategy.STALE_IF_ERROR, key, callback, again=True)

    async def _wait_for(
        self, place: Place[K, V, E, C], step: Stale[K, V, E, C]
    ) -> Landing[V, E] | Stale[K, V, E, C] | None:
        """Wait for the load behind a stale value, and give what it brings; None where that is not for all.

        The value itself is given where it could not be given after the wait, or where the cache was closed meanwhile.
        """
        job = step.job
        patience = self.soft_timeout_left(job.since, place.timer())
        if job.landing is None and patience > 0:
            if not self.may_wait(step.cached, patience):
                return step
            await place.patiently(job, patience)
        if job.landing is not None and job.is_for_all():
            return cast("Landing[V, E]", job.landing)
        return step if place.state.closed else None

    def _look_again(
        self, place: Place[K, V, E, C], strategy: Strategy, key: K, callback: C
    ) -> Answer[V, E] | Stale[K, V, E, C] | None:
        if not place.has_background():
            return None
        return self.read_now(place.state.without_load, strategy, key, callback)

    async def ask(  # noqa: C901, PLR0912  # a call from beginning to end; a coroutine more would cost more than it explains
        self, place: Place[K, V, E, C], strategy: Strategy, key: K, callback: C, *, again: bool = False
    ) -> Landing[V, E] | Stale[K, V, E, C]:
        """Answer a call for which no answer stood on the hit path; one that asks ``again`` was counted before."""
        self.reports.misses += not again
        if inside() is not None:
            return await self._ask_inside(place, strategy, key, callback)
        asker = None if CURRENT_LOAD.get() is None else self.guard.run(current_load)
        if asker is not None and asker.is_between_steps():
            return await self._ask_inside(place, strategy, key, callback)
        if strategy is not Strategy.STALE_IF_ERROR and key in self.entries.stored:
            given = self._stand_in(place, strategy, key, callback)
            if given is not None:
                return given
        loan = None
        while True:
            node = LoadNode(CURRENT_LOAD.get(), place.leader and place.leader())
            flight: Flight[V, E] = Flight(node)
            flight.loan = loan
            try:
                try:
                    with flight.latch: step = await (self._lead(place, strategy, key, callback, flight) if asker is None else self._lead_for(asker, place, strategy, key, callback, flight))  # noqa: E501, E701  # fmt: skip
                finally:
                    if CURRENT_LOAD.get() is node:
                        self.guard.run(leave_load, node)
                    if place.state.needs_cleanup(flight):
                        self.clean_up(place, key, flight)
            except BaseException as err:
                # An interrupt may have struck inside the first.
                self.clean_up(place, key, flight)
                self.report_end(key, flight, err, background=False)
                raise
            self.report_call(key, flight)
            if type(step) is Flight:
                await self.join_flight(place, key, step, asker)
                if step.landing is not None:
                    return step.landing
                loan = None if step.loan is None else step.loan.taken_over()
            elif type(step) is Unchecked:
                checked = None if self.second is None else await self.second.check(self, place, key, callback, step)
                if checked is not None:
                    self.tidy(place)
                    return checked
            elif step is not AGAIN:
                return cast("Landing[V, E] | Stale[K, V, E, C]", step)

    def _stand_in(
        self, place: Place[K, V, E, C], strategy: Strategy, key: K, callback: C
    ) -> Answer[V, E] | Stale[K, V, E, C] | None:
        """Give what is given without waiting, with the load behind it: no flight is made for that."""
        try:
            try:
                return self.guard.run_now(place.state.stand_in, strategy, key, callback)
            finally:
                self.tidy(place)
        except BaseException:
            # An interrupt may have struck inside the first.
            self.tidy(place)
            raise

    async def join_flight(self, place: Place[K, V, E, C], key: K, flight: Flight[V, E], asker: LoadNode | None) -> None:
        """Wait for a flight that another leads, and put it out of the way where it was abandoned."""
        began_at = self.clock() if self.reports.observed else 0
        if asker is None:
            self.reports.join(key)
            await place.join(flight)
        else:
            with WaitEdge(asker, flight.node):
                self.reports.join(key)
                await place.join(flight)
        if self.reports.observed:
            self.reports.wait(key, began_at, self.clock())
        self.clean_up(place, key, flight)

    async def _lead_for(
        self,
        asker: LoadNode,
        place: Place[K, V, E, C],
        strategy: Strategy,
        key: K,
        callback: C,
        flight: Flight[V, E],
    ) -> Landing[V, E] | Stale[K, V, E, C] | Flight[V, E] | Unchecked[V, E] | Again:
        """Lead for a callback that asks: its own load waits for this one."""
        with WaitEdge(asker, flight.node):
            return await self._lead(place, strategy, key, callback, flight)

    async def _lead(  # noqa: C901, PLR0912  # as above
        self, place: Place[K, V, E, C], strategy: Strategy | None, key: K, callback: C, flight: Flight[V, E]
    ) -> Landing[V, E] | Stale[K, V, E, C] | Flight[V, E] | Unchecked[V, E] | Again:
        """Decide, and run ``callback`` where that is the decision; give the flight to join, if there is one.

        Without a strategy it was decided before: the flight was begun in the background.
        """
        node = flight.node
        if strategy is None:
            self.guard.run(CURRENT_LOAD.set, node)
        else:
            step = self.guard.run_step(place.state.decide, strategy, key, callback, flight)
            if step is not flight:
                return step
        if self.second is not None:
            heard = await self.second.consult(self, place, strategy, key, callback, flight)
            if heard is not None:
                leave_load(node)
                return heard
        node.calling = True
        if self.reports.observed:
            self.reports.begin(key, flight, background=strategy is None)
        try:
            outcome: Outcome[V, E] = callback(key)
            if place.awaited is not None:
                outcome = await place.awaited(outcome)
            if type(outcome) is not SUCCESS:
                check_outcome(outcome)
            ttl = None if self.ttl_for is None else self.ttl_of_outcome(outcome)
        except Exception as err:
            if place.is_cancelled():
                raise
            raised = Raised(err, err.__traceback__)
            node.calling = False
            if self.second is not None and flight.loan is not None:
                await self.second.give_back(self, place, [flight.loan])
            self.guard.run_now(place.state.crash, key, flight, raised)
            leave_load(node)
            return raised
        node.calling = False
        if self.second is not None and flight.loan is not None:
            await self.second.share(self, place, key, flight, flight.loan, outcome, ttl)
        landing = self.guard.run_step(place.state.land, key, flight, outcome, ttl)
        leave_load(node)
        flight.replaced = None
        if type(outcome) is not SUCCESS:
            self.follow_failure(key, outcome.failure())
        return landing

    def follow_failure(self, key: K, failure: LoadFailure[E]) -> None:
        """Let go of the frames of an error, if it is kept: they are those of this very thread.

        Have the store told of a value that is gone, if it was not.
        """
        if kept_error(self.entries.get(key)) is failure.err:
            forget_frames(failure.err)
        if failure.forget and self.second is not None:
            self.second.wake_if_owing(self)

    def clean_up(self, place: Place[K, V, E, C], key: K, flight: Flight[V, E]) -> None:
        """Put an abandoned flight out of the way, let those go on who joined, and tell what is to be told."""
        if flight.landing is None and flight.began_at is not None:
            self.guard.write(place.state.abandon, key, flight)
        if flight.event is not None:
            place.wake(flight)
        if self.second is not None and flight.loan is not None:
            self.second.leave_lease(self, flight.loan)
        self.tidy(place)

    def tidy(self, place: Place[K, V, E, C]) -> None:
        """Tell what is to be told, and have started what is queued."""
        if place.state.outbox:
            self.notify(place)
        if place.state.loads.queue:
            place.start()

    async def _ask_inside(
        self, place: Place[K, V, E, C], strategy: Strategy, key: K, callback: C
    ) -> Landing[V, E] | Stale[K, V, E, C]:
        """Answer a call that comes from inside a change, or from between the steps of a load that this thread leads.

        Nothing may be waited for there: the callback runs uncached.
        """
        now = self.clock()
        found = place.state.without_load(now, strategy, key, callback)
        if found is None:
            return await self._ask_uncached(place, key, callback, now)
        if isinstance(found, Stale):
            self.reports.refusal(key, INSIDE)
        return found

    async def _ask_uncached(self, place: Place[K, V, E, C], key: K, callback: C, now: int) -> Landing[V, E]:
        load = Number()
        try:
            if self.reports.observed:
                self.reports.begin(key, load, background=False)
            returned = await self._attempt(place, callback, key)
        except BaseException as err:
            if load.number or not self.reports.observed:
                self.reports.load(key, Raised(err, None), now, now, background=False, number=load.number)
            raise
        return self.uncached(key, returned, now, load.number)

    async def _attempt(self, place: Place[K, V, E, C], callback: C, key: K) -> Returned[V, E] | Raised:
        """Call ``callback``. What it raises comes back as a value, except what is meant for one caller alone."""
        try:
            outcome = callback(key)
            if place.awaited is not None:
                outcome = await place.awaited(outcome)
            check_outcome(outcome)
            return Returned(outcome, self.ttl_of_outcome(outcome))
        except Exception as err:
            return Raised(err, err.__traceback__)

    def uncached(self, key: K, returned: Returned[V, E] | Raised, began_at: int, number: int) -> Landing[V, E]:
        """Answer a load that ran inside a change of the cache: settled, but not stored."""
        now = self.clock()
        if isinstance(returned, Raised):
            self.reports.load(key, returned, began_at, now, background=False, number=number)
            return returned
        self.reports.load(key, returned.outcome, began_at, now, background=False, number=number)
        return settle(self.state.policy, self.entries.get(key), returned.outcome, now, ttl=returned.ttl)[0]

    async def wait_until_settled(self, place: Place[K, V, E, C], seconds: float) -> bool:
        """Wait until the store knows what was changed here, for so many seconds at most; say whether it does."""
        ends_at = place.timer() + seconds
        if self.second is not None:
            self.second.wake_if_owing(self)
        while not self.is_settled() and place.timer() < ends_at:
            await place.pause(min(SETTLED, max(0.0, ends_at - place.timer())))
        return self.is_settled()

    async def refresh(self, place: Place[K, V, E, C], key: K, callback: C, flight: Flight[V, E]) -> None:
        """Run the background load that ``flight`` leads."""
        await self._lead(place, None, key, callback, flight)

    def report_refresh(self, key: K, job: Job[K, V, E, C], flight: Flight[V, E]) -> None:
        """Report a background load that has ended, or was broken off. What an observer raises has nobody to strike."""
        with suppress(BaseException):
            if flight.began_at is not None and (flight.loan is None or flight.has_called):
                self.reports.start(key)
        with suppress(BaseException):
            self.release_removed()
        landing = job.landing
        err = landing.err if isinstance(landing, (Raised, Dropped)) else LoadDroppedError("the load was broken off")
        with suppress(BaseException):
            self.report_end(key, flight, err, background=True)

    def end_refresh(self, place: Place[K, V, E, C], flight: Flight[V, E]) -> None:
        """Tell who waits for a background load."""
        if self.second is not None and flight.loan is not None:
            self.second.leave_lease(self, flight.loan)
        if flight.tells is not None:
            self.tell_of(place, flight.tells)
        self.notify(place, here=True)
