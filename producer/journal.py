"""Does: the producer's durable state, one SQLite database: index, bucket digests, change log, outbox, position.

One transaction for each batch makes all of it durable before anything is published. Owned by one thread. Knows nothing of the
source, of watching and of brokers. Every method may raise NoRoomError (nothing was changed; the same call may be repeated),
StateError and HaltError, as `journal_schema.converted` says.
"""

import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from common.digests import BucketDigests, new_salt
from common.entries import Entry
from common.errors import SettingError
from common.messages import Lineage
from common.names import PATTERNS_PATH, ROOT, range_below
from producer import announced, changed, changelog, journal_schema
from producer.access import Access
from producer.announced import Announced
from producer.epochs import first_head
from producer.guard import RootIdentity
from producer.held import HeldPaths
from producer.journal_rows import ROW, known_of, signed
from producer.numbering import Applied, Numbered, Stand
from producer.outbox import Outbox
from producer.roster_record import RosterRecord
from producer.values import Identity, Known

LOG_LIMIT_ROWS = 3_000_000
_PAGE_ROWS = 2000
_QUESTION_MARKS = 500
_UPSERT = f"""
INSERT INTO entry ({ROW}, bucket) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET kind = excluded.kind, mode = excluded.mode, mtime_ns = excluded.mtime_ns,
size = excluded.size, digest = excluded.digest, owner = excluded.owner, inode = excluded.inode, ctime_ns = excluded.ctime_ns
"""


class Reread(NamedTuple):
    """How far the reading of all files is: behind `after`, since `began` (0: none is under way); `ended`: when the last one that
    could read everything was over (0: never). Unix seconds, by a clock that may jump."""

    after: bytes = b""
    began: float = 0.0
    ended: float = 0.0


