"""Does: makes the answers to one question from the journal and the source. Knows neither turns nor processes.

Every answer states S, the sequence at which the journal stood in the one read transaction that its rows and digests came from.
Its frame is kept by its content, so whoever asks for the same next costs a header. The rules are those of docs/agreement.md.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, NamedTuple

from common.digests import BUCKETS, EMPTY_BUCKET
from common.entries import Entry, Event
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
    Lineage,
    PartAnswer,
    Question,
    Same,
    TooOld,
)
from common.wire import codec
from common.wire.frame import Closed
from producer import changed, parts
from producer.answerer import Alarming, Doubted
from producer.contents import Contents, Pass
from producer.frames import Frames
from producer.snapshots import Snapshot, Snapshots
from producer.values import Known

BODIES_LIMIT_BYTES = 1024 * 1024
"""Bodies that one bucket's answer takes along; the rest is asked for by body."""
BUCKET_FRAMES_BYTES = 64 * 1024 * 1024
OTHER_FRAMES_BYTES = 16 * 1024 * 1024
"""Of all others: several replicas ask for one within moments, or none does."""


class Answered(NamedTuple):
    """An answer: what its header says, with rows or content left empty, and the frame that holds them."""

    kind: str
    answer: Answer
    closed: Closed


Outcome = Answered | Doubted | Alarming


