"""`treecast log` on a journal that no process has open: what it prints, and how it ends."""

import json
import os
import time
from pathlib import Path

import pytest

from tests.logged_journal import DIRECTORY, LoggedJournal, file
from treecast.main import run

HOUR_MS = 3600 * 1000


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of a producer that is not running; nothing else is found on this machine.

    Two hours ago d, d/a and d/b came; half an hour ago d went with all that was in it; now there is e.
    """
    for name in [name for name in os.environ if name.startswith(("TREECAST_", "STATE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("common.control.run_directories", lambda environ: [])
    monkeypatch.setattr("treecast.journals.state_root", lambda: tmp_path)
    monkeypatch.setattr("common.places.state_root", lambda: tmp_path)
    state = tmp_path / "music" / "producer"
    _write(state, monkeypatch)
    return state


def _write(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state.mkdir(parents=True)
    logged = LoggedJournal(state / "journal.db")
    now_ms = int(time.time() * 1000)
    with monkeypatch.context() as clock:
        clock.setattr("producer.journal._unix_ms", lambda: now_ms - 2 * HOUR_MS)
        logged.commit((b"d", DIRECTORY), (b"d/a", file("1")), (b"d/b\n", file("12")))
        clock.setattr("producer.journal._unix_ms", lambda: now_ms - HOUR_MS // 2)
        logged.commit((b"d/b\n", None), (b"d/a", None), (b"d", None))
        clock.setattr("producer.journal._unix_ms", lambda: now_ms)
        logged.commit((b"e", file("1")))
    logged.journal.close()


def _printed(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> list[str]:
    assert run(["log", *map(str, words)]) == code
    return capsys.readouterr().out.splitlines()


def _what(lines: list[str]) -> list[tuple[str, str]]:
    """What and path of each line."""
    return [(line.split()[2], line.split()[-1]) for line in lines]


ALL = [
    ("create", "d"),
    ("create", "d/a"),
    ("create", "d/b\\x0a"),
    ("delete", "d/b\\x0a"),
    ("delete", "d/a"),
    ("delete", "d"),
    ("create", "e"),
]


def test_the_whole_log_is_shown_newest_last(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Found by its directory, by its tree, or because it is the only one here."""
    assert _what(_printed(capsys)) == ALL
    assert _what(_printed(capsys, "--state", state)) == ALL


def test_when_a_path_vanished_is_told_though_its_directory_was_removed(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (line,) = _printed(capsys, "d/a", "--deleted")
    assert _what([line]) == [("delete", "d/a")]
    assert line.split()[3:5] == ["file", "1"]
    told = time.time() - time.mktime(time.strptime(line[:19], "%Y-%m-%dT%H:%M:%S"))
    assert 1790 < told < 2000, line


def test_a_directory_is_shown_with_all_that_is_below_it(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _what(_printed(capsys, "d/")) == ALL[:-1]
    assert _what(_printed(capsys, "./d", "--since", "1h")) == ALL[3:6]
    assert _what(_printed(capsys, "-n", "2")) == ALL[-2:]
    assert _what(_printed(capsys, "-n", "0", ".")) == ALL


def test_programs_get_an_object_a_line(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = [json.loads(line) for line in _printed(capsys, "--json")]
    assert [(one["what"], one["path"]) for one in told] == ALL
    assert all(one["time"].endswith("+00:00") for one in told)


def test_nothing_found_says_how_far_the_log_reaches(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["log", "never-there"]) == 0
    answer = capsys.readouterr()
    assert answer.out == ""
    assert "reaches back to 2" in answer.err


def test_what_cannot_be_meant_is_refused(
    state: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An absolute path, a time that is none, a directory without a journal; two journals, where none is told."""
    for words in (["/srv/d"], ["--since", "soon"], ["-n", "-1"], ["--state", str(tmp_path)]):
        assert run(["log", *words]) == 2, words
    _write(tmp_path / "films" / "producer", monkeypatch)
    assert run(["log"]) == 2
    error = capsys.readouterr().err
    assert str(state) in error
    assert str(tmp_path / "films") in error
    monkeypatch.setenv("TREECAST_TREE", "music")
    assert _what(_printed(capsys)) == ALL


def test_without_any_journal_it_ends_with_three(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TREECAST_STATE", raising=False)
    monkeypatch.delenv("TREECAST_TREE", raising=False)
    monkeypatch.setattr("common.control.run_directories", lambda environ: [])
    monkeypatch.setattr("treecast.journals.state_root", lambda: tmp_path)
    assert run(["log"]) == 3
    assert "--state" in capsys.readouterr().err


def test_what_is_no_journal_is_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "journal.db").write_bytes(b"this is no database" * 100)
    assert run(["log", "--state", str(tmp_path)]) == 4
    assert "journal" in capsys.readouterr().err
