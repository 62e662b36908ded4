"""How messages are written for the scripts, and what is read from their replies."""

import struct
import zlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from lastcache.second.protocol import (
    Absent,
    Ask,
    Busy,
    Expire,
    Fill,
    Forget,
    Gone,
    Held,
    Kept,
    Lease,
    Outrun,
    Put,
    Release,
    Same,
    Tell,
    Told,
    Verdict,
    Version,
    Want,
)
from lastcache.second.redis._scripts import CHANGE, HEAD, QUESTION
from lastcache.second.redis._troubles import SpoiltRecordError, StrangeReplyError

MILLISECOND: Final = timedelta(milliseconds=1)
LONGEST: Final = 10**14
"""The longest duration that is stored, in milliseconds: some three thousand years."""
WORD: Final = 8
"""The bytes of an epoch, of a generation, and of what marks a reply."""
NOT_SPOILT: Final = -1

_WANTS: Final = {Want.LOOK: 0, Want.LEASE: 1, Want.FORCE: 2}
_NOBODY: Final = bytes(WORD)
_VERSION: Final = struct.Struct("<8sd")


def generation_key(namespace: bytes) -> bytes:
    """Name the key of a namespace's generation, and its channel.

    The braces keep all that one namespace has in one slot, and so on one node, of a cluster.
    """
    return b"lc1:{%b}" % namespace


def record_key(namespace: bytes, generation: bytes, name: bytes) -> bytes:
    r"""Name the key of a record. A name says its generation already, as a rule, and says it once.

    >>> record_key(b"users", b"\x01\xff", b"users:01ff:i:42"), record_key(b"users", b"\x01\xff", b"users:42")
    (b'lc1:{users}:01ff:i:42', b'lc1:{users}:01ff:\x00users:42')
    """
    word = generation.hex().encode()
    begin = b"%b:%b:" % (namespace, word)
    rest = name[len(begin) :] if name.startswith(begin) else b"\0" + name
    return b"lc1:{%b}:%b:%b" % (namespace, word, rest)


def name_of(key: bytes) -> tuple[bytes, bytes]:
    r"""Give the generation and the name of the record under ``key``; raises ``ValueError`` where it is none.

    >>> name_of(b"lc1:{users}:01ff:i:42"), name_of(b"lc1:{users}:01ff:\x00users:42")
    ((b'\x01\xff', b'users:01ff:i:42'), (b'\x01\xff', b'users:42'))
    """
    begin, namespace, rest = key.split(b":", 2)
    word, tail = rest.split(b":", 1)
    if begin != b"lc1":
        raise ValueError(key)
    name = tail[1:] if tail.startswith(b"\0") else b"%b:%b:%b" % (namespace[1:-1], word, tail)
    return bytes.fromhex(word.decode()), name


def question_of(ask: Ask, epoch: bytes, spoilt: int = NOT_SPOILT) -> bytes:
    """Write down what is asked; ``epoch`` is for a record that is not there yet."""
    known, number = (_NOBODY, -1) if ask.known is None else ask.known
    early_by = ask.early_by / MILLISECOND
    return QUESTION.pack(known, number, _WANTS[ask.want], _ticks(ask.lease_for), early_by, epoch, spoilt)


def told_of(answer: Any) -> Told:
    """Read what was answered; raises ``SpoiltRecordError`` where the body is not the one that was written."""
    try:
        kind: int = answer[0]
        return _TOLD[kind](answer)
    except (LookupError, TypeError, ValueError, struct.error) as err:
        raise StrangeReplyError(f"a script answered {answer!r:.100}") from err


def _grant(grant: Any) -> Lease | Busy | None:
    match grant[0]:
        case 1:
            return Lease(grant[2], grant[1])
        case 2:
            return Busy(grant[1], grant[2] * MILLISECOND)
        case _:
            return None


def _held(answer: Any) -> Held:
    raw: bytes = answer[1]
    checksum, length = HEAD.unpack_from(raw)[11:13]
    if zlib.crc32(raw[HEAD.size :]) != checksum:
        raise SpoiltRecordError(checksum)
    begin = HEAD.size + length
    schema = raw[HEAD.size : begin].decode()
    return Held(raw[begin:], schema, answer[3] * MILLISECOND, _version_in(raw), _grant(answer[2]))


def _version_in(raw: bytes) -> Version:
    epoch, _, floor = HEAD.unpack_from(raw)[1:4]
    return Version(epoch, int(floor))


_TOLD: Final[Sequence[Callable[[Any], Told]]] = (
    _held,
    lambda answer: Same(answer[1] * MILLISECOND),
    lambda answer: Gone(_version_in(answer[1]), _grant(answer[2])),
    lambda answer: Absent(_grant(answer[2])),
)
"""What is read from each kind of answer."""


def change_of(tell: Tell, epoch: bytes) -> tuple[bytes, bytes]:
    """Write down what is told, and what follows the head of the record; ``epoch`` is for a new record."""
    match tell:
        case Fill(lease=lease, body=body):
            written = b"" if body is None else body
            schema = "" if body is None else tell.schema
            return _change(1, lease, tell.fresh_for, tell.keep_for, epoch, schema, written, has_body=body is not None)
        case Put(only_if=only_if, body=body):
            return _change(2, only_if, tell.fresh_for, tell.keep_for, epoch, tell.schema, body, has_body=True)
        case Forget(keep_for=keep_for):
            return _change(3, None, timedelta(0), keep_for, epoch)
        case Expire(keep_for=keep_for, lease=lease):
            return _change(4, lease, timedelta(0), keep_for, epoch)
        case Release(lease=lease):
            return _change(5, lease, timedelta(0), timedelta(0), epoch)


def _change(
    kind: int,
    on: Lease | Version | None,
    fresh_for: timedelta,
    keep_for: timedelta,
    epoch: bytes,
    schema: str = "",
    body: bytes = b"",
    *,
    has_body: bool = False,
) -> tuple[bytes, bytes]:
    depends, number = (_NOBODY, 0) if on is None else on
    name = schema.encode()
    rest = name + body
    changed = CHANGE.pack(
        kind,
        depends,
        number,
        on is not None,
        _ticks(fresh_for),
        _ticks(keep_for),
        epoch,
        zlib.crc32(rest) if has_body else 0,
        len(name),
        has_body,
    )
    return changed, rest


def verdict_of(answer: object) -> Verdict:
    """Read what became of what was told."""
    if answer == b"":
        return Outrun()
    if not isinstance(answer, bytes) or len(answer) != _VERSION.size:
        raise StrangeReplyError(f"the script answered {answer!r:.100}")
    epoch, floor = _VERSION.unpack(answer)
    return Kept(Version(epoch, int(floor)))


def _ticks(duration: timedelta) -> int:
    return max(-LONGEST, min(LONGEST, duration // MILLISECOND))
