"""Sends a hook's request: a POST with the paths as its body. Knows HTTP, nothing of replicas.

Any answer of 200 to 299 will do; a redirect is none. Proxies of the environment are not used.
"""

import http.client
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from urllib.parse import urlsplit

from common.version import program_version
from consumer.hook_calls import Came, Result, one_line

CONTENT_TYPE = "application/octet-stream"
CONNECT_SECONDS = 30.0


class RequestCall:
    """Implements `Call`."""

    def __init__(self, url: str, headers: Mapping[str, str], timeout_seconds: float) -> None:
        self._parts = urlsplit(url)
        self._headers = headers
        self._timeout_seconds = timeout_seconds
        self._deadline = threading.Timer(timeout_seconds, self._time_out)
        self._is_late = threading.Event()
        self._aborted = threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    def abort(self) -> None:
        """End it soon."""
        self._aborted.set()
        self._hang_up()

    def run(self, listing: bytes) -> Result:
        """Send it, and wait for the answer."""
        self._deadline.daemon = True
        self._deadline.start()
        try:
            return self._judged(self._post(listing))
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._aborted.is_set():
                return Result(Came.STOPPED)
            if isinstance(error, TimeoutError) or self._is_late.is_set():
                return Result(Came.TIMEOUT, f"no answer within {self._timeout_seconds:g} s")
            return Result(Came.FAILED, one_line(f"{type(error).__name__}: {error}"))
        finally:
            self._deadline.cancel()
            if self._connection is not None:
                self._connection.close()

    def _post(self, listing: bytes) -> int:
        connection = self._connected()
        target = self._parts.path or "/"
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": f"treecast/{program_version()}", **self._headers}
        connection.request("POST", f"{target}?{self._parts.query}" if self._parts.query else target, listing, headers)
        return connection.getresponse().status

    def _connected(self) -> http.client.HTTPConnection:
        is_tls = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        host, port = self._parts.hostname or "", self._parts.port or (443 if is_tls else 80)
        self._connection = connection = kind(host, port, timeout=min(CONNECT_SECONDS, self._timeout_seconds))
        connection.connect()
        connection.sock.settimeout(self._timeout_seconds)
        if self._aborted.is_set():
            raise ConnectionAbortedError
        return connection

    def _time_out(self) -> None:
        self._is_late.set()
        self._hang_up()

    def _hang_up(self) -> None:
        """RACE: it may not be connected yet; that has a limit of its own."""
        connected = getattr(self._connection, "sock", None)
        if isinstance(connected, socket.socket):
            with suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)

    def _judged(self, status: int) -> Result:
        return Result(Came.OK) if 200 <= status < 300 else Result(Came.FAILED, f"it answered {status}")
