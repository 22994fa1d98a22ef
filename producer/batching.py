"""Cuts changes into batches, and says when a batch may leave. Decides; the time is passed in.

Changes must come in an order that can be cut anywhere (`closing`).
"""

from collections.abc import Iterable, Iterator

from producer.values import Change

TARGET_BYTES = 1024 * 1024
"""A batch grows up to this, raw; a larger body travels alone."""
EVENTS_LIMIT = 8000
LINGER_SECONDS = 0.025
TOGETHER_BYTES = 256 * 1024
"""So much is a batch worth sending at once, however short ago the last one left."""
CHANGE_OVERHEAD_BYTES = 64
"""What an event costs beside its path and its body: kind, mode, time, lengths, digest."""
_TYPICAL_BYTES_AT_START = 300.0
_TYPICAL_WEIGHT = 0.2


def raw_bytes(change: Change) -> int:
    """What a change adds to a message before compression, about."""
    return CHANGE_OVERHEAD_BYTES + len(change.path) + (len(change.body) if change.body is not None else 0)


def cut(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Batches: none empty, none over `EVENTS_LIMIT`, none over `TARGET_BYTES` unless it is one large change alone.

    Lazy: reads one change further than it yields.
    """
    batch: list[Change] = []
    batch_bytes = 0
    for change in changes:
        size = raw_bytes(change)
        if batch and (batch_bytes + size > TARGET_BYTES or len(batch) >= EVENTS_LIMIT):
            yield batch
            batch, batch_bytes = [], 0
        batch.append(change)
        batch_bytes += size
    if batch:
        yield batch


class Linger:
    """When may a batch leave? At once when nothing left lately, else when the linger is over or enough is together.

    What waits is not read yet, so its bytes are taken from what changes weighed lately.
    """

    def __init__(self) -> None:
        self._left_at = float("-inf")
        self._typical_bytes = _TYPICAL_BYTES_AT_START

    def weighed(self, changes: int, all_raw_bytes: int) -> None:
        """So many changes weighed so much together."""
        if changes:
            self._typical_bytes += _TYPICAL_WEIGHT * (all_raw_bytes / changes - self._typical_bytes)

    def left(self, now: float) -> None:
        """A batch left now."""
        self._left_at = now

    def wait_seconds(self, now: float, ready: int) -> float:
        """How long the `ready` paths should still wait for others; 0: go. Coalescing while they wait costs nothing."""
        if ready * self._typical_bytes >= TOGETHER_BYTES:
            return 0.0
        return max(0.0, self._left_at + LINGER_SECONDS - now)
