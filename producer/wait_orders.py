"""Does: what one who waits for the fleet asks, as verbs of the control socket. Carried out between two rounds.

`wait-begin`: from now on; `paths` (base64, in the tree; none: all), `names`, `select`, `count`, `patient` say for what and for
whom; or `position` [epoch, sequence] instead of what happened until now. `hint-begin`: these `paths` changed. Both tell
a `ticket`.
`wait-look` with that ticket, again and again: `is_done`, `why` it is hopeless, and how far it is. One that is done or hopeless is
forgotten.
"""

import os
import time
from base64 import b64decode
from collections.abc import Callable, Collection, Mapping
from stat import S_ISDIR
from typing import Any

from common.board import Board
from common.codes import PERSON_ALARMS
from common.entries import Position
from common.errors import UnreachableError
from common.labels import parse_selector
from common.names import escape
from common.orders import Verb
from producer import fleet_view
from producer.pipeline import Pipeline
from producer.typed_paths import in_tree
from producer.waiting import Wait
from producer.waits import Verdict, Wanted, judge

NAMED_LIMIT = 10
HELD_LIMIT = 100_000
"""Held deletes below a path are counted up to so many."""


def wait_handlers(
    pipeline: Pipeline, board: Board, source: bytes, clock: Callable[[], float] = time.monotonic
) -> dict[str, Verb]:
    """The verbs. `source`: the master's directory; `clock`: that of the loop."""

    def is_directory(path: bytes) -> bool:
        try:
            return S_ISDIR(os.lstat(os.path.join(source, path)).st_mode)
        except OSError:
            return False

    def begun(arguments: dict[str, Any]) -> dict[str, Any]:
        at = arguments.get("position")
        position = None if at is None else Position(*map(int, at))
        return {"ticket": pipeline.waiting.begin(_wanted(arguments), clock(), _paths(arguments, source), position)}

    def hinted(arguments: dict[str, Any]) -> dict[str, Any]:
        return {"ticket": pipeline.waiting.hint(_paths(arguments, source), is_directory, clock())}

    def looked(arguments: dict[str, Any]) -> dict[str, Any]:
        ticket = int(arguments["ticket"])
        wait = pipeline.waiting.look(ticket, clock())
        if wait is None:
            raise UnreachableError(
                "the producer was started again meanwhile, and knows nothing of this wait: wait again"
            )
        found = _told(wait, pipeline, board, clock())
        if found["is_done"] or found["why"]:
            pipeline.waiting.forget(ticket)
        return found

    return {"wait-begin": begun, "hint-begin": hinted, "wait-look": looked}


def _wanted(arguments: dict[str, Any]) -> Wanted:
    names, number = arguments.get("names"), arguments.get("count")
    return Wanted(
        None if names is None else frozenset(map(str, names)),
        parse_selector(str(arguments.get("select") or ""), "-l"),
        None if number is None else int(number),
        bool(arguments.get("patient")),
    )


def _paths(arguments: dict[str, Any], source: bytes) -> set[bytes]:
    return {in_tree(b64decode(text), source) for text in arguments.get("paths") or ()}


def _told(wait: Wait, pipeline: Pipeline, board: Board, now: float) -> dict[str, Any]:
    barrier, position = wait.barrier, wait.barrier.position
    is_patient = wait.wanted is not None and wait.wanted.is_patient
    found: dict[str, Any] = {
        "is_done": False,
        "why": "",
        "needs_person": False,
        "position": None,
        "waits_for": pipeline.leading.waits_for or barrier.step.value,
        "paths": barrier.waiting,
        "named": [escape(path) for path in barrier.named(NAMED_LIMIT)],
        "problems": [escape(path) for path in barrier.problems[:NAMED_LIMIT]],
        "problem_count": len(barrier.problems),
        "held": _held(pipeline, barrier.under) if wait.is_for_all else 0,
    }
    if position is None:
        return found | _stopped({kind: noted.what for kind, noted in board.alarms().items()}, is_patient=is_patient)
    found |= {"position": list(position)}
    if wait.wanted is None:
        return found | {"is_done": True}
    found |= _fleet(judge(pipeline.members.view(now), wait.wanted, position))
    if found["held"]:
        why = "" if is_patient else "deletes are held on the master"
        found |= {"is_done": False, "why": why, "needs_person": True}
    return found


def _held(pipeline: Pipeline, under: Collection[bytes]) -> int:
    """How many deletes are held at and below these paths; none: anywhere."""
    if not (under and pipeline.holds.total):
        return pipeline.holds.total
    return len({path for one in under for path in pipeline.holds.paths(one, HELD_LIMIT, b"")})


def _stopped(alarms: Mapping[str, str], *, is_patient: bool) -> dict[str, Any]:
    """Whether the source will not be read to the end before a person comes. A hold is judged when it was."""
    whats = [what for kind, what in sorted(alarms.items()) if kind in PERSON_ALARMS and kind != "hold"]
    if not whats:
        return {}
    return {"why": "" if is_patient else "; ".join(whats), "needs_person": True}


def _fleet(verdict: Verdict) -> dict[str, Any]:
    return {
        "is_done": verdict.is_done,
        "why": verdict.why_hopeless,
        "needs_person": verdict.needs_person,
        "have": verdict.have,
        "of": verdict.of,
        "missing": {one.name: fleet_view.told_of(one) for one in verdict.missing[:NAMED_LIMIT]},
    }
