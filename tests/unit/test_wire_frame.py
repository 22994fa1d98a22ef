"""The frame: nothing is taken on trust, neither its declared size nor its JSON nor its sections."""

import random
import tracemalloc

import pytest

from common.errors import RefusedError
from common.messages import BodyAnswer
from common.wire import codec, frame
from common.wire.codec import decode_downstream, decode_upstream, encode
from common.wire.frame import MIB, Limits
from tests.data.golden.make_wire_1 import MESSAGES
from tests.wire_samples import LINEAGE, TREE, compressed, header_of, raw_of, redocumented, sealed

TRIAL = raw_of(b'{"leader":"","sections":[]}')


def refusal(raw: bytes, packed: bytes | None = None, **fields: int) -> str:
    with pytest.raises(RefusedError) as caught:
        decode_downstream(sealed(header_of("trial", **fields), raw, packed), TREE)
    return caught.value.reason


def refusal_of(document: bytes, *sections: bytes) -> str:
    return refusal(raw_of(document, *sections))


def test_the_honest_frame_of_these_tests_is_taken() -> None:
    decode_downstream(sealed(header_of("trial"), TRIAL), TREE)


@pytest.mark.parametrize("packed", [b"", b"junk", compressed(TRIAL)[:-1]])
def test_a_frame_that_is_no_frame_is_refused(packed: bytes) -> None:
    assert refusal(TRIAL, packed) in ("frame-damaged", "raw-length", "frame-end")


@pytest.mark.parametrize("junk", [b"\0", compressed(TRIAL), b"\x50\x2a\x4d\x18\x00\x00\x00\x00"])
def test_junk_behind_the_frame_is_refused_although_the_header_counts_it(junk: bytes) -> None:
    assert refusal(TRIAL, compressed(TRIAL) + junk) == "frame-end"


@pytest.mark.parametrize("raw", [TRIAL + b"x", TRIAL[:-1]])
def test_a_frame_longer_or_shorter_than_the_header_says_is_refused(raw: bytes) -> None:
    assert refusal(raw, compressed(TRIAL)) == "raw-length"


def test_a_header_that_says_one_byte_over_fifty_megabytes_takes_no_memory() -> None:
    bomb = compressed(bytes(50 * MIB))
    data = sealed(header_of("trial"), b"x", bomb)
    assert len(bomb) < 10_000
    assert _peak_of_refusal(data, "raw-length") < MIB


def test_a_small_frame_of_more_than_the_limit_takes_no_memory() -> None:
    data = sealed(header_of("trial"), bytes(65 * MIB))
    assert len(data) < 10_000
    assert _peak_of_refusal(data, "raw-too-long") < MIB


def test_upstream_takes_less_than_downstream() -> None:
    with pytest.raises(RefusedError) as caught:
        decode_upstream(sealed(header_of("report"), bytes(9 * MIB)), TREE)
    assert caught.value.reason == "raw-too-long"


def test_a_frame_that_declares_another_size_than_it_has_is_refused() -> None:
    packed = bytearray(compressed(TRIAL))
    assert packed[5] == len(TRIAL)
    packed[5] = 1
    assert refusal(TRIAL, bytes(packed)) == "frame-damaged"


def test_a_frame_that_asks_for_a_window_of_more_than_8_mib_is_refused() -> None:
    assert refusal(TRIAL, compressed(TRIAL, window_log=27)) == "frame-damaged"
    decode_downstream(sealed(header_of("trial"), TRIAL, compressed(TRIAL, window_log=23)), TREE)


def _peak_of_refusal(data: bytes, reason: str) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(RefusedError) as caught:
            decode_downstream(data, TREE)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        assert caught.value.reason == reason


