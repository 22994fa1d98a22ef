"""How a row of the change log reads."""

import json

from common.entries import Kind
from common.names import PATTERNS_PATH
from producer.values import Logged
from treecast import log_page

TIME = "2026-01-31T12:00:00.000+01:00"


def _row(path: bytes, old: tuple[int, int], new: tuple[int, int], kept: int = 0) -> Logged:
    return Logged(42, 1_700_000_000, 5, path, *old, *new, kept)


def test_a_line_says_when_where_what_and_which() -> None:
    line = log_page.line(_row(b"d/a", (0, 0), (Kind.FILE, 120)), TIME)
    assert line.split() == [TIME, "1700000000.42", "create", "file", "120", "d/a"]


def test_what_went_is_told_with_what_it_had() -> None:
    assert log_page.line(_row(b"a", (Kind.FILE, 7), (0, 0)), TIME).split()[2:] == ["delete", "file", "7", "a"]
    assert log_page.line(_row(b"d", (Kind.DIRECTORY, 0), (0, 0)), TIME).split()[2:5] == ["delete", "directory", "-"]
    assert log_page.line(_row(b"a", (Kind.FILE, 7), (0, 0), 1), TIME).split()[2] == "exclude"
    assert log_page.line(_row(b"a", (Kind.FILE, 7), (Kind.SYMLINK, 3)), TIME).split()[2:5] == ["modify", "symlink", "3"]


def test_a_change_of_the_patterns_is_no_file() -> None:
    """They stand in the index, and so in the log, at a path that no disk has."""
    row = _row(PATTERNS_PATH, (Kind.FILE, 7), (Kind.FILE, 13))
    assert log_page.line(row, TIME).split()[2:] == ["modify", "patterns", "13", "(what", "is", "excluded)"]
    gone = _row(PATTERNS_PATH, (Kind.FILE, 7), (0, 0))
    assert log_page.line(gone, TIME).split()[2:5] == ["delete", "patterns", "7"]
    told = log_page.as_json(gone, TIME)
    assert (told["path"], told["kind"], told["old_kind"]) == (".treecast", "absent", "patterns")


def test_a_path_is_one_printable_line() -> None:
    line = log_page.line(_row(b"a\nb\x1b[2J\xff", (0, 0), (Kind.FILE, 0)), TIME)
    assert line.endswith("a\\x0ab\\x1b[2J\\xff")
    assert line.isprintable()


def test_a_program_gets_what_was_there_before_too() -> None:
    told = log_page.as_json(_row(b"a\xff", (Kind.DIRECTORY, 0), (Kind.FILE, 3)), TIME)
    assert json.loads(json.dumps(told)) == {
        "time": TIME,
        "epoch": 1_700_000_000,
        "sequence": 42,
        "what": "modify",
        "kind": "file",
        "size": 3,
        "old_kind": "directory",
        "old_size": 0,
        "path": "a\\xff",
    }
