"""Values that cannot be written or read, and keys that cannot be named: they cost a load, and never an answer."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

import pytest
from returns.result import Failure, Success

from lastcache.events import LoadRaised, StoreSkipped, StoreUnread
from lastcache.second.codecs import json_codec
from lastcache.second.protocol import Expire, Put
from tests.kit import given
from tests.second.scenes import COVERED, Process, Shared, move, process
from tests.shells import Json, Stage, giving, never

Raises: Final = [ValueError("no"), RecursionError("deep"), MemoryError("full")]


class Words:
    """A codec of text whose sides can be made to raise, and which reads the schemas that it is told to."""

    def __init__(self, schema: str = "word-1", reads: tuple[str, ...] = ("word-1",)) -> None:
        self.schema = schema
        self.reads = reads
        self.writing: BaseException | None = None
        self.reading: BaseException | None = None

    def encode(self, value: Json, /) -> Any:
        if self.writing is not None:
            raise self.writing
        return str(value).encode() if value != "no bytes" else value

    def decode(self, body: bytes, schema: str, /) -> Json:
        if self.reading is not None:
            raise self.reading
        if schema not in self.reads:
            raise ValueError(schema)
        return body.decode()


@pytest.mark.parametrize("err", Raises, ids=repr)
async def test_a_codec_that_cannot_write(stage: Stage, store: Shared, err: Exception) -> None:
    """What the codec cannot write is given and kept here alone; the record ends, so that nobody has an older one."""
    words = Words()
    one, other = await process(stage, store, {"codec": words}), await process(stage, store, {"codec": Words()})
    await other.ask("k", giving(Success("old")))
    await one.ask("k", never)
    move(stage, store, 101)
    words.writing = err
    assert await one.ask("k", giving(Success("new"))) == given("new")
    assert [event.key for event in one.of(StoreSkipped)] == ["k"]
    move(stage, store, 2)
    assert await one.ask("k", never) == given("new")
    assert await other.ask("k", giving(Success("theirs"))) == given("theirs")


@pytest.mark.parametrize("value", ["much too long", "no bytes"])
async def test_a_value_that_cannot_be_stored(stage: Stage, store: Shared, value: str) -> None:
    """A value whose body is too long, or none, is set and loaded here alone, and is not lost to an older one."""
    one = await process(stage, store, {"codec": Words(), "max_body": 8})
    other = await process(stage, store, {"codec": Words()})
    for key in ("set", "loaded"):
        await other.ask(key, giving(Success("old")))
        await one.ask(key, never)
    one.cache.set("set", value)
    move(stage, store, 1.5)
    await one.told()
    assert await one.ask("set", never) == given(value)
    assert await other.ask("set", giving(COVERED)) == given("old", stale=True, err="down")
    move(stage, store, 5)
    assert await one.ask("set", never) == given(value)
    move(stage, store, 101)
    assert await one.ask("loaded", giving(Success(value))) == given(value)
    move(stage, store, 5)
    assert await one.ask("loaded", never) == given(value)
    assert await other.ask("loaded", giving(COVERED)) == given("old", stale=True, err="down")
    assert [event.key for event in one.of(StoreSkipped)] == ["set", "loaded"]


async def test_the_longest_body(stage: Stage, store: Shared) -> None:
    """A body of just ``max_body`` bytes is shared."""
    one = await process(stage, store, {"codec": Words(), "max_body": 8})
    other = await process(stage, store, {"codec": Words(), "max_body": 8})
    await one.ask("k", giving(Success("12345678")))
    assert await other.ask("k", never) == given("12345678")


@pytest.mark.parametrize("write", ["set", "delete"])
async def test_a_value_that_cannot_be_stored_is_outrun(stage: Stage, store: Shared, write: str) -> None:
    """Where another process writes during a load of what cannot be stored, the write wins: there, and here."""
    one = await process(stage, store, {"codec": Words(), "max_body": 8})
    other = await process(stage, store, {"codec": Words()})
    load = stage.gated(Success("much too long"))
    call = stage.asking("k", load, one.cache)
    await load.started()
    other.cache.set("k", "set") if write == "set" else other.cache.delete("k")
    await other.told()
    load.let_go()
    assert await call.result() == given("much too long")
    move(stage, store, 1.5)
    assert await one.ask("k", giving(Success("new"))) == given("set" if write == "set" else "new")


@pytest.mark.parametrize("err", Raises, ids=repr)
async def test_a_codec_that_cannot_read(stage: Stage, store: Shared, err: Exception) -> None:
    """What the codec cannot read is no value: the source is called, and what that brings is shared."""
    words = Words()
    one, other = await process(stage, store, {"codec": words}), await process(stage, store, {"codec": Words()})
    other.cache.set("k", "theirs")
    other.cache.set("stale", "theirs", ttl=timedelta(0))
    await other.told()
    words.reading = err
    assert await one.ask("k", giving(Success("new"))) == given("new")
    assert await one.ask("stale", giving(COVERED)) == Failure("down")
    assert [event.key for event in one.of(StoreUnread)] == ["k", "stale"]


async def test_a_deploy_whose_old_processes_cannot_read_the_new(stage: Stage, store: Shared) -> None:
    """While old and new processes run beside each other, old ones call once per key, and deletes are seen by all."""
    old = await process(stage, store, {"codec": Words()})
    new = await process(stage, store, {"codec": Words("word-2", ("word-1", "word-2"))})
    await old.ask("k", giving(Success("of old")))
    assert await new.ask("k", never) == given("of old")
    new.cache.set("k", "of new")
    await new.told()
    move(stage, store, 2)
    load = stage.gated(Success("again of old")).opened()
    for _ in range(5):
        assert await old.ask("k", load) in (given("again of old"), given("of old"))
        move(stage, store, 2)
    assert load.calls <= 1
    new.cache.delete("k")
    await new.told()
    move(stage, store, 2)
    assert await old.ask("k", giving(COVERED)) == Failure("down")
    old.cache.set("k", "set of old")
    await old.told()
    move(stage, store, 2)
    assert await new.ask("k", never) == given("set of old")


async def test_a_deploy_in_an_outage(stage: Stage, store: Shared) -> None:
    """A process of a new release that has never loaded covers a failure with what an older one has left."""
    old = await process(stage, store, {"codec": Words()})
    await old.ask("k", giving(Success("of old")))
    move(stage, store, 101)
    new = await process(stage, store, {"codec": Words("word-2", ("word-1", "word-2"))})
    assert await new.ask("k", giving(COVERED)) == given("of old", stale=True, err="down")


WAYS: Final[list[Callable[[Process, Any], object]]] = [
    lambda one, key: one.cache.set(key, "v"),
    lambda one, key: one.cache.delete(key),
    lambda one, key: one.cache.expire(key),
]


@pytest.mark.parametrize("bad", [1.0, None, frozenset[int]()], ids=repr)
async def test_a_key_without_a_plain_form(stage: Stage, store: Shared, bad: Any) -> None:
    """A key that cannot be written as bytes is a ``TypeError`` of its call, and changes nothing here or there."""
    one = await process(stage, store)
    await one.ask("k", giving(Success("v")))
    counts, events = one.store.counts, list(one.events)
    for way in WAYS:
        with pytest.raises(TypeError, match="must be a str, int"):
            way(one, bad)
    with pytest.raises(TypeError, match="must be a str, int"):
        await one.ask(bad, never)
    with pytest.raises(TypeError, match="must be a str, int"):
        await stage.revalidate(bad, never, one.cache)
    assert (counts, events) == (one.store.counts, one.events)
    assert one.of(LoadRaised) == []
    assert [entry.key for entry in one.cache.entries()] == ["k"]
    assert one.cache.stats().owed == 0
    # The key is not held: it is refused once more.
    with pytest.raises(TypeError, match="must be a str, int"):
        await one.ask(bad, never)


async def test_a_key_function_of_the_user(stage: Stage, store: Shared) -> None:
    """A key function that raises, or gives no bytes, is an error of the call alone."""

    def form(key: str) -> Any:
        if key == "raises":
            raise LookupError(key)
        return key

    one = await process(stage, store, {"key": form})
    with pytest.raises(LookupError):
        await one.ask("raises", never)
    with pytest.raises(TypeError, match="must give bytes"):
        await one.ask("k", never)
    assert one.store.counts["ask"] == 0


async def test_equal_keys(stage: Stage, store: Shared) -> None:
    """Keys that are equal are one key here and there; one that equals another, and has no form, is refused."""
    one, other = await process(stage, store), await process(stage, store)
    number: Any = 1
    truth: Any = True
    await one.ask(number, giving(Success("v")))
    assert await other.ask(truth, never) == given("v")
    other.cache.delete(truth)
    await other.told()
    move(stage, store, 2)
    assert await one.ask(number, giving(COVERED)) == Failure("down")


async def test_what_is_told_in_place_of_a_body(stage: Stage, store: Shared) -> None:
    """A set of what cannot be stored tells the store that its record is over."""
    one = await process(stage, store, {"codec": json_codec("any-1"), "max_body": 4})
    one.cache.set("short", "ab")
    await one.told()
    one.cache.set("long", "abc")
    await one.told()
    assert [type(tell) for tell in one.store.told] == [Put, Expire]
