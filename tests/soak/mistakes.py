"""The oracle finds mistakes: it is shown each of them in the cache itself.

``python -m tests.soak.mistakes`` gives the cache one mistake after another, and plays until each is seen. It reaches
into the cache, as no test does.
"""

import random
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, Final

import pytest
from returns.result import Failure, Result

from lastcache import CachedValue, LoadFailure, Strategy
from lastcache._shell import demanding, facade, inflight, looks
from lastcache._shell.calls import Calls
from lastcache._shell.demanding import DemandingCalls
from lastcache._shell.reports import Reports
from lastcache._shell.shell import Shell
from lastcache.core import transitions
from lastcache.core.demands import demanded
from lastcache.core.entries import Entries
from lastcache.core.policy import FOREVER, Policy
from lastcache.core.states import Answer, Outcome, Revalidate, Serve
from lastcache.core.values import SUCCESS
from tests.soak.__main__ import WORLDS
from tests.soak.laws import judge

SECONDS: Final = 30.0

FORGOTTEN: Final = "what was forgotten is not given again"
REMEMBERED: Final = "a failure is remembered no longer than it may be"
TOO_STALE: Final = "no reader is given what is too stale for it"
ENDED: Final = "a load ends once, as the one that it started as"
COUNTS: Final = "what is told and counted is what happened"


def forgets_nothing(patch: pytest.MonkeyPatch) -> None:
    """A failure that forgets is settled as any other."""

    def settle(policy: Policy, entry: Any, outcome: Outcome[Any, Any], now: int, **others: Any) -> Any:
        if type(outcome) is not SUCCESS:
            failure = outcome.failure()
            outcome = Failure(LoadFailure(failure.err, failure.use_stale, remember_for=failure.remember_for))
        return transitions.settle(policy, entry, outcome, now, **others)

    patch.setattr(inflight, "settle", settle)


def forgets_what_has_expired_alone(patch: pytest.MonkeyPatch) -> None:
    """A failure that forgets leaves a value that is fresh."""
    denied = transitions._denied  # noqa: SLF001  # the place of the mistake
    policy_now: list[Any] = []

    def settle(policy: Policy, entry: Any, outcome: Any, now: int, **others: Any) -> Any:
        policy_now[:] = [entry, now]
        return transitions.settle(policy, entry, outcome, now, **others)

    def careless(policy: Policy, failure: LoadFailure[Any], now: int) -> Any:
        entry = policy_now[0]
        if failure.forget and entry is not None and hasattr(entry, "fresh_until") and now <= entry.fresh_until:
            return Failure(failure.err), entry
        return denied(policy, failure, now)

    patch.setattr(transitions, "_denied", careless)
    patch.setattr(inflight, "settle", settle)


def remembers_as_ever(patch: pytest.MonkeyPatch) -> None:
    """A failure's own ``remember_for`` goes unread."""
    patch.setattr(transitions, "_remembered_for", lambda policy, _failure: policy.negative_ttl)


def remembers_longer(patch: pytest.MonkeyPatch) -> None:
    """The longer of ``remember_for`` and ``negative_ttl`` wins."""
    remembered_for = transitions._remembered_for  # noqa: SLF001  # the place of the mistake

    def longer(policy: Policy, failure: LoadFailure[object]) -> int:
        return max(policy.negative_ttl, remembered_for(policy, failure))

    patch.setattr(transitions, "_remembered_for", longer)


def gives_what_is_too_stale(patch: pytest.MonkeyPatch) -> None:
    """A reader with a demand is given a covered failure's value, as all others are."""
    patch.setattr(demanding, "narrowed", lambda answer, _now, _max_stale: answer)


def gives_what_is_too_stale_ahead_of_its_load(patch: pytest.MonkeyPatch) -> None:
    """A reader with a demand is given a stale value at once, as all others are."""
    patch.setattr(demanding, "is_too_stale", lambda _cached, _now, _max_stale: False)
    patch.setattr(DemandingCalls, "_strategy", lambda _self, _place, demand, _key: demand.strategy)


