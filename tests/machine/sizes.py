"""Sizes that are small in the machine: eight buckets instead of 4,096, and contents that are large from 2 KiB on.

On the wire nothing changes but what a part of a large content is. What comes in parts, comes in many.
"""

import errno
from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from common import digests, messages
from common.entries import BEFORE_ALL
from consumer import agreement, fetching, filling, gathering, scrubbing, tables
from consumer.values import Stale
from producer import hashing, since
from tests.machine.digests import BUCKET_BITS
from tests.machine.wire import INLINE_BYTES

BUCKETS = 1 << BUCKET_BITS
PART_BYTES = 1024
PIECE_BYTES = 700


class _NoClones:
    """Stands in for `fcntl` where contents are copied: no file system here can share blocks."""

    def ioctl(self, *_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "no clones")


def shrink(patch: pytest.MonkeyPatch, rooms: Iterable[ModuleType]) -> None:
    """Make them small in these modules."""
    rooms = list(rooms)
    patch.setattr(since, "PART_ROWS", 2)
    patch.setattr(gathering, "SLICE_ROWS", 2)
    _shrink_buckets(patch, rooms)
    _shrink_contents(patch, rooms)


def _shrink_buckets(patch: pytest.MonkeyPatch, rooms: list[ModuleType]) -> None:
    patch.setattr(digests, "BUCKET_BITS", BUCKET_BITS)
    stale = dict.fromkeys(range(BUCKETS), Stale(BEFORE_ALL, None))
    fewer = {
        "BUCKETS": (digests.BUCKETS, BUCKETS),
        "ALL_BUCKETS": (agreement.ALL_BUCKETS, range(BUCKETS)),
        "ALL_STALE": (tables.ALL_STALE, stale),
        "FRESH": (tables.FRESH, replace(tables.FRESH, stale=stale)),
    }
    for module in [digests, *rooms]:
        for name, (many, few) in fewer.items():
            if getattr(module, name, None) is many and not module.__name__.startswith("common.wire"):
                patch.setattr(module, name, few)


def _shrink_contents(patch: pytest.MonkeyPatch, rooms: list[ModuleType]) -> None:
    sizes = {
        "INLINE_LIMIT_BYTES": (messages.INLINE_LIMIT_BYTES, INLINE_BYTES),
        "PART_BYTES": (messages.PART_BYTES, PART_BYTES),
    }
    words = f"size > {messages.INLINE_LIMIT_BYTES}", f"size > {INLINE_BYTES}"
    for module in rooms:
        for name, (large, small) in sizes.items():
            if getattr(module, name, None) == large and module is not since:
                patch.setattr(module, name, small)
        for name, text in list(vars(module).items()):
            if isinstance(text, str) and words[0] in text:
                patch.setattr(module, name, text.replace(*words))
    for owner, name in ((hashing, "SLICE_BYTES"), (filling, "CHUNK_BYTES"), (filling, "FLUSH_BYTES")):
        patch.setattr(owner, name, PIECE_BYTES)
    patch.setattr(scrubbing, "OWN_HANDS_LIMIT_BYTES", INLINE_BYTES)
    patch.setattr(fetching, "SPARE_BYTES", 0)
    patch.setattr(filling, "fcntl", _NoClones())
