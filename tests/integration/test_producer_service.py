import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.board import Board
from common.entries import Position
from common.errors import AlreadyRunningError, TreecastError
from common.messages import Batch, Downstream, Heartbeat, ReplicaState, Report
from common.orders import Orders
from common.settings import ProduceSettings
from common.transport.broker import open_broker
from common.transport.ports import Outgoing, Route
from common.wire import codec
from producer import service
from tests.waiting import eventually

TREE = "music"


def _settings(base: Path, state: str = "state") -> ProduceSettings:
    (base / "source").mkdir(exist_ok=True)
    (base / "source" / "always").write_text("there")
    return ProduceSettings(
        tree=TREE,
        broker=f"sqlite:///{base}/queue.db",
        state=base / state,
        source=base / "source",
    )


@contextmanager
def _running(settings: ProduceSettings) -> Iterator[Board]:
    board, stop = Board("producer", TREE), threading.Event()
    errors: list[TreecastError] = []

    def run() -> None:
        try:
            service.run(settings, stop, board, Orders())
        except TreecastError as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield board
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive(), "it ends within seconds"
        assert not errors, errors


def test_a_service_publishes_to_a_real_queue_and_a_restart_goes_on(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    broker = open_broker(settings.broker, TREE)
    talker = broker.publisher(wake=lambda: None, declare=False)
    subscriber = broker.replica_subscriber("paris", wake=lambda: None)
    report = Report(TREE, "paris", bytes(16), Position(0, 0), False, ReplicaState.NO_QUEUE, 9, "1", 1)
    heard: list[Downstream] = []

    def hears(kind: type[Batch] | type[Heartbeat], sequence: int) -> bool:
        while delivery := subscriber.receive(0.05):
            heard.append(codec.decode_downstream(delivery.body, TREE))
            subscriber.settle(delivery)
        last = heard[-1] if heard else None
        return isinstance(last, kind) and (last.last if isinstance(last, Batch) else last.sequence) == sequence

    try:
        with _running(settings) as board:
            eventually(lambda: board.is_ready, what="ready")
            eventually(lambda: talker.link.is_open, what="open")
            talker.publish(Outgoing(Route.UPSTREAM, codec.encode(report)))
            eventually(lambda: hears(Heartbeat, 0), what="a heartbeat")
            (tmp_path / "a").write_text("a")
            (tmp_path / "a").rename(tmp_path / "source" / "a")
            eventually(lambda: hears(Batch, 1), what="a batch")
            eventually(lambda: bool(board.status()["quiet"]), what="quiet")
        with _running(settings) as board:
            eventually(lambda: hears(Heartbeat, 1), what="the heartbeat of a new epoch")
    finally:
        talker.close(1)
        subscriber.close(1)
    assert len({message.lineage.epoch for message in heard}) == 2
    assert sum(isinstance(message, Batch) for message in heard) == 1


def test_a_second_process_on_one_state_directory_ends_at_once(tmp_path: Path) -> None:
    settings = _settings(tmp_path)
    with _running(settings) as board:
        eventually(lambda: board.is_ready, what="ready")
        with pytest.raises(AlreadyRunningError):
            service.run(settings, threading.Event(), Board("producer", TREE), Orders())


def test_a_newcomer_waits_while_another_leads_and_takes_over_when_it_ends(tmp_path: Path) -> None:
    with _running(_settings(tmp_path)) as first:
        eventually(lambda: first.is_ready, what="ready")
        newcomer = _running(_settings(tmp_path, "other"))
        board = newcomer.__enter__()
        eventually(lambda: board.status()["state"] == "waiting", what="waiting")
        assert not board.is_ready
    eventually(lambda: board.is_ready, what="ready")
    newcomer.__exit__(None, None, None)
