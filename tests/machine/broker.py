"""Both transports as the ports promise them, in memory: what is lost, doubled and reordered is up to the world.

`CopyingQueues` has RabbitMQ's semantics: a copy in each queue, unsettled messages come again to the front, the oldest are
dropped, a queue is purged or deleted. `LogQueues` has those of the embedded queue: one log, one cursor for each queue, a queue
begins behind what is there, the oldest of the log are dropped for all. `SimulatedBroker` makes ports on either.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Protocol

from common.transport.ledger import AckLedger
from common.transport.ports import Delivery, Link, Outgoing, Phase, Route
from common.transport.window import Window
from tests.machine.process import Killed, Life

PREFETCH = 64
UPSTREAM_LIFE_SECONDS = 60.0
UPSTREAM = ""
"""The name of the producer's own queue; others are called as their replica."""


@dataclass(eq=False, slots=True)
class Item:
    """A message that lies in a queue."""

    body: bytes
    at: float
    redelivered: bool = False


class Queues(Protocol):
    """What a broker keeps."""

    def make(self, name: str) -> None:
        """See to it that a queue exists."""

    def exists(self, name: str) -> bool:
        """Whether it does."""

    def delete(self, name: str) -> None:
        """It is gone, with what was in it."""

    def append(self, name: str | None, body: bytes, now: float) -> bool:
        """To one queue, or to every replica's (None). False: nobody reads it."""

    def next(self, name: str) -> Item | None:
        """The next one that was not given out since `again`."""

    def ack(self, name: str, items: list[Item]) -> None:
        """These are done with."""

    def again(self, name: str) -> None:
        """Everything that was given out and not acked will be given out again."""

    def waiting(self, name: str) -> list[Item]:
        """What was not given out, in order."""

    def drop(self, name: str, items: list[Item]) -> None:
        """These were lost, or dropped by a limit."""


class CopyingQueues:
    """RabbitMQ: each queue has its own copies."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Item]] = {UPSTREAM: deque()}
        self._given: dict[str, list[Item]] = {UPSTREAM: []}

    def make(self, name: str) -> None:
        self._queues.setdefault(name, deque())
        self._given.setdefault(name, [])

    def exists(self, name: str) -> bool:
        return name in self._queues

    def delete(self, name: str) -> None:
        self._queues.pop(name, None)
        self._given.pop(name, None)

    def append(self, name: str | None, body: bytes, now: float) -> bool:
        names = [name] if name is not None else [other for other in self._queues if other != UPSTREAM]
        for one in names:
            if one in self._queues:
                self._queues[one].append(Item(body, now))
        return name is None or name in self._queues

    def next(self, name: str) -> Item | None:
        queue = self._queues.get(name)
        if not queue:
            return None
        item = queue.popleft()
        self._given[name].append(item)
        return item

    def ack(self, name: str, items: list[Item]) -> None:
        self._given[name] = [item for item in self._given.get(name, []) if item not in items]

    def again(self, name: str) -> None:
        given = self._given.get(name, [])
        for item in given:
            item.redelivered = True
        if given:
            self._queues[name].extendleft(reversed(given))
            self._given[name] = []

    def waiting(self, name: str) -> list[Item]:
        return list(self._queues.get(name, ()))

    def drop(self, name: str, items: list[Item]) -> None:
        if name in self._queues:
            self._queues[name] = deque(item for item in self._queues[name] if item not in items)

    def swap(self, name: str, place: int) -> None:
        """Two that are next to each other come in the other order, as after a requeue."""
        queue = self._queues[name]
        queue[place], queue[place + 1] = queue[place + 1], queue[place]


class LogQueues:
    """The embedded queue: one log, and a cursor for each queue."""

    def __init__(self) -> None:
        self._log: list[tuple[int, str | None, Item]] = []
        self._numbers = count(1)
        self._last = 0
        self._cursors: dict[str, int] = {UPSTREAM: 0}
        self._read: dict[str, int] = {UPSTREAM: 0}

    def make(self, name: str) -> None:
        self._cursors.setdefault(name, self._last)
        self._read.setdefault(name, self._last)

    def exists(self, name: str) -> bool:
        return name in self._cursors

    def delete(self, name: str) -> None:
        self._cursors.pop(name, None)
        self._read.pop(name, None)

    def append(self, name: str | None, body: bytes, now: float) -> bool:
        if name is not None and name not in self._cursors:
            return False
        self._last = next(self._numbers)
        self._log.append((self._last, name, Item(body, now)))
        return True

    def next(self, name: str) -> Item | None:
        for number, address, item in self._log:
            if number > self._read.get(name, self._last) and self._is_for(name, address):
                self._read[name] = number
                return item
        return None

    def ack(self, name: str, items: list[Item]) -> None:
        acked = [number for number, _, item in self._log if item in items]
        if name in self._cursors and acked:
            self._cursors[name] = max(self._cursors[name], *acked)

    def again(self, name: str) -> None:
        if name in self._cursors:
            self._read[name] = self._cursors[name]

    def waiting(self, name: str) -> list[Item]:
        read = self._read.get(name, self._last)
        return [item for number, address, item in self._log if number > read and self._is_for(name, address)]

    def drop(self, name: str, items: list[Item]) -> None:
        """Only from the front, and for all: where one queue loses it, each does."""
        numbers = [number for number, _, item in self._log if item in items]
        if numbers:
            self._log = [row for row in self._log if row[0] > max(numbers)]

    def turn_back(self, name: str) -> None:
        """The cursor is not synced: a power cut puts it back."""
        first = self._log[0][0] - 1 if self._log else self._last
        if name in self._cursors:
            self._cursors[name] = min(self._cursors[name], max(first, self._cursors[name] - 3))

    @staticmethod
    def _is_for(name: str, address: str | None) -> bool:
        return address == name or (address is None and name != UPSTREAM)


@dataclass
class SimulatedBroker:
    """One broker and one tree. `is_up`: whether connections can be had."""

    queues: Queues
    now: Callable[[], float]
    rng: Random
    is_up: bool = True
    publishers: list["SimulatedPublisher"] = field(default_factory=list)
    subscribers: list["SimulatedSubscriber"] = field(default_factory=list)

    def publisher_of(self, life: Life) -> "SimulatedPublisher":
        publisher = SimulatedPublisher(self, life)
        self.publishers.append(publisher)
        return publisher

    def subscriber_of(self, name: str, life: Life) -> "SimulatedSubscriber":
        subscriber = SimulatedSubscriber(self, name, life)
        self.queues.again(name)
        self.subscribers.append(subscriber)
        return subscriber

    def disconnect(self, name: str | None = None) -> None:
        """Connections break: every one, or that of one queue's consumer. They are made again at once, if the broker is up."""
        for subscriber in self.subscribers:
            if name in (None, subscriber.name):
                subscriber.reconnect()
        if name is None:
            for publisher in self.publishers:
                publisher.lose_channel()

    def forget(self, life: Life) -> None:
        """This process is gone; a part of what it had handed over was written before."""
        for publisher in [p for p in self.publishers if p.life is life]:
            publisher.die()
            self.publishers.remove(publisher)
        for subscriber in [s for s in self.subscribers if s.life is life]:
            self.subscribers.remove(subscriber)
            self.queues.again(subscriber.name)

    def route(self, message: Outgoing) -> bool:
        """It is in the queues now. False: nobody's."""
        if message.route is Route.EVENTS:
            return self.queues.append(None, message.body, self.now())
        name = UPSTREAM if message.route is Route.UPSTREAM else message.replica
        return self.queues.append(name, message.body, self.now())


