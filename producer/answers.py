"""Does: answers replicas' questions from the journal and the source. Decides nothing about when: it is asked for one at a time.

Every answer states S, the sequence at which the journal stands, and shows rows of that S: the caller publishes it behind batch S,
through the same publisher, before the next batch is journaled. Knows no broker. The rules are those of docs/agreement.md.
"""

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from common.digests import BUCKETS, EMPTY_BUCKET
from common.entries import Event
from common.messages import (
    INLINE_LIMIT_BYTES,
    Answer,
    AskBodies,
    AskBuckets,
    AskDigests,
    AskParts,
    AskSince,
    BodyAnswer,
    BucketRows,
    PartAnswer,
    Question,
    Same,
)
from producer import changed, parts
from producer.changed import Doubt, Reading
from producer.journal import Journal
from producer.values import Known

BODIES_LIMIT_BYTES = 1024 * 1024
"""Bodies that one bucket's answer takes along; the rest is asked for by body."""
CACHE_LIMIT_BYTES = 32 * 1024 * 1024
QUESTIONS_PER_REPLICA = 32
REPLICAS_LIMIT = 10_000
_ROW_OVERHEAD_BYTES = 400

ReadPart = Callable[[Known, int], bytes | None]
"""One part of a large content, by its index row and offset; None when the source has it no more."""
Alarm = Callable[[str, str], None]
"""Told the kind and the text of an alarm."""


