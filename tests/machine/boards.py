"""What processes of the machine tell the world, remembered."""

from common.board import Board

TREE = "tree"


class HeardBoard(Board):
    """A board that remembers how often something was said that a person should see."""

    said = 0

    def alarm(self, kind: str, detail: str) -> None:
        self.said += 1
        super().alarm(kind, detail)

    def problem(self, path: bytes, what: str) -> None:
        self.said += 1
        super().problem(path, what)
