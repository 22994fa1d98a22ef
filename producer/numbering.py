"""Gives changes their sequence numbers: from where the journal stands to a batch, and to where it stands then. Decides.

Nothing is stored and nothing is changed in place, so a batch whose journaling failed leaves no trace.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from common.digests import BucketDigests
from common.entries import Event, Position
from common.messages import Batch, Heartbeat, Lineage, Trial
from common.names import PATTERNS_PATH
from common.wire import codec
from producer.values import Change


@dataclass(frozen=True, slots=True)
class Stand:
    """Where the journal stands. `head` is the hash of the batch that ended at `sequence`, `digest` the tree's digest there,
    `entries` the number of paths. The bucket digests are never changed in place.

    `released`: the sequence up to which deletes are released: where somebody vouches for the whole tree it moves on with
    every batch, because the guard has judged what is in it; 0 where nobody does, as for the base of a new journal. It is at
    least 1 where a base without an event is released."""

    lineage: Lineage
    sequence: int
    head: bytes
    digests: BucketDigests
    digest: bytes
    entries: int
    released: int = 0

    @property
    def position(self) -> Position:
        return Position(self.lineage.epoch, self.sequence)

    def heartbeat(self, counter: int, unix_ns: int, leader: str) -> Heartbeat:
        """The heartbeat of this stand."""
        return Heartbeat(
            self.lineage, self.sequence, self.head, self.digest, counter, unix_ns, leader, released=self.released
        )

    def trial(self, counter: int, unix_ns: int, leader: str) -> Trial:
        """The trial of this stand: where the stream would begin."""
        return Trial(self.lineage, self.sequence, self.digest, counter, unix_ns, leader)


@dataclass(frozen=True, slots=True)
class Applied:
    """Changes and what they do to the index. `buckets`: the bucket of each change, in their order."""

    changes: Sequence[Change]
    buckets: Sequence[int]
    after: Stand


@dataclass(frozen=True, slots=True)
class Numbered(Applied):
    """Changes that became a batch, encoded."""

    first: int
    message: bytes


def apply(stand: Stand, changes: Sequence[Change]) -> Applied:
    """What the changes do to the index, without an event: the base is made so. Their `old` must be what the index has."""
    digests = stand.digests.copy()
    buckets = [digests.replace(change.path, change.old, change.new) for change in changes]
    grown = sum(_growth(change) for change in changes)
    after = replace(stand, digests=digests, digest=digests.tree_digest(), entries=stand.entries + grown)
    return Applied(changes, buckets, after)


def _growth(change: Change) -> int:
    """How many paths the tree has more. The patterns are none."""
    return (change.new is not None) - (change.old is not None) if change.path != PATTERNS_PATH else 0


def number(stand: Stand, changes: Sequence[Change], unix_ns: int = 0) -> Numbered:
    """The next batch: these changes, in this order. At least one. `unix_ns`: the time, for whoever measures by it."""
    applied = apply(stand, changes)
    first = stand.sequence + 1
    events = tuple(Event(change.path, change.new, change.body, change.keep) for change in changes)
    last = stand.sequence + len(changes)
    released = last if stand.released else 0
    digests = (stand.head, stand.digest, applied.after.digest)
    batch = Batch(stand.lineage, first, events, *digests, released=released, unix_ns=unix_ns)
    message, head = codec.encode_batch(batch)
    after = replace(applied.after, sequence=last, head=head, released=released)
    return Numbered(changes, applied.buckets, after, first, message)
