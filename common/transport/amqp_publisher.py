"""Publishes to RabbitMQ: in order, with pipelined confirms. Knows the publish port and one kept channel.

Two threads meet here, under one lock: the owner hands over and asks; the connection's thread takes, writes and hears confirms.
What is to be written is decided under the lock and written outside it.
"""

import logging
import threading
import time
from collections import deque
from dataclasses import dataclass

import pika
from pika import frame, spec
from pika.channel import Channel
from pika.connection import Connection

from common.transport.amqp_channel import KeptChannel
from common.transport.amqp_connection import Job
from common.transport.amqp_declaring import Declaring, drop_steps, replica_steps, shared_steps
from common.transport.amqp_topology import Topology
from common.transport.ports import Link, Outgoing, Phase, Taken, Wake
from common.transport.taking import Taking
from common.transport.window import Window

log = logging.getLogger("treecast.amqp")

BUFFER_LIMIT_BYTES = 4 * 1024 * 1024
"""pika buffers without end; we write on only while it holds less than this."""
BUFFER_LOOK_SECONDS = 0.01
"""How often pika's buffer is looked at while it holds something: it does not tell when it drains."""
WAKE_DRAINED_BYTES = 64 * 1024
"""A buffer that held more than this and is empty again is news for an owner that paces itself."""


@dataclass(frozen=True, slots=True)
class _Queue:
    """A replica's queue is to be made, or dropped."""

    replica: str
    is_wanted: bool = True


