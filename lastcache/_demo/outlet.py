"""Standard output, and what becomes of it when whoever read has gone."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from typing import Protocol, TextIO


class Outlet(Protocol):
    """The part of a text stream that the demonstration prints by."""

    @property
    def encoding(self) -> str: ...

    def isatty(self) -> bool: ...

    def write(self, text: str, /) -> object: ...

    def flush(self) -> None: ...


def silence(out: TextIO) -> None:
    """Send to nowhere what is still to be written: the interpreter, too, flushes once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, out.fileno())
    os.close(nowhere)


class Lasting:
    """An outlet that goes on without its reader."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    @property
    def encoding(self) -> str:
        """That of the stream."""
        return self._out.encoding

    def isatty(self) -> bool:
        """Tell whether it is a terminal."""
        return self._out.isatty()

    def write(self, text: str, /) -> None:
        """Write, if somebody reads."""
        with self._without_reader():
            self._out.write(text)

    def flush(self) -> None:
        """Flush, if somebody reads."""
        with self._without_reader():
            self._out.flush()

    @contextmanager
    def _without_reader(self) -> Generator[None, None, None]:
        try:
            yield
        except BrokenPipeError:
            silence(self._out)
