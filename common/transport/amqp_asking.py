"""Asks a RabbitMQ one thing after another and waits for each answer. Knows pika's connection and channel; knows no question.

For a program that looks and ends. Every question has a channel of its own, because a refusal closes it.
"""

import queue
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from pika import exceptions
from pika.channel import Channel
from pika.connection import Connection

from common.errors import UnreachableError
from common.transport.amqp_connection import AmqpConnection, parameters_for, words_of
from common.transport.ports import Link, Phase
from common.transport.urls import AmqpUrl

CLOSE_SECONDS = 3.0
TAKEN = 0
"""The code of an answer that is no refusal."""

Question = Callable[[Channel, Callable[[object], None]], None]
"""Asks on an open channel; what it is given second is to be called with the broker's frame, or with None."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the broker said. `code`: `TAKEN`, or AMQP's code of the refusal, with the broker's words in `text`.

    `messages` and `consumers` are there when the question was about a queue; `seconds` it took to come.
    """

    code: int
    text: str = ""
    messages: int = 0
    consumers: int = 0
    seconds: float = 0.0


class AmqpAsking:
    """One connection that is opened once. A context; from one thread."""

    def __init__(self, url: AmqpUrl, *, password: str | None, name: str, timeout_seconds: float) -> None:
        """`timeout_seconds`: for the connection, and for each answer. Raises SettingError for a wrong option of the URL."""
        self._session = _Session()
        self._timeout_seconds = timeout_seconds
        self._connection = AmqpConnection(parameters_for(url, password=password, name=name), self._session)
        self._is_started = False

    def open(self) -> Link:
        """Connect. The link is open, or says in the broker's words why it is not."""
        self._is_started = True
        self._connection.start()
        try:
            return self._session.links.get(timeout=self._timeout_seconds)
        except queue.Empty:
            return Link(Phase.CONNECTING, f"no answer within {self._timeout_seconds:g} s")

    @property
    def server(self) -> Mapping[str, Any]:
        """What the broker says of itself: product, version, capabilities. Empty before it is open."""
        return getattr(self._session.connection, "server_properties", None) or {}

    @property
    def certificate(self) -> Mapping[str, Any]:
        """The broker's certificate as `ssl` tells it. Empty without TLS, or where it is not verified."""
        transport = getattr(self._session.connection, "_transport", None)  # pika has no public name for it
        tell = getattr(getattr(transport, "_sock", None), "getpeercert", None)
        return (tell() if tell is not None else None) or {}

    def ask(self, question: Question) -> Answer:
        """Ask, and wait. Raises UnreachableError where no answer comes."""
        number = self._session.next_number()
        self._connection.post(lambda: self._session.ask(number, question))
        deadline = time.monotonic() + self._timeout_seconds
        try:
            while True:
                found, answer = self._session.answers.get(timeout=max(0.0, deadline - time.monotonic()))
                if found == number:
                    return answer
        except queue.Empty:
            raise UnreachableError(f"the broker did not answer within {self._timeout_seconds:g} s") from None

    def close(self) -> None:
        """Close the connection. Idempotent."""
        if self._is_started:
            self._connection.close(CLOSE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Session:
    """In the connection's thread, but for the two queues and the number."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.links: queue.SimpleQueue[Link] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[tuple[int, Answer]] = queue.SimpleQueue()
        self._number = 0

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def opened(self, connection: Connection) -> None:
        self.connection = connection
        self.links.put(Link(Phase.OPEN))

    def lost(self, link: Link) -> None:
        self.connection = None
        self.links.put(link)

    def blocked(self, reason: str) -> None:
        """Nothing is published here that must arrive."""

    def unblocked(self) -> None:
        """See `blocked`."""

    def ask(self, number: int, question: Question) -> None:
        if self.connection is not None:
            self.connection.channel(on_open_callback=lambda channel: self._ask_on(channel, number, question))

    def _ask_on(self, channel: Channel, number: int, question: Question) -> None:
        began = time.monotonic()

        def on_answer(frame: object) -> None:
            self.answers.put((number, _taken(frame, time.monotonic() - began)))
            if channel.is_open:
                channel.close()

        def on_closed(_: Channel, reason: Exception) -> None:
            if isinstance(reason, exceptions.ChannelClosedByBroker):
                seconds = time.monotonic() - began
                self.answers.put((number, Answer(reason.reply_code, words_of(reason), seconds=seconds)))

        channel.add_on_close_callback(on_closed)
        question(channel, on_answer)


def _taken(frame: object, seconds: float) -> Answer:
    method = getattr(frame, "method", None)
    return Answer(
        TAKEN,
        messages=getattr(method, "message_count", 0) or 0,
        consumers=getattr(method, "consumer_count", 0) or 0,
        seconds=seconds,
    )
