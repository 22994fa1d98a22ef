"""Hears what producers publish, and takes it to the plain truth as what was told. Reads journals by plain SQL."""

from collections.abc import Collection
from dataclasses import dataclass, field

from common.transport.ports import Outgoing, Route
from tests.machine.answer_laws import check_answer
from tests.machine.disk import Node
from tests.machine.process import databases
from tests.machine.producing import ProducerProcess
from tests.machine.reference import Published
from tests.machine.rules import Rules, document_of
from tests.machine.wire import HEARTBEAT, PATTERNS, Read, apart, digest_of, read


@dataclass
class Ear:
    """`rules`: all patterns that there ever were."""

    published: Published
    rules: Collection[Rules]
    heard: list[Outgoing] = field(default_factory=list)
    """All that was ever handed over."""

    def hear(self, producer: ProducerProcess, message: Outgoing) -> None:
        """A producer hands a message over."""
        for one in apart(message.body):
            self._hear_one(producer, message.route, one)
        self.heard.append(message)

    def _hear_one(self, producer: ProducerProcess, route: Route, message: bytes) -> None:
        told = read(message)
        self.published.note_released(told)
        if route is Route.EVENTS:
            if told.kind == HEARTBEAT and (told.epoch, told.instance) not in self.published.epochs:
                self._begin_epoch(producer, told)
            self.published.hear(message)
        else:
            self.published.hear_answer(message)
            check_answer(self.published, told, producer.board.problem_paths())

    def hear_outbox(self, journal_path: str) -> None:
        """What is in the outbox was published as far as the laws go, whether the last run came to hand it over or not."""
        database = databases.connect(journal_path)
        try:
            if database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'outbox'").fetchone()[0]:
                for (message,) in database.execute("SELECT message FROM outbox ORDER BY first").fetchall():
                    self.published.hear(message)
        finally:
            databases.end(journal_path)

    def _begin_epoch(self, producer: ProducerProcess, told: Read) -> None:
        """It is announced: it starts from what the journal holds now, and each row of that must have been true once."""
        rules = self._rules_in(producer)
        rows = producer.journal._database.execute(
            "SELECT path, kind, mode, mtime_ns, digest FROM entry WHERE path <> ?", (PATTERNS,)
        )
        tree: dict[bytes, Node] = {row[0]: self.published.node_of(*row) for row in rows.fetchall()}
        self.published.begin_epoch(told, tree, rules)

    def _rules_in(self, producer: ProducerProcess) -> Rules:
        """The patterns that its journal has: its own once they are published, else those of an earlier run."""
        query = "SELECT digest FROM entry WHERE path = ?"
        row = producer.journal._database.execute(query, (PATTERNS,)).fetchone()
        return next(rules for rules in self.rules if digest_of(document_of(rules)) == row[0]) if row is not None else ()
