"""The values that the consumer's rooms hand to each other: where a replica stands, what to do next, what came of it.

`agreement` decides a `Step`, `planning` makes its `Plan`, `target` carries it out and returns an `Outcome`, `state` makes
all of it durable in one transaction. The words are those of docs/agreement.md.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple, Protocol

from common.entries import Entry, Position
from common.patterns import Patterns


class Stale(NamedTuple):
    """A bucket that may differ from the master's. `floor`: only answers from there on can level it. `base`: the sequence
    of this epoch at which it was last level, or None."""

    floor: Position
    base: int | None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a replica stands. `stale`: bucket to Stale, no row means level; never changed in place."""

    epoch: int
    instance: bytes
    salt: bytes
    sequence: int
    head: bytes
    digest: bytes
    """The tree digest published for (epoch, sequence)."""
    stale: Mapping[int, Stale]
    proved: Position | None
    commits: int
    is_forked: bool = False
    """A fork was seen: nothing more of this epoch is applied; the next higher epoch is followed."""
    released: int = 0
    """Up to this sequence of the epoch deletes are released, and all of the epochs before; 0: none, as far as was stated."""

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.sequence)


class Row(NamedTuple):
    """What the index has at a path. `at`: the position that told us, None: a guess. `found`: it was found on the disk, and as
    far as we know nobody published it; when it must go, it goes by the rule for foreign paths."""

    entry: Entry
    at: Position | None
    found: bool = False


class Told(NamedTuple):
    """What is known to be true at a path from now on. `entry` None: absent. `keep`: it leaves the index, the disk stays.
    `is_stored`: there is no body, because the content lies whole and verified in the store."""

    entry: Entry | None
    at: Position | None
    body: bytes | None = None
    keep: bool = False
    is_stored: bool = False


class Reason(StrEnum):
    """Why a path is unmet."""

    BODY = "body"
    PROBLEM = "problem"
    HELD = "held"
    RELEASED = "released"
    """It was held, and may go: it is only not done yet."""


PARKED = (Reason.HELD, Reason.RELEASED)
"""What the disk still has although it was deleted: nothing may take its place that needs it gone."""


class Unmet(NamedTuple):
    """Published, but not so on this disk, and we know it. `detail`: for a person."""

    reason: Reason
    detail: str = ""


ForeignPolicy = Literal["aside", "delete", "keep"]
"""What becomes of what somebody else put into a replica."""


class Drift(StrEnum):
    """In what the disk differs from the index, where nobody told it to. One for each path: the first that holds."""

    ADDED = "added"
    """Something stands where nothing shall."""
    MISSING = "missing"
    KIND = "kind"
    """Something of another kind stands there."""
    LINK_TARGET = "link-target"
    TRUNCATED = "truncated"
    """The file is shorter."""
    BIT_ROT = "bit-rot"
    """Other content under the same size and mtime: nobody wrote it, or somebody hid it."""
    EDITED = "edited"
    MODE = "mode"
    MTIME = "mtime"
    OWNER = "owner"

    @property
    def is_in_place(self) -> bool:
        """Whether the content is right, and mode, time or owner alone must be set."""
        return self in (Drift.MODE, Drift.MTIME, Drift.OWNER)


