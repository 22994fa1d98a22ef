"""The epoch: one run of one producer; and who leads. Decides; clock and chance are passed in or drawn here, nothing is stored.

Every start takes a new epoch, higher than any the journal knows, with a random instance: a journal that was lost, restored or
copied cannot repeat a pair (epoch, sequence) with the same lineage. So does who takes the lead over from another: the two may
have started in one second. The incumbent wins: who finds the upstream queue held publishes nothing, unless a person says so.
"""

import secrets
from enum import Enum
from hashlib import blake2b

from common.digests import DIGEST_BYTES
from common.messages import INSTANCE_BYTES, Lineage
from common.transport.ports import Link, Phase

HELD_LIMIT_SECONDS = 60.0
"""So long a newcomer tries: a half-open connection of a dead process may still hold the queue."""


def next_epoch(highest_known: int, unix_seconds: float) -> int:
    """An epoch above every one that was ever seen, and above those of a lost journal unless the clock ran back."""
    return max(highest_known + 1, int(unix_seconds))


def new_lineage(tree: str, salt: bytes, highest_known: int, unix_seconds: float) -> Lineage:
    """The lineage of a new run."""
    return Lineage(tree, next_epoch(highest_known, unix_seconds), secrets.token_bytes(INSTANCE_BYTES), salt)


def first_head(lineage: Lineage) -> bytes:
    """What stands for "the hash of the batch before" in an epoch's first batch."""
    told = b"\0".join((lineage.tree.encode(), str(lineage.epoch).encode(), lineage.instance))
    return blake2b(told, digest_size=DIGEST_BYTES, person=b"epoch start").digest()


class Standing(Enum):
    """Whether this process may publish."""

    LEADS = "leads"
    WAITS = "waits"
    TAKES_OVER = "takes over"
    """It may, because a person said so, although another holds the upstream queue; it hears nothing before that one is gone."""
    YIELDS = "yields"
    """Another has held the lead for too long: this process must end."""


class Lead:
    """Who leads, by the link of the upstream queue: only while it is open, this process does, or when a person says so."""

    def __init__(self, held_limit_seconds: float = HELD_LIMIT_SECONDS) -> None:
        self._held_limit_seconds = held_limit_seconds
        self._held_since: float | None = None
        self.has_seen_another = False
        """Another has led since our epoch was drawn, perhaps under the same one: a new one is due before we publish."""
        self.is_taking_over = False
        """Whether a person said so."""

    def judge(self, link: Link, now: float) -> Standing:
        """The standing now. `now`: seconds of a steady clock."""
        if link.phase is not Phase.HELD:
            if link.is_open:
                self._held_since, self.is_taking_over = None, False
            return Standing.LEADS if link.is_open else Standing.WAITS
        if self._held_since is None:
            self._held_since = now
        if self.is_taking_over:
            return Standing.TAKES_OVER
        self.has_seen_another = True
        return Standing.YIELDS if self.held_too_long(now) else Standing.WAITS

    def held_too_long(self, now: float) -> bool:
        """Whether another has held the queue for too long, since it was seen first or the lead was taken from it."""
        return self._held_since is not None and now - self._held_since >= self._held_limit_seconds

    def take_over(self, now: float) -> None:
        """A person says that this process is to publish; a new epoch is due. Idempotent."""
        if not self.is_taking_over:
            self._held_since, self.is_taking_over = now, True