class Answers:
    """The questions that wait, one queue for each replica, served in turn. Owned by one thread."""

    def __init__(self, journal: Journal, reading: Reading, doubt: Doubt, read_part: ReadPart, alarm: Alarm) -> None:
        self._journal = journal
        self._read_part = read_part
        self._rows = _RowsCache(journal, reading, doubt)
        self._reading = reading
        self._doubt = doubt
        self._alarm = alarm
        self._waiting: OrderedDict[str, deque[Question]] = OrderedDict()
        self._open: dict[str, tuple[Question, Iterator[Answer]]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def ask(self, question: Question) -> None:
        """Queue a question of our epoch. The same question asked again replaces the older; the oldest of too many is dropped."""
        if question.replica not in self._waiting and len(self._waiting) >= REPLICAS_LIMIT:
            return
        queue = self._waiting.setdefault(question.replica, deque())
        repeated = next((older for older in queue if older.ask == question.ask), None)
        if repeated is not None:
            self._drop(repeated)
        queue.append(question)
        if len(queue) > QUESTIONS_PER_REPLICA:
            self._drop(queue[0])
        self._waiting.setdefault(question.replica, queue)

    def forget(self, replica: str) -> None:
        """Drop what this replica asked."""
        self._waiting.pop(replica, None)
        self._open.pop(replica, None)

    def next(self, is_old: Callable[[Question], bool]) -> Answer | None:
        """One answer, or None when there is nothing to say now. Replicas take turns. What `is_old` is not answered."""
        while self._waiting:
            replica, queue = self._waiting.popitem(last=False)
            self._waiting[replica] = queue  # to the end: the next turn is another's
            answer = None if is_old(queue[0]) else next(self._answers_to(queue[0]), None)
            if answer is not None:
                return answer
            self._drop(queue[0])
        return None

    def _drop(self, question: Question) -> None:
        queue = self._waiting[question.replica]
        queue.remove(question)
        if question.replica in self._open and self._open[question.replica][0] is question:
            del self._open[question.replica]
        if not queue:
            del self._waiting[question.replica]

    def _answers_to(self, question: Question) -> Iterator[Answer]:
        if question.replica not in self._open:
            self._open[question.replica] = (question, self._answer(question))
        return self._open[question.replica][1]

    def _answer(self, question: Question) -> Iterator[Answer]:
        match question.ask:
            case AskDigests():
                yield self._same(question, question.ask)
            case AskBuckets():
                for bucket in question.ask.buckets:
                    yield self._bucket(question, bucket, question.ask.bodies)
            case AskSince():
                yield from self._since(question, question.ask.base)
            case AskBodies():
                yield from self._bodies(question, question.ask)
            case AskParts():
                yield from self._parts(question, question.ask)

    def _same(self, question: Question, ask: AskDigests) -> Same:
        """Equal buckets, among them those that are empty on both sides: not named there, empty here."""
        stand = self._journal.stand
        theirs = dict(ask.digests)
        equal = tuple(b for b in range(BUCKETS) if theirs.get(b, EMPTY_BUCKET) == stand.digests.of(b))
        return Same(stand.lineage, question.replica, question.nonce, stand.sequence, equal, stand.released)

    def _bucket(self, question: Question, bucket: int, with_bodies: bool) -> BucketRows:
        stand = self._journal.stand
        digest = stand.digests.of(bucket)
        rows = self._rows.of(bucket, digest, with_bodies)
        about = (stand.lineage, question.replica, question.nonce, stand.sequence)
        return BucketRows(*about, bucket, digest, rows, stand.released)

    def _since(self, question: Question, base: int) -> Iterator[Answer]:
        found = self._journal.changed_since(base)
        if isinstance(found, changed.Ahead):
            self._alarm("journal-behind", changed.ahead_text(question.replica, base, found))
        else:
            yield from changed.answers(question, found, self._reading, self._doubt)

    def _bodies(self, question: Question, ask: AskBodies) -> Iterator[BodyAnswer]:
        for path, digest in ask.wanted:
            entry = self._journal.entry(path)
            if entry is None or entry.is_directory or entry.digest != digest or entry.size > INLINE_LIMIT_BYTES:
                continue
            with self._reading() as read_body:
                content = read_body(path, entry)
            if content is None:
                self._doubt(path)
            else:
                stand = self._journal.stand
                yield BodyAnswer(stand.lineage, question.replica, question.nonce, stand.sequence, path, digest, content)

    def _parts(self, question: Question, ask: AskParts) -> Iterator[PartAnswer]:
        known = self._known(ask.path)
        if ask.is_doubted and known is not None and known.entry.digest == ask.digest:
            self._doubt(ask.path)
        for offset in parts.offsets(known, ask):
            # Read anew for each part: a change of mode gave the same content another identity meanwhile.
            known = self._known(ask.path)
            if known is None or known.entry.digest != ask.digest:
                return
            content = self._read_part(known, offset)
            if content is None:
                self._doubt(ask.path)
                return
            stand = self._journal.stand
            yield PartAnswer(
                stand.lineage, question.replica, question.nonce, stand.sequence, ask.digest, offset, content
            )

    def _known(self, path: bytes) -> Known | None:
        return self._journal.entries([path]).get(path)


class _RowsCache:
    """Rows of buckets by their digest, so that ten first copies at once do not read every file ten times."""

    def __init__(self, journal: Journal, reading: Reading, doubt: Doubt) -> None:
        self._journal = journal
        self._reading = reading
        self._doubt = doubt
        self._kept: OrderedDict[tuple[bytes, bool], tuple[tuple[Event, ...], int]] = OrderedDict()
        self._kept_bytes = 0

    def of(self, bucket: int, digest: bytes, with_bodies: bool) -> tuple[Event, ...]:
        """Everything in the bucket, whose digest this is now."""
        key = (digest, with_bodies)
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key][0]
        rows, is_whole = self._read(bucket, with_bodies)
        if is_whole:
            self._keep(key, rows)
        return rows

    def _read(self, bucket: int, with_bodies: bool) -> tuple[tuple[Event, ...], bool]:
        """The rows, and whether every body that has room is there: what changed on the disk since is asked for later."""
        room_bytes = BODIES_LIMIT_BYTES if with_bodies else -1
        is_whole = True
        rows = []
        with self._reading() as read_body:
            for path, entry, _ in self._journal.rows_in_bucket(bucket):
                body = None
                if not entry.is_directory and entry.size <= room_bytes:
                    body = read_body(path, entry)
                    room_bytes -= entry.size
                    if body is None:
                        is_whole = False
                        self._doubt(path)
                rows.append(Event(path, entry, body))
        return tuple(rows), is_whole

    def _keep(self, key: tuple[bytes, bool], rows: tuple[Event, ...]) -> None:
        size = sum(_ROW_OVERHEAD_BYTES + len(row.path) + len(row.body or b"") for row in rows)
        self._kept[key] = (rows, size)
        self._kept_bytes += size
        while self._kept_bytes > CACHE_LIMIT_BYTES:
            self._kept_bytes -= self._kept.popitem(last=False)[1][1]
