"""A replica's hook while the replica runs: begins runs between two steps, each in a thread of its own, and keeps account.

When a run begins is decided in `hook_timing`; what waits for one is in the state. Nothing here waits for a run, but for a moment
at the end of the process.
"""

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import Any

from common.board import Board
from common.errors import NoRoomError
from common.hooks import HookCommand
from common.settings import ConsumeSettings
from consumer.hook_calls import Call, Came, Facts, Result
from consumer.hook_command import CommandCall
from consumer.hook_record import Pending, collapsed
from consumer.hook_request import RequestCall
from consumer.hook_timing import HookTiming, Seen
from consumer.state import State
from consumer.values import Reason

log = logging.getLogger("treecast")

TELL_SECONDS = 0.25
CLOSE_SECONDS = 1.5
"""So long the end of the process waits for a run that is told to end."""


class _Run:
    """One run in its thread."""

    def __init__(self, call: Call, pending: Pending) -> None:
        self.number = pending.number
        self.result: Result | None = None
        """What came of it, once it is over."""
        self._call = call
        self._raw = pending.raw
        self._thread = threading.Thread(target=self._tell, name="hook", daemon=True)
        self._thread.start()

    def _tell(self) -> None:
        try:
            self.result = self._call.run(collapsed(self._raw) if self._raw is not None else b"")
        except Exception as error:  # noqa: BLE001 - a hook must never end the replica
            self.result = Result(Came.FAILED, f"{type(error).__name__}: {error}")

    def abort(self) -> None:
        self._call.abort()
        self._thread.join(CLOSE_SECONDS)


class Hooks:
    """Owned by the thread that applies. Raises what `State` raises, but no NoRoomError."""

    def __init__(
        self, settings: ConsumeSettings, state: State, board: Board, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        self._hook = settings.on_applied
        self._state = state
        self._board = board
        self._clock = clock
        self._timing = HookTiming()
        self._run: _Run | None = None
        self._told: int | None = None
        """Up to here a run was told, and that is not written down yet."""
        self._last = ""
        self._tell_at = 0.0

    def turn(self) -> None:
        """See what came of the run, and begin the next when it is time for it. Costs next to nothing where there is no hook."""
        if self._hook is None:
            return
        now = self._clock()
        if self._run is not None and self._run.result is not None:
            self._over(self._run, self._run.result, now)
        if self._told is not None:
            self._write_down(self._told)
        if self._told is None and self._timing.may_run(self._seen(), now):
            self._begin(now)
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            self._tell()

    def close(self) -> None:
        """End the run that is under way: it begins anew after a start. Idempotent."""
        if self._run is not None:
            self._run.abort()
            self._run = None

    def details(self) -> dict[str, Any]:
        """For the report."""
        if self._hook is None:
            return {}
        return {"hook_pending_seconds": int(self._waits_seconds() or 0), "hook_failures": self._timing.failures}

    # -- one run
    def _seen(self) -> Seen:
        missing = self._state.count_unmet().get(Reason.BODY, 0)
        return Seen(self._state.hook.since is not None, len(self._state.standing().stale), missing)

    def _waits_seconds(self) -> float | None:
        since = self._state.hook.since
        return max(0.0, time.time() - since) if since is not None else None

    def _begin(self, now: float) -> None:
        pending = self._state.hook.pending()
        if pending is None:
            return
        self._timing.began(now)
        self._run = _Run(self._call(pending), pending)

    def _call(self, pending: Pending) -> Call:
        settings, standing = self._settings, self._state.standing()
        target = os.fspath(settings.target)
        facts = Facts(settings.tree, settings.replica, target, standing.position, pending.raw is None)
        timeout_seconds = settings.on_applied_timeout_seconds
        assert self._hook is not None, "there is a hook where a run begins"
        if isinstance(self._hook, HookCommand):
            return CommandCall(self._hook.words, facts.environment(os.environ), timeout_seconds)
        return RequestCall(self._hook.url, facts.headers(), timeout_seconds)

    def _over(self, run: _Run, result: Result, now: float) -> None:
        self._run = None
        self._board.count("hook_runs_total", label=str(result.came))
        if result.came is Came.OK:
            self._told = run.number
            self._last = ""
            self._timing.succeeded()
            self._board.clear("hook")
            return
        wait_seconds = self._timing.failed(now, random.random())
        self._last = result.detail
        log.warning("the hook %s failed (%s); again in %.0f s", self._hook, result.detail, wait_seconds)
        if self._timing.is_alarming:
            self._board.alarm(
                "hook", f"the hook {self._hook} fails again and again, and is tried again: {result.detail}"
            )

    def _write_down(self, number: int) -> None:
        """Without room for that nothing is lost; no other run begins until then, for it would be told the same."""
        try:
            self._state.hook.done(number)
            self._told = None
        except NoRoomError as error:
            log.warning("a run of the hook cannot be written down: %s", error)

    def _tell(self) -> None:
        waits_seconds = self._waits_seconds() or 0.0
        self._board.gauge("hook_pending_seconds", waits_seconds)
        self._board.tell(
            hook={
                "running": self._timing.is_running,
                "pending_seconds": round(waits_seconds, 1),
                "failures": self._timing.failures,
                "last": self._last,
            }
        )
