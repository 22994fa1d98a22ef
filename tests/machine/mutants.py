"""Rules left out of the product, one mutant each: the machine must notice every one.

Those of docs/agreement.md are `tests.property.mutants`; what is left out here concerns disks, journals and brokers. A mutant is a
list of (owner, name, replacement).
"""

from collections.abc import Iterable
from typing import Any

from consumer import starting, sweep
from consumer.barrier import Barrier
from consumer.starting import Start
from consumer.state import State
from consumer.target import Target
from producer import changelog, closing, epochs
from tests.property.mutants import MUTANTS as OF_AGREEMENT
from tests.property.mutants import Patch, always


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _only_the_top(change: Any, index: Any, excludes: Any, done: set[bytes]) -> Iterable[Any]:
    return iter(())


OF_THE_MACHINE: dict[str, list[Patch]] = {
    "contents are not durable before the swap": [(Target, "barrier", _nothing)],
    "names are not durable before the commit": [(Target, "names_barrier", _nothing)],
    "nothing is made durable": [(Barrier, "make_durable", _nothing), (Barrier, "make_all_durable", _nothing)],
    "a disk of another age goes unnoticed": [(starting, "_by_age", lambda disk, state: Start.RESOLVE)],
    "an epoch is drawn twice": [(epochs, "next_epoch", lambda highest, unix_seconds: max(highest, 1))],
    "what is below a directory that goes is not named": [(closing, "_emptying", _only_the_top)],
    "a scrub reads nothing": [(sweep, "drift_at", always(None))],
}

MUTANTS: dict[str, list[Patch]] = (
    OF_AGREEMENT
    | {"tombstones": [(State, "tombs", always({}))], "too-old": [(changelog, "reach", always(0))]}
    | OF_THE_MACHINE
)
"""The model's tombstones are of its twin's state; its too-old is the replica's half of the rule, this is the producer's."""

SEEN = (
    "base-before-jump", "compare-level", "correct-guesses", "nothing is made durable",
    "what is below a directory that goes is not named",
)  # fmt: skip
"""Mutants that stories from seeds notice soon. The others have stories of their own, in `needs`: they are seen by one in many."""

SEEN_SELDOM = {
    "whole-bucket": "an answer of one bucket is one message, which no broker tears",
    "close-questions": "hidden by the floor: see close-questions+floor-raised",
    "nonce": "hidden by the floor",
    "body-checked": "one storm of 1,600 in the model: a scenario of its own holds it",
    "fence": "nobody publishes under a lower epoch here, but by replays of what a queue had",
}
"""Of the others: why."""
