"""What one process knows: whether it reaches the store, what it was given, and what the store does not know yet."""

import threading
from collections import deque
from datetime import timedelta
from typing import Final, TypeAlias, final

from lastcache import LastCache
from lastcache.events import Event, StoreAway, StoreBack, StoreOutran, StoreSkipped, WaitedElsewhere
from lastcache.second.codecs import JsonValue
from tests.soak.many_processes_board import NEVER, SECOND, Board, Change, Kind
from tests.soak.many_processes_counts import Tally

Cache: TypeAlias = LastCache[int, JsonValue, str]

NOTHING: Final = timedelta(0)


@final
class Memory:
    """What one process was given, and must know until it is deleted; and when it last changed a key itself."""

    def __init__(self) -> None:
        self.had: dict[int, tuple[int, int]] = {}
        self.changed: dict[int, tuple[int, int]] = {}

    def changed_during(self, begin: int, end: int, key: int) -> bool:
        began_at, ended_at = self.changed.get(key, (NEVER, 0))
        return began_at <= end and begin <= ended_at


@final
class Contact:
    """What the cache of one process tells its observer: above all, since when and until when the store is away."""

    def __init__(self, board: Board, tally: Tally) -> None:
        self._board = board
        self._tally = tally
        self._guard = threading.Lock()
        self._away: deque[list[int]] = deque(maxlen=1000)
        self._outran_at: dict[int, int] = {}

    def __call__(self, event: Event[int, str]) -> None:
        match event:
            case StoreAway() | StoreBack() | WaitedElsewhere() | StoreSkipped():
                with self._guard:
                    self._note(event)
            case StoreOutran(key):
                with self._guard:
                    self._outran_at[key] = self._board.now()
                    self._count("StoreOutran")
            case _:
                pass

    def _note(self, event: StoreAway | StoreBack | WaitedElsewhere[int] | StoreSkipped[int]) -> None:
        now = self._board.now()
        match event:
            case StoreAway():
                self._away.append([now, NEVER])
            case StoreBack() if self._away:
                self._away[-1][1] = now
            case StoreSkipped():
                self._away.append([now, now])
            case _:
                pass
        self._count(type(event).__name__)

    def _count(self, name: str) -> None:
        self._tally.phases[self._board.phase.get()].what[name] += 1

    def reached(self, begin: int, end: int) -> bool:
        """Say whether this process reached the store all the time between the two."""
        with self._guard:
            return not any(away <= end and begin <= back for away, back in self._away)

    def outran(self, key: int, made_at: int) -> bool:
        """Say whether a load of ``key`` was outrun that may have been the one which gave what was made then."""
        return self._outran_at.get(key, 0) >= made_at


@final
class Unsettled:
    """The changes of one process that its store does not know yet, as far as is known."""

    def __init__(self, board: Board, contact: Contact, cache: Cache) -> None:
        self._board = board
        self._contact = contact
        self._cache = cache
        self._guard = threading.Lock()
        self._changes: list[tuple[Change, int]] = []

    def add(self, change: Change, began_at: int) -> None:
        """A change has returned."""
        with self._guard:
            self._changes.append((change, began_at))
            self._settle()

    def look(self) -> None:
        """See whether the store knows by now."""
        if self._changes:
            with self._guard:
                self._settle()

    def _settle(self) -> None:
        if not self._cache.settled(NOTHING):
            return
        changes, self._changes = self._changes, []
        now = self._board.now()
        late = {id(change) for change, began_at in changes if not self._contact.reached(began_at - SECOND, now)}
        # The last word on a key is told in place of those before it; a set that is told late gives way to others.
        sets = {change.key for change, _ in changes if change.kind is Kind.SET and id(change) in late}
        for change, _ in changes:
            self._board.end(change, binds=id(change) not in late or change.key not in sets)
