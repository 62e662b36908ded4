"""Records in a file: what is read and written for each message.

What is read is read without a lock. Only where something must be written, the write lock is taken, and all is read
again under it. A record that is spoilt is dropped: that key alone is lost.
"""

import os
from collections.abc import Callable, Sequence
from typing import Final

from lastcache.second.protocol import (
    Absent,
    Ask,
    Cleared,
    Expire,
    Fill,
    Forget,
    Outrun,
    Put,
    Release,
    Tell,
    Told,
    Verdict,
    Want,
)
from lastcache.second.rules import Head, Moment, answer, kept, verdict, written
from lastcache.second.sqlite._heads import (
    Cell,
    Found,
    SpoiltRecordError,
    body_sum,
    generation_sum,
    is_generation,
    packed,
    unpacked,
    whole,
)
from lastcache.second.sqlite._line import Line
from lastcache.second.sqlite._troubles import SpoiltFileError

_WORD: Final = 8
_A_WRITE: Final = 3 * 4096
"""The bytes that a write adds to the log beside its body, about."""

_FIND: Final = """
SELECT head, body FROM records WHERE name = ?
AND EXISTS (SELECT 1 FROM generations WHERE namespace = ? AND word = ?)
"""
_HEAD: Final = """
SELECT head, place > (SELECT max(place) FROM records) - 1024 FROM records WHERE name = ?
AND EXISTS (SELECT 1 FROM generations WHERE namespace = ? AND word = ?)
"""
_BOTH: Final = "SELECT head, body FROM records WHERE name = ?"
_STORE: Final = "INSERT OR REPLACE INTO records (name, head, body) VALUES (?, ?, ?)"
_REPLACE: Final = "UPDATE records SET head = ?, body = ? WHERE name = ?"
_CHANGE: Final = "UPDATE records SET head = ? WHERE name = ?"
_DROP: Final = "DELETE FROM records WHERE name = ?"
_GENERATION: Final = "SELECT word, sum FROM generations WHERE namespace = ?"
_GENERATIONS: Final = "SELECT namespace, word, sum FROM generations"
_RENEW: Final = "INSERT OR REPLACE INTO generations (namespace, word, sum) VALUES (?, ?, ?)"

Now = Callable[[], Moment]


def asked(line: Line, asks: Sequence[Ask], now: Now) -> Sequence[Told]:
    """Answer each ask; the write lock is taken only if a lease is granted, or something mended."""
    moment = now()
    answers = [_read(line, ask, moment) for ask in asks]
    read = tuple([each for each in answers if each is not None])
    if len(read) == len(answers):
        return read
    with line.transaction():
        moment = now()
        return tuple(
            [_lease(line, ask, moment) if each is None else each for ask, each in zip(asks, answers, strict=True)]
        )


def told(line: Line, tells: Sequence[Tell], now: Now) -> Sequence[Verdict]:
    """Write what is told, all of it in one transaction."""
    with line.transaction():
        moment = now()
        return tuple([_write(line, tell, moment) for tell in tells])


def cleared(line: Line, namespace: bytes, generation: bytes) -> None:
    """Give ``namespace`` a new generation; the records of the older one are found no more, and make room in time."""
    with line.transaction():
        _renew(line, namespace, generation)


def _read(line: Line, ask: Ask, moment: Moment) -> Told | None:
    """Answer ``ask`` by reading alone; None where that does not do."""
    if ask.generation is None:
        there = _generation(line, ask.namespace)
        return None if there is None else Cleared(there)
    name = _named(ask, ask.generation)
    row = line.connection.execute(_FIND, (name, ask.namespace, ask.generation)).fetchone()
    if row is None:
        return _read_nothing(line, ask, ask.generation)
    try:
        heard, head = _answer(name, row, ask, moment)
    except SpoiltRecordError:
        return None
    return heard if head is None else None


def _read_nothing(line: Line, ask: Ask, generation: bytes) -> Told | None:
    there = _generation(line, ask.namespace)
    if there is None or (there == generation and ask.want is not Want.LOOK):
        return None
    return Absent(None) if there == generation else Cleared(there)


