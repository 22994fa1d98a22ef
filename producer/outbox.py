"""Does: the journal's table of batches that no broker has confirmed yet, as they were published. Knows no broker.

Part of a journal: shares its connection, its transactions and its errors.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from producer.access import Access

_NEXT = "SELECT first, message FROM outbox WHERE first > ? ORDER BY first LIMIT 1"


class Unconfirmed(NamedTuple):
    """A batch: its first sequence and its bytes, as they were published."""

    first: int
    message: bytes


class Outbox:
    """See the module."""

    def __init__(self, access: Access) -> None:
        self._database, self._transaction, self._converted = access
        self._confirmed: list[int] = []

    def unconfirmed(self) -> Iterator[Unconfirmed]:
        """The batches that are not forgotten, in order, read one at a time."""
        after = -1
        while row := self._next(after):
            yield Unconfirmed(*row)
            after = row[0]

    def _next(self, after: int) -> tuple[int, bytes] | None:
        with self._converted():
            row: tuple[int, bytes] | None = self._database.execute(_NEXT, (after,)).fetchone()
        return row

    def confirmed(self, firsts: Iterable[int]) -> None:
        """The broker has these batches. They are forgotten with the journal's next commit, or by `forget`; until then a restart
        publishes them again, which harms nobody."""
        self._confirmed.extend(firsts)

    def forget(self) -> None:
        """Forget now what was confirmed. Idempotent."""
        if self._confirmed:
            with self._transaction():
                self.drop_confirmed()
            self.settled()

    # -- inside the journal's own transactions

    def put(self, first: int, last: int, message: bytes) -> None:
        """One more batch."""
        self._database.execute("INSERT INTO outbox (first, last, message) VALUES (?, ?, ?)", (first, last, message))

    def drop_confirmed(self) -> None:
        """What was confirmed goes; `settled` comes when that is durable."""
        self._database.executemany("DELETE FROM outbox WHERE first = ?", [(first,) for first in self._confirmed])

    def clear(self) -> None:
        """Everything goes, confirmed or not; `settled` comes when that is durable."""
        self._database.execute("DELETE FROM outbox")

    def settled(self) -> None:
        """The transaction is durable."""
        self._confirmed = []
