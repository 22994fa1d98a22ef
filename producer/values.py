"""The values that the producer's rooms hand to each other: what was seen, what is known, what a look found."""

from typing import NamedTuple

from common.entries import Entry, Kind
from common.names import PATTERNS_PATH


class Identity(NamedTuple):
    """What tells, without reading, that a file is the one we read: equal identity, size and mtime is "unchanged"."""

    inode: int
    ctime_ns: int


NO_IDENTITY = Identity(0, 0)


class Known(NamedTuple):
    """An index row of the journal."""

    path: bytes
    entry: Entry
    identity: Identity


class Seen(NamedTuple):
    """What lstat says of one path. `kind` None: of a kind that is not carried (fifo, device, socket)."""

    path: bytes
    kind: Kind | None
    mode: int
    mtime_ns: int
    size: int
    identity: Identity
    owner: str = ""


class Unreadable(NamedTuple):
    """A directory whose entries could not be listed: nothing may be concluded about what is below it."""

    path: bytes
    why: str


class Present(NamedTuple):
    """A stable look found this. `body` None: the content is the known one (or a directory). `fresh`: the content is fresher than
    the file system's clock can tell; ship it, and look again that many seconds later, reading."""

    path: bytes
    entry: Entry
    body: bytes | None
    identity: Identity
    fresh_seconds: float = 0.0


class Absent(NamedTuple):
    """There is nothing at this path, and the path above was readable."""

    path: bytes


class Busy(NamedTuple):
    """It changed while it was read, or it is too young for a file that only a scan saw: look again after this time."""

    path: bytes
    again_seconds: float


class Problem(NamedTuple):
    """This path cannot be carried now, for this reason. What was published for it stays published."""

    path: bytes
    why: str


class LeftOut(NamedTuple):
    """It is there, and by its setting it is not carried: for replicas it is absent. `why` "": nobody needs to be told."""

    path: bytes
    why: str


class Large(NamedTuple):
    """A file that is too large to be read in a pass of looks: it is hashed first, beside the loop."""

    path: bytes


Looked = Present | Absent | Busy | Problem | LeftOut | Large


class Hashed(NamedTuple):
    """The digest of a large file's content, and the identity, mtime and size that it had from before it was read until after."""

    path: bytes
    digest: bytes
    identity: Identity
    mtime_ns: int
    size: int


class Change(NamedTuple):
    """The difference at one path: what the index has, and what is there now. `new` None: absent from now on. `body` None: nothing
    travels (a delete, a directory, a change of mode or time alone). `keep`: a delete that leaves the index only."""

    path: bytes
    old: Entry | None
    new: Entry | None
    body: bytes | None = None
    identity: Identity = NO_IDENTITY
    keep: bool = False


class Taken(NamedTuple):
    """A path that left the dirty set to be looked at. `from_scan`: nobody but a scan saw it; `force`: read it even if its
    identity is unchanged; `since`: when it was hinted at first, in seconds of the dirty set's clock, to the millisecond."""

    path: bytes
    from_scan: bool = False
    force: bool = False
    since: float = 0.0


class Logged(NamedTuple):
    """One row of the change log. Kinds are those of `Kind`, 0 for absent; sizes are bytes, 0 for a directory."""

    sequence: int
    epoch: int
    unix_ms: int
    path: bytes
    old_kind: int
    old_size: int
    kind: int
    size: int
    kept: int

    @property
    def what(self) -> str:
        """In one word: create, modify, delete, or exclude (a delete that touched no disk)."""
        if not self.kind:
            return "exclude" if self.kept else "delete"
        return "modify" if self.old_kind else "create"

    def kind_word(self, kind: int) -> str:
        """One of its kinds in a word. The tree's exclude patterns are a row too; what a person sees of it is none of a file."""
        if not kind:
            return "absent"
        return "patterns" if self.path == PATTERNS_PATH else Kind(kind).name.lower()
