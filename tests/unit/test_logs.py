"""What a log line looks like, and that identical ones are limited."""

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Literal

import pytest

from common import logs, repeats


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


class Clock:
    """Stands in for the log's clock; its timers fire when they are told."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        patch.setattr("common.logs.time.monotonic", lambda: self.now)
        clock = self

        class Timer:
            daemon = False

            def __init__(self, seconds: float, function: Callable[[], None]) -> None:
                self._timer = (clock.now + seconds, function)

            def start(self) -> None:
                clock.timers.append(self._timer)

            def cancel(self) -> None:
                clock.timers.remove(self._timer)

        patch.setattr("common.logs.threading.Timer", Timer)

    def go_on(self, seconds: float) -> None:
        """Time passes."""
        self.now += seconds
        for timer in [timer for timer in self.timers if timer[0] <= self.now]:
            self.timers.remove(timer)
            timer[1]()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def said(stream: io.StringIO) -> list[str]:
    """The lines without their times."""
    return [line.partition(" ")[2] for line in stream.getvalue().splitlines()]


def test_identical_lines_are_written_once_and_then_counted(clock: Clock) -> None:
    """Also when nothing more is ever logged; a minute later the same line is news again."""
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    for _ in range(5):
        logging.getLogger("treecast").info("the same")
    logging.getLogger("treecast").info("another")
    assert said(stream) == ["INFO the same", "INFO another"]
    clock.go_on(repeats.WINDOW_SECONDS)
    assert said(stream)[2:] == ["INFO and 4 more like it in that minute, the last: the same"]
    logging.getLogger("treecast").info("the same")
    assert said(stream)[3:] == ["INFO the same"]
    clock.go_on(repeats.WINDOW_SECONDS)
    assert len(said(stream)) == 4


def test_lines_of_one_template_are_limited_and_none_is_left_out_in_silence(clock: Clock) -> None:
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    for number in range(repeats.LINES_A_WINDOW + 52):
        logging.getLogger("treecast").warning("problem at %s: %s", f"path {number}", "why")
        logging.getLogger("treecast").info("of another kind")
    lines = [line for line in said(stream) if "problem" in line]
    assert len(lines) == repeats.LINES_A_WINDOW
    clock.go_on(repeats.WINDOW_SECONDS)
    assert "WARNING and 52 more like it in that minute, the last: problem at path 71: why" in said(stream)


def test_one_alarm_that_says_much_hides_no_other(clock: Clock) -> None:
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    for number in range(100):
        logging.getLogger("treecast").error("alarm %s: %s", "hold", number)
    logging.getLogger("treecast").error("alarm %s: %s", "halt", "the disk")
    assert said(stream)[-1] == "ERROR alarm halt: the disk"


def test_the_end_of_the_process_tells_what_was_left_out(clock: Clock) -> None:
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    for _ in range(3):
        logging.getLogger("treecast").error("the same")
    logging.getLogger().handlers[0].close()
    assert said(stream) == ["ERROR the same", "ERROR and 2 more like it in that minute, the last: the same"]
    assert not clock.timers


def test_what_is_remembered_about_lines_is_bounded_and_told_when_it_must_go() -> None:
    limit = repeats.Repeats()
    for number in range(5000):
        for _ in range(2):
            limit.may_write(number, 20, "line", float(number) / 1000)
    told = limit.ended(5.0)
    assert len(told) == 5000 - repeats.WINDOWS_KEPT
    assert all(one == (20, 1, "line") for one in told)


@pytest.mark.parametrize("line_format", ["text", "json"])
def test_no_password_of_a_url_and_no_control_sign_gets_into_a_line(line_format: Literal["text", "json"]) -> None:
    """Should a caller, or an error of a library, have let it through; in a traceback too."""
    stream = io.StringIO()
    logs.set_up("info", line_format, stream)
    try:
        raise OSError("amqp://user:geheim@host/ \x1b[2J")
    except OSError as error:
        logging.getLogger("treecast").exception("lost %s \udcff", error)
    assert "geheim" not in stream.getvalue()
    assert "amqp://user:***@host/" in stream.getvalue()
    assert all(line.isprintable() and line.isascii() for line in stream.getvalue().splitlines())


def test_a_turn_to_and_fro_is_told_each_time() -> None:
    """Else a link that came back twice within a minute would stand as lost in the log."""
    stream = io.StringIO()
    logs.set_up("info", "text", stream)
    for _ in range(2):
        logging.getLogger("treecast.amqp").warning("away", extra=logs.TURN)
        logging.getLogger("treecast.amqp").info("open", extra=logs.TURN)
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == ["away", "open", "away", "open"]