class SimulatedPublisher:
    """A `Publisher`. What is handed over lies here until `pump` writes it; `Window` says what goes again."""

    def __init__(self, broker: SimulatedBroker, life: Life) -> None:
        self._broker = broker
        self.life = life
        self.handed_over: deque[Outgoing] = deque()
        self._unconfirmed: dict[int, Outgoing] = {}
        self._window = Window()
        self._tags = count(1)
        self._confirmed: list[int] = []
        self._returned: list[str] = []
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
            for token in self._window.acked(tag, False):
                del self._unconfirmed[token]
                self._confirmed.append(token)

    def lose_channel(self) -> None:
        """What was not confirmed goes again, what has no token and was not written is lost."""
        self.handed_over = deque(m for m in self.handed_over if m.token)
        self._window.channel_lost()

    def die(self) -> None:
        """The process is gone: something was still on its way."""
        if self._broker.is_up:
            for message in list(self.handed_over)[: self._broker.rng.randrange(len(self.handed_over) + 1)]:
                self._broker.route(message)
        self.handed_over.clear()

    def in_flight(self) -> tuple[int, int]:
        return len(self._unconfirmed), sum(len(message.body) for message in self._unconfirmed.values())

    def waiting_bytes(self) -> int:
        return sum(len(message.body) for message in self.handed_over)

    def taking_seconds(self) -> float | None:
        return None

    def confirmed(self) -> list[int]:
        taken, self._confirmed = self._confirmed, []
        return taken

    def returned(self) -> list[str]:
        taken, self._returned = self._returned, []
        return taken

    def make_queue(self, replica: str) -> None:
        self.life.step("make queue")
        self._broker.queues.make(replica)

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
        self.on_ack: Callable[[Item], None] = lambda item: None

    def _begin(self) -> None:
        self._ledger = AckLedger()
        self._given: dict[int, Item] = {}
        self._tags = count(1)

    @property
    def link(self) -> Link:
        if not self._broker.is_up:
            return Link(Phase.CONNECTING, "cut off")
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
        for item in acked:
            self.on_ack(item)
        self._broker.queues.ack(self.name, acked)

    def close(self, timeout_seconds: float) -> None:
        return None
