"""A server of HTTP for hooks to post to: keeps what came, and answers as it is told."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.rabbit import free_ports
from tests.waiting import scaled


class Server(http.server.ThreadingHTTPServer):
    """Keeps what was posted, and answers as it is told."""

    status = 204
    is_slow = False
    has_asker = False

    def __init__(self) -> None:
        self.posted: list[tuple[str, dict[str, str], bytes]] = []
        self.let_go = threading.Event()
        super().__init__(("127.0.0.1", free_ports(1)[0]), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.has_asker = True
        if self.server.is_slow:
            self.server.let_go.wait(scaled(20))
            return
        self.server.posted.append((self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.send_header("Location", "/elsewhere")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """One that runs, until it is left."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.let_go.set()
            server.shutdown()
            thread.join()


def url_of(server: Server) -> str:
    """Where it is asked."""
    return f"http://127.0.0.1:{server.server_address[1]}/purge?a=1"


def speak_tls(server: Server, certificate: Path, key: Path) -> None:
    """From now on, before anybody has connected."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
