"""Carries out what was decided, in the sacred order: content and plan, names, index. The ack is the caller's, after that.

Knows the target and the state, and nothing of messages or brokers.
"""

import time
from collections.abc import Collection

from common.board import Board
from common.errors import NoRoomError
from common.names import escape
from common.patterns import patterns_of
from consumer.agreement import Decided
from consumer.change_log import ChangeLog
from consumer.changes import changes_in, via
from consumer.opening import resolve_left
from consumer.stagefiles import Age, new_token
from consumer.state import State
from consumer.target import Target
from consumer.values import Outcome, Plan, Reason, Step


class Applier:
    """One target and its state."""

    def __init__(self, target: Target, state: State, board: Board, change_log: ChangeLog | None = None) -> None:
        self.target = target
        self._state = state
        self._board = board
        self._change_log = change_log
        self.visible_at: float | None = None
        """When the last step stood under its names, in monotonic seconds; None: the disk had nothing to do."""

    def carry_out(self, decided: Decided) -> Outcome:
        """One step, durable when this returns; done again after a crash it comes to the same.

        Raises NoRoomError (nothing is committed, the step may be tried again) and HaltError.
        """
        step, plan = decided.step, decided.plan
        outcome, self.visible_at = Outcome(), None
        if plan.keeps:
            self.target.keep(plan.keeps)
        if plan.patterns is not None:
            # Before the names move: what this step brings may be excluded until now.
            self.target.protect(patterns_of(plan.patterns))
        if plan.is_empty:
            self._state.commit(step, plan, outcome)
        elif self._change_log is None:
            outcome = self._with_what_room_there_is(step, plan)
        else:
            before = self._state.rows(step.want.keys() | plan.corrections.keys())
            outcome = self._with_what_room_there_is(step, plan)
            self._change_log.write(changes_in(step, plan, outcome, before), via(step), time.time())
        self._tell(step, plan, outcome)
        return outcome

    def _with_what_room_there_is(self, step: Step, plan: Plan) -> Outcome:
        """What is kept of large files that went gives its room first."""
        try:
            return self._content_names_index(step, plan)
        except NoRoomError:
            if not self.target.store.drop_links():
                raise
        return self._content_names_index(step, plan)

    def _content_names_index(self, step: Step, plan: Plan) -> Outcome:
        """Content and plan, barrier, names, barrier, index; then the plan is finished."""
        token = new_token()
        staged = self.target.stage(plan, step.standing.commits, token)
        self.target.barrier(staged)
        outcome = self.target.swap(plan, staged)
        self.visible_at = time.monotonic()
        self.target.names_barrier()
        self._state.commit(step, plan, outcome, token=token)
        self.target.finish_plan()
        return outcome

    def give_up(self) -> None:
        """A step had no room and is not tried again: what it left half done is resolved as at a start. Raises NoRoomError."""
        resolve_left(self._state, self.target, lambda: self._board.tick("consumer"))
        self.target.settle(Age(self._state.standing().commits, self._state.token))
        self.target.protect(self._state.patterns)
        problems = self._board.problem_paths()
        self._solved(set(problems).difference(self._state.unmet(problems)))

    def _tell(self, step: Step, plan: Plan, outcome: Outcome) -> None:
        board = self._board
        if not step.drift:
            board.count("events_applied_total", len(step.want))
        if outcome.aside:
            board.count("foreign_set_aside_total", len(outcome.aside))
        for path in plan.mismatched:
            board.count("refused_total", label="body-mismatch")
            board.alarm(
                "body-mismatch", f"a content that came for {escape(path)} does not match its digest; it is asked for"
            )
        unmet_now = outcome.unmet.keys() | plan.unmet.keys()
        self._solved((step.want.keys() | plan.corrections.keys()) - unmet_now)
        for path, unmet in outcome.unmet.items():
            if unmet.reason is Reason.PROBLEM:
                board.problem(path, unmet.detail)

    def _solved(self, paths: Collection[bytes]) -> None:
        self._board.solved(*paths)
