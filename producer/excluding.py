"""Decides how the tree's exclude patterns change: by an event at their own path, as anything else does."""

from collections.abc import Callable

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


class PublishedPatterns:
    """The patterns are part of the published state: where the settings have others than were published, they change by an event
    of their own, before what they exclude leaves. Compared until they are published, then never again."""

    def __init__(self, patterns: Patterns, published: Callable[[bytes], Entry | None]) -> None:
        """`published`: what the index has at a path."""
        self._patterns = patterns
        self._published = published
        self._is_done = False

    def changes(self) -> list[Change]:
        """What is to be published of them; none when they are."""
        if self._is_done:
            return []
        change = patterns_change(self._published(PATTERNS_PATH), self._patterns)
        self._is_done = change is None
        return [] if change is None else [change]
