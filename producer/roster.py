"""Decides who belongs to the fleet: who was added, or has ever reported, and was not forgotten. Knows no broker, no disk.

`now`: seconds of one steady clock, which begins anew with the process. `unix`: seconds since 1970 on the producer's clock, for
what must outlive it. What a replica says of itself is untrusted: what makes no sense is passed over.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from common.entries import Position
from common.labels import Labels, parse_labels
from common.messages import Report

MEMBERS_LIMIT = 10_000
EPHEMERAL_LIFE_SECONDS = 600.0
"""An ephemeral replica is forgotten so long after its last word."""
NEW_LIMIT_SECONDS = 600.0
"""A replica that was added is missed when it has not reported for so long."""
SAVE_SECONDS = 30.0
"""How old what is durable of a replica's last word may be; who belongs to the fleet is durable at once."""
UNNOTICED_SECONDS = 45.0
"""A way that is broken may look open for so long: three heartbeats of the broker's."""
VERSION_LIMIT_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class Member:
    """What is durable of a replica. `heard`, `added`: unix; `heard` 0: it never reported.

    `level`: the last position at which nothing was known to be stale there, and no content missing.
    """

    name: str
    labels: Labels = field(default_factory=dict)
    is_ephemeral: bool = False
    added: float = 0.0
    heard: float = 0.0
    level: Position = Position(0, 0)
    version: str = ""
    wire: int = 0


class Roster:
    """See the module. Owned by one thread."""

    def __init__(self, members: Iterable[Member], now: float) -> None:
        """`members`: as they were saved."""
        self._members = {member.name: member for member in members}
        self._heard_at = dict.fromkeys(self._members, now)
        """When each spoke last; before it does, when this process began to listen."""
        self._deaf_at: float | None = None
        """Since when nobody can be heard; None: everybody can."""
        self._have_told: set[str] = set()
        """Those whose last report had labels of their own: one without any has taken them back."""
        self._unsaved: set[str] = set()
        self._gone: set[str] = set()
        self._is_urgent = False
        self._saved_at = now

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def members(self) -> list[Member]:
        """All, by name."""
        return [self._members[name] for name in sorted(self._members)]

    def listen(self, now: float) -> None:
        """From here on replicas can be heard: until now nobody's silence meant anything."""
        self._heard_at = dict.fromkeys(self._heard_at, now)
        self._deaf_at = None

    def deafen(self, now: float) -> None:
        """Nobody can be heard, since somebody was heard last (or somewhat later): nobody's silence grows. Idempotent."""
        if self._deaf_at is None:
            last = max(self._heard_at.values(), default=now)
            self._deaf_at = min(now, max(last, now - UNNOTICED_SECONDS))

    def listened_until(self, now: float) -> float:
        """The last moment at which somebody could have been heard."""
        return now if self._deaf_at is None else self._deaf_at

    def known(self) -> tuple[dict[str, Member], dict[str, float]]:
        """All by name, and when each spoke last, as they are now."""
        return self._members.copy(), self._heard_at.copy()

    def missed(self, now: float, unix: float, gone_seconds: float) -> list[Member]:
        """Those that should be there and are not, by name: silent for so long, or, once added, never heard of in ten minutes. One
        that is ephemeral never is."""
        missed = [
            member
            for name, member in self._members.items()
            if not member.is_ephemeral
            and self.silent_seconds(name, now) >= gone_seconds
            and (member.heard or unix - member.added >= NEW_LIMIT_SECONDS)
        ]
        return sorted(missed, key=lambda member: member.name)

    def wires(self) -> list[int]:
        """The newest formats that the members can read, as far as they ever said."""
        return [member.wire for member in self._members.values() if member.wire]

    def silent_seconds(self, name: str, now: float) -> float:
        """How long this member has said nothing, as far as somebody listened."""
        return max(0.0, self.listened_until(now) - self._heard_at[name])

    def spoke_seconds(self, name: str, now: float) -> float:
        """How long ago this member spoke, or this process began to listen; whether or not it could have been heard since."""
        return now - self._heard_at[name]

    # -- what changes it

    def hear(self, report: Report, now: float, unix: float) -> None:
        """Somebody reported: from now on it belongs to the fleet. Beyond the limit nobody is let in."""
        before = self._members.get(report.replica)
        if before is None and len(self._members) >= MEMBERS_LIMIT:
            return
        known = before or Member(report.replica, added=unix)
        after = replace(
            known,
            labels=self._labels(report, known.labels),
            is_ephemeral=report.details.get("ephemeral") is True,
            heard=unix,
            level=report.position if is_level(report) else known.level,
            version=report.version[:VERSION_LIMIT_CHARACTERS],
            wire=report.wire,
        )
        self._put(after, is_urgent=before is None or _identity(before) != _identity(after))
        self._heard_at[report.replica] = now

    def _labels(self, report: Report, known: Labels) -> Labels:
        """What the replica says of itself; where it never said anything, what a person did."""
        told = _labels_in(report)
        if told is None or not (told or report.replica in self._have_told):
            return known
        (self._have_told.add if told else self._have_told.discard)(report.replica)
        return told

    def add(self, name: str, labels: Labels, now: float, unix: float) -> Member:
        """A person says that this replica belongs to the fleet; labels, if any, are set until it tells its own. Idempotent."""
        known = self._members.get(name)
        member = replace(known or Member(name, added=unix), labels=labels or (known.labels if known else {}))
        self._put(member, is_urgent=member != known)
        self._heard_at.setdefault(name, now)
        return member

    def forget(self, name: str) -> bool:
        """It belongs to the fleet no more, until it reports again. Returns whether it did."""
        if self._members.pop(name, None) is None:
            return False
        self._heard_at.pop(name)
        self._unsaved.discard(name)
        self._have_told.discard(name)
        self._gone.add(name)
        self._is_urgent = True
        return True

    def expired(self, now: float) -> list[str]:
        """The ephemeral ones that have been silent for too long."""
        ephemeral = (name for name, member in self._members.items() if member.is_ephemeral)
        return [name for name in ephemeral if self.silent_seconds(name, now) >= EPHEMERAL_LIFE_SECONDS]

    def _put(self, member: Member, *, is_urgent: bool) -> None:
        self._members[member.name] = member
        self._unsaved.add(member.name)
        self._gone.discard(member.name)
        self._is_urgent = self._is_urgent or is_urgent

    # -- what is to be durable

    def to_save(self, now: float, *, at_once: bool = False) -> tuple[list[Member], list[str]] | None:
        """Who changed, and who was forgotten, when it is time to save that; None: it is not. Then call `saved`."""
        is_due = self._is_urgent or at_once or now - self._saved_at >= SAVE_SECONDS
        if not is_due or not (self._unsaved or self._gone):
            return None
        return [self._members[name] for name in sorted(self._unsaved)], sorted(self._gone)

    def saved(self, now: float) -> None:
        """What `to_save` told is durable."""
        self._unsaved, self._gone, self._is_urgent, self._saved_at = set(), set(), False, now


def is_level(report: Report) -> bool:
    """Whether the disk there shows everything up to the reported position, but for what is held or cannot be written."""
    return report.position.epoch > 0 and report.stale_buckets == 0 and not report.details.get("unmet_body")


def _labels_in(report: Report) -> Labels | None:
    """None where what is said makes no sense."""
    try:
        return parse_labels(report.details.get("labels", ""))
    except ValueError:
        return None


def _identity(member: Member) -> tuple[Labels, bool]:
    return member.labels, member.is_ephemeral
