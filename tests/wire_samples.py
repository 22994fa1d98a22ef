"""Messages to encode, and bytes as no honest writer would make them: sealed with right hashes around wrong contents."""

import sys
from typing import Any

import orjson

from common.digests import content_digest
from common.entries import Event, directory_entry, file_entry, symlink_entry
from common.messages import Batch, Lineage
from common.wire.codec import encode, peek
from common.wire.frame import open_frame
from common.wire.header import FRAME_OFFSET, Header, hash_bytes, seal
from tests.data.golden.make_wire_1 import MESSAGES

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

TREE = "golden"
LINEAGE = Lineage(TREE, 9, bytes(range(16)), bytes(range(32)))


def file_event(path: bytes, content: bytes = b"content", mode: int = 0o644, mtime_ns: int = 1) -> Event:
    """A create of a file, with its body."""
    return Event(path, file_entry(mode, mtime_ns, len(content), content_digest(content)), content)


def link_event(path: bytes, target: bytes) -> Event:
    """A create of a symlink."""
    return Event(path, symlink_entry(len(target), content_digest(target)), target)


def directory_event(path: bytes, mode: int = 0o755) -> Event:
    """A create of a directory."""
    return Event(path, directory_entry(mode))


def batch_of(*events: Event) -> Batch:
    """A batch of these events."""
    return Batch(LINEAGE, 1, events, bytes(32), bytes([1]) * 32, bytes([2]) * 32)


def compressed(raw: bytes, window_log: int | None = None) -> bytes:
    """An honest zstd frame; with a window, one that does not declare its size and asks the reader for that window."""
    if window_log is None:
        return zstd.compress(raw)
    compressor = zstd.ZstdCompressor(options={int(zstd.CompressionParameter.window_log): window_log})
    return compressor.compress(raw) + compressor.flush()


def sealed(header: Header, raw: bytes, frame: bytes | None = None) -> bytes:
    """A message with this header and right hashes; `frame` in place of the honest one over `raw`."""
    frame = compressed(raw) if frame is None else frame
    header = header._replace(raw_length=len(raw), frame_hash=hash_bytes(frame), frame_length=len(frame))
    return seal(header)[0] + frame


def reheaded(data: bytes, **fields: Any) -> bytes:
    """The message with these header fields, sealed again; the frame is the same."""
    return seal(peek(data)._replace(**fields))[0] + data[FRAME_OFFSET:]


def raw_of(document: bytes, *sections: bytes) -> bytes:
    """The plain text of a frame."""
    return b"".join((len(document).to_bytes(4, "big"), document, *sections))


def header_of(name: str = "batch", **fields: Any) -> Header:
    """The header of a golden message with these fields."""
    return peek(encode(MESSAGES[name]))._replace(**fields)


def redocumented(data: bytes, **columns: Any) -> bytes:
    """The message with these columns in its document, sealed again. A column of None is left out; sections stay."""
    header = peek(data)
    contents = open_frame(data[FRAME_OFFSET:], header.raw_length, header.rows)
    table = [[name, len(section)] for name, section in contents.sections.items()]
    document = {**contents.document, "sections": table, **columns}
    json = orjson.dumps({name: value for name, value in document.items() if value is not None})
    return sealed(header, raw_of(json, *contents.sections.values()))
