"""Does: looks at the replicas of a mirror before and after their consumers run: whose they are, made where missing, released.

What a start finds is decided by `consumer.starting`, as in the consumer itself; here a refusal is said in words of this command.
"""

import os
import shlex
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from pathlib import Path

from common.errors import AdoptionNeededError, NotOurTargetError, SettingError
from common.names import escape
from common.patterns import Patterns
from consumer.opening import STATE_NAME
from consumer.stagefiles import Age
from consumer.starting import DiskSeen, Start, StateSeen, decide_start
from consumer.state import State
from consumer.target import Target
from treecast.metadata import Metadata
from treecast.mirroring.layout import Layout, ReplicaPlace
from treecast.mirroring.preview import count_adoption


def check_replicas(
    layout: Layout, patterns: Patterns, metadata: Metadata, *, adopt: bool, command: Sequence[str]
) -> None:
    """Raises StoppedError, with what would become of the files and what to type next, for replicas that are not ours to write.

    `command`: what was typed, with `--adopt`.
    """
    refusals = [
        (start, _words(start, place, layout, patterns, metadata))
        for place in layout.replicas
        if (start := look_before(place, layout.tree, patterns, adopt=adopt)).is_refusal
    ]
    if not refusals:
        return
    text = "; ".join(words for _, words in refusals)
    if all(start is Start.NEEDS_ADOPTION for start, _ in refusals):
        raise AdoptionNeededError(f"{text}. To adopt: {shlex.join(command)}")
    raise NotOurTargetError(text)


def refusal_of(place: ReplicaPlace, layout: Layout, patterns: Patterns, metadata: Metadata, *, adopt: bool) -> str:
    """Why a run would refuse this replica; "" where it would not. Writes nothing into it."""
    start = look_before(place, layout.tree, patterns, adopt=adopt)
    if start is Start.NEEDS_ADOPTION:
        return f"{escape(os.fsencode(place.given))} holds files that no mirror put there: this is what --adopt would do"
    return _words(start, place, layout, patterns, metadata) if start.is_refusal else ""


def look_before(place: ReplicaPlace, tree: str, patterns: Patterns, *, adopt: bool) -> Start:
    """What a consumer that starts now will find. Writes nothing into the replica."""
    with ExitStack() as parts:
        if not place.target.is_dir():
            # Not there at all: a new one, or one that lay on a volume whose mount point is left.
            return decide_start(DiskSeen(), _seen(_open_state(place, tree, parts), tree), adopt=adopt)
        try:
            target = parts.enter_context(Target.open(place.target, patterns.excludes if patterns else None))
        except SettingError as error:
            raise SettingError("REPLICA", place.given, error.allowed) from error
        state = _open_state(place, tree, parts)
        seen = _seen(state, tree)
        mark = target.mark()
        disk = DiskSeen(mark, target.age(), target.left_plan(), is_empty=mark is not None or target.is_empty())
        return decide_start(disk, seen, adopt=adopt)


def _open_state(place: ReplicaPlace, tree: str, parts: ExitStack) -> State | None:
    path = place.state / STATE_NAME
    return parts.enter_context(State.open(path, tree, place.name)) if path.exists() else None


def _seen(state: State | None, tree: str) -> StateSeen:
    if state is None:
        return StateSeen(tree, "", Age(0, b""))
    return StateSeen(tree, state.mark, Age(state.standing().commits, state.token), state.is_released)


def _words(start: Start, place: ReplicaPlace, layout: Layout, patterns: Patterns, metadata: Metadata) -> str:
    shown = escape(os.fsencode(place.given))
    if start is Start.NEEDS_ADOPTION:
        counts = count_adoption(layout.source, place.target, patterns, metadata)
        return f"{shown} holds files that no mirror put there: {counts}"
    state = shlex.quote(str(place.state))
    if start is Start.MARK_MISSING:
        return (
            f"{shown} held a copy when it was last mirrored, and does not carry our mark now: is its volume mounted? Mount it"
            f" and run again; if it was emptied on purpose: rm -r {state}"
        )
    return (
        f"{shown} is kept by another mirror or consumer (see .treecast/mark in it). Choose another directory; if nothing runs"
        f" there any more: rm {shlex.quote(str(place.target))}/.treecast/mark, and run again with --adopt"
    )


def make_missing(layout: Layout) -> None:
    """Replicas that are not there yet are made, as mkdir would."""
    for place in layout.replicas:
        try:
            place.target.mkdir(exist_ok=True)
        except OSError as error:
            raise SettingError("REPLICA", place.given, f"a directory that can be made ({error.strerror})") from error


def compare_anew(layout: Layout) -> None:
    """Have replicas that an earlier run left marked compared whole: whatever was changed in them meanwhile is found.

    Their consumers scan a target whose mark the state does not know by heart. Only where both are of one mind: otherwise it may
    be another volume, and the consumer must see that.
    """
    for place in layout.replicas:
        if not place.target.is_dir():
            continue
        with ExitStack() as parts:
            state = _open_state(place, layout.tree, parts)
            if state is None or not state.mark:
                continue
            mark = parts.enter_context(Target.open(place.target)).mark()
            if mark is not None and mark.id == state.mark:
                state.release()


def release_replica(layout: Layout, place: ReplicaPlace, exclude: Sequence[str]) -> Path | None:
    """Take what is ours out of a replica whose consumer has ended. Returns where things that were set aside stay, if any do."""
    from common.settings import ConsumeSettings
    from consumer.opening import release

    settings = ConsumeSettings.model_validate(
        {
            "tree": layout.tree,
            "broker": layout.broker,
            "state": place.state,
            "target": place.target,
            "replica": place.name,
            "protect": tuple(exclude),
        }
    )
    kept = release(settings)
    return Path(kept) if kept is not None else None


Published = Callable[[Collection[bytes]], set[bytes]]
"""Which of these paths of a replica a mirror put there, as far as its state knows."""


def published_by_us(place: ReplicaPlace, tree: str, parts: ExitStack) -> Published:
    """See `Published`. The state is held open until `parts` is closed; where there is none, nothing is known."""
    state = _open_state(place, tree, parts)
    if state is None:
        return lambda paths: set()
    known = state
    return lambda paths: {path for path, row in known.rows(paths).items() if not row.found}
