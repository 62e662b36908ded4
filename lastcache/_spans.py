"""Spans of loads for OpenTelemetry; ``lastcache.otel`` hands it on."""

from typing import Final, final

from opentelemetry.context import Context, attach, create_key, get_current, get_value, set_value
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    Span,
    Status,
    StatusCode,
    Tracer,
    get_current_span,
    get_tracer,
    set_span_in_context,
)

from lastcache.events import Event, Loaded, LoadFailed, LoadRaised, LoadStarted

_OPEN: Final = create_key("lastcache-load")
"""Where a context has the call whose span is current in it."""


@final
class _Call:
    """A callback that runs: one span, for one load, or for all those of a batch.

    ``before`` is the context that was current when it began. ``loads`` are those that have not ended.
    """

    __slots__ = ("before", "has_gone_wrong", "keys", "loads", "span")

    def __init__(self, span: Span, before: Context) -> None:
        self.span = span
        self.before = before
        self.has_gone_wrong = False
        self.keys: list[str] = []
        self.loads = set[tuple[str, int]]()

    def succeed(self) -> None:
        """Note that a load brought a value."""
        if not self.has_gone_wrong:
            self.span.set_attribute("lastcache.outcome", "success")

    def go_wrong(self, outcome: str, err: object, *, is_error: bool) -> None:
        """Note that a load brought none."""
        self.has_gone_wrong = True
        kind = type(err)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        self.span.set_attributes({"lastcache.outcome": outcome, "error.type": name})
        if is_error:
            self.span.set_status(Status(StatusCode.ERROR, repr(err)))


@final
class OtelSpans:
    """An observer that makes a span of each callback that runs, and has it current while the callback does.

    So what a callback calls, such as a client of HTTP that makes spans of its own, stands below the load in the trace.
    Give ``observer`` to one cache, or to several that have different names.

    A span is named ``load``, and the name of the cache. Its attributes are ``lastcache.cache``,
    ``lastcache.background``, ``lastcache.outcome`` (success, failure or exception), ``lastcache.use_stale`` of a
    failure, and ``error.type``. Its status is an error where the callback raised, or where stale data may cover its
    failure; where they must not, the source has answered. With ``keys=True`` it has ``lastcache.keys``, each written as
    ``repr`` does; without, no key is told, unless an error has it in its text.
    All loads of one call of ``load_or_store_many`` are one span: it has one callback.

    A background load may outlive the request that left it behind, so its span begins a trace of its own, with a link to
    the span of the reader.

    >>> from lastcache import LastCache
    >>> users = LastCache[int, str, str](name="users", observer=OtelSpans().observer)
    """

    def __init__(self, tracer: Tracer | None = None, *, keys: bool = False) -> None:
        self._tracer = get_tracer("lastcache") if tracer is None else tracer
        self._keys = keys
        self._calls: dict[tuple[str, int], _Call] = {}

    def observer(self, event: Event[object, object]) -> None:
        """Begin a span, or end one."""
        if isinstance(event, LoadStarted):
            self._begin(event)
        elif isinstance(event, Loaded | LoadFailed | LoadRaised):
            self._end(event)

    def _begin(self, event: LoadStarted[object]) -> None:
        call = self._calls.get((event.cache, event.batch)) or self._open(event)
        load = (event.cache, event.load)
        call.loads.add(load)
        self._calls[load] = call
        if self._keys:
            call.keys.append(repr(event.key))
            call.span.set_attribute("lastcache.keys", call.keys)

    def _open(self, event: LoadStarted[object]) -> _Call:
        """Start a span, and make it the current one of the context in which the callback will run."""
        before = _live(get_current())
        reader = get_current_span(before).get_span_context()
        named = {"lastcache.cache": event.cache} if event.cache else {}
        span = self._tracer.start_span(
            f"load {event.cache}".rstrip(),
            set_span_in_context(INVALID_SPAN, before) if event.background else before,
            attributes={**named, "lastcache.background": event.background},
            links=[Link(reader)] if event.background and reader.is_valid else [],
        )
        call = _Call(span, before)
        attach(set_value(_OPEN, call, set_span_in_context(span, before)))
        return call

    def _end(self, event: Loaded[object] | LoadFailed[object, object] | LoadRaised[object]) -> None:
        load = (event.cache, event.load)
        call = self._calls.pop(load, None)
        if call is None:
            return
        try:
            _describe(call, event)
        finally:
            call.loads.discard(load)
            if not call.loads:
                call.span.end()
                _leave(call)


def _current_call(context: Context) -> _Call | None:
    found = get_value(_OPEN, context)
    return found if isinstance(found, _Call) else None


def _live(context: Context) -> Context:
    """Give ``context``, or what was current before it where its call is over.

    Such a context is left where several tasks share one, and their loads end in another order than they began. The path
    back is shortened on the way, so that it does not grow with every load.
    """
    first = _before_ended(context)
    call = _current_call(first)
    while call is not None:
        call.before = _before_ended(call.before)
        call = _current_call(call.before)
    return first


def _before_ended(context: Context) -> Context:
    while (call := _current_call(context)) is not None and not call.loads and get_current_span(context) is call.span:
        context = call.before
    return context


def _leave(call: _Call) -> None:
    """Make current again what was before ``call``, where it is current: here, or in what its callback left attached.

    A background load is told of in its worker, where its context is not the current one: there is nothing to do. The
    token of ``attach`` is of no use for this: to detach with it in another context is an error that is logged.
    """
    if _current_call(get_current()) is call:
        attach(_live(call.before))


def _describe(call: _Call, event: Loaded[object] | LoadFailed[object, object] | LoadRaised[object]) -> None:
    """Say what came of a load. Of a batch the last load that went wrong has the last word."""
    match event:
        case Loaded():
            call.succeed()
        case LoadFailed(err=err, use_stale=use_stale):
            call.go_wrong("failure", err, is_error=use_stale)
            call.span.set_attribute("lastcache.use_stale", use_stale)
        case LoadRaised(exception=err):
            # Who cancels a load has no news of its source.
            call.go_wrong("exception", err, is_error=isinstance(err, Exception))
            call.span.record_exception(err)
