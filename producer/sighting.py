"""Decides what is known of the fleet at one moment, as a value that any thread may look at: the loop only puts it together, which
costs next to nothing; how each replica stands is worked out by the first one who asks. Knows no journal and no clock.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from common.entries import BEFORE_ALL, Position
from common.messages import Lineage, Report
from producer import fleet_view
from producer.fleet_view import Deaf, FleetView, Heard
from producer.roster import Member


@dataclass(frozen=True)
class Sighting:
    """`heard_at`: when each member spoke last, `listened_until`: the last moment at which it could have been heard, in seconds of
    the same clock; `deaf`: why nobody can be heard, None: everybody can. `since`: of each sequence at which a member
    was level, when the first event after it was numbered; `unix`: both in unix seconds."""

    members: Mapping[str, Member]
    reports: Mapping[str, Report]
    heard_at: Mapping[str, float]
    listened_until: float
    lineage: Lineage
    here: Position
    since: Mapping[int, float]
    unix: float
    deaf: Deaf | None = None

    @cached_property
    def view(self) -> FleetView:
        """The fleet as it stood. Two threads may both work it out: that is one work too many, and no harm."""
        heard = (
            Heard(member, self.reports.get(name), max(0.0, self.listened_until - self.heard_at[name]))
            for name, member in self.members.items()
        )
        return fleet_view.see(heard, self.lineage, self.here, self._lag_seconds, self.unix, self.deaf)

    def _lag_seconds(self, level: Position) -> float | None:
        if level.sequence > self.here.sequence or level.epoch > self.lineage.epoch:
            return None
        if level.sequence == self.here.sequence:
            return 0.0
        since = self.since.get(level.sequence)
        return None if since is None else max(0.0, self.unix - since)


NOBODY = Sighting({}, {}, {}, 0.0, Lineage("", 0, b"", b""), BEFORE_ALL, {}, 0.0)
"""Before anything was looked at."""
