"""The version of a record, as an entry remembers it: one number, which takes a third of the room of its parts."""

from typing import Final, TypeAlias

from lastcache.second.protocol import Version

Mark: TypeAlias = int | Version
"""A version; one whose epoch has another length than the usual one is kept as it is."""

EPOCH: Final = 8
"""The bytes of an epoch."""

BITS: Final = 8 * EPOCH


def marked(version: Version) -> Mark:
    r"""Write ``version`` as one number, if that can be.

    >>> marked(Version(b"\x01" + bytes(7), 2)) == 1 + (2 << 64)
    True
    """
    if len(version.epoch) != EPOCH or version.writes < 0:
        return version
    return int.from_bytes(version.epoch, "little") + (version.writes << BITS)


def unmarked(mark: Mark) -> Version:
    """Give the version that was written so.

    >>> unmarked(marked(Version(b"8 bytes!", 12))), unmarked(marked(Version(b"other", 3)))
    (Version(epoch=b'8 bytes!', writes=12), Version(epoch=b'other', writes=3))
    """
    if isinstance(mark, Version):
        return mark
    return Version((mark & ((1 << BITS) - 1)).to_bytes(EPOCH, "little"), mark >> BITS)


def is_newer(version: Version, mark: Mark | None) -> bool:
    """Say whether ``version`` may be newer than that of ``mark``; of two records that cannot be said.

    >>> [is_newer(Version(b"8 bytes!", number), marked(Version(b"8 bytes!", 4))) for number in (3, 4, 5)]
    [False, False, True]
    """
    if mark is None:
        return True
    known = unmarked(mark)
    return version.epoch != known.epoch or version.writes > known.writes
