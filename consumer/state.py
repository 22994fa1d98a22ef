"""The replica's one database: where it stands, its index, tombs, unmet paths. It changes only in single transactions.

It knows no disk but its own file, and decides nothing: what a step means was decided by `agreement`. Not thread-safe.
"""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from common.entries import Entry, Position
from common.patterns import Patterns, lines_of, patterns_of
from consumer import tables
from consumer.changes import changed_paths, in_doubt
from consumer.hold_record import Parked, save_departed
from consumer.hook_record import HookRecord
from consumer.index import Counts, Index
from consumer.missing import Missing
from consumer.recent import RecentTable
from consumer.scrub_record import ScrubTable
from consumer.shelf_record import ShelfRecord
from consumer.statefile import connect, converted, transaction
from consumer.tables import FRESH, Flags
from consumer.tombs import TombTable
from consumer.unmet import UnmetTable
from consumer.values import Found, Outcome, Plan, Reason, Row, Standing, Step, Unmet

NOTHING_ABSENT: Mapping[bytes, Unmet] = {}


class State:
    """Implements `View`; reads are as of the last commit.

    Every method raises NoRoomError when there is no room (the transaction did not happen and may be tried again) and
    HaltError when the file cannot be trusted any more.
    """

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        """Use `open`."""
        self.path = path
        self._database = database
        self._standing = tables.read_standing(database)
        self._flags = tables.read_flags(database)
        self._patterns = Patterns()
        self._index = Index(database, self._standing.salt, tables.read_counts(database))
        self._unmet = UnmetTable(database)
        self._tombs = TombTable(database)
        self._recent = RecentTable(database)
        self.missing = Missing(database, path)
        """Which contents are missing, and where a large one is already."""
        self.parked = Parked(database, path, self._unmet, self._beside)
        """What is held, and what is released and not removed yet."""
        self.shelf = ShelfRecord(database, path)
        """Since when things stand aside."""
        self.scrub = ScrubTable(database, path)
        self.hook = HookRecord(database, path)

    @classmethod
    def open(cls, path: Path, tree: str, replica: str) -> "State":
        """Open or make the state of this replica of this tree.

        Raises StateError, which says what to do, for a file that is corrupt, foreign, of a newer version or another tree's.
        """
        database = connect(path)
        try:
            with converted(path):
                tables.make_fresh(database, tree, replica)
                tables.check_tree(database, path, tree)
                return cls(database, path)
        except BaseException:
            database.close()
            raise

    def close(self) -> None:
        """Close the file. Idempotent."""
        self._database.close()

    def __enter__(self) -> "State":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- where it stands
    def standing(self) -> Standing:
        """Where the replica stands. Fresh: nothing is known and every bucket is stale."""
        return self._standing

    @property
    def token(self) -> bytes:
        """The random token of the last commit that had a plan: the disk holds the same pair (commits, token)."""
        return self._flags.token

    @property
    def mark(self) -> str:
        """The mark that the target must carry; "" when this state has no target yet."""
        return self._flags.mark

    @property
    def is_released(self) -> bool:
        """Whether the mark was taken away on purpose, with the replica left as it was."""
        return self._flags.is_released

    @property
    def first_copy_complete(self) -> bool:
        """Whether the replica was level with the master once, so that it may be served from."""
        return self._flags.first_copy_complete

    @property
    def patterns(self) -> Patterns:
        """The tree's exclude patterns, as far as they are known here."""
        if self._patterns.lines != lines_of(self._flags.patterns):
            self._patterns = patterns_of(self._flags.patterns)
        return self._patterns

    @property
    def counts(self) -> Counts:
        """How much is indexed; costs nothing."""
        return self._index.counts

    # -- View
    def rows(self, paths: Collection[bytes]) -> dict[bytes, Row]:
        """The indexed ones of these paths; some 4 microseconds each, less when they were asked for since the last commit."""
        with converted(self.path):
            return self._index.rows(paths)

    def tombs(self, paths: Collection[bytes]) -> dict[bytes, Position]:
        """The deletes seen live in stale buckets, of these paths."""
        with converted(self.path):
            return self._tombs.of(paths)

    def unmet(self, paths: Collection[bytes]) -> dict[bytes, Unmet]:
        """The unmet ones of these paths."""
        with converted(self.path):
            return self._unmet.of(paths)

    def has_parked(self) -> bool:
        """Whether anything is held, or released and not removed yet; costs nothing."""
        return self._unmet.has_parked

    def parked_below(self, path: bytes) -> Iterator[tuple[bytes, Reason]]:
        """What is held below this path, or released and not removed yet, and which of the two."""
        with converted(self.path):
            yield from self._unmet.parked_below(path)

    def in_buckets(self, buckets: Collection[int]) -> set[bytes]:
        """Every indexed path of these buckets."""
        with converted(self.path):
            return self._index.in_buckets(buckets)

    def bucket_counts(self) -> dict[int, int]:
        """See `Index.bucket_counts`."""
        with converted(self.path):
            return self._index.bucket_counts()

    def rows_of_bucket(self, bucket: int) -> dict[bytes, Row]:
        """What is indexed in one bucket, in byte order."""
        with converted(self.path):
            return self._index.rows_of_bucket(bucket)

    def below(self, path: bytes) -> list[bytes]:
        """Every indexed path below this one (all of them for the root), in byte order."""
        with converted(self.path):
            return self._index.below(path)

    def bucket_of(self, path: bytes) -> int:
        """The path's bucket under the current salt."""
        return self._index.bucket_of(path)

    def recent(self, last: int) -> bytes | None:
        """The hash of the batch of this epoch that ended at `last`, if it is among the last 1,000."""
        with converted(self.path):
            return self._recent.of(last)

    def tree_digest(self) -> bytes:
        """The digest over the whole index; some 100 microseconds."""
        return self._index.tree_digest()

    def tree_digest_with(self, changes: Mapping[bytes, Entry | None]) -> bytes:
        """The digest that the index would have after these changes. A `commit` of the same changes is cheaper for it."""
        with converted(self.path):
            return self._index.tree_digest_with(changes)

    def bucket_digest(self, bucket: int) -> bytes:
        """The digest of one bucket; `EMPTY_BUCKET` when nothing is in it."""
        return self._index.bucket_digest(bucket)

    def filled_buckets(self) -> list[tuple[int, bytes]]:
        """Every bucket that is not empty, with its digest, in order."""
        with converted(self.path):
            return self._index.filled_buckets()

    def unmet_paths(self, limit: int, reason: Reason | None = None, *, after: bytes = b"") -> dict[bytes, Unmet]:
        """The first `limit` unmet paths behind `after` in byte order, of one reason or of all."""
        with converted(self.path):
            return self._unmet.first(limit, reason, after)

    def count_unmet(self) -> dict[Reason, int]:
        """How many paths are unmet, by reason, without those that are none; costs nothing."""
        return self._unmet.counts

    # -- changes, each one transaction
    def commit(self, step: Step, plan: Plan, outcome: Outcome, *, token: bytes | None = None) -> None:
        """Take one step with what came of its plan, in the order that `Step` states. `token`: the one that was staged.

        A delete that is wanted in a stale bucket, with the position that told it, leaves a tomb; with no position, the tomb
        that is there stays. Corrections lose their position. After an error the state is as before.
        """
        flags = self._flags if token is None else self._flags._replace(token=token)
        if plan.patterns is not None:
            flags = flags._replace(patterns=plan.patterns)
        with self._transaction(step.standing, flags):
            if step.standing.salt != self._index.salt:
                self._index.rekey(step.standing.salt)
            elif step.alarm == "diverged":
                self._index.reckon()
            if step.forget_recent:
                self._recent.drop_all()
            self._tombs.drop_in(step.marked)
            self._take(step, plan, outcome)
            if self.hook.is_on:
                self.hook.take(changed_paths(plan, outcome))
            self._tombs.drop_in(step.levelled)
            self._index.publish(step.levelled)
            self._recent.put(step.recent)
            save_departed(self._database, plan.let_go)

    def adopt(self, scan: Iterable[Found], *, first_copy_complete: bool, token: bytes = b"") -> None:
        """First start, adoption, lost state: the index becomes what is on the disk, as guesses, and nothing is known.

        A path that the old index did not have counts as found. The patterns that are in force here keep their row, as a guess
        too: else nobody would tell that the tree has them no more. The number of commits goes on. `token` is the one that the
        disk will hold with it. The salt stays until a producer tells one.
        """
        standing = replace(FRESH, salt=self._standing.salt, commits=self._standing.commits)
        flags = self._flags._replace(token=token, first_copy_complete=first_copy_complete)
        with self._transaction(standing, flags):
            self._index.replace_all(scan)
            self._index.write(tables.patterns_row(flags))
            self._recent.drop_all()
            self._unmet.drop_all()
            self._tombs.drop_all()
            self.hook.take_everything()

    def take_from_disk(
        self,
        paths: Collection[bytes],
        on_disk: Mapping[bytes, Entry],
        standing: Standing,
        *,
        token: bytes,
        absent: Mapping[bytes, Unmet] = NOTHING_ABSENT,
    ) -> None:
        """A plan was left: these paths become what is on disk. No position, no tomb, not unmet; the tombs of their buckets go.

        `absent`: those of them that are no entries, whatever the disk has, and are unmet. `standing` has these buckets marked,
        without a base. `token` is a new one: the disk is not what it was at the last commit, and a copy of the state from then
        must be noticed. Idempotent.

        What is not what the index had counts as found: the plan may have placed it, or somebody else, whom the plan was to clear
        away. Once its bucket is level it counts as published.
        """
        with self._transaction(standing, self._flags._replace(token=token)):
            old = self._index.rows(paths)
            self.hook.take(in_doubt(old, self._unmet.of(paths), on_disk, paths))
            changes = dict.fromkeys(paths, None) | {
                path: Row(entry, None, path not in old or old[path].found or not entry.same_content(old[path].entry))
                for path, entry in on_disk.items()
                if path in paths and path not in absent
            }
            self._unmet.drop(paths)
            self._unmet.put(absent)
            self._tombs.drop_in({self.bucket_of(path) for path in paths})
            self._index.write(changes)

    def bind(self, mark: str) -> None:
        """This state belongs to the target that carries this mark; it is not released any more. Idempotent."""
        self._set(self._flags._replace(mark=mark, is_released=False))

    def release(self) -> None:
        """The mark was taken away on purpose: next time the target is taken again without adoption. Idempotent."""
        self._set(self._flags._replace(mark="", is_released=True))

    def complete_first_copy(self) -> None:
        """The replica is level with the master for the first time. Idempotent."""
        self._set(self._flags._replace(first_copy_complete=True))

    # -- inside
    def _set(self, flags: Flags) -> None:
        if flags != self._flags:
            with self._transaction(self._standing, flags):
                pass

    def _beside(self) -> AbstractContextManager[None]:
        """What is done inside becomes durable as one; the replica stands where it stood."""
        return self._transaction(self._standing, self._flags)

    @contextmanager
    def _transaction(self, standing: Standing, flags: Flags) -> Iterator[None]:
        """What is done inside, with this standing and these flags, becomes durable as one, or not at all."""
        try:
            with transaction(self._database, self.path):
                yield
                self._save(standing, flags)
        except BaseException:
            self._recount()
            raise
        self._index.accept()
        self._standing, self._flags = standing, flags

    def _recount(self) -> None:
        """The transaction has not happened."""
        self._index.forget()
        with suppress(sqlite3.Error):
            self._unmet.recount()
            self._tombs.recount()
            self.hook.recount()

    def _save(self, standing: Standing, flags: Flags) -> None:
        self._index.save_digests()
        tables.save_stale(self._database, self._standing.stale, standing.stale)
        tables.save_standing(self._database, standing, flags, self._index.counts)

    def _take(self, step: Step, plan: Plan, outcome: Outcome) -> None:
        changes: dict[bytes, Row | None] = {}
        for path, entry in plan.corrections.items():
            changes[path] = Row(entry, None) if entry is not None else None
        unmet = {**plan.unmet, **outcome.unmet}
        # What stands there is still what was found, and will have to go aside when the content comes.
        still_found = {path for path, row in self._index.rows(unmet).items() if row.found} | (plan.fresh & unmet.keys())
        for path, told in step.want.items():
            changes[path] = Row(told.entry, told.at, path in still_found) if told.entry is not None else None
        self._unmet.drop(changes.keys())
        self._index.write(changes)
        self._unmet.put(unmet)
        self._tombs.take(step, changes, self._index.bucket_of)
