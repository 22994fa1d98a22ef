"""The embedded transport: durable queues in one SQLite file, for the processes of one machine. No server.

One log and one cursor per queue (`embedded_store`); whoever comes first, producer or consumer, makes the file. A queue
has one consumer, by a lock that ends with its process; the upstream queue's consumer is the producer that leads.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from common.transport.embedded_places import Places
from common.transport.embedded_publisher import EmbeddedPublisher
from common.transport.embedded_store import Store, check_store
from common.transport.embedded_subscriber import EmbeddedSubscriber
from common.transport.limits import QueueLimits
from common.transport.ports import Publisher, Subscriber, Wake


class EmbeddedBroker:
    """A `Broker`. Raises StateError where the file is there and no queue of ours. `clock`: unix seconds."""

    def __init__(
        self, path: Path, tree: str, *, limits: QueueLimits | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        check_store(path)
        self._places = Places(path, tree)
        self._open_store = partial(Store, path, limits, clock)

    def publisher(self, *, wake: Wake, declare: bool) -> Publisher:
        """`declare`: also make the upstream queue."""
        return EmbeddedPublisher(self._places, self._open_store, wake=wake, declare=declare)

    def replica_subscriber(self, replica: str, *, wake: Wake) -> Subscriber:
        """The replica's queue; it reads what is addressed to it, and the events."""
        queue = self._places.replica_queue(replica)
        return EmbeddedSubscriber(self._places, queue, self._open_store, also=self._places.events, wake=wake)

    def upstream_subscriber(self, *, holder: str, wake: Wake) -> Subscriber:
        """The producer's own queue, which it makes itself."""
        queue = self._places.upstream
        return EmbeddedSubscriber(self._places, queue, self._open_store, holder=holder, makes=True, wake=wake)
