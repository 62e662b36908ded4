"""A cache of several keys beside one model for each, through the public surface."""

from collections.abc import Callable
from typing import Final

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from returns.maybe import Nothing, Some
from returns.pipeline import is_successful
from returns.result import Failure, Success

from lastcache import StoredEntry
from lastcache.core.states import Outcome
from lastcache.testing import ManualClock
from lastcache.testing.strategies import load_failures
from tests.kit import never, result_of, small_cache, ticks
from tests.model import Model
from tests.strategies import examples

KEYS: Final = ("a", "b", "c")
TTL: Final = 5
TICK_NS: Final = 1000

keys = st.sampled_from(KEYS)
outcomes: st.SearchStrategy[Outcome[str, str]] = st.one_of(
    st.sampled_from(["v1", "v2"]).map(Success),
    load_failures(st.sampled_from(["e1", "e2"])).map(Failure),
)
writes = st.sampled_from(["none", "set", "delete", "expire", "clear"])


class Keys(RuleBasedStateMachine):
    """Each rule does the same to the cache and to the models; what both say must be the same."""

    @initialize(extension=st.sampled_from([0, 1, 7]))
    def begin(self, extension: int) -> None:
        self.clock = ManualClock()
        self.cache = small_cache(self.clock, ttl=TTL, extend=extension)
        self.models = {key: Model(TTL * TICK_NS, extension * TICK_NS) for key in KEYS}

    def teardown(self) -> None:
        self.cache.close()

    @rule(passed=st.integers(0, 8))
    def advance(self, passed: int) -> None:
        self.clock.advance(ticks(passed))

    @rule(key=keys, write=writes.filter(lambda write: write != "none"))
    def write(self, key: str, write: str) -> None:
        self.perform(write, key)

    @rule(key=keys, outcome=outcomes, during=writes, passed=st.integers(0, 8))
    def stale_if_error(self, key: str, outcome: Outcome[str, str], during: str, passed: int) -> None:
        """S waits for the load, and gives what the model says came of it."""
        model = self.models[key]
        if model.current(self.clock.now):
            assert self.cache.load_or_store(key, never) == model.standing(self.clock.now)
            return
        answer = self.cache.load_or_store(key, self.callback(key, outcome, during, passed))
        assert answer == self.landed(key, outcome, during)

    @rule(key=keys, outcome=outcomes, during=writes, passed=st.integers(0, 8))
    def stale_while_revalidate(self, key: str, outcome: Outcome[str, str], during: str, passed: int) -> None:
        """A gives what is stored at once, and ``refresh`` ends in what a caller who waited would have got."""
        model = self.models[key]
        if model.current(self.clock.now):
            answer = self.cache.async_load_or_store(key, never)
            assert answer.map(lambda given: given.cached) == model.standing(self.clock.now)
            return
        seen = model.seen(self.clock.now) if model.gives_stale(self.clock.now) else None
        given = self.cache.async_load_or_store(key, self.callback(key, outcome, during, passed))
        refresh = given.unwrap().refresh if is_successful(given) else None
        if seen is None:
            assert refresh is None
            assert given.map(lambda revalidation: revalidation.cached) == self.landed(key, outcome, during)
        else:
            refreshed = result_of(refresh)
            assert given.unwrap().cached == seen
            assert refreshed == self.landed(key, outcome, during)

    @invariant()
    def shows_what_the_models_show(self) -> None:
        """``peek``, ``ttl``, ``in``, ``len`` and ``entries`` agree with each other and with the models."""
        if not hasattr(self, "cache"):
            return
        now = self.clock.now
        expected = [
            StoredEntry(key, seen, ticks((model.stands_until - now) // TICK_NS))
            for key, model in self.models.items()
            if (seen := model.seen(now)) is not None
        ]
        assert expected == sorted(self.cache.entries(), key=lambda entry: entry.key)
        assert len(expected) == len(self.cache)
        for key, model in self.models.items():
            seen = model.seen(now)
            assert self.cache.peek(key) == (Nothing if seen is None else Some(seen))
            assert (key in self.cache) == (seen is not None)
            assert self.cache.ttl(key) == (
                Nothing if seen is None else Some(ticks((model.stands_until - now) // TICK_NS))
            )

    def callback(
        self, key: str, outcome: Outcome[str, str], during: str, passed: int
    ) -> Callable[[str], Outcome[str, str]]:
        """A load during which time passes and somebody writes."""

        def load(_key: str) -> Outcome[str, str]:
            self.clock.advance(ticks(passed))
            self.perform(during, key)
            return outcome

        return load

    def landed(self, key: str, outcome: Outcome[str, str], during: str) -> object:
        """What the model makes of the outcome; ``callback`` has told it of the write already."""
        model = self.models[key]
        now = self.clock.now
        return model.land(outcome, now) if during == "none" else model.land_outrun(outcome, now)

    def perform(self, write: str, key: str) -> None:
        now = self.clock.now
        match write:
            case "set":
                self.cache.set(key, "set")
                self.models[key].put("set", now)
            case "delete":
                self.cache.delete(key)
                self.models[key].forget()
            case "expire":
                self.cache.expire(key)
                self.models[key].expire(now)
            case "clear":
                self.cache.clear()
                for model in self.models.values():
                    model.forget()
            case _:
                pass


Keys.TestCase.settings = settings(max_examples=examples(150), stateful_step_count=40, deadline=None)
TestKeys = Keys.TestCase
