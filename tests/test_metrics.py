"""The figures of caches, as the real SDK of OpenTelemetry and the real registry of Prometheus give them."""

import gc
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, Metric
from prometheus_client import CollectorRegistry, generate_latest
from returns.result import Success

from lastcache import Config, ConfigError, LastCache, failed
from lastcache._metrics import COUNTERS, GAUGES, SECONDS, TOTALS
from lastcache.core.states import Outcome
from lastcache.events import Event, Joined, LoadRaised, RefreshRefused, Waited, WaitedElsewhere
from lastcache.otel import OtelMetrics
from lastcache.prometheus import PrometheusMetrics
from lastcache.testing import ManualClock, run_inline
from tests.kit import gated, gives, in_thread, result_of, ticks, until

SECOND: Final = timedelta(seconds=1)
BROKEN: Final = ValueError("broken")

LOADS: Final = "lastcache_loads_total"
USERS: Final = {"cache": "users"}


def history(cache: LastCache[str, str, str], clock: ManualClock) -> None:
    """Three loads in the foreground, two of which take a while, and one behind; two evictions and a hit."""

    def slowly(_key: str) -> Outcome[str, str]:
        clock.advance(2 * SECOND)
        return Success("v")

    def raising(_key: str) -> Outcome[str, str]:
        clock.advance(5 * SECOND)
        raise BROKEN

    cache.load_or_store("a", slowly)
    cache.load_or_store("a", slowly)
    cache.load_or_store("b", gives(failed("down", use_stale=True)))
    with pytest.raises(ValueError, match="broken"):
        cache.load_or_store("b", raising)
    cache.expire("a")
    cache.async_load_or_store("a", gives(Success("new")))
    cache.set("b", "v")
    cache.set("c", "v")


def observed(observer: Any, *, count_hits: bool = True, name: str = "users") -> tuple[Any, ManualClock]:
    config, clock = Config(max_entries=1, count_hits=count_hits), ManualClock()
    cache = LastCache[str, str, str](config, clock=clock, observer=observer, executor=run_inline, name=name)
    return cache, clock


def collected(reader: InMemoryMetricReader) -> Iterator[Metric]:
    """Give what the reader collects."""
    data = reader.get_metrics_data()
    assert data is not None
    for resource in data.resource_metrics:
        for scope in resource.scope_metrics:
            yield from scope.metrics


def points(reader: InMemoryMetricReader) -> dict[Any, Any]:
    """Give the figure of each point that is not zero, by its name and attributes."""
    found: dict[Any, Any] = {}
    for metric in collected(reader):
        for point in metric.data.data_points:
            assert not hasattr(point, "scale")
            if isinstance(point, HistogramDataPoint):
                figure: Any = (point.count, point.sum)
            else:
                figure = point.value  # pyright: ignore[reportAttributeAccessIssue]  # a number's
            if figure:
                found[metric.name, *sorted((point.attributes or {}).items())] = figure
    return found


def exposed(registry: CollectorRegistry) -> set[str]:
    """Give the lines of the exposed text whose figure is not zero, without buckets and times."""
    lines = generate_latest(registry).decode().splitlines()
    return {
        line
        for line in lines
        if not line.startswith("#") and "_created" not in line and "_bucket" not in line and not line.endswith(" 0.0")
    }


def figure(registry: CollectorRegistry, name: str, labels: Mapping[str, str] = USERS) -> float | None:
    return registry.get_sample_value(f"lastcache_{name}", dict(labels))


