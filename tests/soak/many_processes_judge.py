"""What one worker knows, and how it judges each answer by what is promised, and by nothing more.

**Invented.** A value belongs to the key that was asked for, is whole, and has a version that the origin has given out.

**Broken.**

1. A value that is not marked stale was made by the origin no longer than ``global_ttl`` ago; a server that was stopped
   meanwhile may have taken it in as late as it went on.
2. Where a change was acknowledged (it had returned, and ``settled`` said that nothing is owed), no read that begins
   later than ``trust_for`` after that gives an older value as fresh. It is not judged where

   - a set of that key was under way when the change began: the store alone knows which of them is the newer one;
   - the store lost records since;
   - this process did not reach the store at some time within ``trust_for`` before the read, or in it;
   - the change is a set that was told late, and so gives way to what others have written since;
   - the change is an expire, and within ``global_ttl`` before it the store lost records, or this process did not reach
     it: what the store does not have it cannot end.

3. A stale answer has an error, and was given while the origin failed.

**Lost.** A failure is given only while the origin fails, and only where nobody who must know has a value: not this
process, which was given one that was loaded when no change of the key was under way, and that was not outrun; and not
the store, which it reaches, which took such a one, and which lost nothing since. Nobody has deleted the key since.
It is not judged where this process itself changed the key during the call: that outruns the load, and
``docs/semantics.md`` says that its failure is given then. No document says so of what other processes change.

Each of the two bounds in time has ``SLACK`` more: a call may join a load that read the origin a little earlier.
"""

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, final

from lastcache.second.codecs import JsonValue
from tests.soak.many_processes_board import SECOND, Ack, Board, Kind
from tests.soak.many_processes_contact import Contact, Memory
from tests.soak.many_processes_counts import BROKEN, INVENTED, LOST, Finding, Tally
from tests.soak.many_processes_values import STALE_FOR, TRUST, TTL, Given, Read, read

SLACK: Final = SECOND // 2
MARGIN: Final = 2 * SECOND
"""How long after the origin has come back a failure of before may still be given."""
LATER: Final = 3 * SECOND // 2
"""How much later is judged what depends on what is found out a little later: evictions, and that the store is away."""


@final
class Suspect(NamedTuple):
    """What is to be judged later: the kind of what was found, unless something excuses it."""

    kind: str
    text: str
    phase: int
    found_at: int
    stands: Callable[[], bool]


