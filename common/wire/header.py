"""The fixed header that every message begins with: its fields, its bytes, and which fields each type uses.

It decides whether a header is whole, unchanged and spelled in the one way it can be. It knows no frame and no disk.
On the wire: header | hash over it (32 bytes) | key id (8) | signature (64) | frame. The hash is the message's own, and
binds the frame through `frame_hash`; key id and signature are left out of it, so that a message can be signed anew.
"""

from enum import IntEnum, IntFlag
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple

from common.digests import BUCKET_BITS, BUCKETS, DIGEST_BYTES
from common.errors import RefusedError
from common.messages import INSTANCE_BYTES, NONCE_BYTES, PART_BYTES
from common.names import is_name
from common.wire.versions import FORMAT, READS, needs_upgrade

MAGIC = b"TCST"
CODEC_ZSTD = 1
SINCE_PARTS_LIMIT = 65_536
INTEGER_LIMIT = (1 << 63) - 1
"""Epochs, sequences and counters stay within what every database column holds."""

_PREFIX = Struct(">4sH")
_LENGTH = Struct(">I")
_LENGTH_OFFSET = Struct(">4sHB64pQ16sQI32s32s32s32sBB").size
"""Where the length of the frame is."""
_STRUCT = Struct(">4sHB64pQ16sQI32s32s32s32sBBII32sQ64p16sQQII32sQqQ")
HEADER_BYTES = _STRUCT.size
_UNSIGNED = bytes(8 + 64)
FRAME_OFFSET = HEADER_BYTES + DIGEST_BYTES + len(_UNSIGNED)
"""Where the frame begins."""


class MessageType(IntEnum):
    """What a message is. Up to 15 downstream, from 16 upstream."""

    BATCH = 1
    HEARTBEAT = 2
    SAME = 3
    SINCE = 4
    TOO_OLD = 5
    BUCKET = 6
    BODY = 7
    TRIAL = 8
    PART = 9
    COMMAND = 10
    CALL = 11
    QUESTION_DIGESTS = 16
    QUESTION_BUCKET = 17
    QUESTION_SINCE = 18
    QUESTION_BODY = 19
    REPORT = 20
    QUESTION_PARTS = 21


class Need(IntFlag):
    """Features without which a message must not be applied."""

    KEEP = 1
    """The batch has deletes that leave the index only."""


KNOWN_NEEDS = int(Need.KEEP)
"""A plain number: the complement of a flag is only what the flag's own members leave."""


class Header(NamedTuple):
    """The fields in their order on the wire, after magic and format. What a type does not use is zero."""

    type: int
    tree: str
    epoch: int
    instance: bytes = bytes(INSTANCE_BYTES)
    first: int = 0
    rows: int = 0
    """How many the frame holds: events, entries, buckets, wanted bodies."""
    prev: bytes = bytes(DIGEST_BYTES)
    before: bytes = bytes(DIGEST_BYTES)
    after: bytes = bytes(DIGEST_BYTES)
    salt: bytes = bytes(DIGEST_BYTES)
    bucket_bits: int = BUCKET_BITS
    codec: int = CODEC_ZSTD
    frame_length: int = 0
    raw_length: int = 0
    frame_hash: bytes = bytes(DIGEST_BYTES)
    needs: int = 0
    replica: str = ""
    nonce: bytes = bytes(NONCE_BYTES)
    at: int = 0
    """The boundary S of an answer; the position's sequence of a report."""
    about: int = 0
    """The bucket, the base, the reach or the offset that an answer or a question is about."""
    part: int = 0
    of: int = 0
    digest: bytes = bytes(DIGEST_BYTES)
    """Of a bucket, of all rows of a since answer, of a large content."""
    counter: int = 0
    unix_ns: int = 0
    released: int = 0


_TREE_FIELD, _REPLICA_FIELD = Header._fields.index("tree"), Header._fields.index("replica")
_ALWAYS = "type tree epoch bucket_bits codec frame_length raw_length frame_hash"
_ANSWER = "instance salt rows replica nonce at"
_QUESTION = "rows replica nonce unix_ns"
_USED = {
    MessageType.BATCH: "instance first rows prev before after salt needs unix_ns released",
    MessageType.HEARTBEAT: "instance first prev before after salt counter unix_ns released",
    MessageType.TRIAL: "instance first after salt counter unix_ns",
    MessageType.COMMAND: "instance salt replica nonce",
    MessageType.CALL: "instance salt unix_ns",
    MessageType.SAME: f"{_ANSWER} released",
    MessageType.BUCKET: f"{_ANSWER} about digest released",
    MessageType.SINCE: f"{_ANSWER} about part of digest released",
    MessageType.TOO_OLD: f"{_ANSWER} about",
    MessageType.BODY: _ANSWER,
    MessageType.PART: f"{_ANSWER} about digest",
    MessageType.QUESTION_DIGESTS: _QUESTION,
    MessageType.QUESTION_BUCKET: _QUESTION,
    MessageType.QUESTION_SINCE: f"{_QUESTION} about",
    MessageType.QUESTION_BODY: _QUESTION,
    MessageType.QUESTION_PARTS: f"{_QUESTION} about digest",
    MessageType.REPORT: "instance replica at unix_ns",
}
_ZERO = Header(0, "", 0, bucket_bits=0, codec=0)
_UNUSED = {
    kind: tuple(name for name in Header._fields if name not in f"{_ALWAYS} {used}".split())
    for kind, used in _USED.items()
}
_WITH_REPLICA = frozenset(kind for kind, used in _USED.items() if "replica" in used.split())


def hash_bytes(data: bytes) -> bytes:
    """The hash of a header or a frame; 32 bytes."""
    return blake2b(data, digest_size=DIGEST_BYTES).digest()


