"""Digests of contents, buckets and trees, and which bucket a path is in. Values in, values out.

A tree is cut into 4,096 buckets by a hash of the path, keyed with the tree's salt. A bucket digest is the sum modulo
2**256 of one keyed blake2b for each entry, so an entry is added or removed in about a microsecond; the tree digest is the
hash over all bucket digests. The salt is secret enough that nobody can choose paths that meet in one bucket or sum to zero.
"""

import secrets
from collections.abc import Iterable
from hashlib import blake2b
from struct import Struct

from common.entries import Entry

DIGEST_BYTES = 32
SALT_BYTES = 32
BUCKET_BITS = 12
BUCKETS = 1 << BUCKET_BITS
EMPTY_BUCKET = bytes(DIGEST_BYTES)

_MODULUS_MASK = (1 << 256) - 1
_ENTRY = Struct(">IBHqQB")
_ABSENT = Entry(0, 0, 0, 0, b"")  # type: ignore[arg-type]  # no kind: "absent", as on the wire


def new_salt() -> bytes:
    """A tree's salt: drawn once, with its first journal."""
    return secrets.token_bytes(SALT_BYTES)


def content_digest(content: bytes) -> bytes:
    """Digest of a file's content or a symlink's target; 32 bytes."""
    return blake2b(content, digest_size=DIGEST_BYTES).digest()


def bucket_of(salt: bytes, path: bytes) -> int:
    """The bucket of a path, 0 to 4,095."""
    return int.from_bytes(blake2b(path, digest_size=2, key=salt, person=b"bucket").digest(), "big") >> (
        16 - BUCKET_BITS
    )


def entry_term(salt: bytes, path: bytes, entry: Entry) -> int:
    """What one entry adds to its bucket's digest: over path, kind, mode, mtime, size, content digest and owner, length-prefixed
    but for the owner, which is the rest."""
    fixed = _ENTRY.pack(len(path), entry.kind, entry.mode, entry.mtime_ns, entry.size, len(entry.digest))
    told = fixed + path + entry.digest
    if entry.owner:
        told += entry.owner.encode()
    return int.from_bytes(blake2b(told, digest_size=DIGEST_BYTES, key=salt, person=b"entry").digest(), "big")


def row_term(salt: bytes, path: bytes, entry: Entry | None) -> int:
    """What one row adds to a digest over rows of which some say that a path is absent."""
    return entry_term(salt, path, entry if entry is not None else _ABSENT)


def rows_digest(salt: bytes, rows: Iterable[tuple[bytes, Entry | None]]) -> bytes:
    """Digest of a set of rows, absent ones among them, in any order; 32 bytes."""
    total = sum(row_term(salt, path, entry) for path, entry in rows)
    return (total & _MODULUS_MASK).to_bytes(DIGEST_BYTES, "big")


def joined_digest(one: bytes, other: bytes) -> bytes:
    """The digest of two sets of rows that have no path in common, from the digests of each."""
    total = int.from_bytes(one, "big") + int.from_bytes(other, "big")
    return (total & _MODULUS_MASK).to_bytes(DIGEST_BYTES, "big")


def bucket_digest(salt: bytes, entries: Iterable[tuple[bytes, Entry]]) -> bytes:
    """Digest of a whole bucket from scratch."""
    total = sum(entry_term(salt, path, entry) for path, entry in entries)
    return (total & _MODULUS_MASK).to_bytes(DIGEST_BYTES, "big")


class BucketDigests:
    """The 4,096 bucket digests of one tree, kept up as entries come and go.

    One flat array of 128 KiB, so that a copy (to look ahead) and the tree digest cost some 100 microseconds.
    """

    __slots__ = ("_flat", "salt")

    def __init__(self, salt: bytes, flat: bytes | bytearray | None = None) -> None:
        self.salt = salt
        self._flat = bytearray(flat) if flat is not None else bytearray(BUCKETS * DIGEST_BYTES)

    def copy(self) -> "BucketDigests":
        """An independent copy, to look ahead with."""
        return BucketDigests(self.salt, self._flat)

    def of(self, bucket: int) -> bytes:
        """The digest of one bucket; `EMPTY_BUCKET` when nothing is in it."""
        start = bucket * DIGEST_BYTES
        return bytes(self._flat[start : start + DIGEST_BYTES])

    def put(self, bucket: int, digest: bytes) -> None:
        """Set one bucket's digest (read back from a database)."""
        start = bucket * DIGEST_BYTES
        self._flat[start : start + DIGEST_BYTES] = digest

    def replace(self, path: bytes, old: Entry | None, new: Entry | None) -> int:
        """Take the old entry out and the new one in. Returns the bucket that changed. Not idempotent."""
        bucket = bucket_of(self.salt, path)
        difference = 0
        if old is not None:
            difference -= entry_term(self.salt, path, old)
        if new is not None:
            difference += entry_term(self.salt, path, new)
        start = bucket * DIGEST_BYTES
        end = start + DIGEST_BYTES
        value = (int.from_bytes(self._flat[start:end], "big") + difference) & _MODULUS_MASK
        self._flat[start:end] = value.to_bytes(DIGEST_BYTES, "big")
        return bucket

    def tree_digest(self) -> bytes:
        """The digest of the whole tree: over all buckets, in order."""
        return blake2b(self._flat, digest_size=DIGEST_BYTES, key=self.salt, person=b"tree").digest()
