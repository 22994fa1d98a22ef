"""Decides how much may be sent now: by a rate that is set, and by how much a broker takes at once. Knows no clock and no broker.

What waits in front of a live change delays it. So as little is kept on its way to the broker as keeps that way full: the
message that the broker took last tells how long it waited there. (TCP Vegas finds a window so.)
"""

from common.transport.ports import Taken

BURST_SECONDS = 0.25
BURST_MINIMUM_BYTES = 64 * 1024
"""So much may go at once after a rest."""
WINDOW_FIRST_BYTES = 256 * 1024
WINDOW_LEAST_BYTES = 32 * 1024
CARRIED_SECONDS = 0.01
"""What the way carries in this time, at its best, may be on it whatever the delay: that is not the window's doing then, but of a
machine or a broker that has others to serve, and small pieces would cost both more. At most as much as at first."""
WINDOW_MOST_BYTES = 8 * 1024 * 1024
DELAY_AIM_SECONDS = 0.005
DELAY_AIM_SHARE = 0.25
"""Of the time that the way takes by itself: over a long way times vary by more."""
REMEMBERED_SECONDS = 10.0
"""The shortest time of the last ten to twenty seconds is the way's own."""
ADJUST_SECONDS = 0.01


class TokenBucket:
    """Tokens are bytes. A message goes whole when there is any token, and what it was too large is owed. `now`: seconds."""

    def __init__(self, bytes_per_second: float | None, now: float = 0.0) -> None:
        """None: no limit."""
        self._rate = bytes_per_second
        self._capacity_bytes = max(BURST_MINIMUM_BYTES, (bytes_per_second or 0.0) * BURST_SECONDS)
        self._tokens = self._capacity_bytes
        self._at = now

    def room_bytes(self, now: float) -> float:
        """How many bytes may go now; infinite without a limit, not above 0 while something is owed."""
        if self._rate is None:
            return float("inf")
        self._tokens = min(self._capacity_bytes, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = max(self._at, now)
        return self._tokens

    def spent(self, size_bytes: int) -> None:
        """So much went."""
        if self._rate is not None:
            self._tokens -= size_bytes


class Window:
    """How many bytes may be on their way to the broker. `now`: seconds."""

    def __init__(self) -> None:
        self.limit_bytes = WINDOW_FIRST_BYTES
        self._now_bytes = self._most_bytes = 0
        self._is_searching = True
        self._heard: Taken | None = None
        self._most_rate = self._most_rate_before = 0.0
        self._adjust_at = float("-inf")
        self._forget_at = float("-inf")
        self._least_seconds = self._least_before_seconds = float("inf")

    def room_bytes(self, waiting_bytes: int, taken: Taken | None, now: float) -> int:
        """How many more may go. `waiting_bytes`: not taken yet; `taken`: what was taken last."""
        self._on_way(waiting_bytes)
        if taken is not None and taken != self._heard:
            self._heard = taken
            self._learn(taken, now)
            if now >= self._adjust_at:
                self._adjust_at = now + max(ADJUST_SECONDS, taken.seconds)
                self._adjust(taken.seconds)
                self._most_bytes = waiting_bytes
        return self.limit_bytes - waiting_bytes

    def sent(self, size_bytes: int) -> None:
        """So much went on its way."""
        self._on_way(self._now_bytes + size_bytes)

    def _on_way(self, size_bytes: int) -> None:
        self._now_bytes = size_bytes
        self._most_bytes = max(self._most_bytes, size_bytes)

    def _learn(self, taken: Taken, now: float) -> None:
        if now >= self._forget_at:
            self._forget_at = now + REMEMBERED_SECONDS
            self._least_before_seconds, self._least_seconds = self._least_seconds, float("inf")
            self._most_rate_before, self._most_rate = self._most_rate, 0.0
        self._least_seconds = min(self._least_seconds, taken.seconds)
        if taken.seconds > 0:
            self._most_rate = max(self._most_rate, taken.bytes / taken.seconds)

    def _least_bytes(self) -> int:
        carried_bytes = int(max(self._most_rate, self._most_rate_before) * CARRIED_SECONDS)
        return max(WINDOW_LEAST_BYTES, min(WINDOW_FIRST_BYTES, carried_bytes))

    def _adjust(self, taking_seconds: float) -> None:
        """Less when it was taken late, more when the window was used and it was not: at first twice as much."""
        least_seconds = min(self._least_seconds, self._least_before_seconds)
        if taking_seconds - least_seconds > max(DELAY_AIM_SECONDS, DELAY_AIM_SHARE * least_seconds):
            self._is_searching = False
            self.limit_bytes = max(self._least_bytes(), self.limit_bytes * 3 // 4)
        elif self._most_bytes * 2 > self.limit_bytes:
            more_bytes = self.limit_bytes * 2 if self._is_searching else self.limit_bytes * 9 // 8
            self.limit_bytes = min(WINDOW_MOST_BYTES, more_bytes)
