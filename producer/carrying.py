"""Decides what of the master's metadata is carried: which symlinks, and whether owners. Knows no disk and no user database."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from common.names import depth

Symlinks = Literal["all", "safe", "skip"]
OwnerOf = Callable[[int, int], str]
"""What "user:group" is written for these two numbers."""


@dataclass(frozen=True, slots=True)
class Carrying:
    """`owner_of` None: owners are not carried."""

    symlinks: Symlinks = "all"
    owner_of: OwnerOf | None = None

    def owner(self, uid: int, gid: int) -> str:
        """What an entry says of its owner; "" where owners are not carried."""
        return self.owner_of(uid, gid) if self.owner_of is not None else ""

    def why_not(self, path: bytes, target: bytes) -> str | None:
        """Why a symlink is not carried; "" where it was asked for that none is; None: it is."""
        if self.symlinks == "all":
            return None
        if self.symlinks == "skip":
            return ""
        return None if is_safe(path, target) else "a link that leads out of the tree is not carried (symlinks is safe)"


EVERYTHING = Carrying()
"""All symlinks, no owners."""


def is_safe(path: bytes, target: bytes) -> bool:
    """Whether a symlink at this path stays in the tree, as rsync's --safe-links has it: its target is relative, and never climbs
    above the tree's root on its way."""
    if target.startswith(b"/"):
        return False
    level = depth(path) - 1
    for name in target.split(b"/"):
        if name == b"..":
            level -= 1
        elif name not in (b"", b"."):
            level += 1
        if level < 0:
            return False
    return True
