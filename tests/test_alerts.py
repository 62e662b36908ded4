"""The alerts of the page on observing, worked out on the exposed text of a real cache at two instants.

No Prometheus is needed: what the rules are made of is a sum of rates by cache, a comparison, and ``unless``.
"""

import re
from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final, TypeAlias

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from returns.result import Success

from lastcache import Config, LastCache, failed
from lastcache.core.states import Outcome
from lastcache.errors import StoreFailure, Trouble
from lastcache.prometheus import PrometheusMetrics
from lastcache.second import Second
from lastcache.second.codecs import Codec, bytes_codec
from lastcache.testing import ManualClock, MemoryStore, run_inline

PAGE: Final = (Path(__file__).parent.parent / "docs" / "observing.md").read_text()
RULES: Final = dict(
    re.findall(
        r"- alert: (\w+)\n +expr: \|\n(.*?)\n +(?:for: 5m|keep_firing_for: 15m)",
        PAGE.partition("```yaml")[2],
        flags=re.DOTALL,
    )
)
MINUTE: Final = timedelta(minutes=1)
DOWN: Final[Outcome[str, str]] = failed("down", use_stale=True)
WORDS: Final[Codec[str]] = bytes_codec("word-1", encode=str.encode, decode=bytes.decode)
NO: Final[Outcome[str, str]] = failed("no such user", use_stale=False)

Series: TypeAlias = tuple[str, frozenset[tuple[str, str]]]
Scrape: TypeAlias = dict[Series, float]
Vector: TypeAlias = dict[str, float]


def scraped(registry: CollectorRegistry) -> Scrape:
    """Read the exposed text as a server does."""
    families = text_string_to_metric_families(generate_latest(registry).decode())
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def rates(selector: str, before: Scrape, after: Scrape) -> Vector:
    """Work out ``sum by (cache) (rate(...[2m]))``."""
    found = re.fullmatch(r'sum by \(cache\) \(rate\((\w+)(?:\{(\w+)=~?"([\w|]+)"\})?\[2m\]\)\)', selector.strip())
    assert found is not None, selector
    name, label, values = found.groups()
    sums = defaultdict[str, float](float)
    for (series, labels), number in after.items():
        of = dict(labels)
        if series == name and (label is None or of[label] in values.split("|")):
            sums[of["cache"]] += (number - before[series, labels]) / 120
    assert sums, f"nothing is exposed that {selector} asks for"
    return sums


def compared(side: str, before: Scrape, after: Scrape) -> Vector:
    """Work out a comparison with zero, or with the other side."""
    left, _, right = side.partition(">")
    right = right.strip().removeprefix("on (cache)")
    vector = rates(left, before, after)
    other = defaultdict[str, float](float) if right.strip() == "0" else rates(right, before, after)
    return {cache: number for cache, number in vector.items() if number > other[cache]}


def alerts(before: Scrape, after: Scrape) -> set[str]:
    """Name the rules that hold for the cache between two scrapes."""
    found = set[str]()
    for name, expression in RULES.items():
        left, _, right = expression.partition("unless on (cache)")
        excused = compared(right, before, after) if right else {}
        if any(cache not in excused for cache in compared(left, before, after)):
            found.add(name)
    return found


class Watched:
    """A cache under load, which is scraped."""

    def __init__(self, *, shared: bool = False) -> None:
        self.clock, self.registry = ManualClock(), CollectorRegistry()
        metrics = PrometheusMetrics(self.registry)
        config = Config(global_ttl=MINUTE / 6, extend_ttl=MINUTE / 6, stale_if_error=60 * MINUTE)
        self.store = MemoryStore(clock=self.clock)
        self.cache = LastCache[str, str, str](
            config,
            clock=self.clock,
            observer=metrics.observer(),
            executor=run_inline,
            name="users",
            second=Second(store=self.store, codec=WORDS, namespace="users") if shared else None,
        )
        metrics.watch(self.cache)

    def while_asked(self, ask: Callable[[int], object]) -> set[str]:
        """Name the alerts after two minutes of a call in a second."""
        before = scraped(self.registry)
        for second in range(120):
            self.clock.advance(MINUTE / 60)
            ask(second)
        return alerts(before, scraped(self.registry))

    def asked(self, outcome: Outcome[str, str], *, keys: str = "abc") -> set[str]:
        return self.while_asked(lambda n: self.cache.load_or_store(keys[n % len(keys)], lambda _: outcome))


@pytest.fixture
def watched() -> Watched:
    """A cache that has been asked for three keys, all of which it has loaded."""
    cache = Watched()
    assert cache.asked(Success("v")) == set()
    return cache


def test_the_page_has_rules() -> None:
    """Each is worked out below."""
    assert list(RULES) == ["AnswersAreStale", "LoadsFailUncovered", "StoreWentAway"]


def test_an_outage_that_is_covered_is_told(watched: Watched) -> None:
    """As long as it lasts, and no longer."""
    assert watched.asked(DOWN) == {"AnswersAreStale"}
    assert watched.asked(DOWN) == {"AnswersAreStale"}
    assert watched.asked(Success("v")) == set()
    assert watched.asked(Success("v")) == set()


def test_an_outage_that_is_not_covered_is_told(watched: Watched) -> None:
    """Nothing was ever loaded for these keys."""
    assert watched.asked(DOWN, keys="xyz") == {"LoadsFailUncovered"}


def test_a_cache_that_revalidates_is_well(watched: Watched) -> None:
    """A stale answer ahead of each load is what was asked for."""
    assert (
        watched.while_asked(lambda n: watched.cache.async_load_or_store("abc"[n % 3], lambda _: Success("v"))) == set()
    )


def test_a_source_that_says_no_is_well(watched: Watched) -> None:
    """Half of the calls ask for what does not exist."""
    assert (
        watched.while_asked(
            lambda n: watched.cache.load_or_store("ax"[n % 2], lambda key: Success("v") if key == "a" else NO)
        )
        == set()
    )


def test_nobody_asks(watched: Watched) -> None:
    """A cache that is idle is well."""
    assert watched.while_asked(lambda n: n) == set()


def test_a_store_that_goes_away_is_told() -> None:
    """Once for each outage, while every call is answered."""
    watched = Watched(shared=True)
    assert watched.asked(Success("v")) == set()
    watched.store.fail_with(StoreFailure(Trouble.TIMEOUT, "by the test"))
    assert watched.asked(Success("v")) == {"StoreWentAway"}
    assert watched.asked(Success("v")) == set()
