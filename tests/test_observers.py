"""The observers that are ready to use, with the real SDK of OpenTelemetry and the real registry of Prometheus."""

import gc
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry, generate_latest
from returns.result import Success

from lastcache import Config, LastCache, failed
from lastcache.core.states import Outcome
from lastcache.events import Event, Joined, LoadFailed, LoadRaised, RefreshRefused, ServedStale
from lastcache.observers import all_of, log_to
from lastcache.otel import OtelMetrics
from lastcache.prometheus import PrometheusMetrics
from lastcache.testing import ManualClock, run_inline
from tests.kit import gives, ticks

SECOND = timedelta(seconds=1)
BROKEN = ValueError("broken")


def history(cache: LastCache[str, str, str], clock: ManualClock) -> None:
    """Three loads in the foreground, one of which takes two seconds, and one behind; two evictions and a hit."""

    def slowly(_key: str) -> Outcome[str, str]:
        clock.advance(2 * SECOND)
        return Success("v")

    cache.load_or_store("a", slowly)
    cache.load_or_store("a", slowly)
    cache.load_or_store("b", gives(failed("down", use_stale=True)))
    with pytest.raises(ValueError, match="broken"):
        cache.load_or_store("b", raising)
    cache.expire("a")
    cache.async_load_or_store("a", gives(Success("new")))
    cache.set("b", "v")
    cache.set("c", "v")


def raising(_key: str) -> Outcome[str, str]:
    raise BROKEN


def observed(observer: Any, *, count_hits: bool = True) -> tuple[LastCache[str, str, str], ManualClock]:
    config, clock = Config(max_entries=1, count_hits=count_hits), ManualClock()
    return LastCache(config, clock=clock, observer=observer, executor=run_inline), clock


def points(reader: InMemoryMetricReader) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Read name, attributes and figure of each point."""
    data = reader.get_metrics_data()
    assert data is not None
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                for point in metric.data.data_points:
                    figure: Any = getattr(point, "value", None)
                    told = (point.count, point.sum) if figure is None else figure  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue]  # a histogram's
                    yield metric.name, dict(point.attributes or {}), told


def test_opentelemetry_keeps_the_figures() -> None:
    """Each event is counted under its name and attributes, as the SDK's reader collects them."""
    reader = InMemoryMetricReader()
    metrics = OtelMetrics(MeterProvider([reader]).get_meter("test"))
    cache, clock = observed(metrics.observer("users"))
    metrics.watch("users", cache)
    history(cache, clock)
    found = {(name, *sorted(attributes.items())): figure for name, attributes, figure in points(reader)}
    users = ("cache", "users")
    assert found == {
        ("lastcache.loads", ("background", "false"), users, ("outcome", "success")): 1,
        ("lastcache.loads", ("background", "false"), users, ("outcome", "failure")): 1,
        ("lastcache.loads", ("background", "false"), users, ("outcome", "exception")): 1,
        ("lastcache.loads", ("background", "true"), users, ("outcome", "success")): 1,
        ("lastcache.load.duration", users, ("outcome", "success")): (2, 2.0),
        ("lastcache.load.duration", users, ("outcome", "failure")): (1, 0.0),
        ("lastcache.stale_answers", users): 1,
        ("lastcache.refreshes", users, ("result", "started")): 1,
        ("lastcache.removals", ("cache", "users"), ("cause", "evicted")): 2,
        ("lastcache.entries", users): 1,
        ("lastcache.hits", users): 1,
        ("lastcache.misses", users): 4,
    }


