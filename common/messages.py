"""The messages of the protocol, decoded: plain values. Their bytes are `common.wire`'s business.

Downstream (producer to replicas): batch, heartbeat, trial, call, command, same, bucket, since, too old, body, part. Upstream:
question and report. What each means, and when it may be merged, is written in docs/agreement.md; the words are the same there.

`released`, in all that can make a path go away: the sequence of this epoch up to which deletes are released. A replica holds
none of them, nor any of an earlier epoch; 0: nothing is released, and the replica judges by itself.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from common.entries import Event, Position

INSTANCE_BYTES = 16
NONCE_BYTES = 16
PART_BYTES = 256 * 1024
"""A large content travels in parts of this size, the last one shorter; offsets are multiples of it."""
INLINE_LIMIT_BYTES = 1024 * 1024
"""A file up to this size travels with its event; a larger one in parts, when a replica asks for them."""
RESTING_LIMIT = 1000
"""So many may be out of service at once because they are behind; for more a heartbeat has no room."""
REST_LEASE_SECONDS = 20.0
"""So long after a replica asked for a rest it may take it; to rest for longer it asks again, with each report."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Whose message this is: tree, epoch, the instance that drew the epoch, and the tree's salt."""

    tree: str
    epoch: int
    instance: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """A contiguous run of events, a set in which a path occurs once. `hash` is this message's own, `prev` the one before;
    `unix_ns` is the producer's clock when it was numbered (measured by, never trusted), 0: it does not say."""

    lineage: Lineage
    first: int
    events: tuple[Event, ...]
    prev: bytes
    before: bytes
    after: bytes
    hash: bytes = b""
    released: int = 0
    unix_ns: int = 0

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A batch of nothing: the stream stands at `sequence`, whose batch hashed to `head`; the tree's digest there.

    `counter` counts the heartbeats of this instance; `unix_ns` is the producer's clock (shown, never trusted);
    `leader` says who sends it, as "host:pid", for a person. `ready` of `members` replicas may be relied on. `resting`: who may
    step out of service although it could serve, each with the number by which it asked (`wants_rest` of its report); at
    most `RESTING_LIMIT`.
    """

    lineage: Lineage
    sequence: int
    head: bytes
    digest: bytes
    counter: int
    unix_ns: int
    leader: str = ""
    released: int = 0
    ready: int = 0
    members: int = 0
    resting: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """An epoch that is not announced yet: a producer that cannot vouch for its journal asks to be compared with first.

    A replica does not follow it. It asks for digests and rows in the trial's epoch, merges nothing, and reports how many paths
    would be created, modified and deleted. `sequence`, `digest`: where the stream would begin.
    """

    lineage: Lineage
    sequence: int
    digest: bytes
    counter: int
    unix_ns: int
    leader: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """A run that has announced nothing yet wants to hear everybody: report at once, whatever epoch you follow.

    It goes the way of the stream, so who answers it has taken all that was published to it before. The report names the call by
    its lineage's instance.
    """

    lineage: Lineage
    unix_ns: int


@dataclass(frozen=True, slots=True)
class Command:
    """A person beside the master asks one replica to do something; never anything that changes the tree.

    `verb`: one of `CommandVerb`, or one that a newer version has; who does not know it ignores it. The replica answers by its
    reports. `nonce` is drawn for each time somebody asks: who has taken it takes it no second time.
    """

    lineage: Lineage
    replica: str
    nonce: bytes
    verb: str


class CommandVerb(StrEnum):
    """What a replica may be asked to do."""

    PROVE = "prove"
    """Report at once, with the tree digest at your position."""
    SCRUB = "scrub"
    """Read everything on your disk again, at once."""


@dataclass(frozen=True, slots=True)
class Same:
    """Answer to a digests question: these buckets are equal at `at`, among them those empty on both sides."""

    lineage: Lineage
    replica: str
    nonce: bytes
    at: int
    buckets: tuple[int, ...]
    released: int = 0


@dataclass(frozen=True, slots=True)
class BucketRows:
    """Answer to a bucket question: everything that one bucket holds at `at`; `rows` are creates, with or without body."""

    lineage: Lineage
    replica: str
    nonce: bytes
    at: int
    bucket: int
    digest: bytes
    rows: tuple[Event, ...]
    released: int = 0


@dataclass(frozen=True, slots=True)
class Since:
    """Part `part` (from 0) of `of` of an answer to a since question: every path that changed in (base, at], once, as it is at
    `at`; `entry` None: absent. `digest` is over the rows of all parts (`common.digests.rows_digest`): it says which parts
    belong together, and when they are whole."""

    lineage: Lineage
    replica: str
    nonce: bytes
    at: int
    base: int
    part: int
    of: int
    digest: bytes
    rows: tuple[Event, ...]
    released: int = 0


@dataclass(frozen=True, slots=True)
class TooOld:
    """Answer to a since question that the log does not reach back to: only a base of at least `reach` is served."""

    lineage: Lineage
    replica: str
    nonce: bytes
    at: int
    reach: int


@dataclass(frozen=True, slots=True)
class BodyAnswer:
    """Answer to a body question: one content, by path and digest."""

    lineage: Lineage
    replica: str
    nonce: bytes
    at: int
    path: bytes
    digest: bytes
    content: bytes


@dataclass(frozen=True, slots=True)
class PartAnswer:
    """One part of a large content, whatever path it is asked for: `offset` is a multiple of `PART_BYTES`, and `content` is
    that long, or ends the whole. Proved only as a whole: nothing vouches for one part."""

    lineage: Lineage
    replica: str
    nonce: bytes
    at: int
    digest: bytes
    offset: int
    content: bytes


Answer = Same | BucketRows | Since | TooOld | BodyAnswer | PartAnswer
Downstream = Batch | Heartbeat | Trial | Call | Command | Answer


@dataclass(frozen=True, slots=True)
class AskDigests:
    """Which of my buckets are yours? Names the buckets that are not empty here."""

    digests: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class AskBuckets:
    """The rows of these buckets, one answer for each. `bodies`: send contents along as far as they fit."""

    buckets: tuple[int, ...]
    bodies: bool


@dataclass(frozen=True, slots=True)
class AskBodies:
    """The contents of these (path, digest), one answer for each; what the index does not hold is not answered."""

    wanted: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class AskSince:
    """What changed after this sequence of the question's epoch."""

    base: int


