"""The wire's laws: what is written is read, and whatever else arrives becomes one error of ours or a message just as good."""

from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.digests import bucket_of, content_digest
from common.entries import Entry, Event, Position, directory_entry, file_entry, symlink_entry
from common.errors import RefusedError
from common.messages import (
    PART_BYTES,
    Answer,
    AskBodies,
    AskBuckets,
    AskDigests,
    AskParts,
    AskSince,
    Batch,
    BodyAnswer,
    BucketRows,
    Call,
    Command,
    Downstream,
    Heartbeat,
    Lineage,
    PartAnswer,
    Question,
    ReplicaState,
    Report,
    Same,
    Since,
    TooOld,
    Trial,
    Upstream,
)
from common.names import is_path
from common.wire.codec import (
    close_answer,
    cut,
    decode_delivery,
    decode_downstream,
    decode_upstream,
    encode,
    encode_batch,
    encode_closed,
    peek,
)
from common.wire.frame import open_frame
from common.wire.header import FRAME_OFFSET, Header
from tests.data.golden.make_wire_1 import MESSAGES
from tests.wire_samples import raw_of, sealed

TREE = "golden"
GOLDEN = [encode(message) for message in MESSAGES.values()]
RELAXED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
MANY = settings(RELAXED, max_examples=300)

i63 = st.integers(0, (1 << 62) - 1)
i64 = st.integers(-(1 << 63), (1 << 63) - 1)
hashes = st.binary(min_size=32, max_size=32)
nonces = st.binary(min_size=16, max_size=16)
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
lineages = st.builds(Lineage, st.just(TREE), i63, nonces, hashes)
components = st.binary(min_size=1, max_size=20).map(lambda name: name.replace(b"\0", b"0").replace(b"/", b"-"))


paths = st.lists(components, min_size=1, max_size=5).map(b"/".join).filter(is_path)


owners = st.sampled_from(["0:0", "1000:100", "www-data:www-data", "é:x"])


@st.composite
def entries_with_body(draw: st.DrawFn) -> tuple[Entry, bytes | None]:
    owner = draw(st.just("") | owners)
    match draw(st.sampled_from(["file", "directory", "symlink", "entry alone"])):
        case "directory":
            return directory_entry(draw(st.integers(0, 0o777)), owner), None
        case "symlink":
            target = draw(st.binary(min_size=1, max_size=50)).replace(b"\0", b"0")
            return symlink_entry(len(target), content_digest(target), owner), target
        case "file":
            body = draw(st.binary(max_size=300))
            return file_entry(draw(st.integers(0, 0o777)), draw(i64), len(body), content_digest(body), owner), body
        case _:
            return file_entry(draw(st.integers(0, 0o777)), draw(i64), draw(i63), draw(hashes), owner), None


creates = st.tuples(paths, entries_with_body()).map(lambda drawn: Event(drawn[0], *drawn[1]))
deletes = st.builds(Event, paths, st.none(), st.none(), st.booleans())
event_sets = st.lists(creates | deletes, min_size=1, max_size=20, unique_by=lambda event: event.path).map(tuple)
batches = st.builds(Batch, lineages, st.integers(1, 1 << 62), event_sets, hashes, hashes, hashes, released=i63)
bucket_sets = st.lists(st.integers(0, 4095), unique=True, max_size=20).map(tuple)


@st.composite
def bucket_answers(draw: st.DrawFn) -> BucketRows:
    """Random paths rarely share a bucket: the answer is for the bucket of the first, with all rows that are in it."""
    lineage = draw(lineages)
    rows = draw(st.lists(creates, max_size=5, unique_by=lambda event: event.path))
    bucket = bucket_of(lineage.salt, rows[0].path) if rows else draw(st.integers(0, 4095))
    mine = tuple(row for row in rows if bucket_of(lineage.salt, row.path) == bucket)
    return BucketRows(lineage, draw(names), draw(nonces), draw(i63), bucket, draw(hashes), mine, draw(i63))


@st.composite
def since_answers(draw: st.DrawFn) -> Since:
    """Any rows, absent ones too; the part is one of those there are, and the base is not beyond the boundary."""
    base, at = sorted([draw(i63), draw(i63)])
    of = draw(st.integers(1, 65_536))
    part = draw(st.integers(0, of - 1))
    rows = draw(st.just(()) | event_sets)
    return Since(draw(lineages), draw(names), draw(nonces), at, base, part, of, draw(hashes), rows, draw(i63))


