"""Decides how the tree's exclude patterns change: by an event at their own path, as anything else does."""

from common.entries import Entry
from common.names import PATTERNS_PATH
from common.patterns import Patterns, row_of
from producer.values import Change


def patterns_change(published: Entry | None, patterns: Patterns) -> Change | None:
    """What makes the published patterns these; None when they are. Where there are no patterns there is no row."""
    row = row_of(patterns.lines)
    if row is None:
        return Change(PATTERNS_PATH, published, None) if published is not None else None
    return Change(PATTERNS_PATH, published, *row) if row[0] != published else None
