"""What was read ahead and what was settled, between reader's and owner's thread. Knows no connection and no queue."""

import threading
import time
from collections import deque
from collections.abc import Sequence

from common.transport.embedded_store import Row
from common.transport.ledger import AckLedger
from common.transport.ports import Delivery, Wake

PREFETCH_COUNT = 64
PREFETCH_BYTES = 32 * 1024 * 1024


class Inbox:
    """Thread-safe. At most `PREFETCH_COUNT` messages and `PREFETCH_BYTES` lie here unsettled, or one larger one."""

    def __init__(self, nudge: Wake) -> None:
        """`nudge` is called, without a lock, when the reader should look: there is room again, or something to ack."""
        self._nudge = nudge
        self._changed = threading.Condition()
        self._generation = 0
        self._ready: deque[Delivery] = deque()
        self._sizes: dict[int, int] = {}
        self._bytes = 0
        self._ledger = AckLedger()
        self._highest = 0
        self._acked: int | None = None
        self._acked_at = 0.0
        self._is_tight = False
        self._is_over = False

    def start(self) -> None:
        """A new connection: what was not settled on the last one will be put again."""
        with self._changed:
            self._generation += 1
            self._ready.clear()
            self._sizes.clear()
            self._bytes = 0
            self._ledger = AckLedger()
            self._acked = None

    def room(self) -> tuple[int, int]:
        """How many messages and bytes more may be put. Where there is no other, one message may be larger."""
        with self._changed:
            count, limit_bytes = PREFETCH_COUNT - len(self._sizes), PREFETCH_BYTES - self._bytes
            # With half of the bytes taken, the next message may be too large for the rest: so tell of each room.
            self._is_tight = count <= 0 or limit_bytes <= PREFETCH_BYTES // 2
            return (count, limit_bytes) if limit_bytes > 0 else (0, 0)

    @property
    def is_empty(self) -> bool:
        """Whether everything that was put is settled."""
        return not self._sizes

    def put(self, rows: Sequence[Row]) -> None:
        """More messages, in order."""
        with self._changed:
            for row in rows:
                self._ready.append(Delivery(row.body, row.id, self._generation, row.id <= self._highest))
                self._ledger.delivered(row.id)
                self._sizes[row.id] = len(row.body)
                self._bytes += len(row.body)
                self._highest = max(self._highest, row.id)
            self._changed.notify_all()

    def take(self, timeout_seconds: float) -> Delivery | None:
        """The next message, or None after the time or after the end."""
        with self._changed:
            if not self._ready and timeout_seconds > 0:
                self._changed.wait_for(lambda: self._ready or self._is_over, timeout_seconds)
            return self._ready.popleft() if self._ready and not self._is_over else None

    def settle(self, delivery: Delivery) -> None:
        """This one is done with. Idempotent; one of an earlier connection changes nothing."""
        with self._changed:
            if delivery.generation != self._generation or delivery.tag not in self._sizes:
                return
            self._bytes -= self._sizes.pop(delivery.tag)
            is_first_ack = self._note_ack(self._ledger.settled(delivery.tag))
            is_roomy = self._is_tight and len(self._sizes) <= PREFETCH_COUNT // 2
            self._is_tight = self._is_tight and not is_roomy
        if is_first_ack or is_roomy:
            self._nudge()

    def acked(self) -> tuple[int | None, float]:
        """The id up to which the cursor should be moved, if any, and for how many seconds it has waited."""
        with self._changed:
            return self._acked, time.monotonic() - self._acked_at

    def written(self, cursor: int | None) -> None:
        """The cursor was moved so far; None: it could not be, try again later."""
        with self._changed:
            self._acked_at = time.monotonic()
            if cursor is not None and self._acked == cursor:
                self._acked = None

    def end(self) -> None:
        """Nothing is taken any more; who waits, waits no longer. Settling still counts."""
        with self._changed:
            self._is_over = True
            self._changed.notify_all()

    def _note_ack(self, tag: int | None) -> bool:
        if tag is None:
            return False
        is_first = self._acked is None
        self._acked = tag
        if is_first:
            self._acked_at = time.monotonic()
        return is_first
