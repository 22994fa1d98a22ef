"""Messages as far as they matter to the laws, read by docs/wire.md. None of the product's code."""

import json
import sys
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import Any, NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_HEADER = Struct(">4sHB64sQ16sQI32s32s32s32sBBII32sQ64s16sQQII32sQqQ")
_FRAME_OFFSET = 445 + 32 + 8 + 64
BATCH, HEARTBEAT, PART, COMMAND, REPORT = 1, 2, 9, 10, 20
OF_THE_INDEX = {3, 4, 6}
"""Answers that say what is in the index, and what is not: same, since, bucket."""
INLINE_BYTES = 2048
"""A larger content travels in parts; outside of the machine it is 512 times as much."""
PATTERNS = b".treecast"
"""The reserved path at which the patterns are published: in the index, on no disk."""


@lru_cache(4096)
def digest_of(content: bytes) -> bytes:
    """What names a content."""
    return blake2b(content, digest_size=32).digest()


class Row(NamedTuple):
    """One event as it is written on the wire; kind 0: absent."""

    path: bytes
    kind: int
    mode: int
    mtime_ns: int
    size: int
    digest: bytes
    body: bytes | None
    keep: bool


class Read(NamedTuple):
    """A message that the producer hands over, as far as it matters here. `after`: the tree digest at its last event; `at`: the
    position that an answer speaks of."""

    kind: int
    epoch: int
    instance: bytes
    first: int
    rows: tuple[Row, ...]
    after: bytes
    salt: bytes
    released: int
    at: int


def read(message: bytes) -> Read:
    """By docs/wire.md. Rows of batches only."""
    fields = _HEADER.unpack_from(message)
    kind, epoch, instance, first, count = fields[2], *fields[4:8]
    rows: tuple[Row, ...] = ()
    if kind == BATCH:
        rows = tuple(_rows(*_frame(message), count))
    return Read(kind, epoch, instance, first, rows, fields[10], fields[11], fields[27], fields[20])


class Piece(NamedTuple):
    """A part of a large content: which, from where on, and its bytes."""

    digest: bytes
    offset: int
    content: bytes


def piece_in(message: bytes) -> Piece | None:
    """None: the message is no part."""
    fields = _HEADER.unpack_from(message)
    return Piece(fields[24], fields[21], _frame(message)[1]["bodies"]) if fields[2] == PART else None


class Promise(NamedTuple):
    """What a heartbeat says of who serves: so many of so many are ready, and these may step out."""

    ready: int
    members: int
    resting: tuple[str, ...]


def promised_in(message: bytes) -> Promise | None:
    """None: the message is no heartbeat."""
    if _HEADER.unpack_from(message)[2] != HEARTBEAT:
        return None
    document = _frame(message)[0]
    return Promise(document["ready"], document["members"], tuple(document["resting"]))


class Said(NamedTuple):
    """What a replica reports: where it is, and whatever else it tells."""

    replica: str
    epoch: int
    sequence: int
    instance: bytes
    document: dict[str, Any]

    @property
    def details(self) -> dict[str, Any]:
        """The part of it that may grow."""
        details: dict[str, Any] = self.document["details"]
        return details


def said_in(message: bytes) -> Said | None:
    """None: the message is no report."""
    fields = _HEADER.unpack_from(message)
    if fields[2] != REPORT:
        return None
    name = fields[18]
    replica = name[1 : 1 + name[0]].decode()
    return Said(replica, fields[4], fields[20], fields[5], _frame(message)[0])


def apart(delivery: bytes) -> Iterator[bytes]:
    """The messages of one delivery."""
    while delivery:
        end = _FRAME_OFFSET + int(_HEADER.unpack_from(delivery)[14])
        yield delivery[:end]
        delivery = delivery[end:]


def _frame(message: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    raw = zstd.decompress(message[_FRAME_OFFSET:])
    length = int.from_bytes(raw[:4], "big")
    document = json.loads(raw[4 : 4 + length])
    sections, at = {}, 4 + length
    for name, size in document["sections"]:
        sections[name], at = raw[at : at + size], at + size
    return document, sections


def _rows(document: dict[str, Any], sections: dict[str, bytes], count: int) -> list[Row]:
    paths, digests, bodies = _Cut(sections["paths"]), _Cut(sections["digests"]), _Cut(sections["bodies"])
    rows = []
    for n in range(count):
        kind, size = document["kinds"][n], document["bodies"][n]
        path = paths.take(document["paths"][n])
        digest = digests.take(32 if kind in (1, 3) else 0)
        body = bodies.take(size) if size >= 0 else None
        mode, mtime_ns = document["modes"][n], document["mtimes"][n]
        rows.append(Row(path, kind, mode, mtime_ns, document["sizes"][n], digest, body, n in document.get("keep", ())))
    return rows


class _Cut:
    """Takes bytes off the front."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, length: int) -> bytes:
        self._at += length
        return self._data[self._at - length : self._at]
