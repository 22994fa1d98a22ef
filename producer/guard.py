"""The guard: may what was found in the source be believed? Decides, from what the root looks like.

A root that is missing, or empty while the index is not, is more often a disk that is not mounted than a tree that was deleted.
"""

from dataclasses import dataclass
from typing import NamedTuple


class RootIdentity(NamedTuple):
    """Device and inode of the source's root."""

    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class Root:
    """What the root looks like now. `identity` None: it is missing or cannot be read, and `why` says so."""

    identity: RootIdentity | None
    is_empty: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`alarm` "": publish. Otherwise the kind of alarm, and nothing is published. `compare_whole`: another root than the one the
    index was made from: the whole tree is compared before anything is published."""

    alarm: str = ""
    detail: str = ""
    compare_whole: bool = False


MISSING, EMPTY = ALARMS = ("source-missing", "source-empty")


def judge(root: Root, indexed: int, last: RootIdentity | None, *, is_emptied: bool = False) -> Verdict:
    """`indexed`: how many paths the index holds. `last`: the root's identity when the whole tree was last compared, if ever.
    `is_emptied`: a person said that the source was emptied on purpose."""
    if root.identity is None:
        return Verdict(MISSING, f"the source cannot be read ({root.why}): nothing is published until it is back")
    if root.is_empty and indexed and not is_emptied:
        return Verdict(
            EMPTY,
            f"the source is empty, {indexed} paths are known: nothing is published until files are back; if it was emptied on"
            " purpose: treecast hold release",
        )
    return Verdict(compare_whole=last is not None and root.identity != last)
