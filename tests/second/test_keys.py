"""Keys as bytes: equal keys have one form, and others have another."""

import subprocess
import sys
from collections.abc import Hashable
from datetime import date
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from fractions import Fraction
from itertools import product
from typing import Final, NamedTuple
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastcache.second.keys import plain_key, record_name

pytestmark = pytest.mark.slow

ANY_TEXT: Final = st.text(st.characters(exclude_categories=()), max_size=8)
SIMPLE: Final[st.SearchStrategy[Hashable]] = (
    ANY_TEXT | st.integers() | st.booleans() | st.integers(-3, 3) | st.binary(max_size=8) | st.uuids()
)
KEYS: Final[st.SearchStrategy[Hashable]] = st.recursive(
    SIMPLE, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=8
)


class Colour(IntEnum):
    """An int with a name."""

    RED = 1


class Word(StrEnum):
    """A str with a name."""

    ADA = "ada"


class Page(NamedTuple):
    """A tuple with names."""

    user: int
    number: int


class Caseless(str):
    """A str with an equality of its own, and a text that is not what it holds."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self.lower() == other.lower()

    def __hash__(self) -> int:
        return hash(self.lower())


class Odd(int):
    """An int that shows itself as another, and is equal to what it is."""

    def __index__(self) -> int:
        return 99

    def __repr__(self) -> str:
        return "99"

    __str__ = __repr__


GOLDEN: Final[dict[Hashable, bytes]] = {
    "": b"s:",
    "ada": b"s:ada",
    "user 1": b"s:user 1",
    "é": b"s:\xc3\xa9",
    "\ud800": b"s:\xed\xa0\x80",
    "\U00010000": b"s:\xf0\x90\x80\x80",
    0: b"i:0",
    -7: b"i:-7",
    (1 << 64) - 1: b"i:18446744073709551615",
    1 - (1 << 64): b"i:-18446744073709551615",
    1 << 64: b"x:10000000000000000",
    -(1 << 64): b"x:-10000000000000000",
    b"": b"b:",
    b"\x00ada": b"b:\x00ada",
    UUID(int=10): b"u:0000000000000000000000000000000a",
    (): b"t:",
    ("ada", 7): b"t:5:s:ada,3:i:7,",
    ((), ("a", (b"b",))): b"t:2:t:,19:t:3:s:a,8:t:3:b:b,,,",
}


@pytest.mark.parametrize("key", GOLDEN, ids=ascii)
def test_forms_stay(key: Hashable) -> None:
    """These forms are in stores: a release that wrote others would find no record of the former one."""
    assert plain_key(key) == GOLDEN[key]


@given(KEYS, KEYS)
def test_one_form_for_equal_keys_alone(one: Hashable, other: Hashable) -> None:
    """Two keys have one form if and only if they are equal."""
    assert (plain_key(one) == plain_key(other)) == (one == other)


ALIKE: Final[list[Hashable]] = [
    *("", "1", "i:1", "s:", "s:1", ",", "1:", "t:", "t:3:i:1,", "0x1", "\ud800\udc00", "\U00010000"),
    *(0, 1, -1, True, False, Colour.RED, Odd(1), 1 << 64, -(1 << 64), 16, 10),
    *(b"", b"1", b"i:1", b"s:1", UUID(int=1), Word.ADA, "ada", b"ada"),
]


def test_alike() -> None:
    """Of keys that look alike, alone and in tuples, those have one form that a dict has one place for."""
    tuples = [tuple(parts) for size in (0, 1, 2) for parts in product(ALIKE, repeat=size)]
    keys = [*ALIKE, *tuples, *(((one,), other) for one, other in product(ALIKE[:12], ALIKE[:12])), Page(1, 1)]
    forms = {key: plain_key(key) for key in keys}
    assert all(plain_key(key) == forms[key] for key in keys)
    assert len(set(forms.values())) == len(forms)


def test_subclasses() -> None:
    """A subclass is written as what it is equal to, whatever it shows itself as."""
    assert (plain_key(Colour.RED), plain_key(True), plain_key(Odd(1))) == (b"i:1", b"i:1", b"i:1")  # noqa: FBT003  # a key
    assert plain_key(Word.ADA) == plain_key("ada")
    assert plain_key(Page(1, 2)) == plain_key((1, 2))


class Plain(Enum):
    """Neither an int nor a str."""

    ONE = 1


@pytest.mark.parametrize(
    "key",
    [1.0, 1.5, Decimal(1), Fraction(1), 1j, None, Plain.ONE, Caseless("ada"), date(2020, 1, 1), frozenset({1}), object],
    ids=repr,
)
def test_what_has_no_plain_form(key: Hashable) -> None:
    """A key that may equal a plain one, or is stable nowhere, is refused by an error that names it."""
    right = "must be a str, int, bytes, UUID or a tuple of these; Second(key=...) can write others as bytes"
    with pytest.raises(TypeError) as told:
        plain_key(key)
    assert str(told.value) == f"key={key!r}: {right}"
    with pytest.raises(TypeError) as told:
        plain_key(("a", (key, 1)))
    assert str(told.value) == f"key=('a', ({key!r}, 1)): {key!r} in it {right}"


def test_long_numbers() -> None:
    """An int of any length has a form, which does not hang on what a process lets Python write in decimal."""
    assert plain_key(16**5000) == b"x:1" + b"0" * 5000


def test_another_process() -> None:
    """Each process writes a key alike, whatever its hashes are seeded with."""
    program = "from lastcache.second.keys import *; print(record_name(b'n', b'g', plain_key(('Ada L.', 7, b'x'))))"
    said = {
        subprocess.run(  # noqa: S603  # our own text
            [sys.executable, "-X", f"int_max_str_digits={640 + int(seed)}", "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {f"{record_name(b'n', b'g', plain_key(('Ada L.', 7, b'x')))!r}\n"}


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (b"", b""),
        (b"a" * 64, b"a" * 64),
        (b"AZaz09._:,/@+=~-", b"AZaz09._:,/@+=~-"),
        (b"a" * 65, b"#6c79be0b5947a7307cdad5a8757bb005"),
        (b"a b", b"#"),
        (b"a\n", b"#"),
        (b"\xc3\xa9", b"#"),
        (b"{a}", b"#"),
        (b"#00000000000000000000000000000000", b"#"),
    ],
)
def test_verbatim_or_digest(key: bytes, name: bytes) -> None:
    """Up to 64 plain characters stand as they are, at the end of the name; anything else as a digest."""
    named = record_name(b"users", b"\x01\xff", key)
    assert named.startswith(b"users:01ff:" + name)
    assert len(named) == len(b"users:01ff:") + (33 if name.startswith(b"#") else len(key))


PARTS: Final = st.binary(max_size=3) | st.sampled_from([b"a:b", b":", b"#", b"a" * 64, b"a" * 65])
NAMESPACES: Final = st.text("ab.-", min_size=1, max_size=3).map(str.encode)
NAMES: Final = st.tuples(NAMESPACES, st.binary(max_size=2), PARTS)


@given(NAMES, NAMES)
def test_one_name_for_one_record(one: tuple[bytes, bytes, bytes], other: tuple[bytes, bytes, bytes]) -> None:
    """Two records have one name if and only if they have one namespace, one generation, and one key."""
    assert (record_name(*one) == record_name(*other)) == (one == other)


def test_names_stay() -> None:
    """These names are in stores."""
    assert record_name(b"users", b"\x00\xff", plain_key("ada")) == b"users:00ff:s:ada"
    assert record_name(b"users", b"", plain_key("Ada L.")) == b"users::#0e218ef898cd41a6d3d269a5bfbf3f46"