def test_opentelemetry_keeps_the_figures() -> None:
    """Each event is counted under its name and attributes, as the SDK's reader collects them."""
    reader = InMemoryMetricReader()
    metrics = OtelMetrics(MeterProvider([reader]).get_meter("test"))
    cache, clock = observed(metrics.observer())
    metrics.watch(cache)
    history(cache, clock)
    users = ("cache", "users")
    assert points(reader) == {
        ("lastcache.loads", ("background", "false"), users, ("outcome", "success")): 1,
        ("lastcache.loads", ("background", "false"), users, ("outcome", "failure")): 1,
        ("lastcache.loads", ("background", "false"), users, ("outcome", "exception")): 1,
        ("lastcache.loads", ("background", "true"), users, ("outcome", "success")): 1,
        ("lastcache.load.duration", users, ("outcome", "success")): (2, 2.0),
        ("lastcache.load.duration", users, ("outcome", "failure")): (1, 0.0),
        ("lastcache.load.duration", users, ("outcome", "exception")): (1, 5.0),
        ("lastcache.stale_answers", users): 1,
        ("lastcache.refreshes", users, ("result", "started")): 1,
        ("lastcache.removals", users, ("cause", "evicted")): 2,
        ("lastcache.entries", users): 1,
        ("lastcache.hits", users): 1,
        ("lastcache.misses", users): 4,
    }