class Journal:
    """See the module. `stand` is where it stands, as of the last commit."""

    def __init__(self, path: Path, tree: str, *, log_limit_rows: int = LOG_LIMIT_ROWS) -> None:
        """Opens or makes it. Raises SettingError when it is another tree's."""
        self.path = path
        self._log_limit_rows = log_limit_rows
        self._database = journal_schema.open_database(path)
        with self._converted():
            self._begin_state(tree)
            access = Access(self._database, self._transaction, self._converted)
            self.held, self.outbox, self.roster = HeldPaths(access), Outbox(access), RosterRecord(access)
            self.stand = self._read_stand(tree)
            self.is_base_complete = bool(self._get("base_complete", 0))
            """Whether the whole source was in the index once; from then on differences are events."""
            self.announced = announced.read(self._database)
            """The last epoch that was announced; whether the index is vouched for."""
            self.root_identity = self._read_root_identity()
            """The identity of the source's root when the whole tree was last compared."""

    def close(self) -> None:
        """End; what was confirmed is forgotten first, as far as there is room. Idempotent."""
        self._database.close()

    # -- position and epoch

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that is known, our own or another's."""
        return max(self.stand.lineage.epoch, int(self._get("seen_epoch", 0)))

    def begin_epoch(self, lineage: Lineage) -> None:
        """A new run: from now on everything is numbered under this lineage; the sequence goes on."""
        stand = self.stand
        after = replace(stand, lineage=lineage, head=first_head(lineage))
        with self._transaction():
            self._set(epoch=lineage.epoch, instance=lineage.instance, head=after.head)
            changelog.begin_epoch(self._database, after.sequence)
        self.stand = after

    @property
    def is_announced(self) -> bool:
        """Whether the epoch of this run is announced: only then anything is numbered under it."""
        return self.announced.is_of(self.stand.lineage)

    def announce(self, *, is_released: bool | None) -> None:
        """The epoch of this run is announced from here on, and the index vouched for. `is_released`: whether all deletes up to
        here are meant; None: what was released before stays so."""
        after = self.announced.announced(self.stand.lineage, time.time())
        released = self.stand.released if is_released is None else max(1, self.stand.sequence) * is_released
        with self._transaction():
            announced.write(self._database, after)
            self._set(released=released)
        self.announced, self.stand = after, replace(self.stand, released=released)

    def note(self, value: Announced) -> None:
        """What else is known of the epoch. Idempotent."""
        if value != self.announced:
            with self._transaction():
                announced.write(self._database, value)
            self.announced = value

    def reopen(self) -> None:
        """The index is older than what was published: the source is to be taken into it anew, without an event. What it had
        not confirmed goes: it was published by the one who went on from there, or is over. So do its holds: they are of a tree
        that nobody vouches for. Idempotent."""
        after = self.announced.reopened()
        with self._transaction():
            announced.write(self._database, after)
            self._set(base_complete=0, released=0)
            self.outbox.clear()
            self.held.clear()
        self.announced, self.is_base_complete = after, False
        self.stand = replace(self.stand, released=0)
        self.outbox.settled()
        self.held.cleared()

    def release(self) -> None:
        """Somebody vouches for the tree as it stands: all deletes up to here are meant, and from now on those of each batch."""
        released = max(1, self.stand.sequence)
        with self._transaction():
            self._set(released=released)
        self.stand = replace(self.stand, released=released)

    def note_epoch(self, epoch: int) -> None:
        """Another producer's epoch was seen: the next one of ours is above it."""
        if epoch > self.highest_epoch:
            with self._transaction():
                self._set(seen_epoch=epoch)

    def whole_compared(self, root: RootIdentity) -> None:
        """The whole source was compared with the index: the base is complete, and this is the root that it was made from."""
        if self.is_base_complete and self.root_identity == root:
            return
        with self._transaction():
            self._set(base_complete=1, root_identity=f"{root.device} {root.inode}")
        self.is_base_complete, self.root_identity = True, root

    @property
    def reread(self) -> Reread:
        """What was noted last."""
        return Reread(self._get("reread_after", b""), self._get("reread_began", 0.0), self._get("reread_ended", 0.0))

    def note_reread(self, here: Reread) -> None:
        """The reading of all files is so far. Idempotent."""
        with self._transaction():
            self._set(reread_after=here.after, reread_began=here.began, reread_ended=here.ended)

    # -- writing

    def commit(self, numbered: Numbered) -> None:
        """Index, bucket digests, change log, outbox and position of one batch, in one transaction: all of it or nothing.

        Also forgets what was confirmed. Not idempotent; after an error the journal stands where it stood.
        """
        after = numbered.after
        with self._transaction():
            self._write_index(numbered)
            self._write_log(numbered)
            unheld = self.held.published(numbered.changes)
            self.outbox.put(numbered.first, after.sequence, numbered.message)
            self._set(sequence=after.sequence, head=after.head, released=after.released)
            self.outbox.drop_confirmed()
        self.stand = after
        self.outbox.settled()
        self.held.settle(unheld)

    def commit_base(self, applied: Applied) -> None:
        """Index and bucket digests without an event, in one transaction. Only before the base is complete."""
        with self._transaction():
            self._write_index(applied)
        self.stand = applied.after

    def remember(self, identities: Sequence[tuple[bytes, Identity]]) -> None:
        """Identities that changed while nothing else did. Idempotent; no event comes of it."""
        rows = [(signed(identity.inode), identity.ctime_ns, path) for path, identity in identities]
        with self._transaction():
            self._database.executemany("UPDATE entry SET inode = ?, ctime_ns = ? WHERE path = ?", rows)

    # -- reading

    def entries(self, paths: Collection[bytes]) -> dict[bytes, Known]:
        """The indexed ones of these paths."""
        found: dict[bytes, Known] = {}
        rest = iter(paths)
        while part := list(islice(rest, _QUESTION_MARKS)):
            marks = ",".join("?" * len(part))
            found.update((known.path, known) for known in self._rows(f"path IN ({marks})", part))
        return found

    def entry(self, path: bytes) -> Entry | None:
        """What the index has at a path."""
        found = self._rows("path = ?", (path,))
        return found[0].entry if found else None

    def below(self, path: bytes) -> Iterator[tuple[bytes, Entry]]:
        """Everything below a path, last in byte order first; in pages, so commits may come between."""
        low, high = range_below(path) if path != ROOT else (b"", b"\xff" * 2)
        while page := self._rows(f"path >= ? AND path < ? ORDER BY path DESC LIMIT {_PAGE_ROWS}", (low, high)):
            for known in page:
                yield known.path, known.entry
            high = page[-1].path

    def known(self, start: bytes = ROOT) -> Iterator[Known]:
        """The index at and below a path (`ROOT`: all of it) in byte order; in pages, so commits may come between. Without the
        patterns, which no walk sees."""
        low, high = (b"", b"\xff" * 2) if start == ROOT else range_below(start)
        if start != ROOT:
            yield from self._rows("path = ?", (start,))
        page = self._rows(f"path >= ? AND path < ? ORDER BY path LIMIT {_PAGE_ROWS}", (low, high))
        while page:
            yield from (row for row in page if row.path != PATTERNS_PATH)
            page = self._rows(f"path > ? AND path < ? ORDER BY path LIMIT {_PAGE_ROWS}", (page[-1].path, high))

    def rows_in_bucket(self, bucket: int) -> list[Known]:
        """Everything that one bucket holds, from one read, in byte order."""
        return self._rows("bucket = ? ORDER BY path", (bucket,))

    def changed_since(self, base: int) -> changed.Changed | changed.OutOfReach | changed.Ahead:
        """What became of the tree after this sequence of our epoch, from one read."""
        with self._converted():
            return changed.changed_since(self._database, base)

    def catch_up_window_seconds(self) -> float:
        """See `changed.catch_up_window_seconds`."""
        with self._converted():
            stand = self.stand
            return changed.catch_up_window_seconds(
                self._database, stand.sequence, stand.entries, self._log_limit_rows, _unix_ms()
            )

    def unix_after(self, sequence: int) -> float | None:
        """When the first change after this sequence was numbered, in unix seconds; None: nothing was since, or it is pruned."""
        with self._converted():
            unix_ms = changelog.time_of(self._database, sequence + 1)
        return None if unix_ms is None else unix_ms / 1000

    # -- inner

    def _begin_state(self, tree: str) -> None:
        known = self._get("tree", None)
        if known is None:
            with self._transaction():
                self._set(tree=tree, salt=new_salt(), epoch=0, instance=b"", sequence=0, head=b"")
        elif known != tree:
            raise SettingError("tree", tree, f"{known!r}, whose journal is {self.path}")

    def _read_stand(self, tree: str) -> Stand:
        digests = BucketDigests(self._get("salt", b""))
        for bucket, digest in self._database.execute("SELECT number, digest FROM bucket"):
            digests.put(bucket, digest)
        lineage = Lineage(tree, self._get("epoch", 0), self._get("instance", b""), digests.salt)
        (entries,) = self._database.execute("SELECT count(*) FROM entry WHERE path != ?", (PATTERNS_PATH,)).fetchone()
        sequence, head = self._get("sequence", 0), self._get("head", b"")
        released = self._get("released", 0)
        return Stand(lineage, sequence, head, digests, digests.tree_digest(), entries, released)

    def _read_root_identity(self) -> RootIdentity | None:
        told = self._get("root_identity", None)
        return None if told is None else RootIdentity(*map(int, told.split()))

    def _write_index(self, applied: Applied) -> None:
        gone = [(change.path,) for change in applied.changes if change.new is None]
        rows = [
            (path, *new, signed(identity[0]), identity[1], bucket)
            for (path, _, new, _, identity, _), bucket in zip(applied.changes, applied.buckets, strict=True)
            if new is not None
        ]
        digests = [(bucket, applied.after.digests.of(bucket)) for bucket in sorted(set(applied.buckets))]
        self._database.executemany("DELETE FROM entry WHERE path = ?", gone)
        self._database.executemany(_UPSERT, rows)
        self._database.executemany("INSERT OR REPLACE INTO bucket (number, digest) VALUES (?, ?)", digests)

    def _write_log(self, numbered: Numbered) -> None:
        epoch = numbered.after.lineage.epoch
        changelog.append(self._database, epoch, numbered.first, numbered.changes, _unix_ms())
        changelog.prune(self._database, numbered.after.sequence, len(numbered.changes), self._log_limit_rows)

    def _rows(self, where: str, arguments: Sequence[Any]) -> list[Known]:
        with self._converted():
            rows = self._database.execute(f"SELECT {ROW} FROM entry WHERE {where}", arguments)
            return [known_of(row) for row in rows]

    def _get(self, key: str, default: Any) -> Any:
        with self._converted():
            row = self._database.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return row[0] if row is not None else default

    def _set(self, **values: Any) -> None:
        statement = (
            "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        )
        self._database.executemany(statement, values.items())

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._converted():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            finally:
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")

    @contextmanager
    def _converted(self) -> Iterator[None]:
        with journal_schema.converted(self.path):
            yield


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000
