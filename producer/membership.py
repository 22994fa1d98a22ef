"""Does: keeps the roster: whom reports bring in, whom a person adds or forgets, whose queue goes with that; and what it makes of
them, the fleet as it stands. Knows journal, publish port and board; decides nothing of its own.
"""

import logging
import time
from collections.abc import Callable
from contextlib import suppress

from common.board import Board
from common.errors import NoRoomError, SettingError, StoppedError
from common.labels import Labels
from common.messages import Report
from common.names import is_name
from common.setting_kinds import NAME_ALLOWED
from common.transport.ports import Link, Phase, Publisher, Subscriber
from common.wire.header import INTEGER_LIMIT
from producer.fleet import Fleet
from producer.fleet_view import GONE_SECONDS, Deaf, FleetView
from producer.journal import Journal
from producer.resting import InService, Resting
from producer.roster import Member, Roster
from producer.sighting import NOBODY, Sighting

log = logging.getLogger("treecast")

TEND_SECONDS = 1.0
DROPPED_AGAIN_SECONDS = 7 * 86400.0
"""So long after a replica was forgotten each start of the producer deletes its queue again: the broker may have been away."""
READY_FLOOR = 0.5
GONE_ALARM = "replicas-gone"
NAMED_IN_ALARM = 10


class Membership:
    """See the module. Owned by one thread; `now`: seconds of a steady clock."""

    def __init__(
        self,
        journal: Journal,
        fleet: Fleet,
        board: Board,
        *,
        publisher: Publisher,
        subscriber: Subscriber,
        clock: Callable[[], float] | None = None,
        ready_floor: float = READY_FLOOR,
    ) -> None:
        """`clock`: unix seconds; None: the system's. `ready_floor`: the share of all that stays ready, whoever is behind."""
        self._journal = journal
        self._fleet = fleet
        self._board = board
        self._publisher = publisher
        self._subscriber = subscriber
        self._clock = clock or _unix
        self._roster = Roster(journal.roster.members(), 0.0)
        self._queues_to_drop = journal.roster.forgotten(self._clock() - DROPPED_AGAIN_SECONDS)
        """An earlier run may have ended before the broker heard of it."""
        self._resting = Resting(ready_floor)
        self._roster.deafen(0.0)
        self._deaf: Deaf | None = Deaf(None, Phase.CONNECTING, "")
        self.seen = NOBODY
        """The fleet as it was seen last, at most a second ago: for whoever reads it in another thread."""
        self._since: dict[int, float] = {}
        self._tend_at = float("-inf")

    def hear(self, report: Report, now: float) -> bool:
        """Somebody reported. Returns whether a heartbeat should come soon: it asks to step out of service, and did not before."""
        self._roster.hear(report, now, self._clock())
        asks = report.details.get("wants_rest")
        return self._resting.hear(
            report.replica,
            is_ready=report.details.get("ready") is True,
            asks=asks if type(asks) is int and 0 <= asks <= INTEGER_LIMIT else None,
            now=now,
        )

    def known(self) -> frozenset[str]:
        """Those that have ever reported."""
        return frozenset(member.name for member in self._roster.members() if member.heard)

    def in_service(self, now: float) -> InService:
        """How many are ready, and who may step out of service: for the heartbeat that goes now."""
        silent_seconds = self._roster.silent_seconds
        counted = [
            one.name
            for one in self._roster.members()
            if not one.is_ephemeral or silent_seconds(one.name, now) < GONE_SECONDS
        ]
        return self._resting.decide(counted, now)

    @property
    def last_in_service(self) -> InService:
        """What the last heartbeat said of that."""
        return self._resting.last

    def tend(self, now: float) -> None:
        """Make durable what changed, forget who is to be forgotten, alarm for who is gone. Raises as the journal does."""
        self._listen(now)
        self._save(now, at_once=False)
        if now < self._tend_at:
            return
        self._tend_at = now + TEND_SECONDS
        for name in self._roster.expired(now):
            log.info("the ephemeral replica %s is forgotten: it said nothing for 10 minutes", name)
            self._drop(name)
        if self.is_listening:
            while self._queues_to_drop:
                if (name := self._queues_to_drop.pop()) not in self._roster:
                    self._publisher.drop_queue(name)
        self._alarm(now)

    @property
    def is_listening(self) -> bool:
        """Whether replicas can be heard, as of the last round."""
        return self._deaf is None

    def close(self) -> None:
        """Make durable all that is known, as far as there is room. Idempotent."""
        with suppress(NoRoomError):
            self._save(0.0)

    def view(self, now: float) -> FleetView:
        """The fleet as it stands."""
        return self.see(now).view

    def see(self, now: float) -> Sighting:
        """What is known of it now, for whoever wants to know how it stands."""
        stand, (members, heard_at) = self._journal.stand, self._roster.known()
        self._look_up({member.level.sequence for member in members.values()}, stand.sequence)
        self.seen = Sighting(
            members,
            self._fleet.last_reports(),
            heard_at,
            self._roster.listened_until(now),
            stand.lineage,
            stand.position,
            self._since,
            self._clock(),
            self._deaf,
        )
        return self.seen

    def _look_up(self, levels: set[int], here: int) -> None:
        """When the first event after each of these sequences was numbered: that stays so, so each is looked up once."""
        known, found = self._since, dict[int, float]()
        for level in levels:
            since = known.get(level)
            if since is None and level < here:
                since = self._journal.unix_after(level)
            if since is not None:
                found[level] = since
        self._since = found

    def wires(self) -> list[int]:
        """The newest formats that the members can read: whoever belongs to the fleet must be able to read what is written."""
        return self._roster.wires()

    # -- what a person asks

    def add(self, name: str, labels: Labels, now: float) -> Member:
        """It belongs to the fleet from now on, and its queue keeps what is published. Idempotent. Raises SettingError."""
        if not is_name(name):
            raise SettingError("ID", name, NAME_ALLOWED)
        member = self._roster.add(name, labels, now, self._clock())
        self._publisher.make_queue(name)
        self._save(now)
        self.see(now)
        return member

    def forget(self, name: str, now: float) -> None:
        """It belongs to the fleet no more, and its queue goes. Raises StoppedError while it speaks: it would be back at once."""
        if name not in self._roster:
            raise SettingError("ID", name, "a replica of this fleet; see: treecast replica list")
        report, spoke_seconds = self._fleet.report_of(name), self._roster.spoke_seconds(name, now)
        if report is not None and spoke_seconds < GONE_SECONDS:
            raise StoppedError(
                f"replica {name} spoke {spoke_seconds:.0f} s ago: it would be back with its next word; stop it, wait"
                f" {GONE_SECONDS:.0f} s, then: treecast replica forget {name}"
            )
        self._drop(name)
        self._save(now)
        self.see(now)

    # -- inner

    def _save(self, now: float, *, at_once: bool = True) -> None:
        if (unsaved := self._roster.to_save(now, at_once=at_once)) is not None:
            unix = self._clock()
            self._journal.roster.save(*unsaved, unix, keep_since=unix - DROPPED_AGAIN_SECONDS)
            self._roster.saved(now)

    def _listen(self, now: float) -> None:
        """While the upstream queue is not ours nobody can be heard, so nobody's silence counts, and means nothing afterwards."""
        way = self._way
        if not way.is_open:
            self._roster.deafen(now)
            since = self._clock() - (now - self._roster.listened_until(now)) if self._deaf is None else self._deaf.since
            self._deaf = Deaf(since, way.phase, way.detail)
        elif self._deaf is not None:
            self._roster.listen(now)
            self._deaf = None

    @property
    def _way(self) -> Link:
        """The way that replicas' words come. A broker that takes nothing of ours takes nothing of anybody's."""
        own = self._publisher.link
        return own if own.phase is Phase.BLOCKED and self._subscriber.link.is_open else self._subscriber.link

    def _drop(self, name: str) -> None:
        self._roster.forget(name)
        self._fleet.forget(name)
        self._resting.forget(name)
        self._publisher.drop_queue(name)

    def _alarm(self, now: float) -> None:
        gone = self._roster.missed(now, self._clock(), GONE_SECONDS)
        if not gone:
            self._board.clear(GONE_ALARM)
            return
        names = [f"{one.name} since {_moment(one.heard or one.added)}" for one in gone[:NAMED_IN_ALARM]]
        more = f" and {len(gone) - NAMED_IN_ALARM} more" if len(gone) > NAMED_IN_ALARM else ""
        self._board.alarm(GONE_ALARM, f"no report for {GONE_SECONDS:.0f} s from {', '.join(names)}{more}")


def _unix() -> float:
    return time.time()


def _moment(unix: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(unix))
