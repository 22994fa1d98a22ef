"""The laws of what is asked beside the stream: who proves its digest has that tree, and never do too many step out of service.

A proof is read from the report on its way; what is true comes from `reference`.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

from tests.machine.digests import tree_digest
from tests.machine.reference import Published, Spot, check
from tests.machine.wire import Promise, Said

MAY_REST = 1
"""Of two replicas, while half of all must be ready."""
WORD_SECONDS = 95.0
"""A minute on its way, 15 s in the leader's ear, and 20 s of the leave: so old the word may be that another one is ready."""


@dataclass
class InService:
    """What is known of who serves."""

    resting: set[str] = field(default_factory=set)
    ready_at: dict[str, float] = field(default_factory=dict)
    """When each said last that it is ready."""
    began: int = 0
    """How often somebody stepped out."""

    def promised(self, promise: Promise) -> None:
        """A heartbeat says who may step out: half of all the leader knows stay, rounded up."""
        must_stay = (promise.members + 1) // 2
        is_kept = len(promise.resting) <= promise.members - must_stay and promise.ready <= promise.members
        check(is_kept, f"too many may step out of service at once: {promise}")

    def heard(self, said: Said, published: Published, now: float, *, is_spoiled: bool) -> None:
        """A replica reports. `is_spoiled`: a bug has spoiled its index, and nobody knows yet."""
        if said.details.get("ready") is True:
            self.ready_at[said.replica] = now
        if "proved" in said.details and not is_spoiled and not said.document["stale"]:
            spot = Spot(said.epoch, said.sequence, said.instance)
            tree = published.history.get(spot)
            check(tree is not None, f"{said.replica} proves a tree at {spot[:2]}, which is no boundary of the stream")
            salt = published.salts[spot.epoch, spot.instance]
            is_true = said.details["digest"] == tree_digest(salt, tree or {}, published.rules[spot]).hex()
            check(is_true, f"{said.replica} proves a digest at {spot[:2]} that is not of the tree there")

    def check(self, resting: Collection[str], now: float) -> None:
        """These are out of service because they are behind."""
        check(len(resting) <= MAY_REST, f"all step out of service: {sorted(resting)}")
        for name in set(resting) - self.resting:
            others = [at for other, at in self.ready_at.items() if other != name]
            check(others and now - max(others) < WORD_SECONDS, f"{name} steps out of service, and no other is ready")
            self.began += 1
        self.resting = set(resting)
