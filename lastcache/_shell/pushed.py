"""What other processes have written, as a store tells it at once: the key is found again, and its value here ends.

That is an optimisation: what is not heard is found out when the store is asked.
"""

from datetime import timedelta
from typing import Final, Generic, TypeVar, cast, final
from weakref import ref

from lastcache._shell.shared_state import SharedState
from lastcache._shell.shell import Shell
from lastcache.errors import StoreFailure
from lastcache.events import ChangedElsewhere, PushBack, PushLost
from lastcache.second.keys import record_begin, record_tail
from lastcache.second.protocol import Wrote

K = TypeVar("K")
V = TypeVar("V")
E = TypeVar("E")
C = TypeVar("C")

SPARE: Final = 1024
"""How many keys more than twice the entries are known by name, before those that have no entry are forgotten."""


@final
class Pushed(Generic[K, V, E, C]):
    """Listens to the store of one cache, which it keeps alive no longer."""

    __slots__ = ("__weakref__", "_keys", "_namespace", "_shell")

    def __init__(self, shell: Shell[K, V, E, C], namespace: bytes) -> None:
        self._shell = ref(shell)
        self._namespace = namespace
        self._keys: dict[bytes, K] = {}

    def note(self, form: bytes, key: K) -> None:
        """Remember which key has this form: the store names records by it."""
        self._keys[record_tail(form)] = key
        shell = self._shell()
        if shell is not None and len(self._keys) > 2 * len(shell.entries) + SPARE:
            # What is asked for has no entry yet; it has a load.
            stored, places = shell.entries.stored, shell.state.places.copy()
            kept = {
                tail: each
                for tail, each in self._keys.copy().items()
                if each in stored or any(each in loads.traffic for loads in places)
            }
            self._keys = {**kept, record_tail(form): key}

    def wrote(self, wrote: Wrote, /) -> None:
        """Take in that another process wrote a record."""
        shell = self._shell()
        begin = record_begin(self._namespace, wrote.generation)
        tail = wrote.name[len(begin) :]
        if shell is None or not wrote.name.startswith(begin) or tail not in self._keys:
            return
        key, state = self._keys[tail], _state_of(shell)
        try:
            if shell.guard.run_now(state.hear_of, key, wrote):
                shell.reports.of_store(ChangedElsewhere, key, wrote.how.value)
        finally:
            shell.settle_up()

    def cleared(self, generation: bytes, /) -> None:
        """Take in that another process cleared everything."""
        shell = self._shell()
        if shell is not None and shell.second is not None and _state_of(shell).ledger.generation is not None:
            shell.second.meet(shell, generation)

    def lost(self, failure: StoreFailure, /) -> None:
        """Report that nothing is heard any more."""
        shell = self._shell()
        if shell is not None:
            shell.reports.of_store(PushLost, failure)

    def back(self, lost_for: timedelta, /) -> None:
        """Report that something is heard again."""
        shell = self._shell()
        if shell is not None:
            shell.reports.of_store(PushBack, lost_for)


def _state_of(shell: Shell[K, V, E, C]) -> SharedState[K, V, E, C]:
    return cast("SharedState[K, V, E, C]", shell.state)
