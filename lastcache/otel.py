"""Metrics of caches for OpenTelemetry; needs ``lastcache[otel]``."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import final

from lastcache._metrics import COUNTERS, DURATION, Counted, Watched, measure
from lastcache.events import Event, Stats

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter
except ImportError as _missing:
    raise ImportError("lastcache.otel needs opentelemetry-api: pip install 'lastcache[otel]'") from _missing

__all__ = ["OtelMetrics"]


@final
class OtelMetrics:
    """Metrics of any number of caches, told apart by the attribute ``cache``: make one for a meter.

    ``lastcache.loads`` by ``outcome`` (success, failure, exception) and ``background``, ``lastcache.load.duration``
    (seconds) by ``outcome``, ``lastcache.joins``, ``lastcache.stale_answers``, ``lastcache.refreshes`` by ``result``
    (started, refused) and ``lastcache.removals`` by ``cause`` (evicted, swept) come from the observer;
    ``lastcache.entries``, ``lastcache.misses`` and, where they are counted, ``lastcache.hits`` are read from the caches
    that it watches, when they are collected.

    >>> from lastcache import LastCache
    >>> metrics = OtelMetrics()
    >>> users = LastCache[int, str, str](observer=metrics.observer("users"))
    >>> metrics.watch("users", users)
    """

    def __init__(self, meter: Meter | None = None) -> None:
        used = get_meter("lastcache") if meter is None else meter
        self._counters = {
            name: used.create_counter(f"lastcache.{name}", unit="1", description=counter.description)
            for name, counter in COUNTERS.items()
        }
        self._durations = used.create_histogram("lastcache.load.duration", unit="s", description=DURATION.description)
        self._watched = Watched()
        used.create_observable_up_down_counter(
            "lastcache.entries",
            [partial(self._read, lambda stats: stats.entries)],
            unit="1",
            description="Keys that have a value",
        )
        used.create_observable_counter(
            "lastcache.hits",
            [partial(self._read, lambda stats: stats.hits)],
            unit="1",
            description="Calls for which an answer stood",
        )
        used.create_observable_counter(
            "lastcache.misses",
            [partial(self._read, lambda stats: stats.misses)],
            unit="1",
            description="Calls for which no answer stood",
        )

    def observer(self, name: str) -> Callable[[Event[object, object]], None]:
        """Make the observer of the cache of this name."""

        def count(event: Event[object, object]) -> None:
            measured = measure(event)
            if measured is None:
                return
            self._counters[measured.name].add(1, {"cache": name, **measured.labels})
            if measured.took is not None:
                attributes = {"cache": name, "outcome": measured.labels["outcome"]}
                self._durations.record(measured.took.total_seconds(), attributes)

        return count

    def watch(self, name: str, cache: Counted) -> None:
        """Read the entries, hits and misses of ``cache`` when they are collected; it is not kept alive."""
        self._watched.add(name, cache)

    def _read(self, figure: Callable[[Stats], int | None], _options: CallbackOptions) -> Iterator[Observation]:
        for name, stats in self._watched.stats():
            number = figure(stats)
            if number is not None:
                yield Observation(number, {"cache": name})