class View(Protocol):
    """What decisions may read: the index as of the last commit. An in-memory twin serves tests."""

    def rows(self, paths: Collection[bytes]) -> dict[bytes, Row]:
        """The indexed ones of these paths."""

    def tombs(self, paths: Collection[bytes]) -> dict[bytes, Position]:
        """The deletes seen live in stale buckets, of these paths."""

    def unmet(self, paths: Collection[bytes]) -> dict[bytes, Unmet]:
        """The unmet ones of these paths."""

    def has_parked(self) -> bool:
        """Whether anything is held, or released and not removed yet. Costs nothing."""

    def parked_below(self, path: bytes) -> Iterator[tuple[bytes, Reason]]:
        """What is held below this path, or released and not removed yet, and which of the two."""

    def in_buckets(self, buckets: Collection[int]) -> set[bytes]:
        """Every indexed path of these buckets."""

    def below(self, path: bytes) -> list[bytes]:
        """Every indexed path below this one, in byte order."""

    def bucket_of(self, path: bytes) -> int:
        """The path's bucket under the current salt."""

    @property
    def patterns(self) -> Patterns:
        """The tree's exclude patterns, as far as they are known here."""

    def recent(self, last: int) -> bytes | None:
        """The hash of the batch of this epoch that ended at `last`, if it is among the last 1,000."""

    def tree_digest(self) -> bytes:
        """The digest over the whole index."""

    def tree_digest_with(self, changes: Mapping[bytes, Entry | None]) -> bytes:
        """The digest that the index would have after these changes."""


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction: what a message makes of the replica.

    In this order: `salt` in `standing` differs from the state's: every bucket and digest is made anew. `forget_recent`.
    Tombs in `marked` buckets go. `want` is placed on the disk and taken into the index. Tombs in `levelled` buckets go, and
    what is indexed in them counts as published: no row of theirs is `found` any more.
    `recent` is remembered. `standing` becomes the state's; its `commits` counts only steps that have a plan.
    """

    standing: Standing
    want: Mapping[bytes, Told] = field(default_factory=dict)
    marked: frozenset[int] = frozenset()
    levelled: frozenset[int] = frozenset()
    forget_recent: bool = False
    recent: tuple[tuple[int, bytes], ...] = ()
    """(last, hash) of each batch that this step applies."""
    drift: Mapping[bytes, Drift] = field(default_factory=dict)
    """Wanted paths at which the disk was just seen to differ from the index, which stays as it is."""
    alarm: str = ""
    """Kind of the alarm that this step raises, "" for none: "diverged" and the like."""

    @property
    def closes_questions(self) -> bool:
        """Whether every open question must be forgotten: what they ask was true of before."""
        return bool(self.marked) or self.forget_recent or self.alarm == "fork"


class Put(NamedTuple):
    """Write a new content and swap it in. A symlink's body is its target. `body` None: a large content, which lies whole in the
    store."""

    path: bytes
    entry: Entry
    body: bytes | None


class Touch(NamedTuple):
    """Same content, other mode or mtime: in place, unless the file is hard-linked."""

    path: bytes
    entry: Entry


class MakeDirectory(NamedTuple):
    """A directory must stand here; what else stands here goes. `mode` is set last."""

    path: bytes
    mode: int
    owner: str = ""


class Keep(NamedTuple):
    """A large content that the index is about to lose at this path: another path may want it soon."""

    path: bytes
    digest: bytes
    size: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do on the disk for one step, in this order; each part may be carried out again after a crash.

    `clear`: removals that make room, deepest first. `directories`: shallow first. `contents`: files and links. `remove`: all
    other removals, deepest first. Directory modes last. `touched`: every path that may be touched: what is wanted, above, below.
    `corrections`: wrong guesses that the index must give up (None) or take as a directory. `unmet`: known beforehand: no body
    at hand. `foreign`: paths among clear, remove and contents whose old content was found on the disk and goes aside.
    """

    clear: tuple[bytes, ...] = ()
    directories: tuple[MakeDirectory, ...] = ()
    contents: tuple[Put | Touch, ...] = ()
    remove: tuple[bytes, ...] = ()
    touched: frozenset[bytes] = frozenset()
    corrections: Mapping[bytes, Entry | None] = field(default_factory=dict)
    unmet: Mapping[bytes, Unmet] = field(default_factory=dict)
    foreign: frozenset[bytes] = frozenset()
    above: Mapping[bytes, MakeDirectory] = field(default_factory=dict)
    """The directories above what is wanted: one that is not there on the disk is made again with it."""
    keeps: tuple[Keep, ...] = ()
    """Linked into the store before anything else is done, as far as that can be."""
    patterns: bytes | None = None
    """The tree's list of patterns from this step on (`common.patterns`): in the state alone, on no disk. None: as it was."""
    mismatched: tuple[bytes, ...] = ()
    """Paths whose body was not what its digest says; they are unmet too."""
    let_go: Mapping[bytes, Entry] = field(default_factory=dict)
    """Published paths that go although no release covers it, because they are few, with what they were."""
    fresh: frozenset[bytes] = frozenset()
    """Paths among contents and unmet of which the index knew nothing: what stands there all the same is foreign. While they are
    unmet they count as found: what stands there is set aside when the content comes."""

    @property
    def is_empty(self) -> bool:
        """Whether no name and no content on the disk changes."""
        return not (self.clear or self.directories or self.contents or self.remove)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a plan: paths that are not as wanted (problems), foreign paths set aside, protected ones left."""

    unmet: Mapping[bytes, Unmet] = field(default_factory=dict)
    aside: tuple[bytes, ...] = ()
    kept: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class LeftPlan:
    """A plan that a crash left behind: the number of the commit it was for, and its paths."""

    number: int
    paths: frozenset[bytes]


@dataclass(frozen=True, slots=True)
class Found:
    """One path found on a target's disk by a scan."""

    path: bytes
    entry: Entry


Scan = Iterable[Found]
