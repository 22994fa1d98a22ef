"""Does: asks replicas for what a person wants of them, one command to each, and keeps what their reports say to that.

Whoever asks gets a ticket, and looks with it again and again. When nobody looks for a minute it is forgotten, and what was asked
goes on. Knows the publisher and what is published; decides nothing of its own.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from common.entries import Position
from common.errors import SettingError
from common.messages import NONCE_BYTES, Command, CommandVerb, Report
from common.transport.ports import Outgoing, Publisher, Route
from common.wire import codec
from producer import scrubs
from producer.fleet_view import GONE_SECONDS, FleetView, Word
from producer.journal import Journal
from producer.proofs import Proof, RecentDigests, proof_in
from producer.scrubs import Scrubbed, ScrubSeen

PROVE_SECONDS = 10.0
"""Who has not shown its digest by then does not answer."""
FORGOTTEN_SECONDS = 60.0
ASKED_LIMIT = 100
_SILENT = frozenset({Word.GONE, Word.NEW})


@dataclass(slots=True)
class Asked:
    """What somebody asked. `names`: of whom; `silent`: those of them that said nothing even then, and were not asked.
    `proofs`: each with the seconds that it took."""

    verb: CommandVerb
    nonce: bytes
    names: tuple[str, ...]
    silent: frozenset[str]
    at: float
    looked_at: float
    proofs: dict[str, tuple[Proof, float]] = field(default_factory=dict)
    scrubs: dict[str, ScrubSeen] = field(default_factory=dict)

    def is_over(self, now: float) -> bool:
        """Whether nothing more is waited for."""
        if self.verb is CommandVerb.SCRUB:
            return all(seen.is_ended for seen in self.scrubs.values())
        return now - self.at >= PROVE_SECONDS or len(self.proofs) + len(self.silent) == len(self.names)


class Commanding:
    """See the module. Owned by one thread; `now`: seconds of a steady clock."""

    def __init__(self, journal: Journal, recent: RecentDigests, publisher: Publisher) -> None:
        self._journal = journal
        self._recent = recent
        self._publisher = publisher
        self._asked: dict[str, Asked] = {}

    def begin(self, verb: CommandVerb, view: FleetView, now: float) -> str:
        """Ask all of these. Returns a ticket. Raises SettingError when too much is asked at once, NoRoomError."""
        self._forget(now)
        if len(self._asked) >= ASKED_LIMIT:
            raise SettingError(verb, f"{ASKED_LIMIT} at once", "fewer; try again in a minute")
        nonce = secrets.token_bytes(NONCE_BYTES)
        silent = frozenset(one.name for one in view.replicas if one.word in _SILENT)
        names = tuple(one.name for one in view.replicas)
        asked = self._asked[nonce.hex()] = Asked(verb, nonce, names, silent, now, now)
        for name in names:
            asked.scrubs[name] = ScrubSeen(Scrubbed.GONE if name in silent else Scrubbed.ASKED)
        self._send(asked, (name for name in names if name not in silent))
        return nonce.hex()

    def _send(self, asked: Asked, names: Iterable[str]) -> None:
        lineage = self._journal.stand.lineage
        for name in names:
            command = codec.encode(Command(lineage, name, asked.nonce, asked.verb))
            self._publisher.publish(Outgoing(Route.DIRECT, command, name))

    def hear(self, report: Report, now: float) -> None:
        """What one of them says."""
        for ticket, asked in self._asked.items():
            name = report.replica
            if name not in asked.scrubs or name in asked.silent:
                continue
            if asked.verb is CommandVerb.SCRUB:
                asked.scrubs[name] = scrubs.heard(asked.scrubs[name], ticket, report)
            elif name not in asked.proofs and _shows(report, ticket):
                stand = self._journal.stand
                proof = proof_in(report, stand.lineage, stand.position, self._recent)
                asked.proofs[name] = proof, now - asked.at

    def look(self, ticket: str, view: FleetView, now: float) -> Asked | None:
        """How far it is; None: there is no such one, or this process began anew. `view`: the fleet as it stands."""
        self._forget(now)
        asked = self._asked.get(ticket)
        if asked is None:
            return None
        asked.looked_at = now
        silent_seconds = {one.name: one.silent_seconds for one in view.replicas}
        for name, seen in asked.scrubs.items():
            asked.scrubs[name] = scrubs.waited(seen, silent_seconds.get(name, GONE_SECONDS), now - asked.at)
        return asked

    def _forget(self, now: float) -> None:
        self._asked = {name: one for name, one in self._asked.items() if now - one.looked_at < FORGOTTEN_SECONDS}


def _shows(report: Report, ticket: str) -> bool:
    proved = report.details.get("proved")
    return isinstance(proved, list) and ticket in proved


def position_told(position: Position) -> dict[str, int]:
    """A position, as JSON."""
    return {"epoch": position.epoch, "sequence": position.sequence}
