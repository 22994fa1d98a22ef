"""Decides which large contents stay in the store although nobody wants them now, and for how long. Knows no disk.

A file that is moved is deleted first, and created again when the master has hashed it: so what goes is kept for a while. It takes
no room that was free before; it only gives room back later, and at once when there is none.
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

KEPT_SECONDS = 600.0
"""As long as a master may take to hash what was moved: half a terabyte."""

KEPT_MOST = 10_000
"""So many files at most: each is asked about now and then."""


class Kept(NamedTuple):
    """One content in the store. `since`: monotonic seconds. `is_link`: it was kept from the tree; else it was fetched."""

    name: bytes
    digest: bytes
    size: int
    since: float
    is_link: bool


def to_drop(kept: Iterable[Kept], wanted: Collection[bytes], free_bytes: int, now: float) -> list[Kept]:
    """What goes: what was fetched and nobody wants any more, what was kept too long, and the oldest of what is kept beyond half
    of the free space or of too many. `wanted`: digests that are missing somewhere; they stay."""
    spare = sorted((one for one in kept if one.digest not in wanted), key=lambda one: one.since)
    goes = [not one.is_link or now - one.since >= KEPT_SECONDS for one in spare]
    drop = [one for one, is_over in zip(spare, goes, strict=True) if is_over]
    stays = [one for one, is_over in zip(spare, goes, strict=True) if not is_over]
    size, count = sum(one.size for one in stays), len(stays)
    for one in stays:
        if size <= free_bytes // 2 and count <= KEPT_MOST:
            break
        drop.append(one)
        size -= one.size
        count -= 1
    return drop
