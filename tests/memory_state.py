"""The state's twin in memory: plain dicts, every rule in the fewest words. It uses nothing of `consumer.state`.

It serves as the reference that the real state is tested against, and drives the pure rooms of agreement without a disk.
With a `bucket_of` of one's own there may be four buckets instead of 4,096.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from hashlib import blake2b

from common import digests
from common.entries import BEFORE_ALL, Entry, Position, file_entry
from common.names import PATTERNS_PATH, is_below
from common.patterns import Patterns, lines_of
from consumer.values import PARKED, Found, Outcome, Plan, Reason, Row, Stale, Standing, Step, Unmet

RECENT_KEPT = 1000
NOTHING_ABSENT: Mapping[bytes, Unmet] = {}

_term = cache(digests.entry_term)


class MemoryState:
    """View, `commit`, `adopt` and `take_from_disk` of a replica's state, over dicts.

    `bucket_of`: path to bucket; `buckets`: how many of them there are. Digests are those of `common.digests` unless
    `bucket_of` is given.
    """

    def __init__(
        self, salt: bytes = bytes(32), bucket_of: Callable[[bytes], int] | None = None, buckets: int = digests.BUCKETS
    ) -> None:
        self._own_bucket_of = bucket_of
        self._buckets = buckets
        self._index: dict[bytes, Row] = {}
        self._tombs: dict[bytes, Position] = {}
        self._unmet: dict[bytes, Unmet] = {}
        self._recent: dict[int, bytes] = {}
        self._standing = Standing(0, b"", salt, 0, b"", b"", self._all_stale(), None, 0)
        self.first_copy_complete = False
        self.token = b""
        self._patterns = b""

    # -- reading
    def standing(self) -> Standing:
        """Where the replica stands."""
        return self._standing

    def entries(self) -> dict[bytes, Entry]:
        """The whole index, as a copy."""
        return {path: row.entry for path, row in self._index.items()}

    def rows(self, paths: Collection[bytes]) -> dict[bytes, Row]:
        """The indexed ones of these paths."""
        return {path: self._index[path] for path in paths if path in self._index}

    def tombs(self, paths: Collection[bytes]) -> dict[bytes, Position]:
        """The tombs at these paths."""
        return {path: self._tombs[path] for path in paths if path in self._tombs}

    def unmet(self, paths: Collection[bytes]) -> dict[bytes, Unmet]:
        """The unmet ones of these paths."""
        return {path: self._unmet[path] for path in paths if path in self._unmet}

    def unmet_paths(self, limit: int, reason: Reason | None = None, *, after: bytes = b"") -> dict[bytes, Unmet]:
        """The first `limit` unmet paths behind `after` in byte order, of one reason or of all."""
        behind = [path for path in sorted(self._unmet) if path > after]
        of_reason = [path for path in behind if reason in (None, self._unmet[path].reason)]
        return {path: self._unmet[path] for path in of_reason[:limit]}

    def count_unmet(self) -> dict[Reason, int]:
        """How many paths are unmet, by reason."""
        return dict(Counter(unmet.reason for unmet in self._unmet.values()))

    def has_parked(self) -> bool:
        """Whether anything is held, or released and not removed yet."""
        return any(unmet.reason in PARKED for unmet in self._unmet.values())

    def parked_below(self, path: bytes) -> Iterator[tuple[bytes, Reason]]:
        """What is held below this path, or released and not removed yet, and which of the two."""
        for other in sorted(self._unmet):
            if is_below(other, path) and self._unmet[other].reason in PARKED:
                yield other, self._unmet[other].reason

    @property
    def parked(self) -> "MemoryState":
        """Itself: what reads what is held or released."""
        return self

    def released(self, limit: int, *, before: bytes | None = None) -> list[bytes]:
        """The last `limit` released paths before this one, from the last on."""
        released = [path for path, why in self._unmet.items() if why.reason is Reason.RELEASED]
        return sorted((path for path in released if before is None or path < before), reverse=True)[:limit]

    def in_buckets(self, buckets: Collection[int]) -> set[bytes]:
        """Every indexed path of these buckets."""
        return {path for path in self._index if self.bucket_of(path) in buckets}

    def rows_of_bucket(self, bucket: int) -> dict[bytes, Row]:
        """What is indexed in one bucket."""
        return {path: self._index[path] for path in sorted(self._index) if self.bucket_of(path) == bucket}

    def below(self, path: bytes) -> list[bytes]:
        """Every indexed path below this one, in byte order."""
        return sorted(other for other in self._index if is_below(other, path))

    def bucket_of(self, path: bytes) -> int:
        """The path's bucket."""
        if self._own_bucket_of is not None:
            return self._own_bucket_of(path)
        return digests.bucket_of(self._standing.salt, path)

    def recent(self, last: int) -> bytes | None:
        """The hash of the batch of this epoch that ended at `last`, if it is among the last 1,000."""
        return self._recent.get(last)

    @property
    def patterns(self) -> Patterns:
        """The tree's exclude patterns, as far as they are known here."""
        return Patterns(lines_of(self._patterns))

    def bucket_digest(self, bucket: int) -> bytes:
        """The digest of one bucket of the index."""
        return self._sums(self.entries()).get(bucket, digests.EMPTY_BUCKET)

    def filled_buckets(self) -> list[tuple[int, bytes]]:
        """Every bucket that is not empty, with its digest, in order."""
        return sorted(self._sums(self.entries()).items())

    def tree_digest(self) -> bytes:
        """The digest over the whole index."""
        return self.digest_of(self.entries())

    def tree_digest_with(self, changes: Mapping[bytes, Entry | None]) -> bytes:
        """The digest that the index would have after these changes."""
        tree: dict[bytes, Entry | None] = {**self.entries(), **changes}
        return self.digest_of({path: entry for path, entry in tree.items() if entry is not None})

    def digest_of(self, tree: Mapping[bytes, Entry]) -> bytes:
        """The digest of any tree, by this state's salt and buckets: for a producer in a test."""
        if self._own_bucket_of is not None:
            parts = b"".join(b"%d:%b" % item for item in sorted(self._sums(tree).items()))
            return blake2b(parts, digest_size=32).digest()
        flat = digests.BucketDigests(self._standing.salt)
        for path, entry in tree.items():
            flat.replace(path, None, entry)
        return flat.tree_digest()

    def bucket_digest_of(self, tree: Mapping[bytes, Entry], bucket: int) -> bytes:
        """The digest of one bucket of any tree: for a producer in a test."""
        return self._sums(tree).get(bucket, digests.EMPTY_BUCKET)

    # -- changing
    def commit(self, step: Step, plan: Plan, outcome: Outcome, *, token: bytes | None = None) -> None:
        """Take one step, in the order that `Step` has. `token` of the plan: kept for `token`."""
        self._standing = replace(self._standing, salt=step.standing.salt)
        if step.forget_recent:
            self._recent = {}
        self._drop_tombs(step.marked)
        self._take(step, plan, outcome)
        self._drop_tombs(step.levelled)
        self._index = {
            path: row._replace(found=row.found and (self.bucket_of(path) not in step.levelled or path in self._unmet))
            for path, row in self._index.items()
        }
        self._recent |= dict(step.recent)
        self._recent = dict(sorted(self._recent.items())[-RECENT_KEPT:])
        self._standing = step.standing
        self._patterns = self._patterns if plan.patterns is None else plan.patterns
        self.token = self.token if token is None else token

    def adopt(self, scan: Iterable[Found], *, first_copy_complete: bool, token: bytes = b"") -> None:
        """The index becomes what is on disk: guesses all. A path that the old index did not have counts as found."""
        old, unmet = self._index, self._unmet
        self._index = {
            found.path: Row(found.entry, None, old[found.path].found if found.path in old else found.path not in unmet)
            for found in scan
        }
        if self._patterns:
            entry = file_entry(0, 0, len(self._patterns), digests.content_digest(self._patterns))
            self._index[PATTERNS_PATH] = Row(entry, None)
        self._tombs, self._unmet, self._recent = {}, {}, {}
        was = self._standing
        self._standing = Standing(0, b"", was.salt, 0, b"", b"", self._all_stale(), None, was.commits)
        self.first_copy_complete = first_copy_complete
        self.token = token

    def release(self) -> int:
        """What is held is released."""
        held = [path for path, why in self._unmet.items() if why.reason is Reason.HELD]
        self._unmet |= {path: self._unmet[path]._replace(reason=Reason.RELEASED) for path in held}
        return len(held)

    def take_from_disk(
        self,
        paths: Collection[bytes],
        on_disk: Mapping[bytes, Entry],
        standing: Standing,
        *,
        token: bytes,
        absent: Mapping[bytes, Unmet] = NOTHING_ABSENT,
    ) -> None:
        """These paths become what is on disk: no position, no tomb, not unmet; the tombs in their buckets go.

        `standing` has these buckets marked, without a base. What is not what the index had counts as found.
        """
        for path in paths:
            was = self._index.pop(path, None)
            self._tombs.pop(path, None)
            self._unmet.pop(path, None)
            if path in absent:
                self._unmet[path] = absent[path]
            elif path in on_disk:
                entry = on_disk[path]
                self._index[path] = Row(entry, None, not was or was.found or not entry.same_content(was.entry))
        self._drop_tombs({self.bucket_of(path) for path in paths})
        self._standing = standing
        self.token = token

    # -- inside
    def _take(self, step: Step, plan: Plan, outcome: Outcome) -> None:
        changes: dict[bytes, Row | None] = {}
        for path, entry in plan.corrections.items():
            changes[path] = Row(entry, None) if entry is not None else None
        unmet = {**plan.unmet, **outcome.unmet}
        still_found = {p for p in unmet if p in plan.fresh or (p in self._index and self._index[p].found)}
        for path, told in step.want.items():
            changes[path] = Row(told.entry, told.at, path in still_found) if told.entry is not None else None
        for path, row in changes.items():
            self._unmet.pop(path, None)
            # An absence that is only placed again (no position) is told by nobody anew: its tomb stays.
            if path not in step.want or step.want[path].entry is not None or step.want[path].at is not None:
                self._tombs.pop(path, None)
            self._index.pop(path, None)
            if row is not None:
                self._index[path] = row
        self._unmet |= {**plan.unmet, **outcome.unmet}
        stale = step.standing.stale.keys() | step.levelled
        for path, told in step.want.items():
            if told.entry is None and told.at is not None and self.bucket_of(path) in stale:
                self._tombs[path] = told.at

    def _drop_tombs(self, buckets: Collection[int]) -> None:
        self._tombs = {path: at for path, at in self._tombs.items() if self.bucket_of(path) not in buckets}

    def _sums(self, tree: Mapping[bytes, Entry]) -> dict[int, bytes]:
        sums: Counter[int] = Counter()
        for path, entry in tree.items():
            sums[self.bucket_of(path)] += _term(self._standing.salt, path, entry)
        return {bucket: (total & ((1 << 256) - 1)).to_bytes(32, "big") for bucket, total in sums.items()}

    def _all_stale(self) -> dict[int, Stale]:
        return dict.fromkeys(range(self._buckets), Stale(BEFORE_ALL, None))