def test_prometheus_exposes_the_figures() -> None:
    """Each event is counted under its name and labels, as the registry's own text exposes them."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    cache, clock = observed(metrics.observer())
    metrics.watch(cache)
    history(cache, clock)
    assert exposed(registry) == {
        'lastcache_loads_total{background="false",cache="users",outcome="success"} 1.0',
        'lastcache_loads_total{background="false",cache="users",outcome="failure"} 1.0',
        'lastcache_loads_total{background="false",cache="users",outcome="exception"} 1.0',
        'lastcache_loads_total{background="true",cache="users",outcome="success"} 1.0',
        'lastcache_load_duration_seconds_count{cache="users",outcome="success"} 2.0',
        'lastcache_load_duration_seconds_sum{cache="users",outcome="success"} 2.0',
        'lastcache_load_duration_seconds_count{cache="users",outcome="failure"} 1.0',
        'lastcache_load_duration_seconds_count{cache="users",outcome="exception"} 1.0',
        'lastcache_load_duration_seconds_sum{cache="users",outcome="exception"} 5.0',
        'lastcache_stale_answers_total{cache="users"} 1.0',
        'lastcache_refreshes_total{cache="users",result="started"} 1.0',
        'lastcache_removals_total{cache="users",cause="evicted"} 2.0',
        'lastcache_entries{cache="users"} 1.0',
        'lastcache_hits_total{cache="users"} 1.0',
        'lastcache_misses_total{cache="users"} 4.0',
    }


def test_both_systems_have_the_same_names() -> None:
    """What OpenTelemetry calls a metric is, translated as its exporters do, what Prometheus calls it."""
    reader, registry = InMemoryMetricReader(), CollectorRegistry()
    otel = OtelMetrics(MeterProvider([reader]).get_meter("test"))
    metrics = PrometheusMetrics(registry)
    told = [otel.observer("users"), metrics.observer("users")]
    cache, clock = observed(lambda event: [tell(event) for tell in told])
    otel.watch(cache)
    metrics.watch(cache)
    history(cache, clock)
    for tell in told:
        tell(Waited("k", SECOND))
        tell(WaitedElsewhere("k", SECOND))
    translated = {
        metric.name.replace(".", "_") + ("_seconds" if metric.unit == "s" else "") for metric in collected(reader)
    }
    assert translated == {family.name for family in registry.collect()}
    units = {metric.name: metric.unit for metric in collected(reader)}
    assert units == {
        "lastcache.loads": "{load}",
        "lastcache.load.duration": "s",
        "lastcache.joins": "{call}",
        "lastcache.join.duration": "s",
        "lastcache.stale_answers": "{answer}",
        "lastcache.refreshes": "{load}",
        "lastcache.removals": "{entry}",
        "lastcache.entries": "{entry}",
        "lastcache.active_loads": "{load}",
        "lastcache.queued_loads": "{load}",
        "lastcache.owed_changes": "{entry}",
        "lastcache.store_outages": "{outage}",
        "lastcache.push_outages": "{outage}",
        "lastcache.store_answers": "{answer}",
        "lastcache.store_wait.duration": "s",
        "lastcache.hits": "{call}",
        "lastcache.misses": "{call}",
    }


def test_durations_have_the_buckets_of_loads() -> None:
    """The bounds are those of seconds, in both systems: nothing is lost between zero and five."""
    reader, registry = InMemoryMetricReader(), CollectorRegistry()
    otel = OtelMetrics(MeterProvider([reader]).get_meter("test")).observer("users")
    prometheus = PrometheusMetrics(registry).observer("users")
    for took in (0, 1, 3, 90_000):
        for tell in (otel, prometheus):
            tell(LoadRaised("k", BROKEN, background=False, took=timedelta(milliseconds=took)))
            tell(Waited("k", timedelta(milliseconds=took)))
    found = {metric.name: metric.data.data_points[0] for metric in collected(reader) if metric.unit == "s"}
    assert sorted(found) == ["lastcache.join.duration", "lastcache.load.duration"]
    for point in found.values():
        assert isinstance(point, HistogramDataPoint)
        assert point.explicit_bounds == SECONDS
        assert tuple(point.bucket_counts) == (2, 0, 1, *[0] * 12, 1)
    bounds = {
        labels["le"]: number for name, labels, number in samples(registry, "lastcache_join_duration_seconds_bucket")
    }
    assert [float(bound) for bound in bounds] == [*SECONDS, float("inf")]
    assert list(bounds.values()) == [2, 2, *[3] * 13, 4]


def samples(registry: CollectorRegistry, name: str) -> list[tuple[str, dict[str, str], float]]:
    return [
        (sample.name, sample.labels, sample.value)
        for family in registry.collect()
        for sample in family.samples
        if sample.name == name
    ]


def test_what_waits_and_what_runs_is_shown() -> None:
    """Loads under way and in the queue are read when they are scraped, and so is what a joiner has waited."""
    registry, clock = CollectorRegistry(), ManualClock()
    metrics = PrometheusMetrics(registry)
    config = Config(global_ttl=SECOND, async_semaphore=1)
    cache = LastCache[str, str, str](config, clock=clock, observer=metrics.observer(), name="users")
    metrics.watch(cache)
    for key in "abc":
        cache.set(key, "old")
    clock.advance(2 * SECOND)
    load = gated(Success("new"))
    refreshes = [cache.async_load_or_store("a", load).unwrap().refresh]
    load.started()
    refreshes += [cache.async_load_or_store(key, gives(Success("new"))).unwrap().refresh for key in "bc"]
    joiner = in_thread(lambda: cache.load_or_store("a", gives(Success("never"))))
    until(lambda: bool(figure(registry, "joins_total")))
    assert [figure(registry, name) for name in ("active_loads", "queued_loads", "entries")] == [1, 2, 3]
    clock.advance(ticks(250_000))
    load.let_go()
    result_of(joiner)
    for refresh in refreshes:
        result_of(refresh)
    until(lambda: not figure(registry, "active_loads"))
    assert figure(registry, "queued_loads") == 0
    assert figure(registry, "join_duration_seconds_sum") == 0.25


def test_counters_begin_at_zero() -> None:
    """Each counter of a cache is there before anything has happened: what is first seen at one has not grown."""
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    PrometheusMetrics(registry).observer("users")
    OtelMetrics(MeterProvider([reader]).get_meter("test")).observer("users")
    counted = [value for name in COUNTERS for _, _, value in samples(registry, f"lastcache_{name}_total")]
    assert counted == [0.0] * (6 + 1 + 1 + 2 + 2 + 1 + 1 + 5)
    assert sum(len(metric.data.data_points) for metric in collected(reader)) == len(counted)


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
    assert figure(registry, "removals_total", {"cache": "users", "cause": "swept"}) == 1
    assert figure(registry, "joins_total") == 1
    assert figure(registry, "refreshes_total", {"cache": "users", "result": "refused"}) == 1


def test_watching_keeps_no_cache_alive_and_reads_no_closed_one() -> None:
    """A cache that is gone or closed has no figures any more; without ``count_hits`` there is no figure of hits."""
    registry, reader = CollectorRegistry(), InMemoryMetricReader()
    metrics = PrometheusMetrics(registry)
    otel = OtelMetrics(MeterProvider([reader]).get_meter("test"))
    names = ("gone", "closed", "open")
    caches = {name: observed(None, count_hits=False, name=name)[0] for name in names}
    for name in names:
        metrics.watch(caches[name])
        otel.watch(caches[name])
    caches["closed"].close()
    del caches["gone"]
    gc.collect()
    assert [figure(registry, "entries", {"cache": name}) for name in names] == [None, None, 0]
    assert figure(registry, "hits_total", {"cache": "open"}) is None
    read = [metric for metric in collected(reader) if metric.name.partition(".")[2] in {*GAUGES, *TOTALS}]
    assert sorted(metric.name for metric in read) == [
        "lastcache.active_loads",
        "lastcache.entries",
        "lastcache.misses",
        "lastcache.owed_changes",
        "lastcache.queued_loads",
    ]
    assert all(
        [dict(point.attributes or {}) for point in metric.data.data_points] == [{"cache": "open"}] for metric in read
    )


def test_caches_of_one_name_are_added_up() -> None:
    """Their events are, so what is read of them is, too; hits count where they are counted."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    caches = [observed(metrics.observer(), count_hits=counted)[0] for counted in (False, True)]
    for cache in caches:
        metrics.watch(cache)
        cache.load_or_store("a", gives(Success("v")))
        cache.load_or_store("a", gives(Success("v")))
    assert [figure(registry, name) for name in ("entries", "misses_total", "hits_total")] == [2, 2, 1]


