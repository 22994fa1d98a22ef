"""Decides which frames of answers are kept to be sent again. Knows neither how they are made nor who asks.

A key names the content of a frame (a bucket by its digest, a part by the digest of the whole and its offset), so what is kept
can be too little, but never wrong.
"""

from collections import OrderedDict
from collections.abc import Hashable

from common.wire.frame import Closed

_OVERHEAD_BYTES = 300


class Frames:
    """Frames by what they hold; when they are too many, those that were not asked for longest go."""

    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes`: of compressed bytes. A frame that is larger than all is not kept."""
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[Hashable, Closed] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable) -> Closed | None:
        """The frame, if it is kept."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: Hashable, closed: Closed) -> None:
        """Keep a frame. Idempotent."""
        self._drop(key)
        self._kept[key] = closed
        self.bytes += _size(closed)
        while self.bytes > self._limit_bytes:
            self._drop(next(iter(self._kept)))

    def _drop(self, key: Hashable) -> None:
        if (gone := self._kept.pop(key, None)) is not None:
            self.bytes -= _size(gone)


def _size(closed: Closed) -> int:
    return _OVERHEAD_BYTES + len(closed.data)
