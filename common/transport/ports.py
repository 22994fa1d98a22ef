"""The two ports, publish and subscribe, and the values that cross them. Knows no broker.

Every implementation runs the contract suite in tests/contract. Both ports are used from one thread (the owner's), work in
threads of their own, and call `wake` (thread-safe, must not block) whenever the owner should look again. They reconnect by
themselves, for ever, with back-off and jitter, at most every 2 s while something is only missing; `link` tells how it stands.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import NamedTuple, Protocol

Wake = Callable[[], None]


class Route(Enum):
    """Where a message goes."""

    EVENTS = "events"
    """From the producer to every replica's queue."""
    DIRECT = "direct"
    """From the producer to one replica's queue."""
    UPSTREAM = "upstream"
    """From a replica to the producer; expires after 60 s."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to publish.

    `token` 0: best effort; dropped when there is no connection, never sent twice. Any other token: durable; kept, published
    again in order after a nack or a lost channel until it is confirmed, and then named by `confirmed`.
    """

    route: Route
    body: bytes
    replica: str = ""
    token: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message as received. `settle` it once, when it is done with; until then it comes again after a reconnect."""

    body: bytes
    tag: int
    generation: int
    """Which connection it came on: settling a delivery of an earlier one does nothing."""
    redelivered: bool = False


class Phase(StrEnum):
    """How a link to the broker stands."""

    CONNECTING = "connecting"
    OPEN = "open"
    MISSING = "missing"
    """Connected, but the queue or the exchange is not there."""
    HELD = "held"
    """Another process holds the queue."""
    REFUSED = "refused"
    """The broker refuses this account."""
    BLOCKED = "blocked"
    """The broker takes no publishes (memory or disk alarm)."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Link:
    """How a link stands, and why, in words for a person."""

    phase: Phase
    detail: str = ""

    @property
    def is_open(self) -> bool:
        return self.phase is Phase.OPEN


class Taken(NamedTuple):
    """A message that the broker took, or several at once: of what size, and how long that took."""

    bytes: int
    seconds: float


class Publisher(Protocol):
    """Publishes in order; confirms are pipelined."""

    @property
    def link(self) -> Link:
        """How it stands now."""

    def publish(self, message: Outgoing) -> None:
        """Hand over, in order. Never blocks and never raises for a broker's sake; the caller bounds by `in_flight`."""

    def in_flight(self) -> tuple[int, int]:
        """Count and bytes handed over with a token and not confirmed, less those nacked for over 5 s."""

    def waiting_bytes(self) -> int:
        """Bytes handed over that the broker has not taken yet, those with a token until they are written: the measure for
        pacing answers."""

    def taken(self) -> Taken | None:
        """The message without a token that the broker took last; None: it took none yet."""

    def confirmed(self) -> list[int]:
        """Tokens confirmed since the last call, in the order of their confirms."""

    def returned(self) -> list[str]:
        """Replicas to whom a DIRECT message could not be routed since the last call: they have no queue."""

    def make_queue(self, replica: str) -> None:
        """Producer only: see to it that the replica's queue exists and is bound. Idempotent; done in order with publishes."""

    def drop_queue(self, replica: str) -> None:
        """Producer only: the replica's queue, and what waits in it, is to be there no more. Idempotent; in order as above. An
        account that may not is refused, which is logged."""

    def close(self, timeout_seconds: float) -> None:
        """Write out what is waiting as far as time allows, then end. Idempotent."""


class Subscriber(Protocol):
    """Delivers one queue in order, as its only consumer, each message until it is settled."""

    @property
    def link(self) -> Link:
        """How it stands now. `HELD`: another consumes this queue; it goes on trying."""

    def receive(self, timeout_seconds: float) -> Delivery | None:
        """The next message, or None after the time. Waits in short steps only as long as told; 0: do not wait."""

    def settle(self, delivery: Delivery) -> None:
        """This one is done with. Acks go never beyond the lowest delivery that is not settled."""

    def close(self, timeout_seconds: float) -> None:
        """Ack what is settled, give the queue up, end. Idempotent."""


class Broker(Protocol):
    """One broker and one tree: makes ports."""

    def publisher(self, *, wake: Wake, declare: bool) -> Publisher:
        """`declare`: make exchanges and the upstream queue if they are missing (the producer does)."""

    def replica_subscriber(self, replica: str, *, wake: Wake) -> Subscriber:
        """The replica's queue. It is never made here: `Phase.MISSING` until the producer made it."""

    def upstream_subscriber(self, *, holder: str, wake: Wake) -> Subscriber:
        """The producer's own queue, exclusive: while it is open, this process leads. `holder` names it to others ("host:pid");
        `Phase.HELD` has the other's name in its detail where the broker can tell."""
