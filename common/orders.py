"""Does: hands what the control socket asks over to the loop that owns the state, and the loop's answer back. Knows no verb.

A verb's thread waits while the loop is busy with something else; the loop serves what waits, once a round. So nothing but the
loop touches what it owns, and an order is carried out between two of its steps, never in one. What takes long and touches nothing
of the loop's is left to the thread that asks: then the loop's answer is what that thread is to call.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from common.errors import HaltError, StateError, UnreachableError

ANSWER_SECONDS = 8.0
"""So long a verb waits for the loop; the one who asks waits a little longer."""

Verb = Callable[[dict[str, Any]], dict[str, Any]]
Finish = Callable[[], dict[str, Any]]
"""The rest of an order, called in the thread of the one who asks."""
Handler = Callable[[dict[str, Any]], dict[str, Any] | Finish]
"""What the loop does for a verb."""


@dataclass(slots=True)
class _Order:
    verb: str
    arguments: dict[str, Any]
    done: threading.Event = field(default_factory=threading.Event)
    is_given_up: bool = False
    result: dict[str, Any] | Finish = field(default_factory=dict)
    error: Exception | None = None


class Orders:
    """Thread-safe. `wake`: called when an order has come; the loop may set it."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self.wake = wake
        self._waiting: queue.SimpleQueue[_Order] = queue.SimpleQueue()

    def verb(self, name: str, timeout_seconds: float | None = None) -> Verb:
        """The verb, for who asks from another thread. Raises what the loop raises; UnreachableError when it is too
        busy for so long: then the order is not carried out later either."""

        def ask(arguments: dict[str, Any]) -> dict[str, Any]:
            order = _Order(name, arguments)
            self._waiting.put(order)
            self.wake()
            if not order.done.wait(ANSWER_SECONDS if timeout_seconds is None else timeout_seconds):
                order.is_given_up = True
                raise UnreachableError(f"the process is busy and did not take {name!r} in time; try again")
            if order.error is not None:
                raise order.error
            return order.result() if callable(order.result) else order.result

        return ask

    def serve(self, handlers: Mapping[str, Handler]) -> None:
        """Carry out what waits. Called by the loop, between two steps; what a handler raises goes to the one who asked.

        Raises HaltError and StateError, which the loop must hear too: it is unknown what its database holds.
        """
        with contextlib.suppress(queue.Empty):
            while True:
                _carry_out(self._waiting.get_nowait(), handlers)


def _carry_out(order: _Order, handlers: Mapping[str, Handler]) -> None:
    """RACE: one that is given up just now is carried out all the same: who asked reads in status what came of it."""
    if order.is_given_up:
        return
    try:
        order.result = handlers[order.verb](order.arguments)
    except (HaltError, StateError) as error:
        order.error = error
        raise
    except Exception as error:  # noqa: BLE001 - it belongs to the one who asked
        order.error = error
    finally:
        order.done.set()
