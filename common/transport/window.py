"""Decides what is unconfirmed and goes again. Knows tokens, tags and sizes; knows no broker, no message body and no clock.

A *token* is the publisher's name for a durable message, a *tag* the channel's number for one publish of it. After a lost
channel everything unconfirmed goes again at once; after a nack it goes again with back-off. In both cases in the order in
which it was first sent.
"""

from dataclasses import dataclass
from enum import Enum, auto
from itertools import takewhile

RETRY_FIRST_SECONDS = 0.5
RETRY_LIMIT_SECONDS = 5.0
NACKED_HOLDS_SECONDS = 5.0
"""A message that was nacked longer ago than this does not count as in flight: one bad queue must not stop the rest."""
NACKED_LIMIT_BYTES = 64 * 1024 * 1024
NACKED_LIMIT = 1000
"""Of those so many bytes and messages are kept. A queue that refuses for days must not fill our memory: who reads it syncs."""


class _State(Enum):
    WRITTEN = auto()
    NACKED = auto()
    AGAIN = auto()


@dataclass(slots=True)
class _Unconfirmed:
    size_bytes: int
    state: _State = _State.WRITTEN
    nacks: int = 0
    nacked_at: float | None = None


class Window:
    """What was published with a token and is not confirmed yet. Times are seconds of any one clock."""

    def __init__(self) -> None:
        self._messages: dict[int, _Unconfirmed] = {}  # in the order in which they were first sent
        self._tokens: dict[int, int] = {}  # tag to token, tags rising
        self._again = 0  # how many are in that state
        self._retry_at: float | None = None
        self._retry_seconds = RETRY_FIRST_SECONDS

    def __len__(self) -> int:
        """How many are unconfirmed, long nacked ones included."""
        return len(self._messages)

    def sent(self, token: int, tag: int, size_bytes: int) -> None:
        """Published, for the first time or again, as the channel's publish `tag`; tags rise within a channel."""
        message = self._messages.setdefault(token, _Unconfirmed(size_bytes))
        self._turn(message, _State.WRITTEN)
        self._tokens[tag] = token

    def acked(self, tag: int, multiple: bool) -> list[int]:
        """The broker has taken this publish, or all up to it. The tokens that this confirms, each exactly once, in order."""
        confirmed = []
        for token in self._take(tag, multiple):
            message = self._messages.pop(token, None)
            if message is None:
                continue
            confirmed.append(token)
            self._again -= message.state is _State.AGAIN
            if message.nacks:
                self._refused_no_more()
        return confirmed

    def nacked(self, tag: int, multiple: bool, now: float) -> None:
        """The broker, or one of its queues, has refused this publish, or all up to it."""
        for token in self._take(tag, multiple):
            message = self._messages.get(token)
            if message is None:
                continue
            self._turn(message, _State.NACKED)
            message.nacks += 1
            message.nacked_at = now if message.nacked_at is None else message.nacked_at
            if self._retry_at is None:
                self._retry_at = now + self._retry_seconds
                self._retry_seconds = min(self._retry_seconds * 2, RETRY_LIMIT_SECONDS)

    def give_up(self, now: float, limit_bytes: int = NACKED_LIMIT_BYTES) -> list[int]:
        """The oldest of what was nacked long ago, beyond the limit: their tokens, which are unconfirmed no more.

        The queues that took them have them; the one that refused them will see that something is missing. What awaits an
        answer is left: as a probe, it stands for the others.
        """
        long_nacked = {
            token: message.size_bytes
            for token, message in self._messages.items()
            if message.state is _State.NACKED and _is_old(message, now)
        }
        excess_bytes, excess = sum(long_nacked.values()) - limit_bytes, len(long_nacked) - NACKED_LIMIT
        given_up = []
        for token, size_bytes in long_nacked.items():
            if excess_bytes <= 0 and excess <= 0:
                break
            excess_bytes, excess = excess_bytes - size_bytes, excess - 1
            del self._messages[token]
            given_up.append(token)
        return given_up

    def channel_lost(self) -> None:
        """Tags mean nothing any more, and nothing that is unconfirmed will be confirmed: all of it goes again. Idempotent."""
        self._tokens.clear()
        self._refused_no_more()
        for message in self._messages.values():
            self._turn(message, _State.AGAIN)

    def to_publish_again(self, now: float) -> list[int]:
        """The tokens that are to be sent again now, in the order in which they were first sent; `sent` takes them off.

        What was lost: at once. What was nacked: when its back-off is over, once all of it, since the nack of one queue may
        hide that another missed it too; of what was nacked more than once only the oldest, as a probe. A confirm of
        anything that was nacked frees the rest.
        """
        if self._retry_at is not None and self._retry_at <= now:
            self._begin_retry()
        if not self._again:
            return []
        return [token for token, message in self._messages.items() if message.state is _State.AGAIN]

    def seconds_to_retry(self, now: float) -> float | None:
        """When `to_publish_again` may say more than now: in so many seconds, or None if nothing waits for its back-off."""
        return None if self._retry_at is None else max(0.0, self._retry_at - now)

    def in_flight(self, now: float) -> tuple[int, int]:
        """Count and bytes of what is unconfirmed, less what was first nacked over 5 s ago."""
        holding = [message.size_bytes for message in self._messages.values() if not _is_old(message, now)]
        return len(holding), sum(holding)

    def again_bytes(self) -> int:
        """Bytes of what is to be sent again now."""
        if not self._again:
            return 0
        return sum(message.size_bytes for message in self._messages.values() if message.state is _State.AGAIN)

    def _turn(self, message: _Unconfirmed, state: _State) -> None:
        self._again += (state is _State.AGAIN) - (message.state is _State.AGAIN)
        message.state = state

    def _take(self, tag: int, multiple: bool) -> list[int]:
        if not multiple:
            token = self._tokens.pop(tag, None)
            return [] if token is None else [token]
        taken = list(takewhile(lambda known: known <= tag, self._tokens))
        return [self._tokens.pop(known) for known in taken]

    def _begin_retry(self) -> None:
        self._retry_at = None
        is_probed = False
        for message in self._messages.values():
            if message.state is not _State.NACKED or (message.nacks > 1 and is_probed):
                continue
            is_probed = is_probed or message.nacks > 1
            self._turn(message, _State.AGAIN)

    def _refused_no_more(self) -> None:
        self._retry_at = None
        self._retry_seconds = RETRY_FIRST_SECONDS
        for message in self._messages.values():
            message.nacks = 0
            if message.state is _State.NACKED:
                self._turn(message, _State.AGAIN)


def _is_old(message: _Unconfirmed, now: float) -> bool:
    """Whether it was nacked, first, longer ago than it may hold the window."""
    return message.nacked_at is not None and now - message.nacked_at > NACKED_HOLDS_SECONDS
