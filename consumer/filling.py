"""Writes and proves large contents: appends parts, copies what is already there, hashes all of it. For threads of their own.

Memory is bounded by a part. Nothing is believed but what was hashed as a whole. What is written goes to the disk soon after, so
that no barrier of a small batch has to wait for a gigabyte.
"""

import fcntl
import os
from collections.abc import Callable
from enum import StrEnum
from hashlib import blake2b
from typing import NamedTuple

from common.digests import DIGEST_BYTES
from common.errors import NoRoomError
from common.messages import PART_BYTES
from consumer.descriptors import CHUNK_BYTES, write_all
from consumer.faults import raise_if_general
from consumer.store import Identity, identity_of

FLUSH_BYTES = 8 * 1024 * 1024
_CLONE = 0x40049409
"""FICLONE: where the file system can share blocks, a copy costs nothing."""

Check = Callable[[], None]
"""Called now and then; what it raises ends the work."""


class Verdict(StrEnum):
    """What a content is so far."""

    MORE = "more is to come"
    WHOLE = "whole, and what its digest says"
    WRONG = "not what its digest says"
    NO_ROOM = "there is no room for it"
    FAILED = "it cannot be read or written"


class Filled(NamedTuple):
    """What came of one piece of work on a content: how far it is now."""

    content: "Content"
    offset: int
    verdict: Verdict
    detail: str = ""


class Content:
    """A content in the store that is being filled. Its methods are called by one thread, one after another, and never raise for
    the sake of the content; they raise HaltError when the disk fails, and what `check` raises. It owns its descriptor."""

    def __init__(self, descriptor: int, digest: bytes, size: int, check: Check) -> None:
        self.digest = digest
        self.size = size
        self.is_resumed = False
        """Whether part of it was there before: a mismatch need not be the master's."""
        self.identity: Identity = ()
        """Of the file that was proved: names may lead to another by now. Empty until then."""
        self._descriptor = descriptor
        self._check = check
        self._hash = blake2b(digest_size=DIGEST_BYTES)
        self._offset = self._flushed = 0
        self._is_closed = False

    def resume(self) -> Filled:
        """Take what is there already, in whole parts."""
        return self._tried(self._resume)

    def append(self, piece: bytes) -> Filled:
        """The next piece."""
        return self._tried(lambda: self._append(piece))

    def copy(self, source: int) -> Filled:
        """All of it from an open file, whose descriptor is closed here."""
        try:
            return self._tried(lambda: self._copy(source))
        finally:
            os.close(source)

    def prove(self) -> Filled:
        """It should be there as a whole. Nothing is written."""
        return self._tried(self._prove)

    def close(self) -> Filled:
        """Let go of the descriptor. Idempotent."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._descriptor)
        return Filled(self, self._offset, Verdict.MORE)

    # -- inside
    def _tried(self, act: Callable[[], Verdict]) -> Filled:
        if self._is_closed:
            return Filled(self, self._offset, Verdict.FAILED, "it was given up")
        try:
            verdict = act()
            return Filled(self, self._offset, verdict)
        except OSError as error:
            try:
                raise_if_general(error, "writing a large content")
            except NoRoomError as no_room:
                return Filled(self, self._offset, Verdict.NO_ROOM, str(no_room))
            return Filled(self, self._offset, Verdict.FAILED, error.strerror or str(error))

    def _resume(self) -> Verdict:
        there = os.fstat(self._descriptor).st_size
        keep = there if there == self.size else there // PART_BYTES * PART_BYTES if there < self.size else 0
        os.ftruncate(self._descriptor, keep)
        self._write_again(keep)
        self.is_resumed = keep > 0
        self._flushed = self._offset
        return self._judge()

    def _append(self, piece: bytes) -> Verdict:
        self._write(piece)
        return self._judge()

    def _write(self, piece: bytes) -> None:
        os.lseek(self._descriptor, self._offset, os.SEEK_SET)
        write_all(self._descriptor, piece)
        self._hash.update(piece)
        self._offset += len(piece)
        self._flush()

    def _write_again(self, end: int) -> None:
        """Take in what an earlier process left, up to there. A sync of it may have failed: what is read comes from memory then,
        and the next sync says "done" of what will never be on the disk, unless it is written once more."""
        while self._offset < end:
            self._check()
            piece = os.pread(self._descriptor, min(CHUNK_BYTES, end - self._offset), self._offset)
            if not piece:
                return
            self._write(piece)

    def _copy(self, source: int) -> Verdict:
        os.ftruncate(self._descriptor, 0)
        try:
            fcntl.ioctl(self._descriptor, _CLONE, source)
        except OSError:
            while self._offset < self.size and (piece := _read_source(source)):
                self._check()
                self._append(piece)
        else:
            self._hash_to(self.size)
        is_as_long = os.fstat(self._descriptor).st_size == self._offset == self.size
        return self._judge() if is_as_long else Verdict.WRONG

    def _prove(self) -> Verdict:
        self._hash_to(self.size)
        is_as_long = os.fstat(self._descriptor).st_size == self._offset == self.size
        return self._judge() if is_as_long else Verdict.WRONG

    def _hash_to(self, end: int) -> None:
        """Take in what the file has up to there, or up to its end."""
        while self._offset < end:
            self._check()
            piece = os.pread(self._descriptor, min(CHUNK_BYTES, end - self._offset), self._offset)
            if not piece:
                return
            self._hash.update(piece)
            self._offset += len(piece)

    def _flush(self) -> None:
        if self._offset - self._flushed >= FLUSH_BYTES:
            os.fdatasync(self._descriptor)
            self._flushed = self._offset

    def _judge(self) -> Verdict:
        if self._offset < self.size:
            return Verdict.MORE
        os.fsync(self._descriptor)
        if self._hash.digest() != self.digest:
            return Verdict.WRONG
        self.identity = identity_of(os.fstat(self._descriptor))
        return Verdict.WHOLE


def _read_source(source: int) -> bytes:
    try:
        return os.read(source, CHUNK_BYTES)
    except OSError as error:
        # Of one file of the tree; the content can be fetched instead.
        raise OSError(f"a file with this content cannot be read: {error.strerror}") from error
