"""Codecs that write MessagePack by msgspec; needs ``lastcache[msgspec]``."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from lastcache.second.codecs import NOTHING_OLDER, Codec, bytes_codec

try:
    from msgspec.msgpack import Decoder, Encoder
except ImportError as _missing:
    raise ImportError("lastcache.second.msgspec needs msgspec: pip install 'lastcache[msgspec]'") from _missing

__all__ = ["msgspec_codec"]

V = TypeVar("V")


def msgspec_codec(
    of: type[V] | Decoder[V],
    schema: str,
    *,
    encoder: Encoder | None = None,
    older: Mapping[str, Callable[[bytes], V]] = NOTHING_OLDER,
) -> Codec[V]:
    """Make a codec of the type ``of``: of structs, dataclasses, and all else that msgspec knows.

    What is read is checked against the type, strictly. Where that is not enough, such as for a union, or for types that
    msgspec does not know, ``of`` is a ``Decoder`` of msgspec, and ``encoder`` the ``Encoder`` that fits it.
    Beside ``UnknownSchemaError``, ``decode`` raises what msgspec raises: ``msgspec.DecodeError``, and
    ``RecursionError`` for what is nested too deep; ``encode`` of what it has no form for ``TypeError``, ``ValueError``,
    ``OverflowError`` or ``RecursionError``.

    >>> codec = msgspec_codec(tuple[int, str], "pair-1")
    >>> codec.decode(codec.encode((1, "a")), "pair-1")
    (1, 'a')
    """
    decoder = of if isinstance(of, Decoder) else Decoder(of)
    used = Encoder() if encoder is None else encoder
    return bytes_codec(schema, encode=used.encode, decode=decoder.decode, older=older)
