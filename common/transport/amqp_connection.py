"""Keeps one connection to a RabbitMQ, in a thread of its own. Knows pika's connection; knows no exchange, queue or message.

Nothing but `post` and `close` may be called from outside the connection's thread. The thread never dies of an error: whatever
a session or pika throws is logged, the connection is dropped, and a new one is made.
"""

import contextlib
import logging
import random
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import parse_qsl

import pika
from pika import exceptions
from pika.adapters.select_connection import IOLoop, SelectConnection
from pika.adapters.utils.connection_workflow import AMQPConnectionWorkflowFailed
from pika.connection import Connection

from common.errors import SettingError
from common.names import escape
from common.transport.backoff import Backoff
from common.transport.ports import Link, Phase
from common.transport.urls import SETTING, AmqpUrl

log = logging.getLogger("treecast.amqp")

RETRY_FIRST_SECONDS = 0.2
RETRY_LIMIT_SECONDS = 10.0
REFUSED_RETRY_SECONDS = 5.0
STEADY_SECONDS = 10.0
"""A connection that lasted this long was a good one: the next loss is answered at once again."""
HEARTBEAT_SECONDS = 15
"""The broker gives a dead connection up after two to three of these: before a newcomer that waits for the lead gives up."""
BLOCKED_LIMIT_SECONDS = 300.0
"""A connection that the broker blocks for longer is given up, and made anew."""
URL_OPTIONS = "cafile, certfile, keyfile, verify=none, heartbeat"

Job = Callable[[], None]


class Session(Protocol):
    """What lives on a connection. Everything here is called in the connection's thread."""

    def opened(self, connection: Connection) -> None:
        """There is a connection; it may open channels."""

    def lost(self, link: Link) -> None:
        """There is none, or none any more, and why. All its channels are gone."""

    def blocked(self, reason: str) -> None:
        """The broker takes no publishes on it."""

    def unblocked(self) -> None:
        """It does again."""


