"""The law of codecs."""

from typing import Final, TypeVar, cast

from lastcache.second.codecs import Codec

V = TypeVar("V")

NOBODYS: Final = "a schema that nobody writes"


def check_codec(codec: Codec[V], *values: V) -> None:
    """Check that ``codec`` gives each of ``values`` back as it was, of the same type, and reads no schema but its own.

    Raises ``AssertionError``, which says what it gave; whatever the codec raises of a value comes through. It is made
    for ``@given`` as for values that are written down.

    >>> from lastcache.second.codecs import bytes_codec, json_codec
    >>> check_codec(json_codec("any-1"), None, [1, 2.5], {"a": "é"})
    >>> check_codec(bytes_codec("word-1", encode=str.encode, decode=lambda body: body.decode().lower()), "ada", "Ada")
    Traceback (most recent call last):
    AssertionError: 'Ada' was written as b'Ada' under 'word-1', and read as 'ada'
    """
    schema = codec.schema
    for value in values:
        body = codec.encode(value)
        if not isinstance(cast("object", body), bytes):
            raise AssertionError(f"{value!r} was written as {body!r}, which are no bytes")  # noqa: TRY004  # a law
        read = codec.decode(body, schema)
        if type(read) is not type(value) or read != value:
            raise AssertionError(f"{value!r} was written as {body!r} under {schema!r}, and read as {read!r}")
        if _reads(codec, body, NOBODYS):
            raise AssertionError(f"{body!r} was read under {NOBODYS!r}: decode must look at its schema")


def _reads(codec: Codec[V], body: bytes, schema: str) -> bool:
    try:
        codec.decode(body, schema)
    except Exception:
        return False
    return True