@dataclass(frozen=True, slots=True)
class AskParts:
    """`count` parts, one answer for each, of the large content that the index has at this path; beyond its end nothing is
    answered. `is_doubted`: the whole that came before did not have its digest: let the master read the file again."""

    path: bytes
    digest: bytes
    offset: int
    count: int
    is_doubted: bool = False


Ask = AskDigests | AskBuckets | AskSince | AskBodies | AskParts


@dataclass(frozen=True, slots=True)
class Question:
    """A replica asks. `nonce` is random and never comes again; `unix_ns` is not trusted beyond "is this an old question?"."""

    tree: str
    epoch: int
    replica: str
    nonce: bytes
    ask: Ask
    unix_ns: int = 0


class ReplicaState(StrEnum):
    """What a replica says it is doing."""

    STARTING = "starting"
    NO_QUEUE = "no-queue"
    """My queue is not there: please make it."""
    COPYING = "copying"
    FOLLOWING = "following"
    WAITING = "waiting"
    """No room on the disk: waiting for it."""
    HALTED = "halted"


@dataclass(frozen=True, slots=True)
class Report:
    """A replica tells where it is. `details` is open: numbers and short texts for a person (unmet by reason, problems)."""

    tree: str
    replica: str
    instance: bytes
    position: Position
    agreed: bool
    state: ReplicaState
    stale_buckets: int
    version: str
    wire: int
    unix_ns: int = 0
    details: dict[str, Any] = field(default_factory=dict)


Upstream = Question | Report
