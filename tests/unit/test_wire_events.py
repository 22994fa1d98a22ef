"""Events on the wire: the names and columns that no tree may hold are refused, and the odd ones that it may are carried."""

from typing import Any

import pytest

from common.digests import content_digest
from common.entries import Event, directory_entry, file_entry
from common.errors import PathError, RefusedError
from common.messages import Batch
from common.names import PATTERNS_LIMIT_BYTES, PATTERNS_PATH
from common.patterns import lines_of, row_of
from common.wire.codec import decode_downstream, encode, peek
from common.wire.frame import open_frame
from common.wire.header import FRAME_OFFSET
from tests.wire_samples import TREE, batch_of, directory_event, file_event, link_event, redocumented, reheaded

REFUSED_NAMES = {
    "empty": b"",
    "root": b"/",
    "absolute": b"/etc/passwd",
    "above": b"../x",
    "above, inside": b"a/../../x",
    "above, last": b"a/..",
    "dot": b".",
    "dot, first": b"./a",
    "dot, inside": b"a/./b",
    "dot, last": b"a/.",
    "slash twice": b"a//b",
    "slash last": b"a/",
    "NUL": b"a\0b",
    "NUL first": b"\0",
    "NUL last": b"a\0",
    "component of 256": b"x" * 256,
    "component of 256, inside": b"a/" + b"x" * 256 + b"/b",
    "4,096 bytes": b"/".join([b"x" * 255] * 16) + b"y",
    "below the stage": b".treecast/plan",
    "lost+found": b"lost+found",
    "1,025 components": b"/".join([b"a"] * 1025),
}
CARRIED_NAMES = {
    "non-UTF-8": b"\xff\xfe\x80",
    "newline": b"a\nb",
    "return": b"a\rb\tc",
    "escape": b"\x1b[2J",
    "option": b"-rf",
    "shell": b"$(reboot)`reboot`;*?",
    "format": b"%s%n{0.__class__}",
    "component of 255": b"x" * 255,
    "4,095 bytes": b"/".join([b"x" * 255] * 16),
    "64 levels": b"/".join([b"d"] * 64),
    "1,024 components": b"/".join([b"a"] * 1024),
    "right to left": "\u202egnp.exe".encode(),
    "three dots": b"...",
    "dots first": b"..a/.b",
    "percent": b"%2e%2e%2fx",
    "Windows": b"CON/a.",
    "space": b" ",
    "stage, not at the root": b"a/.treecast",
    "stage, longer": b".treecasts",
}


def refusal(data: bytes) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        decode_downstream(data, TREE)
    return caught.value


def decoded(*events: Event) -> tuple[Event, ...]:
    batch = decode_downstream(encode(batch_of(*events)), TREE)
    assert isinstance(batch, Batch)
    return batch.events


def reasons(events: list[Event], **columns: Any) -> str:
    return refusal(redocumented(encode(batch_of(*events)), **columns)).reason


@pytest.mark.parametrize("path", REFUSED_NAMES.values(), ids=REFUSED_NAMES)
@pytest.mark.parametrize("make", [file_event, lambda path: Event(path, None), directory_event])
def test_a_path_that_no_tree_may_hold_is_refused_whatever_happens_to_it(make: Any, path: bytes) -> None:
    assert isinstance(refusal(encode(batch_of(file_event(b"before"), make(path)))), PathError)


@pytest.mark.parametrize("path", REFUSED_NAMES.values(), ids=REFUSED_NAMES)
def test_a_path_that_no_tree_may_hold_is_refused_as_a_parent(path: bytes) -> None:
    if path not in (b".treecast/plan",):
        assert isinstance(refusal(encode(batch_of(file_event(path + b"/child")))), PathError)


@pytest.mark.parametrize(
    "event",
    [
        directory_event(b".treecast"),
        link_event(b".treecast", b"x"),
        file_event(b".treecast", mode=0o600, mtime_ns=0),
        file_event(b".treecast", mode=0, mtime_ns=1),
        file_event(b".treecast", b"x" * (PATTERNS_LIMIT_BYTES + 1), mode=0, mtime_ns=0),
    ],
)
def test_where_the_patterns_are_nothing_else_may_stand(event: Event) -> None:
    assert refusal(encode(batch_of(file_event(b"a"), event))).reason == "patterns-row"


