"""A fleet that is there by its reports alone: they are published upstream as consumers do, each replica's every few seconds."""

import threading
import time
from types import TracebackType
from typing import Any, Self

from common.entries import Position
from common.messages import Lineage, ReplicaState, Report
from common.transport.broker import open_broker
from common.transport.ports import Outgoing, Route
from common.wire import codec
from producer.snapshots import Snapshots
from tests.services import Fleet

REPORT_SECONDS = 5.0


class SimulatedFleet:
    """Replicas `r000` and on, of a producer that runs. A context, in which they speak; they say to be equal wherever the producer
    is, and say so at once when it moves on, but for those that `odd` gives other words."""

    def __init__(self, fleet: Fleet, count: int) -> None:
        self._fleet = fleet
        self.names = [f"r{number:03}" for number in range(count)]
        self.odd: dict[str, dict[str, Any]] = {}
        """Name to fields of its report that are others."""
        self.reports = 0
        journal = Snapshots(fleet.producer.state / "journal.db")
        with journal.reading() as snapshot:
            self._lineage: Lineage = snapshot.lineage
        self._broker = open_broker(fleet.broker, fleet.tree)
        self._publisher = self._broker.publisher(wake=lambda: None, declare=False)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        """A slice of the fleet after the other, so that a period is filled evenly."""
        position, slices = Position(0, 0), 50
        number = 0
        while not self._stop.wait(REPORT_SECONDS / slices):
            here = self._fleet.producer.position if number % 5 == 0 else position
            is_news = here != position
            position = here
            for name in self.names if is_news else self.names[number % slices :: slices]:
                self._say(name, position)
            number += 1

    def _say(self, name: str, position: Position) -> None:
        if not position.epoch:
            return
        labels = f"region={'eu' if int(name[1:]) % 3 else 'us'},role=web"
        fields: dict[str, Any] = {
            "position": position, "agreed": True, "state": ReplicaState.FOLLOWING, "stale_buckets": 0,
            **self.odd.get(name, {}),
        }  # fmt: skip
        details = {"labels": labels, "entries": 100, "ready": True, **fields.pop("details", {})}
        report = Report(
            self._lineage.tree,
            name,
            self._lineage.instance,
            version="1.0",
            wire=1,
            unix_ns=time.time_ns(),
            details=details,
            **fields,
        )
        self._publisher.publish(Outgoing(Route.UPSTREAM, codec.encode(report)))
        self.reports += 1

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._publisher.close(1.0)
