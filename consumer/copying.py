"""Takes large contents from the replica's own tree: a file that was moved, or is there under another name, does not travel.

A link to the file is kept in the store, hashed in a thread of its own, and taken when it is the only name left; else copied.
A file that turns out to be another is left alone, and the content is fetched. Used from the thread that owns state and target.
"""

import os
from collections.abc import Callable, Collection
from functools import partial

from common.board import Board
from consumer import fetching
from consumer.filling import Content, Filled, Verdict
from consumer.lane import Lane
from consumer.state import State
from consumer.target import Target
from consumer.values import Keep

NOT_AGAIN_SECONDS = 600.0
"""So long no file of the tree is tried for a content, after one was another, or could not be read."""
NO_ROOM_AGAIN_SECONDS = 30.0
LOOKED_AT_ONCE = 64


class Copying:
    """See the module. One content at a time."""

    def __init__(self, state: State, target: Target, board: Board) -> None:
        self._state = state
        self._target = target
        self._store = target.store
        self._board = board
        self._lane: Lane[Filled | None] = Lane("copying")
        self._content: Content | None = None
        self._is_taken = False
        self._not_before: dict[bytes, float] = {}
        self._after = b""
        self._now = 0.0

    @property
    def is_busy(self) -> bool:
        return self._lane.is_busy

    @property
    def digest(self) -> bytes:
        """Of the content that is being taken; b"" for none."""
        return self._content.digest if self._content is not None else b""

    def close(self) -> None:
        """End the thread. Idempotent."""
        if self._lane.close() and self._content is not None:
            self._content.close()

    def do(self, work: Callable[[], None]) -> None:
        """Have this done beside the loop."""
        self._lane.do(work)

    def has(self, digest: bytes, now: float) -> bool:
        """Whether this content may be had from the tree, so that it need not be fetched (yet)."""
        if digest == self.digest:
            return True
        if now < self._not_before.get(digest, now):
            return False
        return self._store.has_link(digest) or bool(self._state.missing.holders(digest, 1))

    def whole(self) -> list[Content]:
        """What became whole since the last call."""
        done = [filled for filled in self._lane.done() if filled is not None]
        ended = [filled for filled in done if filled.content is self._content]
        for filled in ended:
            self._filled(filled)
        return [filled.content for filled in ended if filled.verdict is Verdict.WHOLE]

    def step(self, now: float, others: Collection[bytes]) -> None:
        """Begin with the next, if none is under way. `others`: digests that are being fetched, or are whole."""
        self._now = now
        if self._content is None:
            wanted = self._next(others)
            if wanted is not None:
                self._begin(wanted)

    # -- inside
    def _next(self, others: Collection[bytes]) -> Keep | None:
        """A missing content that the tree has, or had: some paths are looked at in each call, all of them in turn."""
        page = self._state.missing.contents(LOOKED_AT_ONCE, after=self._after, large=True)
        self._after = max(page) if len(page) == LOOKED_AT_ONCE else b""
        for path, entry in page.items():
            if entry.digest not in others and self.has(entry.digest, self._now):
                return Keep(path, entry.digest, entry.size)
        return None

    def _begin(self, wanted: Keep) -> None:
        digest, size = wanted.digest, wanted.size
        if not self._store.has_link(digest):
            holders = self._state.missing.holders(digest, 1)
            self._target.keep(tuple(Keep(path, digest, size) for path in holders))
        try:
            source = self._store.open_link(digest)
        except OSError:
            self._not_this(digest, NOT_AGAIN_SECONDS)
            return
        seen = os.fstat(source)
        self._is_taken = seen.st_nlink == 1 and seen.st_uid == os.geteuid()
        if self._is_taken:
            self._content = Content(source, digest, size, self._lane.check)
            self._lane.do(self._content.prove)
        else:
            self._begin_copy(wanted, source)

    def _begin_copy(self, wanted: Keep, source: int) -> None:
        try:
            if not fetching.fits(wanted.size, 0, self._store.free_bytes()):
                raise OSError("no room")
            descriptor = self._store.open_content(wanted.digest, wanted.size)
        except OSError:
            os.close(source)
            self._not_this(wanted.digest, NO_ROOM_AGAIN_SECONDS)
            return
        self._content = Content(descriptor, wanted.digest, wanted.size, self._lane.check)
        self._lane.do(partial(self._content.copy, source))

    def _filled(self, filled: Filled) -> None:
        content, digest = filled.content, filled.content.digest
        self._content = None
        self._lane.do(content.close)
        if filled.verdict is Verdict.WHOLE:
            self._came(content)
        elif filled.verdict is Verdict.NO_ROOM:
            self._store.drop_content(digest)
            self._not_this(digest, NO_ROOM_AGAIN_SECONDS)
        else:
            self._store.drop_link(digest)
            if not self._is_taken:
                self._store.drop_content(digest)
            self._not_this(digest, NOT_AGAIN_SECONDS)

    def _came(self, content: Content) -> None:
        """The content is proved. What was hashed where it lies becomes ours alone; if its room was needed meanwhile, another file
        may have its name by now, which nobody proved."""
        if not self._is_taken:
            self._store.drop_link(content.digest)
        elif not self._store.take_link(content.digest, content.identity):
            return
        self._board.count("large_bytes_copied_total", content.size)

    def _not_this(self, digest: bytes, seconds: float) -> None:
        self._not_before = {one: until for one, until in self._not_before.items() if until > self._now}
        self._not_before[digest] = self._now + seconds
