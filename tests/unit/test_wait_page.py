"""The one line of `treecast wait`, and its exit code."""

from typing import Any

import pytest

from treecast.wait_page import exit_code, line

BASE = {
    "is_done": True, "why": "", "needs_person": False, "position": [7, 481_223], "waits_for": "nothing", "paths": 0,
    "named": [], "problems": [], "problem_count": 0, "held": 0, "have": 10, "of": 10, "missing": {},
}  # fmt: skip
GONE = {"word": "gone", "heard": 50_520.0, "lag_seconds": None, "details": {}, "version": "1.0", "wire": 1}
WAITING = {"have": None, "is_done": False, "waits_for": "a scan", "paths": 2, "named": ["a", "b"]}


def at(unix: float) -> str:
    return f"{int(unix) // 3600:02}:{int(unix) // 60 % 60:02}"


@pytest.mark.parametrize(
    ("changes", "text", "code"),
    [
        ({}, "10 of 10 at 481,223 in 0.4 s", 0),
        (
            {"have": 9, "is_done": False, "why": "fra7 is gone", "missing": {"fra7": GONE}},
            "9 of 10 at 481,223 in 0.4 s; fra7 gone since 14:02",
            1,
        ),
        (
            {"have": 9, "is_done": False, "missing": {"fra7": {**GONE, "word": "equal"}}},
            "9 of 10 at 481,223 in 0.4 s; fra7 is about to take it",
            1,
        ),
        ({"have": 9, "missing": {"fra7": GONE}}, "9 of 10 at 481,223 in 0.4 s; fra7 gone since 14:02", 0),
        (WAITING, "not yet: the master waits for a scan, after 0.4 s, 2 paths, among them a, b", 1),
        (
            {"is_done": False, "why": "", "held": 5000, "needs_person": True},
            "10 of 10 at 481,223 in 0.4 s; 5,000 deletes held on the master (treecast hold show)",
            4,
        ),
        (
            {"problem_count": 1, "problems": ["x\\x0a"]},
            "10 of 10 at 481,223 in 0.4 s; 1 path on the master cannot be carried: x\\x0a (treecast status --problems)",
            1,
        ),
    ],
)
def test_one_line_says_who_has_it_and_why_not(changes: dict[str, Any], text: str, code: int) -> None:
    found = {**BASE, **changes}
    assert line(found, 0.42, at) == text
    assert exit_code(found) == code
