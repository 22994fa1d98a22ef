"""Decides what a start finds: whether this target is ours, and whether state and disk are of one age. Touches nothing."""

from dataclasses import dataclass
from enum import Enum

from consumer.stagefiles import Age, Mark
from consumer.values import LeftPlan


class Start(Enum):
    """What to do before anything else."""

    CONTINUE = "state and disk are of one age"
    RESOLVE = "a plan was left that was never committed: its paths are taken from the disk"
    SCAN = "the target is ours, but its disk is not what the state knows: it is scanned anew"
    FILL = "an empty target: it is taken"
    ADOPT = "a target with files and without a mark, and the operator said adopt: it is taken and scanned"
    NEEDS_ADOPTION = "a target with files and without a mark"
    MARK_MISSING = "the state knows a target with a mark, and there is none: the volume is not mounted"
    OTHER_MARK = "the target carries a mark that is not this state's"

    @property
    def is_refusal(self) -> bool:
        """Whether nothing may be written."""
        return self in {Start.NEEDS_ADOPTION, Start.MARK_MISSING, Start.OTHER_MARK}

    @property
    def makes_mark(self) -> bool:
        """Whether the target becomes ours by this start."""
        return self in {Start.FILL, Start.ADOPT}

    @property
    def scans(self) -> bool:
        """Whether the index becomes what is on the disk."""
        return self in {Start.SCAN, Start.FILL, Start.ADOPT}


@dataclass(frozen=True, slots=True)
class DiskSeen:
    """What the target shows. `is_empty` matters only where there is no mark."""

    mark: Mark | None = None
    age: Age | None = None
    left: LeftPlan | None = None
    is_empty: bool = True


@dataclass(frozen=True, slots=True)
class StateSeen:
    """What the state knows. `mark` "": no target yet. `age`: of its last commit that had a plan."""

    tree: str
    mark: str
    age: Age
    is_released: bool = False


def decide_start(disk: DiskSeen, state: StateSeen, *, adopt: bool) -> Start:
    """Every case that a start can find. `adopt` is the answer to NEEDS_ADOPTION and acts only where there is no mark."""
    if disk.mark is None:
        return _without_mark(disk, state, adopt)
    if disk.mark.tree != state.tree:
        return Start.OTHER_MARK
    if not state.mark:
        # The state was lost, or released and the target taken again: the mark says that it is ours.
        return Start.SCAN
    if disk.mark.id != state.mark:
        return Start.OTHER_MARK
    return _by_age(disk, state)


def _without_mark(disk: DiskSeen, state: StateSeen, adopt: bool) -> Start:
    if state.is_released:
        return Start.ADOPT
    if state.mark:
        return Start.MARK_MISSING
    if disk.is_empty:
        return Start.FILL
    return Start.ADOPT if adopt else Start.NEEDS_ADOPTION


def _by_age(disk: DiskSeen, state: StateSeen) -> Start:
    """The disk's position is renamed into place among the names of a plan, before the commit of the same number."""
    commits = state.age.number
    if disk.left is None or disk.left.number <= commits:
        return Start.CONTINUE if disk.age == state.age else Start.SCAN
    may_be = disk.age is not None and (disk.age == state.age or disk.age.number == commits + 1)
    return Start.RESOLVE if disk.left.number == commits + 1 and may_be else Start.SCAN
