"""Sends a hook's request: a POST with the paths as its body. Knows HTTP, nothing of replicas.

Any answer of 200 to 299 will do; a redirect is none. Proxies of the environment are not used.
"""

import http.client
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import ExitStack, closing, suppress
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
        self._line: socket.socket | None = None
        """A second hold on what the request goes through: TLS takes the first away while it greets."""

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
            if self._line is not None:
                self._line.close()

    def _post(self, listing: bytes) -> int:
        with closing(self._connected()) as connection:
            target = self._parts.path or "/"
            headers = {"Content-Type": CONTENT_TYPE, "User-Agent": f"treecast/{program_version()}", **self._headers}
            connection.request(
                "POST", f"{target}?{self._parts.query}" if self._parts.query else target, listing, headers
            )
            return connection.getresponse().status

    def _connected(self) -> http.client.HTTPConnection:
        is_tls = self._parts.scheme == "https"
        kind = http.client.HTTPSConnection if is_tls else http.client.HTTPConnection
        host, port = self._parts.hostname or "", self._parts.port or (443 if is_tls else 80)
        connected = socket.create_connection((host, port), min(CONNECT_SECONDS, self._timeout_seconds))
        with ExitStack() as failing:
            failing.enter_context(connected)
            self._line = connected.dup()
            # From here on whoever ends it can; what came before has a limit of its own.
            self._check_time()
            if is_tls:
                connected = ssl.create_default_context().wrap_socket(connected, server_hostname=host)
            failing.pop_all()
        connected.settimeout(self._timeout_seconds)
        connection = kind(host, port)
        connection.sock = connected
        return connection

    def _check_time(self) -> None:
        if self._aborted.is_set():
            raise ConnectionAbortedError
        if self._is_late.is_set():
            raise TimeoutError

    def _time_out(self) -> None:
        self._is_late.set()
        self._hang_up()

    def _hang_up(self) -> None:
        """RACE: it may not be connected yet, or over."""
        if self._line is not None:
            with suppress(OSError):
                self._line.shutdown(socket.SHUT_RDWR)

    def _judged(self, status: int) -> Result:
        return Result(Came.OK) if 200 <= status < 300 else Result(Came.FAILED, f"it answered {status}")
