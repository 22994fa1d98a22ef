"""In what a disk differs from the index, and what is made of it."""

from dataclasses import replace

import pytest

from common.digests import content_digest
from common.entries import Entry, Kind, Position, directory_entry, file_entry, symlink_entry
from consumer import drifting
from consumer.agreement import Decided, Drop
from consumer.appearance import Appearance
from consumer.drifting import ABSENT, STRANGE, UNREAD, Seen, drift_at
from consumer.values import Drift, MakeDirectory, Outcome, Plan, Reason, Stale, Step, Told, Touch, Unmet
from tests.memory_state import MemoryState

FILE = file_entry(0o644, 7, 3, content_digest(b"one"))
DIRECTORY = directory_entry(0o755)
LINK = symlink_entry(1, content_digest(b"a"))
OTHER = content_digest(b"two")
AT = Position(5, 3)


@pytest.mark.parametrize(
    ("wanted", "seen", "drift"),
    [
        (FILE, Seen(FILE), None),
        (DIRECTORY, Seen(DIRECTORY), None),
        (LINK, Seen(LINK), None),
        (None, ABSENT, None),
        (None, Seen(FILE), Drift.ADDED),
        (None, STRANGE, Drift.ADDED),
        (FILE, ABSENT, Drift.MISSING),
        (DIRECTORY, ABSENT, Drift.MISSING),
        (FILE, STRANGE, Drift.KIND),
        (FILE, Seen(DIRECTORY), Drift.KIND),
        (DIRECTORY, Seen(FILE), Drift.KIND),
        (LINK, Seen(FILE), Drift.KIND),
        (LINK, Seen(symlink_entry(1, OTHER)), Drift.LINK_TARGET),
        (FILE, Seen(FILE._replace(digest=OTHER)), Drift.BIT_ROT),
        (FILE, Seen(FILE._replace(digest=OTHER, mtime_ns=8)), Drift.EDITED),
        (FILE, Seen(FILE._replace(digest=UNREAD, size=4)), Drift.EDITED),
        (FILE, Seen(FILE._replace(digest=UNREAD, size=2)), Drift.TRUNCATED),
        (FILE, Seen(FILE._replace(mode=0o600)), Drift.MODE),
        (FILE, Seen(FILE._replace(mode=0o4644)), Drift.MODE),
        (FILE, Seen(FILE._replace(mtime_ns=8)), Drift.MTIME),
        (DIRECTORY, Seen(directory_entry(0o700)), Drift.MODE),
        (FILE, Seen(None, why="cannot be read"), None),
        (None, Seen(None, why="cannot be read"), None),
    ],
)
def test_each_difference_has_its_kind(wanted: Entry | None, seen: Seen, drift: Drift | None) -> None:
    assert drift_at(wanted, seen) == drift


def test_what_this_replica_is_told_to_look_like_is_no_drift() -> None:
    """Modes and owners of its own are judged by them, and not by what was published."""
    own = Appearance(dir_mode=0o700, file_mode=0o600, gid=42, resolve=lambda owner: (7, 8))
    assert drift_at(FILE, Seen(FILE._replace(mode=0o600), owner=(1, 42)), own) is None
    assert drift_at(FILE, Seen(FILE, owner=(1, 42)), own) is Drift.MODE
    assert drift_at(DIRECTORY, Seen(directory_entry(0o700), owner=(1, 41)), own) is Drift.OWNER
    assert drift_at(FILE._replace(owner="a:b"), Seen(FILE._replace(mode=0o600), owner=(7, 42)), own) is None


def unknown_here(owner: str) -> tuple[int, int]:
    raise OSError(22, owner)


def test_an_owner_that_nobody_is_here_is_no_drift() -> None:
    owned = FILE._replace(owner="who:who")
    assert drift_at(owned, Seen(FILE, owner=(1, 1)), Appearance(resolve=unknown_here)) is None


def state_of(*paths: bytes) -> MemoryState:
    """A level state with a directory `d` and these files."""
    state = MemoryState()
    level = replace(state.standing(), epoch=AT.epoch, sequence=AT.sequence, stale={})
    want = {b"d": Told(DIRECTORY, AT)} | {path: Told(FILE, AT) for path in paths}
    state.commit(Step(level, want=want), Plan(), Outcome())
    digest = state.tree_digest()
    state.commit(Step(replace(level, digest=digest)), Plan(), Outcome())
    return state


def put_right(state: MemoryState, drift: dict[bytes, Drift]) -> Decided:
    decided = drifting.put_right(state.standing(), state, drift)
    assert isinstance(decided, Decided)
    assert not decided.step.alarm
    assert decided.step.standing.stale == state.standing().stale
    return decided


def test_a_file_that_differs_waits_for_its_body_and_nothing_is_touched() -> None:
    state = state_of(b"d/x", b"y")
    decided = put_right(state, {b"d/x": Drift.BIT_ROT, b"y": Drift.MISSING})
    assert decided.plan.is_empty
    assert decided.plan.unmet == {b"d/x": Unmet(Reason.BODY), b"y": Unmet(Reason.BODY)}


def test_mode_time_directory_and_absence_are_placed_at_once() -> None:
    state = state_of(b"d/x", b"y")
    drift = {b"d": Drift.MODE, b"d/x": Drift.MODE, b"y": Drift.MTIME, b"added": Drift.ADDED}
    plan = put_right(state, drift).plan
    assert plan.directories == (MakeDirectory(b"d", 0o755),)
    assert plan.contents == (Touch(b"d/x", FILE), Touch(b"y", FILE))
    assert plan.remove == (b"added",)
    assert plan.foreign == {b"added"}
    assert plan.touched >= {b"d", b"d/x", b"y", b"added"}
    assert not plan.unmet


def test_what_took_a_directorys_place_is_foreign() -> None:
    plan = put_right(state_of(), {b"d": Drift.KIND}).plan
    assert plan.foreign == {b"d"}
    assert plan.directories == (MakeDirectory(b"d", 0o755),)


def test_a_stale_bucket_is_left_alone() -> None:
    """A difference there may be our ignorance, and a body that is asked for there may never come."""
    state = state_of(b"d/x", b"y")
    stale = {state.bucket_of(b"d/x"): Stale(AT, AT.sequence)}
    standing = replace(state.standing(), stale=stale)
    decided = drifting.put_right(standing, state, {b"d/x": Drift.BIT_ROT})
    assert isinstance(decided, Drop)


@pytest.mark.parametrize("reason", list(Reason))
def test_an_unmet_path_is_left_alone(reason: Reason) -> None:
    """It is known already; and what is held must stay."""
    state = state_of(b"y")
    state.commit(Step(state.standing()), Plan(unmet={b"y": Unmet(reason), b"gone": Unmet(reason)}), Outcome())
    decided = drifting.put_right(state.standing(), state, {b"y": Drift.EDITED, b"gone": Drift.ADDED})
    assert isinstance(decided, Drop)


def test_kinds_of_every_sort_are_named_once() -> None:
    assert len({*Drift}) == len(Drift)
    assert FILE.kind == Kind.FILE
