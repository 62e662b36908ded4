r"""The names of records: keys as bytes that every process and every release writes alike.

The law of ``plain_key``: two keys have one form if and only if they are equal. So a dict and a store tell the same keys
apart. The forms, where ``<n>`` is a length in decimal:

=====================  =============================================================
str                    ``s:`` and its UTF-8; a surrogate in three bytes, as if it were a character
int                    ``i:`` and its decimal digits, up to 64 bits; ``x:`` and hexadecimal ones beyond
bytes                  ``b:`` and itself
UUID                   ``u:`` and its 32 hexadecimal digits
tuple                  ``t:`` and for each part ``<n>:``, its form, and ``,``
=====================  =============================================================

They stay as they are: another form would be another record, and what was deleted under one would live on under another.
"""

import re
from hashlib import blake2b
from typing import Final, cast
from uuid import UUID

__all__ = ["plain_key", "record_name"]

_LONG: Final = 1 << 64
_TUPLE: Final[type[tuple[object, ...]]] = tuple
_VERBATIM: Final = re.compile(rb"[A-Za-z0-9._:,/@+=~-]{0,64}")


def plain_key(key: object) -> bytes:
    """Write a str, an int, bytes, a UUID, or a tuple of these as bytes.

    Of a subclass, such as an ``IntEnum``, a ``StrEnum``, a ``NamedTuple`` or ``bool``, it writes what it is equal to;
    one with an equality of its own is refused. Raises ``TypeError``, which names the key and what is right, for
    anything else: ``1.0``, which equals 1, is no key of a record.

    >>> plain_key("ada"), plain_key(42), plain_key(("ada", 42))
    (b's:ada', b'i:42', b't:5:s:ada,4:i:42,')
    >>> plain_key(1.0)
    Traceback (most recent call last):
    TypeError: key=1.0: must be a str, int, bytes, UUID or a tuple of these; Second(key=...) can write others as bytes
    """
    return _form(key, key)


def record_name(namespace: bytes, generation: bytes, key: bytes) -> bytes:
    r"""Name the record of ``key``: two names are one if and only if all three are, but for a collision of BLAKE2b.

    ``key`` stands in it verbatim where it is up to 64 plain characters, else as a digest of 16 bytes.

    >>> record_name(b"users", b"\x01\xff", b"i:42")
    b'users:01ff:i:42'
    >>> record_name(b"users", b"\x01\xff", b"s:Ada Lovelace")
    b'users:01ff:#5a66508a7e55f3b6d9fbc1f79727b9c5'
    """
    return record_begin(namespace, generation) + record_tail(key)


def record_begin(namespace: bytes, generation: bytes) -> bytes:
    """Give what a record's name has before its key."""
    return b"%b:%b:" % (namespace, generation.hex().encode())


def record_tail(key: bytes) -> bytes:
    """Give what a record's name has of its key."""
    return key if _VERBATIM.fullmatch(key) else _digest(key)


def _digest(key: bytes) -> bytes:
    # The sign is none of the plain characters: no key that stands verbatim looks like it.
    return b"#" + blake2b(key, digest_size=16).hexdigest().encode()


def _form(part: object, key: object) -> bytes:
    # Methods are taken from the plain types: a subclass may have its own, and is equal all the same.
    equals = type(part).__eq__
    if isinstance(part, str) and equals is str.__eq__:
        return b"s:" + str.encode(part, "utf-8", "surrogatepass")
    if isinstance(part, int) and equals is int.__eq__:
        return _number(int.__index__(part))
    if isinstance(part, bytes) and equals is bytes.__eq__:
        return b"b:" + part
    if isinstance(part, UUID) and equals is UUID.__eq__:
        return b"u:%032x" % part.int
    if isinstance(part, tuple) and equals is _TUPLE.__eq__:
        forms = [_form(inner, key) for inner in _TUPLE.__iter__(cast("tuple[object, ...]", part))]
        return b"t:" + b"".join(b"%d:%b," % (len(form), form) for form in forms)
    inside = "" if part is key else f"{part!r} in it "
    raise TypeError(
        f"key={key!r}: {inside}must be a str, int, bytes, UUID or a tuple of these; "
        "Second(key=...) can write others as bytes"
    )


def _number(number: int) -> bytes:
    # Decimal digits are refused by Python beyond a length that each process can set for itself.
    return b"i:%d" % number if -_LONG < number < _LONG else b"x:%x" % number
