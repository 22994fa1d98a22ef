"""Does: tells the board how the producer stands: status, figures, readiness, and the alarm when the broker stays away.

It only reads the parts. Not more often than a person or a scraper could tell.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from common.board import Board
from common.transport.ports import Link, Phase, Publisher, Subscriber
from common.wire import versions
from producer import fleet_view
from producer.numbering import Stand
from producer.upstream import Upstream

BUSY_SECONDS = 0.1
REPLICAS_SECONDS = 0.5
BROKER_LIMIT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Facts:
    """How the producer stands at one moment."""

    stand: Stand
    dirty: int
    leads: bool
    is_base_complete: bool
    is_scan_complete: bool
    is_scanning: bool
    is_believed: bool
    """Whether the source's root is above doubt."""
    is_quiet: bool
    catch_up_window_seconds: Callable[[], float]
    """Costs some reading, so it is asked for now and then."""
    held: int = 0
    """How many paths are held."""
    unannounced: str = ""
    """What keeps the epoch from being announced, in one word; "" for nothing."""

    @property
    def is_ready(self) -> bool:
        """Whether it leads, has its whole tree in the index, and has announced its epoch."""
        return self.leads and self.is_base_complete and not self.unannounced


class Telling:
    """See the module. Owned by one thread; `now`: seconds of a steady clock."""

    def __init__(
        self,
        board: Board,
        publisher: Publisher,
        subscriber: Subscriber,
        upstream: Upstream,
        *,
        wire_pin: int | None = None,
    ) -> None:
        """Raises SettingError when the pinned format is one that this version does not write."""
        versions.writes((), wire_pin)
        self._wire_pin = wire_pin
        self._board = board
        self._publisher = publisher
        self._subscriber = subscriber
        self._members = upstream.members
        board.more = lambda: fleet_view.told(upstream.members.seen.view)
        self._told_at = self._told_replicas_at = float("-inf")
        self._told_quiet = False
        self._away_since: float | None = None

    def is_due(self, now: float, *, is_idle: bool, is_quiet: bool) -> bool:
        """Whether to tell again: whenever nothing else is to be done, now and then while there is, and at once when the quiet
        is over: somebody may end a run on that word."""
        return is_idle or now - self._told_at >= BUSY_SECONDS or (self._told_quiet and not is_quiet)

    def tell(self, facts: Facts, now: float) -> None:
        """Tell everything."""
        self._told_at, self._told_quiet = now, facts.is_quiet
        unconfirmed, unconfirmed_bytes = self._publisher.in_flight()
        position = facts.stand.position
        link = _worse(self._subscriber.link, self._publisher.link)
        self._judge_link(link, now)
        self._board.is_ready = facts.is_ready
        self._board.gauge("position", position.sequence)
        self._board.gauge("entries", facts.stand.entries)
        self._board.gauge("dirty_paths", facts.dirty)
        self._board.gauge("epoch", position.epoch)
        self._board.gauge("leading", float(facts.leads))
        self._board.gauge("listening", float(self._members.is_listening))
        self._board.gauge("unconfirmed_batches", unconfirmed)
        self._board.gauge("unconfirmed_bytes", unconfirmed_bytes)
        self._board.gauge("agreed", float(facts.is_ready))
        self._board.tell(
            state=_state(facts, link),
            position={"epoch": position.epoch, "sequence": position.sequence},
            agreed=facts.is_ready,
            dirty=facts.dirty,
            unconfirmed=unconfirmed,
            leading=facts.leads,
            base_complete=facts.is_base_complete,
            scan_complete=facts.is_scan_complete,
            scanning=facts.is_scanning,
            quiet=facts.is_quiet,
            entries=facts.stand.entries,
            held=facts.held,
            link={"phase": link.phase.value, "detail": link.detail},
            **self._now_and_then(facts, now),
        )

    def _now_and_then(self, facts: Facts, now: float) -> dict[str, Any]:
        """What costs more to find out."""
        if now - self._told_replicas_at < REPLICAS_SECONDS:
            return {}
        self._told_replicas_at = now
        self._board.gauge("catch_up_window_seconds", facts.catch_up_window_seconds())
        self._members.see(now)
        service = self._members.last_in_service
        return {
            "in_service": {
                "ready": service.ready,
                "members": service.members,
                "resting": [n for n, _ in service.resting],
            },
            "wire": versions.writes(self._members.wires(), self._wire_pin),
        }

    def _judge_link(self, link: Link, now: float) -> None:
        if link.is_open:
            self._away_since = None
            self._board.clear("broker")
            return
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since >= BROKER_LIMIT_SECONDS:
            why = "another producer leads:" if link.phase is Phase.HELD else link.phase.value
            self._board.alarm("broker", f"nothing can be published: {why} {link.detail}".rstrip())


def _worse(one: Link, other: Link) -> Link:
    return other if one.is_open else one


def _state(facts: Facts, link: Link) -> str:
    """One word for a person."""
    if not facts.is_believed:
        return "guarding"
    if not facts.is_base_complete:
        return "scanning"
    if link.phase is Phase.HELD and not facts.leads:
        return "waiting"
    if not link.is_open and link.phase is not Phase.HELD:
        return link.phase.value
    if not facts.leads:
        return "waiting"
    return facts.unannounced or "leading"
