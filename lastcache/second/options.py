"""The options of a second level."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Generic, NamedTuple, TypeVar, cast, final

from lastcache._checks import (
    MICROSECOND,
    NOTHING,
    check_count,
    check_duration,
    check_optional,
    is_async,
    nanoseconds,
    refuse,
)
from lastcache.config import Config
from lastcache.records import sealed
from lastcache.second.codecs import Codec, check_schema
from lastcache.second.keys import plain_key
from lastcache.second.protocol import Store

__all__ = ["Second"]

K = TypeVar("K")
V = TypeVar("V")

DAY: Final = timedelta(days=1)
_NAMESPACE: Final = re.compile(r"[a-z0-9._-]{1,64}")
_STORE: Final = ("ask", "tell", "clear", "probe", "reset_after_fork", "close")
_CODEC: Final = ("encode", "decode")


@final
@sealed
@dataclass(frozen=True, slots=True, kw_only=True)
class Second(Generic[K, V]):
    """The second level of a cache: a store beside it, and how the two talk; checked when it is written down.

    ``store``: what holds the records.
    ``codec``: how values become bytes.
    ``namespace``: the name of the cache in the store, which every process gives it that shares these values.
    ``key``: how a key becomes bytes; different keys must become different bytes, in every process and release alike.

    ``trust_for``: how long a process takes its own copy's word before it asks the store again; above zero.
    ``keep_for``: how long past its freshness the store keeps a record, and how long it knows that a key was deleted;
    None: for ``stale_if_error``, or for a day where that is unbounded.
    ``lease_for``: how long a process alone may load a key, while others wait for it.
    ``max_body``: the longest body that is stored, in bytes; a longer one is given to its callers, and not shared.
    ``owe_at_most``: how many changes are kept for a store that cannot be told; beyond, all is cleared once it is back.

    Raises ``ConfigError``, which names the option, the value and what is right.

    >>> from lastcache.second.codecs import json_codec
    >>> Second[str, object](store=None, codec=json_codec("any-1"), namespace="users")
    Traceback (most recent call last):
    lastcache.errors.ConfigError: store=None: must be an object with ask, tell, clear, probe, reset_after_fork, close
    """

    store: Store
    codec: Codec[V]
    namespace: str
    key: Callable[[K], bytes] = plain_key
    trust_for: timedelta = timedelta(seconds=1)
    keep_for: timedelta | None = None
    lease_for: timedelta = timedelta(seconds=5)
    max_body: int = 1 << 20
    owe_at_most: int = 10_000

    def __post_init__(self) -> None:
        if not _has(self.store, _STORE):
            refuse("store", self.store, f"an object with {', '.join(_STORE)}")
        if not _has(self.codec, _CODEC):
            refuse("codec", self.codec, "an object with schema, encode, decode")
        check_schema("codec.schema", getattr(self.codec, "schema", None))
        check_namespace(self.namespace)
        _check_key(self.key)
        check_duration("trust_for", self.trust_for, at_least=MICROSECOND, right="a timedelta above zero")
        check_optional("keep_for", self.keep_for, at_least=NOTHING, right="a timedelta of zero or more, or None")
        check_duration("lease_for", self.lease_for, at_least=MICROSECOND, right="a timedelta above zero")
        check_count("max_body", self.max_body, right="an int of 1 or more")
        check_count("owe_at_most", self.owe_at_most, right="an int of 1 or more")


@final
class SecondPolicy(NamedTuple):
    """What the core needs of a ``Second``; durations in nanoseconds."""

    trust_for: int
    keep_for: int
    lease_for: int
    max_body: int
    owe_at_most: int


def second_policy_of(second: Second[K, V], config: Config) -> SecondPolicy:
    """Count the durations of ``second`` in nanoseconds; what it left out is taken from ``config``."""
    keep_for = config.stale_if_error if second.keep_for is None else second.keep_for
    return SecondPolicy(
        trust_for=nanoseconds(second.trust_for),
        keep_for=nanoseconds(DAY if keep_for is None else keep_for),
        lease_for=nanoseconds(second.lease_for),
        max_body=second.max_body,
        owe_at_most=second.owe_at_most,
    )


def checked_second(second: Second[K, V]) -> Second[K, V]:
    """Give ``second`` back if it is one; anything else is a ``ConfigError``."""
    if not isinstance(cast("object", second), Second):
        refuse("second", second, "a Second, or None")
    return second


def check_namespace(namespace: object) -> None:
    if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
        refuse("namespace", namespace, "a str of 1 to 64 of a-z, 0-9, '.', '_' and '-'")


def _check_key(key: object) -> None:
    if not callable(key) or is_async(key):
        refuse("key", key, "a function that gives a key as bytes and is not async")


def _has(part: object, methods: tuple[str, ...]) -> bool:
    # A class has them, too, and is what was meant to be called.
    return not isinstance(part, type) and all(callable(getattr(part, method, None)) for method in methods)
