"""How a record's head is written down, and how it is known whole: a checksum over the head, its name and its body.

A file gives back what its bytes say, right or wrong: of 400 flipped bytes SQLite itself noticed 17. So no head and no
body is taken at its word. What does not fit is a spoilt record, and as good as lost.
"""

import struct
import zlib
from typing import Final, NamedTuple, TypeAlias, final

from lastcache.second.rules import Head, Word

_MAGIC: Final = b"LC1\0"
_HEAD: Final = struct.Struct("<4s8sQQQQqqqqBI")
"""The magic, the fields of a head in their order, and the checksum of the body; the schema follows, then a checksum."""
_SUM: Final = 4
"""The bytes of a checksum."""

Cell: TypeAlias = bytes | int | float | None
"""What a column may hold, whatever it ought to."""


@final
class SpoiltRecordError(Exception):
    """A record's bytes are not those that were written."""


@final
class Found(NamedTuple):
    """A head as it was read, with the schema of the body, and that body's checksum."""

    head: Head
    schema: str
    body_sum: int


def body_sum(body: bytes | None) -> int:
    """Give the checksum of a body; of none it is that of nothing."""
    return zlib.crc32(body or b"")


def packed(name: bytes, found: Found) -> bytes:
    """Write a head down."""
    head = found.head
    written = _HEAD.pack(_MAGIC, head.epoch, *head[1:9], head.word.value, found.body_sum) + found.schema.encode()
    return written + zlib.crc32(written, zlib.crc32(name)).to_bytes(_SUM, "little")


def unpacked(name: bytes, cell: Cell) -> Found:
    """Read a head; raises ``SpoiltRecordError`` where it is not the one that was written under ``name``."""
    if not isinstance(cell, bytes) or len(cell) < _HEAD.size + _SUM:
        raise SpoiltRecordError
    written = cell[:-_SUM]
    if zlib.crc32(written, zlib.crc32(name)) != int.from_bytes(cell[-_SUM:], "little"):
        raise SpoiltRecordError
    magic, epoch, *numbers, word, of_body = _HEAD.unpack_from(written)
    if magic != _MAGIC:
        raise SpoiltRecordError
    return Found(Head._make((epoch, *numbers, _WORDS[word])), written[_HEAD.size :].decode(), of_body)


_WORDS: Final = {word.value: word for word in Word}


def whole(found: Found, body: Cell) -> bytes | None:
    """Give the body of a record; raises ``SpoiltRecordError`` where it is not the one that was written."""
    if found.head.word is not Word.BODY:
        return None
    if not isinstance(body, bytes) or zlib.crc32(body) != found.body_sum:
        raise SpoiltRecordError
    return body


def generation_sum(namespace: bytes, word: bytes) -> int:
    """Give the checksum of a namespace's generation."""
    return zlib.crc32(word, zlib.crc32(namespace))


def is_generation(namespace: Cell, word: Cell, checksum: Cell) -> bool:
    """Say whether a namespace's generation is the one that was written."""
    return isinstance(namespace, bytes) and isinstance(word, bytes) and generation_sum(namespace, word) == checksum
