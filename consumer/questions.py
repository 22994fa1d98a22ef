"""Does: sends a replica's questions to the producer. What is asked, and when, is decided by `asking` and `fetching`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from common.entries import Entry
from common.messages import Ask, Question
from common.transport.ports import Outgoing, Publisher, Route, Subscriber
from common.wire.codec import encode
from consumer import agreement, excluding
from consumer.asking import Asking, Wants
from consumer.state import State
from consumer.values import Reason


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose messages these are."""

    tree: str
    replica: str


class Questions:
    """See the module. Used from the loop's thread; times are monotonic seconds."""

    def __init__(
        self, identity: Identity, state: State, asking: Asking, publisher: Publisher, subscriber: Subscriber
    ) -> None:
        self._identity = identity
        self._state = state
        self._asking = asking
        self._publisher = publisher
        self._subscriber = subscriber

    @property
    def is_open(self) -> bool:
        """Whether a question would reach the producer, and its answer us."""
        return self._publisher.link.is_open and self._subscriber.link.is_open

    @property
    def may_ask(self) -> bool:
        """Whether a question would reach the producer that we follow, and its answer us."""
        standing = self._state.standing()
        return bool(standing.epoch) and not standing.is_forked and self.is_open

    def ask(
        self, now: float, *, not_before: float, with_contents: bool, is_merging: bool, is_silent: bool = True
    ) -> None:
        """Ask what is to be asked now for what is stale or missing; large contents aside. `is_silent`: nothing that has come
        waits."""
        self._asking.looked(now)
        if is_silent:
            self._asking.expire(now)
        standing = self._state.standing()
        if now < not_before or not (standing.stale or self._state.count_unmet().get(Reason.BODY)) or not self.may_ask:
            return
        wants = Wants(
            standing.stale,
            self._state.bucket_digest,
            self._missing_bodies,
            with_contents=with_contents,
            is_merging=is_merging,
            counts=self._state.bucket_counts,
            first=self._patterns_bucket(),
        )
        for nonce, ask in self._asking.next(wants, now, is_silent=is_silent):
            self.send(nonce, ask)

    def send(self, nonce: bytes, ask: Ask) -> None:
        """Send one question."""
        self.send_in(self._state.standing().epoch, nonce, ask)

    def send_in(self, epoch: int, nonce: bytes, ask: Ask) -> None:
        """Send one question in another epoch than the one that is followed: one that is on trial."""
        question = Question(self._identity.tree, epoch, self._identity.replica, nonce, ask, time.time_ns())
        self._publisher.publish(Outgoing(Route.UPSTREAM, encode(question)))

    def _patterns_bucket(self) -> int | None:
        """Where the patterns are, while they are not known and something might have to go."""
        return excluding.first_bucket(self._state.standing(), self._state) if self._state.counts.entries else None

    def _missing_bodies(self, limit: int, after: bytes) -> Mapping[bytes, Entry]:
        """Contents that travel whole, at paths at which we know that the master has them."""
        missing = self._state.missing.contents(limit, after=after, large=False)
        known = agreement.known_ones(self._state.standing(), self._state, list(missing))
        return {path: missing[path] for path in known}
