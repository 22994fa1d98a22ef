"""Decides which alarms time alone brings: a silent master, no way to the producer, nothing that comes of questions.

A replica that does not apply is alarmed within a minute, whatever keeps it. Values and monotonic seconds in, texts out.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from common.transport.ports import Link, Phase

SILENCE_SECONDS = 50.0
"""A master that says nothing for so long is alarmed; it makes no replica unready."""
AWAY_SECONDS = 30.0
STALLED_SECONDS = 50.0
LISTENING_AGAIN_SECONDS = 10.0
"""After a wait for room: what has waited meanwhile is read first."""
HELD_LIMIT_SECONDS = 60.0
"""So long another may have our queue: a half-open connection of a dead process, perhaps our own, may still hold it."""


@dataclass(frozen=True, slots=True)
class Seen:
    """How a replica stands. `queue`: the link that its messages come by; `upstream`: the one that its words go by. `lacking`: how
    many buckets are stale, and how many contents are missing. `is_short_of_room`: it waits for room on its disk, and so it
    reads no messages: that has an alarm of its own, and nobody should look at another machine."""

    heartbeat_age_seconds: float
    queue: Link
    upstream: Link
    lacking: tuple[int, int]
    is_short_of_room: bool = False
    came_bytes: int = 0
    """Of large contents, since the start: while it grows nothing is stalled."""
    received: float = 0.0
    """How much of a since answer has come, 0 to 1: nothing is level before all of it is there, and while it grows nothing is
    stalled."""


@dataclass(slots=True)
class _Unchanged:
    """Since when a value has been the same."""

    value: Any = None
    since: float = 0.0

    def seconds(self, value: Any, now: float) -> float:
        if value != self.value:
            self.value, self.since = value, now
        return now - self.since


@dataclass(slots=True)
class Alarming:
    """What lasts. `judge` and `is_held` are asked again and again."""

    _away: _Unchanged = field(default_factory=_Unchanged)
    _lacking: _Unchanged = field(default_factory=_Unchanged)
    _held: _Unchanged = field(default_factory=_Unchanged)
    _room: _Unchanged = field(default_factory=lambda: _Unchanged(False, -math.inf))

    def judge(self, seen: Seen, now: float) -> dict[str, str]:
        """The kinds of alarm, each with what to tell a person, "" for one that is off."""
        away_seconds = self._away.seconds(seen.upstream.is_open, now)
        lacking_seconds = self._lacking.seconds((seen.lacking, seen.came_bytes, seen.received), now)
        room_seconds = self._room.seconds(seen.is_short_of_room, now)
        is_listening = not seen.is_short_of_room and room_seconds >= LISTENING_AGAIN_SECONDS
        return {
            "silence": self._silence(seen) if is_listening else "",
            "broker": self._no_way(seen, away_seconds),
            "stalled": self._stalled(seen, min(lacking_seconds, room_seconds)) if is_listening else "",
        }

    def is_held(self, queue: Link, now: float) -> bool:
        """Whether another has had our queue for longer than a dead process could."""
        is_held = queue.phase is Phase.HELD
        return self._held.seconds(is_held, now) >= HELD_LIMIT_SECONDS and is_held

    @staticmethod
    def _silence(seen: Seen) -> str:
        if seen.heartbeat_age_seconds <= SILENCE_SECONDS:
            return ""
        return f"nothing heard of the producer for over {SILENCE_SECONDS:.0f} s; broker: {_words(seen.queue)}"

    @staticmethod
    def _no_way(seen: Seen, seconds: float) -> str:
        if seen.upstream.is_open or seconds < AWAY_SECONDS:
            return ""
        return f"reports and questions do not reach the broker: {_words(seen.upstream)}"

    @staticmethod
    def _stalled(seen: Seen, seconds: float) -> str:
        if not any(seen.lacking) or seconds < STALLED_SECONDS:
            return ""
        stale, bodies = seen.lacking
        if not stale:
            # The index of a master that holds deletes has what its disk has no more.
            return (
                f"{bodies} contents are missing, and the master gives none of them: it cannot read these files, or it holds their"
                " deletes: see treecast status and treecast hold list there"
            )
        return f"{stale} buckets are not level and {bodies} contents are missing, and no answer has brought any of it lately"


def _words(link: Link) -> str:
    return f"{link.phase} {link.detail}".rstrip()
