"""Does: answers readers over HTTP: /metrics, /status, /healthz, /readyz, and beside the master /trace. Nothing can be changed
through it.

Knows the board; no broker, no disk. It starts first and works while everything else does not.
"""

import json
import logging
import socket
import socketserver
import threading
from base64 import b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import unquote_to_bytes

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from common import error_json
from common.board import Board
from common.endings import line_for
from common.errors import SettingError, TreecastError
from common.names import PATH_LIMIT_BYTES
from common.quantities import ListenAddress
from common.scraping import BoardCollector

log = logging.getLogger("treecast")

REQUEST_TIMEOUT_SECONDS = 10.0
REQUESTS_AT_ONCE = 16
QUERY_PATH_LIMIT_BYTES = 2 * PATH_LIMIT_BYTES
"""It may begin with where the source lies."""
NUMBER_LIMIT_DIGITS = 10

PLAIN = "text/plain; charset=utf-8"

Status = Callable[[dict[str, Any]], dict[str, Any]]
"""Tells everything that `treecast status --json` shows; the argument is not used."""
Trace = Callable[[dict[str, Any]], dict[str, Any]]
"""Tells what `treecast trace --json` shows of a `path` (base64), `n` changes at most."""
Page = tuple[int, str, bytes]
"""Status, content type, body."""
JSON = "application/json"


class _Server(socketserver.ThreadingMixIn, HTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, address: ListenAddress, board: Board, status: Status, trace: Trace | None) -> None:
        self.board = board
        self.status = status
        self.trace = trace
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(BoardCollector(board))
        ProcessCollector(registry=self.registry)
        self._room = threading.BoundedSemaphore(REQUESTS_AT_ONCE)
        self._is_any = not address.host
        self.address_family = self._family(address.host)
        super().__init__(
            (address.host or ("::" if self.address_family == socket.AF_INET6 else "0.0.0.0"), address.port), _Handler
        )

    def _family(self, host: str) -> socket.AddressFamily:
        is_six = ":" in host or (not host and socket.has_dualstack_ipv6())
        return socket.AF_INET6 if is_six else socket.AF_INET

    def server_bind(self) -> None:
        """Without HTTPServer's look-up of the host's own name, which can hang for longer than a start may take."""
        if self._is_any and self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[0], self.server_address[1]  # type: ignore[assignment]

    def process_request(self, request: "socket.socket | tuple[bytes, socket.socket]", client_address: object) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(
        self, request: "socket.socket | tuple[bytes, socket.socket]", client_address: object
    ) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: object, client_address: object) -> None:
        log.debug("a request from %s failed", client_address)


class _Handler(BaseHTTPRequestHandler):
    timeout = REQUEST_TIMEOUT_SECONDS
    protocol_version = "HTTP/1.1"
    server_version = "treecast"
    sys_version = ""
    server: _Server

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def _answer(self, *, with_body: bool) -> None:
        path, _, query = self.path.partition("?")
        status, content_type, body = self._page(path, query)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if with_body:
            self.wfile.write(body)

    def _page(self, path: str, query: str) -> Page:
        match path:
            case "/metrics":
                encode, content_type = choose_encoder(self.headers.get("Accept", ""))
                return 200, content_type, encode(self.server.registry)
            case "/status":
                return 200, JSON, json.dumps(self.server.status({})).encode()
            case "/trace" if self.server.trace is not None:
                return trace_page(self.server.trace, query)
            case "/healthz":
                return health_page(self.server.board)
            case "/readyz":
                return readiness_page(self.server.board)
        return 404, PLAIN, b"not found; there are /metrics, /status, /healthz and /readyz\n"

    def log_message(self, format: str, *args: object) -> None:
        log.debug("%s asked: %s", self.client_address[0], ascii(format % args))


def trace_page(trace: Trace, query: str) -> Page:
    """What became of a path: `path=` with any byte percent-encoded, `n=`. An error is told as `error_json` says."""
    try:
        return 200, JSON, json.dumps(trace(_trace_arguments(query))).encode()
    except TreecastError as error:
        status = 400 if isinstance(error, SettingError) else 503
        return status, JSON, json.dumps(error_json.told(error, line_for(error))).encode()


def _trace_arguments(query: str) -> dict[str, Any]:
    told = dict(part.partition("=")[::2] for part in query.split("&"))
    path = unquote_to_bytes(told.get("path", ""))
    if not 0 < len(path) <= QUERY_PATH_LIMIT_BYTES:
        raise SettingError("path", f"{len(path)} bytes", f"1 to {QUERY_PATH_LIMIT_BYTES}, as in /trace?path=a/b")
    number = {"n": int(told["n"])} if told.get("n", "").isdecimal() and len(told["n"]) < NUMBER_LIMIT_DIGITS else {}
    return {"path": b64encode(path).decode(), **number}


def health_page(board: Board) -> Page:
    """200 while every loop of this process ticks; broker, producer and disk do not matter."""
    silent = board.silent_loops()
    return (503, PLAIN, f"silent: {', '.join(silent)}\n".encode()) if silent else (200, PLAIN, b"ok\n")


def readiness_page(board: Board) -> Page:
    """200 when this process may be relied on: a replica has its first copy, a producer leads."""
    return (200, PLAIN, b"ready\n") if board.is_ready else (503, PLAIN, b"not ready yet\n")


class Listener:
    """The HTTP server in a thread of its own. Raises SettingError, naming `setting`, when the address cannot be had."""

    def __init__(
        self, setting: str, address: ListenAddress, board: Board, status: Status, trace: Trace | None = None
    ) -> None:
        """`trace`: what answers /trace; None: nothing does."""
        try:
            self._server = _Server(address, board, status, trace)
        except (OSError, OverflowError) as error:
            raise SettingError(setting, str(address), f"an address that is free on this machine ({error})") from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.2,), name="listener", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=2)
