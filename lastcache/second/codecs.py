"""How values become bytes, and bytes values again: what a codec is, and those that need no dependency.

A codec writes one form, which its *schema* names, and may read older ones. Who changes what ``encode`` writes gives it
another schema, and keeps the function that reads the former one in ``older``: so a new release, started in an outage,
can use what the old release stored.

The law of every codec: ``decode(encode(value), schema) == value``; ``lastcache.testing.check_codec`` checks it.
What is not to be written or read is an exception of any kind, and no value. No codec here runs what a body says: no
pickle.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Generic, Never, NoReturn, Protocol, TypeAlias, TypeVar, cast, final, overload

from lastcache._checks import refuse

__all__ = ["Codec", "JsonValue", "JsonWritable", "UnknownSchemaError", "bytes_codec", "json_codec", "read_json"]

V = TypeVar("V")
T = TypeVar("T")
R = TypeVar("R")

JsonValue: TypeAlias = int | float | str | list["JsonValue"] | dict[str, "JsonValue"] | None
"""What is read from JSON; a bool is an int."""

JsonWritable: TypeAlias = int | float | str | Sequence["JsonWritable"] | Mapping[str, "JsonWritable"] | None
"""What can be written as JSON: any sequence comes back as a list, any mapping as a dict."""

NOTHING_OLDER: Final[Mapping[str, Callable[[bytes], Never]]] = MappingProxyType({})
_SCHEMA: Final = re.compile(r"[!-~]{1,64}")
_ENOUGH: Final = 64


class Codec(Protocol[V]):
    """Writes values of one type as bytes, and reads them."""

    @property
    def schema(self) -> str:
        """The name of what ``encode`` writes, 1 to 64 printable ASCII characters without a space."""
        ...

    def encode(self, value: V, /) -> bytes:
        """Write ``value``. Raises what it will where it cannot: the value is given then, and not shared."""
        ...

    def decode(self, body: bytes, schema: str, /) -> V:
        """Read what was written under ``schema``, the own one or an older one. Raises what it will where it cannot."""
        ...


@final
class UnknownSchemaError(ValueError):
    """A body was written under a schema that the codec does not read, such as that of a later release."""

    def __init__(self, schema: str, known: Sequence[str]) -> None:
        super().__init__(f"schema={schema!r}: must be one of {', '.join(map(repr, known))}")


@final
@dataclass(frozen=True, slots=True)
class _Functions(Generic[V]):
    schema: str
    write: Callable[[V], bytes]
    read: Mapping[str, Callable[[bytes], V]]

    def encode(self, value: V, /) -> bytes:
        return self.write(value)

    def decode(self, body: bytes, schema: str, /) -> V:
        read = self.read.get(schema)
        if read is None:
            raise UnknownSchemaError(schema, tuple(self.read))
        return read(body)


def bytes_codec(
    schema: str,
    *,
    encode: Callable[[V], bytes],
    decode: Callable[[bytes], V],
    older: Mapping[str, Callable[[bytes], V]] = NOTHING_OLDER,
) -> Codec[V]:
    r"""Make a codec of two functions, and of one more for each older schema that is to be read.

    Its ``decode`` raises ``UnknownSchemaError`` for any other schema. Raises ``ConfigError`` for what is no schema, or
    no function.

    >>> def latin(body: bytes) -> str:
    ...     return body.decode("latin-1")
    >>> codec = bytes_codec("word-2", encode=str.encode, decode=bytes.decode, older={"word-1": latin})
    >>> codec.decode(codec.encode("é"), "word-2"), codec.decode(b"\xe9", "word-1")
    ('é', 'é')
    >>> codec.decode(b"", "word-3")
    Traceback (most recent call last):
    lastcache.second.codecs.UnknownSchemaError: schema='word-3': must be one of 'word-2', 'word-1'
    """
    check_schema("schema", schema)
    own = {schema: _checked_function("decode", decode)}
    return _Functions(schema, _checked_function("encode", encode), {**own, **_checked_older(older, schema)})


@overload
def json_codec(schema: str, *, older: Mapping[str, Callable[[bytes], JsonValue]] = ...) -> Codec[JsonValue]: ...
@overload
def json_codec(
    schema: str,
    *,
    encode: Callable[[V], JsonWritable],
    decode: Callable[[JsonValue], V],
    older: Mapping[str, Callable[[bytes], V]] = ...,
) -> Codec[V]: ...
def json_codec(
    schema: str,
    *,
    encode: Callable[[Any], JsonWritable] | None = None,
    decode: Callable[[JsonValue], Any] | None = None,
    older: Mapping[str, Callable[[bytes], Any]] = NOTHING_OLDER,
) -> Codec[Any]:
    """Make a codec that writes JSON (RFC 8259): of JSON values, or of what two functions turn into them and back.

    ``encode`` gives what is to be written, ``decode`` is given what was read, and raises where that is no value.
    What JSON has no form for is refused with an exception when it is written: infinite floats, NaN, and strings with
    surrogates. ``older`` is given bytes, like that of every codec; ``read_json`` reads JSON there.

    >>> codec = json_codec("point-1", encode=lambda point: [point.real, point.imag], decode=lambda read: complex(*read))
    >>> codec.encode(1 + 2j)
    b'[1.0,2.0]'
    >>> json_codec("any-1").decode(b'{"a": [null, true]}', "any-1")
    {'a': [None, True]}
    """
    if encode is None and decode is None:
        return bytes_codec(schema, encode=write_json, decode=read_json, older=older)
    prepare, restore = _checked_function("encode", encode), _checked_function("decode", decode)
    return bytes_codec(
        schema,
        encode=lambda value: write_json(prepare(value)),
        decode=lambda body: restore(read_json(body)),
        older=older,
    )


def write_json(value: JsonWritable) -> bytes:
    r"""Write ``value`` as JSON, exactly or not at all.

    >>> write_json((1, {"é": None}))
    b'[1,{"\xc3\xa9":null}]'
    """
    return _ENCODER.encode(value).encode()


def read_json(body: bytes) -> JsonValue:
    """Read JSON in UTF-8. Raises ``ValueError`` for what is none, and ``RecursionError`` for what is nested too deep.

    >>> read_json(b'{"name": "Ada"}')
    {'name': 'Ada'}
    >>> read_json(b"NaN")
    Traceback (most recent call last):
    ValueError: NaN is no JSON
    """
    read: JsonValue = _DECODER.decode(body.decode())
    return read


def check_schema(name: str, schema: object) -> None:
    if not isinstance(schema, str) or not _SCHEMA.fullmatch(schema):
        refuse(name, schema, f"a str of 1 to {_ENOUGH} printable ASCII characters without a space")


def _checked_older(older: Mapping[str, Callable[[bytes], V]], schema: str) -> Mapping[str, Callable[[bytes], V]]:
    for name, read in older.items():
        check_schema("older", name)
        if name == schema:
            refuse("older", name, "a schema other than that which is written")
        _checked_function(f"older[{name!r}]", read)
    return older


def _checked_function(name: str, function: Callable[[T], R] | None) -> Callable[[T], R]:
    if not callable(function):
        refuse(name, function, "a function")
    return function


def _plain(value: object) -> object:
    # For what the encoder does not know by itself.
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return list(cast("Sequence[object]", value))
    raise TypeError(f"{value!r}: JSON has no form for it")


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
_DECODER: Final = json.JSONDecoder(parse_constant=_refuse_constant)
