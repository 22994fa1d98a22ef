"""Brings large contents into the store, and says which step places one: fetched in parts, or taken from the tree.

It puts the parts together: what is missing (state), what to do next (`fetching`, `keeping`), the store, and two threads that
write and hash, so that no small change waits for a gigabyte. Used from the thread that owns state and target.
"""

import secrets
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from common.board import Board
from common.errors import NoRoomError
from common.messages import NONCE_BYTES, AskParts, PartAnswer
from common.names import escape
from consumer import agreement, fetching, merging
from consumer.agreement import Decided
from consumer.copying import Copying
from consumer.faults import during
from consumer.fetching import Fetching, Wanted
from consumer.filling import Content, Filled, Verdict
from consumer.keeping import to_drop
from consumer.lane import Lane
from consumer.state import State
from consumer.store import Identity
from consumer.target import Target
from consumer.values import Reason

LOOK_SECONDS = 0.05
"""How often it is looked at what is missing, while something is."""
PRUNE_SECONDS = 10.0
PAGE_PATHS = 64
PRUNED_AT_ONCE = 500
ALARM = "no-room-for-content"

_NO_CONTENT = b""
"""Stands for a lack of room that no content is to blame for: it is looked whether there is some at the next look."""

PLACE_AGAIN_SECONDS = 1.0
"""When a content that could not be placed is placed again."""

Ask = Callable[[bytes, AskParts], None]
"""Sends a question under a nonce."""


class _Coming(NamedTuple):
    content: Content
    wanted: Wanted


class _Whole(NamedTuple):
    identity: Identity
    """Of the file that was proved."""
    not_before: float


