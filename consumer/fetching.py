"""Decides which large contents are fetched, which of their parts are asked for, and what an answer is worth. Volatile, and pure.

The parts of a content in order, and the next content when all of those before it were asked for: so a long link stays full from
one to the next. What is lost is asked for again from there. A content that nobody can give, that has no room, or that came wrong,
is put off for a pause that doubles, and the others have their turn. Times are monotonic seconds.
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
WRONG_PAUSE_SECONDS = 3600.0
"""The longest after a content came wrong: all of it travels with each try."""
FETCHES_MOST = 8
"""So many contents may be begun and not whole."""
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
    """A question for parts of a content up to `end`."""

    digest: bytes
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


class _PutOff(NamedTuple):
    until: float
    pause_seconds: float
    is_doubted: bool


@dataclass(slots=True)
class Fetching:
    """See the module. `new_nonce` never gives the same one twice."""

    new_nonce: Callable[[], bytes]
    fetches: dict[bytes, Fetch] = field(default_factory=dict)
    """By digest, in the order in which they were begun."""
    came_bytes: int = 0
    """Of all contents, since the start."""
    _pacing: Pacing = field(default_factory=Pacing)
    _open: dict[bytes, _Open] = field(default_factory=dict)
    _put_off: dict[bytes, _PutOff] = field(default_factory=dict)

    # -- which content
    @property
    def may_begin(self) -> bool:
        """Whether another content may be begun: all of those before it were asked for."""
        is_asked = all(fetch.asked >= fetch.wanted.size for fetch in self.fetches.values())
        return is_asked and len(self.fetches) < FETCHES_MOST

    def choose(self, wanted: Iterable[Wanted], fits: Callable[[Wanted], bool], now: float) -> Wanted | None:
        """The first that may be fetched now. What does not fit is put off."""
        for one in wanted:
            put_off = self._put_off.get(one.digest)
            if one.digest in self.fetches or (put_off is not None and now < put_off.until):
                continue
            if fits(one):
                return one
            self.put_off(one.digest, now)
        return None

    def put_off(self, digest: bytes, now: float, *, is_doubted: bool = False) -> None:
        """Not this one for a while. `is_doubted`: what came was not what its digest says."""
        before = self._put_off.get(digest)
        is_doubted = is_doubted or (before is not None and before.is_doubted)
        longest = WRONG_PAUSE_SECONDS if is_doubted else PAUSE_SECONDS[1]
        pause = min(longest, 2 * before.pause_seconds) if before is not None else PAUSE_SECONDS[0]
        self._put_off[digest] = _PutOff(now + pause, pause, is_doubted)
        self.stop(digest)

    def begin(self, wanted: Wanted, offset: int, now: float) -> None:
        """Fetch this one from an offset: what is before it lies in the store."""
        put_off = self._put_off.get(wanted.digest)
        is_doubted = put_off is not None and put_off.is_doubted
        self.stop(wanted.digest)
        self.fetches[wanted.digest] = Fetch(wanted, offset, offset, offset, is_doubted, now)

    def stop(self, digest: bytes) -> None:
        """Fetch this one no more. Idempotent."""
        fetch = self.fetches.pop(digest, None)
        if fetch is not None:
            self._lost(fetch)

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
        question = self._open.get(answer.nonce)
        fetch = self.fetches.get(question.digest) if question is not None else None
        if question is None or fetch is None or answer.offset < fetch.arrived:
            return False
        size = min(PART_BYTES, fetch.wanted.size - answer.offset)
        if (answer.digest, answer.offset, len(answer.content)) != (fetch.wanted.digest, fetch.arrived, size):
            self._lost(fetch)
            return False
        self._came(fetch, question, answer, now)
        return True

    def _came(self, fetch: Fetch, question: _Open, answer: PartAnswer, now: float) -> None:
        if not question.has_come and question.is_alone:
            self._pacing.measured_round_trip(now - question.asked_at, now)
        question.has_come = True
        self.came_bytes += len(answer.content)
        fetch.arrived += len(answer.content)
        fetch.silences = 0
        self._heard(fetch, now)
        if fetch.arrived >= question.end:
            self._pacing.measured_rate(self.came_bytes - question.came_before, now - question.asked_at, now)
            del self._open[answer.nonce]

    def _heard(self, fetch: Fetch, now: float) -> None:
        """What was asked for later waits behind it."""
        fetches = list(self.fetches.values())
        for later in fetches[fetches.index(fetch) :]:
            later.heard_at = now

    def _lost(self, fetch: Fetch) -> None:
        digest = fetch.wanted.digest
        self._open = {nonce: one for nonce, one in self._open.items() if one.digest != digest}
        fetch.asked = fetch.arrived

    def close_questions(self) -> None:
        """Nothing that was asked is answered any more: another epoch."""
        for fetch in self.fetches.values():
            self._lost(fetch)

    def stored(self, digest: bytes, offset: int) -> None:
        """So much of it is written."""
        fetch = self.fetches.get(digest)
        if fetch is not None:
            fetch.stored = max(fetch.stored, offset)

    def next(self, now: float) -> tuple[bytes, AskParts] | None:
        """The question to ask now, which is open from here on."""
        fetch = next((fetch for fetch in self.fetches.values() if fetch.asked < fetch.wanted.size), None)
        if fetch is None or (self._open and self._pacing.wants_round_trip(now)):
            return None
        allowed, left = self._pacing.parts(now), _parts(fetch.wanted.size - fetch.asked)
        coming = sum(_parts(one.asked - one.arrived) for one in self.fetches.values())
        unstored = sum(_parts(one.asked - one.stored) for one in self.fetches.values())
        count = min(left, allowed - coming, UNSTORED_LIMIT_PARTS - unstored)
        return self._ask(fetch, count, now) if count >= min(left, max(1, allowed // 4)) else None

    def _ask(self, fetch: Fetch, count: int, now: float) -> tuple[bytes, AskParts]:
        wanted, nonce = fetch.wanted, self.new_nonce()
        ask = AskParts(wanted.path, wanted.digest, fetch.asked, count, fetch.is_doubted)
        if fetch.asked == fetch.arrived:
            fetch.heard_at = now
        fetch.is_doubted = False
        fetch.asked = min(wanted.size, fetch.asked + count * PART_BYTES)
        self._open[nonce] = _Open(wanted.digest, fetch.asked, now, self.came_bytes, is_alone=not self._open)
        return nonce, ask

    def expire(self, now: float) -> list[bytes]:
        """What was not answered in time is asked for again; what was not in a row is put off: these are returned."""
        late = [
            fetch
            for fetch in self.fetches.values()
            if fetch.asked > fetch.arrived and now - fetch.heard_at >= ANSWER_TIMEOUT_SECONDS
        ]
        for fetch in late:
            self._lost(fetch)
            fetch.silences += 1
        gone = [fetch.wanted.digest for fetch in late if fetch.silences >= SILENCES_LIMIT]
        for digest in gone:
            self.put_off(digest, now)
        return gone


def to_come_bytes(fetches: Iterable[Fetch]) -> int:
    """How much these still need on the disk."""
    return sum(fetch.wanted.size - fetch.stored for fetch in fetches)


def fits(size: int, has: int, free_bytes: int) -> bool:
    """Whether a content of this size, of which so much is there, has room on the disk."""
    return size - has + SPARE_BYTES <= free_bytes


def _parts(size_bytes: int) -> int:
    return -(-size_bytes // PART_BYTES)
