"""What must be new in the child of a fork: other threads do not exist there, so locks they held would stay locked."""

import os
from contextlib import suppress
from typing import Final, Protocol
from weakref import WeakSet


class Resettable(Protocol):
    """Something with locks or threads."""

    def reset_after_fork(self) -> None:
        """Make the locks and loads new, as in a process without other threads."""
        ...


_KEPT: Final[WeakSet[Resettable]] = WeakSet()


def reset_in_children(kept: Resettable) -> None:
    """Reset ``kept`` in the child of every fork to come, as long as it lives."""
    _KEPT.add(kept)


def kept_over_forks() -> list[Resettable]:
    """Give what lives of all that was asked to be reset."""
    return list(_KEPT)


def _reset_all() -> None:
    for kept in kept_over_forks():
        with suppress(Exception):  # What fails for one cache must not keep the others from being reset.
            kept.reset_after_fork()


if hasattr(os, "register_at_fork"):  # There is no fork on Windows.
    os.register_at_fork(after_in_child=_reset_all)
