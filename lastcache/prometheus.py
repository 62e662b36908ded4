"""Metrics of caches for Prometheus; needs ``lastcache[prometheus]``."""

from collections.abc import Callable, Iterator
from typing import final

from lastcache._metrics import COUNTERS, DURATION, Counted, Watched, measure
from lastcache.events import Event

try:
    from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as _missing:
    raise ImportError("lastcache.prometheus needs prometheus-client: pip install 'lastcache[prometheus]'") from _missing

__all__ = ["PrometheusMetrics"]


@final
class PrometheusMetrics:
    """Metrics of any number of caches, told apart by the label ``cache``: make one for a registry.

    ``lastcache_loads_total`` by ``outcome`` (success, failure, exception) and ``background``,
    ``lastcache_load_duration_seconds`` by ``outcome``, ``lastcache_joins_total``, ``lastcache_stale_answers_total``,
    ``lastcache_refreshes_total`` by ``result`` (started, refused) and ``lastcache_removals_total`` by ``cause``
    (evicted, swept) come from the observer; ``lastcache_entries``, ``lastcache_misses_total`` and, where they are
    counted, ``lastcache_hits_total`` are read from the caches that it watches, when they are scraped.

    >>> from lastcache import LastCache
    >>> from returns.result import Success
    >>> registry = CollectorRegistry()
    >>> metrics = PrometheusMetrics(registry)
    >>> users = LastCache[int, str, str](observer=metrics.observer("users"))
    >>> metrics.watch("users", users)
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
        self._durations = Histogram(
            "lastcache_load_duration_seconds", DURATION.description, ("cache", *DURATION.labels), registry=registry
        )
        self._watched = Watched()
        registry.register(_Watching(self._watched))

    def observer(self, name: str) -> Callable[[Event[object, object]], None]:
        """Make the observer of the cache of this name."""

        def count(event: Event[object, object]) -> None:
            measured = measure(event)
            if measured is None:
                return
            self._counters[measured.name].labels(cache=name, **measured.labels).inc()
            if measured.took is not None:
                seconds = measured.took.total_seconds()
                self._durations.labels(cache=name, outcome=measured.labels["outcome"]).observe(seconds)

        return count

    def watch(self, name: str, cache: Counted) -> None:
        """Read the entries, hits and misses of ``cache`` when they are scraped; it is not kept alive."""
        self._watched.add(name, cache)


@final
class _Watching(Collector):
    """What is read from caches when it is scraped."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def collect(self) -> Iterator[Metric]:
        """Read it."""
        entries = GaugeMetricFamily("lastcache_entries", "Keys that have a value", labels=["cache"])
        hits = CounterMetricFamily("lastcache_hits", "Calls for which an answer stood", labels=["cache"])
        misses = CounterMetricFamily("lastcache_misses", "Calls for which no answer stood", labels=["cache"])
        for name, stats in self._watched.stats():
            entries.add_metric([name], stats.entries)
            misses.add_metric([name], stats.misses)
            if stats.hits is not None:
                hits.add_metric([name], stats.hits)
        yield from (entries, hits, misses)
