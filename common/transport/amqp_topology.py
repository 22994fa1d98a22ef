"""Decides the names of exchanges and queues on RabbitMQ, and how messages travel there. Knows no connection and no pika.

    treecast.<tree>.events          durable fanout exchange    producer to every replica's queue
    treecast.<tree>.direct          durable direct exchange    answers; the routing key is the replica
    treecast.<tree>.replica.<id>    durable queue, bound to both
    treecast.<tree>.upstream        durable direct exchange and queue of one name, bounded: reports and questions
    treecast.<tree>.finder.<nonce>  queue of a moment, bound to events: where a second producer looks who leads

Limits of replicas' queues are an administrator's policies, never arguments. The upstream queue alone has its bound as
arguments, so that a producer that is away for days cannot fill the broker where nobody has set a policy; its messages
expire one by one. Where an administrator made it with other arguments, theirs stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from common.transport.ports import Outgoing, Route

PREFIX = "treecast"
UPSTREAM_KEY = "upstream"
EVENTS_KEY = ""
"""A fanout ignores it; it is said aloud, because pika takes None for the queue's name."""
UPSTREAM_EXPIRES_MS = 60_000
UPSTREAM_LIMITS: Mapping[str, int] = {"x-max-length": 20_000, "x-max-length-bytes": 64 * 1024 * 1024}
PREFETCH_COUNT = 64
"""The broker counts messages, not bytes: as many of a megabyte may lie in a consumer's memory. Fewer would make a sync over a
long line slow: no more than this many answers come in one round trip. At 200 ms that is 320 answers a second."""
UPSTREAM_PREFETCH_COUNT = 64
"""Words of replicas are small, and many."""

TRANSIENT = 1
PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Topology:
    """The names of one tree."""

    tree: str

    @property
    def events(self) -> str:
        """The fanout exchange."""
        return f"{PREFIX}.{self.tree}.events"

    @property
    def direct(self) -> str:
        """The direct exchange for answers."""
        return f"{PREFIX}.{self.tree}.direct"

    @property
    def upstream(self) -> str:
        """The exchange to the producer, and its queue: they have one name."""
        return f"{PREFIX}.{self.tree}.upstream"

    def replica_queue(self, replica: str) -> str:
        """The queue of one replica."""
        return f"{PREFIX}.{self.tree}.replica.{replica}"

    def finder_queue(self, nonce: str) -> str:
        """A queue of one who asks for a moment who leads; named as the tree's others are, so that a producer may make it."""
        return f"{PREFIX}.{self.tree}.finder.{nonce}"

    def bindings(self, replica: str) -> tuple[tuple[str, str], ...]:
        """Exchange and routing key of each binding of a replica's queue."""
        return (self.events, EVENTS_KEY), (self.direct, replica)

    def envelope(self, message: Outgoing) -> "Envelope":
        """How this message travels."""
        if message.route is Route.EVENTS:
            # A heartbeat is worth nothing after a restart of the broker.
            return Envelope(self.events, EVENTS_KEY, PERSISTENT if message.token else TRANSIENT)
        if message.route is Route.DIRECT:
            # What a restart of the broker takes away is asked for again.
            return Envelope(self.direct, message.replica, TRANSIENT, is_mandatory=True)
        mode = PERSISTENT if message.token else TRANSIENT
        return Envelope(self.upstream, UPSTREAM_KEY, mode, expires_ms=UPSTREAM_EXPIRES_MS)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands around a message's bytes. `is_mandatory`: comes back where no queue takes it."""

    exchange: str
    routing_key: str
    delivery_mode: int
    is_mandatory: bool = False
    expires_ms: int | None = None
