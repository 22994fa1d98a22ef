"""Too many deletes at once, as a person meets them: held, shown, and let go by a word, with real processes."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mirrors import Mirror, Picture, end, picture, write
from tests.waiting import eventually, scaled
from treecast.mirroring.layout import tree_name

FILES = 200
LIMIT = "--hold=20,10%,50%"


@pytest.fixture
def mirror(tmp_path: Path) -> Mirror:
    mirror = Mirror(tmp_path)
    for number in range(FILES):
        write(mirror.source / str(number % 4) / str(number), f"content {number}")
    return mirror


def _treecast(mirror: Mirror, *words: str | Path, code: int | None = 0) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "treecast", *map(str, words)]
    # Others of this user may run here too.
    environ = {**mirror.environ, "TREECAST_TREE": tree_name(mirror.source)}
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=scaled(60))
    assert code is None or done.returncode == code, done.stderr
    return done


def _delete(mirror: Mirror, *names: str) -> None:
    for name in names:
        for path in (mirror.source / name).iterdir():
            path.unlink()


def test_a_mirror_that_meets_a_hold_does_the_rest_and_stops_for_a_person(mirror: Mirror) -> None:
    """Exit code 4 with the count, the first paths, and the command that lets it through; that one ends with 0, level."""
    mirror.run("--once", LIMIT, mirror.source, mirror.a, mirror.b)
    before = picture(mirror.a)
    _delete(mirror, "1", "2")
    write(mirror.source / "0" / "0", "changed")
    write(mirror.source / "new")
    done = mirror.run("--once", LIMIT, mirror.source, mirror.a, mirror.b, code=4)
    lines = done.stdout.splitlines()
    assert f"{mirror.source}: 100 deletes held, which no replica was told of" in lines
    assert "  held: 1/1" in lines
    assert "  and 90 more" in lines
    for replica in (mirror.a, mirror.b):
        assert (replica / "0" / "0").read_text() == "changed"
        assert (replica / "new").exists()
        assert picture(replica).keys() == before.keys() | {b"new"}
    command = next(line for line in lines if "--release-hold" in line).partition(": ")[2]
    assert "0 deletes" not in _treecast(mirror, *shlex.split(command)[1:]).stdout
    assert picture(mirror.a) == picture(mirror.b) == picture(mirror.source)


def test_a_wrong_limit_is_one_line_that_names_the_option(mirror: Mirror) -> None:
    assert "--hold" in mirror.refusal("--once", "--hold=many", mirror.source, mirror.a, code=2)


def _shown(root: Path) -> Picture:
    """What a replica shows while its consumer runs."""
    return picture(root, b".treecast")


@contextmanager
def _following(mirror: Mirror) -> Iterator[None]:
    running = mirror.start(LIMIT, mirror.source, mirror.a, mirror.b)
    try:
        eventually(lambda: _answering(mirror) == 3, 30, "it runs")
        yield
    finally:
        assert end(running)[0] == 130


def _status(mirror: Mirror) -> str:
    return _treecast(mirror, "status", code=None).stdout


def _answering(mirror: Mirror) -> int:
    """How many of the producer and the two consumers answer."""
    told = _treecast(mirror, "hold", "list", "--json", code=None).stdout
    return len(json.loads(told)) if told else 0


def _is_level(mirror: Mirror) -> bool:
    return _shown(mirror.b) == picture(mirror.source) == _shown(mirror.a)


def test_what_is_held_while_a_mirror_follows_goes_with_one_word_after_a_restart(mirror: Mirror) -> None:
    """The source moved away: nothing is deleted anywhere. 30 percent deleted: held; restarted; released once: gone everywhere."""
    with _following(mirror):
        eventually(lambda: _is_level(mirror), 60, "level")
        before = picture(mirror.source)
        mirror.source.rename(mirror.place / "away")
        eventually(lambda: "source-missing" in _status(mirror), 30, "the alarm")
        assert _shown(mirror.a) == _shown(mirror.b) == before
        (mirror.place / "away").rename(mirror.source)
        for number in range(60):
            (mirror.source / str(number % 4) / str(number)).unlink()
        # They go one by one: up to the limit may be published before it is known that there are more.
        eventually(lambda: "ALARM hold" in _status(mirror), 30, "the alarm")
        held = before.keys() - picture(mirror.source).keys()
        assert len(_shown(mirror.a).keys() & held) >= 40

    with _following(mirror):
        eventually(lambda: "ALARM hold" in _status(mirror), 30, "the alarm")
        shown = _treecast(mirror, "hold", "show", "-n", "0").stdout.splitlines()
        assert 40 <= len(shown) <= 60
        assert {os.fsencode(path) for path in shown} <= held
        assert "the first 5 of" in _treecast(mirror, "hold", "show", "-n", "5").stderr
        assert "deletes are held since" in _treecast(mirror, "hold", "list").stdout
        told = {one["role"]: one["held"] for one in json.loads(_treecast(mirror, "hold", "list", "--json").stdout)}
        assert told["producer"] == len(shown)
        assert _shown(mirror.a).keys() >= {os.fsencode(path) for path in shown}
        assert f"{len(shown)} deletes go now" in _treecast(mirror, "hold", "release").stdout
        eventually(lambda: _is_level(mirror), 60, "level")
        assert "nothing is held" in _treecast(mirror, "hold", "release").stdout


def test_a_command_that_finds_no_process_says_so(mirror: Mirror) -> None:
    assert "no treecast process" in _treecast(mirror, "hold", "release", code=3).stderr
