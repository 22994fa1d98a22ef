"""Waits for room on the disk: an act that had none is tried again, with an alarm and signs of life, until it may be given up."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from common.board import Board
from common.errors import NoRoomError
from consumer.opening import Stopping

BACKOFF_SECONDS = (0.5, 5.0)
"""The first pause, and the longest."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How a follower waits: until `stop`, by this clock; `meanwhile` is called now and then, because reports must go on."""

    stop: threading.Event
    clock: Callable[[], float]
    meanwhile: Callable[[], None]


class Room:
    """See the module."""

    def __init__(self, board: Board, patience: Patience) -> None:
        self._board = board
        self._patience = patience
        self.is_short = False
        """Whether it waits just now."""

    def patiently(self, act: Callable[[], object], limit_seconds: float) -> None:
        """Act; while there is no room, again and again. Raises NoRoomError when there was none for as long as the limit, and
        Stopping when the process must end."""
        since, pause = self._patience.clock(), BACKOFF_SECONDS[0]
        while True:
            try:
                act()
                break
            except NoRoomError as error:
                if self._patience.clock() - since > limit_seconds:
                    raise
                self._wait(error, pause)
                pause = min(2 * pause, BACKOFF_SECONDS[1])
        self._is_there_again()

    def _wait(self, error: NoRoomError, pause_seconds: float) -> None:
        self.is_short = True
        self._board.tick("consumer")
        self._board.alarm("no-room", f"{error}; nothing is lost, it goes on by itself when there is room")
        self._patience.meanwhile()
        if self._patience.stop.wait(pause_seconds):
            raise Stopping

    def _is_there_again(self) -> None:
        if self.is_short:
            self.is_short = False
            self._board.clear("no-room")
