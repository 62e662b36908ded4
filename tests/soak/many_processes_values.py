"""What the origin of a campaign gives, and what a call of it was; the options that the promises depend on."""

from typing import Final, NamedTuple, final

from lastcache.second.codecs import JsonValue
from tests.soak.many_processes_board import SECOND

TTL: Final = 5 * SECOND
STALE_FOR: Final = 300 * SECOND
TRUST: Final = SECOND
LEASE: Final = 5 * SECOND
_PAD: Final = "x" * 100


@final
class Given(NamedTuple):
    """A value of the origin."""

    key: int
    version: int
    made_at: int


def written(given: Given) -> JsonValue:
    """Write a value, with a mark that no other has."""
    return {**given._asdict(), "mark": _mark(given), "pad": _PAD}


def read(value: JsonValue) -> Given | None:
    """Read a value; None where it is not whole."""
    if not isinstance(value, dict) or value.get("pad") != _PAD:
        return None
    words = [value.get(name) for name in Given._fields]
    numbers = [word for word in words if isinstance(word, int)]
    if len(numbers) != len(words):
        return None
    given = Given(*numbers)
    return given if value.get("mark") == _mark(given) else None


def _mark(given: Given) -> int:
    return (given.key * 1_000_003 + given.version * 10_007 + given.made_at) % (1 << 31)


@final
class Read(NamedTuple):
    """A call of ``load_or_store``: when, which version the origin had before and after, and whether nobody wrote.

    ``loaded``: its own callback ran.
    """

    key: int
    phase: int
    began_at: int
    ended_at: int
    before: int
    after: int
    quiet: bool
    loaded: bool
