"""Does: the producer as a process: lock, journal, broker, source and watch are opened, the loop runs, all is closed in order.

Knows how the parts are made from the settings; nothing of what they do.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from common.board import Board
from common.errors import NoRoomError, RefusedError
from common.lock import ProcessLock, this_process
from common.messages import Heartbeat
from common.orders import Handler, Orders
from common.patterns import Patterns
from common.places import make_state_directory
from common.settings import ProduceSettings
from common.transport.broker import open_broker
from common.transport.ports import Broker, Publisher
from common.transport.urls import shown
from common.version import program_version
from common.wire.codec import decode_downstream
from producer import fleet_figures
from producer.answering_process import AnsweringProcess
from producer.carrying import Carrying
from producer.command_orders import command_handlers
from producer.epoch_orders import LOCK_NAME, epoch_handlers
from producer.epochs import HELD_LIMIT_SECONDS
from producer.fleet_orders import fleet_handlers
from producer.hold_orders import hold_handlers
from producer.journal import Journal
from producer.journal_schema import JOURNAL_NAME
from producer.owners import OWNERS_OF
from producer.path_orders import path_handlers
from producer.pipeline import Pipeline
from producer.rereading import Rereading
from producer.source import Source
from producer.stream import begin_epoch
from producer.trace_orders import trace_handlers
from producer.wait_orders import wait_handlers
from producer.watch.choice import choose_watch
from producer.watch.port import Watch

log = logging.getLogger("treecast")

STOP_CHECK_SECONDS = 0.5
MARKS_NAME = "marks"
"""A directory in the state directory."""
CLOSE_SECONDS = 1.5
"""For each of the two ports, one after the other: with a broker that hangs, a stop still takes less than 5 s."""


def run(
    settings: ProduceSettings,
    stop: threading.Event,
    board: Board,
    orders: Orders,
    *,
    held_limit_seconds: float = HELD_LIMIT_SECONDS,
) -> None:
    """Produce until `stop` is set. What is numbered is durable; what is not will be found again at the next start.

    Raises AlreadyRunningError when another process has the state directory, or leads the tree for longer than the limit;
    StateError and HaltError when the journal cannot be used; SettingError.
    """
    log.info(
        "treecast %s: producer of tree %s, source %s, broker %s",
        program_version(), settings.tree, settings.source, shown(settings.broker),
    )  # fmt: skip
    board.tell(max_lag_seconds=settings.max_lag_seconds)
    board.gauge("max_lag_seconds", settings.max_lag_seconds)
    wake = threading.Event()
    orders.wake = wake.set
    with ExitStack() as parts:
        pipeline, journal = _open_pipeline(settings, board, wake, parts, held_limit_seconds)
        board.tables = lambda: fleet_figures.tables(pipeline.members.seen.view, settings.max_lag_seconds)
        rereading = _begin_rereading(settings, journal, board, wake)
        if rereading is not None:
            parts.callback(rereading.close, journal)
        handlers = _handlers(pipeline, settings, board)
        _loop(pipeline, lambda: orders.serve(handlers), stop, wake, lambda: _serve(rereading, pipeline, journal))


def _open_pipeline(
    settings: ProduceSettings, board: Board, wake: threading.Event, parts: ExitStack, held_limit_seconds: float
) -> tuple[Pipeline, Journal]:
    """All that a producer has, open until `parts` is closed: then the last one opened is the first to be closed."""
    journal = _open_journal(settings, parts)
    broker = _open_broker(settings)
    publisher = broker.publisher(wake=wake.set, declare=True)
    parts.callback(_close_publisher, publisher, journal)
    subscriber = broker.upstream_subscriber(holder=this_process(), wake=wake.set)
    parts.callback(subscriber.close, CLOSE_SECONDS)
    source = _open_source(settings)
    parts.callback(source.close)
    answerer = AnsweringProcess(journal.path, settings.source, board, wake.set, settings.exclude)
    parts.callback(answerer.close)
    pipeline = Pipeline(
        journal,
        source,
        board,
        publisher=publisher,
        subscriber=subscriber,
        answerer=answerer,
        make_watch=lambda: _make_watch(settings, source, wake),
        leader=this_process(),
        scan_interval_seconds=settings.scan_interval_seconds,
        wire_pin=settings.wire,
        wake=wake.set,
        bandwidth_bytes=settings.bandwidth_bytes,
        ready_floor=settings.ready_floor,
        hold=settings.hold,
        held_limit_seconds=held_limit_seconds,
    )
    parts.callback(pipeline.close)
    parts.callback(board.untick, "pipeline")
    return pipeline, journal


def _open_journal(settings: ProduceSettings, parts: ExitStack) -> Journal:
    """Held by this process until `parts` is closed, with an epoch for this run."""
    state = make_state_directory("TREECAST_STATE", settings.state)
    parts.enter_context(ProcessLock(state / LOCK_NAME))
    journal = Journal(state / JOURNAL_NAME, settings.tree, log_limit_rows=settings.log_limit)
    parts.callback(journal.close)
    begin_epoch(journal)
    return journal


def _open_broker(settings: ProduceSettings) -> Broker:
    return open_broker(
        settings.broker,
        settings.tree,
        password=settings.broker_password.get_secret_value() if settings.broker_password is not None else None,
        limits=settings.queue_limit,
        name_leader=lambda body: leader_named_in(body, settings.tree),
    )


def _open_source(settings: ProduceSettings) -> Source:
    return Source(
        settings.source,
        Patterns(settings.exclude),
        settle_seconds=settings.settle_seconds,
        carrying=Carrying(settings.symlinks, OWNERS_OF[settings.owner]),
        large_limit_bytes=settings.large_limit_bytes,
    )


def leader_named_in(body: bytes, tree: str) -> str | None:
    """Who leads, out of a message of the stream that is a heartbeat; None for any other."""
    try:
        message = decode_downstream(body, tree)
    except RefusedError:
        return None
    return (message.leader or None) if isinstance(message, Heartbeat) else None


def _begin_rereading(
    settings: ProduceSettings, journal: Journal, board: Board, wake: threading.Event
) -> Rereading | None:
    if settings.compare_interval_seconds is None:
        return None
    rereading = Rereading(journal.path, settings.source, settings.compare_interval_seconds, board, wake.set)
    rereading.start(journal.reread)
    return rereading


def _serve(rereading: Rereading | None, pipeline: Pipeline, journal: Journal) -> None:
    if rereading is not None:
        rereading.serve(pipeline.reread, journal, may_read=pipeline.may_reread)


def _handlers(pipeline: Pipeline, settings: ProduceSettings, board: Board) -> dict[str, Handler]:
    """What a person may ask of the loop."""
    return {
        **hold_handlers(pipeline),
        **epoch_handlers(pipeline),
        **fleet_handlers(pipeline),
        **command_handlers(pipeline),
        **wait_handlers(pipeline, board, os.fsencode(settings.source)),
        **path_handlers(settings.state / JOURNAL_NAME, os.fsencode(settings.source)),
        **trace_handlers(pipeline, settings.state / JOURNAL_NAME, os.fsencode(settings.source)),
    }


def _loop(
    pipeline: Pipeline,
    serve_orders: Callable[[], None],
    stop: threading.Event,
    wake: threading.Event,
    serve: Callable[[], None],
) -> None:
    while not stop.is_set():
        # Cleared before the step: what wakes during it is seen by the next one.
        wake.clear()
        serve_orders()
        serve()
        wait_seconds = pipeline.step(time.monotonic())
        if wait_seconds > 0:
            wake.wait(min(wait_seconds, STOP_CHECK_SECONDS))


def _make_watch(settings: ProduceSettings, source: Source, wake: threading.Event) -> Watch:
    marks = settings.state / MARKS_NAME
    return choose_watch(os.fsencode(settings.source), source.patterns, wake.set, settings.watch, marks)


def _close_publisher(publisher: Publisher, journal: Journal) -> None:
    """What was confirmed until the end is forgotten; what was not goes out again at the next start."""
    publisher.close(CLOSE_SECONDS)
    journal.outbox.confirmed(publisher.confirmed())
    try:
        journal.outbox.forget()
    except NoRoomError as error:
        log.info("confirmed batches will be published once more at the next start: %s", error)
