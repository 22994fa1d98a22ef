"""The change log: a line for each path that changes on the disk, and nothing that becomes of its file stops anything."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common.board import Board
from common.entries import Kind, Position
from common.errors import SettingError
from consumer.change_log import ChangeLog
from consumer.changes import Change, Via, What
from tests.running_consumer import Running

AT = Position(7, 42)


def changes(*names: bytes) -> list[Change]:
    return [Change(name, What.CREATE, Kind.FILE, 5, AT) for name in names]


class Log:
    """A change log in a place of its own."""

    def __init__(self, place: Path, line_format: Any = "text") -> None:
        self.path = place / "changes.log"
        self.board = Board("consumer", "tree", "one")
        self.log = ChangeLog(self.path, line_format, self.board)

    def write(self, *names: bytes) -> None:
        self.log.write(changes(*names), Via.STREAM, 1_700_000_000.5)

    @property
    def names(self) -> list[str]:
        return [line.split(" ", 6)[-1] for line in self.path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    one = Log(tmp_path)
    yield one
    one.log.close()


def test_a_line_says_when_where_how_what_and_which_path(log: Log) -> None:
    log.write(b"a b\n\xff")
    assert log.path.read_text() == "2023-11-14T22:13:20.500Z 7.42 stream create file 5 a b\\x0a\\xff\n"
    assert log.path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def test_a_line_may_be_json(tmp_path: Path) -> None:
    one = Log(tmp_path, "json")
    one.log.write([Change(b"a\n", What.DELETE, None, 0, AT)], Via.REPAIR, 1_700_000_000.5)
    one.log.close()
    assert json.loads(one.path.read_text()) == {
        "time": "2023-11-14T22:13:20.500Z",
        "position": "7.42",
        "via": "repair",
        "what": "delete",
        "kind": "unknown",
        "size": 0,
        "path": "a\\x0a",
    }


def test_a_rotated_file_is_opened_anew(log: Log) -> None:
    """Moved, removed, or cut to nothing."""
    log.write(b"one")
    log.path.rename(log.path.with_suffix(".1"))
    log.write(b"two")
    assert log.names == ["two"]
    assert log.path.with_suffix(".1").read_text().endswith(" one\n")
    log.path.unlink()
    log.write(b"three")
    assert log.names == ["three"]
    os.truncate(log.path, 0)
    log.write(b"four")
    assert log.names == ["four"]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_full_disk_is_an_alarm_and_the_log_says_what_is_missing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that was cut is ended before the next one."""
    real, room = os.write, 60 + 20
    log.write(b"before")

    def write(descriptor: int, data: bytes) -> int:
        nonlocal room
        if not room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(descriptor, data[:room])
        room -= written
        return written

    with monkeypatch.context() as full:
        full.setattr(os, "write", write)
        log.write(b"fits", b"cut", b"lost")
        assert "No space left" in log.board.alarms()["change-log"].what
        log.write(b"lost too")
    log.write(b"after")
    assert not log.board.alarms()
    lines = log.path.read_text().splitlines()
    assert lines[0].endswith(" before")
    assert lines[1].endswith(" fits")
    assert lines[3:] == [
        "2023-11-14T22:13:20.500Z - - missing - 3 -",
        "2023-11-14T22:13:20.500Z 7.42 stream create file 5 after",
    ]
    assert len(lines) == 5


def test_a_directory_that_went_away_is_an_alarm_until_it_is_back(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    one = Log(tmp_path / "logs")
    (tmp_path / "logs").rename(tmp_path / "away")
    one.write(b"lost")
    assert "change-log" in one.board.alarms()
    (tmp_path / "logs").mkdir()
    one.write(b"back")
    one.log.close()
    assert one.path.read_text().splitlines()[0].endswith(" missing - 1 -")
    assert one.names[1:] == ["back"]


@pytest.mark.parametrize("what", ["directory", "fifo", "nowhere"])
def test_what_is_no_file_is_a_wrong_setting(tmp_path: Path, what: str) -> None:
    """Never waited for, as a fifo without a reader would be."""
    path = tmp_path / "changes.log" if what != "nowhere" else tmp_path / "nowhere" / "changes.log"
    if what == "directory":
        path.mkdir()
    elif what == "fifo":
        os.mkfifo(path)
    with pytest.raises(SettingError, match="TREECAST_CHANGE_LOG"):
        ChangeLog(path, "text", Board("consumer", "tree"))


def test_each_applied_path_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By stream, by sync, by a repair; a mode alone; a delete with what was there."""
    with Running(tmp_path, monkeypatch) as running:
        path = tmp_path / "changes.log"
        log = ChangeLog(path, "text", running.board)
        running.replica._follower._applier._change_log = log
        running.say(running.master.batch({b"d": 0o755, b"d/a": b"one", b"b": b"two", b"l": "b"}))
        running.level()
        running.say(running.master.batch({b"d": 0o700, b"d/a": b"changed", b"b": None}))
        running.level()
        running.master.batch({b"lost": b"never came"})
        running.say(running.master.heartbeat())
        running.level()
        (running.root / "d" / "a").write_bytes(b"edited!")
        (running.root / "lost").chmod(0o600)
        with running.replica._scrub.running():
            running.replica._scrub._order({})
            running.until(lambda: (running.root / "d" / "a").read_bytes() == b"changed")
            running.until(lambda: (running.root / "lost").stat().st_mode & 0o777 == 0o644)
        log.close()
        lines = [line.split(" ", 1)[1] for line in path.read_text().splitlines()]
        assert lines == [
            "5.1 stream create directory 0 d",
            "5.2 stream create file 3 d/a",
            "5.3 stream create file 3 b",
            "5.4 stream create symlink 1 l",
            "5.5 stream mode directory 0 d",
            "5.6 stream modify file 7 d/a",
            "5.7 stream delete file 3 b",
            "5.8 sync create file 10 lost",
            "5.8 repair place file 10 lost",
            "5.6 sync place file 7 d/a",
        ]
