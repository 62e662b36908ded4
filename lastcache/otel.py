"""Metrics and spans of caches for OpenTelemetry; needs ``lastcache[otel]``."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import final

from lastcache._metrics import COUNTERS, DURATIONS, GAUGES, SECONDS, TOTALS, Counted, Watched, measures, named
from lastcache.events import Event, Stats

try:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter

    from lastcache._spans import OtelSpans
except ImportError as _missing:
    raise ImportError("lastcache.otel needs opentelemetry-api: pip install 'lastcache[otel]'") from _missing

__all__ = ["OtelMetrics", "OtelSpans"]


@final
class OtelMetrics:
    """Metrics of any number of caches, told apart by the attribute ``cache``: make one for a meter.

    What the observer is told of is counted and timed: ``lastcache.loads``, ``lastcache.load.duration``,
    ``lastcache.joins``, ``lastcache.join.duration``, ``lastcache.stale_answers``, ``lastcache.refreshes`` and
    ``lastcache.removals``. What is watched is read when it is collected: ``lastcache.entries``,
    ``lastcache.active_loads``, ``lastcache.queued_loads``, ``lastcache.misses`` and, where they are counted,
    ``lastcache.hits``. Units, attributes and buckets are in ``docs/observing.md``.

    >>> from lastcache import LastCache
    >>> metrics = OtelMetrics()
    >>> users = LastCache[int, str, str](name="users", observer=metrics.observer())
    >>> metrics.watch(users)
    """

    def __init__(self, meter: Meter | None = None) -> None:
        used = get_meter("lastcache") if meter is None else meter
        self._counters = {
            name: used.create_counter(f"lastcache.{name}", unit=counter.unit, description=counter.description)
            for name, counter in COUNTERS.items()
        }
        self._durations = {
            name: used.create_histogram(
                f"lastcache.{name}",
                unit=duration.unit,
                description=duration.description,
                explicit_bucket_boundaries_advisory=SECONDS,
            )
            for name, duration in DURATIONS.items()
        }
        self._watched = Watched()
        self._known = set[str]()
        for name, gauge in GAUGES.items():
            used.create_observable_up_down_counter(
                f"lastcache.{name}", [partial(self._read, gauge.read)], gauge.unit, gauge.description
            )
        for name, total in TOTALS.items():
            used.create_observable_counter(
                f"lastcache.{name}", [partial(self._read, total.read)], total.unit, total.description
            )

    def observer(self, name: str | None = None) -> Callable[[Event[object, object]], None]:
        """Make an observer that keeps figures under ``name``, or else under the name of the cache.

        Where both are empty nothing is counted: each event raises ``ConfigError``, which the cache logs once.
        """
        if name is not None:
            self._introduce(named(name, ""))

        def count(event: Event[object, object]) -> None:
            cache = named(name, event.cache)
            self._introduce(cache)
            for one in measures(event):
                attributes = {"cache": cache, **one.labels}
                if one.took is None:
                    self._counters[one.name].add(1, attributes)
                else:
                    self._durations[one.name].record(one.took.total_seconds(), attributes)

        return count

    def watch(self, cache: Counted, *, name: str | None = None) -> None:
        """Read the counts of ``cache`` when they are collected, under its own name or this one; it is not kept alive.

        Raises ``ConfigError`` where both are empty.
        """
        known = named(name, cache.name)
        self._introduce(known)
        self._watched.add(known, cache)

    def _introduce(self, name: str) -> None:
        """Begin each counter of a cache at zero: what is first seen at one has not grown."""
        if name in self._known:
            return
        self._known.add(name)
        for kind, counter in COUNTERS.items():
            for labels in counter.series():
                self._counters[kind].add(0, {"cache": name, **labels})

    def _read(self, figure: Callable[[Stats], int | None], _options: CallbackOptions) -> Iterator[Observation]:
        for name, stats in self._watched.stats():
            number = figure(stats)
            if number is not None:
                yield Observation(number, {"cache": name})
