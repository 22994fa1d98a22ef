"""Decides how much may be sent now when a rate is set: a bucket of tokens. Knows no clock: it is told the time."""

BURST_SECONDS = 0.25
BURST_MINIMUM_BYTES = 64 * 1024
"""So much may go at once after a rest."""


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
