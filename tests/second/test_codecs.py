"""What codecs write they read again, and what they cannot read is an exception."""

import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import cattrs
import pydantic
import pytest
from cattrs.preconf.json import make_converter
from hypothesis import given
from hypothesis import strategies as st
from msgspec import DecodeError
from msgspec.msgpack import Decoder, Encoder

from lastcache import ConfigError
from lastcache.second.cattrs import cattrs_codec
from lastcache.second.codecs import Codec, JsonValue, UnknownSchemaError, bytes_codec, json_codec, read_json
from lastcache.second.msgspec import msgspec_codec
from lastcache.second.pydantic import pydantic_codec
from lastcache.testing import check_codec
from tests.second.accounts import (
    BY_CATTRS,
    BY_HAND,
    BY_MSGSPEC,
    BY_PYDANTIC,
    CODECS,
    JSON,
    PLAIN_JSON,
    Attrs,
    Model,
    Plain,
    Struct,
    model,
    restored,
    written,
)

pytestmark = pytest.mark.slow

UNREADABLE = (ValueError, RecursionError, DecodeError)
FROM_OLD: Mapping[str, Callable[[bytes], Any]] = {"account-0": lambda body: ("old", body)}

each = pytest.mark.parametrize("kind", CODECS)


@each
@given(drawn=st.data())
def test_the_law(kind: str, drawn: st.DataObject) -> None:
    """What a codec wrote it reads as the same value, of the same type."""
    codec, values = CODECS[kind]
    check_codec(codec, drawn.draw(values))


@each
@given(drawn=st.data())
def test_a_body_that_was_cut(kind: str, drawn: st.DataObject) -> None:
    """A part of a body is no value; of JSON alone some parts are, such as the first digit of a number."""
    codec, values = CODECS[kind]
    body = codec.encode(drawn.draw(values))
    part = body[: drawn.draw(st.integers(0, len(body) - 1))]
    if kind == "JSON" and part[:1] not in b'[{"':
        return
    with pytest.raises(UNREADABLE):
        codec.decode(part, codec.schema)


@each
@given(body=st.binary())
def test_bytes_of_others(kind: str, body: bytes) -> None:
    """Bytes that nobody wrote are a value of the right type, or an exception that is documented."""
    codec, _ = CODECS[kind]
    raised = (*UNREADABLE, cattrs.ClassValidationError, TypeError) if "cattrs" in kind else UNREADABLE
    try:
        read = codec.decode(body, codec.schema)
    except raised:
        return
    assert kind == "JSON" or isinstance(read, Plain | Attrs | Struct | Model)


@each
@given(read=JSON)
def test_json_of_others(kind: str, read: JsonValue) -> None:
    """JSON of another form, and MessagePack of another form, is an exception."""
    codec, _ = CODECS[kind]
    body = Encoder().encode(None) if "msgspec" in kind else PLAIN_JSON.encode(read)
    if kind == "JSON":
        assert codec.decode(body, codec.schema) == read
        return
    with pytest.raises((*UNREADABLE, cattrs.ClassValidationError, TypeError)):
        codec.decode(body, codec.schema)


@each
@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"number":' * 100_000, b"\x91" * 100_000, b"\x81\x00" * 100_000])
def test_deep_nesting(kind: str, body: bytes) -> None:
    """A body that is nested a hundred thousand times ends no process."""
    codec, _ = CODECS[kind]
    with pytest.raises(UNREADABLE):
        codec.decode(body, codec.schema)


@each
@pytest.mark.parametrize("schema", ["account-2", "", "ACCOUNT-1", "account-1 "])
def test_an_unknown_schema(kind: str, schema: str) -> None:
    """A schema that the codec does not read, such as that of a later release, is an error that names both."""
    codec, _ = CODECS[kind]
    with pytest.raises(UnknownSchemaError) as told:
        codec.decode(b"null", schema)
    assert str(told.value) == f"schema={schema!r}: must be one of {codec.schema!r}"


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (bytes_codec("account-1", encode=str.encode, decode=bytes.decode, older=FROM_OLD), "Ada"),
        (json_codec("account-1", older=FROM_OLD), ["Ada"]),
        (
            json_codec("account-1", encode=written, decode=restored, older=FROM_OLD),
            Plain(1, "Ada", None, ("a",), 0.5),
        ),
        (msgspec_codec(Struct, "account-1", older=FROM_OLD), Struct(1, "Ada", None, ("a",), 0.5)),
        (pydantic_codec(Model, "account-1", older=FROM_OLD), model(1, "Ada", None, ("a",), 0.5)),
        (cattrs_codec(make_converter(), Attrs, "account-1", older=FROM_OLD), Attrs(1, "Ada", None, ("a",), 0.5)),
    ],
)
def test_an_older_schema(codec: Codec[Any], value: object) -> None:
    """A new release reads what the older one wrote, by the function that it kept for it, and its own."""
    check_codec(codec, value)
    assert codec.decode(b"by the older", "account-0") == ("old", b"by the older")
    with pytest.raises(UnknownSchemaError, match=r"^schema='account-2': must be one of 'account-1', 'account-0'$"):
        codec.decode(b"by a later", "account-2")


