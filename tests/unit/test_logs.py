"""What a log line looks like, and that identical ones are limited."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from common import logs


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, ours, pika = logging.getLogger(), logging.getLogger("treecast"), logging.getLogger("pika")
    before = (root.handlers[:], root.level, ours.level, pika.level, logging.raiseExceptions)
    yield
    root.handlers[:], logging.raiseExceptions = before[0], before[4]
    for logger, level in zip((root, ours, pika), before[1:4], strict=True):
        logger.setLevel(level)


def test_a_text_line_is_one_line_with_time_and_level() -> None:
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    logging.getLogger("treecast").warning("a %s", "b\nc")
    logging.getLogger("treecast").debug("not shown")
    line = stream.getvalue()
    assert line.endswith("Z WARNING a b\\nc\n")
    assert line.count("\n") == 1


def test_a_json_line_is_an_object() -> None:
    stream = io.StringIO()
    logs.set_up("debug", "json", stream)
    logging.getLogger("treecast").debug('say "%s"', "x")
    found = json.loads(stream.getvalue())
    assert (found["level"], found["message"]) == ("debug", 'say "x"')


def test_identical_lines_are_written_once_and_then_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("common.logs.time.monotonic", lambda: now)
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    for _ in range(5):
        logging.getLogger("treecast").info("the same")
    logging.getLogger("treecast").info("another")
    assert stream.getvalue().count("the same") == 1
    now += logs.REPEAT_SECONDS
    logging.getLogger("treecast").info("the same")
    assert stream.getvalue().endswith("the same (4 more like it were left out)\n")
    assert stream.getvalue().count("another") == 1


def test_what_is_remembered_about_lines_is_bounded() -> None:
    limit = logs.RepeatLimit()
    for number in range(5000):
        limit.filter(logging.LogRecord("treecast", logging.INFO, "", 0, f"line {number}", (), None))
    assert len(limit._seen) <= 1000


def test_a_turn_to_and_fro_is_told_each_time() -> None:
    """Else a link that came back twice within a minute would stand as lost in the log."""
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    for _ in range(2):
        logging.getLogger("treecast.amqp").warning("away", extra=logs.TURN)
        logging.getLogger("treecast.amqp").info("open", extra=logs.TURN)
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["away", "open", "away", "open"]
