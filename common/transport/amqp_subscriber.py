"""Consumes one queue of RabbitMQ, exclusively and in order. Knows the subscribe port and one kept channel.

Two threads meet here, under one lock: the connection's thread puts deliveries into a queue that the prefetch bounds; the owner
takes and settles them. Tags belong to one channel; the generation keeps those of an earlier one from being acked.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from uuid import uuid4

import pika
from pika import spec
from pika.channel import Channel
from pika.connection import Connection

from common.transport.amqp_channel import KeptChannel
from common.transport.amqp_connection import Job
from common.transport.amqp_declaring import Declaring, Step
from common.transport.amqp_topology import EVENTS_KEY, PREFETCH_COUNT, Topology
from common.transport.ledger import AckLedger
from common.transport.ports import Delivery, Link, Phase, Wake

NameLeader = Callable[[bytes], str | None]


class AmqpSubscriber:
    """See common.transport.ports.Subscriber. Its connection is its own: a blocked publisher does not keep it from reading."""

    def __init__(  # noqa: PLR0913 - one queue, and how it is made, held and read
        self,
        parameters: pika.ConnectionParameters,
        queue: str,
        *,
        wake: Wake,
        name: str,
        holder: str,
        steps: Sequence[Step] = (),
        find_holder: "HolderFinder | None" = None,
        prefetch_count: int = PREFETCH_COUNT,
    ) -> None:
        """`holder` names us to an administrator who looks at the queue's consumers. `steps` make the queue, if it is ours."""
        self._queue = queue
        self._wake = wake
        self._holder = holder
        self._steps = steps
        self._prefetch_count = prefetch_count
        self._find_holder = find_holder
        self._lock = threading.Lock()
        self._arrived = threading.Condition(self._lock)
        self._deliveries: deque[Delivery] = deque()
        self._ledger = AckLedger()
        self._generation = 0
        self._ack_up_to: int | None = None
        # From here on: the connection's thread only.
        self._channel: Channel | None = None
        self._declaring: Declaring | None = None
        self._refused_said: set[str] = set()
        self._keeper = KeptChannel(parameters, self, wake=self._on_link, name=name)
        self._keeper.connection.start()

    @property
    def link(self) -> Link:
        """How it stands now."""
        return self._keeper.link

    def receive(self, timeout_seconds: float) -> Delivery | None:
        """See the port."""
        deadline = time.monotonic() + timeout_seconds
        with self._lock:
            while not self._deliveries:
                remaining_seconds = deadline - time.monotonic()
                if remaining_seconds <= 0 or self.link.phase is Phase.CLOSED:
                    return None
                self._arrived.wait(remaining_seconds)
            return self._deliveries.popleft()

    def settle(self, delivery: Delivery) -> None:
        """See the port."""
        with self._lock:
            if delivery.generation != self._generation:
                return
            up_to = self._ledger.settled(delivery.tag)
            if up_to is None:
                return
            is_due = self._ack_up_to is not None
            self._ack_up_to = up_to
        if not is_due:
            self._keeper.connection.post(self._ack)

    def close(self, timeout_seconds: float) -> None:
        """See the port."""
        self._keeper.close(timeout_seconds)
        with self._lock:
            self._deliveries.clear()
            self._arrived.notify_all()

    # What follows runs in the connection's thread.

    def prepare(self, connection: Connection, proceed: Job) -> None:
        """See ChannelUser: declare first, where that is ours."""
        if self._find_holder is not None:
            self._find_holder.use(connection)
        if self._declaring is None or self._declaring.connection is not connection:
            self._declaring = Declaring(connection, self._refused_said)
        self._declaring.run(self._steps, lambda _is_whole: proceed())

    def begin(self, channel: Channel) -> None:
        """See ChannelUser."""
        self._channel = channel
        with self._lock:
            generation = self._generation
        channel.add_on_cancel_callback(
            lambda _frame: self._keeper.give_up(Link(Phase.MISSING, "the queue was deleted"))
        )
        channel.basic_qos(
            prefetch_count=self._prefetch_count, callback=lambda _frame: self._consume(channel, generation)
        )

    def end(self) -> None:
        """See ChannelUser: what was delivered and not settled comes again, so what waits here is dropped."""
        self._channel = None
        with self._lock:
            self._generation += 1
            self._ledger = AckLedger()
            self._ack_up_to = None
            self._deliveries.clear()

    def resume(self) -> None:
        """See ChannelUser: nothing was published here."""

    def _consume(self, channel: Channel, generation: int) -> None:
        def on_message(
            _channel: Channel, method: spec.Basic.Deliver, _properties: spec.BasicProperties, body: bytes
        ) -> None:
            tag = method.delivery_tag or 0  # typed as optional; the broker always gives one
            self._deliver(Delivery(body, tag, generation, method.redelivered))

        channel.basic_consume(
            self._queue,
            on_message,
            exclusive=True,
            consumer_tag=f"{self._holder} {uuid4().hex[:8]}",
            callback=lambda _frame: self._keeper.usable(),
        )

    def _deliver(self, delivery: Delivery) -> None:
        with self._lock:
            self._ledger.delivered(delivery.tag)
            self._deliveries.append(delivery)
            self._arrived.notify()
        self._wake()

    def _ack(self) -> None:
        with self._lock:
            up_to, self._ack_up_to = self._ack_up_to, None
        if up_to is not None and self._channel is not None and self._channel.is_open:
            self._channel.basic_ack(up_to, multiple=True)

    def _on_link(self) -> None:
        if self._find_holder is not None and self._keeper.link.phase is Phase.HELD:
            self._find_holder.look(self._keeper.say_holder)
        with self._lock:
            self._arrived.notify_all()
        self._wake()


class HolderFinder:
    """Who leads? Reads the events exchange through a throw-away queue until a message there names its sender.

    Needs permission to configure; without it, nobody is named.
    """

    def __init__(self, topology: Topology, name_leader: NameLeader) -> None:
        self._topology = topology
        self._name_leader = name_leader
        self._connection: Connection | None = None
        self._is_looking = False

    def use(self, connection: Connection) -> None:
        """From now on look through this connection."""
        self._connection = connection
        self._is_looking = False

    def look(self, say: Callable[[str], None]) -> None:
        """Begin, unless it is going on. `say` hears the name once it is known."""
        if self._is_looking or self._connection is None or not self._connection.is_open:
            return
        self._is_looking = True
        self._connection.channel(on_open_callback=lambda channel: self._listen(channel, say))

    def _listen(self, channel: Channel, say: Callable[[str], None]) -> None:
        def on_message(
            _channel: Channel, _method: spec.Basic.Deliver, _properties: spec.BasicProperties, body: bytes
        ) -> None:
            name = self._name_leader(body)
            if name and channel.is_open:
                say(name)
                channel.close()

        queue = self._topology.finder_queue(uuid4().hex)
        channel.queue_declare(queue, exclusive=True, auto_delete=True)
        channel.queue_bind(queue, self._topology.events, EVENTS_KEY)
        channel.basic_consume(queue, on_message, auto_ack=True)
