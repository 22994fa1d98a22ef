"""Decides what may be acked: never beyond the lowest delivery that is not settled. Knows no broker."""

from collections import deque


class AckLedger:
    """The deliveries of one connection, whose tags rise. A new connection needs a new ledger."""

    def __init__(self) -> None:
        self._open: deque[int] = deque()
        self._settled: set[int] = set()
        self._highest = -1

    def __len__(self) -> int:
        """How many deliveries may not be acked yet."""
        return len(self._open)

    def delivered(self, tag: int) -> None:
        """One more delivery; its tag is higher than any before. Raises ValueError if it is not."""
        if tag <= self._highest:
            raise ValueError(f"tag {tag} after {self._highest}")
        self._highest = tag
        self._open.append(tag)

    def settled(self, tag: int) -> int | None:
        """This delivery is done with. The tag up to which everything may be acked, if that rose; else None.

        Idempotent; a tag that was never delivered, or is acked already, changes nothing.
        """
        if not self._open or not self._open[0] <= tag <= self._highest:
            return None
        self._settled.add(tag)
        acked = None
        while self._open and self._open[0] in self._settled:
            acked = self._open.popleft()
            self._settled.remove(acked)
        return acked
