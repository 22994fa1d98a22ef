"""Writes one line for each path that changed on this disk, into a file that somebody else rotates. Knows lines and one file.

Whatever becomes of the file stops nothing: lines that cannot be written are counted, an alarm stands meanwhile, and the next line
that can be written says how many are missing. One write for each step, behind its commit: a crash between the two loses the
lines of that one step, and no line is ever there twice.
"""

import json
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from common.board import Board
from common.entries import Position
from common.errors import SettingError
from common.names import escape
from consumer.changes import Change, Via

SETTING = "TREECAST_CHANGE_LOG"
_OPEN = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MODE = 0o640
ALARM = "change-log"


class ChangeLog:
    """The file at one path. Where another file, or none, has taken its place, it is opened anew."""

    def __init__(self, path: Path, line_format: Literal["text", "json"], board: Board) -> None:
        """Raises SettingError where the file cannot be opened."""
        self._path = path
        self._line_format = line_format
        self._board = board
        self._descriptor = -1
        self._identity: tuple[int, int] | None = None
        self._missing = 0
        self._is_cut = False
        """Whether the last line in the file is not whole."""
        try:
            self._open()
        except OSError as error:
            raise SettingError(SETTING, str(path), f"a file that can be written ({error.strerror})") from error

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def write(self, changes: Iterable[Change], via: Via, unix_seconds: float) -> None:
        """A line for each of these. Never raises for the sake of the file."""
        lines = [self._line(change, via, _stamp(unix_seconds)) for change in changes]
        if not lines:
            return
        left = self._gap(_stamp(unix_seconds)) + lines
        try:
            self._reopen()
            while left:
                left = self._append(left)
        except OSError as error:
            self._missing = len(left) if len(left) <= len(lines) else self._missing + len(lines)
            self._board.alarm(
                ALARM,
                f"the change log {escape(os.fsencode(self._path))} cannot be written ({error.strerror}): its lines are"
                " missing until that is put right; nothing else is held up",
            )
            return
        self._missing = 0
        self._board.clear(ALARM)

    # -- the file
    def _open(self) -> None:
        descriptor = os.open(self._path, _OPEN, _MODE)
        seen = os.fstat(descriptor)
        if not stat.S_ISREG(seen.st_mode):
            os.close(descriptor)
            raise OSError(0, "it is no regular file")
        self.close()
        self._descriptor, self._identity = descriptor, (seen.st_dev, seen.st_ino)
        self._is_cut = False

    def _reopen(self) -> None:
        """RACE: it may be rotated right after this look; then the lines of this step stand in the older file."""
        there = None
        with suppress(FileNotFoundError):
            seen = os.stat(self._path)
            there = (seen.st_dev, seen.st_ino)
        if there is None or there != self._identity or self._descriptor < 0:
            self._open()

    def _append(self, lines: list[str]) -> list[str]:
        """Returns the lines that were not written whole: then there is no room, and the next try will say so."""
        data = "".join(f"{line}\n" for line in lines).encode()
        data = b"\n" + data if self._is_cut else data
        written = data[: os.write(self._descriptor, data)]
        was_cut, self._is_cut = self._is_cut, not written.endswith(b"\n")
        return lines[written.count(b"\n") - (was_cut and bool(written)) :]

    # -- lines
    def _gap(self, stamp: str) -> list[str]:
        """Says that lines are missing here."""
        if not self._missing:
            return []
        if self._line_format == "json":
            return [json.dumps({"time": stamp, "what": "missing", "lines": self._missing})]
        return [f"{stamp} - - missing - {self._missing} -"]

    def _line(self, change: Change, via: Via, stamp: str) -> str:
        kind = change.kind.name.lower() if change.kind is not None else "unknown"
        position, path = _words(change.at), escape(change.path)
        if self._line_format == "json":
            facts = {"position": position, "via": via, "what": change.what, "kind": kind, "size": change.size}
            return json.dumps({"time": stamp, **facts, "path": path})
        return f"{stamp} {position} {via} {change.what} {kind} {change.size} {path}"


def _words(position: Position) -> str:
    return f"{position.epoch}.{position.sequence}"


def _stamp(unix_seconds: float) -> str:
    moment = datetime.fromtimestamp(unix_seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