@pytest.mark.parametrize("metrics", [PrometheusMetrics(CollectorRegistry()), OtelMetrics()])
def test_figures_have_a_name(metrics: PrometheusMetrics | OtelMetrics) -> None:
    """That of the observer comes first, then that of the cache; where there is none, the error says what to give."""
    without = LastCache[str, str, str]()
    with pytest.raises(ConfigError, match=r"name='': must be a name for the metrics, here or in LastCache\(name=...\)"):
        metrics.watch(without)
    with pytest.raises(ConfigError, match=r"name='': must be a name"):
        metrics.observer("")
    with pytest.raises(ConfigError, match=r"name=5: must be a str"):
        metrics.observer(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # the very purpose
    event: Event[object, object] = Joined("k")
    with pytest.raises(ConfigError, match=r"name='': must be a name"):
        metrics.observer()(event)


def test_a_name_that_is_given_is_used_for_the_cache_too() -> None:
    """The observer and what is watched go under the name that was given to each."""
    registry = CollectorRegistry()
    metrics = PrometheusMetrics(registry)
    cache, _ = observed(metrics.observer("people"))
    metrics.watch(cache, name="people")
    cache.load_or_store("a", gives(Success("v")))
    success = {"cache": "people", "outcome": "success", "background": "false"}
    assert (figure(registry, "loads_total", success), figure(registry, "entries", {"cache": "people"})) == (1, 1)
    assert figure(registry, "entries") is None


def test_a_cache_without_a_name_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    """No call is hurt: the cache logs what the observer raised."""
    cache = LastCache[str, str, str](observer=PrometheusMetrics(CollectorRegistry()).observer())
    for key in "ab":
        assert cache.load_or_store(key, gives(Success("v"))).unwrap().value == "v"
    assert [record.name for record in caplog.records] == ["lastcache"]
    assert "must be a name for the metrics" in str(caplog.text)
    caplog.clear()
