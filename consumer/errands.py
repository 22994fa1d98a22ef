"""Decides what reports tell of what was asked from beside the master: the digest for whoever wants it proved, the runs of scrubs.

Knows nonces, run numbers, and seconds of a steady clock.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

SHOWN_SECONDS = 15.0
"""For so long the digest is shown to one who asked: a report may be lost, and the next ones show it too."""
SHOWN_LIMIT = 8


class Errands:
    """See the module. Owned by one thread."""

    def __init__(self) -> None:
        self._proofs: deque[tuple[bytes, float]] = deque(maxlen=SHOWN_LIMIT)
        self._scrubs: deque[str] = deque(maxlen=SHOWN_LIMIT)
        self.count = 0
        """How often something was asked."""

    def prove(self, nonce: bytes, now: float) -> None:
        """Somebody wants to see the digest."""
        self._proofs.append((nonce, now))
        self.count += 1

    def scrub(self, nonce: bytes, run: int) -> None:
        """Somebody wants the disk read again: that is the run of this number, which may have been under way."""
        self._scrubs.append(f"{nonce.hex()} {run}")
        self.count += 1

    def details(self, digest: Callable[[], bytes], now: float) -> dict[str, Any]:
        """For the report. `digest`: of the tree, at the report's position."""
        found: dict[str, Any] = {"scrub_asked": list(self._scrubs)} if self._scrubs else {}
        proved = [nonce.hex() for nonce, at in self._proofs if now - at < SHOWN_SECONDS]
        return {**found, "proved": proved, "digest": digest().hex()} if proved else found