offsets = st.integers(0, 1 << 40).map(lambda number: number * PART_BYTES)


asks = st.one_of(
    st.builds(AskSince, i63),
    st.builds(AskParts, paths, hashes, offsets, st.integers(1, 1024), st.booleans()),
    st.dictionaries(st.integers(0, 4095), hashes, max_size=10).map(lambda drawn: AskDigests(tuple(drawn.items()))),
    st.builds(AskBuckets, bucket_sets, st.booleans()),
    st.dictionaries(paths, hashes, max_size=10).map(lambda drawn: AskBodies(tuple(drawn.items()))),
)
counts = st.integers(0, 10_000)
resting = st.dictionaries(names, i63, max_size=5).map(lambda drawn: tuple(drawn.items()))
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
plain = (
    st.integers(-(1 << 63), (1 << 64) - 1) | texts | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)
)
details = st.dictionaries(texts, plain | st.lists(texts, max_size=5), max_size=5)
answers: st.SearchStrategy[Answer] = st.one_of(
    bucket_answers(),
    since_answers(),
    st.builds(Same, lineages, names, nonces, i63, bucket_sets, i63),
    st.builds(TooOld, lineages, names, nonces, i63, i63),
    st.builds(PartAnswer, lineages, names, nonces, i63, hashes, offsets, st.binary(min_size=1, max_size=2000)),
    st.builds(BodyAnswer, lineages, names, nonces, i63, paths, hashes, st.binary(max_size=2000)),
)
messages: st.SearchStrategy[Downstream | Upstream] = st.one_of(
    batches,
    answers,
    st.builds(Heartbeat, lineages, i63, hashes, hashes, i63, i64, texts, i63, counts, counts, resting),
    st.builds(Call, lineages, i64),
    st.builds(Command, lineages, names, nonces, texts),
    st.builds(Trial, lineages, i63, hashes, i63, i64, texts),
    st.builds(Question, st.just(TREE), i63, names, nonces, asks, i64),
    st.builds(
        Report,
        st.just(TREE),
        names,
        nonces,
        st.builds(Position, i63, i63),
        st.booleans(),
        st.sampled_from(ReplicaState),
        st.integers(0, 4096),
        texts,
        st.integers(0, 99),
        i64,
        details,
    ),
)


def decode(data: bytes) -> Downstream | Upstream:
    """The message, its hash left out; whichever way it goes."""
    upstream = len(data) > 6 and data[6] >= 16
    message = decode_upstream(data, TREE) if upstream else decode_downstream(data, TREE)
    return replace(message, hash=b"") if isinstance(message, Batch) else message


def check_arrival(data: bytes) -> None:
    """Either one error of ours with a short reason, or a message that is written and read like any other."""
    try:
        message = decode(data)
    except RefusedError as refused:
        error = refused
    else:
        assert decode(encode(message)) == message
        return
    assert 0 < len(error.reason) < 40


@RELAXED
@given(messages)
def test_what_is_written_is_read(message: Downstream | Upstream) -> None:
    assert decode(encode(message)) == message


@RELAXED
@given(st.lists(answers, min_size=1, max_size=5))
def test_answers_one_behind_another_are_read_each_with_its_size(given_answers: list[Answer]) -> None:
    encoded = [encode(answer) for answer in given_answers]
    delivery = b"".join(encoded)
    assert list(cut(delivery)) == encoded
    assert list(decode_delivery(delivery, TREE)) == list(zip(given_answers, map(len, encoded), strict=True))


@RELAXED
@given(answers, st.binary(min_size=1, max_size=700) | st.sampled_from(GOLDEN), st.integers(0, 1000))
def test_whatever_follows_an_answer_the_answer_stands_and_the_rest_is_refused_or_is_an_answer(
    answer: Answer, rest: bytes, cut_bytes: int
) -> None:
    first = encode(answer)
    found: list[Downstream] = []
    with suppress(RefusedError):
        found.extend(message for message, _ in decode_delivery(first + rest[: max(1, len(rest) - cut_bytes)], TREE))
    assert found[0] == answer
    assert all(isinstance(message, Answer) for message in found)


@RELAXED
@given(batches)
def test_a_batch_is_read_with_its_hash(batch: Batch) -> None:
    data, batch_hash = encode_batch(batch)
    decoded = decode_downstream(data, TREE)
    assert decoded == replace(batch, hash=batch_hash)