@final
class Judge:
    """Judges the answers of one thread; ``memory`` is that of its process."""

    def __init__(self, board: Board, contact: Contact, memory: Memory, tally: Tally) -> None:
        self._board = board
        self._contact = contact
        self._memory = memory
        self._tally = tally
        self._suspects: deque[Suspect] = deque()
        self.found = 0

    def value(self, read_: Read, value: JsonValue, err: str | None, *, stale: bool) -> None:
        """Judge an answer that is a value."""
        given = read(value)
        if given is None or given.key != read_.key or given.version > read_.after or given.made_at > read_.ended_at:
            self._find(read_, INVENTED, f"{value!r:.120}")
        elif stale:
            self._stale(read_, err)
        else:
            self._fresh(read_, given)

    def _stale(self, read_: Read, err: str | None) -> None:
        self._tally.phases[read_.phase].what["stale"] += 1
        if err is None or not self._origin_failed(read_):
            self._find(read_, BROKEN, f"a stale answer, with the error {err!r}, though the origin answered")

    def _origin_failed(self, read_: Read) -> bool:
        return self._board.outages.touch(read_.began_at - MARGIN, read_.ended_at)

    def _fresh(self, read_: Read, given: Given) -> None:
        board = self._board
        age = read_.began_at - given.made_at
        if age > TTL + SLACK and age > TTL + SLACK + board.stops.length(given.made_at, read_.began_at):
            self._find(read_, BROKEN, f"{given} was given as fresh {age / SECOND:.3f} s after it was made")
        if given.version < read_.before:
            for ack in board.acks_after(read_.key, given.version):
                self._older(read_, given, ack)
        elif read_.quiet and given.version == read_.after and self._is_kept(read_, given):
            self._memory.had[read_.key] = given.version, read_.began_at
            if read_.loaded and self._contact.reached(read_.began_at, read_.ended_at):
                board.share(read_.key, given.version, read_.ended_at)

    def _is_kept(self, read_: Read, given: Given) -> bool:
        """Say whether nothing came in between the load of a value and its landing."""
        key, made_at = read_.key, given.made_at
        return made_at > self._board.written_at[key] and not self._contact.outran(key, made_at)

    def _older(self, read_: Read, given: Given, ack: Ack) -> None:
        """An older value was given as fresh than was acknowledged before."""
        late = read_.began_at - ack.at
        if late <= TRUST + SLACK:
            if late > self._tally.phases[read_.phase].oldest and self._binds(read_, ack):
                self._tally.phases[read_.phase].oldest = late
            return
        text = f"{given} was given as fresh {late / SECOND:.3f} s after the store knew of {ack}"
        self._suspect(read_, BROKEN, text, lambda: self._binds(read_, ack))

    def _binds(self, read_: Read, ack: Ack) -> bool:
        before = TTL + SLACK if ack.kind is Kind.EXPIRE else 0
        if self._board.losses.touch(ack.at - before, read_.ended_at):
            return False
        since = min(read_.began_at - TRUST - SLACK, ack.at - before if before else read_.began_at)
        return self._contact.reached(since, read_.ended_at)

    def failure(self, read_: Read) -> None:
        """Judge an answer that is a failure."""
        what = self._tally.phases[read_.phase].what
        what["failures"] += 1
        if not self._origin_failed(read_):
            self._find(read_, LOST, "a failure, though the origin answered")
        elif self._memory.changed_during(read_.began_at, read_.ended_at, read_.key):
            what["outrun here"] += 1
        else:
            self._uncovered(read_)

    def _uncovered(self, read_: Read) -> None:
        """Nothing covered a failure of the origin: nobody may have had anything."""
        board, key = self._board, read_.key
        version, at = self._memory.had.get(key, (0, 0))
        if at and self._counts(read_, version, at):
            self._find(read_, LOST, f"a failure, though this process had version {version} {_ago(read_, at)}")
            return
        version, at = board.shared[key], board.shared_at[key]
        if at and self._counts(read_, version, at):
            text = f"a failure, though the store took version {version} {_ago(read_, at)}"
            self._suspect(read_, LOST, text, lambda: self._has(read_, at))

    def _counts(self, read_: Read, version: int, at: int) -> bool:
        """Say whether what was known then may still cover a failure."""
        return version >= self._board.deleted[read_.key] and read_.ended_at - at < STALE_FOR - TTL

    def _has(self, read_: Read, at: int) -> bool:
        since = read_.began_at - TRUST
        return not self._board.losses.touch(at, read_.ended_at) and self._contact.reached(since, read_.ended_at)

    def is_second(self, since: int) -> bool:
        """Say whether another load should have been waited for, which began then: unless that process was away."""
        board, now = self._board, self._board.now()
        if board.outages.touch(since - MARGIN, now) or board.losses.touch(since - SLACK, now):
            return False
        return self._contact.reached(since - SLACK, now)

    def call(self, phase: int, kind: str, text: str) -> None:
        """Something is wrong with a call itself."""
        self.found += 1
        self._tally.find(phase, Finding(kind, text, self._board.now()))

    def judge_later(self, *, all_of_them: bool = False) -> None:
        """Judge what was put off, and is due."""
        due = self._board.now() - LATER
        while self._suspects and (all_of_them or self._suspects[0].found_at < due):
            suspect = self._suspects.popleft()
            if suspect.stands():
                self.found += 1
                self._tally.find(suspect.phase, Finding(suspect.kind, suspect.text, suspect.found_at))

    def _suspect(self, read_: Read, kind: str, text: str, stands: Callable[[], bool]) -> None:
        self._suspects.append(Suspect(kind, f"{text}; {_said(read_)}", read_.phase, self._board.now(), stands))

    def _find(self, read_: Read, kind: str, text: str) -> None:
        self.call(read_.phase, kind, f"{text}; {_said(read_)}")


def _ago(read_: Read, at: int) -> str:
    return f"{(read_.began_at - at) / SECOND:.3f} s before"


def _said(read_: Read) -> str:
    took = (read_.ended_at - read_.began_at) / 1e6
    return (
        f"key {read_.key}, read at {read_.began_at / SECOND:.3f} for {took:.1f} ms, "
        f"the origin was at {read_.before} to {read_.after}"
    )
