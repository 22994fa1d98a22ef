"""Any plan on any disk: the wanted paths are there or said to be unmet, nothing else changes, and twice equals once."""

import os
import random
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from common.entries import Entry, Kind, Position, directory_entry
from common.names import ancestors, is_below, parent
from consumer.opening import resolve_left
from consumer.planning import make_plan
from consumer.stagefiles import new_token
from consumer.state import State
from consumer.target import Target
from consumer.values import Found, Outcome, Plan, Reason, Step, Told, Touch
from tests.disk import as_read, file_put, link_put, read_tree, run, taken
from tests.memory_state import MemoryState

PATHS = [b"a", b"b", b"c", b"a/x", b"a/y", b"a/x/p", b"a/x/q", b"b/x", b"b/x/p", b"c/z", b"a-b", b"\xff"]
FOREIGN = [b"foreign", b"a/foreign", b"a/x/foreign", b"b/foreign/deep", b"c/foreign"]

Tree = dict[bytes, tuple[Entry, bytes]]


def random_tree(rng: random.Random) -> Tree:
    """Some of the paths, as a tree."""
    tree: Tree = {}
    for path in rng.sample(PATHS, rng.randrange(len(PATHS))):
        for above in ancestors(path):
            if above not in tree or not tree[above][0].is_directory:
                tree[above] = directory_entry(rng.choice([0o755, 0o700])), b""
        if any(is_below(other, path) for other in tree):
            continue
        tree[path] = random_thing(rng, path)
    return tree


def random_thing(rng: random.Random, path: bytes) -> tuple[Entry, bytes]:
    dice = rng.random()
    if dice < 0.2:
        return directory_entry(rng.choice([0o755, 0o711])), b""
    put = (
        link_put(path, b"x") if dice < 0.3 else file_put(path, rng.choice([b"one", b"two"]), rng.choice([0o644, 0o600]))
    )
    return put.entry, put.body or b""


def drift(rng: random.Random, root: Path, outside: Path) -> None:  # a list of mischief
    """Somebody changes the replica's disk: removes, adds, and puts another kind in the place of what is there."""
    top = os.fsencode(root)
    for path in rng.sample(PATHS + FOREIGN, rng.randrange(2)):
        full = os.path.join(top, path)
        above = os.path.dirname(full)
        if not os.path.realpath(above).startswith(top):
            continue
        if not os.path.isdir(above):
            if os.path.lexists(above) or path not in FOREIGN:
                continue
            with suppress(NotADirectoryError):
                os.makedirs(above)
        if not os.path.isdir(above):
            continue
        if os.path.isdir(full) and not os.path.islink(full):
            shutil.rmtree(full)
        elif os.path.lexists(full):
            os.unlink(full)
        what = "file" if path in FOREIGN else rng.choice(["file", "link", "fifo", "directory", "nothing"])
        if what == "file":
            Path(os.fsdecode(full)).write_bytes(b"precious " + path)
        elif what == "link":
            os.symlink(os.fsencode(outside), full)
        elif what == "fifo":
            os.mkfifo(full)
        elif what == "directory":
            os.makedirs(os.path.join(full, b"inside"))


def wanted(old: Tree, new: Tree) -> dict[bytes, Told]:
    """The changes from one tree to another, each by name."""
    return {
        path: Told(new[path][0], Position(1, 1), new[path][1]) if path in new else Told(None, Position(1, 1))
        for path in sorted(old.keys() | new.keys())
        if old.get(path, (None,))[0] != new.get(path, (None,))[0]
    }


