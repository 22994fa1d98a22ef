"""What replicas send: questions of three kinds, and reports, each as header fields and frame contents, and back.

The header has been checked before anything is read here; no bytes are packed here.
"""

from math import isfinite
from typing import Any, assert_never

import orjson

from common.digests import BUCKETS
from common.entries import Position
from common.errors import RefusedError
from common.messages import (
    Ask,
    AskBodies,
    AskBuckets,
    AskDigests,
    AskParts,
    AskSince,
    Question,
    ReplicaState,
    Report,
    Upstream,
)
from common.wire.columns import cut_digests, cut_paths, read_document, read_integer, read_text, read_unique
from common.wire.frame import Contents
from common.wire.header import Header, MessageType

DETAILS_LIMIT_BYTES = 256 * 1024
WORD_LIMIT_CHARACTERS = 128
WIRE_LIMIT = 65_535
PARTS_LIMIT = 1024
"""Parts that one question may ask for."""


def write_upstream(message: Upstream) -> tuple[Header, Contents]:
    """The header, without what only the closed frame can tell, and the frame's contents.

    Raises RefusedError for a report whose details no reader would take.
    """
    match message:
        case Question():
            return _write_question(message)
        case Report():
            return _write_report(message)
        case _:
            assert_never(message)


def read_upstream(kind: MessageType, header: Header, contents: Contents) -> Upstream:
    """The message, from a checked header and an opened frame. Raises RefusedError."""
    if kind == MessageType.REPORT:
        return _read_report(header, contents)
    ask = _read_ask(kind, header, contents)
    return Question(header.tree, header.epoch, header.replica, header.nonce, ask, header.unix_ns)


def _write_question(question: Question) -> tuple[Header, Contents]:
    kind, count, contents = _write_ask(question.ask)
    header = Header(
        kind,
        question.tree,
        question.epoch,
        rows=count,
        replica=question.replica,
        nonce=question.nonce,
        unix_ns=question.unix_ns,
    )
    if isinstance(question.ask, AskSince):
        header = header._replace(about=question.ask.base)
    elif isinstance(question.ask, AskParts):
        header = header._replace(about=question.ask.offset, digest=question.ask.digest)
    return header, contents


def _write_ask(ask: Ask) -> tuple[MessageType, int, Contents]:
    match ask:
        case AskDigests(digests):
            document: dict[str, Any] = {"buckets": [bucket for bucket, _ in digests]}
            sections = {"digests": b"".join([digest for _, digest in digests])}
            return MessageType.QUESTION_DIGESTS, len(digests), Contents(document, sections)
        case AskBuckets(buckets, bodies):
            document = {"buckets": buckets, "with_bodies": int(bodies)}
            return MessageType.QUESTION_BUCKET, len(buckets), Contents(document, {})
        case AskBodies(wanted):
            document = {"paths": [len(path) for path, _ in wanted]}
            sections = {"paths": b"".join([path for path, _ in wanted]), "digests": b"".join([d for _, d in wanted])}
            return MessageType.QUESTION_BODY, len(wanted), Contents(document, sections)
        case AskSince():
            return MessageType.QUESTION_SINCE, 0, Contents({}, {})
        case AskParts(path, _, _, count, is_doubted):
            document = {"paths": [len(path)], "parts": count, "doubted": int(is_doubted)}
            return MessageType.QUESTION_PARTS, 1, Contents(document, {"paths": path})
        case _:
            assert_never(ask)


def _read_ask(kind: MessageType, header: Header, contents: Contents) -> Ask:
    count = header.rows
    if kind == MessageType.QUESTION_SINCE:
        return _read_since(header)
    if kind == MessageType.QUESTION_PARTS:
        return _read_parts(header, contents)
    if kind == MessageType.QUESTION_BODY:
        return AskBodies(tuple(zip(cut_paths(contents, count), cut_digests(contents, count), strict=True)))
    buckets = read_unique(contents, "buckets", count, BUCKETS - 1)
    if kind == MessageType.QUESTION_BUCKET:
        return AskBuckets(buckets, bool(read_integer(contents, "with_bodies", 0, 1)))
    return AskDigests(tuple(zip(buckets, cut_digests(contents, count), strict=True)))


def _read_since(header: Header) -> AskSince:
    if header.rows:
        raise RefusedError("too-many-rows", "a since question has none")
    return AskSince(header.about)


def _read_parts(header: Header, contents: Contents) -> AskParts:
    if header.rows != 1:
        raise RefusedError("too-many-rows", "a question for parts is about one path")
    (path,) = cut_paths(contents, 1)
    count = read_integer(contents, "parts", 1, PARTS_LIMIT)
    return AskParts(path, header.digest, header.about, count, bool(read_integer(contents, "doubted", 0, 1)))


def _write_report(report: Report) -> tuple[Header, Contents]:
    check_details(report.details)
    header = Header(
        MessageType.REPORT,
        report.tree,
        report.position.epoch,
        instance=report.instance,
        replica=report.replica,
        at=report.position.sequence,
        unix_ns=report.unix_ns,
    )
    document = {
        "agreed": int(report.agreed),
        "state": str(report.state),
        "stale": report.stale_buckets,
        "version": report.version,
        "wire": report.wire,
        "details": report.details,
    }
    return header, Contents(document, {})


def _read_report(header: Header, contents: Contents) -> Report:
    details = read_document(contents, "details")
    check_details(details)
    state = _read_state(read_text(contents, "state", WORD_LIMIT_CHARACTERS), details)
    return Report(
        header.tree,
        header.replica,
        header.instance,
        Position(header.epoch, header.at),
        agreed=bool(read_integer(contents, "agreed", 0, 1)),
        state=state,
        stale_buckets=read_integer(contents, "stale", 0, BUCKETS),
        version=read_text(contents, "version", WORD_LIMIT_CHARACTERS),
        wire=read_integer(contents, "wire", 0, WIRE_LIMIT),
        unix_ns=header.unix_ns,
        details=details,
    )


def _read_state(word: str, details: dict[str, Any]) -> ReplicaState:
    """A newer replica may be in a state that we have no word for: it follows, and its word is shown among the details."""
    try:
        return ReplicaState(word)
    except ValueError:
        details["state"] = word
        return ReplicaState.FOLLOWING


def check_details(details: dict[str, Any]) -> None:
    """Refuses details that are not integers, texts, truth values, finite floats or flat lists of texts, 256 KiB in all."""
    for name, value in details.items():
        if type(name) is not str or not _is_plain(value):
            raise RefusedError("details", str(name)[:40])
    try:
        size = len(orjson.dumps(details))
    except TypeError as error:
        raise RefusedError("details", str(error)[:100]) from error
    if size > DETAILS_LIMIT_BYTES:
        raise RefusedError("details", f"{size} bytes, at most {DETAILS_LIMIT_BYTES}")


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, (int, str)) or (isinstance(value, float) and isfinite(value))
