"""Consumes one queue of the embedded transport, alone. Knows the store, the queue's lock and its bell.

A thread of this port's own reads ahead and writes the cursor; the owner's thread takes, and settles. What is not
settled comes again after a new start, because the cursor never passes it.
"""

import logging
import random
import threading
from collections.abc import Callable

from common.errors import NoRoomError, TreecastError, UnreachableError
from common.lock import ProcessLock
from common.transport.backoff import Backoff
from common.transport.bell import Bell
from common.transport.embedded_inbox import Inbox
from common.transport.embedded_places import Places
from common.transport.embedded_store import BACKOFF_FIRST_SECONDS, BACKOFF_LIMIT_SECONDS, Make, Store
from common.transport.ports import Delivery, Link, Phase, Wake

log = logging.getLogger("treecast")

HELD_RETRY_SECONDS = 0.1
FULL_RETRY_SECONDS = 0.05
CURSOR_DELAY_SECONDS = 0.1
"""How long acks gather before the cursor is written: a crash brings back what was acked since."""


class EmbeddedSubscriber:
    """A `Subscriber` of one queue, which also reads the address `also`. `makes`: make the queue if it is missing."""

    def __init__(
        self,
        places: Places,
        queue: str,
        open_store: Callable[[], Store],
        *,
        also: str = "",
        holder: str = "",
        makes: bool = False,
        wake: Wake,
    ) -> None:
        self._places = places
        self._queue = queue
        self._also = also
        self._open_store = open_store
        self._lock = ProcessLock(places.lock(queue), holder)
        self._makes = makes
        self._wake = wake
        self._link = Link(Phase.CONNECTING)
        self._is_closing = False
        self._fetched = 0
        self._bell = Bell()
        self._inbox = Inbox(self._bell.nudge)
        self._thread = threading.Thread(target=self._run, name=f"embedded-{queue}", daemon=True)
        self._thread.start()

    @property
    def link(self) -> Link:
        """How it stands now. `HELD` names the other consumer."""
        return self._link

    def receive(self, timeout_seconds: float) -> Delivery | None:
        """The next message, or None after the time."""
        return self._inbox.take(timeout_seconds)

    def settle(self, delivery: Delivery) -> None:
        """This one is done with."""
        self._inbox.settle(delivery)

    def close(self, timeout_seconds: float) -> None:
        """Move the cursor past what is settled, give the queue up, end. Idempotent."""
        self._is_closing = True
        self._inbox.end()
        self._bell.nudge()
        self._thread.join(timeout_seconds)

    def _run(self) -> None:
        backoff = Backoff(BACKOFF_FIRST_SECONDS, BACKOFF_LIMIT_SECONDS)
        while not self._is_closing:
            wait_seconds = HELD_RETRY_SECONDS
            try:
                self._make_directories()
                if self._lock.try_acquire():
                    self._consume(backoff)
                else:
                    self._tell(Link(Phase.HELD, self._lock.rival))
            except (TreecastError, OSError) as error:
                self._tell(Link(Phase.CONNECTING, str(error)))
                wait_seconds = backoff.next_seconds(random.random())
            except Exception as error:
                log.exception("the queue %s is opened anew after an error", self._queue)
                self._tell(Link(Phase.CONNECTING, repr(error)))
                wait_seconds = backoff.next_seconds(random.random())
            finally:
                self._bell.take_down()
                self._lock.release()
            if not self._is_closing:
                self._bell.wait(wait_seconds)
        self._tell(Link(Phase.CLOSED))
        self._bell.close()

    def _make_directories(self) -> None:
        for directory in (self._places.database.parent, self._places.directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _consume(self, backoff: Backoff) -> None:
        """As the one consumer, until the end. Raises what the store raises."""
        store = self._open_store()
        try:
            # Hung before the first look: what comes from now on rings.
            self._bell.hang(self._places.bell(self._queue))
            if self._await_queue(store):
                backoff.reset()
                self._serve(store)
        finally:
            store.close()

    def _await_queue(self, store: Store) -> bool:
        while not self._is_closing:
            cursor = store.cursor(self._queue)
            if cursor is not None:
                self._fetched = cursor
                self._inbox.start()
                self._tell(Link(Phase.OPEN))
                return True
            if self._makes:
                store.carry_out([Make(self._queue, self._also, from_start=True)])
                continue
            self._tell(Link(Phase.MISSING, f"there is no queue {self._queue} yet"))
            self._check_in_place(store)
            self._bell.wait(self._bell.poll_seconds)
        return False

    def _serve(self, store: Store) -> None:
        while not self._is_closing:
            self._check_in_place(store)
            count, limit_bytes = self._inbox.room()
            has_more = count > 0 and self._read_ahead(store, count, limit_bytes)
            pause_seconds = self._write_cursor(store, CURSOR_DELAY_SECONDS)
            if not has_more:
                self._bell.wait(pause_seconds if count > 0 else min(pause_seconds, FULL_RETRY_SECONDS))
        self._write_cursor(store, 0.0)

    def _read_ahead(self, store: Store, count: int, limit_bytes: int) -> bool:
        rows = store.fetch(
            self._queue,
            self._also,
            self._fetched,
            count=count,
            limit_bytes=limit_bytes,
            at_least_one=self._inbox.is_empty,
        )
        if rows:
            self._fetched = rows[-1].id
            self._inbox.put(rows)
            self._wake()
        elif store.cursor(self._queue) is None:
            raise UnreachableError(f"the queue {self._queue} was removed")
        return bool(rows)

    def _write_cursor(self, store: Store, delay_seconds: float) -> float:
        """Move the cursor if what is acked has waited so long. Seconds until it is worth looking again."""
        acked, waited_seconds = self._inbox.acked()
        if acked is None:
            return self._bell.poll_seconds
        if waited_seconds < delay_seconds:
            return min(self._bell.poll_seconds, delay_seconds - waited_seconds)
        try:
            has_moved = store.move_cursor(self._queue, acked)
        except (NoRoomError, UnreachableError):
            # Locked or full: reading goes on without it, and a crash costs repetitions only.
            self._inbox.written(None)
            return self._bell.poll_seconds
        if not has_moved:
            raise UnreachableError(f"the queue {self._queue} was removed")
        self._inbox.written(acked)
        return self._bell.poll_seconds

    def _check_in_place(self, store: Store) -> None:
        if not store.is_in_place():
            raise UnreachableError(f"{store.path} was removed or replaced")

    def _tell(self, link: Link) -> None:
        if link != self._link:
            self._link = link
            self._wake()
