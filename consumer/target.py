"""The replica's disk: one directory, entered by descriptor, changed by plans only. Nothing outside it is ever touched.

Knows the stage, the plan's order and the barriers; not what the tree should hold. Opening writes nothing: a target that
turns out not to be ours is left as it was. Used from one thread.
"""

import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from common.entries import Entry
from common.errors import HaltError, SettingError
from common.messages import INLINE_LIMIT_BYTES
from common.names import STAGE_NAME
from common.patterns import Patterns
from consumer import survey
from consumer.appearance import AS_PUBLISHED, Appearance
from consumer.aside import ASIDE, Aside
from consumer.barrier import Barrier, opened_to_sync
from consumer.clearing import Protects, either
from consumer.descriptors import LIST, read_small
from consumer.faults import during, raise_if_general
from consumer.foreign import clear_paths
from consumer.holding import SETTING, check_is_here, open_root
from consumer.shelf import Shelf, list_aside
from consumer.stage import MARK, PLAN, POSITION, Stage
from consumer.stagefiles import Age, Mark, decode_age, decode_mark, decode_plan
from consumer.store import Store
from consumer.survey import Pulse, Survey, no_pulse
from consumer.swap import Swap
from consumer.values import ForeignPolicy, Found, Keep, LeftPlan, Outcome, Plan, Put, Touch, Unmet


@dataclass(frozen=True, slots=True)
class Staged:
    """A plan whose contents and paths are written into the stage. `failed`: contents that could not be."""

    plan: Plan
    number: int
    failed: dict[bytes, Unmet]
    count: int
    """How many files and directories the barrier makes durable."""


