"""Decides what an epoch on trial would change on this replica: how many paths, bucket by bucket. No disk, no database, no clock.

Nothing is merged, and nothing of it is followed. What was found on the disk and published by nobody would go aside, and what the
tree's patterns exclude would stay: neither is a delete.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from common.entries import Event
from common.messages import Trial
from common.names import PATTERNS_PATH
from common.patterns import Patterns, patterns_of
from consumer.planning import matches
from consumer.values import Row, Standing

SILENCE_SECONDS = 60.0
"""A trial of which nothing was heard for so long is over."""


@dataclass(slots=True)
class Counts:
    """Paths that would be created, modified and deleted."""

    creates: int = 0
    modifies: int = 0
    deletes: int = 0

    def add_bucket(self, ours: Mapping[bytes, Row], theirs: Iterable[Event], patterns: Patterns) -> None:
        """Count one bucket, as it is indexed here and as the trial has it. `patterns`: those of the trial's tree."""
        left = {path: row for path, row in ours.items() if path != PATTERNS_PATH}
        for event in theirs:
            if event.entry is None or event.path == PATTERNS_PATH:
                continue
            row = left.pop(event.path, None)
            self.creates += row is None
            self.modifies += row is not None and row.entry != event.entry
        gone = (path for path, row in left.items() if not row.found and not _is_left_alone(path, row, patterns))
        self.deletes += sum(1 for _ in gone)


def _is_left_alone(path: bytes, row: Row, patterns: Patterns) -> bool:
    return bool(patterns) and patterns.excludes(path, row.entry.is_directory)


def is_for_us(trial: Trial, standing: Standing) -> bool:
    """Whether there is anything to compare: an epoch above the one that is followed, where one is."""
    return 0 < standing.epoch < trial.lineage.epoch


def is_same(one: Trial, other: Trial) -> bool:
    """Whether two trials are of one epoch and one tree: then what was counted for one holds for the other."""
    return (one.lineage, one.digest) == (other.lineage, other.digest)


def patterns_in(theirs: Iterable[Event]) -> Patterns | None:
    """The tree's patterns, where their row is among these with its content."""
    for event in theirs:
        if event.path == PATTERNS_PATH and event.entry is not None and event.body is not None:
            return patterns_of(event.body) if matches(event.entry, event.body) else None
    return None
