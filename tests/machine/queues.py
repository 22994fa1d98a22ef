"""What a broker keeps, by the semantics of either transport. Knows no connection, no process and no message's meaning.

`CopyingQueues` is RabbitMQ: a copy in each queue, unsettled messages come again to the front, the oldest are dropped, a queue is
purged or deleted. `LogQueues` is the embedded queue: one log, one cursor for each queue, a queue begins behind what is there, the
oldest of the log are dropped for all.
"""

from collections import deque
from dataclasses import dataclass
from random import Random
from typing import Protocol

UPSTREAM = ""
"""The name of the producer's own queue; others are called as their replica."""


@dataclass(eq=False, slots=True)
class Item:
    """A message that lies in a queue."""

    body: bytes
    at: float
    redelivered: bool = False


class Queues(Protocol):
    """What a broker keeps."""

    def make(self, name: str) -> None:
        """See to it that a queue exists."""

    def exists(self, name: str) -> bool:
        """Whether it does."""

    def delete(self, name: str) -> None:
        """It is gone, with what was in it."""

    def append(self, name: str | None, body: bytes, now: float, *, is_durable: bool = True) -> bool:
        """To one queue, or to every replica's (None). False: nobody reads it."""

    def next(self, name: str) -> Item | None:
        """The next one that was not given out since `again`."""

    def ack(self, name: str, items: list[Item]) -> None:
        """These are done with."""

    def again(self, name: str) -> None:
        """Everything that was given out and not acked will be given out again."""

    def waiting(self, name: str) -> list[Item]:
        """What was not given out, in order."""

    def drop(self, name: str, items: list[Item]) -> None:
        """These were lost, or dropped by a limit."""


class CopyingQueues:
    """RabbitMQ: each queue has its own copies."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[Item]] = {UPSTREAM: deque()}
        self._given: dict[str, list[Item]] = {UPSTREAM: []}

    def make(self, name: str) -> None:
        self._queues.setdefault(name, deque())
        self._given.setdefault(name, [])

    def exists(self, name: str) -> bool:
        return name in self._queues

    def delete(self, name: str) -> None:
        self._queues.pop(name, None)
        self._given.pop(name, None)

    def append(self, name: str | None, body: bytes, now: float, *, is_durable: bool = True) -> bool:
        names = [name] if name is not None else [other for other in self._queues if other != UPSTREAM]
        for one in names:
            if one in self._queues:
                self._queues[one].append(Item(body, now))
        return name is None or name in self._queues

    def next(self, name: str) -> Item | None:
        queue = self._queues.get(name)
        if not queue:
            return None
        item = queue.popleft()
        self._given[name].append(item)
        return item

    def ack(self, name: str, items: list[Item]) -> None:
        self._given[name] = [item for item in self._given.get(name, []) if item not in items]

    def again(self, name: str) -> None:
        given = self._given.get(name, [])
        for item in given:
            item.redelivered = True
        if given:
            self._queues[name].extendleft(reversed(given))
            self._given[name] = []

    def waiting(self, name: str) -> list[Item]:
        return list(self._queues.get(name, ()))

    def drop(self, name: str, items: list[Item]) -> None:
        if name in self._queues:
            self._queues[name] = deque(item for item in self._queues[name] if item not in items)

    def swap(self, name: str, place: int) -> None:
        """Two that are next to each other come in the other order, as after a requeue."""
        queue = self._queues[name]
        queue[place], queue[place + 1] = queue[place + 1], queue[place]


_Kept = tuple[list[tuple[int, str | None, Item]], int, dict[str, int]]


class LogQueues:
    """The embedded queue: one log, and a cursor for each queue."""

    def __init__(self) -> None:
        self._log: list[tuple[int, str | None, Item]] = []
        self._last = 0
        self._cursors: dict[str, int] = {UPSTREAM: 0}
        self._unsynced: list[_Kept] = []
        """How it was before each change since the last one that was synced."""
        self._read: dict[str, int] = {UPSTREAM: 0}

    def make(self, name: str) -> None:
        self._cursors.setdefault(name, self._last)
        self._read.setdefault(name, self._last)
        self._unsynced.clear()

    def exists(self, name: str) -> bool:
        return name in self._cursors

    def delete(self, name: str) -> None:
        self._cursors.pop(name, None)
        self._read.pop(name, None)

    def append(self, name: str | None, body: bytes, now: float, *, is_durable: bool = True) -> bool:
        if name is not None and name not in self._cursors:
            return False
        self._unsynced.append(self._kept())
        self._last += 1
        self._log.append((self._last, name, Item(body, now)))
        if is_durable:
            self._unsynced.clear()
        return True

    def next(self, name: str) -> Item | None:
        for number, address, item in self._log:
            if number > self._read.get(name, self._last) and self._is_for(name, address):
                self._read[name] = number
                return item
        return None

    def ack(self, name: str, items: list[Item]) -> None:
        acked = [number for number, _, item in self._log if item in items]
        if name in self._cursors and acked:
            self._unsynced.append(self._kept())
            self._cursors[name] = max(self._cursors[name], *acked)

    def again(self, name: str) -> None:
        if name in self._cursors:
            self._read[name] = self._cursors[name]

    def waiting(self, name: str) -> list[Item]:
        read = self._read.get(name, self._last)
        return [item for number, address, item in self._log if number > read and self._is_for(name, address)]

    def drop(self, name: str, items: list[Item]) -> None:
        """Only from the front, and for all: where one queue loses it, each does."""
        numbers = [number for number, _, item in self._log if item in items]
        if numbers:
            self._log = [row for row in self._log if row[0] > max(numbers)]

    def _kept(self) -> "_Kept":
        return list(self._log), self._last, dict(self._cursors)

    def cut_power(self, rng: Random) -> None:
        """Some of the last changes are gone; numbers come again."""
        place = rng.randrange(len(self._unsynced) + 1)
        if place < len(self._unsynced):
            log, self._last, cursors = self._unsynced[place]
            self._log = [row for row in log if row in self._log]
            self._cursors = {name: cursor for name, cursor in cursors.items() if name in self._cursors}
        self._unsynced.clear()
        self._read = dict(self._cursors)

    def turn_back(self, name: str) -> None:
        """The cursor is not synced: a power cut puts it back."""
        first = self._log[0][0] - 1 if self._log else self._last
        if name in self._cursors:
            self._cursors[name] = min(self._cursors[name], max(first, self._cursors[name] - 3))

    @staticmethod
    def _is_for(name: str, address: str | None) -> bool:
        return address == name or (address is None and name != UPSTREAM)
