"""Codecs that write JSON by pydantic; needs ``lastcache[pydantic]``."""

from collections.abc import Callable, Mapping
from typing import TypeVar

from lastcache.second.codecs import NOTHING_OLDER, Codec, bytes_codec

try:
    from pydantic import TypeAdapter
except ImportError as _missing:
    raise ImportError("lastcache.second.pydantic needs pydantic: pip install 'lastcache[pydantic]'") from _missing

__all__ = ["pydantic_codec"]

V = TypeVar("V")


def pydantic_codec(
    of: type[V] | TypeAdapter[V],
    schema: str,
    *,
    older: Mapping[str, Callable[[bytes], V]] = NOTHING_OLDER,
) -> Codec[V]:
    """Make a codec of the type ``of``, or of what a ``TypeAdapter`` of pydantic is for, such as a union.

    Fields are written under their names, whatever their aliases are, and computed ones are left out. How strictly a
    body is read is for the model's own config to say. Beside ``UnknownSchemaError``, ``decode`` raises
    ``pydantic.ValidationError``, and ``encode`` of what is not of the type ``PydanticSerializationError``; both are a
    ``ValueError``.

    pydantic writes infinite floats and NaN as null, which is another value or none when it is read, unless the config
    has ``ser_json_inf_nan="constants"``. Fields with ``exclude=True``, and private ones, are lost.

    >>> codec = pydantic_codec(dict[int, str], "names-1")
    >>> codec.decode(codec.encode({1: "Ada"}), "names-1")
    {1: 'Ada'}
    """
    adapter: TypeAdapter[V] = of if isinstance(of, TypeAdapter) else TypeAdapter(of)
    return bytes_codec(
        schema,
        encode=lambda value: adapter.dump_json(value, by_alias=False, round_trip=True, warnings="error"),
        decode=lambda body: adapter.validate_json(body, by_alias=False, by_name=True),
        older=older,
    )
