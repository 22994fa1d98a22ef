"""Does: the shell of a service process: options, settings, logs, board, listener, control socket, signals, exit code.

Knows no service: each is handed in, and is told through an event when to stop. What answers readers starts first, so that
it answers whatever the rest does.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from common import logs
from common.board import Board
from common.codes import DONE, INTERRUPTED
from common.control import ControlServer
from common.endings import guarded
from common.loading import Loaded, load_consume, load_produce
from common.options import parse_options
from common.orders import Orders
from common.places import check_apart, check_directory, make_state_directory
from common.settings import CommonSettings, ConsumeSettings, ProduceSettings, S
from common.transport.urls import EmbeddedUrl, parse_url, shown

log = logging.getLogger("treecast")

Service = Callable[[S, threading.Event, Board, Orders], None]
"""A service runs until the event is set, or raises. It tells the board how it is, and serves its orders."""
ProduceService = Service[ProduceSettings]
ConsumeService = Service[ConsumeSettings]

TRACE = "trace"
"""The one order that the listener takes too: it changes nothing."""
TRACE_SECONDS = 3.0
"""So long the listener waits for the loop."""
PRODUCE_VERBS: tuple[str, ...] = (
    "hold-list", "hold-show", "hold-release", "epoch-show", "epoch-start", "fleet", "replica-add", "replica-forget",
    "wait-begin", "wait-look", "hint-begin", "paths-unknown", "prove-begin", "prove-look", "scrub-begin", "scrub-look", TRACE,
)  # fmt: skip
"""What a person may order a producer's loop to do; `producer.service` serves them."""
CONSUME_VERBS: tuple[str, ...] = ("scrub", "hold-list", "hold-show", "hold-release")
"""What a person may order a consumer's loop to do; `consumer.service` serves them."""


def run_produce(arguments: Sequence[str], load: Callable[[], ProduceService], program: str) -> int:
    """Run a producer until it is stopped. Returns the exit code; prints one line to standard error where it failed.

    `load` imports the service: last, when the settings are known to be right and the listener answers.
    """

    def act() -> int:
        options, config = parse_options("produce", arguments, program)
        loaded = load_produce(options, config, os.environ)
        board = Board("producer", loaded.settings.tree)
        return _run(loaded, "source", loaded.settings.source, board, load, PRODUCE_VERBS)

    return guarded(act)


def run_consume(arguments: Sequence[str], load: Callable[[], ConsumeService], program: str) -> int:
    """Run a consumer until it is stopped; see `run_produce`."""

    def act() -> int:
        options, config = parse_options("consume", arguments, program)
        loaded = load_consume(options, config, os.environ)
        board = Board("consumer", loaded.settings.tree, loaded.settings.replica)
        return _run(loaded, "target", loaded.settings.target, board, load, CONSUME_VERBS)

    return guarded(act)


def _run(
    loaded: Loaded[S],
    root_name: str,
    root: Path,
    board: Board,
    load: Callable[[], Service[S]],
    order_names: Sequence[str],
) -> int:
    settings, orders = loaded.settings, Orders()
    logs.set_up(settings.log_level, settings.log_format)
    for line in loaded.warnings:
        log.warning("%s", line)
    with ExitStack() as open_parts, _stop_signals() as (stop, received):
        if settings.listen is not None:
            from common.listen import Listener

            trace = orders.verb(TRACE, TRACE_SECONDS) if TRACE in order_names else None
            listener = Listener(loaded.spelled("listen"), settings.listen, board, status_verb(board, settings), trace)
            open_parts.callback(listener.close)
        check_directory(loaded.spelled(root_name), root)
        check_apart(loaded.spelled("state"), settings.state, root)
        _check_queue_apart(loaded, root)
        make_state_directory(loaded.spelled("state"), settings.state)
        verbs = {"status": status_verb(board, settings)} | {name: orders.verb(name) for name in order_names}
        control = ControlServer(settings.state, holder(board), verbs, os.environ)
        open_parts.callback(control.close)
        load()(settings, stop, board, orders)
    return INTERRUPTED if received[:1] == [signal.SIGINT] else DONE


def _check_queue_apart(loaded: Loaded[S], root: Path) -> None:
    place = parse_url(loaded.settings.broker)
    if isinstance(place, EmbeddedUrl):
        check_apart(loaded.spelled("broker"), place.path, root)


def holder(board: Board) -> str:
    """What a process is found by: its tree, and its role or replica."""
    return f"{board.tree}.{board.replica or board.role}"


def status_verb(board: Board, settings: CommonSettings) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The verb `status`: what the board has, and which process this is."""
    from common.version import program_version

    started = time.monotonic()

    def status(_: Mapping[str, Any]) -> dict[str, Any]:
        figures = {name: value for (name, label), value in board.figures().items() if not label}
        return {
            "position": None,
            "agreed": False,
            "dirty": int(figures.get("dirty_paths", 0)),
            "unconfirmed": int(figures.get("unconfirmed_batches", 0)),
            **board.status(),
            "figures": figures,
            "version": program_version(),
            "pid": os.getpid(),
            "uptime_seconds": round(time.monotonic() - started, 1),
            "state_directory": str(settings.state),
            "broker": shown(settings.broker),
        }

    return status


@contextmanager
def _stop_signals() -> Iterator[tuple[threading.Event, list[int]]]:
    """An event that the first SIGTERM or SIGINT sets, and the signals that came. The second one ends the process at once.

    The event is set by a thread that reads the signals' numbers from a socket: a handler that runs inside the main
    thread's own `stop.wait()` could meet the event's lock held, and never return.
    """
    stop = threading.Event()
    received: list[int] = []
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch() -> None:
        while numbers := reader.recv(16):
            for number in numbers:
                if number not in (signal.SIGTERM, signal.SIGINT):
                    continue
                received.append(number)
                if len(received) > 1:
                    os._exit(128 + number)
                log.info("%s: stopping", signal.Signals(number).name)
                stop.set()

    before = [(one, signal.signal(one, lambda *_: None)) for one in (signal.SIGTERM, signal.SIGINT)]
    old_descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield stop, received
    finally:
        signal.set_wakeup_fd(old_descriptor)
        for one, handler in before:
            signal.signal(one, handler)
        writer.close()
        watcher.join(timeout=2)
        reader.close()
