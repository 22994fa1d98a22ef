"""Decides which questions a replica asks, and which answers it still expects. Which question, and when, is only a matter of
cost: any choice is right. Volatile: it is empty after a start, and after whatever makes buckets stale.

Time comes in as monotonic seconds, nonces from a function that never gives the same one twice.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from common.digests import BUCKETS, EMPTY_BUCKET
from common.entries import Entry
from common.messages import (
    Ask,
    AskBodies,
    AskBuckets,
    AskDigests,
    AskSince,
    BodyAnswer,
    BucketRows,
    Same,
    Since,
    TooOld,
)
from consumer.values import Stale

ANSWER_TIMEOUT_SECONDS = 4.0
"""A question without any answer for this long is asked again: within 5 s. After each silence it is twice as long: who answers
slowly, being busy or far away, must not be asked for ever what it has just answered."""
AWAY_SECONDS = 1.0
"""Whoever did not look for so long, being busy with what came before, met no silence meanwhile."""
PATIENCE_LIMIT = 4
"""So often it doubles, to a minute."""
SINCE_TIMEOUT_SECONDS = (4.0, 16.0)
"""Of each try of since, before another question has its turn: its parts are large, and a line may be slow."""
OPEN_BUCKETS_MINIMUM = 64
OPEN_BUCKETS_LIMIT = 2048
OPEN_BUCKETS_LIMIT_BYTES = 8 * 1024 * 1024
"""So much may be on its way, by the size of the answers so far: wide enough for a long round trip, bounded in memory."""
ANSWER_BYTES_ASSUMED = 32 * 1024
PORTIONS = 4
"""A question asks for a quarter of what may be open: few questions, and always some on their way."""
SPARSE_DIVISOR = 4
"""A bucket that holds less than this part of what level ones do is asked for with its contents."""
BODIES_AT_ONCE = 256
OPEN_BODIES_LIMIT = 4096
OPEN_BODIES_LIMIT_BYTES = 16 * 1024 * 1024

SINCE: Literal["since"] = "since"
Item = int | tuple[bytes, bytes] | Literal["since"] | None
"""What one answer is about: a bucket, a (path, digest), what changed since a base, or everything (digests)."""
Answer = Same | BucketRows | BodyAnswer | Since | TooOld


def item_of(answer: Answer) -> Item:
    """Which item of its question an answer is about."""
    if isinstance(answer, Since | TooOld):
        return SINCE
    if isinstance(answer, BucketRows):
        return answer.bucket
    if isinstance(answer, BodyAnswer):
        return answer.path, answer.digest
    return None


def items_of(ask: Ask) -> set[Item]:
    """The items that a question asks for, each answered by one message; what changed since a base, by one or several."""
    if isinstance(ask, AskSince):
        return {SINCE}
    if isinstance(ask, AskBuckets):
        return set(ask.buckets)
    if isinstance(ask, AskBodies):
        return set(ask.wanted)
    return {None}


@dataclass(slots=True)
class OpenQuestion:
    """A question that was asked: what is still to come, and when something was last heard of it."""

    ask: Ask
    left: set[Item]
    heard_at: float
    is_begun: bool = False
    """Some of a since answer has come."""


@dataclass(slots=True)
class Wants:
    """What a replica lacks, as its owner sees it now.

    `digest_of(bucket)`: ours. `bodies(limit, after)`: unmet paths that are known, with their entries, the first in byte order
    behind `after`; only called when there is room for another question. `with_contents` False: only rows are asked for, so
    that what goes makes room for what comes. `is_merging`: a since answer is merged, and nothing else need be asked for what is
    stale.
    """

    stale: Mapping[int, Stale]
    digest_of: Callable[[int], bytes]
    bodies: Callable[[int, bytes], Mapping[bytes, Entry]]
    with_contents: bool = True
    is_merging: bool = False
    counts: Callable[[], Mapping[int, int]] = dict
    """How many paths each bucket holds here; called once for each question for digests."""
    first: int | None = None
    """A bucket without which nothing can be removed that others lack: where the patterns are, while they are not known."""


@dataclass(slots=True)
class Asking:
    """The open questions of one replica."""

    new_nonce: Callable[[], bytes]
    open: dict[bytes, OpenQuestion] = field(default_factory=dict)
    digests_answered: bool = False
    answer_bytes: float = ANSWER_BYTES_ASSUMED
    """How large a bucket's answer is, on a moving average."""
    named: frozenset[int] = frozenset()
    """The buckets in which we had something when we asked for digests."""
    asked_to: bytes = b""
    """The last path whose content was asked for. The next come first: some may never be answered, and the others must not
    wait for them."""

    sizes: dict[Item, int] = field(default_factory=dict)
    """Of the contents that were asked for, in bytes."""
    looked_at: float | None = None
    """When it was last looked at what has come."""
    silences: int = 0
    """How many times in a row everything that was open met with silence."""
    since_tries: int = 0
    """Since questions in a row that came to nothing. Its answer is pushed whole: where it drives what it needs out of a queue,
    buckets, which are asked for by and by, come to an end."""

    def close_all(self) -> None:
        """Every question is forgotten: no answer to it is taken any more."""
        self.since_tries += any(question.is_begun for question in self.open.values())
        self.open.clear()
        self.silences = 0
        self.digests_answered = False

    def expects(self, answer: Answer) -> bool:
        """Whether this answers an open question, and the first time."""
        question = self.open.get(answer.nonce)
        return question is not None and item_of(answer) in question.left

    def heard(self, answer: Answer, now: float) -> None:
        """An answer, or a part of it, has come, whatever will become of it: everything that is open is waited for longer."""
        self.silences = 0
        if isinstance(answer, Since):
            self.open[answer.nonce].is_begun = True
        for question in self.open.values():
            question.heard_at = now

    def answered(self, answer: Answer, now: float, size_bytes: int = 0) -> None:
        """This answer, of this size on the wire where it is known, was merged or dropped for good. Idempotent."""
        if size_bytes and isinstance(answer, BucketRows):
            self.answer_bytes += (size_bytes - self.answer_bytes) / 16
        question = self.open.get(answer.nonce)
        if question is None:
            return
        question.left.discard(item_of(answer))
        self.silences = 0
        for other in self.open.values():
            other.heard_at = now
        if isinstance(answer, Same):
            self.digests_answered = True
        if isinstance(answer, Since | TooOld):
            self.since_tries = 0
        if not question.left:
            del self.open[answer.nonce]

    @property
    def expected(self) -> int:
        """How many answers are still to come, or to be merged; those to a since question count as one."""
        return sum(len(question.left) for question in self.open.values())

    def looked(self, now: float) -> None:
        """What has come was looked at until now. A long step, or a machine that gave others their turn, is no silence of
        those who answer: they may have answered long ago."""
        away = now - self.looked_at if self.looked_at is not None else 0.0
        self.looked_at = now
        if away >= AWAY_SECONDS:
            for question in self.open.values():
                question.heard_at = min(now, question.heard_at + away)

    def next(self, wants: Wants, now: float, *, is_silent: bool = True) -> list[tuple[bytes, Ask]]:
        """What to ask now: (nonce, question) pairs, which are open from here on. `is_silent`: nothing that has come waits to be
        looked at, so what is not answered in time is asked again."""
        if is_silent:
            self.expire(now)
        asks: list[Ask] = []
        if not wants.stale:
            self.since_tries = 0
        elif not wants.is_merging:
            asks += self._for_stale(wants)
        asks += self._for_bodies(wants)
        asked = [(self.new_nonce(), ask) for ask in asks]
        for nonce, ask in asked:
            self.open[nonce] = OpenQuestion(ask, items_of(ask), now)
        return asked

    def due_at(self) -> float | None:
        """When the next open question times out."""
        return min((q.heard_at + self._timeout_seconds(q) for q in self.open.values()), default=None)

    def expire(self, now: float) -> None:
        """Questions that were not answered in time are open no more. Idempotent."""
        silent = [nonce for nonce, q in self.open.items() if now - q.heard_at >= self._timeout_seconds(q)]
        for nonce in silent:
            self._count_try(self.open.pop(nonce).ask)
        if silent:
            self.silences = min(self.silences + 1, PATIENCE_LIMIT)

    def _timeout_seconds(self, question: OpenQuestion) -> float:
        if isinstance(question.ask, AskSince):
            return SINCE_TIMEOUT_SECONDS[self.since_tries > 0]
        return ANSWER_TIMEOUT_SECONDS * (1 << self.silences)

    def _count_try(self, ask: Ask) -> None:
        """Who answers no digests either is not there: then it is since's turn again."""
        if isinstance(ask, AskSince):
            self.since_tries += 1
        elif isinstance(ask, AskDigests):
            self.since_tries = 0

    def _left(self, kind: type[Ask]) -> set[Item]:
        left: set[Item] = set()
        for question in self.open.values():
            if isinstance(question.ask, kind):
                left |= question.left
        return left

    def _for_stale(self, wants: Wants) -> list[Ask]:
        """Since the lowest base where there is one; else the digests of all; then the buckets that differ."""
        if wants.first is not None and self._must_come_first(wants, wants.first):
            is_asked = wants.first not in wants.stale or wants.first in self._left(AskBuckets)
            return [] if is_asked else [AskBuckets((wants.first,), bodies=True)]
        if not self.digests_answered:
            if self._left(AskDigests) or self._left(AskSince):
                return []
            bases = [stale.base for stale in wants.stale.values() if stale.base is not None]
            if bases and self.since_tries < len(SINCE_TIMEOUT_SECONDS):
                return [AskSince(min(bases))]
            digests = _named(wants)
            self.named = frozenset(bucket for bucket, _ in digests) - _sparse(wants)
            return [AskDigests(digests)]
        asked = self._left(AskBuckets)
        limit = self._open_buckets_limit()
        room = limit - len(asked)
        if room < limit // PORTIONS:
            return []
        todo = [bucket for bucket in sorted(wants.stale) if bucket not in asked][:room]
        return _bucket_asks(todo, self.named if wants.with_contents else frozenset(todo))

    def _must_come_first(self, wants: Wants, first: int) -> bool:
        """Whether `first` is not among what is asked anyhow: since covers it where it has a base, digests may level it. Where it
        is level, only a content is missing there, and it is asked for as such."""
        stale = wants.stale.get(first)
        if stale is None:
            return True
        has_base = any(row.base is not None for row in wants.stale.values())
        return self.digests_answered or (stale.base is None and has_base)

    def _open_buckets_limit(self) -> int:
        by_size = int(OPEN_BUCKETS_LIMIT_BYTES / self.answer_bytes)
        return max(OPEN_BUCKETS_MINIMUM, min(OPEN_BUCKETS_LIMIT, by_size))

    def _for_bodies(self, wants: Wants) -> list[Ask]:
        asked = self._left(AskBodies)
        if len(asked) > OPEN_BODIES_LIMIT - BODIES_AT_ONCE:
            return []
        todo = self._bodies_to_ask(wants, asked)
        if not todo and self.asked_to:
            self.asked_to = b""
            todo = self._bodies_to_ask(wants, asked)
        self.asked_to = todo[-1][0] if todo else b""
        return [AskBodies(tuple(todo[i : i + BODIES_AT_ONCE])) for i in range(0, len(todo), BODIES_AT_ONCE)]

    def _bodies_to_ask(self, wants: Wants, asked: set[Item]) -> list[tuple[bytes, bytes]]:
        bodies = wants.bodies(OPEN_BODIES_LIMIT + len(asked), self.asked_to)
        todo: list[tuple[bytes, bytes]] = []
        self.sizes = {item: size for item, size in self.sizes.items() if item in asked}
        size_bytes = sum(self.sizes.values())
        for path, entry in bodies.items():
            if (path, entry.digest) in asked:
                continue
            open_count = len(todo) + len(asked)
            size_bytes += entry.size
            if open_count and (open_count >= OPEN_BODIES_LIMIT or size_bytes > OPEN_BODIES_LIMIT_BYTES):
                break
            todo.append((path, entry.digest))
            self.sizes[path, entry.digest] = entry.size
        return todo


