"""Decides what a replica that was asked to show its digest has proved. Knows what was published of late; no broker, no clock."""

from collections import OrderedDict
from dataclasses import dataclass
from enum import StrEnum

from common.entries import Position
from common.messages import Lineage, Report

POSITIONS_KEPT = 4096


class RecentDigests:
    """The tree digest at each of the last positions that were published. Owned by one thread."""

    def __init__(self) -> None:
        self._digests: OrderedDict[Position, bytes] = OrderedDict()

    def note(self, position: Position, digest: bytes) -> None:
        """The tree has this digest there. Idempotent."""
        self._digests[position] = digest
        if len(self._digests) > POSITIONS_KEPT:
            self._digests.popitem(last=False)

    def at(self, position: Position) -> bytes | None:
        """The digest that was published for there; None: not of late."""
        return self._digests.get(position)


class Proved(StrEnum):
    """What came of it."""

    PROVED = "proved"
    """It holds the tree that was published at its position, and lacks nothing of it."""
    DIFFERS = "differs"
    """It holds another."""
    UNPROVED = "unproved"
    """It answered, and there is nothing to compare yet."""


@dataclass(frozen=True, slots=True)
class Proof:
    """What one replica proved, and where. `why`: what keeps it from being proved."""

    word: Proved
    position: Position
    why: str = ""


def proof_in(report: Report, lineage: Lineage, here: Position, recent: RecentDigests) -> Proof:
    """What this report proves, which shows the digest. `lineage`, `here`: what is published, and how far."""
    at = report.position
    if (at.epoch, report.instance) != (lineage.epoch, lineage.instance):
        return Proof(Proved.UNPROVED, at, f"it follows epoch {at.epoch}, not {lineage.epoch}")
    if at > here or report.details.get("forked") is True:
        return Proof(Proved.DIFFERS, at, "it holds what was never published here")
    if report.stale_buckets:
        return Proof(Proved.UNPROVED, at, f"{report.stale_buckets:,} buckets are still compared")
    published = recent.at(at)
    if published is None:
        return Proof(Proved.UNPROVED, at, "it is too far behind to be compared")
    if report.details.get("digest") != published.hex():
        return Proof(Proved.DIFFERS, at, "its tree digest is another")
    return _or_unmet(report)


def _or_unmet(report: Report) -> Proof:
    """Equal digests with something unmet are not agreement."""
    counts = {reason: report.details.get(f"unmet_{reason}") for reason in ("body", "problem", "held")}
    texts = {"body": "contents missing", "problem": "paths fail", "held": "deletes held"}
    unmet = [f"{count:,} {texts[reason]}" for reason, count in counts.items() if type(count) is int and count > 0]
    if unmet:
        return Proof(Proved.UNPROVED, report.position, f"equal but for {', '.join(unmet)}")
    return Proof(Proved.PROVED, report.position)
