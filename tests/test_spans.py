"""Spans of loads, by the real SDK of OpenTelemetry, in threads and in tasks."""

from collections.abc import Mapping, Sequence
from contextvars import copy_context
from datetime import timedelta
from typing import Any, Final

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from returns.result import Success

from lastcache import LastCache, _spans, failed
from lastcache.core.states import Outcome
from lastcache.events import Event, Joined, Loaded, LoadFailed, LoadStarted
from lastcache.otel import OtelSpans
from tests.kit import given, gives
from tests.shells import LOOPS, Stage, TaskCall, each_of, giving

NONE: Final = timedelta(0)
NEW: Final = giving(Success("new"))


class Traced:
    """A tracer, and what was made with it: every span that was begun has ended when it is looked at."""

    def __init__(self, *, keys: bool = False) -> None:
        self.exporter = InMemorySpanExporter()
        self.begun = list[str]()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")
        self.spans = OtelSpans(self.tracer, keys=keys)

    def __call__(self, event: Event[Any, Any]) -> None:
        self.spans.observer(event)
        if isinstance(event, LoadStarted):
            self.begun.append(event.cache)

    def all_ended(self) -> bool:
        """Whether no load is open."""
        return not self.spans._calls  # noqa: SLF001

    def ended(self, name: str = "load") -> Sequence[ReadableSpan]:
        assert self.all_ended()
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name: str = "load") -> ReadableSpan:
        (span,) = self.ended(name)
        return span


def parent_of(span: ReadableSpan) -> int | None:
    return None if span.parent is None else span.parent.span_id


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    number: int = span.context.span_id
    return number


def outcome_of(span: ReadableSpan) -> tuple[object, object, StatusCode, list[str]]:
    """Give outcome, type of error, status, and the names of the events."""
    told = dict(span.attributes or {})
    return (
        told.get("lastcache.outcome"),
        told.get("error.type"),
        span.status.status_code,
        [event.name for event in span.events],
    )


async def test_what_a_callback_does_is_a_part_of_its_load(stage: Stage) -> None:
    """Its spans are children of the load's, which is a child of the caller's, whose own span is current afterwards."""
    traced = Traced()
    await stage.open(observer=traced)

    async def load(_key: str) -> Outcome[str, str]:
        with traced.tracer.start_as_current_span("query"):
            return Success("v")

    with traced.tracer.start_as_current_span("request") as request:
        before = context.get_current()
        await stage.ask("k", load)
        assert context.get_current() is before
        assert trace.get_current_span() is request
    load_span = traced.one()
    assert parent_of(traced.one("query")) == id_of(load_span)
    assert parent_of(load_span) == id_of(traced.one("request"))
    assert dict(load_span.attributes or {}) == {"lastcache.background": False, "lastcache.outcome": "success"}
    assert outcome_of(load_span) == ("success", None, StatusCode.UNSET, [])


@pytest.mark.parametrize(
    ("use_stale", "status"), [(True, StatusCode.ERROR), (False, StatusCode.UNSET)], ids=["down", "no"]
)
async def test_a_failure_is_an_error_where_the_source_is_down(
    stage: Stage,
    use_stale: bool,  # noqa: FBT001  # a parameter of the test
    status: StatusCode,
) -> None:
    """Where stale data must not cover it, the source has answered."""
    traced = Traced()
    await stage.open(observer=traced)
    await stage.ask("k", giving(failed("timed out", use_stale=use_stale)))
    span = traced.one()
    assert outcome_of(span) == ("failure", "str", status, [])
    assert (span.attributes or {})["lastcache.use_stale"] == use_stale
    assert span.status.description == ("'timed out'" if use_stale else None)


async def test_what_was_raised_is_recorded(stage: Stage) -> None:
    """The span has the exception with its traceback, and is an error; the caller's context is as it was."""
    traced = Traced()
    await stage.open(observer=traced)

    async def raising(_key: str) -> Outcome[str, str]:
        raise OSError("broken")

    before = context.get_current()
    with pytest.raises(OSError, match="broken"):
        await stage.ask("k", raising)
    assert context.get_current() is before
    span = traced.one()
    assert outcome_of(span) == ("exception", "OSError", StatusCode.ERROR, ["exception"])
    assert "in raising" in str((span.events[0].attributes or {})["exception.stacktrace"])


