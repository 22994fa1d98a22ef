"""The fixed header: cut, flipped, misspelled or from the future, it is refused before the frame is looked at."""

from dataclasses import replace

import pytest

from common.errors import NeedsUpgradeError, RefusedError
from common.messages import Batch
from common.wire import header as wire_header
from common.wire.codec import decode_downstream, decode_upstream, encode, encode_batch, peek
from common.wire.header import FRAME_OFFSET, HEADER_BYTES, MAGIC, Header, MessageType
from tests.data.golden.make_wire_1 import MESSAGES
from tests.wire_samples import TREE, batch_of, file_event, header_of, raw_of, reheaded, sealed

BATCH = encode(MESSAGES["batch"])
UPSTREAM_NAMES = frozenset(name for name in MESSAGES if name.startswith(("question", "report")))


def refusal(data: bytes, *, upstream: bool = False) -> RefusedError:
    decode = decode_upstream if upstream else decode_downstream
    with pytest.raises(RefusedError) as caught:
        decode(data, TREE)
    return caught.value


def flipped(data: bytes, bit: int) -> bytes:
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


@pytest.mark.parametrize("name", ["batch", "heartbeat", "report"])
def test_a_message_cut_at_any_byte_is_refused(name: str) -> None:
    data = encode(MESSAGES[name])
    for length in range(len(data)):
        refusal(data[:length], upstream=name in UPSTREAM_NAMES)


def test_nothing_at_all_is_refused() -> None:
    assert refusal(b"").reason == "cut"


def test_any_flipped_bit_is_refused() -> None:
    for bit in range(len(BATCH) * 8):
        refusal(flipped(BATCH, bit))


def test_a_flipped_bit_behind_magic_and_format_is_found_by_the_header_hash() -> None:
    for bit in range(6 * 8, (HEADER_BYTES + 32) * 8):
        assert refusal(flipped(BATCH, bit)).reason == "header-hash"


def test_a_key_or_a_signature_is_refused_while_no_key_is_known() -> None:
    for byte in range(HEADER_BYTES + 32, FRAME_OFFSET):
        assert refusal(flipped(BATCH, byte * 8)).reason == "unknown-key"


def test_junk_behind_the_frame_is_refused() -> None:
    assert refusal(BATCH + b"\0").reason == "frame-length"


def test_another_magic_is_refused() -> None:
    assert refusal(b"TARX" + BATCH[4:]).reason == "magic"


def test_another_format_is_refused_with_a_sentence_that_says_who_must_be_upgraded() -> None:
    error = refusal(MAGIC + b"\x00\x02" + b"whatever follows in format 2")
    assert isinstance(error, NeedsUpgradeError)
    assert str(error) == ("format: upgrade this replica first: the message has format 2, this version knows format 1")
    error = refusal(MAGIC + b"\x00\x02", upstream=True)
    assert "upgrade this producer first" in str(error)


@pytest.mark.parametrize("number", [0, 12, 15, 22, 99])
def test_a_type_that_no_message_has_needs_an_upgrade(number: int) -> None:
    error = refusal(reheaded(BATCH, type=number))
    assert isinstance(error, NeedsUpgradeError)
    assert error.reason == "type"
    assert f"type {number}," in str(error)


def test_a_message_that_goes_the_other_way_is_refused() -> None:
    assert refusal(BATCH, upstream=True).reason == "direction"
    assert refusal(encode(MESSAGES["report"])).reason == "direction"


def test_a_message_for_another_tree_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        decode_downstream(BATCH, "silver")
    assert caught.value.reason == "other-tree"


@pytest.mark.parametrize("need", [2, 4, 1 << 63])
def test_an_unknown_need_is_refused_with_a_sentence(need: int) -> None:
    error = refusal(reheaded(BATCH, needs=int(need)))
    assert isinstance(error, NeedsUpgradeError)
    assert error.reason == "need"
    assert "upgrade this replica first: the message has needs" in str(error)


@pytest.mark.parametrize(("field", "reason"), [("codec", "codec"), ("bucket_bits", "bucket-bits")])
def test_an_unknown_codec_or_number_of_buckets_needs_an_upgrade(field: str, reason: str) -> None:
    error = refusal(reheaded(BATCH, **{field: 2}))
    assert isinstance(error, NeedsUpgradeError)
    assert error.reason == reason


@pytest.mark.parametrize("name", MESSAGES)
def test_a_field_that_the_type_does_not_use_must_be_zero(name: str) -> None:
    data = encode(MESSAGES[name])
    for field in wire_header._UNUSED[MessageType(peek(data).type)]:
        value = getattr(peek(data), field)
        other: int | str | bytes = (
            1 if isinstance(value, int) else "x" if isinstance(value, str) else b"\1" * len(value)
        )
        error = refusal(reheaded(data, **{field: other}), upstream=name in UPSTREAM_NAMES)
        assert (error.reason, error.detail) == ("unused-field", field)


