"""Decides who may step out of service because it is behind: never so many that too few are ready, whatever comes in which order.

A replica steps out only while it has leave, and leave ends by itself 20 s after it asked, by its own clock. So whoever has
leave, or says that it is not ready, counts as out; leave is given while enough are surely ready without the one who gets it.
Knows names and numbers; no messages, no clock. `now`: seconds of a steady clock.
"""

from collections.abc import Collection
from dataclasses import dataclass
from math import ceil
from typing import NamedTuple

from common.messages import REST_LEASE_SECONDS, RESTING_LIMIT

HEARD_SECONDS = 15.0
"""Who has said nothing for so long is not counted on. A replica reports every 5 s."""


class InService(NamedTuple):
    """What a heartbeat says: so many are ready of so many members, and who may rest, each with the number by which it asked."""

    ready: int = 0
    members: int = 0
    resting: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Said:
    """What a replica said last. `asks`: the number by which it asks for leave; None: it does not."""

    is_ready: bool
    asks: int | None
    at: float


class Resting:
    """See the module. Owned by one thread."""

    def __init__(self, floor_share: float) -> None:
        """`floor_share`: of all members, so many must be ready, 0 to 1."""
        self._floor_share = floor_share
        self._said: dict[str, _Said] = {}
        self._leave: dict[str, float] = {}
        """Until when each may be out of service by leave that was given."""
        self._began: float | None = None
        self.last = InService()
        """What was decided last."""

    def hear(self, name: str, *, is_ready: bool, asks: int | None, now: float) -> bool:
        """A replica reported. Returns whether it asks, and did not before: then leave should not wait for long."""
        before = self._said.get(name)
        self._said[name] = _Said(is_ready, asks, now)
        return asks is not None and (before is None or before.asks is None)

    def forget(self, name: str) -> None:
        """It belongs to the fleet no more. Idempotent. Leave that it has lasts: it may be back."""
        self._said.pop(name, None)

    def decide(self, members: Collection[str], now: float) -> InService:
        """Who is in service now, and who gets leave."""
        self._began = now if self._began is None else self._began
        self._leave = {name: until for name, until in self._leave.items() if until > now}
        heard = {name: self._said[name] for name in sorted(members) if self._is_heard(name, now)}
        granted = self._granted(heard, ceil(self._floor_share * len(members)), now)
        self._leave |= {name: heard[name].at + REST_LEASE_SECONDS for name in granted}
        ready = sum(said.is_ready for said in heard.values())
        resting = tuple((name, said.asks) for name, said in heard.items() if name in granted and said.asks is not None)
        self.last = InService(ready, len(members), resting)
        return self.last

    def _is_heard(self, name: str, now: float) -> bool:
        return name in self._said and now - self._said[name].at < HEARD_SECONDS

    def _granted(self, heard: dict[str, _Said], floor: int, now: float) -> set[str]:
        """Those who are out stay out while that leaves enough who could serve; then, one by one, others as far as enough are
        ready without them."""
        surely = {name for name, said in heard.items() if said.is_ready and name not in self._leave}
        asking = [name for name, said in heard.items() if said.asks is not None]
        out = [name for name in asking if name not in surely]
        spare = min(len(surely) + len(out) - floor, RESTING_LIMIT)
        granted = set(out[: max(0, spare)])
        if self._may_begin(now):
            room = min(len(surely) - floor, RESTING_LIMIT - len(granted))
            granted.update([name for name in asking if name in surely][: max(0, room)])
        return granted

    def _may_begin(self, now: float) -> bool:
        """Whether leave that an earlier producer gave has ended: until then nobody knows who has it."""
        return self._began is not None and now - self._began >= REST_LEASE_SECONDS
