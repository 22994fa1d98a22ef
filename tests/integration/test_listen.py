"""The HTTP listener: metrics, health, readiness; nothing else, and nothing that changes anything."""

import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from common.board import Board
from common.errors import SettingError
from common.listen import REQUESTS_AT_ONCE, Listener
from common.quantities import ListenAddress
from tests.waiting import eventually

LOOPBACK = ListenAddress("127.0.0.1", 0)


@pytest.fixture
def board() -> Board:
    return Board("consumer", "t", "paris")


@pytest.fixture
def listener(board: Board) -> Iterator[Listener]:
    opened = Listener("TREECAST_LISTEN", LOOPBACK, board, lambda _: board.status())
    yield opened
    opened.close()


def get(listener: Listener, path: str, method: str = "GET") -> tuple[int, str, str]:
    """Status, content type, body."""
    request = urllib.request.Request(f"http://127.0.0.1:{listener.port}{path}", method=method)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_metrics_are_there_from_the_start(listener: Listener) -> None:
    """Each once, unlabelled, with 0; no `_created` series; the process's own beside them."""
    status, content_type, body = get(listener, "/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    lines = body.splitlines()
    for name in ("position", "agreed", "dirty_paths", "unconfirmed_batches", "watch_overflows_total", "problems"):
        assert lines.count(f"treecast_{name} 0.0") == 1
    assert sum(line.startswith("treecast_heartbeat_age_seconds ") for line in lines) == 1
    assert any(line.startswith("treecast_build_info{") for line in lines)
    assert any(line.startswith("process_cpu_seconds_total ") for line in lines)
    assert "_created" not in body


def test_metrics_follow_the_board_and_name_no_path(listener: Listener, board: Board) -> None:
    board.gauge("position", 17)
    board.alarm("diverged", "at 17")
    board.count("refused_total", label="fork")
    board.problem(b"secret/name", "immutable")
    body = get(listener, "/metrics")[2]
    assert "treecast_position 17.0" in body
    assert 'treecast_alarm{kind="diverged"} 1.0' in body
    assert 'treecast_refused_total{reason="fork"} 1.0' in body
    assert "treecast_problems 1.0" in body
    assert "secret" not in body


def test_open_metrics_are_served_to_who_asks_for_them(listener: Listener) -> None:
    connection = HTTPConnection("127.0.0.1", listener.port, timeout=5)
    connection.request("GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
    assert answer.read().decode().endswith("# EOF\n")
    connection.close()


def test_health_is_about_this_process_alone(listener: Listener, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """Alarms and silence from outside leave it healthy; a loop that stands still does not."""
    board.tick("main")
    board.alarm("broker", "gone")
    assert get(listener, "/healthz") == (200, "text/plain; charset=utf-8", "ok\n")
    now = time.monotonic() + 61
    monkeypatch.setattr("common.board.time.monotonic", lambda: now)
    assert get(listener, "/healthz")[::2] == (503, "silent: main\n")


def test_readiness_is_what_the_board_says(listener: Listener, board: Board) -> None:
    assert get(listener, "/readyz")[0] == 503
    board.is_ready = True
    assert get(listener, "/readyz")[::2] == (200, "ready\n")


def test_other_pages_are_not_there(listener: Listener) -> None:
    assert get(listener, "/")[0] == 404
    assert get(listener, "/metrics/../etc")[0] == 404
    assert get(listener, "/healthz?x=1")[0] == 200


def test_head_is_answered_without_a_body_and_changes_are_not_taken(listener: Listener) -> None:
    assert get(listener, "/readyz", "HEAD")[::2] == (503, "")
    assert get(listener, "/metrics", "HEAD")[0] == 200
    assert get(listener, "/metrics", "POST")[0] == 501


def test_a_port_in_use_is_a_wrong_setting(listener: Listener, board: Board) -> None:
    with pytest.raises(SettingError, match=rf"^TREECAST_LISTEN: found '127.0.0.1:{listener.port}'"):
        Listener("TREECAST_LISTEN", ListenAddress("127.0.0.1", listener.port), board, lambda _: board.status())


def test_an_address_of_another_machine_is_a_wrong_setting(board: Board) -> None:
    with pytest.raises(SettingError, match="TREECAST_LISTEN"):
        Listener("TREECAST_LISTEN", ListenAddress("203.0.113.1", 9100), board, lambda _: board.status())


def test_askers_that_say_nothing_are_bounded_and_then_let_go(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """They hold at most 16 threads, and the listener answers again when their time is over."""
    monkeypatch.setattr("common.listen._Handler.timeout", 0.3)
    listener = Listener("TREECAST_LISTEN", LOOPBACK, board, lambda _: board.status())
    silent = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(REQUESTS_AT_ONCE + 4)]

    def answers() -> bool:
        try:
            return get(listener, "/healthz")[0] == 200
        except OSError:
            return False

    try:
        eventually(answers, 5, "an answer after the silent ones were let go")
    finally:
        for one in silent:
            one.close()
        listener.close()
