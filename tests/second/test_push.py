"""Push: what another process writes is heard at once, as a rule; and what is not heard is found out as ever."""

import gc
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final, TypeAlias, final
from weakref import ref

import pytest
from returns.result import Failure, Result, Success

from lastcache import CachedValue, Config, LastCache, LoadFailure
from lastcache._shell.pushed import Pushed
from lastcache.events import ChangedElsewhere, Event, PushBack, PushLost
from lastcache.second import Second
from lastcache.second.codecs import JsonValue, json_codec
from lastcache.second.memory import MemoryStore
from lastcache.second.protocol import (
    Ask,
    Cleared,
    Forget,
    Gone,
    Held,
    How,
    Kept,
    Listener,
    Put,
    Store,
    StoreFailure,
    Tell,
    Told,
    Trouble,
    Version,
    Want,
    Wrote,
)
from lastcache.second.redis import RedisStore
from tests.kit import in_thread, until
from tests.second.proxy import Proxy, proxy
from tests.second.servers import Server, server

HOUR: Final = timedelta(hours=1)
BOUND: Final = timedelta(seconds=20)

pytestmark = pytest.mark.slow

Loads: TypeAlias = Callable[[str], Result[JsonValue, LoadFailure[str]]]


def giving(value: str) -> Loads:
    return lambda _: Success(value)


def never(key: str) -> Result[JsonValue, LoadFailure[str]]:
    raise AssertionError(key)


