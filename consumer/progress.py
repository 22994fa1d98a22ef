"""Decides how far a sync is: what has come of it, how fast it goes, and how long it still takes at that rate.

A sync begins when something is stale or missing, and is over when nothing is. Values and monotonic seconds in, values out.
"""

from collections import deque
from dataclasses import dataclass, field

from common.messages import BodyAnswer, BucketRows, Same, Since, TooOld

RATE_SECONDS = 10.0
"""Rates are those of the last ten seconds."""
RATE_SECONDS_MINIMUM = 0.5
"""Of less time nobody can tell a rate."""

Answer = Same | BucketRows | BodyAnswer | Since | TooOld
KINDS: dict[type, str] = {
    Same: "digests", BucketRows: "buckets", BodyAnswer: "contents", Since: "since", TooOld: "since"
}  # fmt: skip
"""What its bytes are counted as."""


def paths_in(answer: Answer) -> int:
    """Of how many paths it says something."""
    if isinstance(answer, BucketRows | Since):
        return len(answer.rows)
    return int(isinstance(answer, BodyAnswer))


@dataclass(frozen=True, slots=True)
class Left:
    """What a replica lacks: stale buckets, and contents that are missing. `received`: how much of a since answer for those
    buckets has come, 0 to 1."""

    buckets: int
    contents: int
    received: float = 0.0

    @property
    def is_nothing(self) -> bool:
        return not self.buckets and not self.contents

    @property
    def work(self) -> float:
        """The buckets that are left; those of a since answer are half done when it has come."""
        return self.buckets * (1.0 - self.received / 2)


@dataclass(frozen=True, slots=True)
class Told:
    """A sync that runs. `paths` and `size_bytes`: of the answers so far; `bytes_per_second`, `seconds_left`: None while nobody
    can tell."""

    buckets_left: int
    contents_left: int
    paths: int
    size_bytes: int
    seconds: float
    bytes_per_second: float | None
    seconds_left: float | None


@dataclass(slots=True)
class Pace:
    """How fast a figure grows."""

    _seen: deque[tuple[float, float]] = field(default_factory=deque)

    def see(self, figure: float, now: float) -> None:
        """Take it in as it is now."""
        self._seen.append((now, figure))
        while len(self._seen) > 2 and now - self._seen[1][0] >= RATE_SECONDS:
            self._seen.popleft()

    def per_second(self) -> float | None:
        """Its growth per second; None while nobody can tell."""
        (began, first), (now, last) = self._seen[0], self._seen[-1]
        return (last - first) / (now - began) if now - began >= RATE_SECONDS_MINIMUM else None


@dataclass(slots=True)
class _Sync:
    """The sync that runs."""

    began: float
    paths: int = 0
    size_bytes: int = 0
    contents: int = 0
    levelled: float = 0.0
    left: float = 0.0
    bytes_pace: Pace = field(default_factory=Pace)
    contents_pace: Pace = field(default_factory=Pace)
    buckets_pace: Pace = field(default_factory=Pace)


@dataclass(slots=True)
class Progress:
    """See the module."""

    _sync: _Sync | None = None

    def came(self, answer: Answer, size_bytes: int) -> None:
        """An answer has come, of this size on the wire."""
        if self._sync is not None:
            self._sync.size_bytes += size_bytes
            self._sync.paths += paths_in(answer)
            self._sync.contents += isinstance(answer, BodyAnswer)

    def see(self, left: Left, now: float) -> Told | None:
        """How it stands now; None when there is nothing to do. Call it a few times a second."""
        if left.is_nothing:
            self._sync = None
            return None
        if self._sync is None:
            self._sync = _Sync(now, left=left.work)
        sync = self._sync
        sync.levelled += max(0.0, sync.left - left.work)
        sync.left = left.work
        sync.bytes_pace.see(sync.size_bytes, now)
        sync.contents_pace.see(sync.contents, now)
        sync.buckets_pace.see(sync.levelled, now)
        return Told(
            left.buckets,
            left.contents,
            sync.paths,
            sync.size_bytes,
            now - sync.began,
            sync.bytes_pace.per_second(),
            _seconds_left(left, sync),
        )


def _seconds_left(left: Left, sync: _Sync) -> float | None:
    """Contents are fetched beside buckets; where both are left, both take their time."""
    parts = [(left.work, sync.buckets_pace.per_second()), (left.contents, sync.contents_pace.per_second())]
    total = 0.0
    for amount, rate in parts:
        if amount and not rate:
            return None
        total += amount / rate if rate else 0.0
    return total
