"""How it looks: the live picture, the plain lines and the summary, as strings."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from lastcache._demo.checks import Broken
from lastcache._demo.record import SECOND, Phase, Switch
from lastcache._demo.summary import Count, Row
from lastcache._demo.timeline import Timeline, View, slot_of, total

NAME_WIDTH: Final = 22
COUNTS_WIDTH: Final = 21
_GREEN, _YELLOW, _RED, _BOLD, _DIM = "32", "33", "31", "1", "2"
_MOST_BROKEN: Final = 5
_STATES: Final = {Phase.DEPLOY: "down", Phase.RECOVERED: "up", Phase.DELETED: "up"}


class Palette(NamedTuple):
    """The marks of a slot; ``coloured`` adds ANSI colours to them, and the picture can be read without."""

    fresh: str
    mixed: str
    stale: str
    error: str
    coloured: bool

    def paint(self, text: str, colour: str) -> str:
        """Colour ``text``, if colours are wanted."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.coloured and text else text


def palette_for(encoding: str, *, coloured: bool) -> Palette:
    """Choose marks that ``encoding`` can hold."""
    try:
        "█▓░".encode(encoding)
    except UnicodeEncodeError:
        return Palette("#", "+", "~", "x", coloured)
    return Palette("█", "▓", "░", "x", coloured)


def picture(view: View, cells: int, palette: Palette) -> tuple[str, ...]:
    """Draw the whole run so far: a ruler with the phases, and one line of slots for each client."""
    colour = _RED if _state(view.phase) == "down" else _GREEN
    # A fixed width in front of what is coloured, because escapes take no columns.
    head = f"{view.elapsed / SECOND:6.1f} s  origin: {palette.paint(f'{_state(view.phase):<9}', colour)}  {view.note}"
    counts = f"{'fresh':>7}{'stale':>7}{'errors':>7}"
    ruler = f"{'':{NAME_WIDTH}} {palette.paint(_ruler(view.switches, view.timeline, cells), _DIM)}{counts}"
    lines = [_client_line(view, number, palette, cells) for number in range(len(view.names))]
    return head, ruler, *lines, _legend(palette)


def _state(phase: Phase) -> str:
    return _STATES.get(phase, phase.value)


def _ruler(switches: tuple[Switch, ...], timeline: Timeline, cells: int) -> str:
    ruler = " " * cells
    for switch in switches:
        at = slot_of(timeline, switch.began_at)
        ruler = (ruler[:at] + f"|{switch.phase}")[:cells].ljust(cells)
    return ruler


def _client_line(view: View, number: int, palette: Palette, cells: int) -> str:
    slots = view.timeline.clients[number]
    line = "".join(_cell(slot, palette) for slot in slots[:cells])
    sums = total(slots)
    errors = palette.paint(f"{sums.errors:7}", _RED if sums.errors else "")
    return f"{view.names[number]:<{NAME_WIDTH}} {line}{sums.fresh:7}{sums.stale:7}{errors}"


def _cell(slot: Count, palette: Palette) -> str:
    if slot.errors:
        return palette.paint(palette.error, _RED)
    if 0 < slot.stale <= slot.fresh:
        return palette.paint(palette.mixed, _GREEN)
    if slot.stale:
        return palette.paint(palette.stale, _YELLOW)
    return palette.paint(palette.fresh, _GREEN) if slot.fresh else " "


def _legend(palette: Palette) -> str:
    fresh, mixed = palette.paint(palette.fresh, _GREEN), palette.paint(palette.mixed, _GREEN)
    stale, error = palette.paint(palette.stale, _YELLOW), palette.paint(palette.error, _RED)
    return f"{'':{NAME_WIDTH}} {fresh} fresh  {mixed} some stale  {stale} most stale  {error} some errors"


PLAIN_HEADER: Final = "    time  origin     answers since the line before, as fresh/stale/errors"


def plain_line(view: View, since: Sequence[Count]) -> str:
    """Say in one line what happened since the counts of the line before."""
    news = [total(slots).minus(before) for slots, before in zip(view.timeline.clients, since, strict=True)]
    told = " | ".join(f"{name} {'/'.join(map(str, new))}" for name, new in zip(view.names, news, strict=True))
    return f"{view.elapsed / SECOND:6.1f} s  {view.phase:<9}  {told}"


def table(rows: Iterable[Row]) -> str:
    """Set out the summary in 75 columns, the phases of a client under its name."""
    header = (
        f"{'':11}{'requests':>10}{'fresh':>8}{'stale':>8}{'errors':>8}{'origin calls':>14}{'p50 ms':>9}{'p99 ms':>9}"
    )
    lines = [header]
    for row in rows:
        if row.phase is Phase.UP:
            lines.append(row.client)
        numbers = f"{row.requests:>10}{row.fresh:>8}{row.stale:>8}{row.errors:>8}{row.origin_calls:>14}"
        lines.append(f"  {row.phase:<9}{numbers}{_ms(row.p50_ms):>9}{_ms(row.p99_ms):>9}")
    return "\n".join(lines)


def _ms(latency: float | None) -> str:
    return "-" if latency is None else f"{latency:.3f}"


def verdict(rows: Sequence[Row], cached: frozenset[str], breaches: Sequence[Broken]) -> str:
    """Say in plain words what the summary shows."""
    down = [row for row in rows if row.phase is Phase.DOWN]
    bare = [row for row in down if row.client not in cached]
    asked, lost = sum(row.requests for row in bare), sum(row.errors for row in bare)
    errors = sum(row.errors for row in down if row.client in cached)
    if asked == 0:
        return "No request was sent while the origin was down."
    first = f"While the origin was down, the cached clients saw {errors} errors"
    note = " (for keys that they never had)" if errors and not breaches else ""
    return f"{first}{note}; without a cache {lost} of {asked} requests failed."


def breach_lines(breaches: Sequence[Broken], began_at: int) -> tuple[str, ...]:
    """Say what broke, the first few of it one by one."""
    lines = [f"BROKEN: {_breach_line(breach, began_at)}" for breach in breaches[:_MOST_BROKEN]]
    more = len(breaches) - _MOST_BROKEN
    return (*lines, f"BROKEN: and {more} more") if more > 0 else tuple(lines)


def _breach_line(breach: Broken, began_at: int) -> str:
    at = (breach.started_at - began_at) / SECOND
    return f"{breach.client}, {breach.phase}, at {at:.3f} s, key {breach.key}: {breach.what}"
