"""What must be new in the child of a fork: its other threads are gone, and what they held is never given back."""

import os
from typing import Final, Protocol
from weakref import WeakSet


class Renewable(Protocol):
    """Something with locks or threads."""

    def renew(self) -> None:
        """Make the locks and flights new, as in a process without other threads."""
        ...


_KEPT: Final[WeakSet[Renewable]] = WeakSet()


def renew_in_children(kept: Renewable) -> None:
    """ServeAndRefresh ``kept`` in the child of every fork to come, as long as it lives."""
    _KEPT.add(kept)


def kept_over_forks() -> list[Renewable]:
    """Give what lives of all that was asked to be renewed."""
    return list(_KEPT)


def _renew_all() -> None:
    for kept in kept_over_forks():
        kept.renew()


if hasattr(os, "register_at_fork"):  # There is no fork on Windows.
    os.register_at_fork(after_in_child=_renew_all)
