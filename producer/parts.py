"""Does: reads one part of a large content out of the master's tree, by descriptors, without following a link.

A part has no digest of its own. So it is read only while the file's identity is the one that was hashed, and proved by whoever
asked when the whole is there. Knows the index row it is given, and nothing of journals, questions and passes of looks.
"""

import os
import stat
from collections.abc import Iterator

from common.entries import Kind
from common.messages import PART_BYTES, AskParts
from common.names import basename, parent
from producer.reading import OPEN_FILE
from producer.scan import open_directory
from producer.values import Known


def offsets(known: Known | None, ask: AskParts) -> Iterator[int]:
    """The offsets of the parts that a question asks for, of a content that the index has: none where it has another at that
    path, none beyond its end."""
    if known is None or known.entry.kind != Kind.FILE or known.entry.digest != ask.digest:
        return
    end = min(known.entry.size, ask.offset + ask.count * PART_BYTES)
    yield from range(ask.offset, end, PART_BYTES)


def read_part(root_fd: int, known: Known, offset: int) -> bytes | None:
    """`PART_BYTES` of the content at a multiple of it, or what is left of the content; None when the file is not (any more) the
    one that the row knows, by inode, ctime, mtime and size, or cannot be read, for any reason."""
    try:
        above = open_directory(root_fd, parent(known.path))
        try:
            file = os.open(basename(known.path), OPEN_FILE, dir_fd=above)
        finally:
            os.close(above)
        try:
            return _read_stably(file, known, offset)
        finally:
            os.close(file)
    except OSError:
        return None


def _read_stably(file: int, known: Known, offset: int) -> bytes | None:
    size = min(PART_BYTES, known.entry.size - offset)
    if size <= 0 or not _is_still(file, known):
        return None
    content = os.pread(file, size, offset)
    return content if len(content) == size and _is_still(file, known) else None


def _is_still(file: int, known: Known) -> bool:
    found = os.fstat(file)
    identity = (found.st_ino, found.st_ctime_ns) == known.identity
    content = (found.st_mtime_ns, found.st_size) == (known.entry.mtime_ns, known.entry.size)
    return stat.S_ISREG(found.st_mode) and identity and content
