"""Where the timeline is printed: redrawn in place on a terminal, in plain lines elsewhere."""

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final, Protocol

from lastcache._demo.outlet import Outlet
from lastcache._demo.record import SECOND
from lastcache._demo.show import COUNTS_WIDTH, NAME_WIDTH, PLAIN_HEADER, Palette, palette_for, picture, plain_line
from lastcache._demo.summary import Count
from lastcache._demo.timeline import View, total

_FEWEST_CELLS: Final = 12
_MOST_CELLS: Final = 60
_LINE_EVERY: Final = SECOND // 2
_UP, _TO_END_OF_LINE, _HIDE, _SHOW = "\x1b[{}A", "\x1b[K", "\x1b[?25l", "\x1b[?25h"


class Screen(Protocol):
    """Shows views; ``cells`` is how many slots of time it has room for."""

    @property
    def cells(self) -> int: ...

    def show(self, view: View) -> None: ...

    def finish(self) -> None: ...


class Live:
    """A picture that is redrawn in place."""

    def __init__(self, out: Outlet, cells: int, palette: Palette) -> None:
        self.cells = cells
        self._out = out
        self._palette = palette
        self._drawn = 0

    def show(self, view: View) -> None:
        """Draw over the picture before this one."""
        lines = picture(view, self.cells, self._palette)
        back = _UP.format(self._drawn) if self._drawn else _HIDE
        self._out.write(back + "".join(f"\r{line}{_TO_END_OF_LINE}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)

    def finish(self) -> None:
        """Give the cursor back; the last picture stays."""
        if self._drawn:
            self._out.write(_SHOW)
            self._out.flush()


class Lines:
    """A line twice a second, and one whenever something happens."""

    cells = 1

    def __init__(self, out: Outlet) -> None:
        self._out = out
        self._note = ""
        self._half_seconds = 0
        self._told: list[Count] = []

    def show(self, view: View) -> None:
        """Print what is new, if it is time."""
        if view.note != self._note:
            self._note = view.note
            self._say(f"{'':10}-- {view.note}")
        if not view.switches:
            return
        half_seconds = view.elapsed // _LINE_EVERY
        if not self._told:
            self._say(PLAIN_HEADER)
            self._told = [Count()] * len(view.names)
        if half_seconds > self._half_seconds:
            self._half_seconds = half_seconds
            self._say(plain_line(view, self._told))
            self._told = [total(slots) for slots in view.timeline.clients]

    def finish(self) -> None:
        """Leave nothing behind."""

    def _say(self, line: str) -> None:
        self._out.write(f"{line}\n")
        self._out.flush()


def cells_for(columns: int) -> int:
    """Tell how many slots fit beside names and counts; the last column stays free, where some terminals wrap.

    >>> cells_for(80), cells_for(20), cells_for(500)
    (35, 12, 60)
    """
    return max(_FEWEST_CELLS, min(_MOST_CELLS, columns - 1 - NAME_WIDTH - 1 - COUNTS_WIDTH))


@contextmanager
def screen_for(out: Outlet, environ: Callable[[str], str | None] = os.environ.get) -> Generator[Screen, None, None]:
    """Choose by what ``out`` is, and give the terminal back as it was."""
    if not out.isatty() or environ("TERM") in {None, "", "dumb"}:
        yield Lines(out)
        return
    # https://no-color.org: any value but the empty one.
    palette = palette_for(out.encoding or "ascii", coloured=not environ("NO_COLOR"))
    live = Live(out, cells_for(shutil.get_terminal_size().columns), palette)
    try:
        yield live
    finally:
        live.finish()