def test_the_header_has_one_spelling_and_padding_is_zero() -> None:
    packed = bytearray(BATCH[:HEADER_BYTES])
    packed[7 + 60] = ord("x")
    assert _resealed(bytes(packed)).reason == "header-spelling"


@pytest.mark.parametrize("length", [0, 5, 7, 64, 255])
def test_a_name_whose_length_lies_is_refused(length: int) -> None:
    packed = bytearray(BATCH[:HEADER_BYTES])
    packed[7] = length
    assert _resealed(bytes(packed)).reason in ("name", "header-spelling", "other-tree")


def _resealed(packed: bytes) -> RefusedError:
    return refusal(packed + wire_header.hash_bytes(packed) + bytes(72) + BATCH[FRAME_OFFSET:])


@pytest.mark.parametrize("name", ["", "-a", "A", "a/b", "ä", "a b"])
def test_a_replica_of_an_impossible_name_is_refused(name: str) -> None:
    packed = wire_header._STRUCT.pack(
        MAGIC,
        1,
        *header_of("same")._replace(tree=b"golden", replica=name.encode("latin-1")),  # type: ignore[arg-type]
    )
    data = packed + wire_header.hash_bytes(packed) + bytes(72) + encode(MESSAGES["same"])[FRAME_OFFSET:]
    assert refusal(data).reason in ("name", "header-spelling")


@pytest.mark.parametrize(
    ("name", "fields", "reason"),
    [
        ("batch", {"epoch": 1 << 63}, "integer-range"),
        ("batch", {"first": (1 << 63) - 2}, "integer-range"),
        ("batch", {"first": 0}, "sequence-range"),
        ("batch", {"rows": 0}, "sequence-range"),
        ("batch", {"rows": 2**32 - 1}, "too-many-rows"),
        ("batch", {"rows": 10}, "column-kinds"),
        ("batch", {"raw_length": 2**32 - 1}, "raw-too-long"),
        ("batch", {"frame_length": 2**32 - 1}, "frame-too-long"),
        ("batch", {"frame_hash": bytes(32)}, "frame-hash"),
        ("heartbeat", {"first": 0}, "sequence-range"),
        ("heartbeat", {"counter": 1 << 63}, "integer-range"),
        ("heartbeat", {"after": bytes(32)}, "heartbeat-digest"),
        ("bucket", {"about": 4096}, "bucket-range"),
        ("bucket", {"about": 8}, "row-of-another-bucket"),
        ("same", {"at": (1 << 64) - 1}, "integer-range"),
    ],
)
def test_a_number_out_of_range_is_refused(name: str, fields: dict[str, int | bytes], reason: str) -> None:
    assert refusal(reheaded(encode(MESSAGES[name]), **fields)).reason == reason


def test_peek_shows_the_header_of_any_tree_and_proves_it() -> None:
    header = peek(BATCH)
    assert (header.tree, header.type, header.first, header.rows) == (TREE, MessageType.BATCH, 42, 2)
    with pytest.raises(RefusedError):
        peek(flipped(BATCH, 400))


def test_peek_shows_no_tree_whose_name_cannot_be() -> None:
    packed = wire_header._STRUCT.pack(MAGIC, 1, *header_of()._replace(tree=b"../x", replica=b""))  # type: ignore[arg-type]
    with pytest.raises(RefusedError):
        peek(packed + wire_header.hash_bytes(packed) + bytes(72))


def test_a_batch_hash_is_the_hash_of_its_header_and_so_of_every_byte_of_the_frame() -> None:
    data, batch_hash = encode_batch(batch_of(file_event(b"a")))
    decoded = decode_downstream(data, TREE)
    assert isinstance(decoded, Batch)
    assert decoded.hash == batch_hash == wire_header.hash_bytes(data[:HEADER_BYTES])
    _, other = encode_batch(batch_of(file_event(b"a", b"conteNt")))
    assert other != batch_hash


def test_a_batch_hash_does_not_depend_on_the_hash_it_was_given() -> None:
    batch = batch_of(file_event(b"a"))
    assert encode_batch(replace(batch, hash=bytes([9]) * 32)) == encode_batch(batch)


def test_a_header_alone_says_zero_where_nothing_is_said() -> None:
    data = sealed(Header(MessageType.REPORT, TREE, 1, replica="r"), raw_of(b"{}"))
    assert peek(data).needs == peek(data).part == peek(data).of == 0