async def test_an_interrupted_load_ends_its_span(stage: Stage) -> None:
    """It says what interrupted it, and is no error of the source."""
    traced = Traced()
    await stage.open(observer=traced)

    async def struck(_key: str) -> Outcome[str, str]:
        raise KeyboardInterrupt

    before = context.get_current()
    with pytest.raises(KeyboardInterrupt):
        await stage.ask("k", struck)
    assert context.get_current() is before
    assert outcome_of(traced.one()) == ("exception", "KeyboardInterrupt", StatusCode.UNSET, ["exception"])


@pytest.mark.parametrize("stage", each_of(LOOPS), indirect=True)
async def test_a_cancelled_load_ends_its_span(stage: Stage) -> None:
    """Its own, and not that of the load which took over."""
    traced = Traced()
    await stage.open("k", observer=traced)
    load = stage.gated(Success("never"))
    leader = stage.asking("k", load)
    await load.started()
    joiner = stage.asking("k", NEW)
    await stage.joined(1)
    assert isinstance(leader, TaskCall)
    leader.cancel()
    assert await joiner.result() == given("new")
    await stage.until(traced.all_ended)
    cancelled, taken_over = traced.ended()
    assert outcome_of(cancelled)[2:] == (StatusCode.UNSET, ["exception"])
    assert outcome_of(taken_over) == ("success", None, StatusCode.UNSET, [])


async def test_an_outrun_load_ends_its_span(stage: Stage) -> None:
    """Also where a newer write made it count for nothing."""
    traced = Traced()
    cache = await stage.open("k", observer=traced)

    async def outrun(_key: str) -> Outcome[str, str]:
        cache.set("k", "newer")
        return Success("late")

    await stage.ask("k", outrun)
    assert outcome_of(traced.one())[0] == "success"


async def test_a_background_load_is_a_trace_of_its_own_linked_to_its_reader(stage: Stage) -> None:
    """Its callback's spans are below it, and sees the baggage of the reader; nothing is left in either context."""
    traced = Traced()
    await stage.open("k", observer=traced)
    seen = list[object]()

    async def load(_key: str) -> Outcome[str, str]:
        seen.append(baggage.get_baggage("tenant"))
        with traced.tracer.start_as_current_span("query"):
            return Success("new")

    token = context.attach(baggage.set_baggage("tenant", "shop"))
    with traced.tracer.start_as_current_span("request") as request:
        refresh = await stage.behind("k", load)
        await stage.ended(refresh)
        assert trace.get_current_span() is request
    context.detach(token)
    await stage.until(traced.all_ended)
    span = traced.one()
    assert parent_of(span) is None
    assert [link.context for link in span.links] == [traced.one("request").context]
    assert (span.attributes or {})["lastcache.background"] is True
    assert parent_of(traced.one("query")) == id_of(span)
    assert seen == ["shop"]


