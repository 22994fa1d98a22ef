"""The frame of a message: zstd over a JSON document and raw sections. It decides what is whole, bounded and canonical.

    frame = zstd( length of the JSON, 4 bytes big endian | JSON | sections, one after another )

The JSON holds integers and short texts, among them `sections`: names and lengths of what follows it. It never holds a path
or a content. Nothing here knows which columns a message has.
"""

import sys
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from common.errors import RefusedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1 << 20
LEVEL = 3
WINDOW_LOG_LIMIT = 23
"""A reader gives a frame a window of at most 8 MiB: the memory that zstd takes before the first byte is known."""
JSON_LIMIT_BYTES = 384 * 1024
JSON_LIMIT_BYTES_PER_ROW = 128
JSON_LIMIT_MARKS = 65_536
"""At most so many of `[`, `{` and `"` in a document: what makes JSON take many times its length in memory."""

_LENGTH_BYTES = 4
_OPTIONS = {int(zstd.DecompressionParameter.window_log_max): WINDOW_LOG_LIMIT}


@dataclass(frozen=True, slots=True)
class Limits:
    """What a message may take: the raw frame, the compressed frame, and rows (events, entries, buckets, wanted bodies)."""

    raw_bytes: int = 64 * MIB
    frame_bytes: int = 24 * MIB
    rows: int = 65_536

    def check(self, frame_length: int, raw_length: int, rows: int) -> None:
        """Refuses what is over a limit. Holds for writers too: no reader would take it."""
        if frame_length > self.frame_bytes:
            raise RefusedError("frame-too-long", f"{frame_length} bytes, at most {self.frame_bytes}")
        if raw_length > self.raw_bytes:
            raise RefusedError("raw-too-long", f"{raw_length} bytes, at most {self.raw_bytes}")
        if rows > self.rows:
            raise RefusedError("too-many-rows", f"{rows}, at most {self.rows}")


DOWNSTREAM_LIMITS = Limits()
UPSTREAM_LIMITS = Limits(raw_bytes=8 * MIB, frame_bytes=4 * MIB)
"""Questions and reports are small; any replica may send them."""


class Contents(NamedTuple):
    """A frame opened, or about to be closed: the document without `sections`, and the raw sections by name, in order."""

    document: dict[str, Any]
    sections: dict[str, bytes]


class Closed(NamedTuple):
    """A frame that is closed, and what a header says of it. It knows no header, so it can go again behind another."""

    data: bytes
    raw_length: int
    hash: bytes
    rows: int


def close_frame(contents: Contents) -> tuple[bytes, int]:
    """The compressed frame, and its raw length."""
    lengths = [[name, len(section)] for name, section in contents.sections.items()]
    header = orjson.dumps({**contents.document, "sections": lengths})
    raw = b"".join((len(header).to_bytes(_LENGTH_BYTES, "big"), header, *contents.sections.values()))
    return zstd.compress(raw, LEVEL), len(raw)


def open_frame(frame: bytes, raw_length: int, rows: int) -> Contents:
    """What a frame holds, in at most a few times `raw_length` bytes of memory. The caller has checked hash and limits.

    Refuses a frame that is damaged, longer or shorter than said, followed by anything, or whose document is not canonical.
    """
    raw = _decompress(frame, raw_length)
    start = _LENGTH_BYTES + int.from_bytes(raw[:_LENGTH_BYTES], "big")
    if len(raw) < _LENGTH_BYTES or start > len(raw):
        raise RefusedError("json-length")
    if start - _LENGTH_BYTES > JSON_LIMIT_BYTES + JSON_LIMIT_BYTES_PER_ROW * rows:
        raise RefusedError("json-too-long", f"{start} bytes for {rows} rows")
    document = _parse(raw[_LENGTH_BYTES:start])
    return Contents(document, _cut(raw, start, document.pop("sections", None)))


def _decompress(frame: bytes, raw_length: int) -> bytes:
    """Streamed with a bound: the size that the frame itself declares is trusted in nothing."""
    decompressor = zstd.ZstdDecompressor(options=_OPTIONS)
    try:
        raw = decompressor.decompress(frame, max_length=raw_length + 1)
    except zstd.ZstdError as error:
        raise RefusedError("frame-damaged", str(error)) from error
    if len(raw) != raw_length:
        raise RefusedError("raw-length", f"not the {raw_length} bytes that the header says")
    if not decompressor.eof or decompressor.unused_data:
        raise RefusedError("frame-end")
    return raw


def _parse(raw: bytes) -> dict[str, Any]:
    """A document that is written back as it came: so no key stands twice, and every number is what it seems."""
    if raw.count(b"[") + raw.count(b"{") + raw.count(b'"') > JSON_LIMIT_MARKS:
        raise RefusedError("json-too-dense")
    try:
        document = orjson.loads(raw)
        is_canonical = orjson.dumps(document) == raw
    except (ValueError, TypeError, RecursionError) as error:
        raise RefusedError("json", str(error)[:100]) from error
    if not is_canonical or type(document) is not dict:
        raise RefusedError("json", "not canonical")
    return document


def _cut(raw: bytes, start: int, table: object) -> dict[str, bytes]:
    """The sections by name. A section that nobody knows is cut like any other, and then never asked for."""
    if type(table) is not list:
        raise RefusedError("sections")
    sections: dict[str, bytes] = {}
    for row in table:
        name, length = _read_row(row)
        if name in sections or length > len(raw) - start:
            raise RefusedError("sections", name[:40])
        sections[name] = raw[start : start + length]
        start += length
    if start != len(raw):
        raise RefusedError("sections", f"{len(raw) - start} bytes after the last")
    return sections


def _read_row(row: object) -> tuple[str, int]:
    match row:
        case [str(name), int(length)] if type(length) is int and length >= 0:
            return name, length
    raise RefusedError("sections")
