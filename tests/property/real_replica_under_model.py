"""The real state and the real disk in the model's hostile world: a database file and a directory, opened by the start's rules.

The process dies before any change of the disk, also while it starts; state, disk, or both are put back to an earlier moment.
"""

import os
import random
import shutil
import threading
from collections import Counter
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from common import digests
from common.board import Board
from common.digests import BucketDigests
from common.entries import BEFORE_ALL, Entry
from common.settings import ConsumeSettings
from consumer import agreement, gathering, index, rereading, reserve, tables
from consumer import state as state_module
from consumer.apply import Applier
from consumer.drifting import Seen
from consumer.opening import open_replica
from consumer.spool import Spool
from consumer.state import State
from consumer.target import Target
from consumer.values import Outcome, Plan, Stale, Step
from consumer.walking import Directories
from tests.dying_os import Countdown, DyingOs
from tests.property.replica_under_model import (
    SALT,
    OurWorld,
    ReplicaUnderModel,
    Tree,
    entry_of,
    model,
    small_bucket,
    text_of,
)

CHANGES_PER_STEP = 5
"""The model counts changes of names; a real step has the stage and the barriers around each."""


def bucket_for_salt(_: bytes, path: bytes) -> int:
    """The model's bucket, whatever the salt."""
    return small_bucket(path)


def install(patch: pytest.MonkeyPatch) -> DyingOs:
    """Four buckets everywhere, and a disk at which a process can die."""
    patch.setattr(agreement, "ALL_BUCKETS", model.BUCKETS)
    patch.setattr(gathering, "SLICE_ROWS", 1)
    patch.setattr(digests, "bucket_of", bucket_for_salt)
    patch.setattr(index, "bucket_of", bucket_for_salt)
    stale = dict.fromkeys(model.BUCKETS, Stale(BEFORE_ALL, None))
    patch.setattr(tables, "ALL_STALE", stale)
    patch.setattr(tables, "FRESH", tables.FRESH.__class__(0, b"", SALT, 0, b"", b"", stale, None, 0))
    patch.setattr(state_module, "FRESH", tables.FRESH)
    patch.setattr(reserve, "FILE_BYTES", 4096)
    dying = DyingOs()
    dying.install(patch)
    return dying


class DiskView(dict[str, str]):
    """What stands on the disk in the model's words; assigning and deleting edits the disk, as somebody else would."""

    def __init__(self, root: Path) -> None:
        self._root = root
        super().__init__({path: text for path in model.PATHS if (text := _read(root / path)) is not None})

    def __setitem__(self, path: str, text: str) -> None:
        super().__setitem__(path, text)
        _remove(self._root / path)
        (self._root / path).write_bytes(text[2:].encode())
        (self._root / path).chmod(entry_of(text).mode)
        os.utime(self._root / path, ns=(0, 0))

    def __delitem__(self, path: str) -> None:
        super().__delitem__(path)
        _remove(self._root / path)


def _read(path: Path) -> str | None:
    try:
        seen = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if path.is_dir():
        return text_of(digests_of_directory(seen.st_mode))
    assert seen.st_mode & 0o777 == 0o644
    assert seen.st_mtime_ns == 0
    return f"f:{path.read_text()}"


def digests_of_directory(mode: int) -> Entry:
    """The entry of a directory with this mode."""
    return entry_of("d:0")._replace(mode=mode & 0o777)


def _remove(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)


class DyingState(State):
    """A state at whose commit, too, the process may die: before it, or behind it."""

    point: Countdown

    def commit(self, step: Step, plan: Plan, outcome: Outcome, *, token: bytes | None = None) -> None:
        self.point()
        super().commit(step, plan, outcome, token=token)
        self.point()