@pytest.mark.parametrize("raw", [b"", b"\0", b"\0\0\0", b"\0\0\0\1", b"\xff\xff\xff\xff{}"])
def test_a_json_length_that_lies_is_refused(raw: bytes) -> None:
    assert refusal(raw) == "json-length"


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"7",
        b"null",
        b"{",
        b'{"leader":"","sections":[]} ',
        b'{"leader": "","sections":[]}',
        b'{"leader":"","leader":"","sections":[]}',
        b'{"leader":"\\u0061","sections":[]}',
        b'{"leader":"\\ud800","sections":[]}',
        b'{"leader":"\xff","sections":[]}',
        b'{"leader":"","sections":[],"x":NaN}',
        b'{"leader":"","sections":[],"x":Infinity}',
        b'{"leader":"","sections":[],"x":1e999}',
        b'{"leader":"","sections":[],"x":1.50}',
        b'{"leader":"","sections":[],"x":1e2}',
        b'{"leader":"","sections":[],"x":-0}',
        b'{"leader":"","sections":[],"x":18446744073709551616}',
        b'{"leader":"","sections":[],"x":-9223372036854775809}',
        b'{"leader":"","sections":[],"x":' + b"[" * 300 + b"]" * 300 + b"}",
        b'{"leader":"","sections":[],"x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    ],
)
def test_json_that_is_not_as_it_would_be_written_is_refused(document: bytes) -> None:
    assert refusal_of(document) == "json"


def test_json_nested_200_000_deep_is_refused() -> None:
    assert refusal_of(b"[" * 200_000 + b"]" * 200_000) in ("json-too-dense", "json-too-long")


def test_json_longer_than_its_rows_allow_is_refused() -> None:
    assert refusal_of(b'{"leader":"' + b"x" * frame.JSON_LIMIT_BYTES + b'","sections":[]}') == "json-too-long"


def test_json_of_very_many_small_things_is_refused() -> None:
    assert refusal_of(b'{"leader":"","sections":[],"x":[' + b"[]," * 70_000 + b"[]]}") == "json-too-dense"


@pytest.mark.parametrize(
    ("document", "sections"),
    [
        (b'{"leader":""}', b""),
        (b'{"leader":"","sections":{}}', b""),
        (b'{"leader":"","sections":[7]}', b""),
        (b'{"leader":"","sections":[["a"]]}', b""),
        (b'{"leader":"","sections":[["a",1.0]]}', b"x"),
        (b'{"leader":"","sections":[["a",true]]}', b"x"),
        (b'{"leader":"","sections":[[1,1]]}', b"x"),
        (b'{"leader":"","sections":[["a",-1]]}', b""),
        (b'{"leader":"","sections":[["a",2],["b",-1]]}', b"x"),
        (b'{"leader":"","sections":[["a",-1],["b",2]]}', b"x"),
        (b'{"leader":"","sections":[["a",2]]}', b"x"),
        (b'{"leader":"","sections":[["a",18446744073709551615]]}', b"x"),
        (b'{"leader":"","sections":[["a",1],["a",1]]}', b"xx"),
        (b'{"leader":"","sections":[["a",1]]}', b"xx"),
        (b'{"leader":"","sections":[]}', b"junk"),
    ],
)
def test_sections_that_do_not_fill_the_frame_exactly_are_refused(document: bytes, sections: bytes) -> None:
    assert refusal_of(document, sections) == "sections"


def test_an_unknown_column_and_an_unknown_section_are_skipped() -> None:
    document = b'{"colour":[1,2],"leader":"me","later":{"a":"b"},"sections":[["scent",5],["sound",0]]}'
    decoded = decode_downstream(sealed(header_of("trial"), raw_of(document, b"roses")), TREE)
    assert decoded == decode_downstream(redocumented(encode(MESSAGES["trial"]), leader="me"), TREE)


def test_the_largest_body_fits() -> None:
    body = random.Random(1).randbytes(15 * MIB)
    answer = BodyAnswer(LINEAGE, "r", bytes(16), 1, b"large", bytes(32), body)
    assert decode_downstream(encode(answer), TREE) == answer


def test_a_writer_refuses_what_no_reader_would_take() -> None:
    answer = BodyAnswer(LINEAGE, "r", bytes(16), 1, b"too large", bytes(32), bytes(64 * MIB))
    with pytest.raises(RefusedError) as caught:
        encode(answer)
    assert caught.value.reason == "raw-too-long"


def test_narrower_limits_may_be_set() -> None:
    with pytest.raises(RefusedError) as caught:
        codec.decode_downstream(encode(MESSAGES["batch"]), TREE, limits=Limits(raw_bytes=100))
    assert caught.value.reason == "raw-too-long"
