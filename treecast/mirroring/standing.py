"""Decides, from what producer and consumers say of themselves, how far a mirror is: level or not yet, how late, how fast.

Values in, values out. Times are seconds of one steady clock, given by the caller.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from common.digests import BUCKETS
from common.entries import BEFORE_ALL, Position

UNQUIET_SECONDS = 10.0
"""A source that never gets quiet: so long after everything was found once, the position of that moment is the goal."""
PROBLEMS_SECONDS = 1.0
"""A replica that is level but for problems is believed when it has been so for this long."""
NO_ROOM_SECONDS = 15.0
"""A process whose disk is full is given up when nothing came of it for this long: who runs once waits for an end."""
RATE_SECONDS = 5.0
_REMEMBERED_POSITIONS = 100_000


@dataclass(frozen=True, slots=True)
class Look:
    """What one process said at one moment. The default: it has said nothing yet."""

    state: str = "starting"
    position: Position = BEFORE_ALL
    is_agreed: bool = False
    is_quiet: bool = False
    is_all_found: bool = False
    """A producer's whole tree was looked at, and is in its index."""
    files: int = 0
    entries: int = 0
    dirty: int = 0
    stale_buckets: int = BUCKETS
    unmet: Mapping[str, int] = field(default_factory=dict)
    applied: int = 0
    """Changes that this process applied since its start."""
    sync: Mapping[str, Any] = field(default_factory=dict)
    """What a replica says of the sync that runs: what is left, bytes, rate, time left. Empty while none runs."""
    problems: tuple[tuple[str, str], ...] = ()
    """Escaped path and reason; `problem_count` may be more."""
    problem_count: int = 0
    alarms: Mapping[str, str] = field(default_factory=dict)
    held: int = 0
    """How many deletes wait for a person."""

    @property
    def is_held_back(self) -> bool:
        """Whether a release would let something go: deletes that are held, a source that may have been emptied on purpose, or one
        that is not what the replicas hold."""
        return self.held > 0 or not self.alarms.keys().isdisjoint(("source-empty", "trial"))

    @property
    def shown(self) -> int:
        """How many paths are on the disk as they should be, as far as it is known."""
        return max(0, self.entries - sum(self.unmet.values()))

    @property
    def level_share(self) -> float:
        """The part of the tree that is known to be level, 0 to 1."""
        return 1.0 - self.stale_buckets / BUCKETS


def look_at(status: Mapping[str, Any] | None) -> Look:
    """What `status` says; what is not said has its default."""
    if status is None:
        return Look()
    position, figures = status.get("position") or {}, status.get("figures") or {}
    return Look(
        state=str(status.get("state", "starting")),
        position=Position(position.get("epoch", 0), position.get("sequence", 0)),
        is_agreed=bool(status.get("agreed")),
        is_quiet=bool(status.get("quiet")),
        is_all_found=bool(status.get("scan_complete")) and bool(status.get("base_complete")),
        files=int(status.get("files", 0)),
        entries=int(status.get("entries", 0)),
        dirty=int(status.get("dirty", 0)),
        stale_buckets=int(status.get("stale_buckets", BUCKETS)),
        unmet=dict(status.get("unmet") or {}),
        sync=dict(status.get("sync") or {}),
        applied=int(figures.get("events_applied_total", 0)),
        problems=tuple((one["path"], one["problem"]) for one in status.get("problems", ())),
        problem_count=int(status.get("problem_count", 0)),
        alarms={one["kind"]: one["detail"] for one in status.get("alarms", ())},
        held=int(status.get("held") or (status.get("unmet") or {}).get("held", 0)),
    )


class Level(Enum):
    """How a replica stands to a goal."""

    NOT_YET = "not yet"
    PROVED = "level"
    """Its digest equals the producer's, at the goal or beyond."""
    BUT_PROBLEMS = "level but for problems"
    """Nothing else is left to do for it now."""
    HALTED = "halted"
    """Only a person can go on."""
    NO_ROOM = "no room"
    """Its disk is full, and stays so."""


@dataclass(slots=True)
class Goal:
    """The position that every replica must reach: the producer's when all that was found is published and confirmed."""

    position: Position | None = None
    _found_at: float | None = None

    def see(self, producer: Look, now: float) -> None:
        """Take in what the producer says. Once there is a goal, it stays."""
        if self.position is not None or not producer.is_all_found:
            return
        if self._found_at is None:
            self._found_at = now
        if producer.is_quiet or now - self._found_at >= UNQUIET_SECONDS:
            self.position = producer.position


@dataclass(slots=True)
class Room:
    """Whether the disk of one process has room, or will not have it however long one waits."""

    _full_since: float | None = None
    _done: tuple[int, int] = (0, 0)

    def is_full(self, look: Look, now: float) -> bool:
        """True once there was no room, and nothing went on, for `NO_ROOM_SECONDS`."""
        if "no-room" not in look.alarms:
            self._full_since = None
            return False
        done = (look.applied, look.entries)
        if self._full_since is None or done != self._done:
            self._full_since, self._done = now, done
        return now - self._full_since >= NO_ROOM_SECONDS


@dataclass(slots=True)
class Reaching:
    """One replica on its way to a goal."""

    _problems_since: float | None = None
    _room: Room = field(default_factory=Room)

    def judge(self, look: Look, goal: Position | None, now: float) -> Level:
        """How it stands now."""
        if look.state == "halted":
            return Level.HALTED
        if self._room.is_full(look, now):
            return Level.NO_ROOM
        if goal is None or look.position < goal:
            return Level.NOT_YET
        if look.is_agreed:
            return Level.PROVED
        is_all_but_problems = not look.stale_buckets and look.unmet and not look.unmet.get("body")
        if not is_all_but_problems:
            self._problems_since = None
            return Level.NOT_YET
        if self._problems_since is None:
            self._problems_since = now
        return Level.BUT_PROBLEMS if now - self._problems_since >= PROBLEMS_SECONDS else Level.NOT_YET


class Lag:
    """How long each replica has been behind the producer, from when each of the producer's positions was first seen."""

    def __init__(self) -> None:
        self._positions: deque[Position] = deque(maxlen=_REMEMBERED_POSITIONS)
        self._times: deque[float] = deque(maxlen=_REMEMBERED_POSITIONS)

    def see(self, produced: Position, now: float) -> None:
        """The producer is at this position."""
        if not self._positions or produced > self._positions[-1]:
            self._positions.append(produced)
            self._times.append(now)

    def of(self, look: Look, now: float) -> float:
        """Seconds since the first position that this replica has not agreed to; 0 when there is none."""
        if not self._positions:
            return 0.0
        if look.is_agreed:
            first = bisect_right(self._positions, look.position)
        else:
            # What it has is not proved: as late as it was when it last was, or as the oldest that is remembered.
            first = min(bisect_right(self._positions, look.position), len(self._positions) - 1)
        return now - self._times[first] if first < len(self._times) else 0.0


class Rate:
    """A figure's growth per second over the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def see(self, figure: int, now: float) -> float:
        """Take in the figure as it is now; the rate up to now. A figure that fell (another run) begins anew."""
        if self._seen and figure < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((now, figure))
        while len(self._seen) > 2 and now - self._seen[1][0] > RATE_SECONDS:
            self._seen.popleft()
        since, before = self._seen[0]
        return (figure - before) / (now - since) if now > since else 0.0