@final
class Process:
    """A cache that stands for a process, with a store of its own, and what it told its observer."""

    def __init__(self, store: Store, trust_for: timedelta = HOUR) -> None:
        self.store = store
        self.events: list[Event[str, str]] = []
        self.cache: LastCache[str, JsonValue, str] = LastCache(
            Config(global_ttl=2 * HOUR),
            observer=self.events.append,
            second=Second(store=store, codec=json_codec("text-1"), namespace="words", trust_for=trust_for),
        )

    def load(self, key: str, value: str) -> CachedValue[JsonValue, str]:
        return self.cache.load_or_store(key, giving(value)).unwrap()

    def has(self, key: str) -> JsonValue:
        return self.cache.peek(key).map(lambda cached: cached.value).value_or(None)

    def changes(self) -> list[tuple[str | None, str]]:
        return [(event.key, event.how) for event in self.events if isinstance(event, ChangedElsewhere)]

    def count(self, kind: type[PushLost] | type[PushBack]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    def hears(self) -> None:
        """Have it spoken to its store, and wait until it hears others."""
        self.load("met", "v")
        store = self.store
        assert isinstance(store, RedisStore)
        until(lambda: store.hears)


@contextmanager
def opened(url: str, trust_for: timedelta = HOUR, *, push: bool = True) -> Generator[Process, None, None]:
    process = Process(RedisStore.from_url(url, timeout=timedelta(seconds=5), push=push), trust_for)
    try:
        if push:
            process.hears()
        yield process
    finally:
        process.cache.close()
        process.store.close()


@contextmanager
def pair(one: str, other: str) -> Generator[tuple[Process, Process], None, None]:
    with opened(one) as first, opened(other) as second:
        first.load("k", "old")
        assert second.load("k", "never").value == "old"
        yield first, second


def test_a_delete_elsewhere_is_heard(running: Server) -> None:
    """What another process deletes is gone here at once, however long this process trusts its copy."""
    with pair(running.url, running.url) as (one, other):
        other.cache.delete("k")
        until(lambda: one.has("k") is None)
        assert one.changes() == [("k", "deleted")]
        assert one.load("k", "new").value == "new"


def test_a_set_elsewhere_is_heard(running: Server) -> None:
    """What another process sets is asked for at the next call; the old value covers failures until then."""
    with pair(running.url, running.url) as (one, other):
        other.cache.set("k", "set")
        until(lambda: one.changes() == [("k", "set")])
        assert one.cache.peek("k").map(lambda cached: (cached.value, cached.stale)).value_or(None) == ("old", True)
        assert one.cache.load_or_store("k", never).unwrap().value == "set"


def test_an_expire_elsewhere_is_heard(running: Server) -> None:
    """What another process expires is loaded anew at the next call."""
    with pair(running.url, running.url) as (one, other):
        other.cache.expire("k")
        until(lambda: one.changes() == [("k", "expired")])
        assert one.load("k", "new").value == "new"


def test_a_clear_elsewhere_is_heard(running: Server) -> None:
    """What another process clears is gone here at once."""
    with pair(running.url, running.url) as (one, other):
        other.cache.clear()
        until(lambda: len(one.cache) == 0)
        assert one.changes() == [(None, "cleared")]


def test_what_a_process_writes_itself_changes_nothing_more(running: Server) -> None:
    """A process hears nothing of its own writes: the value it sets stays, and so does what it loads after a delete."""
    with pair(running.url, running.url) as (one, other):
        for n in range(50):
            one.cache.set("k", str(n))
            one.cache.delete("gone")
            assert one.load("gone", str(n)).value == str(n)
        other.cache.delete("last")
        one.cache.set("last", "v")
        other.cache.set("last", "w")
        until(lambda: ("last", "set") in one.changes())
        assert one.has("k") == "49"
        assert one.has("gone") == "49"
        assert {key for key, _ in one.changes()} == {"last"}


def test_a_load_under_way_is_outrun(running: Server) -> None:
    """A load that had begun when another process deleted its key is stored nowhere, and later calls do not join it."""
    with pair(running.url, running.url) as (one, other):
        begun, goes_on = threading.Event(), threading.Event()

        def slow(_: str) -> Result[JsonValue, LoadFailure[str]]:
            begun.set()
            assert goes_on.wait(BOUND.total_seconds())
            return Success("before")

        one.cache.delete("k")
        call = in_thread(lambda: one.cache.load_or_store("k", slow))
        assert begun.wait(BOUND.total_seconds())
        other.cache.delete("k")
        other.cache.delete("met")
        until(lambda: ("met", "deleted") in one.changes())
        assert one.load("k", "after").value == "after"
        goes_on.set()
        assert call.result(BOUND.total_seconds()).unwrap().value == "before"
        assert one.has("k") == "after"


def test_without_push_nothing_is_told(running: Server) -> None:
    """A store without push has no thread, tells nobody, and finds out when it asks."""
    with opened(running.url, push=False) as one, opened(running.url) as other:
        one.load("k", "old")
        assert other.load("k", "never").value == "old"
        one.cache.delete("k")
        other.cache.set("k", "set")
        assert one.has("k") is None
        time.sleep(0.05)
        assert other.changes() == []
        assert isinstance(one.store, RedisStore)
        assert not one.store.hears


def test_a_missed_message_is_found_out(running: Server) -> None:
    """Where no message comes through, an old value is gone after ``trust_for``, as without push."""
    with proxy(running.port) as way, opened(way.url, timedelta(milliseconds=300)) as one, opened(running.url) as other:
        one.load("k", "old")
        other.load("k", "never")
        running.command("CLIENT", "KILL", "TYPE", "pubsub")
        other.cache.delete("k")
        ends_at = time.monotonic() + 0.3
        while one.load("k", "new").value == "old":
            assert time.monotonic() < ends_at + 1
        assert one.has("k") == "new"


def kill_connection(running: Server, _: Proxy) -> None:
    running.command("CLIENT", "KILL", "TYPE", "pubsub")


def cut_off(_: Server, way: Proxy) -> None:
    way.disconnect()


def swallow(_: Server, way: Proxy) -> None:
    way.drop()


@pytest.mark.parametrize("strike", [kill_connection, cut_off, swallow])
def test_the_end_of_listening_is_seen_and_mended(running: Server, strike: Callable[[Server, Proxy], None]) -> None:
    """A subscription that ends, or falls silent, is told once, and made anew; then changes are heard again."""
    with proxy(running.port) as way, opened(way.url) as one, opened(running.url) as other:
        one.load("k", "old")
        other.load("k", "never")
        strike(running, way)
        until(lambda: one.count(PushLost) == 1)
        way.heal()
        until(lambda: one.count(PushBack) == 1)
        assert one.count(PushLost) == 1
        stats = one.cache.stats()
        assert (stats.push_lost, stats.push_back) == (1, 1)
        other.cache.delete("k")
        until(lambda: one.has("k") is None)


def test_a_server_that_stands_still_is_noticed(running: Server) -> None:
    """A server that is stopped says nothing, as where nobody writes: that is noticed, and mends itself."""
    with pair(running.url, running.url) as (one, other):
        running.suspend()
        until(lambda: one.count(PushLost) == 1)
        running.go_on()
        until(lambda: one.count(PushBack) == 1)
        other.cache.delete("k")
        until(lambda: one.has("k") is None)


def test_one_thread_hears_for_all_caches_of_a_store(running: Server) -> None:
    """Two caches with one store have one thread and one subscription; it ends once both are gone."""
    store = RedisStore.from_url(running.url, timeout=timedelta(seconds=5), push=True)
    one, other = Process(store), Process(store)
    one.hears()
    other.hears()
    assert [thread.name for thread in threading.enumerate()].count("lastcache-push") == 1
    known = ref(one.cache), ref(other.cache)
    one.cache.close()
    other.cache.close()
    del one, other
    gc.collect()
    assert [each() for each in known] == [None, None]
    until(lambda: "lastcache-push" not in [thread.name for thread in threading.enumerate()])
    store.close()


def test_foreign_messages_are_nothing(running: Server) -> None:
    """Whatever else is published on the channel is ignored, and what comes after it is heard."""
    with pair(running.url, running.url) as (one, other):
        key = b"lc1:{words}:00:s:k"
        epoch = b"P" + bytes(8) + bytes(8)
        for said in (b"", b"x", b"12345678", b"12345678P", b"12345678" + epoch + b"rubbish", b"12345678" + epoch + key):
            running.command("PUBLISH", "lc1:{words}", said)
        other.cache.delete("k")
        until(lambda: one.has("k") is None)
        assert one.changes() == [("k", "deleted")]


class Telling:
    """A store in memory that says what a test has it say."""

    def __init__(self) -> None:
        self.engine = MemoryStore()
        self.ask, self.tell, self.clear, self.probe = (
            self.engine.ask,
            self.engine.tell,
            self.engine.clear,
            self.engine.probe,
        )
        self.reset_after_fork, self.close = self.engine.reset_after_fork, self.engine.close
        self.listener: Listener

    def listen(self, _: bytes, listener: Listener, /) -> bool:
        self.listener = listener
        return True


@final
class Said:
    """A cache beside a store, and the record of ``k`` there, of which messages come as the test has them come."""

    def __init__(self) -> None:
        self.store = Telling()
        self.process = Process(self.store)
        self.process.load("k", "v")
        cleared = self.ask(None, b"")
        assert isinstance(cleared, Cleared)
        self.generation = cleared.generation
        self.name = b"words:%b:s:k" % self.generation.hex().encode()

    def ask(self, generation: bytes | None, name: bytes) -> Told:
        asked = Ask(b"words", name, generation, None, Want.LOOK, HOUR)
        return self.store.ask([asked]).unwrap()[0]

    def version(self) -> Version:
        held = self.ask(self.generation, self.name)
        assert isinstance(held, Held | Gone), held
        return held.version

    def write(self, tell: Callable[..., Tell], *what: object) -> Version:
        """Write the record, as another process does."""
        kept = self.store.tell([tell(b"words", self.name, self.generation, *what)]).unwrap()[0]
        assert isinstance(kept, Kept)
        return kept.version

    def hear(self, how: How, version: Version, *, name: bytes | None = None, generation: bytes | None = None) -> None:
        self.store.listener.wrote(Wrote(name or self.name, generation or self.generation, how, version))


@pytest.mark.parametrize("how", How)
def test_late_messages_change_nothing(how: How) -> None:
    """What is heard of a version that is known, or older, or of an older generation, or another name, is nothing."""
    said = Said()
    known = said.version()
    said.hear(how, known)
    said.hear(how, known._replace(writes=known.writes - 1))
    newer = known._replace(writes=known.writes + 1)
    said.hear(how, newer, generation=b"an older")
    said.hear(how, newer, name=b"words:another")
    said.hear(how, newer, name=b"others" + said.name)
    assert said.process.changes() == []
    assert said.process.cache.peek("k").unwrap() == CachedValue("v")


@pytest.mark.parametrize("how", How)
def test_of_another_record_it_cannot_be_said(how: How) -> None:
    """What is heard of another epoch ends the value: one more question, and never an old value."""
    said = Said()
    said.hear(how, Version(b"an other", 1))
    assert said.process.changes() == [("k", how.value)]
    assert said.process.cache.load_or_store("k", never if how is not How.DELETED else giving("v")).unwrap().value == "v"


def test_a_message_twice_is_a_message_once() -> None:
    """What comes twice, or after the store was asked, changes nothing the second time."""
    said = Said()
    version = said.write(Put, b'"w"', "text-1", HOUR, HOUR)
    said.hear(How.SET, version)
    assert said.process.load("k", "never").value == "w"
    said.hear(How.SET, version)
    assert said.process.cache.peek("k").unwrap() == CachedValue("w")


def test_what_is_owed_is_not_undone_by_what_was_before() -> None:
    """While a change is owed, what is heard of its key is of before it, as far as can be known."""
    said = Said()
    said.store.engine.fail_with(StoreFailure(Trouble.UNREACHABLE, "for the test"))
    said.process.cache.set("k", "mine")
    said.hear(How.DELETED, Version(b"an other", 9))
    assert said.process.has("k") == "mine"


@pytest.mark.parametrize("younger", [False, True])
def test_a_load_with_a_younger_lease_goes_on(*, younger: bool) -> None:
    """A load that asked before a delete elsewhere is outrun; one that asked after it is not, however late that is."""
    said = Said()
    version = said.write(Forget, HOUR) if younger else None
    said.process.cache.delete("k") if not younger else said.hear(How.DELETED, Version(b"an other", 1))
    begun, goes_on = threading.Event(), threading.Event()

    def slow(_: str) -> Result[JsonValue, LoadFailure[str]]:
        begun.set()
        assert goes_on.wait(BOUND.total_seconds())
        return Success("loaded")

    call = in_thread(lambda: said.process.cache.load_or_store("k", slow))
    assert begun.wait(BOUND.total_seconds())
    if version is None:
        version = said.write(Forget, HOUR)
    said.hear(How.DELETED, version)
    goes_on.set()
    assert call.result(BOUND.total_seconds()).unwrap().value == "loaded"
    assert said.process.has("k") == ("loaded" if younger else None)


def test_a_cleared_namespace_is_heard() -> None:
    """A clear elsewhere is one; the generation that is known is none."""
    said = Said()
    said.store.listener.cleared(said.generation)
    assert said.process.has("k") == "v"
    said.store.listener.cleared(b"a newer ")
    assert said.process.has("k") is None
    assert said.process.changes() == [(None, "cleared")]


def test_a_closed_cache_hears_nothing() -> None:
    """Whatever is said to a closed cache changes nothing, and raises nothing."""
    said = Said()
    said.process.cache.close()
    said.hear(How.SET, Version(b"an other", 1))
    said.store.listener.cleared(b"a newer ")
    assert said.process.changes() == []


def test_keys_without_an_entry_are_forgotten() -> None:
    """What is remembered to know keys again stays within twice the entries, and a thousand."""
    said = Said()
    for n in range(3000):
        said.process.load(f"k{n}", "v")
        said.process.cache.delete(f"k{n}")
    keys: dict[bytes, str] = vars(Pushed)["_keys"].__get__(said.store.listener)
    assert len(keys) <= 1030
    said.hear(How.DELETED, Version(b"an other", 1))
    assert said.process.has("k") is None


class BadStore(Telling):
    """A store that cannot tell anything."""

    def listen(self, _: bytes, _listener: Listener, /) -> bool:
        raise OSError("no")


def test_a_store_that_cannot_tell_is_a_store() -> None:
    """Where listening fails, the cache works as without push."""
    assert Process(BadStore()).load("k", "v").value == "v"


@pytest.mark.parametrize("write", ["set", "expire"])
def test_a_failed_load_is_covered_by_what_ended_elsewhere(write: str) -> None:
    """A set or expire elsewhere during a load takes no answer away: a failure is covered by what is here."""
    with server("redis") as running, pair(running.url, running.url) as (one, other):
        one.cache.expire("k")

        def down(_: str) -> Result[JsonValue, LoadFailure[str]]:
            heard = len(one.changes())
            other.cache.set("k", "newer") if write == "set" else other.cache.expire("k")
            until(lambda: len(one.changes()) > heard)
            return Failure(LoadFailure("down", use_stale=True))

        assert one.cache.load_or_store("k", down).unwrap() == CachedValue("old", stale=True, err="down")


def test_push_reaches_every_key_of_a_large_batch() -> None:
    """Keys that were asked for in one call of many are known by name when they are written elsewhere."""
    said = Said()
    keys = [f"many {n}" for n in range(3000)]
    said.process.cache.load_or_store_many(keys, lambda wanted: {key: Success("v") for key in wanted})
    names: dict[bytes, str] = vars(Pushed)["_keys"].__get__(said.store.listener)
    assert set(keys) <= set(names.values())


def test_a_store_without_listeners_hears_nothing(running: Server) -> None:
    """Where nobody listens, nothing is heard, and the store says so."""
    store = RedisStore.from_url(running.url, push=True)
    assert not store.hears
    store.close()
