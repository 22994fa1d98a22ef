"""What the producer sends: batch, heartbeat, trial, call, command, answers; each as header fields and frame contents, and back.

Pairs of `_write_x` and `_read_x`; of answers header and contents are written apart: many may have the same contents. The header
has been checked before anything is read here; no bytes are packed here.
"""

from collections.abc import Callable
from typing import Any, assert_never

from common.digests import BUCKETS, bucket_of
from common.entries import Event
from common.errors import RefusedError
from common.messages import (
    PART_BYTES,
    RESTING_LIMIT,
    Answer,
    Batch,
    BodyAnswer,
    BucketRows,
    Call,
    Command,
    Downstream,
    Heartbeat,
    Lineage,
    PartAnswer,
    Same,
    Since,
    TooOld,
    Trial,
)
from common.wire.columns import (
    cut_digests,
    cut_paths,
    read_integer,
    read_integers,
    read_names,
    read_text,
    read_unique,
)
from common.wire.events import has_keep, read_events, write_events
from common.wire.frame import Contents
from common.wire.header import INTEGER_LIMIT, Header, MessageType, Need

LEADER_LIMIT_CHARACTERS = 1024
VERB_LIMIT_CHARACTERS = 64
MEMBERS_LIMIT = (1 << 31) - 1


def write_downstream(message: Downstream) -> tuple[Header, Contents]:
    """The header, without what only the closed frame can tell, and the frame's contents."""
    match message:
        case Batch():
            return _write_batch(message)
        case Heartbeat():
            return _write_heartbeat(message)
        case Trial():
            return _write_trial(message)
        case Call():
            return _write_call(message)
        case Command():
            return _write_command(message)
        case _:
            return write_answer_header(message), _write_answer_contents(message)


def write_answer_header(message: Answer) -> Header:
    """The header of an answer, without what only its frame can tell: what it holds is not looked at but for its count."""
    match message:
        case Same():
            return _answer(MessageType.SAME, message, len(message.buckets), released=message.released)
        case BucketRows():
            about = {"about": message.bucket, "digest": message.digest, "released": message.released}
            return _answer(MessageType.BUCKET, message, len(message.rows), **about)
        case Since():
            return _answer_since(message)
        case TooOld():
            return _answer(MessageType.TOO_OLD, message, 0, about=message.reach)
        case BodyAnswer():
            return _answer(MessageType.BODY, message, 1)
        case PartAnswer():
            return _answer(MessageType.PART, message, 1, about=message.offset, digest=message.digest)
        case _:
            assert_never(message)


def _write_answer_contents(message: Answer) -> Contents:
    match message:
        case Same():
            return Contents({"buckets": message.buckets}, {})
        case BucketRows() | Since():
            return write_events(message.rows)
        case TooOld():
            return Contents({}, {})
        case BodyAnswer():
            sections = {"paths": message.path, "digests": message.digest, "bodies": message.content}
            return Contents({"paths": [len(message.path)]}, sections)
        case PartAnswer():
            return Contents({}, {"bodies": message.content})
        case _:
            assert_never(message)


def read_downstream(kind: MessageType, header: Header, message_hash: bytes, contents: Contents) -> Downstream:
    """The message, from a checked header and an opened frame. Raises RefusedError."""
    if kind == MessageType.BATCH:
        return _read_batch(header, message_hash, contents)
    return _READERS[kind](header, contents)


def _stream(kind: MessageType, lineage: Lineage) -> Header:
    return Header(kind, lineage.tree, lineage.epoch, instance=lineage.instance, salt=lineage.salt)


def _answer(kind: MessageType, message: Answer, count: int, **more: Any) -> Header:
    lineage = message.lineage
    return Header(
        kind,
        lineage.tree,
        lineage.epoch,
        instance=lineage.instance,
        salt=lineage.salt,
        rows=count,
        replica=message.replica,
        nonce=message.nonce,
        at=message.at,
        **more,
    )


def _answer_since(message: Since) -> Header:
    return _answer(
        MessageType.SINCE,
        message,
        len(message.rows),
        about=message.base,
        part=message.part,
        of=message.of,
        digest=message.digest,
        released=message.released,
    )


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
        unix_ns=batch.unix_ns,
        released=batch.released,
    )
    return header, write_events(batch.events)


def _read_batch(header: Header, message_hash: bytes, contents: Contents) -> Batch:
    events = read_events(contents, header.rows)
    if has_keep(events) != bool(header.needs & Need.KEEP):
        raise RefusedError("need-keep", "said and done differ")
    digests = (header.prev, header.before, header.after, message_hash)
    return Batch(_lineage(header), header.first, events, *digests, header.released, header.unix_ns)


def _write_heartbeat(heartbeat: Heartbeat) -> tuple[Header, Contents]:
    header = _stream(MessageType.HEARTBEAT, heartbeat.lineage)._replace(
        first=heartbeat.sequence + 1,
        prev=heartbeat.head,
        before=heartbeat.digest,
        after=heartbeat.digest,
        counter=heartbeat.counter,
        unix_ns=heartbeat.unix_ns,
        released=heartbeat.released,
    )
    document = {
        "leader": heartbeat.leader,
        "ready": heartbeat.ready,
        "members": heartbeat.members,
        "resting": [name for name, _ in heartbeat.resting],
        "asked": [number for _, number in heartbeat.resting],
    }
    return header, Contents(document, {})


