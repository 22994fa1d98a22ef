"""Does: sets up the log of a process: lines on standard error, as text or JSON, identical ones limited.

Knows nothing of what is logged. Callers escape paths; a stray line break is escaped here, so that a line is a line.
"""

import json
import logging
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Literal, TextIO

REPEAT_SECONDS = 60.0
"""An identical line is written once in this time; the next one tells how many were left out."""
_REMEMBERED = 1000
TURN = {"is_turn": True}
"""For `extra`: this line tells a change to and fro, as of a link. Left out, the log would end with the state before."""


class RepeatLimit(logging.Filter):
    """Lets an identical line (level and text) through once in `seconds`, turns always. Thread-safe."""

    def __init__(self, seconds: float = REPEAT_SECONDS) -> None:
        super().__init__()
        self._seconds = seconds
        self._seen: dict[tuple[int, str], tuple[float, int]] = {}
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        if getattr(record, "is_turn", False):
            return True
        text = record.getMessage()
        key = (record.levelno, text)
        now = time.monotonic()
        with self._lock:
            since, left_out = self._seen.get(key, (float("-inf"), 0))
            if now - since < self._seconds:
                self._seen[key] = (since, left_out + 1)
                return False
            self._seen.pop(key, None)
            self._seen[key] = (now, 0)
            if len(self._seen) > _REMEMBERED:
                self._seen.pop(next(iter(self._seen)))
        if left_out:
            record.msg, record.args = f"{text} ({left_out} more like it were left out)", ()
        return True


class TextLines(logging.Formatter):
    """`2026-01-31T12:00:00.000Z WARNING text`."""

    def format(self, record: logging.LogRecord) -> str:
        text = f"{_stamp(record)} {record.levelname} {_one_line(record.getMessage())}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class JsonLines(logging.Formatter):
    """One JSON object per line: time, level, message, and error where there is a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": _stamp(record), "level": record.levelname.lower(), "message": record.getMessage()}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line)


def set_up(level: str, line_format: Literal["text", "json"], stream: TextIO | None = None) -> None:
    """Log from this level on, in this format, to standard error unless told. Replaces what was set up before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if line_format == "json" else TextLines())
    handler.addFilter(RepeatLimit())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("treecast").setLevel(level.upper())
    # Our own links tell how they stand; the client library would repeat it with every attempt.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    logging.raiseExceptions = False


def _stamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _one_line(text: str) -> str:
    return text.replace("\r", "\\r").replace("\n", "\\n")
