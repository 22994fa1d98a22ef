"""What comes from a replica's queue: decoded, with batches that follow one another and are there already taken together.

What is refused is told and settled here. Everything else is the caller's to settle. Used from one thread.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from common.errors import RefusedError
from common.messages import Batch, Downstream
from common.transport.ports import Delivery, Subscriber
from common.wire.codec import decode_delivery
from consumer.agreement import continues

TOGETHER_LIMIT = 64
TOGETHER_LIMIT_BYTES = 1024 * 1024

Refuse = Callable[[str, str], None]
"""Told of each message that is refused: the reason, and what to tell a person."""


class Came(NamedTuple):
    """What one delivery holds: a message, or several answers; each with its size in bytes."""

    messages: Sequence[tuple[Downstream, int]]
    delivery: Delivery

    @property
    def first(self) -> Downstream:
        """The only one, if it is not an answer."""
        return self.messages[0][0]


class Incoming:
    """See the module."""

    def __init__(self, subscriber: Subscriber, tree: str, refuse: Refuse) -> None:
        self._subscriber = subscriber
        self._tree = tree
        self._refuse = refuse
        self._left: Came | None = None
        self._received_bytes = 0

    def take_received_bytes(self) -> int:
        """How many have come since the last call."""
        received_bytes, self._received_bytes = self._received_bytes, 0
        return received_bytes

    def decode(self, delivery: Delivery) -> Came | None:
        """The message, or the answers, with their sizes; None where all is refused, which is settled by then."""
        self._received_bytes += len(delivery.body)
        messages: list[tuple[Downstream, int]] = []
        try:
            messages.extend(decode_delivery(delivery.body, self._tree))
        except RefusedError as error:
            self._refuse(error.reason, str(error))
        if not messages:
            self._subscriber.settle(delivery)
            return None
        return Came(messages, delivery)

    def together(self, batch: Batch, delivery: Delivery) -> list[tuple[Batch, Delivery]]:
        """This batch and those that continue it, as far as they are there already: a replica that is behind pays for one set of
        barriers instead of one for each. The first message that does not continue them is given out by `left`."""
        found = [(batch, delivery)]
        size_bytes = len(delivery.body)
        while self._left is None and len(found) < TOGETHER_LIMIT and size_bytes < TOGETHER_LIMIT_BYTES:
            following = self._subscriber.receive(0.0)
            if following is None:
                break
            came = self.decode(following)
            message = came.first if came is not None else None
            if isinstance(message, Batch) and continues(found[-1][0], message):
                found.append((message, following))
                size_bytes += len(following.body)
            else:
                self._left = came
        return found

    def left(self) -> Came | None:
        """What `together` took and could not join, once."""
        left, self._left = self._left, None
        return left
