"""Which options of a second level are accepted."""

import math
from collections.abc import Sequence
from dataclasses import FrozenInstanceError
from datetime import timedelta
from typing import Any, Final

import pytest
from returns.result import Failure, Result

from lastcache import Config, ConfigError
from lastcache.second.codecs import JsonValue, json_codec
from lastcache.second.keys import plain_key
from lastcache.second.options import Second, SecondPolicy, checked_second, second_policy_of
from lastcache.second.protocol import Ask, StoreFailure, Tell, Told, Trouble, Verdict

pytestmark = pytest.mark.slow

NOWHERE: Final = StoreFailure(Trouble.UNREACHABLE, "there is none")


class NoStore:
    """A store that is always away."""

    def ask(self, asks: Sequence[Ask], /) -> Result[Sequence[Told], StoreFailure]:
        return Failure(NOWHERE)

    def tell(self, tells: Sequence[Tell], /) -> Result[Sequence[Verdict], StoreFailure]:
        return Failure(NOWHERE)

    def clear(self, namespace: bytes, generation: bytes, /) -> Result[None, StoreFailure]:
        return Failure(NOWHERE)

    def probe(self, _: bytes, /) -> Result[None, StoreFailure]:
        return Failure(NOWHERE)

    def reset_after_fork(self) -> None:
        """Forget nothing."""

    def close(self) -> None:
        """End nothing."""


STORE: Final = NoStore()
CODEC: Final = json_codec("any-1")


def make(**options: Any) -> Second[str, JsonValue]:
    """Make a second level whose options may be of any type."""
    return Second(**{"store": STORE, "codec": CODEC, "namespace": "users", **options})


async def async_key(_key: str) -> bytes:
    return b""


class NoCodec:
    """A codec whose schema is none."""

    def __init__(self, schema: object) -> None:
        self.schema = schema

    def encode(self, _value: object) -> bytes:
        return b""

    def decode(self, _body: bytes, _schema: str) -> object:
        return None


ABOVE = "a timedelta above zero"
WINDOW = "a timedelta of zero or more, or None"
COUNT = "an int of 1 or more"
NAMESPACE = "a str of 1 to 64 of a-z, 0-9, '.', '_' and '-'"
A_STORE = "an object with ask, tell, clear, probe, reset_after_fork, close"
A_CODEC = "an object with schema, encode, decode"
A_KEY = "a function that gives a key as bytes and is not async"
SCHEMA = "a str of 1 to 64 printable ASCII characters without a space"
NO_DURATION = [60, 1.5, math.inf, True, "60"]
NO_COUNT = [0, -1, 1.0, math.inf, True, "1", None, timedelta(1)]


@pytest.mark.parametrize(
    ("option", "right", "refused"),
    [
        ("store", A_STORE, [None, "redis://", NoStore, object]),
        ("codec", A_CODEC, [None, "json", json_codec, NoCodec]),
        ("namespace", NAMESPACE, ["", "Users", "a b", "a:b", "a\n", "é", "a" * 65, b"users", None, 1]),
        ("key", A_KEY, [None, "key", b"key", async_key]),
        ("trust_for", ABOVE, [*NO_DURATION, None, timedelta(0)]),
        ("keep_for", WINDOW, NO_DURATION),
        ("lease_for", ABOVE, [*NO_DURATION, None, timedelta(0)]),
        ("max_body", COUNT, NO_COUNT),
        ("owe_at_most", COUNT, NO_COUNT),
    ],
)
def test_what_is_refused(option: str, right: str, refused: list[object]) -> None:
    """The error names the option, the value and what is right."""
    for value in refused:
        with pytest.raises(ConfigError) as told:
            make(**{option: value})
        assert str(told.value) == f"{option}={value!r}: must be {right}"


@pytest.mark.parametrize("schema", [None, "", "a b", 1, "a" * 65])
def test_a_codec_without_a_schema(schema: object) -> None:
    """A schema is written into each record, so it is checked, too."""
    with pytest.raises(ConfigError) as told:
        make(codec=NoCodec(schema))
    assert str(told.value) == f"codec.schema={schema!r}: must be {SCHEMA}"
    assert make(codec=NoCodec("any-1")).codec.schema == "any-1"


@pytest.mark.parametrize("option", ["trust_for", "keep_for", "lease_for"])
def test_a_negative_duration(option: str) -> None:
    """A duration below zero is shown by its length."""
    with pytest.raises(ConfigError, match=rf"^{option}=-datetime.timedelta\(microseconds=1\): must be a timedelta"):
        make(**{option: timedelta(microseconds=-1)})


def test_what_is_accepted() -> None:
    """The least and the most of each option."""
    least, namespace = timedelta(microseconds=1), "az09._-" + "a" * 57
    made = make(
        namespace=namespace,
        trust_for=least,
        keep_for=timedelta(0),
        lease_for=least,
        max_body=1,
        owe_at_most=1,
        key=str.encode,
    )
    assert second_policy_of(made, Config()) == SecondPolicy(1000, 0, 1000, 1, 1)
    assert (made.namespace, made.key("a")) == (namespace, b"a")
    assert make(namespace="a", keep_for=None, trust_for=timedelta.max).trust_for == timedelta.max


def test_defaults() -> None:
    """A second of trust, five for a lease, a mebibyte, ten thousand changes."""
    assert make() == Second(
        store=STORE,
        codec=CODEC,
        namespace="users",
        key=plain_key,
        trust_for=timedelta(seconds=1),
        keep_for=None,
        lease_for=timedelta(seconds=5),
        max_body=1 << 20,
        owe_at_most=10_000,
    )


SECOND: Final = 1_000_000_000


@pytest.mark.parametrize(
    ("keep_for", "stale_if_error", "kept"),
    [
        (None, None, 86_400 * SECOND),
        (None, timedelta(0), 0),
        (None, timedelta(seconds=7), 7 * SECOND),
        (timedelta(seconds=3), None, 3 * SECOND),
        (timedelta(0), timedelta(seconds=7), 0),
    ],
)
def test_how_long_records_are_kept(keep_for: timedelta | None, stale_if_error: timedelta | None, kept: int) -> None:
    """As long as the option says, else as long as a value may cover a failure, else for a day."""
    policy = second_policy_of(make(keep_for=keep_for), Config(stale_if_error=stale_if_error))
    assert policy == SecondPolicy(SECOND, kept, 5 * SECOND, 1 << 20, 10_000)


def test_nothing_changes() -> None:
    """The record is frozen, and takes keywords alone."""
    with pytest.raises(FrozenInstanceError):
        make().namespace = "others"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]  # under test
    wrong: Any = Second
    with pytest.raises(TypeError):
        wrong(STORE, CODEC, "users")


def test_what_is_no_second() -> None:
    """A cache takes a ``Second``, and nothing that looks like one."""
    made, wrong = make(), Config()
    unchecked: Any = wrong
    assert checked_second(made) is made
    with pytest.raises(ConfigError) as told:
        checked_second(unchecked)
    assert str(told.value) == f"second={wrong!r}: must be a Second, or None"
