"""How the values of the core are made."""

from dataclasses import dataclass
from typing import Final, TypeVar, dataclass_transform

from returns.result import Success

T = TypeVar("T")

SUCCESS: Final[type[object]] = Success
"""The class of what ``is_successful``: ``type(outcome) is SUCCESS`` says the same at a fifth of its cost.

Nor does it import the pipelines of returns, and with them its containers for IO, which a cache does not use.
It is declared any class, so that type checkers, which lose the type of the value by it, do not narrow.
"""


@dataclass_transform(frozen_default=True)
def value(record: type[T]) -> type[T]:
    """Make a slotted dataclass that type checkers hold to be frozen.

    At run time nothing enforces it: a frozen dataclass takes 0.1 to 0.3 us longer to make, and a miss makes several.
    What users hold in their hands is frozen at run time, too.
    """
    return dataclass(slots=True, unsafe_hash=True)(record)
