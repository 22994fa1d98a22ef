"""Messages as a whole: there and back, golden bytes of each released format, and what replicas may say upstream."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from common.entries import Event
from common.errors import PathError, RefusedError
from common.messages import (
    AskBodies,
    AskDigests,
    Batch,
    BucketRows,
    Command,
    Downstream,
    Question,
    ReplicaState,
    Report,
    Upstream,
)
from common.wire.codec import cut, decode_delivery, decode_downstream, decode_upstream, encode, peek
from common.wire.header import HEADER_BYTES, MessageType, hash_bytes
from tests.data.golden import make_wire_1
from tests.data.golden.make_wire_1 import MESSAGES
from tests.wire_samples import TREE, batch_of, file_event, redocumented, reheaded

GOLDEN = {name: (make_wire_1.FOLDER / f"{name}.bin").read_bytes() for name in MESSAGES}


def decode(data: bytes) -> Downstream | Upstream:
    return (decode_downstream if peek(data).type < 16 else decode_upstream)(data, TREE)


def without_hash(message: Downstream | Upstream) -> Downstream | Upstream:
    return replace(message, hash=b"") if isinstance(message, Batch) else message


def upstream_refusal(data: bytes) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        decode_upstream(data, TREE)
    return caught.value


@pytest.mark.parametrize("name", MESSAGES)
def test_a_golden_message_decodes_to_what_was_written_then(name: str) -> None:
    message = decode(GOLDEN[name])
    assert without_hash(message) == MESSAGES[name]
    if isinstance(message, Batch):
        assert message.hash == hash_bytes(GOLDEN[name][:HEADER_BYTES])


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_written_today_has_the_golden_header_but_for_the_compressed_frame(name: str) -> None:
    now, then = peek(encode(MESSAGES[name])), peek(GOLDEN[name])
    assert now._replace(frame_length=then.frame_length, frame_hash=then.frame_hash) == then


@pytest.mark.parametrize("name", MESSAGES)
def test_every_message_comes_back_as_it_was(name: str) -> None:
    assert without_hash(decode(encode(MESSAGES[name]))) == MESSAGES[name]


def test_every_golden_file_has_its_message_and_every_type_its_golden_file() -> None:
    assert {Path(name).stem for name in make_wire_1.FOLDER.iterdir()} == set(MESSAGES)
    assert {peek(data).type for data in GOLDEN.values()} == set(MessageType)


@pytest.mark.parametrize("name", MESSAGES)
def test_an_optional_column_of_a_newer_writer_is_skipped(name: str) -> None:
    data = redocumented(encode(MESSAGES[name]), colours=[1, 2], also={"deep": [[1.5]]})
    assert without_hash(decode(data)) == MESSAGES[name]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ready", -1),
        ("ready", True),
        ("ready", 1 << 31),
        ("members", None),
        ("members", 1.0),
        ("resting", None),
        ("resting", {"a": 1}),
        ("resting", ["a", "a"]),
        ("resting", ["a", "Not A Name"]),
        ("resting", ["a", 7]),
        ("resting", [f"r{number}" for number in range(1001)]),
        ("asked", [1]),
        ("asked", [1, -1]),
        ("asked", [1, 1 << 63]),
        ("asked", None),
    ],
)
def test_a_heartbeat_says_who_may_rest_within_bounds(column: str, value: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        decode_downstream(redocumented(GOLDEN["heartbeat-resting"], **{column: value}), TREE)
    assert caught.value.reason == f"column-{column}"


@pytest.mark.parametrize("verb", [None, 7, ["prove"], "x" * 65])
def test_the_verb_of_a_command_is_a_short_text(verb: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        decode_downstream(redocumented(GOLDEN["command"], verb=verb), TREE)
    assert caught.value.reason == "column-verb"


def test_a_command_whose_verb_is_not_known_yet_is_read_all_the_same() -> None:
    command = decode_downstream(redocumented(GOLDEN["command"], verb="dance"), TREE)
    assert isinstance(command, Command)
    assert command.verb == "dance"


@pytest.mark.parametrize("fields", [{"replica": ""}, {"at": 1}, {"rows": 1}, {"released": 1}, {"first": 1}])
def test_a_command_is_for_one_replica_and_has_no_place_in_the_stream(fields: dict[str, Any]) -> None:
    with pytest.raises(RefusedError) as caught:
        decode_downstream(reheaded(GOLDEN["command"], **fields), TREE)
    assert caught.value.reason == ("name" if "replica" in fields else "unused-field")


def test_a_number_of_rows_that_is_not_what_the_frame_holds_is_refused() -> None:
    data = encode(batch_of(*(file_event(b"%d" % number) for number in range(10))))
    for rows in (9, 11):
        with pytest.raises(RefusedError) as caught:
            decode_downstream(reheaded(data, rows=rows), TREE)
        assert caught.value.reason == "column-kinds"


@pytest.mark.parametrize("buckets", [[1, 1, 2], [0, 1, 4096], [-1, 0, 1], [0, 1], [0, 1, 2.0], None])
@pytest.mark.parametrize("name", ["same", "question-bucket"])
def test_buckets_are_numbers_below_4096_each_once(name: str, buckets: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        decode(redocumented(encode(MESSAGES[name]), buckets=buckets))
    assert caught.value.reason == "column-buckets"


@pytest.mark.parametrize("flag", [2, -1, True, 1.0, None])
def test_the_flag_of_a_bucket_question_is_0_or_1(flag: Any) -> None:
    data = redocumented(encode(MESSAGES["question-bucket"]), with_bodies=flag)
    assert upstream_refusal(data).reason == "column-with_bodies"


def test_a_question_for_a_body_at_an_impossible_path_is_refused() -> None:
    question = MESSAGES["question-body"]
    assert isinstance(question, Question)
    data = encode(replace(question, ask=AskBodies(((b"../etc/shadow", bytes(32)),))))
    assert isinstance(upstream_refusal(data), PathError)


def test_a_question_whose_digests_do_not_fit_its_buckets_is_refused() -> None:
    question = MESSAGES["question-digests"]
    assert isinstance(question, Question)
    data = encode(replace(question, ask=AskDigests(((1, bytes(31)),))))
    assert upstream_refusal(data).reason == "section-digests"


def test_an_answer_to_a_body_question_holds_exactly_one() -> None:
    for data in (reheaded(GOLDEN["body"], rows=2), redocumented(GOLDEN["body"], sections=[["paths", 3], ["x", 39]])):
        with pytest.raises(RefusedError) as caught:
            decode_downstream(data, TREE)
        assert caught.value.reason == "section-bodies"


def test_an_answer_for_a_bucket_names_nothing_absent() -> None:
    answer = MESSAGES["bucket"]
    assert isinstance(answer, BucketRows)
    with pytest.raises(RefusedError) as caught:
        decode(encode(replace(answer, rows=(Event(answer.rows[0].path, None),))))
    assert caught.value.reason == "absent-row"


def report_with(**columns: Any) -> bytes:
    return redocumented(encode(MESSAGES["report"]), **columns)


def test_a_state_of_a_newer_replica_reads_as_following_and_its_word_is_kept() -> None:
    report = decode_upstream(report_with(state="levitating", details={"unmet": 1}), TREE)
    assert isinstance(report, Report)
    assert report.state is ReplicaState.FOLLOWING
    assert report.details == {"unmet": 1, "state": "levitating"}


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("agreed", 2),
        ("agreed", True),
        ("state", 7),
        ("state", "x" * 129),
        ("stale", -1),
        ("stale", 4097),
        ("stale", 0.5),
        ("version", None),
        ("version", "x" * 129),
        ("wire", -1),
        ("wire", 1 << 16),
        ("details", None),
        ("details", []),
    ],
)
def test_a_report_says_everything_within_bounds(column: str, value: Any) -> None:
    assert upstream_refusal(report_with(**{column: value})).reason == f"column-{column}"


@pytest.mark.parametrize("value", [None, {"a": 1}, [1], [["a"]], [None], "x" * (256 * 1024)])
def test_details_are_flat_plain_and_small(value: Any) -> None:
    assert upstream_refusal(report_with(details={"a": value})).reason == "details"


@pytest.mark.parametrize("value", [None, {"a": 1}, float("nan"), float("inf"), 1 << 64, "\ud800", "x" * (256 * 1024)])
def test_details_that_no_reader_would_take_are_not_written(value: Any) -> None:
    report = MESSAGES["report"]
    assert isinstance(report, Report)
    with pytest.raises(RefusedError) as caught:
        encode(replace(report, details={"a": value}))
    assert caught.value.reason == "details"


def test_details_may_hold_what_json_has_at_the_edge_of_64_bits() -> None:
    details = {"low": -(1 << 63), "high": (1 << 64) - 1, "tiny": 5e-324, "list": [], "text": "\u202e\0"}
    report = MESSAGES["report"]
    assert isinstance(report, Report)
    assert decode_upstream(encode(replace(report, details=details)), TREE) == replace(report, details=details)


@pytest.mark.parametrize("name", ["batch", "heartbeat", "command"])
def test_what_is_no_answer_comes_alone(name: str) -> None:
    """It is settled when it is done, and an answer when it comes: one delivery cannot be both."""
    assert [without_hash(message) for message, _ in decode_delivery(GOLDEN[name], TREE)] == [MESSAGES[name]]
    for delivery in (GOLDEN[name] + GOLDEN["same"], GOLDEN[name] + b"junk"):
        with pytest.raises(RefusedError, match="bundle"):
            next(decode_delivery(delivery, TREE))


def test_a_delivery_of_nothing_is_one_message_that_is_refused() -> None:
    assert list(cut(b"")) == [b""]
    with pytest.raises(RefusedError, match="cut"):
        next(decode_delivery(b"", TREE))
