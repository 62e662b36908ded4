"""Metrics of caches for Prometheus; needs ``lastcache[prometheus]``."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from threading import RLock
from typing import final
from weakref import finalize

from lastcache._metrics import COUNTERS, DURATIONS, GAUGES, SECONDS, TOTALS, Counted, Watched, measures, named
from lastcache._shell.forks import reset_in_children
from lastcache.events import Event

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as _missing:
    raise ImportError("lastcache.prometheus needs prometheus-client: pip install 'lastcache[prometheus]'") from _missing

__all__ = ["PrometheusMetrics"]


@final
class PrometheusMetrics:
    """Metrics of any number of caches, told apart by the label ``cache``: make one for a registry.

    What the observer is told of is counted and timed: ``lastcache_loads_total``, ``lastcache_load_duration_seconds``,
    ``lastcache_joins_total``, ``lastcache_join_duration_seconds``, ``lastcache_stale_answers_total``,
    ``lastcache_refreshes_total`` and ``lastcache_removals_total``. What is watched is read when it is scraped:
    ``lastcache_entries``, ``lastcache_active_loads``, ``lastcache_queued_loads``, ``lastcache_misses_total`` and, where
    they are counted, ``lastcache_hits_total``. Units, labels and buckets are in ``docs/observing.md``.

    In the multiprocess mode of prometheus_client, where ``PROMETHEUS_MULTIPROC_DIR`` is set, nothing can be read by a
    scrape, which is another process. There each event of a cache that is watched has its counts written down, as gauges
    that are added up over the processes that live.

    >>> from lastcache import LastCache
    >>> from returns.result import Success
    >>> registry = CollectorRegistry()
    >>> metrics = PrometheusMetrics(registry)
    >>> users = LastCache[int, str, str](name="users", observer=metrics.observer())
    >>> metrics.watch(users)
    >>> _ = users.load_or_store(1, lambda key: Success("Ada"))
    >>> labels = {"cache": "users", "outcome": "success", "background": "false"}
    >>> registry.get_sample_value("lastcache_loads_total", labels)
    1.0
    >>> registry.get_sample_value("lastcache_entries", {"cache": "users"})
    1
    """

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._counters = {
            name: Counter(f"lastcache_{name}", counter.description, ("cache", *counter.labels), registry=registry)
            for name, counter in COUNTERS.items()
        }
        self._durations = {
            name: Histogram(
                f"lastcache_{name.replace('.', '_')}",
                duration.description,
                ("cache", *duration.labels),
                unit="seconds",
                buckets=SECONDS,
                registry=registry,
            )
            for name, duration in DURATIONS.items()
        }
        self._watched = Watched()
        self._known = set[str]()
        self._written = _Written(self._watched, registry) if is_multiprocess() else None
        if self._written is None:
            registry.register(_Watching(self._watched))

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
                if one.took is None:
                    self._counters[one.name].labels(cache=cache, **one.labels).inc()
                else:
                    self._durations[one.name].labels(cache=cache, **one.labels).observe(one.took.total_seconds())
            if self._written is not None:
                self._written.write(cache)

        return count

    def watch(self, cache: Counted, *, name: str | None = None) -> None:
        """Read the counts of ``cache`` when they are scraped, under its own name or this one; it is not kept alive.

        Raises ``ConfigError`` where both are empty.
        """
        known = named(name, cache.name)
        self._introduce(known)
        self._watched.add(known, cache)
        if self._written is not None:
            self._written.follow(known, cache)

    def _introduce(self, name: str) -> None:
        """Begin each counter of a cache at zero: what is first seen at one has not grown."""
        if name in self._known:
            return
        self._known.add(name)
        for kind, counter in COUNTERS.items():
            for labels in counter.series():
                self._counters[kind].labels(cache=name, **labels)


def is_multiprocess() -> bool:
    """Whether prometheus_client writes its figures to files: it looks for the same variables when it is imported."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ or "prometheus_multiproc_dir" in os.environ


@final
class _Watching(Collector):
    """What is read from caches when it is scraped."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def collect(self) -> Iterator[Metric]:
        """Read it."""
        stats = list(self._watched.stats())
        for name, gauge in GAUGES.items():
            read = GaugeMetricFamily(f"lastcache_{name}", gauge.description, labels=["cache"])
            for cache, counted in stats:
                read.add_metric([cache], gauge.read(counted) or 0)
            yield read
        for name, total in TOTALS.items():
            grown = CounterMetricFamily(f"lastcache_{name}", total.description, labels=["cache"])
            for cache, counted in stats:
                number = total.read(counted)
                if number is not None:
                    grown.add_metric([cache], number)
            yield grown


@final
class _Written:
    """What is written down at each event, for a scrape that another process answers.

    Two threads that read and write at once could leave the older figure; a signal handler may come between, too.
    """

    def __init__(self, watched: Watched, registry: CollectorRegistry) -> None:
        self._watched = watched
        self._lock = RLock()
        self._gone = deque[str]()
        self._told: dict[tuple[str, str], int] = {}
        self._gauges = {
            name: Gauge(
                f"lastcache_{name}", gauge.description, ("cache",), registry=registry, multiprocess_mode="livesum"
            )
            for name, gauge in GAUGES.items()
        }
        self._totals = {
            name: Counter(f"lastcache_{name}", total.description, ("cache",), registry=registry)
            for name, total in TOTALS.items()
        }
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """Begin with a free lock, as the child of a fork must."""
        self._lock = RLock()

    def follow(self, name: str, cache: Counted) -> None:
        """Write the counts down now, and once more after ``cache`` is gone; a finalizer must not take a lock."""
        finalize(cache, self._gone.append, name).atexit = False
        self.write(name)

    def write(self, name: str) -> None:
        """Write the counts of the caches of this name down, and of those that are gone."""
        with self._lock:
            self._write(name)
            while self._gone:
                self._write(self._gone.popleft())

    def _write(self, name: str) -> None:
        stats = self._watched.stats_of(name)
        for kind, gauge in GAUGES.items():
            self._gauges[kind].labels(cache=name).set(0 if stats is None else gauge.read(stats) or 0)
        for kind, total in TOTALS.items():
            number = None if stats is None else total.read(stats)
            if number is not None:
                self._totals[kind].labels(cache=name).inc(max(0, number - self._told.get((kind, name), 0)))
                self._told[kind, name] = number
