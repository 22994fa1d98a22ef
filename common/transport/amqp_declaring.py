"""Makes exchanges, queues and bindings, one after another, on a channel of its own. Knows pika's channel; sends no message.

What the broker refuses (an account that may not configure; a thing that an administrator made in another way) is said once and
passed over: what is there may well be enough, and publishing finds out.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pika import exceptions
from pika.channel import Channel
from pika.connection import Connection
from pika.exchange_type import ExchangeType

from common.transport.amqp_channel import ACCESS_REFUSED, NOT_FOUND
from common.transport.amqp_topology import UPSTREAM_KEY, UPSTREAM_LIMITS, Topology

log = logging.getLogger("treecast.amqp")

Step = Callable[[Channel, Callable[[object], None]], None]
Done = Callable[[bool], None]


@dataclass(slots=True)
class _Work:
    steps: deque[Step]
    done: Done
    is_whole: bool = True


class Declaring:
    """The declarations of one connection, in the order of `run`."""

    def __init__(self, connection: Connection, said: set[str]) -> None:
        """`said`: what was refused and logged already, shared over connections."""
        self.connection = connection
        self._said = said
        self._works: deque[_Work] = deque()
        self._channel: Channel | None = None
        self._is_busy = False

    def run(self, steps: Sequence[Step], done: Done) -> None:
        """Do these in order; `done` is told whether the broker took them all. After a lost connection it is not called."""
        self._works.append(_Work(deque(steps), done))
        if not self._is_busy:
            self._next()

    def _next(self) -> None:
        self._is_busy = bool(self._works)
        if not self._works:
            return
        work = self._works[0]
        if not work.steps:
            self._works.popleft()
            work.done(work.is_whole)
            self._next()
        elif self._channel is None:
            self.connection.channel(on_open_callback=self._on_open)
        else:
            work.steps[0](self._channel, self._on_done)

    def _on_open(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_closed)
        self._next()

    def _on_done(self, _frame: object) -> None:
        self._works[0].steps.popleft()
        self._next()

    def _on_closed(self, _channel: Channel, reason: Exception) -> None:
        self._channel = None
        if not isinstance(reason, exceptions.ChannelClosedByBroker) or not self._works:
            return
        self._say_once(reason)
        self._works[0].is_whole = False
        self._works[0].steps.popleft()
        self._next()

    def _say_once(self, reason: exceptions.ChannelClosedByBroker) -> None:
        # An account that may not configure is refused everything: one line says it. What follows from that is no news.
        key = str(ACCESS_REFUSED) if reason.reply_code == ACCESS_REFUSED else reason.reply_text
        if key not in self._said and reason.reply_code != NOT_FOUND:
            self._said.add(key)
            log.warning("not declared, going on with what is there: %s", reason.reply_text)


def shared_steps(topology: Topology) -> list[Step]:
    """All that is no replica's own."""
    return [_exchange(topology.events, "fanout"), _exchange(topology.direct, "direct"), *upstream_steps(topology)]


def upstream_steps(topology: Topology) -> list[Step]:
    """The way to the producer."""
    return [
        _exchange(topology.upstream, "direct"),
        _queue(topology.upstream, dict(UPSTREAM_LIMITS)),
        _binding(topology.upstream, topology.upstream, UPSTREAM_KEY),
    ]


def replica_steps(topology: Topology, replica: str) -> list[Step]:
    """One replica's queue, with its bindings."""
    queue = topology.replica_queue(replica)
    return [_queue(queue, {}), *(_binding(queue, exchange, key) for exchange, key in topology.bindings(replica))]


def drop_steps(topology: Topology, replica: str) -> list[Step]:
    """Without one replica's queue. A consumer that reads it is told, and asks for it again."""
    queue = topology.replica_queue(replica)
    return [lambda channel, done: channel.queue_delete(queue, callback=done)]


def _exchange(name: str, kind: str) -> Step:
    return lambda channel, done: channel.exchange_declare(name, ExchangeType(kind), durable=True, callback=done)


def _queue(name: str, arguments: dict[str, int]) -> Step:
    return lambda channel, done: channel.queue_declare(name, durable=True, arguments=arguments, callback=done)


def _binding(queue: str, exchange: str, key: str) -> Step:
    return lambda channel, done: channel.queue_bind(queue, exchange, key, callback=done)
