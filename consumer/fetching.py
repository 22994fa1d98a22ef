"""Decides which large content is fetched, which of its parts are asked for, and what an answer is worth. Volatile, and pure.

One content at a time, its parts in order; what is lost is asked for again from there. A content that nobody can give, that has no
room, or that came wrong, is put off for a pause that doubles, and the others have their turn. Times are monotonic seconds.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from common.messages import PART_BYTES, AskParts, PartAnswer
from consumer.pacing import Pacing

ANSWER_TIMEOUT_SECONDS = 4.0
SILENCES_LIMIT = 2
"""So often in a row a content's parts do not come before another has its turn."""
PAUSE_SECONDS = (1.0, 60.0)
UNSTORED_LIMIT_PARTS = 32
"""So many parts may wait in memory to be written."""
SPARE_BYTES = 32 * 1024 * 1024
"""What must stay free on the disk beside a content that is fetched: small files need room too."""


class Wanted(NamedTuple):
    """A large content that is missing at a path. The path is known: the master has this content there."""

    path: bytes
    digest: bytes
    size: int


@dataclass(slots=True)
class _Open:
    """A question for parts up to `end`."""

    end: int
    asked_at: float
    came_before: int
    is_alone: bool
    """Whether nothing else was on its way when it was asked."""
    has_come: bool = False


@dataclass(slots=True)
class Fetch:
    """One content on its way. All offsets are in bytes from its beginning: stored <= arrived <= asked."""

    wanted: Wanted
    stored: int
    arrived: int
    asked: int
    is_doubted: bool
    heard_at: float
    silences: int = 0

    @property
    def is_whole(self) -> bool:
        return self.arrived >= self.wanted.size


class _PutOff(NamedTuple):
    until: float
    pause_seconds: float
    is_doubted: bool


