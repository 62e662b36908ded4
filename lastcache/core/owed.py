"""What a store could not be told yet: the last word on each key, for when it is back.

Pure: a value that each event makes a new one of. A key owes one thing, since a later write says all that is left of an
earlier one::

    owed already   a set       a delete   an expire
    nothing        the set     delete     expire
    a set          the set     delete     expire
    a delete       the set     delete     delete
    an expire      the set     delete     expire

Who expires a key that owes a set had better owe that set, ended: else what it replaced would be what is left.

Where too many keys owe something, a ``clear`` of all is owed in their place: it costs loads, and gives nothing old.
"""

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Generic, TypeAlias, TypeVar, final

from lastcache.core.values import value

K = TypeVar("K")
S = TypeVar("S")
S_co = TypeVar("S_co", covariant=True)


class Told(Enum):
    """A write without a value."""

    DELETE = "delete"
    EXPIRE = "expire"


@final
@value
class SetTo(Generic[S_co]):
    """A value that was set, in whatever form it is told in."""

    what: S_co


Debt: TypeAlias = SetTo[S] | Told
"""What one key owes."""


@final
@value
class Owed(Generic[K, S]):
    """What is owed: one thing for a key, or a clear of everything that was before ``keys``, or both."""

    keys: Mapping[K, Debt[S]]
    everything: bool = False


def owe(owed: Owed[K, S], key: K, debt: Debt[S], at_most: int) -> Owed[K, S]:
    """Write down what a key owes. Above ``at_most`` keys, everything is owed in their place."""
    known = owed.keys.get(key)
    following = Told.DELETE if known is Told.DELETE and debt is Told.EXPIRE else debt
    keys = {**owed.keys, key: following}
    return Owed({}, everything=True) if len(keys) > at_most else Owed(keys, owed.everything)


def owe_everything(_owed: Owed[K, S]) -> Owed[K, S]:
    """The cache was cleared: that says all that is left of what its keys owed.

    >>> owe_everything(owe(Owed({}), "k", Told.DELETE, 10))
    Owed(keys={}, everything=True)
    """
    return Owed({}, everything=True)


def is_owed(owed: Owed[K, S], key: K) -> bool:
    """Say whether the store must not be asked for ``key`` yet: it may answer what is over."""
    return owed.everything or key in owed.keys


def paid(owed: Owed[K, S], told: Iterable[tuple[K, Debt[S]]]) -> Owed[K, S]:
    """The store was told what these keys owed; what they owe since then stays."""
    left = dict(owed.keys)
    for key, debt in told:
        if left.get(key) is debt:
            del left[key]
    return owed if len(left) == len(owed.keys) else Owed(left, owed.everything)


def paid_everything(owed: Owed[K, S]) -> Owed[K, S]:
    """The store was told of the clear; what keys owe since then stays."""
    return Owed(owed.keys)
