"""Does: the journal's tables of the replicas that belong to the fleet, and of those that were forgotten. Knows not why."""

from collections.abc import Iterable

from common.entries import Position
from common.labels import labels_text, parse_labels
from producer.access import Access
from producer.roster import Member

SCHEMA = """
CREATE TABLE replica (
    name TEXT PRIMARY KEY, labels TEXT NOT NULL, ephemeral INTEGER NOT NULL, added REAL NOT NULL, heard REAL NOT NULL,
    epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, version TEXT NOT NULL, wire INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE forgotten (name TEXT PRIMARY KEY, unix REAL NOT NULL) WITHOUT ROWID
"""
"""`epoch`, `sequence`: the last position at which it was level. `labels` as a person writes them."""
_SELECT = "SELECT name, labels, ephemeral, added, heard, epoch, sequence, version, wire FROM replica ORDER BY name"


class RosterRecord:
    """See the module. Part of a journal: shares its connection, its transactions and its errors."""

    def __init__(self, access: Access) -> None:
        self._database, self._transaction, self._converted = access

    def members(self) -> list[Member]:
        """All, as they were saved last."""
        with self._converted():
            rows = self._database.execute(_SELECT).fetchall()
        return [
            Member(name, _labels(labels), bool(ephemeral), added, heard, Position(epoch, sequence), version, wire)
            for name, labels, ephemeral, added, heard, epoch, sequence, version, wire in rows
        ]

    def forgotten(self, since: float) -> list[str]:
        """Who was forgotten at or after this unix time, and is not back."""
        with self._converted():
            rows = self._database.execute(
                "SELECT name FROM forgotten WHERE unix >= ? ORDER BY name", (since,)
            ).fetchall()
        return [name for (name,) in rows]

    def save(self, members: Iterable[Member], forgotten: Iterable[str], unix: float, *, keep_since: float) -> None:
        """Make durable who changed, and who belongs to the fleet no more as of `unix`. Whom it lost before `keep_since` is
        remembered no longer. Idempotent."""
        rows = [
            (
                one.name,
                labels_text(one.labels),
                one.is_ephemeral,
                one.added,
                one.heard,
                *one.level,
                one.version,
                one.wire,
            )
            for one in members
        ]
        with self._transaction():
            self._database.executemany("INSERT OR REPLACE INTO replica VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            gone = [(name,) for name in forgotten]
            self._database.executemany("DELETE FROM replica WHERE name = ?", gone)
            self._database.executemany("DELETE FROM forgotten WHERE name = ?", [row[:1] for row in rows])
            self._database.executemany("INSERT OR REPLACE INTO forgotten VALUES (?, ?)", [(*row, unix) for row in gone])
            self._database.execute("DELETE FROM forgotten WHERE unix < ?", (keep_since,))


def _labels(text: str) -> dict[str, str]:
    try:
        return parse_labels(text)
    except ValueError:
        return {}
