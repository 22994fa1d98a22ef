"""The ports to a broker in memory, of either transport: what is lost, doubled and reordered is up to the world.

What a broker keeps is `queues`; here are its connections: what is handed over, written, confirmed, given out and settled.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random

from common.transport.ledger import AckLedger
from common.transport.ports import Delivery, Link, Outgoing, Phase, Route
from common.transport.window import Window
from tests.machine.process import Killed, Life
from tests.machine.queues import UPSTREAM, Item, Queues
from tests.twins import PublishersBooks

PREFETCH = 64
UPSTREAM_LIFE_SECONDS = 60.0


@dataclass
class SimulatedBroker:
    """One broker and one tree. `is_up`: whether connections can be had."""

    queues: Queues
    now: Callable[[], float]
    rng: Random
    is_up: bool = True
    losing: dict[str, int] = field(default_factory=dict)
    """Queues that lose so many of the next messages."""
    publishers: list["SimulatedPublisher"] = field(default_factory=list)
    subscribers: list["SimulatedSubscriber"] = field(default_factory=list)
    holders: dict[str, "SimulatedSubscriber"] = field(default_factory=dict)
    """Who consumes a queue; it is one at a time."""

    def publisher_of(self, life: Life) -> "SimulatedPublisher":
        publisher = SimulatedPublisher(self, life)
        self.publishers.append(publisher)
        return publisher

    def subscriber_of(self, name: str, life: Life) -> "SimulatedSubscriber":
        subscriber = SimulatedSubscriber(self, name, life)
        self.subscribers.append(subscriber)
        return subscriber

    def holder_of(self, subscriber: "SimulatedSubscriber") -> "SimulatedSubscriber":
        """Who consumes its queue: the first one that comes to a queue that nobody has."""
        holder = self.holders.get(subscriber.name)
        if holder is None:
            holder = self.holders[subscriber.name] = subscriber
            self.queues.again(subscriber.name)
        return holder

    def free(self, name: str) -> None:
        """Whoever consumes it has lost it; who gets it next is anybody's luck."""
        self.holders.pop(name, None)
        waiting = [s for s in self.subscribers if s.name == name]
        if len(waiting) > 1:
            self.holder_of(self.rng.choice(waiting))

    def disconnect(self, name: str | None = None) -> None:
        """Connections break: every one, or that of one queue's consumer. They are made again at once, if the broker is up."""
        for subscriber in self.subscribers:
            if name in (None, subscriber.name):
                subscriber.reconnect()
        for held in [held for held in self.holders if name in (None, held)]:
            self.free(held)
        if name is None:
            for publisher in self.publishers:
                publisher.lose_channel()

    def forget(self, life: Life) -> None:
        """This process is gone; a part of what it had handed over was written before."""
        for publisher in [p for p in self.publishers if p.life is life]:
            publisher.die()
            self.publishers.remove(publisher)
        for subscriber in [s for s in self.subscribers if s.life is life]:
            if self.rng.random() < 0.5:
                subscriber.send_acks()
            self.subscribers.remove(subscriber)
            if self.holders.get(subscriber.name) is subscriber:
                self.queues.again(subscriber.name)
                self.free(subscriber.name)

    def route(self, message: Outgoing) -> bool:
        """It is in the queues now. False: nobody's."""
        name = UPSTREAM if message.route is Route.UPSTREAM else message.replica
        to = None if message.route is Route.EVENTS else name
        is_read = self.queues.append(to, message.body, self.now(), is_durable=message.token != 0)
        for losing, left in list(self.losing.items()):
            waiting = self.queues.waiting(losing)[-1:]
            if waiting and waiting[0].body is message.body and left:
                self.queues.drop(losing, waiting)
                self.losing[losing] = left - 1
        return is_read