class Case:
    """A replica at one tree, its disk drifted, and a plan to another tree."""

    def __init__(self, seed: int, place: Path) -> None:
        rng = self.rng = random.Random(seed)
        self.root, self.outside = place / "target", place / "outside"
        (self.outside / "inside").mkdir(parents=True)
        (self.outside / "x").write_bytes(b"outside")
        self.outside_before = read_tree(self.outside)
        self.old, self.new = random_tree(rng), random_tree(rng)
        self.target = taken(self.root)
        empty = MemoryState()
        assert not run(self.target, make_plan(wanted({}, self.old), empty, lambda path: False)).unmet
        assert read_tree(self.root) == {path: as_read(*thing) for path, thing in self.old.items()}
        self.view = MemoryState()
        self.view.adopt((Found(path, entry) for path, (entry, _) in self.old.items()), first_copy_complete=True)
        self.view.commit(Step(self.view.standing(), levelled=frozenset(range(4096))), Plan(), Outcome())
        if rng.random() < 0.7:
            drift(rng, self.root, self.outside)
        self.before = read_tree(self.root)
        self.want = wanted(self.old, self.new)
        self.plan = make_plan(self.want, self.view, lambda path: True)

    def check(self, outcome: Outcome) -> None:
        """What must be true afterwards."""
        assert read_tree(self.outside) == self.outside_before
        after = read_tree(self.root)
        touches = {put.path for put in self.plan.contents if isinstance(put, Touch)}
        assert {unmet.reason for unmet in outcome.unmet.values()} <= {Reason.BODY}
        assert outcome.unmet.keys() <= touches
        for path in self.want.keys() - touches:
            thing = self.new.get(path)
            assert after.get(path) == (as_read(*thing) if thing is not None else None), path
        for path in after.keys() | self.before.keys():
            if not self.is_near(path):
                assert after.get(path) == self.before.get(path), path
        self.check_nothing_is_lost(after)

    def is_near(self, path: bytes) -> bool:
        """At, below or above what is wanted."""
        return any(path == other or is_below(path, other) or is_below(other, path) for other in self.want)

    def check_nothing_is_lost(self, after: dict[bytes, tuple[object, ...]]) -> None:
        aside = {
            path: seen for place in (self.root / ".treecast/aside").glob("*") for path, seen in read_tree(place).items()
        }
        for path, seen in self.before.items():
            if path not in PATHS and seen[0] == "file":
                assert after.get(path) == seen or aside.get(path) == seen, path


@pytest.fixture
def place() -> Any:
    """A directory in memory where there is one: these runs are about order, not about durability."""
    base = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=base if os.access(base, os.W_OK) else None) as directory:
        yield Path(directory)


@pytest.mark.parametrize("hundred", range(2))
def test_any_plan_on_any_disk(hundred: int, place: Path) -> None:
    for seed in range(hundred * 100, hundred * 100 + 100):
        case = Case(seed, place / str(seed))
        with case.target as target:
            case.check(run(target, case.plan))
            once = read_tree(case.root)
            run(target, case.plan)
            assert read_tree(case.root) == once


class Killed(BaseException):
    """The process dies here."""


CALLS = ["open", "write", "rename", "mkdir", "unlink", "rmdir", "symlink", "utime", "chmod"]


@pytest.mark.parametrize("hundred", range(2))
def test_killed_at_any_system_call_the_index_knows_what_the_disk_has(hundred: int, place: Path) -> None:
    """A plan that was left is resolved from the disk; after that, index and disk are equal at every path of the plan."""
    for seed in range(hundred * 100, hundred * 100 + 100):
        case = Case(seed, place / str(seed))
        if not case.plan.touched or case.plan.is_empty:
            case.target.close()
            continue
        state = State.open(place / f"{seed}.db", "tree", "one")
        state.adopt((Found(path, entry) for path, (entry, _) in case.old.items()), first_copy_complete=True)
        kill(case, case.rng.randrange(60))
        with Target.open(case.root) as again, state:
            again.take()
            resolve_left(state, again, lambda: None)
            if again.left_plan() is None:
                assert read_tree(case.root) == case.before
                continue
            on_disk = {found.path: found.entry for found in again.scan()}
            rows = state.rows(case.plan.touched)
            assert {path: row.entry for path, row in rows.items()} == {
                path: entry for path, entry in on_disk.items() if path in case.plan.touched
            }
            for path in rows:
                assert not parent(path) or on_disk[parent(path)].kind is Kind.DIRECTORY
                assert state.bucket_of(path) in state.standing().stale
        assert read_tree(case.outside) == case.outside_before


def kill(case: Case, calls_left: int) -> None:
    """Carry the plan out in a process that dies after so many system calls: nothing is cleaned up."""
    with pytest.MonkeyPatch.context() as patch:
        left = [calls_left]
        for name in CALLS:
            patch.setattr(os, name, dying(getattr(os, name), left))
        try:
            staged = case.target.stage(case.plan, 1, new_token())
            case.target.swap(case.plan, staged)
        except Killed:
            left[0] = 1 << 30
    case.target.close()


def dying(real: Any, left: list[int]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return real(*args, **kwargs)

    return call
