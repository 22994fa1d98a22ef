"""Opens a replica: its state and its target, and brings the two to one age before anything else is touched.

What a start finds is decided by `starting`; here it is looked at and done. Nothing is written into a target that is not ours.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

from common.board import Board
from common.errors import AdoptionNeededError, NotOurTargetError
from common.lock import ProcessLock
from common.names import escape
from common.patterns import Patterns
from common.settings import ConsumeSettings
from common.transport.ports import Broker
from consumer import agreement, holds
from consumer.adoption import count_adoption
from consumer.owners import appearance_of
from consumer.stagefiles import Age, new_mark, new_token
from consumer.starting import DiskSeen, Start, StateSeen, decide_start
from consumer.state import State
from consumer.survey import Pulse
from consumer.target import Target
from consumer.values import Found

log = logging.getLogger("treecast")

STATE_NAME = "state.db"
LOCK_NAME = "lock"
FOUND_BETWEEN_TICKS = 500


class Stopping(Exception):
    """The process was told to stop in the middle of something that can be begun again."""


def open_replica(
    settings: ConsumeSettings,
    stop: threading.Event,
    board: Board,
    parts: ExitStack,
    open_broker: Callable[[], Broker],
) -> tuple[State, Target]:
    """State and target, of one age, held by this process until `parts` is closed.

    `open_broker` is called where a refusal should say what an adoption would do.

    Raises AdoptionNeededError, NotOurTargetError, AlreadyRunningError, SettingError, StateError; Stopping when `stop` was set.
    """
    parts.enter_context(ProcessLock(settings.state / LOCK_NAME))
    state = parts.enter_context(State.open(settings.state / STATE_NAME, settings.tree, settings.replica))
    state.hook.turn(settings.on_applied is not None)
    protects = Patterns(settings.protect).excludes if settings.protect else None
    target = parts.enter_context(Target.open(settings.target, protects, appearance_of(settings), settings.foreign))
    target.protect(state.patterns)
    start = look_at_start(state, target, settings)
    if start is Start.NEEDS_ADOPTION:
        board.tell(state="scanning")
        log.info("%s is not ours yet and holds files: asking the producer what an adoption would do", settings.target)
        counts = count_adoption(settings, lambda: _watched(target, [], stop, board), open_broker(), stop, board)
        refuse(start, f"{target.survey()}; {counts}" if counts is not None else str(target.survey()), settings)
    if start.is_refusal:
        refuse(start, "", settings)
    if start is not Start.CONTINUE:
        log.info("%s: %s", settings.target, start.value)
    board.tell(state="scanning" if start.scans else "starting")
    # What it served from before, it may be served from while it is looked at.
    board.is_ready = _keeps_copy(start, state)
    _carry_out(
        start, state, target, settings, lambda others: _watched(target, others, stop, board), _pulse(stop, board)
    )
    return state, target


def look_at_start(state: State, target: Target, settings: ConsumeSettings) -> Start:
    """What this start finds."""
    mark = target.mark()
    disk = DiskSeen(mark, target.age(), target.left_plan(), is_empty=mark is not None or target.is_empty())
    seen = StateSeen(settings.tree, state.mark, Age(state.standing().commits, state.token), state.is_released)
    return decide_start(disk, seen, adopt=settings.adopt)


def refuse(start: Start, found: str, settings: ConsumeSettings) -> None:
    """Say why nothing may be written, and what to type next. Always raises."""
    target = settings.target
    if start is Start.NEEDS_ADOPTION:
        raise AdoptionNeededError(
            f"the target {target} is not a replica of the tree {settings.tree!r} yet, and holds {found}. What is equal to the"
            " master's is kept, the rest is set aside for 7 days. To adopt it: treecast consume --adopt"
        )
    if start is Start.MARK_MISSING:
        raise NotOurTargetError(
            f"the target {target} carries no mark, but the state {settings.state} knows one: is the volume mounted?"
            f" Mount it and start again; for a new target, move the state away: mv {settings.state} {settings.state}.old"
        )
    raise NotOurTargetError(
        f"the target {target} is marked as another replica's or another tree's. Choose another target; or, if this one is"
        f" to become a replica of {settings.tree!r}: rm {target}/.treecast/mark, and treecast consume --adopt"
    )


def _carry_out(
    start: Start,
    state: State,
    target: Target,
    settings: ConsumeSettings,
    scan: Callable[[list[bytes]], Iterator[Found]],
    pulse: Pulse,
) -> None:
    """Index first, then the mark: a crash between the two finds a target that is scanned once more."""
    if start.scans:
        target.make_durable()
        others: list[bytes] = []
        keeps_copy, token = _keeps_copy(start, state), new_token()
        state.adopt(scan(others), first_copy_complete=keeps_copy, token=token)
        _take(start, state, target, settings)
        for path in target.set_aside(others, state.standing().commits):
            log.info("set aside, because no tree carries it: %s", escape(path))
        if others:
            # Before state and disk count as of one age: what came back with the power would be seen by no start again.
            target.make_durable()
    else:
        target.take()
    if start is Start.RESOLVE:
        resolve_left(state, target, pulse)
    target.settle(Age(state.standing().commits, state.token))


def _keeps_copy(start: Start, state: State) -> bool:
    """Whether the target that is found is the one that had its first copy."""
    return not start.makes_mark and bool(state.mark) and state.first_copy_complete


def _take(start: Start, state: State, target: Target, settings: ConsumeSettings) -> None:
    if start.makes_mark:
        mark = new_mark(settings.tree, settings.replica)
        target.take(mark)
        state.bind(mark.id)
        return
    target.take()
    mark_there = target.mark()
    if mark_there is not None:
        state.bind(mark_there.id)


def resolve_left(state: State, target: Target, pulse: Pulse) -> None:
    """A plan that was never committed: its paths take into the index what the disk has, their buckets are stale. Idempotent.

    `pulse` is called now and then while the disk is read; nothing has changed when it raises.
    The disk is not what the state of the last commit says any more: the state's token is a new one.
    """
    left = target.left_plan()
    if left is None or not agreement.is_unfinished(left, state.standing()):
        return
    target.make_durable()
    on_disk = target.look(left.paths, pulse)
    paths = agreement.in_doubt(left, state, lambda path: path in on_disk and on_disk[path].is_directory)
    on_disk.update(target.look(paths.difference(left.paths), pulse))
    buckets = {state.bucket_of(path) for path in paths}
    standing = agreement.after_left_plan(state.standing(), buckets)
    absent = holds.absences(paths, on_disk.keys(), state)
    state.take_from_disk(paths, on_disk, standing, token=new_token(), absent=absent)


def _pulse(stop: threading.Event, board: Board) -> Pulse:
    """A sign of life, and an end when the process must stop."""

    def pulse() -> None:
        board.tick("consumer")
        if stop.is_set():
            raise Stopping

    return pulse


def _watched(target: Target, others: list[bytes], stop: threading.Event, board: Board) -> Iterator[Found]:
    """A scan of the target, with a sign of life now and then, and an end when the process must stop."""
    pulse = _pulse(stop, board)
    for number, found in enumerate(target.scan(others, pulse)):
        if number % FOUND_BETWEEN_TICKS == 0:
            pulse()
            board.tell(scanned=number)
        yield found


def release(settings: ConsumeSettings) -> str | None:
    """Take the mark and the stage away again, and remember that: for a mirror that was asked for once. No consumer may run.

    Returns where things that were set aside stay, None when there are none. Idempotent.
    """
    with ExitStack() as parts:
        parts.enter_context(ProcessLock(settings.state / LOCK_NAME))
        state = parts.enter_context(State.open(settings.state / STATE_NAME, settings.tree, settings.replica))
        target = parts.enter_context(Target.open(settings.target))
        if target.mark() is None:
            return None
        target.take()
        state.release()
        kept = target.release()
        return os.fspath(kept) if kept is not None else None