def pack(header: Header) -> bytes:
    """The bytes of a header alone."""
    fields: list[object] = list(header)
    fields[_TREE_FIELD], fields[_REPLICA_FIELD] = header.tree.encode("ascii"), header.replica.encode("ascii")
    return _STRUCT.pack(MAGIC, FORMAT, *fields)


def seal(header: Header) -> tuple[bytes, bytes]:
    """Everything that goes before the frame, and the hash of the message. Not signed: key id and signature are zero."""
    packed = pack(header)
    header_hash = hash_bytes(packed)
    return packed + header_hash + _UNSIGNED, header_hash


def unpack(data: bytes, reader: str) -> tuple[Header, bytes]:
    """The header that a message begins with, and the message's hash.

    Refuses what is cut, changed, signed by a key (none is known), or not spelled as `pack` spells it. `reader` is the word
    for this program in the sentence that asks for an upgrade.
    """
    _check_prefix(data, reader)
    if len(data) < FRAME_OFFSET:
        raise RefusedError("cut", f"{len(data)} bytes, at least {FRAME_OFFSET}")
    packed, header_hash = data[:HEADER_BYTES], data[HEADER_BYTES : HEADER_BYTES + DIGEST_BYTES]
    if hash_bytes(packed) != header_hash:
        raise RefusedError("header-hash")
    if data[HEADER_BYTES + DIGEST_BYTES : FRAME_OFFSET] != _UNSIGNED:
        raise RefusedError("unknown-key")
    return _parse(packed), header_hash


def message_bytes(data: bytes, start: int) -> int:
    """How long the message says it is that begins there; nothing is proved by it. Where nothing says so, it is the rest."""
    rest_bytes = len(data) - start
    if rest_bytes < FRAME_OFFSET or data[start : start + _PREFIX.size] != _PREFIX.pack(MAGIC, FORMAT):
        return rest_bytes
    return FRAME_OFFSET + int(_LENGTH.unpack_from(data, start + _LENGTH_OFFSET)[0])


def _check_prefix(data: bytes, reader: str) -> None:
    """Magic and format come first: another format may have another header."""
    if len(data) < _PREFIX.size:
        raise RefusedError("cut", f"{len(data)} bytes, at least {FRAME_OFFSET}")
    magic, version = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise RefusedError("magic")
    if version not in READS:
        raise needs_upgrade(reader, "format", f"format {version}", f"format {FORMAT}")


def _parse(packed: bytes) -> Header:
    _, _, kind, tree, *middle = _STRUCT.unpack(packed)
    header = Header(kind, tree.decode("latin-1"), *middle)
    header = header._replace(replica=header.replica.decode("latin-1"))  # type: ignore[attr-defined]
    if not is_name(header.tree) or (header.replica and not is_name(header.replica)):
        raise RefusedError("name")
    # The packed names say their own length: packing again shows lengths that lie and padding that is not zero.
    if pack(header) != packed:
        raise RefusedError("header-spelling")
    return header


def check(header: Header, tree: str, reader: str, types: frozenset[MessageType]) -> MessageType:
    """The type of a message that is for this tree, goes this way, and that this version understands whole.

    `types` are those that go this way. Raises RefusedError, or NeedsUpgradeError for what a newer version may know.
    """
    if header.tree != tree:
        raise RefusedError("other-tree", f"{header.tree}, this is {tree}")
    kind = _check_known(header, reader)
    if kind not in types:
        raise RefusedError("direction", kind.name.lower())
    for name in _UNUSED[kind]:
        if getattr(header, name) != getattr(_ZERO, name):
            raise RefusedError("unused-field", name)
    _check_ranges(header, kind)
    return kind


def _check_known(header: Header, reader: str) -> MessageType:
    if header.type not in _USED:
        known = ", ".join(str(int(kind)) for kind in _USED)
        raise needs_upgrade(reader, "type", f"type {header.type}", f"the types {known}")
    if unknown := header.needs & ~KNOWN_NEEDS:
        raise needs_upgrade(reader, "need", f"needs {unknown:#x}", f"the needs {KNOWN_NEEDS:#x}")
    if header.codec != CODEC_ZSTD:
        raise needs_upgrade(reader, "codec", f"codec {header.codec}", f"codec {CODEC_ZSTD}")
    if header.bucket_bits != BUCKET_BITS:
        raise needs_upgrade(reader, "bucket-bits", f"{header.bucket_bits} bucket bits", str(BUCKET_BITS))
    return MessageType(header.type)


def _check_ranges(header: Header, kind: MessageType) -> None:
    if kind in _WITH_REPLICA and not header.replica:
        raise RefusedError("name", "no replica")
    numbers = (header.epoch, header.first + header.rows, header.at, header.about, header.counter, header.released)
    if max(numbers) > INTEGER_LIMIT:
        raise RefusedError("integer-range")
    if kind == MessageType.BUCKET and header.about >= BUCKETS:
        raise RefusedError("bucket-range", str(header.about))
    if kind in (MessageType.PART, MessageType.QUESTION_PARTS) and header.about % PART_BYTES:
        raise RefusedError("part-range", f"offset {header.about}")
    if kind == MessageType.SINCE and not header.part < header.of <= SINCE_PARTS_LIMIT:
        raise RefusedError("part-range", f"part {header.part} of {header.of}")
    if kind in (MessageType.BATCH, MessageType.HEARTBEAT, MessageType.TRIAL) and header.first == 0:
        raise RefusedError("sequence-range", "first is 0")
    if kind == MessageType.BATCH and header.rows == 0:
        raise RefusedError("sequence-range", "a batch of nothing")
    if kind == MessageType.HEARTBEAT and header.before != header.after:
        raise RefusedError("heartbeat-digest")