class AmqpPublisher:
    """See common.transport.ports.Publisher. Its connection is its own: the broker may block it."""

    def __init__(
        self, parameters: pika.ConnectionParameters, topology: Topology, *, wake: Wake, declare: bool, name: str
    ) -> None:
        self._topology = topology
        self._wake = wake
        self._declares = declare
        self._lock = threading.Lock()
        self._drained = threading.Condition(self._lock)
        self._window = Window()
        self._taking = Taking()
        self._kept: dict[int, Outgoing] = {}  # by token, until it is confirmed
        self._waiting: deque[Outgoing | _Queue] = deque()
        self._waiting_bytes = 0
        self._confirmed: list[int] = []
        self._returned: list[str] = []
        self._to_arrange: set[_Queue] = set()
        self._is_pump_due = False
        self._is_closed = False
        # From here on: the connection's thread only.
        self._channel: Channel | None = None
        self._declaring: Declaring | None = None
        self._refused_said: set[str] = set()
        self._tag = 0
        self._is_making = False
        self._is_looking = False
        self._most_buffered = 0
        self._retry_at: float | None = None
        self._keeper = KeptChannel(parameters, self, wake=wake, name=name)
        self._keeper.connection.start()

    @property
    def link(self) -> Link:
        """How it stands now."""
        return self._keeper.link

    def publish(self, message: Outgoing) -> None:
        """See the port."""
        if not message.token and not self.link.is_open:
            return
        with self._lock:
            if self._is_closed:
                return
            self._waiting.append(message)
            self._waiting_bytes += len(message.body)
            if message.token:
                self._kept[message.token] = message
        self._pump_soon()

    def make_queue(self, replica: str) -> None:
        """See the port. What was made once is not taken for granted: an administrator may have deleted it."""
        self._arrange(_Queue(replica))

    def drop_queue(self, replica: str) -> None:
        """See the port."""
        self._arrange(_Queue(replica, is_wanted=False))

    def _arrange(self, queue: _Queue) -> None:
        with self._lock:
            if self._is_closed or queue in self._to_arrange:
                return
            self._to_arrange.add(queue)
            self._waiting.append(queue)
        self._pump_soon()

    def in_flight(self) -> tuple[int, int]:
        """See the port."""
        with self._lock:
            count, size_bytes = self._window.in_flight(time.monotonic())
            unwritten = [len(item.body) for item in self._waiting if isinstance(item, Outgoing) and item.token]
            return count + len(unwritten), size_bytes + sum(unwritten)

    def waiting_bytes(self) -> int:
        """See the port."""
        with self._lock:
            unwritten = self._waiting_bytes + self._window.again_bytes() + self._keeper.connection.buffered_bytes()
            return unwritten + self._taking.bytes

    def taken(self) -> Taken | None:
        """See the port."""
        with self._lock:
            return self._taking.last

    def confirmed(self) -> list[int]:
        """See the port."""
        with self._lock:
            confirmed, self._confirmed = self._confirmed, []
            return confirmed

    def returned(self) -> list[str]:
        """See the port. Each replica once."""
        with self._lock:
            returned, self._returned = self._returned, []
            return list(dict.fromkeys(returned))

    def close(self, timeout_seconds: float) -> None:
        """See the port. Waits only while the link is open."""
        deadline = time.monotonic() + timeout_seconds
        with self._lock:
            self._is_closed = True
            while self.link.is_open and self._is_unwritten() and time.monotonic() < deadline:
                self._drained.wait(BUFFER_LOOK_SECONDS)
        self._keeper.close(max(0.1, deadline - time.monotonic()))

    # What follows runs in the connection's thread.

    def prepare(self, connection: Connection, proceed: Job) -> None:
        """See ChannelUser: declare first, where that is ours."""
        if self._declaring is None or self._declaring.connection is not connection:
            self._declaring = Declaring(connection, self._refused_said)
            self._is_making = False
        if self._declares:
            self._declaring.run(shared_steps(self._topology), lambda _is_whole: proceed())
        else:
            proceed()

    def begin(self, channel: Channel) -> None:
        """See ChannelUser: is everything there that we publish to? A missing exchange closes the channel."""
        channel.add_on_return_callback(self._on_return)
        names = self._topology
        for exchange in [names.events, names.direct] if self._declares else [names.upstream]:
            channel.exchange_declare(exchange, passive=True)
        channel.confirm_delivery(self._on_answer, callback=lambda _frame: self._usable(channel))

    def end(self) -> None:
        """See ChannelUser: all that is unconfirmed goes again, best effort is dropped."""
        self._channel = None
        self._is_looking = False
        self._retry_at = None
        self._tag = 0
        with self._lock:
            self._window.channel_lost()
            self._taking.channel_lost()
            self._waiting = deque(item for item in self._waiting if isinstance(item, _Queue) or item.token)
            self._waiting_bytes = sum(len(item.body) for item in self._waiting if isinstance(item, Outgoing))

    def resume(self) -> None:
        """See ChannelUser."""
        self._pump()

    def _usable(self, channel: Channel) -> None:
        self._channel = channel
        self._keeper.usable()
        self._pump()

    def _pump_soon(self) -> None:
        with self._lock:
            if self._is_pump_due:
                return
            self._is_pump_due = True
        self._keeper.connection.post(self._pump)

    def _pump(self) -> None:
        """Write what may be written now."""
        with self._lock:
            self._is_pump_due = False
        channel = self._channel
        # A blocked connection is written to no more: the broker reads nothing, and all would pile up in pika.
        if channel is None or not channel.is_open or self.link.phase is Phase.BLOCKED:
            return
        for message in self._take(BUFFER_LIMIT_BYTES - self._keeper.connection.buffered_bytes()):
            self._write(channel, message)
        self._arrange_next_queue()
        self._look_again()

    def _take(self, room_bytes: int) -> list[Outgoing]:
        """The next messages in order, as far as there is room: at least one if there is any."""
        taken: list[Outgoing] = []
        with self._lock:
            now = time.monotonic()
            again = self._window.to_publish_again(now)
            for token in again:
                if room_bytes <= 0:
                    return taken
                room_bytes -= self._take_one(taken, self._kept[token])
            while self._waiting and room_bytes > 0 and not self._is_making:
                item = self._waiting[0]
                if isinstance(item, _Queue):
                    break
                self._waiting.popleft()
                self._waiting_bytes -= len(item.body)
                room_bytes -= self._take_one(taken, item)
        return taken

    def _take_one(self, taken: list[Outgoing], message: Outgoing) -> int:
        self._tag += 1
        if message.token:
            self._window.sent(message.token, self._tag, len(message.body))
        else:
            self._taking.wrote(self._tag, len(message.body), time.monotonic())
        taken.append(message)
        return len(message.body)

    def _write(self, channel: Channel, message: Outgoing) -> None:
        envelope = self._topology.envelope(message)
        expiration = None if envelope.expires_ms is None else str(envelope.expires_ms)
        channel.basic_publish(
            envelope.exchange,
            envelope.routing_key,
            message.body,
            pika.BasicProperties(delivery_mode=envelope.delivery_mode, expiration=expiration),
            mandatory=envelope.is_mandatory,
        )

    def _arrange_next_queue(self) -> None:
        with self._lock:
            item = self._waiting[0] if self._waiting else None
        if self._is_making or self._declaring is None or not isinstance(item, _Queue):
            return
        self._is_making = True
        steps = replica_steps if item.is_wanted else drop_steps
        self._declaring.run(steps(self._topology, item.replica), lambda _is_whole: self._on_arranged(item))

    def _on_arranged(self, queue: _Queue) -> None:
        self._is_making = False
        with self._lock:
            if self._waiting and self._waiting[0] == queue:
                self._waiting.popleft()
            self._to_arrange.discard(queue)
        self._pump()

    def _look_again(self) -> None:
        """See to it that the pump runs again: when the buffer has drained, and when a back-off is over."""
        buffered = self._keeper.connection.buffered_bytes()
        self._most_buffered = max(self._most_buffered, buffered)
        if not self._is_looking and buffered:
            self._is_looking = True
            self._keeper.connection.later(BUFFER_LOOK_SECONDS, self._look)
        now = time.monotonic()
        with self._lock:
            seconds = self._window.seconds_to_retry(now)
        if seconds is not None and (self._retry_at is None or not now < self._retry_at <= now + seconds):
            self._retry_at = now + seconds
            self._keeper.connection.later(seconds, self._pump)

    def _look(self) -> None:
        self._is_looking = False
        if not self._keeper.connection.buffered_bytes():
            with self._lock:
                self._drained.notify_all()
            if self._most_buffered > WAKE_DRAINED_BYTES:
                self._wake()
            self._most_buffered = 0
        self._pump()

    def _on_answer(self, answer: frame.Method[spec.Basic.Ack | spec.Basic.Nack]) -> None:
        method = answer.method
        if isinstance(method, spec.Basic.Nack):
            now = time.monotonic()
            with self._lock:
                self._taking.taken(method.delivery_tag, method.multiple, now)
                self._window.nacked(method.delivery_tag, method.multiple, now)
                given_up = self._window.give_up(now)
                self._forget(given_up)
            if given_up:
                log.warning("%d messages that a queue refuses are given up: who reads it will sync", len(given_up))
                self._wake()
            self._look_again()
            return
        with self._lock:
            self._taking.taken(method.delivery_tag, method.multiple, time.monotonic())
            newly = self._window.acked(method.delivery_tag, method.multiple)
            self._forget(newly)
            is_more = bool(self._window.again_bytes())
        if newly:
            self._wake()
        if is_more:
            self._pump()

    def _forget(self, tokens: list[int]) -> None:
        """Under the lock: these are done with."""
        for token in tokens:
            del self._kept[token]
        self._confirmed += tokens

    def _on_return(
        self, _channel: Channel, method: spec.Basic.Return, _properties: spec.BasicProperties, _body: bytes
    ) -> None:
        replica = method.routing_key
        if method.exchange != self._topology.direct or not replica:
            return
        with self._lock:
            self._returned.append(replica)
        self._wake()

    def _is_unwritten(self) -> bool:
        return bool(
            self._waiting or self._window.again_bytes() or self._keeper.connection.buffered_bytes() or self._is_making
        )
