"""Ports of any transport, as tests make and use them. Knows the ports; closes what it made."""

import contextlib
import itertools
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

import pika
import pika.exceptions

from common.transport.broker import open_broker
from common.transport.ports import Delivery, Outgoing, Publisher, Route, Subscriber
from tests.waiting import eventually, scaled

CLOSE_SECONDS = 10.0
_numbers = itertools.count(1)


def no_wake() -> None:
    """For tests that look by themselves."""


@dataclass
class Ports:
    """One tree on one broker: makes ports as separate processes would (each from a broker object of its own)."""

    url: str
    tree: str
    is_embedded: bool
    _made: list[Publisher | Subscriber] = field(default_factory=list)

    def publisher(self, *, declare: bool = True) -> Publisher:
        """A publisher that is open, or with `declare` False on its way to be."""
        port = open_broker(self.url, self.tree).publisher(wake=no_wake, declare=declare)
        self._made.append(port)
        if declare:
            eventually(lambda: port.link.is_open, what="the publisher's link is open")
        return port

    def producer(self, *replicas: str) -> Publisher:
        """An open publisher that made the queues of these replicas."""
        port = self.publisher()
        for replica in replicas:
            port.make_queue(replica)
        if replicas:
            # Done in order: what is confirmed behind it proves that the queues are there.
            publish_and_confirm(port, Outgoing(Route.DIRECT, b"are the queues there?", "nobody", token=next(_numbers)))
            port.returned()
        return port

    def replica(self, name: str) -> Subscriber:
        """A subscriber of this replica's queue."""
        port = open_broker(self.url, self.tree).replica_subscriber(name, wake=no_wake)
        self._made.append(port)
        return port

    def upstream(self, holder: str) -> Subscriber:
        """A subscriber of the producer's own queue."""
        port = open_broker(self.url, self.tree).upstream_subscriber(holder=holder, wake=no_wake)
        self._made.append(port)
        return port

    def close(self) -> None:
        """Close every port that was made, and remove what they left on a broker that is not ours alone."""
        for port in reversed(self._made):
            port.close(CLOSE_SECONDS)
        if not self.is_embedded:
            self._remove_from_broker()

    def _remove_from_broker(self) -> None:
        with contextlib.suppress(pika.exceptions.AMQPError):
            connection = pika.BlockingConnection(pika.URLParameters(self.url))
            channel = connection.channel()
            for queue in ("upstream", *(f"replica.{name}" for name in ("a", "b", "c"))):
                channel.queue_delete(f"treecast.{self.tree}.{queue}")
            for exchange in ("events", "direct", "upstream"):
                channel.exchange_delete(f"treecast.{self.tree}.{exchange}")
            connection.close()


def publish_and_confirm(publisher: Publisher, *messages: Outgoing) -> list[int]:
    """Publish all, and wait until each token is confirmed: the tokens in the order of their confirms."""
    for message in messages:
        publisher.publish(message)
    wanted = sum(1 for message in messages if message.token)
    confirmed: list[int] = []

    def is_done() -> bool:
        confirmed.extend(publisher.confirmed())
        return len(confirmed) >= wanted

    eventually(is_done, timeout_seconds=30, what="every token is confirmed")
    return confirmed


def receive(subscriber: Subscriber, count: int, timeout_seconds: float = 10.0) -> list[Delivery]:
    """So many deliveries, not settled."""
    found: list[Delivery] = []

    def is_done() -> bool:
        while len(found) < count and (delivery := subscriber.receive(0.05)) is not None:
            found.append(delivery)
        return len(found) >= count

    eventually(is_done, timeout_seconds, what=f"{count} deliveries")
    return found


def settle_all(subscriber: Subscriber, count: int) -> list[bytes]:
    """What the next so many deliveries say, each settled at once; fewer where no more come in time."""
    found: list[bytes] = []
    while len(found) < count and (delivery := subscriber.receive(scaled(10))) is not None:
        found.append(delivery.body)
        subscriber.settle(delivery)
    return found


def bodies(deliveries: list[Delivery]) -> list[bytes]:
    """What they say."""
    return [delivery.body for delivery in deliveries]


def free_tree() -> str:
    """The name of a tree that nobody else uses, on whatever broker."""
    return f"t-{os.getpid()}-{next(_numbers)}-{secrets.token_hex(4)}"


def embedded_url(path: Path) -> str:
    """The URL of a database file."""
    return f"sqlite:///{path}"
