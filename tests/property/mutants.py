"""The model's mutants made in our own code: each leaves one rule of docs/agreement.md out (or several, joined by +).

A mutant is a set of (module, name, replacement); `tests.property.test_agreement_rules` applies it and wants to see it break.
`one-read` and `deletes-by-name` are the producer's: test_producer_rules. `too-old` is the replica's half: it does not listen.
"""

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from common.entries import Position
from common.messages import Since
from consumer import agreement, asking, gathering, holds, merging, planning
from consumer.values import Outcome, Plan, Reason, Stale, Standing, Step
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


def _mark_moving_base(stale: Any, buckets: Any, at: Position, last_level: int | None) -> dict[int, Stale]:
    return {bucket: Stale(at, last_level) for bucket in buckets} | {
        b: row for b, row in stale.items() if b not in buckets
    }


def _with_base(marking: Callable[..., Step]) -> Callable[..., Step]:
    """Where the rule leaves no base, the sequence at which the replica stands is one."""

    def marked(*args: Any) -> Step:
        step = marking(*args)
        if not step.marked:
            return step
        return replace(
            step, standing=_based(args[0] if isinstance(args[0], Standing) else args[0].standing, step.standing)
        )

    return marked


def _based(before: Standing, after: Standing) -> Standing:
    marked = [bucket for bucket in after.stale if after.stale[bucket].floor == after.position]
    return replace(after, stale={**after.stale, **_MARK(before.stale, marked, after.position, after.sequence)})


def _jump_with_base_behind(standing: Standing, run: Any) -> Step:
    return agreement.distrust_all(standing, run.start, sequence=run.start, head=run.prev, digest=run.before)


def _left_plan_with_base(standing: Standing, buckets: Any) -> Standing:
    stale = _MARK(standing.stale, buckets, standing.position, standing.sequence)
    return replace(standing, stale=stale, proved=None)


def _of_one_question(part: Since) -> gathering.Key:
    return gathering.Key(part.nonce, 0, 0, b"")


def _counted(coming: gathering.Coming, part: Since) -> bool:
    return len(coming.parts) == part.of


def _plan_without(reason: Reason) -> Callable[..., Plan]:
    """A plan that forgets what is unmet for this reason."""

    def finished(*args: Any) -> Plan:
        plan = _FINISHED(*args)
        return replace(plan, unmet={path: why for path, why in plan.unmet.items() if why.reason is not reason})

    return finished


def _commit_without_problems(state: Any, step: Step, plan: Plan, outcome: Outcome, **rest: Any) -> None:
    _COMMIT(state, step, plan, Outcome(), **rest)


def _commit_without_absent(state: Any, step: Step, plan: Plan, outcome: Outcome, **rest: Any) -> None:
    goal = {**plan.corrections, **{path: told.entry for path, told in step.want.items()}}
    present = {path: why for path, why in {**plan.unmet, **outcome.unmet}.items() if goal[path] is not None}
    _COMMIT(state, step, replace(plan, unmet=present), Outcome(), **rest)


def _levelling_unjudged(*args: Any) -> Any:
    standing, view, levelled, want, _ = args
    return _LEVELLING(standing, view, levelled, want, holds.LET_GO)


def _going_without_corrections(goal: holds.Goal, standing: Standing) -> Any:
    return {path: entry for path, entry in _GOING(goal, standing).items() if path in goal.want}


def _follow_with(*kept: str) -> Callable[..., Step]:
    """A follow that takes these over from the old epoch."""

    def follow(standing: Standing, view: Any, run: Any) -> Step:
        step = _FOLLOW(standing, view, run)
        old = {name: getattr(standing, name) for name in kept}
        return replace(step, standing=replace(step.standing, **old))

    return follow


def _fork_and_go_on(standing: Standing, run: Any) -> Any:
    return agreement.Decided(Step(replace(standing, proved=None), alarm="fork"))


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


def _leave_open(questions: asking.Asking) -> None:
    """All begins anew, but for the questions that are open."""
    questions.silences, questions.digests_answered = 0, False


def always(answer: Any) -> Callable[..., Any]:
    """A function that says the same whatever it is asked."""
    return lambda *args, **kwargs: answer


_MARK = agreement.mark
_FINISHED = planning._finished
_COMMIT = MemoryState.commit
_LEVELLING = merging._levelling
_GOING = holds._going
_FOLLOW = agreement.follow

WAIT_FOR_STREAM: Patch = (merging, "is_ahead", always(False))
NONCE: Patch = (asking.Asking, "expects", always(True))
FLOOR: Patch = (agreement, "floor_allows", always(True))
ONLY_STALE: Patch = (merging, "may_level", _level_again)
CLOSE_QUESTIONS: Patch = (asking.Asking, "close_all", _leave_open)
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
    "base-before-jump": [(agreement, "jump", _jump_with_base_behind)],
    "base-kept": [(agreement, "mark", _mark_moving_base)],
    "base-covers": [(merging, "covers", always(True))],
    "base-not-over-epochs": [(agreement, "follow", _with_base(agreement.follow))],
    "base-not-after-plan": [(agreement, "after_left_plan", _left_plan_with_base)],
    "base-not-after-divergence": [(agreement, "diverged", _with_base(agreement.diverged))],
    "too-old": [(merging, "is_too_old", always(False))],
    "all-parts": [(gathering, "is_whole", always(True))],
    "one-answer": [(gathering, "key_of", _of_one_question), (gathering, "is_whole", _counted)],
    "problem-is-unmet": [(MemoryState, "commit", _commit_without_problems)],
    "absent-unmet": [(MemoryState, "commit", _commit_without_absent)],
    "absence-stays": [(holds, "absences", always({}))],
    "held-is-unmet": [(planning, "_finished", _plan_without(Reason.HELD))],
    "needs-held": [(holds, "_needing", always({}))],
    "answers-judged": [(merging, "_levelling", _levelling_unjudged)],
    "corrections-judged": [(holds, "_going", _going_without_corrections)],
    "released-travels": [(holds, "is_all_released", always(False))],
    "released-of-epoch": [(agreement, "follow", _follow_with("released"))],
    "fork-stops": [(agreement, "_fork", _fork_and_go_on)],
    "fork-heals": [(agreement, "follow", _follow_with("is_forked"))],
}
