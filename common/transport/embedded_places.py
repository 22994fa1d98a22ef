"""Decides what the embedded queue calls its queues, and where their lock and bell lie. Touches none of them.

Names are those that RabbitMQ would have. Names of trees and replicas have no dot, so no two are ever the same.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    """One tree in one database file."""

    database: Path
    tree: str

    @property
    def events(self) -> str:
        """The address that every replica's queue also reads."""
        return f"{self.tree}.events"

    @property
    def upstream(self) -> str:
        """The producer's own queue."""
        return f"{self.tree}.upstream"

    def replica_queue(self, replica: str) -> str:
        """The queue of one replica."""
        return f"{self.tree}.replica.{replica}"

    @property
    def directory(self) -> Path:
        """Where locks and bells lie, beside the database."""
        return self.database.with_name(self.database.name + ".queues")

    def lock(self, queue: str) -> Path:
        """Whoever has this lock is the queue's one consumer."""
        return self.directory / f"{queue}.lock"

    def bell(self, queue: str) -> Path:
        """Rung when the queue has news."""
        return self.directory / f"{queue}.bell"