def loads_again_for_a_reader_with_a_demand(patch: pytest.MonkeyPatch) -> None:
    """A reader with a demand never takes the first answer."""
    patch.setattr(DemandingCalls, "_fitting", lambda _self, _step, _max_stale: None)


def extends_nothing(patch: pytest.MonkeyPatch) -> None:
    """After a covered failure the source is asked again at once."""
    extend = transitions._extend  # noqa: SLF001  # the place of the mistake

    def shortest(policy: Policy, entry: Any, err: Any, now: int, draw: float) -> Any:
        return extend(policy._replace(extend_ttl=min(policy.extend_ttl, 1)), entry, err, now, draw)

    patch.setattr(transitions, "_extend", shortest)


def ends_an_interrupted_load_twice(patch: pytest.MonkeyPatch) -> None:
    """A load that was interrupted is told of by each who cleans up."""
    report = Shell.report_end

    def twice(self: Any, key: Any, flight: Any, err: BaseException, *, background: bool) -> None:
        report(self, key, flight, err, background=background)
        if flight.outcome is not None and flight.number:
            self.report_load(key, flight, background=background)

    patch.setattr(Shell, "report_end", twice)


def never_ends_an_interrupted_load(patch: pytest.MonkeyPatch) -> None:
    """A load that was interrupted is not told of."""
    patch.setattr(Shell, "report_end", lambda *_args, **_others: None)


def forgets_the_number(patch: pytest.MonkeyPatch) -> None:
    """The end of a failed load has no number."""
    load = Reports.load

    def numberless(self: Any, key: Any, outcome: Any, *args: Any, number: int = 0, **others: Any) -> None:
        load(self, key, outcome, *args, number=number if type(outcome) is SUCCESS else 0, **others)

    patch.setattr(Reports, "load", numberless)


def waits_without_joining(patch: pytest.MonkeyPatch) -> None:
    """Who joins says so after the wait."""

    async def late(self: Any, place: Any, key: Any, flight: Any, asker: Any) -> None:
        began_at = self.clock()
        await place.join(flight)
        if self.reports.observed:
            self.reports.wait(key, began_at, self.clock())
        self.reports.join(key)
        self.clean_up(place, key, flight)

    patch.setattr(Calls, "join_flight", late)


def extended_answers_go_untold(patch: pytest.MonkeyPatch) -> None:
    """The hit path gives what stands because of an extension, also where there is an observer."""

    def unwatched(policy: Policy, max_entries: int | None = None, **_others: object) -> Any:
        return Entries[Any, Any, Any](policy, max_entries)

    patch.setattr(inflight, "Entries", unwatched)
    patch.setattr(Shell, "counts", property(lambda self: self.count_hits, lambda _self, _value: None))


def looks_go_untold(patch: pytest.MonkeyPatch) -> None:
    """What ``if_cached`` gives is not told of."""

    def quiet(self: Any, key: Any, landing: Any) -> Any:
        return landing

    patch.setattr(facade.CacheView, "if_cached", _if_cached_with(quiet))


def _if_cached_with(give: Callable[[Any, Any, Any], Any]) -> Any:
    from returns.maybe import Nothing, Some

    def if_cached(self: Any, key: Any, *, max_stale: Any = None) -> Any:
        self._shell.check_open()
        answer = self._shell.read_now(looks.if_cached, self._shell.state, key, self._within(max_stale))
        return Nothing if answer is None else Some(give(self._shell, key, answer))

    return if_cached


