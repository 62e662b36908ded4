"""How messages are written for the scripts, and what is read from their replies."""

import struct
import zlib
from datetime import timedelta
from typing import Final

from lastcache.second.keys import record_begin
from lastcache.second.protocol import (
    Absent,
    Ask,
    Busy,
    Cleared,
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
from lastcache.second.redis._scripts import ANSWER, CHANGE, HEAD, MAGIC, QUESTION, VERDICT
from lastcache.second.redis._troubles import SpoiltRecordError, StrangeReplyError

MILLISECOND: Final = timedelta(milliseconds=1)
LONGEST: Final = 10**14
"""The longest duration that is stored, in milliseconds: some three thousand years."""
WORD: Final = 8
"""The bytes of an epoch, of a generation, and of what marks a reply."""
NOT_SPOILT: Final = -1

_WANTS: Final = {Want.LOOK: 0, Want.LEASE: 1, Want.FORCE: 2}
_NOBODY: Final = bytes(WORD)
_LENGTH: Final = struct.Struct("<I")
_VERSION_IN: Final = struct.Struct("<8sdd")
_BEFORE_VERSION: Final = len(MAGIC)
_SAME, _GONE, _ABSENT = 1, 2, 3
_FILL, _PUT, _FORGET, _EXPIRE, _RELEASE = 1, 2, 3, 4, 5
_LEASED: Final = 1


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
    begin = record_begin(namespace, generation)
    rest = name[len(begin) :] if name.startswith(begin) else b"\0" + name
    return b"lc1:" + record_begin(b"{%b}" % namespace, generation) + rest


def name_of(key: bytes) -> tuple[bytes, bytes]:
    r"""Give the generation and the name of the record under ``key``; raises ``ValueError`` where it is none.

    >>> name_of(b"lc1:{users}:01ff:i:42"), name_of(b"lc1:{users}:01ff:\x00users:42")
    ((b'\x01\xff', b'users:01ff:i:42'), (b'\x01\xff', b'users:42'))
    """
    begin, namespace, rest = key.split(b":", 2)
    word, tail = rest.split(b":", 1)
    if begin != b"lc1":
        raise ValueError(key)
    generation = bytes.fromhex(word.decode())
    return generation, tail[1:] if tail.startswith(b"\0") else record_begin(namespace[1:-1], generation) + tail


def question_of(ask: Ask, epoch: bytes, spoilt: int = NOT_SPOILT) -> bytes:
    """Write down what is asked; ``epoch`` is for a record that is not there yet."""
    known, number = (_NOBODY, -1) if ask.known is None else ask.known
    early_by = ask.early_by / MILLISECOND
    return QUESTION.pack(known, number, _WANTS[ask.want], _ticks(ask.lease_for), early_by, epoch, spoilt)


def answers_of(reply: object, mark: bytes) -> bytes | Cleared:
    """Give what a script answered, or the generation that there is in place of the one that was meant.

    Raises ``StrangeReplyError`` where this is no reply to the message with that mark.
    """
    if not isinstance(reply, bytes) or not reply.startswith(mark) or reply[WORD : WORD + 1] not in {b"A", b"C"}:
        raise StrangeReplyError(f"a reply to something else came: {reply!r:.100}")
    said = reply[WORD + 1 :]
    return Cleared(said) if reply[WORD : WORD + 1] == b"C" else said


def each_of(answers: bytes, count: int) -> list[bytes]:
    """Take the answers to so many asks apart."""
    parts, at = list[bytes](), 0
    for _ in range(count):
        (length,) = _LENGTH.unpack_from(answers, at)
        at += _LENGTH.size + length
        parts.append(answers[at - length : at])
    return parts


def told_of(answer: bytes) -> Told:
    """Read what was answered; raises ``SpoiltRecordError`` where the body is not the one that was written."""
    kind, left, granted, number, ends_in, epoch = ANSWER.unpack_from(answer)
    if kind == _SAME:
        return Same(int(left) * MILLISECOND)
    grant: Lease | Busy | None = None
    if granted:
        grant = Lease(epoch, int(number)) if granted == _LEASED else Busy(int(number), int(ends_in) * MILLISECOND)
    if kind == _ABSENT:
        return Absent(grant)
    version = _VERSION_IN.unpack_from(answer, ANSWER.size + _BEFORE_VERSION)
    known = Version(version[0], int(version[2]))
    return Gone(known, grant) if kind == _GONE else _held(answer[ANSWER.size :], int(left) * MILLISECOND, known, grant)


def _held(raw: bytes, fresh_for: timedelta, version: Version, grant: Lease | Busy | None) -> Held:
    checksum, length = HEAD.unpack_from(raw)[11:13]
    rest = raw[HEAD.size :]
    if zlib.crc32(rest) != checksum:
        raise SpoiltRecordError(checksum)
    return Held(rest[length:], rest[:length].decode(), fresh_for, version, grant)


def change_of(tell: Tell, epoch: bytes) -> tuple[bytes, bytes]:
    """Write down what is told, and what follows the head of the record; ``epoch`` is for a new record."""
    match tell:
        case Fill(lease=lease, body=body):
            written = b"" if body is None else body
            schema = "" if body is None else tell.schema
            return _change(
                _FILL, lease, tell.fresh_for, tell.keep_for, epoch, schema, written, has_body=body is not None
            )
        case Put(only_if=only_if, body=body):
            return _change(_PUT, only_if, tell.fresh_for, tell.keep_for, epoch, tell.schema, body, has_body=True)
        case Forget(keep_for=keep_for):
            return _change(_FORGET, None, timedelta(0), keep_for, epoch)
        case Expire(keep_for=keep_for, lease=lease):
            return _change(_EXPIRE, lease, timedelta(0), keep_for, epoch)
        case Release(lease=lease):
            return _change(_RELEASE, lease, timedelta(0), timedelta(0), epoch)


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


def verdicts_of(answers: bytes) -> list[Verdict]:
    """Read what became of what was told."""
    return [
        Kept(Version(epoch, int(floor))) if kept else Outrun() for kept, epoch, floor in VERDICT.iter_unpack(answers)
    ]


def _ticks(duration: timedelta) -> int:
    return max(-LONGEST, min(LONGEST, duration // MILLISECOND))