def test_a_deploy_with_a_new_schema() -> None:
    """The codec of the older release is what reads its bodies; what the new one wrote, the older one refuses."""

    def upgraded(body: bytes) -> Plain:
        before = old.decode(body, "account-1")
        return Plain(before.number, before.name, before.email, before.tags, before.score)

    old = msgspec_codec(Struct, "account-1")
    new = json_codec("account-2", encode=written, decode=restored, older={"account-1": upgraded})
    body = old.encode(Struct(1, "Ada", None, (), 0.5))
    assert new.decode(body, "account-1") == Plain(1, "Ada", None, (), 0.5)
    with pytest.raises(UnknownSchemaError):
        old.decode(new.encode(Plain(1, "Ada", None, (), 0.5)), new.schema)


def test_what_is_kept_for_older_schemas_does_not_change() -> None:
    """A codec is what it was made as, whatever becomes of the mapping that it was given."""
    older = {"word-1": bytes.decode}
    codec = bytes_codec("word-2", encode=str.encode, decode=bytes.decode, older=older)
    older.clear()
    assert codec.decode(b"a", "word-1") == "a"


NO_SCHEMA = ["", "a b", "a\n", "é", "a" * 65, b"a", None, 1]


@pytest.mark.parametrize("wrong", NO_SCHEMA)
def test_what_is_no_schema_is_refused(wrong: Any) -> None:
    """A schema is 1 to 64 printable ASCII characters, of which none is a space."""
    right = "must be a str of 1 to 64 printable ASCII characters without a space"
    with pytest.raises(ConfigError) as told:
        json_codec(wrong)
    assert str(told.value) == f"schema={wrong!r}: {right}"
    with pytest.raises(ConfigError) as told:
        json_codec("any-1", older={wrong: read_json})
    assert str(told.value) == f"older={wrong!r}: {right}"
    assert json_codec("a" * 64).schema == "a" * 64


def test_what_is_no_function_is_refused() -> None:
    """Each function is needed, and each is one; the own schema has no older reader."""
    wrong: Any = "no function"
    refused: Mapping[str, Callable[[], object]] = {
        "encode=None: must be a function": lambda: json_codec("a", encode=None, decode=restored),  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType]  # under test
        "decode=None: must be a function": lambda: json_codec("a", encode=written),  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]  # under test
        "encode='no function': must be a function": lambda: bytes_codec("a", encode=wrong, decode=bytes.decode),
        "decode='no function': must be a function": lambda: bytes_codec("a", encode=str.encode, decode=wrong),
        "older['b']='no function': must be a function": lambda: json_codec("a", older={"b": wrong}),
        "older='a': must be a schema other than that which is written": lambda: json_codec("a", older={"a": read_json}),
    }
    for message, make in refused.items():
        with pytest.raises(ConfigError) as told:
            make()
        assert str(told.value) == message


@pytest.mark.parametrize(
    ("value", "raised"),
    [
        (math.inf, ValueError),
        (math.nan, ValueError),
        ("\ud800", UnicodeEncodeError),
        ([b"bytes"], TypeError),
        ([bytearray(b"bytes")], TypeError),
        ([{1, 2}], TypeError),
        (datetime(2020, 1, 1, tzinfo=UTC), TypeError),
        (10**5000, ValueError),
    ],
    ids=["infinite", "nan", "surrogate", "bytes", "bytearray", "set", "datetime", "long"],
)
def test_what_json_has_no_form_for(value: Any, raised: type[Exception]) -> None:
    """JSON writes a value exactly, or refuses it."""
    with pytest.raises(raised):
        PLAIN_JSON.encode(value)


def test_json_writes_each_sequence_and_mapping() -> None:
    """What is typed as writable is written: a tuple, a range, a read-only mapping."""
    codec = json_codec("any-1", encode=lambda value: [(1,), range(2), MappingProxyType({"a": value})], decode=str)
    assert codec.encode("b") == b'[[1],[0,1],{"a":"b"}]'


@pytest.mark.parametrize("body", [b"NaN", b"[-Infinity]", b"\xff", b"\xef\xbb\xbf1", "1".encode("utf-16"), b"1 2", b""])
def test_what_is_no_json(body: bytes) -> None:
    """JSON is read as RFC 8259 has it, in UTF-8."""
    with pytest.raises(ValueError):  # noqa: PT011  # of several texts, all of them json's
        read_json(body)


