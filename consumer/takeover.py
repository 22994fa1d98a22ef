"""Brings a target and its state together at a start: takes the target or refuses it, resolves what a crash left, scans.

What the case is, `starting` decides; here it is carried out, in an order that may be broken off anywhere and begun again.
"""

from collections.abc import Callable, Iterator
from itertools import count

from common.errors import AdoptionNeededError, NotOurTargetError
from consumer import agreement
from consumer.stagefiles import Age, Mark, new_mark, new_token
from consumer.starting import DiskSeen, Start, StateSeen, decide_start
from consumer.state import State
from consumer.target import Target
from consumer.values import Found

MEANWHILE_EVERY = 500
"""Paths scanned between two calls of `meanwhile`."""

Meanwhile = Callable[[], None]


def bring_together(
    target: Target, state: State, *, tree: str, replica: str, adopt: bool, meanwhile: Meanwhile = lambda: None
) -> Start:
    """The target is ours, of one age with the state, and no plan is left, when this returns what the case was.

    Raises AdoptionNeededError and NotOurTargetError, having written nothing. `meanwhile` is called now and then during a
    scan; what it raises ends the scan, and nothing of it is kept.
    """
    mark = target.mark()
    is_empty = mark is not None or target.is_empty()
    disk = DiskSeen(mark, target.age(), target.left_plan(), is_empty)
    start = decide_start(disk, StateSeen(tree, state.mark, _age(state), state.is_released), adopt=adopt)
    if start.is_refusal:
        raise _refusal(start, target, state, mark)
    if mark is None or start.makes_mark:
        mark = new_mark(tree, replica)
        target.take(mark)
    else:
        target.take()
    if start.scans:
        _scan(target, state, mark, meanwhile)
    elif start is Start.RESOLVE:
        resolve_left(target, state)
    target.settle(_age(state))
    return start


def resolve_left(target: Target, state: State) -> None:
    """A plan was left, by a crash or by a swap that found no room: the index takes what the disk has at its paths. Idempotent."""
    left = target.left_plan()
    if left is None or not agreement.is_unfinished(left, state.standing()):
        return
    on_disk = target.look(left.paths)
    paths = agreement.in_doubt(left, state, lambda path: path in on_disk and on_disk[path].is_directory)
    standing = agreement.after_left_plan(state.standing(), {state.bucket_of(path) for path in paths})
    state.take_from_disk(paths, target.look(paths), standing)
    target.settle(_age(state))


def _age(state: State) -> Age:
    return Age(state.standing().commits, state.token)


def _scan(target: Target, state: State, mark: Mark, meanwhile: Meanwhile) -> None:
    """The mark stands on the disk already: broken off here, the next start finds it, and scans again."""
    others: list[bytes] = []
    was_ours = state.mark == mark.id
    scan = _with_pauses(target.scan(others), meanwhile)
    state.adopt(scan, first_copy_complete=was_ours and state.first_copy_complete, token=new_token())
    state.bind(mark.id)
    target.set_aside(others, state.standing().commits)


def _with_pauses(scan: Iterator[Found], meanwhile: Meanwhile) -> Iterator[Found]:
    for number, found in zip(count(), scan, strict=False):
        if number % MEANWHILE_EVERY == 0:
            meanwhile()
        yield found


def _refusal(start: Start, target: Target, state: State, mark: Mark | None) -> Exception:
    path = target.path
    if start is Start.NEEDS_ADOPTION:
        return AdoptionNeededError(
            f"{path} holds files that are not known here: {target.survey()}. To take it over (what the master has too is kept,"
            " what differs is fetched, the rest is set aside): start once with --adopt"
        )
    if start is Start.MARK_MISSING:
        return NotOurTargetError(
            f"{path} does not carry the mark of the replica that the state {state.path} knows: is its volume mounted?"
            f" If this directory is meant, remove {state.path} and start with --adopt"
        )
    whose = f"replica {mark.replica!r} of tree {mark.tree!r}" if mark is not None and mark.tree else "another replica"
    return NotOurTargetError(f"{path} is the target of {whose}; name another directory, or its own tree and state")