class SimulatedPublisher(PublishersBooks):
    """A `Publisher`. What is handed over lies here until `pump` writes it; `Window` says what goes again."""

    def __init__(self, broker: SimulatedBroker, life: Life) -> None:
        super().__init__()
        self._broker = broker
        self.life = life
        self.handed_over: deque[Outgoing] = deque()
        self._window = Window()
        self._tags = count(1)
        self._late: list[int] = []
        """What the broker has and did not confirm yet: on a channel that stands, it will."""
        self.on_publish: Callable[[Outgoing], None] = lambda message: None

    @property
    def link(self) -> Link:
        return Link(Phase.OPEN) if self._broker.is_up else Link(Phase.CONNECTING, "cut off")

    def publish(self, message: Outgoing) -> None:
        self.life.step("publish")
        self.on_publish(message)
        if message.token:
            self._unconfirmed[message.token] = message
        if message.token or self._broker.is_up:
            self.handed_over.append(message)

    def pump(self, limit: int | None = None) -> None:
        """Write what was handed over, and what goes again; each is confirmed at once."""
        if not self._broker.is_up:
            return
        now = self._broker.now()
        self._confirm(*self._late)
        self._late.clear()
        for token in self._window.to_publish_again(now):
            self._write(self._unconfirmed[token], confirms=True)
        while self.handed_over and (limit is None or limit > 0):
            self._write(self.handed_over.popleft(), confirms=True)
            limit = None if limit is None else limit - 1

    def write_some(self, rng: Random) -> None:
        """Some are written, some of those confirmed, some refused by one queue; then the channel may be lost."""
        if not self._broker.is_up:
            return
        for _ in range(rng.randrange(len(self.handed_over) + 1)):
            self._write(self.handed_over.popleft(), confirms=rng.random() < 0.5, refused=rng.random() < 0.2)
        if rng.random() < 0.5:
            self.lose_channel()

    def _write(self, message: Outgoing, *, confirms: bool, refused: bool = False) -> None:
        if message.token and message.token not in self._unconfirmed:
            return
        if not self._broker.route(message) and message.replica:
            self._returned.append(message.replica)
        if not message.token:
            return
        tag = next(self._tags)
        self._window.sent(message.token, tag, len(message.body))
        if refused:
            self._window.nacked(tag, False, self._broker.now())
        elif confirms:
            self._confirm(tag)
        else:
            self._late.append(tag)

    def _confirm(self, *tags: int) -> None:
        for token in (token for tag in tags for token in self._window.acked(tag, False)):
            del self._unconfirmed[token]
            self._confirmed.append(token)

    def lose_channel(self) -> None:
        """What was not confirmed goes again, what has no token and was not written is lost."""
        self.handed_over = deque(m for m in self.handed_over if m.token)
        self._late.clear()
        self._window.channel_lost()

    def die(self) -> None:
        """The process is gone: something was still on its way."""
        if self._broker.is_up:
            for message in list(self.handed_over)[: self._broker.rng.randrange(len(self.handed_over) + 1)]:
                self._broker.route(message)
        self.handed_over.clear()

    def waiting_bytes(self) -> int:
        return sum(len(message.body) for message in self.handed_over)

    def make_queue(self, replica: str) -> None:
        self.life.step("make queue")
        self._broker.queues.make(replica)

    def drop_queue(self, replica: str) -> None:
        self.life.step("drop queue")
        self._broker.queues.delete(replica)

    def close(self, timeout_seconds: float) -> None:
        self.pump()


class SimulatedSubscriber:
    """A `Subscriber` of one queue."""

    def __init__(self, broker: SimulatedBroker, name: str, life: Life) -> None:
        self._broker = broker
        self.name = name
        self.life = life
        self._generation = 1
        self._begin()
        self.on_ack: Callable[[], None] = lambda: None

    def _begin(self) -> None:
        self._unsent: list[Item] = []
        self._ledger = AckLedger()
        self._given: dict[int, Item] = {}
        self._tags = count(1)

    @property
    def link(self) -> Link:
        if not self._broker.is_up:
            return Link(Phase.CONNECTING, "cut off")
        if self._broker.holder_of(self) is not self:
            return Link(Phase.HELD, "the other one")
        return Link(Phase.OPEN if self._broker.queues.exists(self.name) else Phase.MISSING)

    def reconnect(self) -> None:
        """Another connection: what was not acked comes again."""
        self._generation += 1
        self._begin()
        self._broker.queues.again(self.name)

    def receive(self, timeout_seconds: float) -> Delivery | None:
        if self.life.is_dead:
            raise Killed
        if not self.link.is_open or len(self._given) >= PREFETCH:
            return None
        item = self._broker.queues.next(self.name)
        if item is None:
            return None
        if self.name == UPSTREAM and self._broker.now() - item.at > UPSTREAM_LIFE_SECONDS:
            self._broker.queues.ack(self.name, [item])
            return None
        tag = next(self._tags)
        self._ledger.delivered(tag)
        self._given[tag] = item
        return Delivery(item.body, tag, self._generation, item.redelivered)

    def settle(self, delivery: Delivery) -> None:
        self.life.step("settle")
        if delivery.generation != self._generation:
            return
        upto = self._ledger.settled(delivery.tag)
        if upto is None:
            return
        acked = [self._given.pop(tag) for tag in sorted(self._given) if tag <= upto]
        self.on_ack()
        self._unsent += acked
        if self._broker.rng.random() < 0.7:
            self.send_acks()

    def send_acks(self) -> None:
        """They reach the broker; those of a connection that broke before do not."""
        self._broker.queues.ack(self.name, self._unsent)
        self._unsent = []

    def close(self, timeout_seconds: float) -> None:
        self.send_acks()