class RealReplica(ReplicaUnderModel):
    """Our rooms over a database file and a directory."""

    def __init__(self, rng: random.Random, count: Counter[str], place: Path, dying: DyingOs) -> None:
        self.place = place
        self.point = Countdown(model.Crash)
        dying.before_each = self.point
        dying.refuses = self.refuses
        self._parts = ExitStack()
        (place / "target").mkdir(parents=True)
        self._settings = ConsumeSettings(
            tree="model",
            broker=f"sqlite:///{place}/queue.db",
            target=place / "target",
            state=place / "state",
            replica="r",
        )
        self._settings.state.mkdir()
        self._disk: DiskView | None = None
        super().__init__(rng, count)
        self._open()

    def new_spool(self) -> Spool:
        return Spool(self.place / "since.db")

    # -- the process
    def _open(self) -> None:
        self.board = Board("consumer", "model", "r")
        stop = threading.Event()
        self.state, target = open_replica(self._settings, stop, self.board, self._parts, _no_broker)
        assert isinstance(self.state, State)
        self.state.__class__ = DyingState
        assert isinstance(self.state, DyingState)
        self.state.point = self.point
        self._applier = Applier(target, self.state, self.board)
        self._target: Target = target

    def close(self) -> None:
        """The process is gone."""
        self._parts.close()
        self._disk = None

    def restart(self) -> None:
        self.forget_volatile()
        self.close()
        self.count["restarts"] += 1
        while True:
            self.point.revive()
            self.point.left = self.rng.randrange(12) if self.rng.random() < 0.2 else None
            try:
                self._open()
            except model.Crash:
                self.count["died while starting"] += 1
                self.close()
                continue
            self.point.left = None
            return

    def forget_all(self) -> None:
        self.close()
        shutil.rmtree(self._settings.state)
        self._settings.state.mkdir()
        self.restart()

    @property
    def steps_to_crash(self) -> int | None:
        return self.point.left

    @steps_to_crash.setter
    def steps_to_crash(self, steps: int | None) -> None:
        self.point.left = None if steps is None else CHANGES_PER_STEP * steps + self.rng.randrange(CHANGES_PER_STEP)

    def refuses(self, what: str, paths: list[str]) -> bool:
        """What is broken cannot be changed, and no name that is directly in it."""
        if what in {"fsync", "write"}:
            return False
        root = os.fspath(self._settings.target) + "/"
        for path in (path.removeprefix(root) for path in paths if self.broken and path.startswith(root)):
            if path in self.broken and os.path.lexists(root + path):
                return True
            if what not in {"fchmod", "chmod", "utime"} and path.rpartition("/")[0] in self.broken:
                return True
        return False

    # -- what it stands on
    @property
    def disk(self) -> dict[str, str]:  # type: ignore[override]  # read anew whenever it may have changed
        if self._disk is None:
            self._disk = DiskView(self.place / "target")
        return self._disk

    def look(self, path: bytes, expected: Entry | None) -> Seen:
        with closing(Directories(self._target.root, may_loosen=False)) as directories:
            return rereading.look(directories, path, expected)

    def carry_out_step(self, decided: agreement.Decided) -> None:
        self._disk = None
        self.count["plans carried out"] += not decided.plan.is_empty
        outcome = self._applier.carry_out(decided)
        self.count["problems met"] += len(outcome.unmet)
        if outcome.unmet and not self.broken:
            raise model.Broken(f"a problem on a disk without problems: {outcome.unmet}")
        self.after_commit(decided.step)

    def digest_of(self, tree: Tree) -> bytes:
        return _digests(tree).tree_digest()

    def bucket_digest_of(self, tree: Tree, bucket: int) -> bytes:
        return _digests(tree).of(bucket)

    def plant(self, path: bytes, entry: Entry) -> None:
        state = self.state
        assert isinstance(state, State)
        row = state.rows([path])[path]
        with state._transaction(state._standing, state._flags):
            state._index.write({path: row._replace(entry=entry)})

    # -- backups
    def save(self, to: Path) -> None:
        """Copies of state and target, of one moment."""
        shutil.rmtree(to, ignore_errors=True)
        for part in ("state", "target"):
            shutil.copytree(self.place / part, to / part, symlinks=True)

    def put_back(self, backup: Path, *parts: str) -> None:
        """The process is stopped, these parts are what they were, and it starts again."""
        self.close()
        for part in parts:
            shutil.rmtree(self.place / part)
            shutil.copytree(backup / part, self.place / part, symlinks=True)
        self.restart()


def _no_broker() -> Any:
    raise AssertionError("no start here needs a broker")


def _digests(tree: Tree) -> BucketDigests:
    found = BucketDigests(SALT)
    for path, entry in tree.items():
        found.replace(path, None, entry)
    return found


class RealWorld(OurWorld):
    """The model's world with a real replica in it, and more that can happen to one."""

    CHAOS = {**model.World.CHAOS, "restore state": 0.25, "restore target": 0.25}  # noqa: RUF012

    def __init__(self, seed: int, count: Counter[str], place: Path, dying: DyingOs) -> None:
        super().__init__(seed, count)
        self.place = place / str(seed)
        self.backup_drifted: set[str] | None = None
        self.replica: RealReplica = self.with_limit(RealReplica(self.rng, self.count, self.place, dying))

    def act(self, what: str) -> None:
        if what == "back up":
            self.replica.save(self.place / "backup")
            self.backup_drifted = set(self.drifted)
        elif what.startswith("restore"):
            self._restore(what)
        elif what in {"ask", "scrub acts"} and self.rng.random() < 0.05:
            self._dying_in(what)
        else:
            super().act(what)

    def _restore(self, what: str) -> None:
        if self.backup_drifted is None:
            return
        self.count[what] += 1
        if what == "restore":
            self.drifted = set(self.backup_drifted)
            self.replica.put_back(self.place / "backup", "state", "target")
        else:
            self.drifted |= self.backup_drifted
            self.replica.put_back(self.place / "backup", what.removeprefix("restore "))

    def _dying_in(self, what: str) -> None:
        self.replica.steps_to_crash = self.rng.randrange(7)
        try:
            super().act(what)
            self.replica.steps_to_crash = None
        except model.Crash:
            self.replica.restart()

    def run(self) -> str | None:
        try:
            broken: str | None = super().run()
            return broken
        finally:
            self.replica.close()
            self.replica.point.revive()
            shutil.rmtree(self.place, ignore_errors=True)