def _lease(line: Line, ask: Ask, moment: Moment) -> Told:
    """Answer ``ask`` under the write lock, and write what that changes."""
    there = _generation(line, ask.namespace)
    if there is None:
        there = os.urandom(_WORD) if ask.generation is None else ask.generation
        _renew(line, ask.namespace, there)
    if there != ask.generation:
        return Cleared(there)
    name = _named(ask, there)
    row = line.connection.execute(_BOTH, (name,)).fetchone()
    try:
        heard, head = _answer(name, row, ask, moment)
    except SpoiltRecordError:
        _drop(line, name)
        row = None
        heard, head = _answer(name, row, ask, moment)
    if head is not None:
        _change(line, name, None if row is None else unpacked(name, row[0]), head)
    return heard


def _answer(name: bytes, row: tuple[Cell, Cell] | None, ask: Ask, moment: Moment) -> tuple[Told, Head | None]:
    found = None if row is None else unpacked(name, row[0])
    if row is None or found is None or kept(found.head, moment) is None:
        return answer(None, None, "", ask, moment, _epoch)
    return answer(found.head, whole(found, row[1]), found.schema, ask, moment, _epoch)


def _write(line: Line, tell: Tell, moment: Moment) -> Verdict:
    name = _named(tell, tell.generation)
    row: tuple[Cell, Cell] | None = line.connection.execute(_HEAD, (name, tell.namespace, tell.generation)).fetchone()
    if row is None:
        there = _generation(line, tell.namespace)
        if there is not None and there != tell.generation:
            return Outrun()
        if there is None:
            _renew(line, tell.namespace, tell.generation)
            return _write(line, tell, moment)
    found, recent = _found(line, name, row, moment), row is not None and row[1] == 1
    head = written(None if found is None else found.head, tell, moment, _epoch)
    if head is not None:
        _store(line, name, found, head, tell, in_place=found is not None and recent)
    return verdict(head)


def _found(line: Line, name: bytes, row: tuple[Cell, Cell] | None, moment: Moment) -> Found | None:
    """Read the record of ``name``, unless its time is over; one that is spoilt is dropped."""
    if row is None:
        return None
    try:
        found = unpacked(name, row[0])
    except SpoiltRecordError:
        _drop(line, name)
        return None
    return None if kept(found.head, moment) is None else found


def _store(line: Line, name: bytes, found: Found | None, head: Head, tell: Tell, *, in_place: bool) -> None:
    match tell:
        case Put() | Fill():
            _place(line, name, Found(head, tell.schema, body_sum(tell.body)), tell.body, in_place=in_place)
        case Forget():
            _place(line, name, Found(head, "", 0), None, in_place=in_place)
        case Expire() | Release():
            _change(line, name, found, head)


def _place(line: Line, name: bytes, found: Found, body: bytes | None, *, in_place: bool) -> None:
    """Write a record anew: it is the last in line to make room then. One that nearly is stays where it is."""
    if in_place:
        line.connection.execute(_REPLACE, (packed(name, found), body, name))
    else:
        line.connection.execute(_STORE, (name, packed(name, found), body))
    line.written += _A_WRITE + len(body or b"")


def _change(line: Line, name: bytes, found: Found | None, head: Head) -> None:
    """Write a record's head, and leave its body as it is."""
    if found is None or found.head.epoch != head.epoch:
        _place(line, name, Found(head, "", 0), None, in_place=False)
        return
    line.connection.execute(_CHANGE, (packed(name, found._replace(head=head)), name))
    line.written += _A_WRITE


def _drop(line: Line, name: bytes) -> None:
    line.connection.execute(_DROP, (name,))


def _generation(line: Line, namespace: bytes) -> bytes | None:
    """Give the generation of ``namespace``; None where there is none.

    One that cannot be read makes the file a spoilt one: else an older generation might be restored, and its records.
    """
    row = line.connection.execute(_GENERATION, (namespace,)).fetchone()
    if row is not None and is_generation(namespace, *row):
        return bytes(row[0])
    rows = line.connection.execute(_GENERATIONS).fetchall()
    if not all(is_generation(*each) for each in rows):
        raise SpoiltFileError(line.at, "a generation cannot be read")
    return None


def _renew(line: Line, namespace: bytes, generation: bytes) -> None:
    line.connection.execute(_RENEW, (namespace, generation, generation_sum(namespace, generation)))
    line.written += _A_WRITE


def _named(message: Ask | Tell, generation: bytes) -> bytes:
    """Give the name under which a record is in the file."""
    return b"\0".join((message.namespace, generation, message.name))


def _epoch() -> bytes:
    return os.urandom(_WORD)
