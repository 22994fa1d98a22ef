"""Does: sets up the log of a process: lines on standard error, as text or JSON, alike ones limited.

Knows nothing of what is logged. Callers escape paths; whatever is not printable all the same is escaped here, so that a line is a
line, and what looks like a password in a URL is hidden.
"""

import json
import logging
import re
import sys
import threading
import time
from collections.abc import Hashable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, TextIO

from common.repeats import LeftOut, Repeats

TURN = {"is_turn": True}
"""For `extra`: this line tells a change to and fro, as of a link. Left out, the log would end with the state before."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_LOGIN = re.compile(r"(://[^\s/@:]*):[^\s/@]*@")


class LimitedLines(logging.StreamHandler[TextIO]):
    """Writes what `Repeats` lets through, turns always; what was left out is told when its window ends, and at the end."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._repeats = Repeats()
        self._timer: threading.Timer | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Called with the handler's lock held."""
        now = time.monotonic()
        self._tell(self._repeats.ended(now))
        if getattr(record, "is_turn", False) or self._repeats.may_write(
            _alike(record), record.levelno, record.getMessage(), now
        ):
            super().emit(record)
        self._wake_later(now)

    def close(self) -> None:
        """What was left out until now is told."""
        self.acquire()
        try:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            with suppress(ValueError, OSError):
                self._tell(self._repeats.all())
        finally:
            self.release()
        super().close()

    def _wake_later(self, now: float) -> None:
        due_at = self._repeats.due_at()
        if due_at is not None and self._timer is None:
            self._timer = threading.Timer(max(0.0, due_at - now), self._wake)
            self._timer.daemon = True
            self._timer.start()

    def _wake(self) -> None:
        """A window ends, and perhaps nobody logs anything then."""
        self.acquire()
        try:
            if self._timer is not None:
                self._timer = None
                now = time.monotonic()
                self._tell(self._repeats.ended(now))
                self._wake_later(now)
        finally:
            self.release()

    def _tell(self, left_out: list[LeftOut]) -> None:
        for one in left_out:
            text = f"and {one.lines} more like it in that minute, the last: {one.last}"
            super().emit(logging.LogRecord("treecast", one.level, "", 0, text, (), None))


def _alike(record: logging.LogRecord) -> Hashable:
    template = str(record.msg)
    if not record.args or template == "%s":
        return record.getMessage()
    if record.levelno >= logging.ERROR and isinstance(record.args, tuple):
        return template, str(record.args[0])
    return template


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING text`."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{_stamp(record)} {record.levelname} {_printable(record.getMessage())}"
        if not record.exc_info:
            return text
        return "\n".join([text, *map(_printable, self.formatException(record.exc_info).split("\n"))])


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, message, and error where there is a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _stamp(record), "level": record.levelname.lower(), "message": _hidden(record.getMessage())}
        if record.exc_info:
            line["error"] = _hidden(self.formatException(record.exc_info))
        return json.dumps(line)


def set_up(level: str, line_format: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Log from this level on, in this format, to standard error unless told. Replaces what was set up before."""
    handler = LimitedLines(stream or sys.stderr)
    handler.setFormatter(JsonLines() if line_format == "json" else TextLines())
    root = logging.getLogger()
    for before in root.handlers:
        if isinstance(before, LimitedLines):
            before.close()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("treecast").setLevel(level.upper())
    # Our own links tell how they stand; the client library would repeat it with every attempt.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.raiseExceptions = False


def _stamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _hidden(text: str) -> str:
    """Without the passwords of URLs, should one have come so far."""
    return _LOGIN.sub(r"\1:***@", text) if "://" in text else text


def _printable(text: str) -> str:
    return _UNPRINTABLE.sub(_escaped, _hidden(text))


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")
