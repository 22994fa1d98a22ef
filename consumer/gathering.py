"""Decides which parts of since answers belong together, when an answer is whole, and in which slices a whole one is merged.

Its rows lie in a spool until then, so memory holds one part or one slice, however long the answer is. What a slice makes of the
replica is `merging`'s. Volatile: whatever closes questions forgets all of it.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import NamedTuple, Protocol

from common.digests import EMPTY_BUCKET, joined_digest, rows_digest
from common.entries import Event
from common.messages import Since
from common.names import PATTERNS_PATH

SLICE_ROWS = 2048
SLICE_BYTES = 2 * 1024 * 1024
"""A slice is whole buckets with so much in them, or one bucket: so much is one step, and a batch waits for one step at most."""
CONTENTS_LIMIT_BYTES = 16 * 1024 * 1024
"""Contents that one bucket's slice takes along; what it leaves behind is asked for by body."""
ANSWERS_AT_ONCE = 2
"""A question may be answered twice, and the parts come mixed; of more than so many the oldest is forgotten."""
ROWS_LIMIT = 4_000_000


class Size(NamedTuple):
    """How much an answer has in one bucket: rows, and bytes of contents."""

    rows: int
    bytes: int


class Spool(Protocol):
    """Where rows wait, told apart by the number of their answer. `consumer.spool` says what each does."""

    def add(self, answer: int, rows: Iterable[tuple[int, Event]]) -> int: ...
    def sizes(self, answer: int) -> dict[int, Size]: ...
    def rows(self, answer: int, buckets: Collection[int], limit_bytes: int) -> list[Event]: ...
    def drop(self, answer: int) -> None: ...
    def clear(self) -> None: ...


class Key(NamedTuple):
    """Parts belong together only if all of this agrees."""

    nonce: bytes
    at: int
    base: int
    digest: bytes


def key_of(part: Since) -> Key:
    """To which answer a part belongs."""
    return Key(part.nonce, part.at, part.base, part.digest)


@dataclass(slots=True)
class Coming:
    """An answer of which some parts have come. `digest` is over the rows that have come."""

    number: int
    of: int
    parts: set[int] = field(default_factory=set)
    rows: int = 0
    digest: bytes = EMPTY_BUCKET


class Slice(NamedTuple):
    """What is merged in one step: all of the answer's rows in these buckets. Among those of the first slice is every bucket in
    which the answer has no row: nothing changed there."""

    base: int
    at: int
    buckets: frozenset[int]
    rows: list[Event]
    released: int


@dataclass(slots=True)
class _Whole:
    """The answer that is being merged. `head`: a part of it, without rows. `left`: the buckets with rows that are left."""

    head: Since
    number: int
    sizes: dict[int, Size]
    left: list[int]
    is_begun: bool = False

    def take(self) -> list[int]:
        """The next buckets that make a slice."""
        taken, rows, size_bytes = 0, 0, 0
        for bucket in self.left:
            rows, size_bytes = rows + self.sizes[bucket].rows, size_bytes + self.sizes[bucket].bytes
            if taken and (rows > SLICE_ROWS or size_bytes > SLICE_BYTES):
                break
            taken += 1
        buckets, self.left = self.left[:taken], self.left[taken:]
        return buckets


class Came(Enum):
    """What a part makes of its answer."""

    PART = "part"
    """It is not whole yet; or the part changes nothing."""
    WHOLE = "whole"
    """Its slices are to be merged."""
    BROKEN = "broken"
    """All is there and does not hash to what it states, or it names a path twice. It is forgotten."""


def is_whole(coming: Coming, part: Since) -> bool:
    """What has come hashes to what is stated."""
    return coming.digest == part.digest


class Gathering:
    """The since answers of one replica. Raises what its spool raises; a part that met an error may be given again."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._coming: dict[Key, Coming] = {}
        self._whole: _Whole | None = None
        self._answers = 0

    @property
    def is_merging(self) -> bool:
        """Whether an answer is whole, and not merged to its end."""
        return self._whole is not None

    @property
    def received_share(self) -> float:
        """How much of the answer that is worked on has come: 0 to 1."""
        if self._whole is not None:
            return 1.0
        return max((len(coming.parts) / coming.of for coming in self._coming.values()), default=0.0)

    def gather(self, part: Since, bucket_of: Callable[[bytes], int], *, with_contents: bool = True) -> Came:
        """Take a part in, each once. While an answer is merged, no part of another is taken."""
        if self._whole is not None:
            return Came.PART
        key = key_of(part)
        coming = self._coming.get(key) or self._begin(key, part.of)
        if part.part in coming.parts:
            return Came.PART
        is_sound = self._add(coming, part, bucket_of, with_contents)
        if is_sound and is_whole(coming, part):
            self._begin_merging(key, part, bucket_of(PATTERNS_PATH))
            return Came.WHOLE
        if is_sound and len(coming.parts) < coming.of:
            return Came.PART
        self._drop(key)
        return Came.BROKEN

    def next_slice(self, stale: Collection[int]) -> Slice | None:
        """The next slice of the answer that is whole; None when there is none. `stale`: the buckets that are, now."""
        whole = self._whole
        if whole is None:
            return None
        without_rows = () if whole.is_begun else [bucket for bucket in stale if bucket not in whole.sizes]
        filled = whole.take()
        rows = self._spool.rows(whole.number, filled, CONTENTS_LIMIT_BYTES) if filled else []
        whole.is_begun = True
        if not whole.left:
            self.forget()
        head = whole.head
        return Slice(head.base, head.at, frozenset({*without_rows, *filled}), rows, head.released)

    def keep(self, open_nonces: Collection[bytes]) -> None:
        """Forget what has come of questions that are not open any more, unless it is whole."""
        if self._whole is None:
            for key in [key for key in self._coming if key.nonce not in open_nonces]:
                self._drop(key)

    def forget(self) -> None:
        """Forget everything. Idempotent."""
        self._coming, self._whole = {}, None
        self._spool.clear()

    def _begin(self, key: Key, of: int) -> Coming:
        while len(self._coming) >= ANSWERS_AT_ONCE:
            self._drop(next(iter(self._coming)))
        self._answers += 1
        self._coming[key] = Coming(self._answers, of)
        return self._coming[key]

    def _add(self, coming: Coming, part: Since, bucket_of: Callable[[bytes], int], with_contents: bool) -> bool:
        """Whether its rows can be part of a whole: no path twice, and not more than a spool should hold."""
        rows = part.rows if with_contents else [row._replace(body=None) for row in part.rows]
        new = self._spool.add(coming.number, [(bucket_of(row.path), row) for row in rows])
        coming.parts.add(part.part)
        coming.rows += len(part.rows)
        digest = rows_digest(part.lineage.salt, ((row.path, row.entry) for row in part.rows))
        coming.digest = joined_digest(coming.digest, digest)
        return new == len(part.rows) and coming.rows <= ROWS_LIMIT

    def _begin_merging(self, key: Key, part: Since, first: int) -> None:
        """The patterns' bucket comes first: what goes must wait until they are known."""
        number = self._coming[key].number
        sizes = self._spool.sizes(number)
        left = sorted(sizes, key=lambda bucket: (bucket != first, bucket))
        self._whole, self._coming = _Whole(replace(part, rows=()), number, sizes, left), {}

    def _drop(self, key: Key) -> None:
        self._spool.drop(self._coming.pop(key).number)
