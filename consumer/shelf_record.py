"""Since when things stand aside, in the replica's database: it goes on behind a restart. Decides nothing."""

import sqlite3
from pathlib import Path

from consumer.ages import Ages, Clocks
from consumer.statefile import converted, transaction


class ShelfRecord:
    """One open database's record. Raises NoRoomError and HaltError."""

    def __init__(self, database: sqlite3.Connection, path: Path) -> None:
        """`path`: the file, for errors."""
        self._database = database
        self._path = path

    def read(self) -> Ages:
        """What was saved last."""
        with converted(self._path):
            row = self._database.execute("SELECT lived, here, master FROM shelf").fetchone()
            if row is None:
                return Ages()
            return Ages(row[0], Clocks(*row[1:]), dict(self._database.execute("SELECT label, born FROM aside")))

    def save(self, before: Ages, ages: Ages) -> None:
        """`before`: what was read or saved last. One transaction."""
        gone = [(label,) for label in before.born.keys() - ages.born.keys()]
        new = [(label, ages.born[label]) for label in ages.born.keys() - before.born.keys()]
        with transaction(self._database, self._path):
            self._database.executemany("DELETE FROM aside WHERE label = ?", gone)
            self._database.executemany("INSERT OR REPLACE INTO aside VALUES (?, ?)", new)
            values = (ages.lived, *(ages.seen or (0.0, 0.0)))
            self._database.execute("INSERT OR REPLACE INTO shelf VALUES (1, ?, ?, ?)", values)