class Large:
    """See the module. Times are monotonic seconds. Methods raise HaltError when the disk fails."""

    def __init__(self, state: State, target: Target, board: Board) -> None:
        self._state = state
        self._store = target.store
        self._board = board
        self._fetching = Fetching(lambda: secrets.token_bytes(NONCE_BYTES))
        self._lane: Lane[Filled] = Lane("large contents")
        self._done: deque[Filled] = deque()
        self._copying = Copying(state, target, board)
        self._coming: dict[bytes, _Coming] = {}
        self._whole: dict[bytes, _Whole] = {}
        self._roomless: set[bytes] = set()
        self._after = b""
        self._epoch = 0
        self._look_at = self._prune_at = 0.0
        with during("looking after large contents"):
            self._store.drop_placed()

    @property
    def is_busy(self) -> bool:
        """Whether something will soon come of what the threads do."""
        return self._lane.is_busy or self._copying.is_busy

    @property
    def came_bytes(self) -> int:
        """How much came in parts since the start."""
        return self._fetching.came_bytes

    def count_missing(self) -> int:
        """How many contents of any size are missing; while large ones wait for room, whether any other is: that has an alarm of
        its own."""
        missing = self._state.count_unmet().get(Reason.BODY, 0)
        return len(self._state.missing.contents(1, large=False)) if missing and self._roomless else missing

    def close(self) -> None:
        """End the threads. What is in the store stays there. Idempotent."""
        has_ended = self._lane.close()
        self._copying.close()
        for coming in self._coming.values() if has_ended else ():
            coming.content.close()

    def take_part(self, answer: PartAnswer, now: float) -> None:
        """One part came. Nothing vouches for it yet; it belongs to the epoch that we follow."""
        coming = self._coming.get(answer.digest)
        if coming is not None and self._fetching.take(answer, now):
            self._board.count("large_bytes_fetched_total", len(answer.content))
            self._lane.do(partial(coming.content.append, answer.content))

    def step(self, now: float, ask: Ask | None) -> Decided | None:
        """Go on as far as can be without waiting. `ask` None: nothing can be asked now. Returns a step to be carried out."""
        try:
            with during("looking after large contents"):
                return self._step(now, ask)
        except NoRoomError as error:
            self._has_no_room(_NO_CONTENT, str(error))
            return None

    def _step(self, now: float, ask: Ask | None) -> Decided | None:
        self._done.extend(self._lane.done())
        while self._done:
            self._filled(self._done.popleft(), now)
        for content in self._copying.whole():
            self._came_whole(content)
        if now >= self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._look(now)
        if ask is not None:
            for digest in self._fetching.expire(now):
                self._give_up(digest)
            while (question := self._fetching.next(now)) is not None:
                ask(*question)
        return self._next_place(now)

    # -- which content
    def _look(self, now: float) -> None:
        """What is wanted may have changed."""
        standing = self._state.standing()
        if standing.epoch != self._epoch:
            self._epoch = standing.epoch
            self._fetching.close_questions()
        if now >= self._prune_at:
            self._prune(now)
        if not self._state.count_unmet().get(Reason.BODY):
            for digest in list(self._coming):
                self._give_up(digest)
            self._has_room(set(self._roomless))
            return
        self._has_room({digest for digest in self._roomless if not self._state.missing.is_unmet(digest)})
        self._copying.step(now, self._coming.keys() | self._whole.keys())
        for coming in list(self._coming.values()):
            self._check_wanted(coming)
        if self._fetching.may_begin and self._fetching.fetches.keys() == self._coming.keys():
            self._choose(now)

    def _check_wanted(self, coming: _Coming) -> None:
        """A content that nobody wants any more is given up; another path may want it instead."""
        wanted = coming.wanted
        places = self._known(self._state.missing.places(wanted.digest, PAGE_PATHS))
        if not places:
            self._give_up(wanted.digest)
        elif wanted.path not in places:
            self._coming[wanted.digest] = coming._replace(wanted=wanted._replace(path=places[0]))
            if wanted.digest in self._fetching.fetches:
                self._fetching.fetches[wanted.digest].wanted = wanted._replace(path=places[0])

    def _choose(self, now: float) -> None:
        page = self._state.missing.contents(PAGE_PATHS, after=self._after, large=True)
        known = self._known(list(page))
        wanted = [Wanted(path, page[path].digest, page[path].size) for path in known]
        chosen = self._fetching.choose([one for one in wanted if not self._is_here(one, now)], self._fits, now)
        if chosen is not None:
            self._begin(chosen, now)
        else:
            self._after = max(page) if len(page) == PAGE_PATHS else b""

    def _known(self, paths: list[bytes]) -> list[bytes]:
        """A content is asked for by a path at which we know that the master has it."""
        return agreement.known_ones(self._state.standing(), self._state, paths) if paths else []

    def _is_here(self, wanted: Wanted, now: float) -> bool:
        return wanted.digest in self._whole or self._copying.has(wanted.digest, now)

    def _fits(self, wanted: Wanted) -> bool:
        size = wanted.size + fetching.to_come_bytes(self._fetching.fetches.values())
        has = self._store.size(wanted.digest)
        if fetching.fits(size, has, self._store.free_bytes()):
            return True
        if self._store.drop_links() and fetching.fits(size, has, self._store.free_bytes()):
            return True
        self._has_no_room(wanted.digest, f"{escape(wanted.path)} has {wanted.size:,} bytes")
        return False

    def _has_room(self, digests: set[bytes]) -> None:
        """These wait for room no more."""
        if self._roomless:
            self._roomless -= digests
            if not self._roomless:
                self._board.clear(ALARM)

    def _has_no_room(self, digest: bytes, detail: str) -> None:
        self._roomless.add(digest)
        self._board.alarm(
            ALARM, f"no room for a large content: {detail}; the rest goes on, and this when there is room"
        )

    # -- one content
    def _begin(self, wanted: Wanted, now: float) -> None:
        try:
            descriptor = self._store.open_content(wanted.digest, wanted.size)
        except OSError as error:
            self._fetching.put_off(wanted.digest, now)
            self._has_no_room(wanted.digest, error.strerror or str(error))
            return
        content = Content(descriptor, wanted.digest, wanted.size, self._lane.check)
        self._coming[wanted.digest] = _Coming(content, wanted)
        self._lane.do(content.resume)

    def _give_up(self, digest: bytes) -> None:
        """It is fetched no more. What is there of it stays, until it is pruned."""
        coming = self._coming.pop(digest, None)
        if coming is not None:
            self._lane.do(coming.content.close)
            self._prune_at = 0.0
        self._fetching.stop(digest)

    def _filled(self, filled: Filled, now: float) -> None:
        digest = filled.content.digest
        coming = self._coming.get(digest)
        if coming is None or coming.content is not filled.content:
            return
        if filled.verdict is Verdict.MORE:
            self._goes_on(filled, coming.wanted, now)
            return
        self._give_up(digest)
        if filled.verdict is Verdict.WHOLE:
            self._came_whole(filled.content)
        elif filled.verdict is Verdict.NO_ROOM:
            self._fetching.put_off(digest, now)
            self._has_no_room(digest, filled.detail)
        else:
            self._store.drop_content(digest)
            is_wrong = filled.verdict is Verdict.WRONG
            self._fetching.put_off(digest, now, is_doubted=is_wrong and not filled.content.is_resumed)
            self._board.count("refused_total", label="body-mismatch")
            self._board.alarm(
                "body-mismatch", f"the large content that came for {escape(coming.wanted.path)} is {filled.verdict}"
            )

    def _goes_on(self, filled: Filled, wanted: Wanted, now: float) -> None:
        if wanted.digest not in self._fetching.fetches:
            self._fetching.begin(wanted, filled.offset, now)
            self._has_room({wanted.digest})
        self._fetching.stored(filled.content.digest, filled.offset)

    def _came_whole(self, content: Content) -> None:
        self._fetching.forget_pauses([content.digest])
        self._whole[content.digest] = _Whole(content.identity, 0.0)

    # -- its place
    def _next_place(self, now: float) -> Decided | None:
        """The step that places one of the contents that are whole."""
        for digest, whole in list(self._whole.items()):
            if self._store.identity(digest) != whole.identity:
                del self._whole[digest]
                continue
            places = self._state.missing.places(digest, PAGE_PATHS) if now >= whole.not_before else []
            for path in self._known(places)[:1]:
                self._whole[digest] = whole._replace(not_before=now + PLACE_AGAIN_SECONDS)
                decision = merging.place_stored(self._state.standing(), self._state, path, digest)
                if isinstance(decision, Decided):
                    self._look_at = 0.0
                    return decision
        return None

    def _prune(self, now: float) -> None:
        """What nobody wants goes. While something is stale nobody can tell what is wanted."""
        self._prune_at = now + PRUNE_SECONDS
        kept = self._store.kept()
        if not kept:
            return
        wanted = {one.digest for one in kept if self._is_wanted(one.digest) or (self._is_stale and not one.is_link)}
        drop = to_drop(kept, wanted, self._store.free_bytes(), now)
        if drop:
            self._copying.do(self._store.put_away(drop[:PRUNED_AT_ONCE]))
            self._prune_at = now + (PRUNE_SECONDS if len(drop) <= PRUNED_AT_ONCE else LOOK_SECONDS)
        self._fetching.forget_pauses([d for d in self._fetching.put_off_digests() if not self._is_wanted(d)])

    @property
    def _is_stale(self) -> bool:
        return bool(self._state.standing().stale)

    def _is_wanted(self, digest: bytes) -> bool:
        if digest in self._coming or digest == self._copying.digest:
            return True
        return bool(self._state.count_unmet()) and self._state.missing.is_unmet(digest)
