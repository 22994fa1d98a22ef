"""What the producer sends: batch, heartbeat and answers, each as header fields and frame contents, and back.

Pairs of `_write_x` and `_read_x`. The header has been checked before anything is read here; no bytes are packed here.
"""

from collections.abc import Callable
from typing import assert_never

from common.digests import BUCKETS, bucket_of
from common.entries import Event
from common.errors import RefusedError
from common.messages import Batch, BodyAnswer, BucketRows, Downstream, Heartbeat, Lineage, Same
from common.wire.columns import cut_digests, cut_paths, read_text, read_unique
from common.wire.events import has_keep, read_events, write_events
from common.wire.frame import Contents
from common.wire.header import Header, MessageType, Need

LEADER_LIMIT_CHARACTERS = 1024


def write_downstream(message: Downstream) -> tuple[Header, Contents]:
    """The header, without what only the closed frame can tell, and the frame's contents."""
    match message:
        case Batch():
            return _write_batch(message)
        case Heartbeat():
            return _write_heartbeat(message)
        case Same():
            return _answer(MessageType.SAME, message, len(message.buckets)), Contents({"buckets": message.buckets}, {})
        case BucketRows():
            return _write_bucket(message)
        case BodyAnswer():
            return _write_body(message)
        case _:
            assert_never(message)


def read_downstream(kind: MessageType, header: Header, message_hash: bytes, contents: Contents) -> Downstream:
    """The message, from a checked header and an opened frame. Raises RefusedError."""
    if kind == MessageType.BATCH:
        return _read_batch(header, message_hash, contents)
    return _READERS[kind](header, contents)


def _stream(kind: MessageType, lineage: Lineage) -> Header:
    return Header(kind, lineage.tree, lineage.epoch, instance=lineage.instance, salt=lineage.salt)


def _answer(kind: MessageType, message: Same | BucketRows | BodyAnswer, count: int) -> Header:
    header = _stream(kind, message.lineage)
    return header._replace(rows=count, replica=message.replica, nonce=message.nonce, at=message.at)


def _lineage(header: Header) -> Lineage:
    return Lineage(header.tree, header.epoch, header.instance, header.salt)


def _write_batch(batch: Batch) -> tuple[Header, Contents]:
    header = _stream(MessageType.BATCH, batch.lineage)._replace(
        first=batch.first,
        rows=len(batch.events),
        prev=batch.prev,
        before=batch.before,
        after=batch.after,
        needs=int(Need.KEEP) if has_keep(batch.events) else 0,
    )
    return header, write_events(batch.events)


def _read_batch(header: Header, message_hash: bytes, contents: Contents) -> Batch:
    events = read_events(contents, header.rows)
    if has_keep(events) != bool(header.needs & Need.KEEP):
        raise RefusedError("need-keep", "said and done differ")
    return Batch(_lineage(header), header.first, events, header.prev, header.before, header.after, message_hash)


def _write_heartbeat(heartbeat: Heartbeat) -> tuple[Header, Contents]:
    header = _stream(MessageType.HEARTBEAT, heartbeat.lineage)._replace(
        first=heartbeat.sequence + 1,
        prev=heartbeat.head,
        before=heartbeat.digest,
        after=heartbeat.digest,
        counter=heartbeat.counter,
        unix_ns=heartbeat.unix_ns,
    )
    return header, Contents({"leader": heartbeat.leader}, {})


def _read_heartbeat(header: Header, contents: Contents) -> Heartbeat:
    return Heartbeat(
        _lineage(header),
        sequence=header.first - 1,
        head=header.prev,
        digest=header.after,
        counter=header.counter,
        unix_ns=header.unix_ns,
        leader=read_text(contents, "leader", LEADER_LIMIT_CHARACTERS),
    )


def _read_same(header: Header, contents: Contents) -> Same:
    buckets = read_unique(contents, "buckets", header.rows, BUCKETS - 1)
    return Same(_lineage(header), header.replica, header.nonce, header.at, buckets)


def _write_bucket(answer: BucketRows) -> tuple[Header, Contents]:
    header = _answer(MessageType.BUCKET, answer, len(answer.rows))
    return header._replace(bucket_or_base=answer.bucket, bucket_digest=answer.digest), write_events(answer.rows)


def _read_bucket(header: Header, contents: Contents) -> BucketRows:
    rows = read_events(contents, header.rows)
    for row in rows:
        _check_bucket_row(header, row)
    return BucketRows(
        _lineage(header), header.replica, header.nonce, header.at, header.bucket_or_base, header.bucket_digest, rows
    )


def _check_bucket_row(header: Header, row: Event) -> None:
    if row.entry is None:
        raise RefusedError("absent-row", "a bucket holds entries only")
    if bucket_of(header.salt, row.path) != header.bucket_or_base:
        raise RefusedError("row-of-another-bucket")


def _write_body(answer: BodyAnswer) -> tuple[Header, Contents]:
    sections = {"paths": answer.path, "digests": answer.digest, "bodies": answer.content}
    return _answer(MessageType.BODY, answer, 1), Contents({"paths": [len(answer.path)]}, sections)


def _read_body(header: Header, contents: Contents) -> BodyAnswer:
    content = contents.sections.get("bodies")
    if header.rows != 1 or content is None:
        raise RefusedError("section-bodies", "not one body")
    (path,), (digest,) = cut_paths(contents, 1), cut_digests(contents, 1)
    return BodyAnswer(_lineage(header), header.replica, header.nonce, header.at, path, digest, content)


_READERS: dict[MessageType, Callable[[Header, Contents], Downstream]] = {
    MessageType.HEARTBEAT: _read_heartbeat,
    MessageType.SAME: _read_same,
    MessageType.BUCKET: _read_bucket,
    MessageType.BODY: _read_body,
}
