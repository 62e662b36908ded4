"""A call for many keys, written once for threads and tasks, as ``calls`` is for one key."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any, TypeVar, cast

from lastcache._shell.batches import Batch, check_mapping, check_surplus, outcome_of
from lastcache._shell.calls import Calls, Returned
from lastcache._shell.flight import Flight, Landing, Raised, Stale
from lastcache._shell.guard import inside
from lastcache._shell.place import Place
from lastcache._shell.reentrancy import CURRENT_LOAD, LoadNode, WaitEdge, current_load, leave_load
from lastcache._shell.reports import Number
from lastcache.core.states import Answer, Outcome, Strategy
from lastcache.core.values import SUCCESS

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C", bound=Callable[..., Any])


class CallsOfMany(Calls[K, V, E, C]):
    """The calls of one cache, those for many keys among them."""

    __slots__ = ()

    @abstractmethod
    def alone(self, callback: Any) -> C:
        """Make a callback of one key of a callback of many."""

    async def ask_many(
        self, place: Place[K, V, E, C], strategy: Strategy, keys: Iterable[K], callback: Any
    ) -> dict[K, Landing[V, E]]:
        """Answer a call for many keys: its own are loaded and land before those that others load are waited for."""
        wanted = tuple(dict.fromkeys(keys))
        self.state.check_open()
        landings: dict[K, Landing[V, E]] = {**self.count_lookups(wanted)}
        if len(landings) == len(wanted):
            return landings
        missing = tuple(key for key in wanted if key not in landings)
        landings |= await self._load_many(place, strategy, missing, callback)
        return {key: landings[key] for key in wanted}

    def give_many(self, landings: Mapping[K, Landing[V, E]]) -> dict[K, Answer[V, E]]:
        """Give a caller the answers; what one of them raises is what all of the call raises."""
        for landing in landings.values():
            if type(landing) is Raised:
                landing.give()
        give = self.give
        return {key: give(key, landing) for key, landing in landings.items()}

    async def _load_many(  # noqa: C901  # a call from beginning to end
        self, place: Place[K, V, E, C], strategy: Strategy, keys: tuple[K, ...], callback: Any
    ) -> dict[K, Landing[V, E]]:
        if inside() is not None:
            return await self._ask_many_inside(place, strategy, keys, callback)
        asker = self.guard.run(current_load)
        if asker is not None and asker.is_between_steps():
            return await self._ask_many_inside(place, strategy, keys, callback)
        landings: dict[K, Landing[V, E]] = {}
        while missing := tuple(key for key in keys if key not in landings):
            batch: Batch[K, V, E] = Batch(LoadNode(CURRENT_LOAD.get(), place.leader and place.leader()), missing)
            await self._lead_many(place, strategy, batch, callback, asker)
            for key, flight in batch.joined.items():
                await self.join_flight(place, key, flight, asker)
                if flight.landing is not None:
                    batch.landings[key] = flight.landing
            for key in batch.elsewhere:
                step = await self.ask(place, strategy, key, self.alone(callback), again=True)
                batch.landings[key] = cast("Landing[V, E]", step)
            landings |= batch.landings
        return landings

    async def _lead_many(
        self, place: Place[K, V, E, C], strategy: Strategy, batch: Batch[K, V, E], callback: Any, asker: LoadNode | None
    ) -> None:
        """Decide for each key, and lead those that are this call's own."""
        try:
            try:
                with batch.node.latch: await self._decide_and_fly_many(place, strategy, batch, callback, asker)  # noqa: E701  # fmt: skip
            finally:
                self.guard.run(leave_load, batch.node)
                self._clean_up_many(place, batch)
        except BaseException as err:
            # An interrupt may have struck inside the first.
            self._clean_up_many(place, batch)
            self._report_many(batch, err)
            raise
        self._report_many(batch, None)

    def _report_many(self, batch: Batch[K, V, E], err: BaseException | None) -> None:
        """Report the loads of a batch, which ``err`` may have broken off."""
        with ExitStack() as reports:  # What an observer raises keeps none from being told of the others.
            for key, flight in reversed(batch.flights.items()):
                if err is None:
                    reports.callback(self.report_load, key, flight, background=False)
                else:
                    reports.callback(self.report_end, key, flight, err, background=False)
            reports.callback(self.release_removed)

    def _clean_up_many(self, place: Place[K, V, E, C], batch: Batch[K, V, E]) -> None:
        for key, flight in batch.flights.items():
            self.clean_up(place, key, flight)

    async def _decide_and_fly_many(
        self, place: Place[K, V, E, C], strategy: Strategy, batch: Batch[K, V, E], callback: Any, asker: LoadNode | None
    ) -> None:
        self.guard.run_now(self._decide_many, place, strategy, batch, callback)
        if self.second is not None and (batch.own or batch.unchecked):
            await self.second.consult_many(self, place, strategy, batch, self.alone(callback))
        if not batch.own:
            return
        if asker is None:
            await self._fly_many(place, batch, callback)
        else:
            with WaitEdge(asker, batch.node):
                await self._fly_many(place, batch, callback)

    def _decide_many(
        self, now: int, place: Place[K, V, E, C], strategy: Strategy, batch: Batch[K, V, E], callback: Any
    ) -> None:
        alone = self.alone(callback)
        decide = place.state.decide
        batch.decide(lambda key, flight: decide(now, strategy, key, alone, flight))

    async def _fly_many(self, place: Place[K, V, E, C], batch: Batch[K, V, E], callback: Any) -> None:
        batch.node.calling = True
        if self.reports.observed:
            first = 0
            for key, flight in batch.own.items():
                self.reports.begin(key, flight, background=False, batch=first)
                first = first or flight.number
        returned = await self._attempt_many(place, callback, tuple(batch.own))
        each = {key: self._one_of(key, returned) for key in batch.own}
        batch.node.calling = False
        if self.second is not None:
            await self.second.share_many(self, place, batch, each)
        for key, flight in batch.own.items():
            batch.landings[key] = self._land_one(place, key, flight, each[key])
        check_surplus(batch.own, returned)

    async def _attempt_many(
        self, place: Place[K, V, E, C], callback: Any, keys: tuple[K, ...]
    ) -> Mapping[K, Outcome[V, E]] | Raised:
        """Call ``callback`` with many keys; what it raises comes back as a value, as in ``_attempt``."""
        try:
            returned = callback(keys)
            if place.awaited is not None:
                returned = await place.awaited(returned)
            check_mapping(returned)
        except Exception as err:
            if place.is_cancelled():
                raise
            return Raised(err, err.__traceback__)
        return cast("Mapping[K, Outcome[V, E]]", returned)

    def _land_one(
        self, place: Place[K, V, E, C], key: K, flight: Flight[V, E], one: Returned[V, E] | Raised
    ) -> Landing[V, E]:
        """Land one key of a batch by what came of it; what is missing or wrong is an error of that key alone."""
        if isinstance(one, Raised):
            self.guard.run_now(place.state.crash, key, flight, one)
            return one
        landing = self.guard.run_now(place.state.land, key, flight, one.outcome, one.ttl)
        flight.replaced = None
        if type(one.outcome) is not SUCCESS:
            self.follow_failure(key, one.outcome.failure())
        return landing

    def _one_of(self, key: K, returned: Mapping[K, Outcome[V, E]] | Raised) -> Returned[V, E] | Raised:
        if isinstance(returned, Raised):
            return returned
        try:
            outcome = outcome_of(key, returned)
            return Returned(outcome, self.ttl_of_outcome(outcome))
        except Exception as err:
            return Raised(err, err.__traceback__)

    async def _ask_many_inside(
        self, place: Place[K, V, E, C], strategy: Strategy, keys: tuple[K, ...], callback: Any
    ) -> dict[K, Landing[V, E]]:
        """Answer where nothing may be waited for, or stored."""
        now = self.clock()
        alone = self.alone(callback)
        found = {key: place.state.without_load(now, strategy, key, alone) for key in keys}
        landings: dict[K, Landing[V, E]] = {
            key: answer for key, answer in found.items() if answer is not None and not isinstance(answer, Stale)
        }
        missing = tuple(key for key in keys if key not in landings)
        if missing:
            loads = {key: Number() for key in missing}
            returned = await self._attempt_uncached(place, callback, loads, now)
            landings |= {
                key: self.uncached(key, self._one_of(key, returned), now, loads[key].number) for key in missing
            }
        return landings

    async def _attempt_uncached(
        self, place: Place[K, V, E, C], callback: Any, loads: Mapping[K, Number], now: int
    ) -> Mapping[K, Outcome[V, E]] | Raised:
        """Call ``callback``, and tell of its ``loads``."""
        first = 0
        try:
            if self.reports.observed:
                for key, load in loads.items():
                    self.reports.begin(key, load, background=False, batch=first)
                    first = first or load.number
            return await self._attempt_many(place, callback, tuple(loads))
        except BaseException as err:
            for key, load in loads.items():
                if load.number or not self.reports.observed:
                    self.reports.load(key, Raised(err, None), now, now, background=False, number=load.number)
            raise
