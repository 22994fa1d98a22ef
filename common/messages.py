"""The messages of the protocol, decoded: plain values. Their bytes are `common.wire`'s business.

Downstream (producer to replicas): batch, heartbeat, same, bucket, body. Upstream: question and report.
What each means, and when it may be merged, is written in docs/agreement.md; the words are the same there.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from common.entries import Event, Position

INSTANCE_BYTES = 16
NONCE_BYTES = 16


@dataclass(frozen=True, slots=True)
class Lineage:
    """Whose message this is: tree, epoch, the instance that drew the epoch, and the tree's salt."""

    tree: str
    epoch: int
    instance: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """A contiguous run of events, a set in which a path occurs once. `hash` is this message's own, `prev` the one before."""

    lineage: Lineage
    first: int
    events: tuple[Event, ...]
    prev: bytes
    before: bytes
    after: bytes
    hash: bytes = b""

    @property
    def last(self) -> int:
        return self.first + len(self.events) - 1


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A batch of nothing: the stream stands at `sequence`, whose batch hashed to `head`; the tree's digest there.

    `counter` counts the heartbeats of this instance; `unix_ns` is the producer's clock (shown, never trusted);
    `leader` says who sends it, as "host:pid", for a person.
    """

    lineage: Lineage
    sequence: int
    head: bytes
    digest: bytes
    counter: int
    unix_ns: int
    leader: str = ""


@dataclass(frozen=True, slots=True)
class Same:
    """Answer to a digests question: these buckets are equal at `at`, among them those empty on both sides."""

    lineage: Lineage
    replica: str
    nonce: bytes
    at: int
    buckets: tuple[int, ...]


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


Answer = Same | BucketRows | BodyAnswer
Downstream = Batch | Heartbeat | Same | BucketRows | BodyAnswer


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


Ask = AskDigests | AskBuckets | AskBodies


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