def test_the_patterns_come_and_go_as_a_row_of_their_own() -> None:
    row = row_of(["*.tmp", "!keep.tmp"])
    assert row is not None
    events = (Event(PATTERNS_PATH, *row), file_event(b"a"))
    assert decoded(*events) == events
    assert decoded(Event(PATTERNS_PATH, None)) == (Event(PATTERNS_PATH, None),)
    assert lines_of(row[1]) == ("*.tmp", "!keep.tmp")
    assert row_of([]) is None


def test_odd_names_are_carried_as_they_are() -> None:
    events = tuple(file_event(path) for path in CARRIED_NAMES.values())
    assert decoded(*events) == events
    deletes = tuple(Event(path, None) for path in CARRIED_NAMES.values())
    assert decoded(*deletes) == deletes


def test_names_that_look_alike_are_different_paths() -> None:
    events = tuple(file_event(path) for path in ("é".encode(), "e\u0301".encode(), b"Readme", b"README"))
    assert decoded(*events) == events


def test_the_same_path_twice_is_refused() -> None:
    assert refusal(encode(batch_of(file_event(b"a"), file_event(b"b"), Event(b"a", None)))).reason == "path-twice"


def test_every_kind_comes_back_as_it_was() -> None:
    events = (
        file_event(b"old", mtime_ns=-(1 << 63)),
        file_event(b"future", b"", mode=0, mtime_ns=(1 << 63) - 1),
        Event(b"mode alone", file_entry(0o777, 5, 1 << 40, bytes(32))),
        directory_event(b"d", 0o700),
        link_event(b"l", b"/" * 4095),
        link_event(b"l without body", b"x")._replace(body=None),
        Event(b"gone", None),
        Event(b"kept", None, keep=True),
        Event(b"kept too", None, keep=True),
    )
    assert decoded(*events) == events
    assert [type(value) for value in decoded(*events)[0]] == [type(value) for value in events[0]]
    assert type(decoded(*events)[3].entry) is type(events[3].entry)


def test_a_batch_with_a_keep_delete_says_that_it_needs_keep() -> None:
    plain, kept = encode(batch_of(Event(b"a", None))), encode(batch_of(Event(b"a", None, keep=True)))
    assert refusal(reheaded(plain, needs=1)).reason == "need-keep"
    assert refusal(reheaded(kept, needs=0)).reason == "need-keep"


ROWS = [file_event(b"f", b"abc"), directory_event(b"d"), link_event(b"l", b"to"), Event(b"gone", None)]
GOOD: dict[str, list[int]] = {
    "kinds": [1, 2, 3, 0],
    "modes": [0o644, 0o755, 0o777, 0],
    "mtimes": [1, 0, 0, 0],
    "sizes": [3, 0, 2, 0],
    "paths": [1, 1, 1, 4],
    "bodies": [3, -1, 2, -1],
}


def test_the_columns_of_these_tests_are_what_the_writer_writes() -> None:
    batch = decode_downstream(redocumented(encode(batch_of(*ROWS)), **GOOD, keep=[]), TREE)
    assert isinstance(batch, Batch)
    assert list(batch.events) == ROWS


@pytest.mark.parametrize("column", GOOD)
@pytest.mark.parametrize(
    "value",
    [None, [], 7, "1", {}, [1, 2, 3], [1, 2, 3, 4, 5], [1.0, 0, 0, 0], [True, 0, 0, 0], ["1", 0, 0, 0], [[1], 0, 0, 0],
     [2**64 - 1, 0, 0, 0]],
)  # fmt: skip
def test_a_column_that_is_missing_short_long_or_not_of_integers_in_range_is_refused(column: str, value: object) -> None:
    assert reasons(ROWS, **{column: value}) == f"column-{column}"