def test_a_value_that_is_nested_too_deep() -> None:
    """A value that refers to itself, or goes too deep, is refused as it is written."""
    circle: list[JsonValue] = []
    circle.append(circle)
    with pytest.raises(UNREADABLE):
        PLAIN_JSON.encode(circle)
    with pytest.raises(RecursionError):
        msgspec_codec(list[object], "any-1").encode([circle])


def test_hooks_of_msgspec() -> None:
    """A decoder and an encoder of one's own are for what msgspec does not know, and for unions."""
    codec: Codec[complex] = msgspec_codec(
        Decoder(complex, dec_hook=lambda _, parts: complex(*parts)),
        "complex-1",
        encoder=Encoder(enc_hook=lambda value: (value.real, value.imag)),
    )
    check_codec(codec, 1 + 2j)
    either: Codec[int | str | None] = msgspec_codec(Decoder[int | str | None](int | str | None), "either-1")
    check_codec(either, 1, "a", None)
    with pytest.raises(DecodeError, match=r"^Expected `int \| str \| null`, got `float`$"):
        either.decode(Encoder().encode(1.5), "either-1")


def test_adapters_of_pydantic() -> None:
    """An adapter is for what is no class, and brings its own config."""
    config = pydantic.ConfigDict(ser_json_inf_nan="constants", ser_json_bytes="base64", val_json_bytes="base64")
    floats = pydantic.TypeAdapter[float | bytes | None](float | bytes | None, config=config)
    check_codec(pydantic_codec(floats, "either-1"), 1.5, math.inf, None)
    check_codec(pydantic_codec(pydantic.TypeAdapter(bytes, config=config), "bytes-1"), b"\xff")


@pytest.mark.parametrize(
    ("codec", "wrong"),
    [
        (BY_HAND, None),
        (BY_PYDANTIC, "no account"),
        (BY_CATTRS, "no account"),
        (cattrs_codec(cattrs.Converter(), datetime, "instant-1"), datetime(2020, 1, 1, tzinfo=UTC)),
        (BY_MSGSPEC, object()),
    ],
)
def test_a_value_that_cannot_be_written(codec: Codec[Any], wrong: object) -> None:
    """What has no form is an exception, and never a warning or other bytes."""
    with pytest.raises((TypeError, ValueError, AttributeError)):
        codec.encode(wrong)


def test_values_of_the_standard_library() -> None:
    """Dates, durations and bytes come back as they were, where the library writes them."""
    instant, length = datetime(2020, 1, 1, 12, tzinfo=UTC), timedelta(days=1, microseconds=1)
    check_codec(msgspec_codec(tuple[datetime, timedelta, bytes], "three-1"), (instant, length, b"\xff"))
    check_codec(pydantic_codec(tuple[datetime, timedelta], "two-1"), (instant, length))
    check_codec(cattrs_codec(make_converter(), tuple[datetime, bytes], "two-1"), (instant, b"\xff"))


def test_the_law_is_checked() -> None:
    """A codec that gives another value, another type, no bytes, or reads any schema, is found."""

    class Careless:
        schema = "any-1"

        def encode(self, value: object, /) -> bytes:
            return repr(value).encode()

        def decode(self, body: bytes, schema: str, /) -> object:
            return eval(body)  # noqa: S307  # careless is what it is called

    check_codec(Careless())
    with pytest.raises(AssertionError, match=r"^b'1' was read under .*: decode must look at its schema$"):
        check_codec(Careless(), 1)
    as_list: Any = PLAIN_JSON
    no_bytes: Any = bytes_codec("any-1", encode=lambda value: value, decode=lambda body: body)
    with pytest.raises(AssertionError, match=r"^'a' was written as 'a', which are no bytes$"):
        check_codec(no_bytes, "a")
    with pytest.raises(AssertionError, match=r"^1.0 was written as b'1.0' under 'any-1', and read as 1$"):
        check_codec(json_codec("any-1", encode=float, decode=lambda _: 1.0 if _ is None else 1), 1.0)
    with pytest.raises(
        AssertionError, match=r"^\(1, 2\) was written as b'\[1,2\]' under 'any-1', and read as \[1, 2\]$"
    ):
        check_codec(as_list, (1, 2))


@pytest.mark.parametrize("library", ["msgspec", "pydantic", "cattrs"])
def test_where_a_library_is_missing(library: str) -> None:
    """A codec whose library is missing says which extra has it; the others need none."""
    program = f"""
import sys
sys.modules[{library!r}] = None
import lastcache.second.codecs, lastcache.second.options
try:
    import lastcache.second.{library}
except ImportError as error:
    print(error)
"""
    ended = subprocess.run(  # noqa: S603  # our own text
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ended.stdout == f"lastcache.second.{library} needs {library}: pip install 'lastcache[{library}]'\n"