class Target:
    """An open target, held by this process alone until `close`.

    The order is: `open`; look (`mark`, `age`, `left_plan`, `survey`); `take`; `left_plan` resolved, `settle`; then for each
    plan `stage`, `barrier`, `swap`, `names_barrier`, the caller's commit, `finish_plan`.
    """

    def __init__(
        self, path: Path, root: int, protects: Protects | None, appearance: Appearance, foreign: ForeignPolicy
    ) -> None:
        """Use `open`."""
        self.foreign = foreign
        self._shelf: Shelf | None = None
        self.appearance = appearance
        self.path = path
        self._root = root
        self._own_protects = self._protects = protects
        self._barrier = Barrier(root)
        self._stage: Stage | None = None
        self._changed: set[bytes] = set()
        self._left: frozenset[bytes] = frozenset()
        """The paths of a plan whose swap began and that was not finished."""
        self._placed_before: frozenset[bytes] = frozenset()
        """The contents that such a swap placed: they are ours."""
        self._carried_out: tuple[Plan, Outcome] | None = None
        """The swap that ended, while what comes after it may yet fail."""
        self._placed: list[bytes] = []
        """Digests of stored contents that have their names in the tree now."""

    @classmethod
    def open(
        cls,
        path: Path,
        protects: Protects | None = None,
        appearance: Appearance = AS_PUBLISHED,
        foreign: ForeignPolicy = "aside",
    ) -> "Target":
        """Open a target and hold it. Writes nothing.

        `protects(path, is_directory)`: what is excluded, and so neither seen nor touched. Raises SettingError for a path that
        no target may be, AlreadyRunningError when another process holds it.
        """
        return cls(path, open_root(path), protects, appearance, foreign)

    def close(self) -> None:
        """Let it go. Idempotent."""
        if self._shelf is not None:
            self._shelf.close()
        if self._stage is not None:
            self._stage.close()
            self._stage = None
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def __enter__(self) -> "Target":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def root(self) -> int:
        """A descriptor of the target, which stays ours."""
        return self._root

    @property
    def protects(self) -> Protects | None:
        """What is neither seen nor touched."""
        return self._protects

    @property
    def has_left_plan(self) -> bool:
        """Whether a plan was left half carried out, and is not resolved."""
        return bool(self._left)

    # -- looking
    def mark(self) -> Mark | None:
        """The mark that stands here."""
        content = self._small(MARK)
        return decode_mark(content) if content is not None else None

    def age(self) -> Age | None:
        """The commit that the disk is from, None where that is not known."""
        content = self._small(POSITION)
        return decode_age(content) if content is not None else None

    def left_plan(self) -> LeftPlan | None:
        """The plan that a crash, or a fault in the swap, left behind. One whose checksum fails was never swapped: None."""
        content = self._small(PLAN)
        return decode_plan(content) if content is not None else None

    def is_empty(self) -> bool:
        """Whether nothing stands here but what is nobody's or protected."""
        return survey.count(self._root, self._protects, only_first=True).is_empty

    def survey(self) -> Survey:
        """How much stands here that could be part of a tree."""
        return survey.count(self._root, self._protects)

    def scan(self, others: list[bytes] | None = None, pulse: Pulse = no_pulse) -> Iterator[Found]:
        """Everything on the disk with its digest. Into `others` goes what no tree can carry: foreign by its kind.

        `pulse` is called now and then, within a large file too; what it raises ends the scan.
        """
        return survey.scan(self._root, self._protects, others if others is not None else [], pulse)

    def look(self, paths: Collection[bytes], pulse: Pulse = no_pulse) -> dict[bytes, Entry]:
        """What stands at these paths now; absent ones are left out. `pulse`: as for `scan`."""
        return survey.look(self._root, paths, self._protects, pulse)

    def make_durable(self) -> None:
        """What stands here now will stand here after a power cut, whoever wrote it. Raises HaltError.

        For a disk that is about to be believed: the process that moved its names may have died before its barrier.
        """
        with during("making the disk durable"):
            self._barrier.make_all_durable()

    # -- taking it
    def take(self, mark: Mark | None = None) -> None:
        """Open the stage, and prove by a trial that it can be renamed from. `mark`: write it, where the target becomes ours.

        Raises SettingError where the stage does not work, NoRoomError, HaltError. Idempotent.
        """
        with during("opening the stage"):
            try:
                if self._stage is None:
                    self._stage = Stage(self._root, self.appearance)
                self._stage.try_rename()
            except OSError as error:
                raise_if_general(error, "trying the stage")
                allowed = f"a directory where files can be renamed from {os.fsdecode(STAGE_NAME)} ({error.strerror})"
                raise SettingError(SETTING, str(self.path), allowed) from error
            if mark is not None:
                self._stage.save_mark(mark)
                os.fsync(self._root)
            self._stage.reserve.make()

    def settle(self, age: Age) -> None:
        """State and disk are of one age now, this one; a plan that was left is resolved and goes. Idempotent."""
        with during("settling the stage"):
            self._opened.save_age(age)
            self._opened.remove_plan()
            self._opened.clean()
        self._left, self._placed_before, self._carried_out = frozenset(), frozenset(), None

    # -- large contents
    @property
    def store(self) -> Store:
        """Where large contents are until they are placed; `take` opens it."""
        return self._opened.store

    def keep(self, keeps: tuple[Keep, ...]) -> None:
        """Keep the contents of these files in the store, as far as that can be done. Raises HaltError."""
        self.store.keep(self._root, keeps)

    # -- one plan
    def stage(self, plan: Plan, number: int, token: bytes) -> Staged:
        """Write the plan and its contents. `number`: of the commit that it is for; `token`: drawn for it.

        Raises NoRoomError after cleaning up (what was left before is left still), and HaltError. After a NoRoomError of `swap`
        only a plan that covers the one that was left may be staged: else resolve it first, as at a start.
        """
        if not self._left <= plan.touched:
            raise HaltError("a plan was left half carried out, and another was begun before it was resolved. Restart")
        with during("staging"):
            for content in plan.contents:
                if type(content) is Touch and content.entry.size > INLINE_LIMIT_BYTES:
                    # Its only name must be the tree's, or it would be copied here.
                    self.store.let_go(content.entry.digest)
            failed = self._opened.write(plan.contents)
            only_removes = not any(type(content) is Put for content in plan.contents)
            self._opened.write_plan(
                number, plan.touched, Age(number, token), over_a_left_one=bool(self._left), only_removes=only_removes
            )
        return Staged(plan, number, failed, len(plan.contents) - len(failed) + 4)

    def barrier(self, staged: Staged) -> None:
        """Contents and plan are durable when this returns. Raises HaltError; a sync that failed is never believed again."""
        with during("making contents durable"):
            self._barrier.make_durable(staged.count, lambda: self._opened.staged(staged.plan.contents, staged.failed))

    def swap(self, plan: Plan, staged: Staged) -> Outcome:
        """Move the names. What fails at one path is unmet in the outcome; the rest is done. May be carried out again."""
        check_is_here(self._root, self.path)
        is_again = bool(self._left)
        self._left |= plan.touched
        if self._carried_out is not None:
            before, came = self._carried_out
            self._placed_before |= {put.path for put in before.contents if put.path not in came.unmet}
        with during("swapping"):
            with self._aside(staged.number) as aside:
                swap = Swap(
                    plan,
                    self._root,
                    self._opened.contents,
                    aside,
                    self._protects,
                    staged.failed,
                    appearance=self.appearance,
                    foreign=self.foreign,
                    fresh=plan.fresh - self._placed_before,
                    is_again=is_again,
                )
                try:
                    outcome = swap.carry_out()
                finally:
                    self._changed |= swap.changed
                    self._placed_before |= swap.placed
            self._opened.swap_position()
            stored = [put for put in plan.contents if type(put) is Put and put.body is None]
            if stored:
                # Where a swap is carried out again, the name here and the one in its place are one file's: no rename takes it.
                self._opened.clean()
        self._carried_out = plan, outcome
        self._placed = [put.entry.digest for put in stored if put.path not in outcome.unmet]
        if not stored and not outcome.unmet:
            self._opened.swapped_all()
        return outcome

    def names_barrier(self) -> None:
        """The names that the swap moved are durable when this returns. Raises HaltError."""
        with during("making names durable"):
            self._barrier.make_durable(
                len(self._changed) + 1, lambda: opened_to_sync(self._root, self._opened.home, self._changed)
            )
        self._changed = set()

    def finish_plan(self) -> None:
        """The state has committed: the plan goes. Not durable by itself, and need not be: its number tells. Idempotent."""
        with during("finishing a plan"):
            for digest in self._placed:
                self.store.drop_content(digest)
            self._opened.remove_plan()
        self._placed = []
        self._left, self._placed_before, self._carried_out = frozenset(), frozenset(), None

    # -- what is foreign
    def set_aside(self, paths: Collection[bytes], number: int) -> tuple[bytes, ...]:
        """Move these foreign paths aside whatever the policy is, as far as that can be done; returns what was moved."""
        with self._aside(number) as aside:
            return clear_paths(self._root, aside, paths, self._protects, "aside")[1]

    def clear_foreign(self, paths: Collection[bytes], number: int) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """What somebody else put at these paths goes as the policy is; returns what is gone, and what of it stands aside."""
        with self._aside(number) as aside:
            return clear_paths(self._root, aside, paths, self._protects, self.foreign)

    @contextmanager
    def _aside(self, number: int) -> Iterator[Aside]:
        """Where things go aside in this commit."""
        aside = Aside(self._opened.home, number)
        try:
            yield aside
        finally:
            aside.close()
            self.shelf.has_condemned |= aside.has_condemned

    @property
    def shelf(self) -> Shelf:
        """What stands aside."""
        self._shelf = self._shelf or Shelf(self._opened.home)
        return self._shelf

    def protect(self, patterns: Patterns) -> None:
        """From now on what these exclude is protected, beside what was at the opening."""
        self._protects = either(self._own_protects, patterns.excludes if patterns else None)

    def release(self) -> Path | None:
        """Take our stage away again, all but an `aside` that is not empty: its path is returned. The target stays held."""
        with during("removing the stage"):
            stage = self._opened
            stage.remove_all()
            self.shelf.remove_condemned()
            kept = list_aside(stage.home)
            if not kept:
                with suppress(FileNotFoundError):
                    os.rmdir(ASIDE, dir_fd=stage.home)
                os.rmdir(STAGE_NAME, dir_fd=self._root)
            stage.close()
            self._stage = None
        return self.path / os.fsdecode(STAGE_NAME) / os.fsdecode(ASIDE) if kept else None

    # -- inside
    @property
    def _opened(self) -> Stage:
        assert self._stage is not None, "take() comes first"
        return self._stage

    def _small(self, name: bytes) -> bytes | None:
        with during("reading the stage"):
            try:
                home = os.open(STAGE_NAME, LIST, dir_fd=self._root)
            except FileNotFoundError:
                return None
            try:
                return read_small(name, home)
            finally:
                os.close(home)
