"""The watch port: hints, and nothing that could be trusted. Knows no operating system."""

from collections.abc import Callable
from typing import NamedTuple, Protocol


class Hint(NamedTuple):
    """This path, or everything at and below it (`subtree`), may have changed. `names.ROOT` with subtree: everything."""

    path: bytes
    subtree: bool = False


class Watch(Protocol):
    """A watcher of one tree. Works in a thread of its own and calls `wake` when `drain` has something."""

    wake: Callable[[], None]

    def start(self) -> None:
        """Returns when every directory is covered, or known not to be. The first scan comes after this."""

    def drain(self) -> list[Hint]:
        """Hints since the last call, each once, in the order in which they came first. After an overflow or a lost watch: a
        subtree hint of what may be affected."""

    def overflows(self) -> int:
        """How often the system lost events since the start."""

    def uncovered(self) -> dict[bytes, str]:
        """Directories that cannot be watched, and why, in words for a person. Only scans see what happens there."""

    def mark(self) -> int | None:
        """A mark in what is being told; None where there can be none: then only a scan that starts later sees all that happened
        until now."""

    def is_past(self, mark: int) -> bool:
        """Whether what `drain` has told holds all that happened before this mark, or a subtree hint that covers it."""

    def is_alive(self) -> bool:
        """Whether events still arrive; once False, only scans see changes."""

    def close(self) -> None:
        """End. Idempotent."""
