"""Decides how much the embedded queue keeps for consumers that are away. A broker of its own has policies for that."""

from dataclasses import dataclass

GIB = 1024 * 1024 * 1024
DAY_SECONDS = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class QueueLimits:
    """Beyond either limit the oldest messages are dropped; whom they were for finds a gap, and syncs.

    `limit_bytes` is what the messages of one file take on disk, `limit_seconds` the age of one message.
    """

    limit_bytes: int = GIB
    limit_seconds: float = 7 * DAY_SECONDS
