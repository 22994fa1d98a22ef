"""The model's mutants made in our own code: each leaves one rule of docs/agreement.md out (or several, joined by +).

A mutant is a set of (module, name, replacement); `tests.property.test_agreement_rules` applies it and wants to see it break.
Left out here: those of *since*, which is not built; `one-read` and `deletes-by-name` are the producer's: test_producer_rules.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from common.entries import Position
from consumer import agreement, asking, merging, planning
from consumer.values import Plan, Stale
from tests.memory_state import MemoryState

Patch = tuple[Any, str, Any]


def _mark_keeping_floor(stale: Any, buckets: Any, at: Position, last_level: int | None) -> dict[int, Stale]:
    marked = _MARK(stale, buckets, at, last_level)
    return {b: row._replace(floor=stale[b].floor) if b in stale else row for b, row in marked.items()}


def _level_again(standing: Any, levelled: Collection[int], bucket: int, answer: Any) -> bool:
    stale = standing.stale.get(bucket)
    return bucket not in levelled and (stale is None or agreement.floor_allows(stale, standing.epoch, answer.at))


def _plan_without_unmet(*args: Any) -> Plan:
    return replace(_FINISHED(*args), unmet={})


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def always(answer: Any) -> Callable[..., Any]:
    """A function that says the same whatever it is asked."""
    return lambda *args, **kwargs: answer


_MARK = agreement.mark
_FINISHED = planning._finished

WAIT_FOR_STREAM: Patch = (merging, "is_ahead", always(False))
NONCE: Patch = (asking.Asking, "expects", always(True))
FLOOR: Patch = (agreement, "floor_allows", always(True))
ONLY_STALE: Patch = (merging, "may_level", _level_again)
CLOSE_QUESTIONS: Patch = (asking.Asking, "close_all", _nothing)
FLOOR_RAISED: Patch = (agreement, "mark", _mark_keeping_floor)

MUTANTS: dict[str, list[Patch]] = {
    "wait-for-stream": [WAIT_FOR_STREAM],
    "nonce": [NONCE],
    "nonce+floor": [NONCE, FLOOR],
    "nonce+floor+only-stale": [NONCE, FLOOR, ONLY_STALE],
    "close-questions": [CLOSE_QUESTIONS],
    "close-questions+floor": [CLOSE_QUESTIONS, FLOOR],
    "close-questions+floor-raised": [CLOSE_QUESTIONS, FLOOR_RAISED],
    "tombstones": [(MemoryState, "tombs", always({}))],
    "newer-stays": [(merging, "stays_ours", always(False))],
    "plan": [(agreement, "is_unfinished", always(False))],
    "whole-bucket": [(merging, "is_whole", always(True))],
    "correct-guesses": [(planning, "_correct_below", _nothing), (planning, "_correct_above", _nothing)],
    "unmet": [(planning, "_finished", _plan_without_unmet)],
    "body-checked": [
        (merging, "is_wanted", lambda entry, answer, unmet: answer.path in unmet),
        (planning, "matches", always(True)),
    ],
    "compare-level": [(agreement, "may_compare", always(True))],
    "fence": [(agreement, "is_fenced", always(False))],
    "epoch-marks": [(agreement, "starts_from_ours", always(True))],
}
