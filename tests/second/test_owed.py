"""What a store could not be told: walked beside a model that keeps every write."""

from itertools import product
from typing import Final

import pytest

from lastcache.core.owed import Owed, SetTo, Told, is_owed, owe, owe_everything, paid, paid_everything

KEYS: Final = ("a", "b")
WRITES: Final = ("set", "delete", "expire", "clear", "pay", "pay all")
Owing = Owed[str, int]


def of(write: str, number: int) -> SetTo[int] | Told:
    """Give what a write owes; each set is another value."""
    return SetTo(number) if write == "set" else Told(write)


def seen(writes: list[tuple[str, int]]) -> str:
    """Say what a record is after these writes."""
    state = "as it was"
    for write, number in writes:
        match write:
            case "set":
                state = f"value {number}"
            case "delete":
                state = "gone"
            case _:
                state = "gone" if state == "gone" else "old"
    return state


@pytest.mark.parametrize("first", WRITES)
def test_the_last_word_is_owed(first: str) -> None:  # noqa: C901  # one match over the events
    """To tell what is owed leaves a key as to tell every write would, in any order of writes and payments."""
    for rest in product(WRITES, repeat=4):
        owed: Owing = Owed({})
        written: list[tuple[str, int]] = []
        everything = False
        for number, write in enumerate((first, *rest)):
            if write == "clear":
                owed, written, everything = owe_everything(owed), [], True
            elif write == "pay" and "a" in owed.keys:
                owed, written = paid(owed, [("a", owed.keys["a"])]), []
            elif write == "pay all":
                owed, everything = paid_everything(owed), False
            elif write != "pay":
                owed = owe(owed, "a", of(write, number), at_most=10)
                written.append((write, number))
            debt = owed.keys.get("a")
            told = [] if debt is None else [("set", debt.what) if isinstance(debt, SetTo) else (debt.value, 0)]
            assert seen(told) == seen(written)
            assert owed.everything == everything
            assert is_owed(owed, "a") == (everything or bool(written))
            assert is_owed(owed, "b") == everything


def test_what_came_since_is_not_paid() -> None:
    """A write that is made while the one before it is told stays owed."""
    owed: Owing = owe(Owed({}), "a", SetTo(1), 10)
    telling = owed.keys["a"]
    owed = owe(owed, "a", SetTo(1), 10)
    assert paid(owed, [("a", telling)]) is owed


@pytest.mark.parametrize("many", [2, 3, 4])
def test_too_much_is_a_clear(many: int) -> None:
    """Above the bound everything is owed in place of the keys; what is written after that is owed by itself."""
    owed: Owing = Owed({})
    for number in range(many):
        owed = owe(owed, str(number), Told.DELETE, at_most=2)
    keys = {} if many == 3 else {str(number): Told.DELETE for number in range(many)} if many < 3 else {"3": Told.DELETE}
    assert owed == Owed(keys, everything=many > 2)
