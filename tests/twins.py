"""Twins in memory of the transport's ports, and of a watch: they keep encoded bytes, and can be cut off, held and slowed down.

They run in the caller's thread: nothing happens behind a test's back.
"""

from collections import deque
from dataclasses import dataclass, field

from common.transport.ports import Delivery, Link, Outgoing, Phase, Route, Taken, Wake
from common.wire import codec
from common.wire.header import MessageType
from producer.watch.port import Hint


def _silent() -> None:
    return None


@dataclass
class MemoryBroker:
    """A broker for one tree. It keeps what was taken, in order."""

    is_reachable: bool = True
    confirms: bool = True
    """Whether what is published is confirmed at once; otherwise by `confirm_all`."""
    holder: str = ""
    """Who else holds the upstream queue."""
    queues: dict[str, deque[bytes]] = field(default_factory=dict)
    upstream: deque[bytes] = field(default_factory=deque)
    events: list[bytes] = field(default_factory=list)
    """The stream."""
    calls: list[bytes] = field(default_factory=list)
    """What went the same way, and is no part of it."""
    direct: list[tuple[str, bytes]] = field(default_factory=list)
    """The messages that were taken for one replica, each by itself; its queue has bundles whole."""
    publishers: list["MemoryPublisher"] = field(default_factory=list)

    def publisher(self, *, wake: Wake = _silent, declare: bool = True) -> "MemoryPublisher":
        publisher = MemoryPublisher(self, wake)
        self.publishers.append(publisher)
        return publisher

    def replica_subscriber(self, replica: str, *, wake: Wake = _silent) -> "MemorySubscriber":
        return MemorySubscriber(self, replica)

    def upstream_subscriber(self, *, holder: str = "", wake: Wake = _silent) -> "MemorySubscriber":
        return MemorySubscriber(self, "")

    def say(self, message: bytes) -> None:
        """A replica says something upstream."""
        self.upstream.append(message)

    def reconnect(self) -> None:
        """The broker is back; everybody publishes again what was not confirmed."""
        self.is_reachable = True
        for publisher in self.publishers:
            publisher.publish_again()

    def confirm_all(self) -> None:
        """Confirm what was taken."""
        for publisher in self.publishers:
            publisher.confirm_all()


class PublishersBooks:
    """What a publisher of a test has to tell: what is unconfirmed; what was confirmed and what came back, each told once."""

    def __init__(self) -> None:
        self._unconfirmed: dict[int, Outgoing] = {}
        self._confirmed: list[int] = []
        self._returned: list[str] = []

    def in_flight(self) -> tuple[int, int]:
        return len(self._unconfirmed), sum(len(message.body) for message in self._unconfirmed.values())

    def taken(self) -> Taken | None:
        return None

    def confirmed(self) -> list[int]:
        taken, self._confirmed = self._confirmed, []
        return taken

    def returned(self) -> list[str]:
        taken, self._returned = self._returned, []
        return taken


class MemoryPublisher(PublishersBooks):
    """A `Publisher`."""

    def __init__(self, broker: MemoryBroker, wake: Wake) -> None:
        super().__init__()
        self._broker = broker
        self._wake = wake
        self.queued_bytes = 0
        """What `waiting_bytes` says; set by a test."""
        self.is_closed = False

    @property
    def link(self) -> Link:
        return Link(Phase.OPEN) if self._broker.is_reachable else Link(Phase.CONNECTING, "cut off")

    def publish(self, message: Outgoing) -> None:
        if message.token:
            self._unconfirmed[message.token] = message
        if self._broker.is_reachable:
            self._deliver(message)

    def publish_again(self) -> None:
        for message in list(self._unconfirmed.values()):
            self._deliver(message)

    def _deliver(self, message: Outgoing) -> None:
        if message.route is Route.UPSTREAM:
            self._broker.upstream.append(message.body)
        elif message.route is Route.DIRECT:
            self._broker.direct += [(message.replica, one) for one in codec.cut(message.body)]
            queue = self._broker.queues.get(message.replica)
            if queue is None:
                self._returned.append(message.replica)
            else:
                queue.append(message.body)
        else:
            is_call = codec.peek(message.body).type == MessageType.CALL
            (self._broker.calls if is_call else self._broker.events).append(message.body)
            for queue in self._broker.queues.values():
                queue.append(message.body)
        if message.token and self._broker.confirms:
            self._confirm(message.token)

    def confirm_all(self) -> None:
        for token in list(self._unconfirmed):
            self._confirm(token)

    def _confirm(self, token: int) -> None:
        del self._unconfirmed[token]
        self._confirmed.append(token)
        self._wake()

    def waiting_bytes(self) -> int:
        return self.queued_bytes

    def make_queue(self, replica: str) -> None:
        self._broker.queues.setdefault(replica, deque())

    def drop_queue(self, replica: str) -> None:
        self._broker.queues.pop(replica, None)

    def close(self, timeout_seconds: float) -> None:
        self.is_closed = True


class MemorySubscriber:
    """A `Subscriber`; `queue` "" is the upstream queue."""

    def __init__(self, broker: MemoryBroker, queue: str) -> None:
        self._broker = broker
        self._queue = queue
        self._tag = 0

    @property
    def link(self) -> Link:
        if not self._broker.is_reachable:
            return Link(Phase.CONNECTING, "cut off")
        if not self._queue and self._broker.holder:
            return Link(Phase.HELD, self._broker.holder)
        if self._queue and self._queue not in self._broker.queues:
            return Link(Phase.MISSING)
        return Link(Phase.OPEN)

    def receive(self, timeout_seconds: float) -> Delivery | None:
        if not self.link.is_open:
            return None
        queue = self._broker.queues[self._queue] if self._queue else self._broker.upstream
        if not queue:
            return None
        self._tag += 1
        return Delivery(queue.popleft(), self._tag, 1)

    def settle(self, delivery: Delivery) -> None:
        return None

    def close(self, timeout_seconds: float) -> None:
        return None


class MemoryWatch:
    """A `Watch` that hints at what a test tells it."""

    def __init__(self) -> None:
        self.wake: Wake = _silent
        self.hints: list[Hint] = []
        self.lost = 0
        self.alive = True
        self.not_watched: dict[bytes, str] = {}
        self.starts = 0

    def start(self) -> None:
        self.starts += 1
        self.alive = True

    def hint(self, path: bytes, subtree: bool = False) -> None:
        self.hints.append(Hint(path, subtree))

    def drain(self) -> list[Hint]:
        taken, self.hints = self.hints, []
        return list(dict.fromkeys(taken))

    def overflows(self) -> int:
        return self.lost

    def uncovered(self) -> dict[bytes, str]:
        return self.not_watched

    def mark(self) -> int | None:
        return None if self.not_watched or not self.alive else 1

    def is_past(self, mark: int) -> bool:
        return not self.hints

    def is_alive(self) -> bool:
        return self.alive

    def close(self) -> None:
        return None