def test_prometheus_exposes_the_figures() -> None:
    """Each event is counted under its name and labels, as the registry's own text exposes them."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    cache, clock = observed(metrics.observer("users"))
    metrics.watch("users", cache)
    history(cache, clock)
    lines = generate_latest(registry).decode().splitlines()
    told = {line for line in lines if not line.startswith("#") and "_created" not in line and "_bucket" not in line}
    assert told == {
        'lastcache_loads_total{background="false",cache="users",outcome="success"} 1.0',
        'lastcache_loads_total{background="false",cache="users",outcome="failure"} 1.0',
        'lastcache_loads_total{background="false",cache="users",outcome="exception"} 1.0',
        'lastcache_loads_total{background="true",cache="users",outcome="success"} 1.0',
        'lastcache_load_duration_seconds_count{cache="users",outcome="success"} 2.0',
        'lastcache_load_duration_seconds_sum{cache="users",outcome="success"} 2.0',
        'lastcache_load_duration_seconds_count{cache="users",outcome="failure"} 1.0',
        'lastcache_load_duration_seconds_sum{cache="users",outcome="failure"} 0.0',
        'lastcache_stale_answers_total{cache="users"} 1.0',
        'lastcache_refreshes_total{cache="users",result="started"} 1.0',
        'lastcache_removals_total{cache="users",cause="evicted"} 2.0',
        'lastcache_entries{cache="users"} 1.0',
        'lastcache_hits_total{cache="users"} 1.0',
        'lastcache_misses_total{cache="users"} 4.0',
    }


def test_joins_refusals_and_sweeps_have_names_too() -> None:
    """The rarer events are counted as well."""
    registry = CollectorRegistry()
    observer = PrometheusMetrics(registry).observer("users")
    config, clock = Config(stale_if_error=ticks(1), stale_while_revalidate=ticks(1)), ManualClock()
    cache = LastCache[str, str, str](config, clock=clock, observer=observer)
    cache.set("a", "v")
    clock.advance(timedelta(minutes=2))
    cache.set("b", "v")
    observer(Joined("k"))
    observer(RefreshRefused("k", "no thread could be had"))
    assert registry.get_sample_value("lastcache_removals_total", {"cache": "users", "cause": "swept"}) == 1
    assert registry.get_sample_value("lastcache_joins_total", {"cache": "users"}) == 1
    assert registry.get_sample_value("lastcache_refreshes_total", {"cache": "users", "result": "refused"}) == 1


def test_watching_keeps_no_cache_alive_and_reads_no_closed_one() -> None:
    """A cache that is gone or closed has no figures any more; without ``count_hits`` there is no figure of hits."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    reader = InMemoryMetricReader()
    otel = OtelMetrics(MeterProvider([reader]).get_meter("test"))
    names = ("gone", "closed", "open")
    caches = {name: observed(None, count_hits=False)[0] for name in names}
    for name in names:
        metrics.watch(name, caches[name])
        otel.watch(name, caches[name])
    caches["closed"].close()
    del caches["gone"]
    gc.collect()
    entries = [registry.get_sample_value("lastcache_entries", {"cache": name}) for name in names]
    assert entries == [None, None, 0]
    assert registry.get_sample_value("lastcache_hits_total", {"cache": "open"}) is None
    assert list(points(reader)) == [
        ("lastcache.entries", {"cache": "open"}, 0),
        ("lastcache.misses", {"cache": "open"}, 0),
    ]


def test_logging_by_what_an_event_means(caplog: pytest.LogCaptureFixture) -> None:
    """Each event is one record, whose level says how bad it is, with the traceback of what was raised."""
    caplog.set_level(logging.DEBUG)
    log = log_to(logging.getLogger("users"))
    events: list[Event[str, str]] = [
        LoadRaised("k", BROKEN, background=False),
        LoadFailed("k", "down", use_stale=True, took=SECOND, background=True),
        ServedStale("k", None),
        Joined("k"),
    ]
    for event in events:
        log(event)
    found = [(record.levelno, record.getMessage(), vars(record)["event"]) for record in caplog.records]
    levels = [logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG]
    assert found == [(level, repr(event), event) for level, event in zip(levels, events, strict=True)]
    assert [record.exc_info is not None for record in caplog.records] == [True, False, False, False]
    caplog.clear()


def test_all_of_several_observers_are_told() -> None:
    """Each observer is told in turn, and what one raises does not keep the others from it."""
    told: list[object] = []

    def broken(event: Event[str, str]) -> None:
        told.append("broken")
        raise BROKEN

    with pytest.raises(ValueError, match="broken"):
        all_of(told.append, broken, told.append)(Joined("k"))
    assert told == [Joined("k"), "broken", Joined("k")]
