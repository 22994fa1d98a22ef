"""Publishes into the embedded queue: whatever is waiting is one transaction. Knows the store; not who reads.

The owner's thread only hands over. A thread of this port's own writes, and keeps what could not be written yet.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from common.errors import NoRoomError, TreecastError, UnreachableError
from common.transport.backoff import Backoff
from common.transport.bell import ring
from common.transport.embedded_places import Places
from common.transport.embedded_store import (
    BACKOFF_FIRST_SECONDS,
    BACKOFF_LIMIT_SECONDS,
    Act,
    Append,
    Done,
    Drop,
    Make,
    Store,
)
from common.transport.ports import Link, Outgoing, Phase, Route, Taken, Wake

log = logging.getLogger("treecast")

GROUP_BYTES = 32 * 1024 * 1024
"""One transaction takes no more than this, or one message."""
UPSTREAM_LIFE_SECONDS = 60.0


class _Waiting(NamedTuple):
    act: Act
    token: int
    replica: str

    @property
    def bytes(self) -> int:
        return len(self.act.body) if isinstance(self.act, Append) else 0

    @property
    def must_arrive(self) -> bool:
        return self.token != 0 or isinstance(self.act, Make | Drop)


class EmbeddedPublisher:
    """A `Publisher`. `open_store` opens the log anew; `declare`: also make the upstream queue."""

    def __init__(self, places: Places, open_store: Callable[[], Store], *, wake: Wake, declare: bool) -> None:
        self._places = places
        self._open_store = open_store
        self._wake = wake
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._group: list[_Waiting] = []
        self._in_flight_count = 0
        self._in_flight_bytes = 0
        self._waiting_bytes = 0
        self._taken: Taken | None = None
        self._confirmed: list[int] = []
        self._returned: list[str] = []
        self._link = Link(Phase.CONNECTING)
        self._deadline: float | None = None
        self._declares = declare
        self._thread = threading.Thread(target=self._run, name="embedded-publisher", daemon=True)
        self._thread.start()

    @property
    def link(self) -> Link:
        """How it stands now. `BLOCKED`: there is no room to write."""
        return self._link

    def publish(self, message: Outgoing) -> None:
        """Hand over, in order. Nothing is taken after `close`."""
        with self._changed:
            if message.token == 0 and not self._link.is_open:
                return
            self._hand_over(_Waiting(self._append(message), message.token, message.replica))
            if message.token:
                self._in_flight_count += 1
                self._in_flight_bytes += len(message.body)

    def make_queue(self, replica: str) -> None:
        """See to it that the replica's queue exists: from here on it gets what is published."""
        act = Make(self._places.replica_queue(replica), also=self._places.events)
        with self._changed:
            self._hand_over(_Waiting(act, 0, replica))

    def drop_queue(self, replica: str) -> None:
        """The replica's queue is to be there no more; what was in it for nobody else is forgotten."""
        act = Drop(self._places.replica_queue(replica))
        with self._changed:
            self._hand_over(_Waiting(act, 0, replica))

    def in_flight(self) -> tuple[int, int]:
        """Count and bytes handed over with a token and not confirmed."""
        with self._changed:
            return self._in_flight_count, self._in_flight_bytes

    def waiting_bytes(self) -> int:
        """Bytes handed over and not yet written."""
        with self._changed:
            return self._waiting_bytes

    def taken(self) -> Taken | None:
        """What was written last that had messages without a token: of the processor's time alone. All that waits is written at
        once, so for what else there was to wait, locks and other processes, less would have waited too."""
        with self._changed:
            return self._taken

    def confirmed(self) -> list[int]:
        """Tokens that are in the log, synced, since the last call."""
        with self._changed:
            taken, self._confirmed = self._confirmed, []
            return taken

    def returned(self) -> list[str]:
        """Replicas without a queue to whom something was published since the last call."""
        with self._changed:
            taken, self._returned = self._returned, []
            return taken

    def close(self, timeout_seconds: float) -> None:
        """Write out what is waiting as far as time allows, then end. Idempotent."""
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout_seconds
            self._changed.notify()
        self._thread.join(timeout_seconds)

    def _append(self, message: Outgoing) -> Append:
        match message.route:
            case Route.EVENTS:
                return Append(self._places.events, message.body)
            case Route.DIRECT:
                return Append(self._places.replica_queue(message.replica), message.body)
            case Route.UPSTREAM:
                # Kept although no producer may have made the queue yet: it will read what is not too old.
                return Append(self._places.upstream, message.body, UPSTREAM_LIFE_SECONDS, needs_reader=False)

    def _hand_over(self, item: _Waiting) -> None:
        if self._deadline is None:
            self._waiting.append(item)
            self._waiting_bytes += item.bytes
            self._changed.notify()

    def _run(self) -> None:
        backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LIMIT_SECONDS)
        while not self._is_over():
            try:
                self._write_while_open(backoff)
            except TreecastError as error:
                self._drop_best_effort()
                self._tell(Link(Phase.BLOCKED if isinstance(error, NoRoomError) else Phase.CONNECTING, str(error)))
                self._pause(backoff.next_seconds(random.random()))
            except Exception as error:
                log.exception("publishing goes on after an error")
                self._drop_best_effort()
                self._tell(Link(Phase.CONNECTING, repr(error)))
                self._pause(backoff.next_seconds(random.random()))
        self._tell(Link(Phase.CLOSED))

    def _write_while_open(self, backoff: Backoff) -> None:
        store = self._open_store()
        try:
            if self._declares:
                store.carry_out([Make(self._places.upstream, from_start=True)])
            # With something left from before, the link is open when that is written.
            if not self._group:
                self._tell(Link(Phase.OPEN))
            while group := self._next_group():
                if not store.is_in_place():
                    raise UnreachableError(f"{store.path} was removed or replaced")
                self._write(store, group)
                backoff.reset()
        finally:
            store.close()

    def _write(self, store: Store, group: Sequence[_Waiting]) -> None:
        # What has no token may be lost with the power: then it costs no sync.
        began = time.thread_time()
        done = store.carry_out([item.act for item in group], is_durable=any(item.must_arrive for item in group))
        taking_seconds = time.thread_time() - began
        for queue in done.news:
            ring(self._places.bell(queue))
        self._written(group, done, taking_seconds)

    def _written(self, group: Sequence[_Waiting], done: Done, taking_seconds: float) -> None:
        with self._changed:
            self._confirmed.extend(item.token for item in group if item.token)
            self._returned.extend(group[place].replica for place in done.unread if group[place].replica)
            self._in_flight_count -= sum(1 for item in group if item.token)
            self._in_flight_bytes -= sum(item.bytes for item in group if item.token)
            self._waiting_bytes -= sum(item.bytes for item in group)
            if not all(item.must_arrive for item in group):
                self._taken = Taken(sum(item.bytes for item in group), taking_seconds)
            self._group = []
            is_news = bool(self._confirmed or self._returned or not self._waiting)
        self._tell(Link(Phase.OPEN))
        if is_news:
            self._wake()

    def _next_group(self) -> list[_Waiting]:
        """What to write next: what failed before, else what is waiting; waits for it. Empty: it is time to end."""
        with self._changed:
            while not self._group and not self._waiting and self._deadline is None:
                self._changed.wait()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                return []
            room = GROUP_BYTES
            while not self._group or (self._waiting and self._waiting[0].bytes <= room):
                if not self._waiting:
                    break
                item = self._waiting.popleft()
                room -= item.bytes
                self._group.append(item)
            return self._group

    def _drop_best_effort(self) -> None:
        with self._changed:
            everything = [*self._group, *self._waiting]
            kept = [item for item in everything if item.must_arrive]
            self._waiting_bytes -= sum(item.bytes for item in everything if not item.must_arrive)
            self._group, self._waiting = [], deque(kept)

    def _is_over(self) -> bool:
        with self._changed:
            if self._deadline is None:
                return False
            return not (self._group or self._waiting) or time.monotonic() >= self._deadline

    def _pause(self, seconds: float) -> None:
        with self._changed:
            if self._deadline is not None:
                seconds = min(seconds, self._deadline - time.monotonic())
            self._changed.wait_for(lambda: self._deadline is not None, max(0.0, seconds))

    def _tell(self, link: Link) -> None:
        if link != self._link:
            self._link = link
            self._wake()
