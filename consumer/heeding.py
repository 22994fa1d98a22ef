"""Does: heeds what the leader says beside the stream: how far it is, who may step out of service, what a person asks for there.

What does not come from the epoch and instance that is followed is not heeded, but for a call: whoever sends it is answered, by a
report that says nothing that reports do not say anyway. Knows the board; not the tree, and no verb by its name: those who carry
them out are handed in. Owned by the loop's thread.
"""

import logging
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from common.board import Board
from common.entries import Position
from common.messages import Batch, Call, Command, Downstream, Heartbeat, Lineage
from consumer import agreement
from consumer.readiness import Readiness
from consumer.values import Standing

log = logging.getLogger("treecast")

NONCES_LIMIT = 256
START_BYTES = 6
COMING_SECONDS = 60.0
"""So long a content is awaited of which nothing comes."""

CarryOut = Callable[[bytes], None]
"""Told of the nonce of a command."""


class Heeding:
    """See the module."""

    def __init__(self, replica: str, limit_seconds: float | None, board: Board, clock: Callable[[], float]) -> None:
        """`limit_seconds`: how far behind this replica may know itself to be and still be relied on; None: however far."""
        self._replica = replica
        self._board = board
        self._clock = clock
        self._readiness = Readiness(limit_seconds, int.from_bytes(secrets.token_bytes(START_BYTES), "big"))
        self._taken: deque[bytes] = deque(maxlen=NONCES_LIMIT)
        self._missing, self._missing_since = (0, 0), 0.0
        self._could_serve = self._was_resting = False
        self._called = ""
        self.verbs: Mapping[str, CarryOut] = {}

    # -- what comes
    def take(self, message: Downstream, standing: Standing) -> None:
        """Whatever comes, before anything else is made of it. `standing`: what is followed until then."""
        if isinstance(message, Call):
            self._called = message.lineage.instance.hex()
        elif isinstance(message, Command):
            self._obey(message, standing)
        elif isinstance(message, Batch | Heartbeat) and not _is_nobodys(message.lineage, standing):
            last = message.last if isinstance(message, Batch) else message.sequence
            self._readiness.heard(Position(message.lineage.epoch, last), self._clock())
            if isinstance(message, Heartbeat):
                self._readiness.granted(dict(message.resting).get(self._replica))

    def _obey(self, command: Command, standing: Standing) -> None:
        """A command for somebody else is passed over; one that has been taken is, too."""
        if command.replica != self._replica or command.nonce in self._taken:
            return
        reason = _refusal(command.lineage, standing)
        if not reason and command.verb not in self.verbs:
            reason = "command-verb"
        if reason:
            self._board.count("refused_total", label=reason)
            return
        self._taken.append(command.nonce)
        log.info("asked from beside the master: %s", command.verb)
        self.verbs[command.verb](command.nonce)

    # -- how it stands
    def turn(self, standing: Standing, *, missing: int, came_bytes: int, could_serve: bool) -> None:
        """Call it in each round. `missing`: how many contents the disk lacks; `came_bytes`: what came of large ones since the
        start. `could_serve`: it is ready but for what it is behind."""
        self._could_serve = could_serve
        if (missing, came_bytes) != self._missing:
            self._missing, self._missing_since = (missing, came_bytes), self._clock()
        # A content that does not come is the master's silence: it puts nobody out of service.
        lacks = missing and self._clock() - self._missing_since < COMING_SECONDS
        if standing.epoch and not (standing.stale or standing.is_forked or lacks):
            self._readiness.reached(standing.position)
        is_resting = self.is_resting
        if is_resting != self._was_resting:
            self._was_resting = is_resting
            if is_resting:
                log.warning("out of service: behind for %.0f s, and enough others are ready", self.behind_seconds)
            else:
                log.info("in service again")

    @property
    def is_resting(self) -> bool:
        """Whether this replica is out of service because it is behind."""
        return self._could_serve and self._readiness.is_resting(self._clock())

    @property
    def wants_rest(self) -> bool:
        """Whether it is too far behind to be relied on."""
        return self._could_serve and self._readiness.wants_rest(self._clock())

    @property
    def behind_seconds(self) -> float:
        """For how long a position has been known that is not reached."""
        return self._readiness.behind_seconds(self._clock())

    @property
    def news(self) -> tuple[object, ...]:
        """What makes a report worth sending at once."""
        return self.wants_rest, self.is_resting, self._called

    def details(self) -> dict[str, Any]:
        """For the report: which call it answers, and by which number it asks for leave, where it does."""
        found: dict[str, Any] = {"heartbeat_age_seconds": round(self._board.heartbeat_age_seconds(), 1)}
        if self._called:
            found["called"] = self._called
        if self.wants_rest:
            found["wants_rest"] = self._readiness.number(self._clock())
        return found


def _is_nobodys(lineage: Lineage, standing: Standing) -> bool:
    return agreement.is_fenced(standing, lineage) or agreement.is_of_another_lineage(standing, lineage)


def _refusal(lineage: Lineage, standing: Standing) -> str:
    """Why a command is not taken; "" if it is."""
    if agreement.is_fenced(standing, lineage):
        return "fenced"
    if agreement.is_of_another_lineage(standing, lineage):
        return "other-instance"
    return "not-followed" if lineage.epoch > standing.epoch else ""