@RELAXED
@given(st.sampled_from(GOLDEN), st.data())
def test_bytes_changed_anywhere_are_refused(data: bytes, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, min(len(data), start + 20)))
    changed = data[:start] + draw.draw(st.binary(max_size=20)) + data[end:]
    if changed != data:
        try:
            decode(changed)
        except RefusedError:
            return
        raise AssertionError("changed and taken")


@RELAXED
@given(st.binary(max_size=2000))
def test_any_bytes_at_all_are_one_error_of_ours(data: bytes) -> None:
    check_arrival(data)


@MANY
@given(st.sampled_from(GOLDEN), st.data())
def test_a_hostile_plain_text_under_right_hashes_does_no_more_than_an_honest_one(
    data: bytes, draw: st.DataObject
) -> None:
    header = peek(data)
    contents = open_frame(data[FRAME_OFFSET:], header.raw_length, header.rows)
    table = [[name, len(section)] for name, section in contents.sections.items()]
    json = orjson.dumps({**contents.document, "sections": table})
    raw = raw_of(json, *contents.sections.values())
    start = draw.draw(st.integers(0, len(raw)))
    end = draw.draw(st.integers(start, min(len(raw), start + 8)))
    alphabet = st.binary(max_size=8) | st.text('0123456789-+.eE,[]{}"\\untrl /', max_size=8).map(str.encode)
    check_arrival(sealed(header, raw[:start] + draw.draw(alphabet) + raw[end:]))


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@MANY
@given(st.sampled_from(GOLDEN), st.data())
def test_any_value_in_any_column_is_read_or_refused(data: bytes, draw: st.DataObject) -> None:
    header = peek(data)
    contents = open_frame(data[FRAME_OFFSET:], header.raw_length, header.rows)
    document: dict[str, Any] = {
        **contents.document,
        "sections": [[name, len(section)] for name, section in contents.sections.items()],
    }
    column = draw.draw(st.sampled_from(sorted(document)))
    document[column] = draw.draw(values | st.lists(st.integers(-2, 300), min_size=header.rows, max_size=header.rows))
    check_arrival(sealed(header, raw_of(orjson.dumps(document), *contents.sections.values())))


fields = st.fixed_dictionaries(
    {},
    optional={
        "type": st.integers(0, 24),
        "epoch": st.integers(0, (1 << 64) - 1),
        "first": st.integers(0, (1 << 64) - 1),
        "rows": st.integers(0, 20) | st.integers(0, (1 << 32) - 1),
        "needs": st.integers(0, 4),
        "bucket_bits": st.integers(0, 255),
        "codec": st.integers(0, 255),
        "at": st.integers(0, (1 << 64) - 1),
        "about": st.integers(0, (1 << 64) - 1),
        "of": st.integers(0, 2),
        "released": st.integers(0, (1 << 64) - 1),
        "part": st.integers(0, 1),
        "counter": st.integers(0, (1 << 64) - 1),
        "unix_ns": i64,
        "before": hashes,
        "replica": names | st.just(""),
    },
)


@MANY
@given(st.sampled_from(GOLDEN), fields)
def test_any_header_under_a_right_hash_is_read_or_refused(data: bytes, changed: dict[str, Any]) -> None:
    header: Header = peek(data)._replace(**changed)
    contents = open_frame(data[FRAME_OFFSET:], peek(data).raw_length, peek(data).rows)
    table = [[name, len(section)] for name, section in contents.sections.items()]
    json = orjson.dumps({**contents.document, "sections": table})
    check_arrival(sealed(header, raw_of(json, *contents.sections.values())))


@given(answers)
@MANY
def test_an_answer_behind_a_closed_frame_is_the_plain_one(answer: Answer) -> None:
    """Only the header is fresh: with the frame of the same answer to anybody, at any time, the bytes are those of `encode`."""
    asked_before = replace(answer, replica="other", nonce=bytes(16), at=answer.at + 1)
    closed = close_answer(asked_before)
    assert encode_closed(without_frame(answer), closed) == encode(answer)


def without_frame(answer: Answer) -> Answer:
    """The answer without what its frame holds."""
    match answer:
        case Same():
            return replace(answer, buckets=())
        case BucketRows() | Since():
            return replace(answer, rows=())
        case BodyAnswer() | PartAnswer():
            return replace(answer, content=b"")
        case TooOld():
            return answer
