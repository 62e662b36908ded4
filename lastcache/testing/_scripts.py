"""Callbacks that follow a script."""

import threading
from datetime import timedelta
from typing import Final, Generic, TypeVar, final

from lastcache.core.states import Outcome

V = TypeVar("V")
E = TypeVar("E")

PATIENCE: Final = timedelta(seconds=20)
"""How long a callback waits at its gate, and a test for a callback, before it is called a hang."""


@final
class Script(Generic[V, E]):
    """A list of outcomes, one a call; an exception among them is raised. ``calls`` has the keys that were asked for."""

    def __init__(self, outcomes: tuple[Outcome[V, E] | BaseException, ...], *, repeat: bool) -> None:
        self.calls: list[object] = []
        self._outcomes = outcomes
        self._repeat = repeat
        self._played = 0
        self._lock = threading.Lock()

    def ask(self, key: object) -> None:
        """Note a call. Raises ``AssertionError`` if the script has nothing for it."""
        with self._lock:
            self.calls.append(key)
            over = len(self.calls) > len(self._outcomes) and not (self._repeat and self._outcomes)
        if over:
            raise AssertionError(f"the script has {len(self._outcomes)} outcomes; it was asked once more, for {key!r}")

    def play(self) -> Outcome[V, E]:
        """Give the next outcome, or raise it."""
        with self._lock:
            outcome = self._outcomes[min(self._played, len(self._outcomes) - 1)]
            self._played += 1
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


class ScriptedLoad(Generic[V, E]):
    """A callback for ``LastCache`` that gives each of ``outcomes`` in turn; an exception among them is raised.

    Asked more often than there are outcomes, it raises ``AssertionError``; with ``repeat`` the last one is given again.
    So ``ScriptedLoad()`` stands for a callback that must not be called. ``calls`` has the keys that were asked for.

    With ``gated`` each call waits until the test lets it go: so a test holds a load under way. A call that nobody lets
    go raises ``AssertionError`` after ``patience``, as ``started`` does if no call begins.

    >>> from lastcache import LastCache, failed
    >>> from returns.result import Success
    >>> load = ScriptedLoad[int, str](Success(42), failed("connection lost", use_stale=True))
    >>> cache = LastCache[str, int, str]()
    >>> cache.load_or_store("answer", load)
    <Success: CachedValue(value=42, stale=False, err=None)>
    >>> cache.expire("answer")
    >>> cache.load_or_store("answer", load)
    <Success: CachedValue(value=42, stale=True, err='connection lost')>
    >>> load.calls
    ['answer', 'answer']
    """

    def __init__(
        self,
        *outcomes: Outcome[V, E] | BaseException,
        gated: bool = False,
        repeat: bool = False,
        patience: timedelta = PATIENCE,
    ) -> None:
        self._script: Script[V, E] = Script(outcomes, repeat=repeat)
        self._gate = threading.Semaphore(0) if gated else None
        self._starts = threading.Semaphore(0)
        self._patience = patience.total_seconds()

    @property
    def calls(self) -> list[object]:
        """The keys that were asked for, in turn."""
        return self._script.calls

    def __call__(self, key: object) -> Outcome[V, E]:
        self._script.ask(key)
        self._starts.release()
        if self._gate is not None and not self._gate.acquire(timeout=self._patience):
            raise AssertionError(f"nobody let the load of {key!r} go")
        return self._script.play()

    def started(self) -> None:
        """Wait until one more call has begun."""
        if not self._starts.acquire(timeout=self._patience):
            raise AssertionError(f"no load has begun since {self.calls!r}")

    def let_go(self, times: int = 1) -> None:
        """Let as many calls end, those that wait or those to come."""
        if self._gate is not None:
            self._gate.release(times)
