"""Decides how the rows of one batch stand in the change log: as one packed value. Bytes in, values out; knows no database.

    kinds, a byte each: kept * 16 + old * 4 + new | old and new size, 8 bytes each, little endian | paths, joined by NUL

One zstd frame where that is not short. Rows of their own would take five times the room, and nine times the work.
"""

import sys
from collections.abc import Iterator, Sequence
from struct import pack, unpack_from

from common.errors import StateError
from producer.values import Change, Logged

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVEL = 1
_SMALL_BYTES = 512
"""What is shorter stands as it is: it would cost more to pack than it saves."""
_PACKED = zstd.compress(b"")[:1]
"""The first byte of what is packed; that of what is not is a kind, and less."""
_DAMAGED = "the change log in the journal is damaged: move the journal away; the source is then scanned into a new one"
_ABSENT = (0, 0, 0, 0)


def pack_rows(changes: Sequence[Change]) -> bytes:
    """The changes of one batch, in their order; at least one."""
    kinds, sizes = bytearray(), list[int]()
    for _, old, new, _, _, kept in changes:
        before, now = old or _ABSENT, new or _ABSENT
        kinds.append(kept * 16 + before[0] * 4 + now[0])
        sizes += before[3], now[3]
    raw = bytes(kinds) + pack(f"<{len(sizes)}q", *sizes) + b"\0".join(change[0] for change in changes)
    return zstd.compress(raw, _LEVEL) if len(raw) >= _SMALL_BYTES else raw


def unpack_paths(packed: bytes, count: int) -> list[bytes]:
    """The paths of a batch of `count`, in their order."""
    return _opened(packed)[17 * count :].split(b"\0")


def unpack_rows(
    packed: bytes, first: int, last: int, epoch: int, unix_ms: int, *, holding: bytes = b""
) -> Iterator[Logged]:
    """The rows of the batch that has these sequences. Raises StateError, as `unpack_paths` does, where they are damaged.

    `holding`: only a batch that has this in a path is of interest: others are left out whole, which is quick; not row by row.
    """
    count = last - first + 1
    raw = _opened(packed)
    if len(raw) < 17 * count:
        raise StateError(_DAMAGED)
    if holding not in raw:
        return
    sizes = unpack_from(f"<{2 * count}q", raw, count)
    for number, path in enumerate(raw[17 * count :].split(b"\0")):
        kind = raw[number]
        old_size, size = sizes[2 * number : 2 * number + 2]
        yield Logged(first + number, epoch, unix_ms, path, kind >> 2 & 3, old_size, kind & 3, size, kind >> 4)


def _opened(packed: bytes) -> bytes:
    if packed[:1] != _PACKED:
        return packed
    try:
        return zstd.decompress(packed)
    except zstd.ZstdError as error:
        raise StateError(_DAMAGED) from error
