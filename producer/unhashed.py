"""Decides which large files are hashed next, and keeps what came of it until the next look takes it. Knows paths, no disk.

A large file leaves the dirty set like any other, and comes back when it was hashed: to be looked at, with the digest at hand.
"""

from producer.values import Hashed

IN_HAND_LIMIT = 8
"""So many are held open for the hashing thread, so that it never waits for the loop."""


class Unhashed:
    """The large files that no digest is known of. Its length counts those whose digest no look has taken yet, too."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, bool] = {}
        self._in_hand: set[bytes] = set()
        self._hashed: dict[bytes, Hashed] = {}
        self._owed: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._in_hand) + len(self._hashed)

    def paths(self) -> set[bytes]:
        """All of them."""
        return self._waiting.keys() | self._in_hand | self._hashed.keys()

    def is_in_hand(self, path: bytes) -> bool:
        """Whether the thread has it."""
        return path in self._in_hand

    @property
    def owes(self) -> bool:
        """Whether any was found that has not been looked at with its digest yet; those that keep changing aside."""
        return bool(self._owed)

    def begin(self, path: bytes, *, force: bool, is_busy: bool) -> bool:
        """A look found a large file. True: have it hashed now. Otherwise it is being hashed, or waits for its turn."""
        if not is_busy:
            self._owed.add(path)
        if path in self._in_hand:
            return False
        if len(self._in_hand) >= IN_HAND_LIMIT:
            self._waiting[path] = self._waiting.get(path, False) or force
            return False
        self._in_hand.add(path)
        return True

    def finished(self, path: bytes, hashed: Hashed | None) -> None:
        """The thread is done with it. None: it changed meanwhile, or cannot be read."""
        self._in_hand.discard(path)
        if hashed is not None:
            self._hashed[path] = hashed
        else:
            self._owed.discard(path)

    def next(self) -> list[tuple[bytes, bool]]:
        """Those whose turn it is, with `force`: to be looked at again. They wait no more."""
        turn = list(self._waiting.items())[: IN_HAND_LIMIT - len(self._in_hand)] if self._waiting else []
        for path, _ in turn:
            del self._waiting[path]
        return turn

    def take(self, path: bytes) -> Hashed | None:
        """What came of hashing it, once."""
        return self._hashed.pop(path, None) if self._hashed else None

    def settled(self, path: bytes) -> None:
        """A look told what is there."""
        self._owed.discard(path)
        self._waiting.pop(path, None)