@pytest.mark.parametrize(
    ("column", "row", "value", "reason"),
    [
        ("kinds", 0, 4, "column-kinds"),
        ("kinds", 0, -1, "column-kinds"),
        ("kinds", 0, 2, "directory-row"),
        ("kinds", 0, 0, "absent-row"),
        ("kinds", 1, 3, "symlink-row"),
        ("kinds", 1, 1, "section-digests"),
        ("modes", 0, -1, "column-modes"),
        ("modes", 0, 0o4755, "column-modes"),
        ("modes", 0, 0o100644, "column-modes"),
        ("modes", 1, 0o1777, "column-modes"),
        ("modes", 2, 0o755, "symlink-row"),
        ("modes", 3, 1, "absent-row"),
        ("mtimes", 0, 2**63, "column-mtimes"),
        ("mtimes", 1, 1, "directory-row"),
        ("mtimes", 2, 1, "symlink-row"),
        ("mtimes", 3, 1, "absent-row"),
        ("sizes", 0, -1, "column-sizes"),
        ("sizes", 0, 4, "body-length"),
        ("sizes", 1, 1, "directory-row"),
        ("sizes", 3, 1, "absent-row"),
        ("paths", 0, -1, "column-paths"),
        ("paths", 0, 2, "section-paths"),
        ("paths", 0, 2**62, "column-paths"),
        ("bodies", 0, -2, "column-bodies"),
        ("bodies", 0, 2, "body-length"),
        ("bodies", 0, -1, "section-bodies"),
        ("bodies", 1, 0, "directory-row"),
        ("bodies", 3, 0, "absent-row"),
    ],
)
def test_a_row_that_its_kind_cannot_have_is_refused(column: str, row: int, value: int, reason: str) -> None:
    values = [*GOOD[column][:row], value, *GOOD[column][row + 1 :]]
    assert reasons(ROWS, **{column: values}) == reason


@pytest.mark.parametrize("target", [b"", b"x" * 4096, b"a\0b", b"\0"])
def test_a_symlink_to_nothing_too_far_or_with_a_nul_is_refused(target: bytes) -> None:
    assert refusal(encode(batch_of(link_event(b"l", target)))).reason in ("symlink-row", "symlink-target")


@pytest.mark.parametrize("keep", [None, 3, [0], [3, 3], [4], [-1], [3.0], [True], "3", {"3": 1}])
def test_keep_is_of_deletes_alone_each_once(keep: object) -> None:
    assert reasons(ROWS, keep=keep) == "column-keep"


def test_sections_that_are_missing_are_refused() -> None:
    data = encode(batch_of(*ROWS))
    for name, length in (("paths", 7), ("digests", 64), ("bodies", 5)):
        table = [["paths", 7], ["digests", 64], ["bodies", 5]]
        table[table.index([name, length])] = ["unknown", length]
        assert refusal(redocumented(data, sections=table)).reason == f"section-{name}"


def test_a_body_that_is_not_what_its_entry_names_is_carried() -> None:
    (event,) = decoded(file_event(b"a")._replace(body=b"CONTENT"))
    assert event.body == b"CONTENT"


OWNED = batch_of(
    directory_event(b"d")._replace(entry=directory_entry(0o755, "0:0")),
    Event(b"f", file_entry(0o644, 1, 0, content_digest(b""), "www:1000"), b""),
    Event(b"gone", None),
)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"owners": [1, 2]}, "column-owners"),
        ({"owners": [1, 3, 0]}, "column-owners"),
        ({"owners": [1, 1, 0]}, "column-owners"),
        ({"owners": [-1, 2, 0]}, "column-owners"),
        ({"owners": [1, 2, 1]}, "absent-row"),
        ({"owners": [0, 0, 0], "owner_names": []}, "column-owners"),
        ({"owner_names": ["0:0", "0:0"]}, "column-owners"),
        ({"owner_names": ["0:0", "www"]}, "column-owner_names"),
        ({"owner_names": ["0:0", "www:a b"]}, "column-owner_names"),
        ({"owner_names": ["0:0", 7]}, "column-owner_names"),
        ({"owner_names": ["0:0", "w" * 65 + ":0"]}, "column-owner_names"),
        ({"owner_names": None}, "column-owner_names"),
    ],
)
def test_owners_that_no_writer_writes_are_refused(columns: dict[str, Any], reason: str) -> None:
    with pytest.raises(RefusedError) as caught:
        decode_downstream(redocumented(encode(OWNED), **columns), TREE)
    assert caught.value.reason == reason


def test_a_batch_without_owners_has_no_column_for_them() -> None:
    assert not {"owners", "owner_names"} & document(encode(batch_of(directory_event(b"d")))).keys()
    assert document(encode(OWNED))["owner_names"] == ["0:0", "www:1000"]


def document(data: bytes) -> dict[str, Any]:
    header = peek(data)
    return open_frame(data[FRAME_OFFSET:], header.raw_length, header.rows).document