def _named(wants: Wants) -> tuple[tuple[int, bytes], ...]:
    """A question names the stale buckets that are not empty only: empty ones cost nothing and say nothing."""
    named = ((bucket, wants.digest_of(bucket)) for bucket in sorted(wants.stale))
    return tuple((bucket, digest) for bucket, digest in named if digest != EMPTY_BUCKET)


def _sparse(wants: Wants) -> frozenset[int]:
    """The stale buckets that hold less than a quarter of what a level one does: in a first copy that live changes overtake, or
    that goes on after a kill, most of their contents are still to come."""
    counts = wants.counts()
    stale = sum(counts.get(bucket, 0) for bucket in wants.stale)
    level = BUCKETS - len(wants.stale)
    if level <= 0:
        return frozenset()
    mean = (sum(counts.values()) - stale) / level
    return frozenset(bucket for bucket in wants.stale if counts.get(bucket, 0) * SPARSE_DIVISOR < mean)


def _bucket_asks(todo: list[int], named: frozenset[int]) -> list[Ask]:
    """Contents come along where we had nothing, or little; elsewhere only rows, and then the bodies that really differ."""
    empty = tuple(bucket for bucket in todo if bucket not in named)
    others = tuple(bucket for bucket in todo if bucket in named)
    return [AskBuckets(buckets, bodies) for buckets, bodies in ((empty, True), (others, False)) if buckets]
