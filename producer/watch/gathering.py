"""Decides nothing but order: what one drain gathers, each hint once, in the order in which it came first."""

from common.names import ROOT, ancestors
from producer.watch.port import Hint

FOUND_LIMIT = 50_000
"""How many names one drain tells one by one of directories that came; the rest is left to the subtree hints."""


class Gathering:
    """The hints of one drain. Owned by one thread."""

    def __init__(self) -> None:
        self._hints: dict[Hint, None] = {}
        self._found = 0

    def tell(self, path: bytes, subtree: bool = False) -> None:
        """This path, or all at and below it, may have changed. Idempotent; a subtree of one that was told adds nothing."""
        if not subtree or not any(Hint(above, True) in self._hints for above in (ROOT, *ancestors(path))):
            self._hints[Hint(path, subtree)] = None

    def tell_found(self, path: bytes) -> None:
        """This was found in a directory that came, whose subtree is told too: beyond a limit that must do."""
        if self._found < FOUND_LIMIT:
            self._found += 1
            self.tell(path)

    def hints(self) -> list[Hint]:
        """All of them."""
        return list(self._hints)
