"""The source of what the caches of ``store_peers`` hold: it is slow, fails and changes as one process says.

How it is stands in a file, and each of its calls is a line of another, so that all processes share one origin.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Final, NamedTuple, final


@final
class OriginError(Exception):
    """The origin is down."""


class State(NamedTuple):
    """How the origin is: the seconds of a call, whether it fails then, and the version of what it gives."""

    takes: float = 0.0
    fails: bool = False
    version: int = 1


@final
class Origin:
    """An origin in a directory."""

    def __init__(self, directory: Path) -> None:
        self._state: Final = directory / "state"
        self._calls: Final = directory / "calls"

    def become(self, state: State) -> None:
        """Be so from the next call on, for all processes."""
        new = self._state.with_name("new")
        new.write_text(json.dumps(state), encoding="ascii")
        new.replace(self._state)

    def value(self, key: str, version: int = 1) -> str:
        return f"{key}, version {version}"

    def load(self, key: str) -> str:
        """Give the value. Raises ``OriginError`` where that fails."""
        state = self._called(key)
        time.sleep(state.takes)
        return self._answer(key, state)

    async def load_in_task(self, key: str) -> str:
        """Do as ``load``."""
        state = self._called(key)
        await asyncio.sleep(state.takes)
        return self._answer(key, state)

    def calls(self, key: str, since: float = 0.0, until: float = float("inf")) -> int:
        """Count the calls for keys that begin with ``key``, between two instants."""
        if not self._calls.exists():
            return 0
        lines = [line.split(" ", 1) for line in self._calls.read_text(encoding="ascii").splitlines()]
        return sum(since <= float(called_at) < until and called.startswith(key) for called_at, called in lines)

    def _called(self, key: str) -> State:
        line = f"{time.monotonic()} {key}\n".encode("ascii")
        calls = os.open(self._calls, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(calls, line)
        finally:
            os.close(calls)
        return State(*json.loads(self._state.read_text(encoding="ascii")))

    def _answer(self, key: str, state: State) -> str:
        if state.fails:
            raise OriginError("the origin is down")
        return self.value(key, state.version)