class Making:
    """See the module. Owned by one thread. Everything may raise NoRoomError, StateError and HaltError, as the journal does, and
    RefusedError where an answer would be more than a message holds."""

    def __init__(self, snapshots: Snapshots, contents: Contents) -> None:
        self._snapshots = snapshots
        self._contents = contents
        self._bucket_frames = Frames(BUCKET_FRAMES_BYTES)
        self._other_frames = Frames(OTHER_FRAMES_BYTES)

    def held(self) -> AbstractContextManager[None]:
        """A short spell in which the journal is read at one position."""
        return self._snapshots.held()

    def outcomes(self, question: Question) -> Iterator[Outcome]:
        """All that a question comes to, each made when it is taken. A question of another epoch than the journal's comes to
        nothing, and so does what the index does not hold."""
        match question.ask:
            case AskDigests():
                yield from self._same(question, question.ask)
            case AskBuckets():
                for bucket in question.ask.buckets:
                    yield from self._bucket(question, bucket, question.ask.bodies)
            case AskSince():
                yield from self._since(question, question.ask.base)
            case AskBodies():
                for path, digest in question.ask.wanted:
                    yield from self._body(question, path, digest)
            case AskParts():
                yield from self._parts(question, question.ask)

    def _same(self, question: Question, ask: AskDigests) -> Iterator[Outcome]:
        """Equal buckets, among them those that are empty on both sides: not named there, empty here."""
        with self._snapshots.reading() as snapshot:
            ours = snapshot.digests()
        if _is_of(question, snapshot.lineage):
            theirs = dict(ask.digests)
            equal = tuple(b for b in range(BUCKETS) if theirs.get(b, EMPTY_BUCKET) == ours.get(b, EMPTY_BUCKET))
            answer = Same(*_heading(question, snapshot), equal, snapshot.released)
            yield Answered("same", answer, codec.close_answer(answer))

    # -- buckets

    def _bucket(self, question: Question, bucket: int, with_bodies: bool) -> Iterator[Outcome]:
        with self._snapshots.reading() as snapshot:
            digest = snapshot.digest(bucket)
            key = (digest, with_bodies)
            closed = self._bucket_frames.get(key)
            rows = snapshot.rows_in_bucket(bucket) if closed is None else []
        if not _is_of(question, snapshot.lineage):
            return
        answer = BucketRows(*_heading(question, snapshot), bucket, digest, (), snapshot.released)
        if closed is None:
            events, doubts = self._events(rows) if with_bodies else (_without_bodies(rows), ())
            closed = codec.close_answer(replace(answer, rows=events))
            if doubts is not None and not doubts:
                self._bucket_frames.put(key, closed)
            yield from doubts or ()
        yield Answered("bucket", answer, closed)

    def _events(self, rows: Sequence[Known]) -> tuple[tuple[Event, ...], list[Doubted] | None]:
        """The rows with as many bodies as have room, and what changed on the disk since: it is asked for later. Where the root
        is not there: none, and None."""
        room_bytes = BODIES_LIMIT_BYTES
        events: list[Event] = []
        doubts: list[Doubted] = []
        with self._contents.reading() as reading:
            if reading is None:
                return _without_bodies(rows), None
            for known in rows:
                path, entry, body = known.path, known.entry, None
                if not entry.is_directory and entry.size <= room_bytes:
                    room_bytes -= entry.size
                    body = reading.body(path, entry)
                    if body is None:
                        doubts.append(Doubted(path))
                events.append(Event(path, entry, body))
        return tuple(events), doubts

    # -- since

    def _since(self, question: Question, base: int) -> Iterator[Outcome]:
        found = self._snapshots.changed_since(base)
        if not _is_of(question, found.lineage):
            return
        if isinstance(found, changed.Ahead):
            yield Alarming("journal-behind", changed.ahead_text(question.replica, base, found))
        elif isinstance(found, changed.OutOfReach):
            answer = TooOld(found.lineage, question.replica, question.nonce, found.at, found.reach)
            yield Answered("since", answer, codec.close_answer(answer))
        else:
            for number in range(len(found.parts)):
                yield from self._part_of_since(question, found, number)

    def _part_of_since(self, question: Question, found: changed.Changed, number: int) -> Iterator[Outcome]:
        answer = changed.heading(question, found, number)
        key = ("since", found.lineage.epoch, found.base, found.at, number)
        closed = self._other_frames.get(key)
        if closed is None:
            doubts: list[bytes] = []
            with self._contents.reading() as reading:
                read_body = reading.body if reading is not None else _nothing
                rows = changed.rows_of(found, number, read_body, doubts.append)
            closed = codec.close_answer(replace(answer, rows=rows))
            if reading is not None:
                yield from map(Doubted, doubts)
                if not doubts:
                    self._other_frames.put(key, closed)
        yield Answered("since", answer, closed)

    # -- single contents

    def _body(self, question: Question, path: bytes, digest: bytes) -> Iterator[Outcome]:
        with self._snapshots.reading() as snapshot:
            known = snapshot.known(path)
        if known is None or not _is_small(known.entry, digest) or not _is_of(question, snapshot.lineage):
            return
        entry = known.entry
        answer = BodyAnswer(*_heading(question, snapshot), path, digest, b"")
        yield from self._content(("body", path, digest), answer, path, lambda reading: reading.body(path, entry))

    def _parts(self, question: Question, ask: AskParts) -> Iterator[Outcome]:
        """Each part from a snapshot of its own: a change of mode gave the content another identity meanwhile, another content
        ends it."""
        with self._snapshots.reading() as snapshot:
            known = snapshot.known(ask.path)
        if ask.is_doubted and known is not None and known.entry.digest == ask.digest:
            yield Doubted(ask.path)
        for offset in parts.offsets(known, ask):
            with self._snapshots.reading() as snapshot:
                known = snapshot.known(ask.path)
            if known is None or known.entry.digest != ask.digest or not _is_of(question, snapshot.lineage):
                return
            answer = PartAnswer(*_heading(question, snapshot), ask.digest, offset, b"")
            yield from self._content(("part", ask.digest, offset), answer, ask.path, _reads_part(known, offset))

    def _content(
        self, key: tuple[Any, ...], answer: BodyAnswer | PartAnswer, path: bytes, read: Callable[[Pass], bytes | None]
    ) -> Iterator[Outcome]:
        """The answer with what is read, or with the frame that was kept. Nothing where the root is not there."""
        closed = self._other_frames.get(key)
        if closed is None:
            with self._contents.reading() as reading:
                if reading is None:
                    return
                content = read(reading)
            if content is None:
                yield Doubted(path)
                return
            closed = codec.close_answer(replace(answer, content=content))
            self._other_frames.put(key, closed)
        yield Answered(key[0], answer, closed)


def _is_of(question: Question, lineage: Lineage) -> bool:
    return question.tree == lineage.tree and question.epoch == lineage.epoch


def _heading(question: Question, snapshot: Snapshot) -> tuple[Lineage, str, bytes, int]:
    """What every answer begins with; the rows that follow are of this snapshot."""
    return snapshot.lineage, question.replica, question.nonce, snapshot.sequence


def _nothing(path: bytes, entry: Entry) -> bytes | None:
    return None


def _without_bodies(rows: Sequence[Known]) -> tuple[Event, ...]:
    return tuple(Event(path, entry) for path, entry, _ in rows)


def _is_small(entry: Entry, digest: bytes) -> bool:
    return not entry.is_directory and entry.digest == digest and entry.size <= INLINE_LIMIT_BYTES


def _reads_part(known: Known, offset: int) -> Callable[[Pass], bytes | None]:
    return lambda reading: reading.part(known, offset)
