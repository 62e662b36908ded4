"""Codecs that write JSON of what cattrs takes apart; needs ``lastcache[cattrs]``."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from lastcache.second.codecs import NOTHING_OLDER, Codec, json_codec

try:
    from cattrs import BaseConverter
except ImportError as _missing:
    raise ImportError("lastcache.second.cattrs needs cattrs: pip install 'lastcache[cattrs]'") from _missing

__all__ = ["cattrs_codec"]

V = TypeVar("V")


def cattrs_codec(
    converter: BaseConverter,
    of: type[V],
    schema: str,
    *,
    older: Mapping[str, Callable[[bytes], V]] = NOTHING_OLDER,
) -> Codec[V]:
    """Make a codec of the type ``of``, which ``converter`` turns into what JSON has a form for, and back.

    A converter of ``cattrs.preconf.json`` knows how dates, bytes and sets are written; a plain one does not, and such a
    value is refused with a ``TypeError`` when it is written. cattrs converts where it can: a body with ``"1"`` for an
    int is read as 1. Beside ``UnknownSchemaError``, ``decode`` raises ``ValueError`` and ``RecursionError`` for what is
    no JSON, and what ``converter`` raises for what is not of the type: ``cattrs.ClassValidationError``, ``ValueError``,
    ``TypeError`` and others.

    >>> from cattrs.preconf.json import make_converter
    >>> codec = cattrs_codec(make_converter(), tuple[int, str], "pair-1")
    >>> codec.decode(codec.encode((1, "a")), "pair-1")
    (1, 'a')
    """
    return json_codec(
        schema,
        encode=lambda value: converter.unstructure(value, unstructure_as=of),
        decode=lambda read: converter.structure(read, of),
        older=older,
    )