def gives_without_a_load_past_the_window(patch: pytest.MonkeyPatch) -> None:
    """``if_cached`` knows no ``stale_while_revalidate``."""

    def unbounded(now: int, state: Any, key: Any, max_stale: int) -> Answer[Any, Any] | None:
        policy = state.policy._replace(stale_while_revalidate=FOREVER)
        decision = demanded(policy, Strategy.STALE_WHILE_REVALIDATE, state.entries.look(key), None, now, max_stale)
        if isinstance(decision, Revalidate):
            given: Result[CachedValue[Any, Any], Any] = Result.from_value(decision.cached)
            return given
        return decision.answer if isinstance(decision, Serve) else None

    patch.setattr(facade, "if_cached", unbounded)


def gives_without_a_load_what_is_too_stale(patch: pytest.MonkeyPatch) -> None:
    """``if_cached`` takes no notice of a demand."""
    patch.setattr(facade, "if_cached", lambda now, state, key, _max_stale: looks.if_cached(now, state, key, FOREVER))


def explains_the_past(patch: pytest.MonkeyPatch) -> None:
    """``explain`` does not ask the clock."""
    patch.setattr(facade, "explained", lambda _now, *others: looks.explained(0, *others))


def explains_by_raising(patch: pytest.MonkeyPatch) -> None:
    """``explain`` raises."""

    def fails(*_args: object) -> None:
        raise ValueError("not in the queue")

    patch.setattr(facade, "explained", fails)


SEEDED: Final[list[tuple[Callable[[pytest.MonkeyPatch], None], str, str]]] = [
    (forgets_nothing, "threads", FORGOTTEN),
    (forgets_nothing, "trio", FORGOTTEN),
    (forgets_what_has_expired_alone, "asyncio", FORGOTTEN),
    (remembers_as_ever, "threads", REMEMBERED),
    (remembers_longer, "executors", REMEMBERED),
    (gives_what_is_too_stale, "threads", TOO_STALE),
    (gives_what_is_too_stale, "asyncio", TOO_STALE),
    (gives_what_is_too_stale_ahead_of_its_load, "trio", TOO_STALE),
    (loads_again_for_a_reader_with_a_demand, "threads", "a call waits for one load of its own"),
    (extends_nothing, "asyncio", "an extension spares the source"),
    (ends_an_interrupted_load_twice, "threads", ENDED),
    (ends_an_interrupted_load_twice, "asyncio", ENDED),
    (never_ends_an_interrupted_load, "asyncio", COUNTS),
    (forgets_the_number, "loops", "no load ends that has not started"),
    (waits_without_joining, "threads", "who has waited has joined"),
    (extended_answers_go_untold, "threads", COUNTS),
    (looks_go_untold, "asyncio", COUNTS),
    (gives_without_a_load_past_the_window, "threads", "no stale value outlives its window"),
    (gives_without_a_load_what_is_too_stale, "trio", TOO_STALE),
    (explains_the_past, "threads", "nothing expired is given unmarked"),
    (explains_by_raising, "asyncio", "foreign exception"),
]


def seconds_to_find(seed_it: Callable[[pytest.MonkeyPatch], None], world: str, law: str) -> float | None:
    """Play with the mistake until the law that it breaks is broken; None where that takes too long."""
    began, seed = time.monotonic(), 0
    with pytest.MonkeyPatch.context() as patch:
        seed_it(patch)
        while time.monotonic() < began + SECONDS:
            seed += 1
            if law in {
                violation.law for violation in judge(WORLDS[world](world, random.Random(f"{world} {seed}"), 0.2))
            }:
                return time.monotonic() - began
    return None


def main() -> int:
    """Say of each mistake how long it took to find it; fail where one was not found."""
    missed = 0
    warnings.filterwarnings("ignore", "soft_timeout", RuntimeWarning)
    for seed_it, world, law in SEEDED:
        took = seconds_to_find(seed_it, world, law)
        missed += took is None
        sys.stdout.write(f"{seed_it.__name__} in {world}: {'not found' if took is None else f'{took:.1f} s'}\n")
    return missed


if __name__ == "__main__":
    raise SystemExit(main())
