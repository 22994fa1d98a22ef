"""Does: asks a RabbitMQ about one tree over AMQP, in ways that change nothing, take nothing and are in nobody's way.

What only an act would tell is asked with an act that the broker must refuse: it judges permissions before it looks at the rest.
One thing a look does: RabbitMQ takes it for a use, so a queue that expires unused begins to count anew.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pika
from pika.channel import Channel

from common.transport.amqp_asking import TAKEN, AmqpAsking, Answer, Question
from treecast.doctor.accounts import Right
from treecast.doctor.argued import IMPOSSIBLE, Argued

ACCESS_REFUSED, NOT_FOUND = 403, 404
NOBODY = "treecast-doctor"

Done = Callable[[object], None]


class Rabbit:
    """Questions on one open connection. Every method raises UnreachableError when no answer comes."""

    def __init__(self, asking: AmqpAsking) -> None:
        self._asking = asking

    def round_trip_seconds(self) -> float:
        """The shortest of a few."""
        return min(self._asking.ask(_confirms).seconds for _ in range(3))

    def has_exchange(self, name: str) -> bool:
        """Whether it is there."""
        return self._asking.ask(lambda channel, done: _passive_exchange(channel, name, done)).code == TAKEN

    def queue(self, name: str) -> Answer | None:
        """Its messages and consumers; None where there is no such queue."""
        answer = self._asking.ask(lambda channel, done: _queue(channel, name, None, done))
        return answer if answer.code == TAKEN else None

    def arguments(self, name: str) -> dict[str, Any] | None:
        """Those that matter, of a queue that is there; None where this account may not configure it, and so is told nothing."""
        argued = Argued()
        while (given := argued.next_arguments()) is not None:
            answer = self._declared(name, given)
            if answer.code == ACCESS_REFUSED:
                return None
            heard = argued.heard(answer.text)
            if heard is None:
                break
            argued = heard
        return argued.arguments

    def rights(self, rights: Iterable[Right]) -> dict[Right, bool]:
        """Which of these this account has. What could not be told is left out."""
        return {right: is_granted for right in rights if (is_granted := self._try(right)) is not None}

    def _try(self, right: Right) -> bool | None:
        match right.act:
            case "configure":
                answer = self._declared(right.name, IMPOSSIBLE)
            case "write":
                answer = self._asking.ask(_impossible_publish(right.name))
            case _:
                answer = self._asking.ask(_impossible_consume(right.name))
        return None if answer.code == TAKEN else answer.code != ACCESS_REFUSED or "exclusive" in answer.text

    def _declared(self, name: str, arguments: Mapping[str, Any]) -> Answer:
        return self._asking.ask(lambda channel, done: _queue(channel, name, dict(arguments), done))


def _queue(channel: Channel, name: str, arguments: dict[str, Any] | None, done: Done) -> None:
    """Passive without arguments; with them they must hold an impossible one."""
    channel.queue_declare(name, passive=arguments is None, durable=True, arguments=arguments, callback=done)


def _passive_exchange(channel: Channel, name: str, done: Done) -> None:
    channel.exchange_declare(name, passive=True, callback=done)


def _confirms(channel: Channel, done: Done) -> None:
    channel.confirm_delivery(lambda _: None, callback=done)


def _impossible_publish(exchange: str) -> Question:
    """Neither user nor expiry can be true: it is refused before it is routed, but after the permission was judged."""
    properties = pika.BasicProperties(user_id=NOBODY, expiration=NOBODY)

    def ask(channel: Channel, done: Done) -> None:
        channel.confirm_delivery(done, callback=lambda _: channel.basic_publish(exchange, NOBODY, b"", properties))

    return ask


def _impossible_consume(queue: str) -> Question:
    """A priority that is no number: refused before a message is handed out, but after the permission was judged."""

    def ask(channel: Channel, done: Done) -> None:
        channel.basic_consume(queue, lambda *_: None, arguments={"x-priority": NOBODY}, callback=done)

    return ask