def _read_heartbeat(header: Header, contents: Contents) -> Heartbeat:
    return Heartbeat(
        _lineage(header),
        sequence=header.first - 1,
        head=header.prev,
        digest=header.after,
        counter=header.counter,
        unix_ns=header.unix_ns,
        leader=read_text(contents, "leader", LEADER_LIMIT_CHARACTERS),
        released=header.released,
        ready=read_integer(contents, "ready", 0, MEMBERS_LIMIT),
        members=read_integer(contents, "members", 0, MEMBERS_LIMIT),
        resting=_read_resting(contents),
    )


def _read_resting(contents: Contents) -> tuple[tuple[str, int], ...]:
    names = read_names(contents, "resting", RESTING_LIMIT)
    return tuple(zip(names, read_integers(contents, "asked", len(names), 0, INTEGER_LIMIT), strict=True))


def _write_trial(trial: Trial) -> tuple[Header, Contents]:
    header = _stream(MessageType.TRIAL, trial.lineage)._replace(
        first=trial.sequence + 1, after=trial.digest, counter=trial.counter, unix_ns=trial.unix_ns
    )
    return header, Contents({"leader": trial.leader}, {})


def _read_trial(header: Header, contents: Contents) -> Trial:
    leader = read_text(contents, "leader", LEADER_LIMIT_CHARACTERS)
    return Trial(_lineage(header), header.first - 1, header.after, header.counter, header.unix_ns, leader)


def _write_call(call: Call) -> tuple[Header, Contents]:
    return _stream(MessageType.CALL, call.lineage)._replace(unix_ns=call.unix_ns), Contents({}, {})


def _read_call(header: Header, contents: Contents) -> Call:
    return Call(_lineage(header), header.unix_ns)


def _write_command(command: Command) -> tuple[Header, Contents]:
    header = _stream(MessageType.COMMAND, command.lineage)._replace(replica=command.replica, nonce=command.nonce)
    return header, Contents({"verb": command.verb}, {})


def _read_command(header: Header, contents: Contents) -> Command:
    verb = read_text(contents, "verb", VERB_LIMIT_CHARACTERS)
    return Command(_lineage(header), header.replica, header.nonce, verb)


def _read_same(header: Header, contents: Contents) -> Same:
    buckets = read_unique(contents, "buckets", header.rows, BUCKETS - 1)
    return Same(_lineage(header), header.replica, header.nonce, header.at, buckets, header.released)


def _read_bucket(header: Header, contents: Contents) -> BucketRows:
    rows = read_events(contents, header.rows)
    for row in rows:
        _check_bucket_row(header, row)
    about = (header.replica, header.nonce, header.at, header.about, header.digest)
    return BucketRows(_lineage(header), *about, rows, header.released)


def _check_bucket_row(header: Header, row: Event) -> None:
    if row.entry is None:
        raise RefusedError("absent-row", "a bucket holds entries only")
    if bucket_of(header.salt, row.path) != header.about:
        raise RefusedError("row-of-another-bucket")


def _read_since(header: Header, contents: Contents) -> Since:
    if header.about > header.at:
        raise RefusedError("sequence-range", f"since {header.about}, at {header.at}")
    rows = read_events(contents, header.rows)
    about = (header.replica, header.nonce, header.at, header.about, header.part, header.of, header.digest)
    return Since(_lineage(header), *about, rows, header.released)


def _read_too_old(header: Header, contents: Contents) -> TooOld:
    if header.rows:
        raise RefusedError("too-many-rows", "too old has none")
    return TooOld(_lineage(header), header.replica, header.nonce, header.at, header.about)


def _read_part(header: Header, contents: Contents) -> PartAnswer:
    content = contents.sections.get("bodies")
    if header.rows != 1 or content is None or not 1 <= len(content) <= PART_BYTES:
        raise RefusedError("section-bodies", f"not one part of 1 to {PART_BYTES} bytes")
    return PartAnswer(_lineage(header), header.replica, header.nonce, header.at, header.digest, header.about, content)


def _read_body(header: Header, contents: Contents) -> BodyAnswer:
    content = contents.sections.get("bodies")
    if header.rows != 1 or content is None:
        raise RefusedError("section-bodies", "not one body")
    (path,), (digest,) = cut_paths(contents, 1), cut_digests(contents, 1)
    return BodyAnswer(_lineage(header), header.replica, header.nonce, header.at, path, digest, content)


_READERS: dict[MessageType, Callable[[Header, Contents], Downstream]] = {
    MessageType.HEARTBEAT: _read_heartbeat,
    MessageType.TRIAL: _read_trial,
    MessageType.CALL: _read_call,
    MessageType.COMMAND: _read_command,
    MessageType.SAME: _read_same,
    MessageType.BUCKET: _read_bucket,
    MessageType.SINCE: _read_since,
    MessageType.TOO_OLD: _read_too_old,
    MessageType.BODY: _read_body,
    MessageType.PART: _read_part,
}
