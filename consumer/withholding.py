"""What a replica holds while it runs: asks for nothing, lets go what is released, and answers what a person asks of it.

Which deletes are held is decided in `holds`. Here they are counted, shown and released; who owns the loop has them removed.

`hold-list` tells held, since, limit, entries; `hold-show` the same and paths, escaped: the first `number` at and below `path`,
after the `after` of an earlier answer. `hold-release` tells how many it released.
"""

import logging
import os
import time
from collections.abc import Callable
from itertools import accumulate
from typing import Any

from common.board import Board
from common.holds import HoldLimit
from common.names import escape
from common.orders import Verb
from consumer import holds
from consumer.holds import LET_GO, Holds, Judge, Size
from consumer.state import State
from consumer.values import Plan, Reason

log = logging.getLogger("treecast")

RELEASED_AT_ONCE = 500
"""So many released paths are removed in one step: a batch waits for one step at most, some 50 ms."""
AGAIN_SECONDS = 30.0
"""Until what could not be removed yet is tried again, and the alarm says a new number."""
SHOWN_LIMIT = 10_000
SHOWN_LIMIT_BYTES = 2 * 1024 * 1024
"""So much at most in one answer, before it is escaped."""


class Withholding:
    """Owned by the thread that applies. Raises what `State` raises."""

    def __init__(
        self,
        limit: HoldLimit,
        state: State,
        board: Board,
        clock: Callable[[], float] = time.monotonic,
        unix_clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._board = board
        self._clock = clock
        self._unix_clock = unix_clock
        record = state.parked.record()
        self._since = record.since
        self._has_departed = bool(record.departed)
        self._holds = Holds(limit, clock, self._size, record.departed)
        self._drained_to: bytes | None = None
        self._drain_at = self._tell_at = 0.0

    # -- for whoever makes steps
    @property
    def judge(self) -> Judge:
        """Who says how many deletes are too many: nobody until the first copy is complete."""
        return self._holds if self._state.first_copy_complete else LET_GO

    def after_step(self, plan: Plan) -> None:
        """A step is durable: what it let go counts for a while."""
        if plan.let_go:
            self._has_departed = True
            self._holds.went(plan.let_go)

    def heed_release(self) -> None:
        """What the master has released by now is released here. Idempotent."""
        if self._held and holds.is_all_released(self._state.standing()):
            log.info("%d deletes that were held here are released by the master", self._held)
            self.release()

    def release(self) -> int:
        """What is held may go. How many paths."""
        count = self._state.parked.release()
        self._holds.released()
        self._since, self._has_departed = 0.0, False
        self._drained_to, self._drain_at = None, 0.0
        self._board.clear("hold")
        return count

    # -- time
    @property
    def is_draining(self) -> bool:
        """Whether released paths are there to be removed now."""
        return bool(self._state.count_unmet().get(Reason.RELEASED)) and self._clock() >= self._drain_at

    def next_released(self) -> list[bytes]:
        """The next released paths to be removed, from the last on; nothing for a while after all were tried."""
        if not self.is_draining:
            return []
        paths = self._state.parked.released(RELEASED_AT_ONCE, before=self._drained_to)
        self._drained_to = paths[-1] if paths else None
        if len(paths) < RELEASED_AT_ONCE:
            self._drained_to, self._drain_at = None, self._clock() + AGAIN_SECONDS
        return paths

    def turn(self) -> None:
        """Remember since when something is held, forget what counts no more, keep the alarm. May be called again."""
        held = self._held
        if bool(held) != bool(self._since):
            since = self._unix_clock() if held else 0.0
            self._state.parked.save_since(since)
            self._since, self._tell_at = since, 0.0
        if self._clock() < self._tell_at:
            return
        self._holds.see()
        if self._has_departed and self._holds.is_quiet():
            self._state.parked.forget_departed()
            self._has_departed = False
        self._tell_at = self._clock() + AGAIN_SECONDS
        self._keep_alarm(held)

    def _keep_alarm(self, held: int) -> None:
        if not held:
            self._board.clear("hold")
            return
        self._board.alarm(
            "hold",
            f"{held} deletes are held here: within 10 minutes there were more than {self._holds.limit}, and nobody released them."
            " treecast hold show; if they are meant: treecast hold release",
        )

    # -- what a person asks
    @property
    def verbs(self) -> dict[str, Verb]:
        """For the control socket, carried out by the loop."""
        return {"hold-list": self._list, "hold-show": self._show, "hold-release": self._release}

    def _list(self, _: dict[str, Any]) -> dict[str, Any]:
        return self._told()

    def _show(self, arguments: dict[str, Any]) -> dict[str, Any]:
        at, after = (os.fsencode(str(arguments.get(name) or "")).strip(b"/") for name in ("path", "after"))
        number = min(int(arguments.get("number") or SHOWN_LIMIT), SHOWN_LIMIT)
        paths = _that_fit(self._state.parked.held(at, number, after=after))
        last = os.fsdecode(paths[-1]) if paths else None
        return {**self._told(), "paths": [escape(path) for path in paths], "after": last}

    def _release(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"released": self.release()}

    def _told(self) -> dict[str, Any]:
        since = self._since or (self._unix_clock() if self._held else None)
        return {
            "held": self._held,
            "since": since,
            "limit": self._holds.limit,
            "entries": self._holds.entries,
            "paths": [],
        }

    @property
    def _held(self) -> int:
        return self._state.count_unmet().get(Reason.HELD, 0)

    def _size(self) -> Size:
        return Size(self._state.counts.entries, self._held)


def _that_fit(paths: list[bytes]) -> list[bytes]:
    ends = accumulate(map(len, paths))
    return [path for path, end in zip(paths, ends, strict=True) if end <= SHOWN_LIMIT_BYTES]
