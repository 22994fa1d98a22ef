"""Does: Ctrl-C and termination as a request that loops look at, so that children are ended in order and views are closed.

The first signal is a request. The second one interrupts whatever is being done, as Ctrl-C does.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequests:
    """Which signals came."""

    def __init__(self) -> None:
        self._received: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._received)

    @property
    def is_interrupt(self) -> bool:
        """Whether it was Ctrl-C."""
        return self._received[:1] == [signal.SIGINT]

    def raise_if_any(self) -> None:
        """Ends what is not done: KeyboardInterrupt for Ctrl-C, else SystemExit with the shell's code for the signal."""
        if self._received:
            if self.is_interrupt:
                raise KeyboardInterrupt
            raise SystemExit(128 + self._received[0])

    def take(self, number: int, _frame: FrameType | None) -> None:
        """The handler."""
        self._received.append(number)
        if len(self._received) > 1:
            raise KeyboardInterrupt


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Signals are requests inside. One that was ignored (nohup) stays so. Main thread only."""
    requests = StopRequests()
    before = [(one, signal.getsignal(one)) for one in _SIGNALS]
    for one, handler in before:
        if handler is not signal.SIG_IGN:
            signal.signal(one, requests.take)
    try:
        yield requests
    finally:
        for one, handler in before:
            signal.signal(one, handler)
