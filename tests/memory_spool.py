"""The spool's twin in memory: a dict. It serves the rooms that decide, and as the reference for the real one."""

from collections.abc import Collection, Iterable

from common.entries import Event
from consumer.gathering import Size


class MemorySpool:
    """A `Spool`."""

    def __init__(self) -> None:
        self._answers: dict[int, dict[bytes, tuple[int, Event]]] = {}

    def add(self, answer: int, rows: Iterable[tuple[int, Event]]) -> int:
        """Take in rows, each with its bucket. Returns how many paths were new to this answer."""
        known = self._answers.setdefault(answer, {})
        before = len(known)
        for bucket, row in rows:
            known.setdefault(row.path, (bucket, row))
        return len(known) - before

    def sizes(self, answer: int) -> dict[int, Size]:
        """How much the answer has in each bucket in which it has something."""
        found: dict[int, Size] = {}
        for bucket, row in self._answers.get(answer, {}).values():
            rows, size_bytes = found.get(bucket, Size(0, 0))
            found[bucket] = Size(rows + 1, size_bytes + len(row.body or b""))
        return found

    def rows(self, answer: int, buckets: Collection[int], limit_bytes: int) -> list[Event]:
        """The answer's rows in these buckets, with contents as far as the limit goes."""
        found = []
        for bucket, row in sorted(self._answers.get(answer, {}).values()):
            if bucket in buckets:
                limit_bytes -= len(row.body or b"")
                found.append(row if limit_bytes >= 0 else row._replace(body=None))
        return found

    def drop(self, answer: int) -> None:
        """Forget one answer."""
        self._answers.pop(answer, None)

    def clear(self) -> None:
        """Forget everything."""
        self._answers.clear()