@dataclass(slots=True)
class Fetching:
    """See the module. `new_nonce` never gives the same one twice."""

    new_nonce: Callable[[], bytes]
    fetch: Fetch | None = None
    came_bytes: int = 0
    """Of all contents, since the start."""
    _pacing: Pacing = field(default_factory=Pacing)
    _open: dict[bytes, _Open] = field(default_factory=dict)
    _put_off: dict[bytes, _PutOff] = field(default_factory=dict)

    # -- which content
    def choose(self, wanted: Iterable[Wanted], fits: Callable[[Wanted], bool], now: float) -> Wanted | None:
        """The first that may be fetched now. What does not fit is put off."""
        for one in wanted:
            put_off = self._put_off.get(one.digest)
            if put_off is not None and now < put_off.until:
                continue
            if fits(one):
                return one
            self.put_off(one.digest, now)
        return None

    def put_off(self, digest: bytes, now: float, *, is_doubted: bool = False) -> None:
        """Not this one for a while. `is_doubted`: what came was not what its digest says."""
        before = self._put_off.get(digest)
        first, longest = PAUSE_SECONDS
        pause = min(longest, 2 * before.pause_seconds) if before is not None else first
        self._put_off[digest] = _PutOff(now + pause, pause, is_doubted or (before is not None and before.is_doubted))
        if self.fetch is not None and self.fetch.wanted.digest == digest:
            self.stop()

    def begin(self, wanted: Wanted, offset: int, now: float) -> None:
        """Fetch this one from an offset: what is before it lies in the store."""
        put_off = self._put_off.get(wanted.digest)
        is_doubted = put_off is not None and put_off.is_doubted
        self._open.clear()
        self.fetch = Fetch(wanted, offset, offset, offset, is_doubted, now)

    def stop(self) -> None:
        """Fetch nothing. Idempotent."""
        self.fetch = None
        self._open.clear()

    def forget_pauses(self, digests: Iterable[bytes] = ()) -> None:
        """These came well, or are wanted no more."""
        for digest in digests:
            self._put_off.pop(digest, None)

    def put_off_digests(self) -> list[bytes]:
        """What has a pause, or had one."""
        return list(self._put_off)

    # -- its parts
    def take(self, answer: PartAnswer, now: float) -> bool:
        """Whether this is the part that comes next: then it must be stored. Where one was lost, all is asked for again from
        there; what was asked before that, or comes twice, is dropped."""
        fetch = self.fetch
        if fetch is None or answer.nonce not in self._open or answer.offset < fetch.arrived:
            return False
        size = min(PART_BYTES, fetch.wanted.size - answer.offset)
        if (answer.digest, answer.offset, len(answer.content)) != (fetch.wanted.digest, fetch.arrived, size):
            self._lost(fetch)
            return False
        self._came(fetch, answer, now)
        return True

    def _came(self, fetch: Fetch, answer: PartAnswer, now: float) -> None:
        question = self._open[answer.nonce]
        if not question.has_come and question.is_alone:
            self._pacing.measured_round_trip(now - question.asked_at, now)
        question.has_come = True
        self.came_bytes += len(answer.content)
        fetch.arrived += len(answer.content)
        fetch.heard_at, fetch.silences = now, 0
        if fetch.arrived >= question.end:
            self._pacing.measured_rate(self.came_bytes - question.came_before, now - question.asked_at, now)
            del self._open[answer.nonce]

    def _lost(self, fetch: Fetch) -> None:
        self._open.clear()
        fetch.asked = fetch.arrived

    def close_questions(self) -> None:
        """Nothing that was asked is answered any more: another epoch."""
        if self.fetch is not None:
            self._lost(self.fetch)

    def stored(self, digest: bytes, offset: int) -> None:
        """So much of it is written."""
        if self.fetch is not None and self.fetch.wanted.digest == digest:
            self.fetch.stored = max(self.fetch.stored, offset)

    def next(self, now: float) -> tuple[bytes, AskParts] | None:
        """The question to ask now, which is open from here on."""
        fetch = self.fetch
        if fetch is None or fetch.asked >= fetch.wanted.size:
            return None
        if self._open and self._pacing.wants_round_trip(now):
            return None
        allowed = self._pacing.parts(now)
        room = min(
            allowed - _parts(fetch.asked - fetch.arrived), UNSTORED_LIMIT_PARTS - _parts(fetch.asked - fetch.stored)
        )
        count = min(room, _parts(fetch.wanted.size - fetch.asked))
        if count < min(max(1, allowed // 4), _parts(fetch.wanted.size - fetch.asked)):
            return None
        return self._ask(fetch, count, now)

    def _ask(self, fetch: Fetch, count: int, now: float) -> tuple[bytes, AskParts]:
        wanted, nonce = fetch.wanted, self.new_nonce()
        ask = AskParts(wanted.path, wanted.digest, fetch.asked, count, fetch.is_doubted)
        is_alone = not self._open
        if is_alone:
            fetch.heard_at = now
        fetch.is_doubted = False
        fetch.asked = min(wanted.size, fetch.asked + count * PART_BYTES)
        self._open[nonce] = _Open(fetch.asked, now, self.came_bytes, is_alone)
        return nonce, ask

    def expire(self, now: float) -> bool:
        """What was not answered in time is asked for again, or put off: then True, and another content has its turn."""
        fetch = self.fetch
        if fetch is None or not self._open or now - fetch.heard_at < ANSWER_TIMEOUT_SECONDS:
            return False
        self._lost(fetch)
        fetch.silences += 1
        if fetch.silences < SILENCES_LIMIT:
            return False
        self.put_off(fetch.wanted.digest, now)
        return True


def fits(size: int, has: int, free_bytes: int) -> bool:
    """Whether a content of this size, of which so much is there, has room on the disk."""
    return size - has + SPARE_BYTES <= free_bytes


def _parts(size_bytes: int) -> int:
    return -(-size_bytes // PART_BYTES)
