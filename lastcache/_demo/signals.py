"""Ctrl-C and SIGTERM as something to be asked for, so that they never strike in the middle of tidying up."""

import signal
import threading
from types import FrameType
from typing import Final, Self

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """Notes the first signal that asks for the end; as a context manager it gives the old handlers back."""

    def __init__(self) -> None:
        self.arrived: int | None = None
        self._before: list[tuple[int, object]] = []

    def __enter__(self) -> Self:
        # Elsewhere Python refuses handlers, and no signal arrives there either.
        if threading.current_thread() is threading.main_thread():
            self._before = [(number, signal.signal(number, self._note)) for number in _SIGNALS]
        return self

    def __exit__(self, *_raised: object) -> None:
        for number, handler in self._before:
            # None is a handler that was not installed from Python: there is no way to install it again.
            if callable(handler) or isinstance(handler, signal.Handlers):
                signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.arrived = self.arrived or number
