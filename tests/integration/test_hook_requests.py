"""A hook that is a URL: what is posted, what counts as an answer, and that nobody can make it last."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from consumer.hook_calls import Came, Result
from consumer.hook_request import RequestCall
from tests.hook_server import Server, serving, speak_tls, url_of
from tests.rabbit import free_ports, make_certificate
from tests.waiting import eventually, scaled


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


def test_a_request_has_the_same_bytes_and_says_of_what(server: Server) -> None:
    done = RequestCall(url_of(server), {"Treecast-Tree": "music"}, scaled(10)).run(b"a\0\xff\n\0")
    assert done == Result(Came.OK)
    ((path, headers, body),) = server.posted
    assert (path, body) == ("/purge?a=1", b"a\0\xff\n\0")
    assert headers["Treecast-Tree"] == "music"
    assert headers["Content-Type"] == "application/octet-stream"
    assert headers["User-Agent"].startswith("treecast/")


def test_a_request_over_tls_is_the_same_and_only_to_whom_a_certificate_names(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificate(tmp_path / "cert", tmp_path / "key")
    speak_tls(server, tmp_path / "cert", tmp_path / "key")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
    here = f"https://localhost:{server.server_address[1]}/purge"
    assert RequestCall(here, {}, scaled(10)).run(b"a\0") == Result(Came.OK)
    assert [(path, body) for path, _, body in server.posted] == [("/purge", b"a\0")]
    assert RequestCall(here.replace("localhost", "127.0.0.1"), {}, scaled(10)).run(b"").came is Came.FAILED
    assert len(server.posted) == 1


@pytest.mark.parametrize("status", [302, 404, 500])
def test_any_other_answer_is_a_failure(server: Server, status: int) -> None:
    """A redirect is not followed: whoever redirects has not understood what was posted."""
    server.status = status
    assert RequestCall(url_of(server), {}, scaled(10)).run(b"") == Result(Came.FAILED, f"it answered {status}")
    assert len(server.posted) == 1


def test_a_server_that_does_not_answer_is_given_up(server: Server) -> None:
    server.is_slow = True
    assert RequestCall(url_of(server), {}, 0.2).run(b"").came is Came.TIMEOUT


def test_a_request_is_ended_when_it_is_told_to(server: Server) -> None:
    server.is_slow = True
    one = RequestCall(url_of(server), {}, scaled(60))
    came: list[Result] = []
    thread = threading.Thread(target=lambda: came.append(one.run(b"")))
    thread.start()
    eventually(lambda: server.has_asker, 10, "asked")
    one.abort()
    thread.join(scaled(10))
    assert came == [Result(Came.STOPPED)]


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_request_whose_time_is_up_before_it_is_connected_goes_no_further(
    server: Server, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that are looked up for long, one address after another: what hangs up later finds nothing to hang up."""
    connect = socket.create_connection

    def slowly(*arguments: Any, **named: Any) -> socket.socket:
        eventually(one._is_late.is_set, 10, "late")
        return connect(*arguments, **named)

    server.is_slow = True
    monkeypatch.setattr(socket, "create_connection", slowly)
    one = RequestCall(url_of(server).replace("http", scheme, 1), {}, 0.2)
    assert one.run(b"").came is Came.TIMEOUT
    assert not server.has_asker


def test_a_server_that_greets_for_ever_is_given_up() -> None:
    """TLS that never comes to an end: each of its bytes comes in time."""
    with socket.create_server(("127.0.0.1", free_ports(1)[0])) as listening:
        ended = threading.Event()

        def trickle() -> None:
            here, _ = listening.accept()
            with here, suppress(OSError):
                here.sendall(b"\x16\x03\x03\x3f\xff\x02")  # a record of 16 KiB begins
                while not ended.wait(0.02):
                    here.sendall(b"\x00")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            url = f"https://127.0.0.1:{listening.getsockname()[1]}/"
            assert RequestCall(url, {}, 0.3).run(b"").came is Came.TIMEOUT
        finally:
            ended.set()
            thread.join()


def test_nobody_there_is_a_failure() -> None:
    done = RequestCall(f"http://127.0.0.1:{free_ports(1)[0]}/", {}, scaled(5)).run(b"")
    assert done.came is Came.FAILED
    assert "refused" in done.detail
