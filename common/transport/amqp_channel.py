"""Keeps one channel open on a kept connection, and says how it stands. Knows the broker's reasons for closing a channel.

Channels close for reasons that pass: the queue is not there yet, or another consumes it. Then only the channel is opened anew,
and the connection stays.
"""

import logging
import random
from collections.abc import Callable
from typing import Protocol

import pika
from pika import exceptions
from pika.channel import Channel
from pika.connection import Connection

from common.logs import TURN
from common.transport.amqp_connection import REFUSED_RETRY_SECONDS, AmqpConnection, Job, words_of
from common.transport.backoff import Backoff
from common.transport.ports import Link, Phase, Wake

log = logging.getLogger("treecast.amqp")

MISSING_FIRST_SECONDS = 0.25
MISSING_LIMIT_SECONDS = 2.0
HELD_RETRY_SECONDS = 1.0
FAULT_FIRST_SECONDS = 0.2
FAULT_LIMIT_SECONDS = 10.0

NOT_FOUND = 404
ACCESS_REFUSED = 403
RESOURCE_LOCKED = 405
UNNAMED = "one whose name is not known"
"""Who holds a queue: the broker says only that somebody does."""


class ChannelUser(Protocol):
    """Whose channel it is. Everything here is called in the connection's thread."""

    def prepare(self, connection: Connection, proceed: Job) -> None:
        """There is a new connection, or something is missing. Call `proceed` when the channel may be opened."""

    def begin(self, channel: Channel) -> None:
        """The channel is open. Make it usable, and say `opened` to its keeper."""

    def end(self) -> None:
        """The channel is gone, and everything that was known about it. May come without a `begin`."""

    def resume(self) -> None:
        """The broker takes publishes again."""


class KeptChannel:
    """One channel at a time, for ever, until `close`. `link` may be read from any thread; `wake` is called when it changes."""

    def __init__(self, parameters: pika.ConnectionParameters, user: ChannelUser, *, wake: Wake, name: str) -> None:
        self.link = Link(Phase.CONNECTING)
        self.connection = AmqpConnection(parameters, self)
        self._user = user
        self._wake = wake
        self._name = name
        self._channel: Channel | None = None
        self._open_on: Connection | None = None
        self._closed_why: Link | None = None
        self._missing = Backoff(MISSING_FIRST_SECONDS, MISSING_LIMIT_SECONDS)
        self._faults = Backoff(FAULT_FIRST_SECONDS, FAULT_LIMIT_SECONDS)

    def usable(self) -> None:
        """The channel may be used now."""
        self._missing.reset()
        self._faults.reset()
        self._turn(Link(Phase.OPEN))

    def give_up(self, why: Link) -> None:
        """Close the channel for a reason that the broker did not say by closing it, and open it anew later."""
        if self._channel is not None and self._channel.is_open:
            self._closed_why = why
            self._channel.close()

    def close(self, timeout_seconds: float) -> None:
        """End the connection. Idempotent."""
        self.connection.close(timeout_seconds)
        self._turn(Link(Phase.CLOSED))

    def say_holder(self, holder: str) -> None:
        """Who holds the queue, while it is held."""
        if self.link.phase is Phase.HELD and self.link.detail != holder:
            self.link = Link(Phase.HELD, holder)
            self._wake()

    def opened(self, connection: Connection) -> None:
        """See Session."""
        self._open_on = connection
        self._prepare(connection)

    def lost(self, link: Link) -> None:
        """See Session."""
        self._channel = None
        self._open_on = None
        self._user.end()
        self._turn(link)

    def blocked(self, reason: str) -> None:
        """See Session."""
        self._turn(Link(Phase.BLOCKED, reason))

    def unblocked(self) -> None:
        """See Session."""
        is_usable = self._channel is not None and self._channel.is_open
        self._turn(Link(Phase.OPEN if is_usable else Phase.CONNECTING))
        self._user.resume()

    def _prepare(self, connection: Connection) -> None:
        self._user.prepare(connection, lambda: self._open(connection))

    def _open(self, connection: Connection) -> None:
        if connection is self._open_on and connection.is_open:
            connection.channel(on_open_callback=self._begin)

    def _begin(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_closed)
        self._user.begin(channel)

    def _on_closed(self, channel: Channel, reason: Exception) -> None:
        why, self._closed_why = self._closed_why, None
        if not isinstance(reason, exceptions.ChannelClosed) or channel is not self._channel:
            return  # the connection is lost or closed, and `lost` follows
        if isinstance(reason, exceptions.ChannelClosedByClient) and why is None:
            return  # we are ending
        link = closed_link(reason) if why is None else why
        self._channel = None
        self._user.end()
        self._turn(link)
        connection = self._open_on
        if connection is not None:
            again = self._prepare if link.phase is Phase.MISSING else self._open
            self.connection.later(self._wait_seconds(link.phase), lambda: again(connection))

    def _wait_seconds(self, phase: Phase) -> float:
        waits: dict[Phase, Callable[[], float]] = {
            Phase.MISSING: lambda: self._missing.next_seconds(random.random()),
            Phase.HELD: lambda: HELD_RETRY_SECONDS,
            Phase.REFUSED: lambda: REFUSED_RETRY_SECONDS,
        }
        return waits.get(phase, lambda: self._faults.next_seconds(random.random()))()

    def _turn(self, link: Link) -> None:
        old = self.link
        # Each attempt at a held queue ends as the last; it may have a name by now.
        if link == old or old.phase is Phase.CLOSED or link.phase is old.phase is Phase.HELD:
            return
        self.link = link
        level = logging.INFO if link.is_open or link.phase in {Phase.MISSING, Phase.CLOSED} else logging.WARNING
        log.log(level, "%s: %s%s", self._name, link.phase, f": {link.detail}" if link.detail else "", extra=TURN)
        self._wake()


def closed_link(reason: exceptions.ChannelClosed) -> Link:
    """Why the broker closed a channel, as a link."""
    text = words_of(reason)
    if reason.reply_code == NOT_FOUND:
        return Link(Phase.MISSING, text)
    if reason.reply_code == RESOURCE_LOCKED or "exclusive use" in reason.reply_text:
        return Link(Phase.HELD, UNNAMED)
    if reason.reply_code == ACCESS_REFUSED:
        return Link(Phase.REFUSED, text)
    return Link(Phase.CONNECTING, text)
