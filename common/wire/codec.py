"""Messages to bytes and back: the public face of the wire format. Pure: bytes in, values out, and one kind of error.

Whatever is wrong with bytes becomes RefusedError (or PathError, NeedsUpgradeError, which are such) with a short and stable
reason, before memory is taken: lengths and the hash of the frame are checked before it is opened, and it is opened within
the bounds that the header states and `Limits` allow. docs/wire.md is the format in one page.
"""

from collections.abc import Iterator

from common.errors import RefusedError
from common.messages import Answer, Batch, Downstream, Question, Report, Upstream
from common.wire.downstream import read_downstream, write_answer_header, write_downstream
from common.wire.frame import DOWNSTREAM_LIMITS, UPSTREAM_LIMITS, Closed, Contents, Limits, close_frame, open_frame
from common.wire.header import FRAME_OFFSET, Header, MessageType, check, hash_bytes, message_bytes, seal, unpack
from common.wire.upstream import read_upstream, write_upstream

DOWNSTREAM_TYPES = frozenset(kind for kind in MessageType if kind < MessageType.QUESTION_DIGESTS)
UPSTREAM_TYPES = frozenset(MessageType) - DOWNSTREAM_TYPES


def encode(message: Downstream | Upstream) -> bytes:
    """The bytes of a message. A batch's `hash` is not looked at: `encode_batch` tells it.

    Raises RefusedError for what no reader would take: over the limits, or a report with unfit details.
    """
    if isinstance(message, (Question, Report)):
        return _close(*write_upstream(message), UPSTREAM_LIMITS)[0]
    return _close(*write_downstream(message), DOWNSTREAM_LIMITS)[0]


def encode_batch(batch: Batch) -> tuple[bytes, bytes]:
    """The bytes of a batch, and its hash: the next batch's `prev`, 32 bytes."""
    return _close(*write_downstream(batch), DOWNSTREAM_LIMITS)


def close_answer(answer: Answer) -> Closed:
    """The frame of an answer, to be sent to whoever asks for the same. Raises RefusedError where no reader would take it."""
    header, contents = write_downstream(answer)
    return _close_frame(header, contents, DOWNSTREAM_LIMITS)


def encode_closed(answer: Answer, closed: Closed) -> bytes:
    """The bytes of an answer whose frame is closed already: its rows or content are not looked at and may be left empty, all
    else is as the answer says. What `encode` gives for the answer with them."""
    return _seal(write_answer_header(answer), closed)[0]


def decode_downstream(data: bytes, tree: str, *, limits: Limits = DOWNSTREAM_LIMITS) -> Downstream:
    """The message that a replica of `tree` received. Raises RefusedError and nothing else.

    A body that is not what its entry names is not refused here: the replica takes the entry, and asks for the body.
    """
    kind, header, message_hash, contents = _open(data, tree, limits, "replica", DOWNSTREAM_TYPES)
    return read_downstream(kind, header, message_hash, contents)


def decode_delivery(data: bytes, tree: str) -> Iterator[tuple[Downstream, int]]:
    """What a delivery to a replica of `tree` holds, each with its size in bytes: one message, or a bundle of answers.

    Raises RefusedError at what `decode_downstream` refuses, and at what is in a bundle and no answer. What came before it stands.
    """
    for one in cut(data):
        message = decode_downstream(one, tree)
        if len(one) < len(data) and not isinstance(message, Answer):
            raise RefusedError("bundle", f"holds a {type(message).__name__.lower()}")
        yield message, len(one)


def cut(data: bytes) -> Iterator[bytes]:
    """The messages of a delivery: at least one, and every byte is in one. Whether one is whole is for whoever opens it."""
    start = 0
    while True:
        end = min(len(data), start + message_bytes(data, start))
        yield data[start:end]
        if end == len(data):
            return
        start = end


def decode_upstream(data: bytes, tree: str, *, limits: Limits = UPSTREAM_LIMITS) -> Upstream:
    """The message that the producer of `tree` received. Raises RefusedError and nothing else."""
    kind, header, _, contents = _open(data, tree, limits, "producer", UPSTREAM_TYPES)
    return read_upstream(kind, header, contents)


def peek(data: bytes) -> Header:
    """The header alone, proved by its hash, for a log or a test: of any tree and type. Raises RefusedError."""
    return unpack(data, "program")[0]


def _close(header: Header, contents: Contents, limits: Limits) -> tuple[bytes, bytes]:
    return _seal(header, _close_frame(header, contents, limits))


def _close_frame(header: Header, contents: Contents, limits: Limits) -> Closed:
    frame, raw_length = close_frame(contents)
    limits.check(len(frame), raw_length, header.rows)
    return Closed(frame, raw_length, hash_bytes(frame), header.rows)


def _seal(header: Header, closed: Closed) -> tuple[bytes, bytes]:
    head, message_hash = seal(
        header._replace(
            rows=closed.rows, frame_length=len(closed.data), raw_length=closed.raw_length, frame_hash=closed.hash
        )
    )
    return head + closed.data, message_hash


def _open(
    data: bytes, tree: str, limits: Limits, reader: str, types: frozenset[MessageType]
) -> tuple[MessageType, Header, bytes, Contents]:
    header, message_hash = unpack(data, reader)
    kind = check(header, tree, reader, types)
    limits.check(header.frame_length, header.raw_length, header.rows)
    if len(data) != FRAME_OFFSET + header.frame_length:
        raise RefusedError("frame-length", f"{len(data) - FRAME_OFFSET} bytes, the header says {header.frame_length}")
    frame = data[FRAME_OFFSET:]
    if hash_bytes(frame) != header.frame_hash:
        raise RefusedError("frame-hash")
    return kind, header, message_hash, open_frame(frame, header.raw_length, header.rows)