class AmqpConnection:
    """One connection at a time, for ever, until `close`."""

    def __init__(self, parameters: pika.ConnectionParameters, session: Session) -> None:
        # pika tells each failure in ten lines; the session says it in one.
        logging.getLogger("pika").setLevel(logging.CRITICAL)
        self._parameters = parameters
        self._session = session
        self._loop = IOLoop()
        self._connection: SelectConnection | None = None
        self._generation = 0
        self._backoff = Backoff(RETRY_FIRST_SECONDS, RETRY_LIMIT_SECONDS)
        self._opened_at: float | None = None
        self._jobs: deque[Job] = deque()
        self._is_closing = False
        self._is_ended = False
        self._thread = threading.Thread(target=self._run, name="amqp", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self.post(self._connect)
        self._thread.start()

    def post(self, job: Job) -> None:
        """Have this done in the connection's thread, soon and in order. From any thread; nothing happens after the end."""
        self._jobs.append(job)
        self._loop.add_callback_threadsafe(self._do_jobs)

    def later(self, seconds: float, job: Job) -> None:
        """Have this done after a time, unless the connection is lost before."""
        generation = self._generation

        def if_still_there() -> None:
            if generation == self._generation:
                self._do(job)

        self._loop.call_later(seconds, if_still_there)

    def buffered_bytes(self) -> int:
        """What pika holds and has not given to the system yet. From any thread."""
        connection = self._connection
        transport = getattr(connection, "_transport", None)  # pika has no public name for it
        return transport.get_write_buffer_size() if transport is not None else 0

    def drop(self, why: str) -> None:
        """Cut the connection; a new one is made after the back-off."""
        connection: Any = self._connection
        if connection is not None and not connection.is_closed:
            # As pika itself does when heartbeats fail to come; `close` would wait for the broker.
            connection._terminate_stream(exceptions.StreamLostError(why))

    def close(self, timeout_seconds: float) -> None:
        """Close in order, by force after the time, and end the thread. Idempotent."""
        if not self._thread.is_alive():
            return
        self.post(self._begin_close)
        self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            self.post(self._end)
            self._thread.join(1.0)

    def _run(self) -> None:
        while not self._is_ended:
            try:
                self._loop.start()
            except Exception as error:
                log.exception("the AMQP thread goes on after an error in pika")
                self._abandon(error)
        self._loop.close()

    def _abandon(self, error: Exception) -> None:
        """Go on with a loop and a connection that pika's error did not see."""
        old_loop, self._loop = self._loop, IOLoop()
        sock = getattr(getattr(self._connection, "_transport", None), "_sock", None)
        with contextlib.suppress(Exception):
            old_loop.close()
        if sock is not None:
            sock.close()
        self._on_lost(None, error)
        self._loop.add_callback_threadsafe(self._do_jobs)

    def _do_jobs(self) -> None:
        while self._jobs:
            self._do(self._jobs.popleft())

    def _do(self, job: Job) -> None:
        try:
            job()
        except Exception as error:
            log.exception("the AMQP connection is made anew after an error")
            self.drop(repr(error))

    def _connect(self) -> None:
        if self._is_closing:
            self._end()
            return
        try:
            self._connection = SelectConnection(
                self._parameters,
                on_open_callback=self._on_open,
                on_open_error_callback=self._on_lost,
                on_close_callback=self._on_lost,
                custom_ioloop=self._loop,
            )
        except (exceptions.AMQPError, OSError, ValueError, RuntimeError) as error:
            self._on_lost(None, error)

    def _on_open(self, connection: Connection) -> None:
        self._opened_at = time.monotonic()
        connection.add_on_connection_blocked_callback(
            lambda _connection, frame: self._session.blocked(_text(frame.method.reason))
        )
        connection.add_on_connection_unblocked_callback(lambda _connection, _frame: self._session.unblocked())
        self._do(lambda: self._session.opened(connection))

    def _on_lost(self, _connection: Connection | None, error: str | Exception) -> None:
        self._connection = None
        self._generation += 1
        if self._is_closing:
            self._end()
            return
        link = lost_link(error, f"{self._parameters.host}:{self._parameters.port}")
        self._do(lambda: self._session.lost(link))
        if self._opened_at is not None and time.monotonic() - self._opened_at > STEADY_SECONDS:
            self._backoff.reset()
        self._opened_at = None
        seconds = self._backoff.next_seconds(random.random())
        if link.phase is Phase.REFUSED:
            seconds = REFUSED_RETRY_SECONDS
        self._loop.call_later(seconds, lambda: self._do(self._connect))

    def _begin_close(self) -> None:
        self._is_closing = True
        connection = self._connection
        if connection is None:
            self._end()
        elif not (connection.is_closing or connection.is_closed):
            connection.close()

    def _end(self) -> None:
        self._is_ended = True
        self.drop("closed by force")
        # pika closes the socket in the loop's next turn.
        self._loop.call_later(0, self._loop.stop)


def lost_link(error: object, where: str) -> Link:
    """Why there is no connection to `where`, as a link: `REFUSED` with the broker's words, or `CONNECTING`."""
    inner = _innermost(error)
    refused = exceptions.ProbableAuthenticationError | exceptions.ProbableAccessDeniedError
    is_refused = isinstance(inner, refused | exceptions.AuthenticationError) or (
        isinstance(inner, exceptions.ConnectionClosedByBroker) and inner.reply_code in {403, 530}
    )
    return Link(Phase.REFUSED if is_refused else Phase.CONNECTING, f"{_text(where)}: {words_of(inner)}")


def parameters_for(url: AmqpUrl, *, password: str | None, name: str) -> pika.ConnectionParameters:
    """What pika needs to connect, and the name that the broker shows for it. Raises SettingError for a wrong option or file."""
    options = dict(parse_qsl(url.query, keep_blank_values=True))
    secret = url.password if password is None else password
    parameters = pika.ConnectionParameters(
        host=url.host,
        port=url.port,
        virtual_host=url.vhost,
        credentials=pika.PlainCredentials(url.user or "guest", secret or ("" if url.user else "guest")),
        heartbeat=_heartbeat_seconds(options.pop("heartbeat", str(HEARTBEAT_SECONDS))),
        blocked_connection_timeout=BLOCKED_LIMIT_SECONDS,
        client_properties={"connection_name": name},
    )
    if url.is_tls:
        parameters.ssl_options = pika.SSLOptions(_tls_context(options), url.host)
    if options:
        raise SettingError(SETTING, f"?{'&'.join(options)}", URL_OPTIONS)
    return parameters


def _tls_context(options: dict[str, str]) -> ssl.SSLContext:
    cafile, certfile, keyfile = (options.pop(name, None) for name in ("cafile", "certfile", "keyfile"))
    verify = options.pop("verify", "peer")
    if verify not in {"peer", "none"}:
        raise SettingError(SETTING, f"verify={verify}", "verify=peer, or verify=none to trust whoever answers")
    try:
        context = ssl.create_default_context(cafile=cafile)
        if certfile is not None:
            context.load_cert_chain(certfile, keyfile)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise SettingError(SETTING, cafile or certfile, f"readable PEM files ({error})") from error
    if verify == "none":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _heartbeat_seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 3600):
        raise SettingError(SETTING, f"heartbeat={text}", "1 to 3600 seconds")
    return int(text)


def _innermost(error: object) -> object:
    while True:
        deeper = (
            error.exceptions[-1]
            if isinstance(error, AMQPConnectionWorkflowFailed)
            else getattr(error, "exception", None)
        )
        if deeper is None and isinstance(error, Exception) and error.args and isinstance(error.args[0], Exception):
            deeper = error.args[0]
        if deeper is None:
            return error
        error = deeper


def words_of(error: object) -> str:
    """An error for a person: the broker's own words where it has some, in one printable line."""
    if isinstance(error, exceptions.ConnectionClosed | exceptions.ChannelClosed):
        text = f"{error.reply_text} ({error.reply_code})"
    elif isinstance(error, Exception):
        text = str(error.args[0]) if error.args and isinstance(error, exceptions.AMQPError) else str(error)
    else:
        text = str(error)
    return _text(text) or type(error).__name__


def _text(words: str) -> str:
    # The broker's words go to logs and terminals.
    return escape(words.encode("utf-8", "surrogateescape"))
