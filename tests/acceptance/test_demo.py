"""`treecast demo` as a newcomer runs it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import eventually, scaled

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")]


def start(place: Path, *words: str) -> "subprocess.Popen[str]":
    (place / "tmp").mkdir()
    environ = {"PATH": os.environ["PATH"], "HOME": str(place / "home"), "TMPDIR": str(place / "tmp")}
    return subprocess.Popen(
        [sys.executable, "-m", "treecast", "demo", *words],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def processes_of(place: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_text(errors="replace")
        except OSError:
            continue
        if str(place) in words:
            found.append(words)
    return found


def test_the_story_ends_well_in_plain_lines_and_leaves_nothing(fast_place: Path) -> None:
    """Every chapter is told with its time, all is equal in the end, and neither a file nor a process stays."""
    process = start(fast_place)
    output, errors = process.communicate(timeout=scaled(110))
    assert (process.returncode, errors) == (0, ""), output + errors
    for chapter in ("first copy", "one change", "2,000 at once", "kill -9", "source gone", "source back", "proof"):
        assert f"  {chapter}" in output
    assert "all 3 replicas equal the master" in output
    assert [line.split()[:2] for line in output.splitlines() if line.startswith("  treecast")] == [
        ["treecast", "mirror"],
        ["treecast", "mirror"],
        ["treecast", "verify"],
    ]
    assert "\x1b" not in output
    assert [line for line in output.splitlines() if len(line) > 80] == []
    assert not list((fast_place / "tmp").iterdir())
    assert not processes_of(fast_place)


def test_ctrl_c_ends_it_and_cleans_up(fast_place: Path) -> None:
    """Interrupted in the middle it ends with 130, and neither a file nor a process stays."""
    process = start(fast_place)
    try:
        eventually(lambda: len(processes_of(fast_place)) >= 4, 30, "its processes run")
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=scaled(30))
    assert process.returncode == 130
    assert not list((fast_place / "tmp").iterdir())
    assert not processes_of(fast_place)