async def test_a_background_load_without_a_reader_who_is_traced_has_no_link(stage: Stage) -> None:
    """There is nothing to link to."""
    traced = Traced()
    await stage.open("a", "b", observer=traced)
    for key in "ab":
        await stage.ended(await stage.behind(key, NEW))
    await stage.until(traced.all_ended)
    spans = traced.ended()
    assert [(parent_of(span), list(span.links)) for span in spans] == [(None, [])] * 2
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_load_inside_a_load_is_its_child(stage: Stage) -> None:
    """And what comes after it in the outer callback is not."""
    traced = Traced()
    await stage.open(observer=traced)

    async def outer(_key: str) -> Outcome[str, str]:
        await stage.ask("inner", NEW)
        with traced.tracer.start_as_current_span("query"):
            return Success("v")

    await stage.ask("outer", outer)
    inner, outside = traced.ended()
    assert parent_of(inner) == id_of(outside)
    assert parent_of(traced.one("query")) == id_of(outside)
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_batch_is_one_span(stage: Stage) -> None:
    """It has one callback; what went wrong with one of its loads is the outcome of all."""
    traced = Traced(keys=True)
    await stage.open(observer=traced)

    async def load(keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        with traced.tracer.start_as_current_span("query"):
            return {key: failed("down", use_stale=True) if key == "b" else Success(key) for key in keys}

    await stage.ask_many("abc", load)
    span = traced.one()
    assert dict(span.attributes or {}) == {
        "lastcache.background": False,
        "lastcache.keys": ("'a'", "'b'", "'c'"),
        "lastcache.outcome": "failure",
        "lastcache.use_stale": True,
        "error.type": "str",
    }
    assert parent_of(traced.one("query")) == id_of(span)
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_a_batch_that_was_interrupted_ends_its_span(stage: Stage) -> None:
    """With all of its loads."""
    traced = Traced()
    await stage.open(observer=traced)

    async def struck(_keys: tuple[str, ...]) -> Mapping[str, Outcome[str, str]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await stage.ask_many("ab", struck)
    assert outcome_of(traced.one())[1] == "KeyboardInterrupt"


async def test_what_a_callback_leaves_attached_is_taken_away(stage: Stage) -> None:
    """The caller's context is what it was, also where the callback forgot to detach its own."""
    traced = Traced()
    await stage.open(observer=traced)

    async def careless(_key: str) -> Outcome[str, str]:
        context.attach(trace.set_span_in_context(traced.tracer.start_span("left open")))
        return Success("v")

    with traced.tracer.start_as_current_span("request") as request:
        await stage.ask("k", careless)
        assert trace.get_current_span() is request


def test_the_name_of_the_cache_is_that_of_the_span() -> None:
    """No key is told without being asked for."""
    traced = Traced()
    cache = LastCache[str, str, str](name="users", observer=traced)
    cache.load_or_store("ada", gives(Success("v")))
    span = traced.one("load users")
    assert dict(span.attributes or {}) == {
        "lastcache.cache": "users",
        "lastcache.background": False,
        "lastcache.outcome": "success",
    }


def test_caches_may_share_an_observer() -> None:
    """Their loads have the same numbers, and different names."""
    traced = Traced()
    caches = [LastCache[str, str, str](name=name, observer=traced) for name in ("users", "orders")]

    def load(_key: str) -> Outcome[str, str]:
        return Success(caches[1].load_or_store("k", gives(Success("v"))).unwrap().value)

    caches[0].load_or_store("k", load)
    assert parent_of(traced.one("load orders")) == id_of(traced.one("load users"))


def test_an_end_that_is_told_in_another_context_leaves_that_one_alone() -> None:
    """So it is with what the collector ends; the SDK has nothing to complain of."""
    traced = Traced()
    begun = copy_context()
    begun.run(traced, LoadStarted("k", background=False, load=1))
    before = context.get_current()
    traced(LoadFailed("k", ValueError("x"), use_stale=True, took=NONE, background=False, load=1))
    traced(Loaded("k", NONE, background=False, load=2))
    traced(Joined("k"))
    assert context.get_current() is before
    assert outcome_of(traced.one())[:3] == ("failure", "ValueError", StatusCode.ERROR)
    begun.run(traced, LoadStarted("k", background=False, load=3))
    begun.run(traced, Loaded("k", NONE, background=False, load=3))
    first, second = traced.ended()
    assert (parent_of(first), parent_of(second)) == (None, None)
    assert begun.run(trace.get_current_span) is trace.INVALID_SPAN


def test_loads_of_tasks_that_share_a_context_leave_nothing_behind() -> None:
    """They end in any order; what is current afterwards is what was current before the first."""
    traced = Traced()
    before = context.get_current()
    ends = list[int]()
    for load in range(1, 5000):
        traced(LoadStarted("k", background=False, load=load))
        ends.append(load)
        if len(ends) > 3:
            traced(Loaded("k", NONE, background=False, load=ends.pop(0)))
    call: Any = traced.spans._calls["", 4999]  # noqa: SLF001
    depth = 0
    while (call := context.get_value(_spans._OPEN, call.before)) is not None:  # noqa: SLF001
        depth += 1
    assert depth < 5
    for load in ends:
        traced(Loaded("k", NONE, background=False, load=load))
    assert context.get_current() is before
    assert len(traced.ended()) == 4999
