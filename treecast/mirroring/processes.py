"""Does: the processes of one mirror: starts the producer and a consumer for each replica at once, asks them, ends them all.

Knows how a layout becomes settings. What the answers mean is decided in `standing`.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from common.control import is_answering
from common.errors import AlreadyRunningError, SettingError
from common.lock import ProcessLock
from common.places import make_state_directory
from treecast.metadata import AS_BY_DEFAULT, Metadata
from treecast.mirroring.child import Child, Options, stop_all
from treecast.mirroring.layout import Layout
from treecast.mirroring.standing import Look, look_at

LEFTOVER_SECONDS = 15.0
"""Children of a mirror that was killed end by themselves within this time."""
_POLL_SECONDS = 0.02


class Processes:
    """The children of one mirror, in the order of its layout."""

    def __init__(
        self,
        layout: Layout,
        exclude: Sequence[str],
        metadata: Metadata = AS_BY_DEFAULT,
        *,
        adopt: bool,
        hold: str = "",
    ) -> None:
        """`hold`: the limit of deletes, "" for what the children take by themselves."""
        limit = {"hold": hold} if hold else {}
        common: Options = {"tree": layout.tree, "broker": layout.broker, **limit}
        ours: Options = {"source": str(layout.source), "exclude": tuple(exclude), **metadata.for_producer}
        self.layout = layout
        self.producer = Child("producer", layout.given, layout.producer_state, {**common, **ours})
        self.consumers = [
            Child(
                "consumer",
                place.given,
                place.state,
                {
                    **common,
                    "target": str(place.target),
                    "replica": place.name,
                    "adopt": adopt,
                    "protect": tuple(exclude),
                    **metadata.for_consumer,
                },
            )
            for place in layout.replicas
        ]

    def start(self) -> None:
        """Start all of them; none waits for another."""
        for child in (self.producer, *self.consumers):
            child.start()

    def stop(self) -> None:
        """End all of them. Idempotent."""
        stop_all([*self.consumers, self.producer])

    def look_at_producer(self) -> Look:
        """How the producer stands. Raises ChildEndedError when it ended."""
        failure = self.producer.failure()
        if failure is not None:
            raise failure
        return look_at(self.producer.status())


@contextmanager
def held(layout: Layout) -> Iterator[None]:
    """The mirror's state directory, made and held: a second mirror of the same source is refused, and told which is there."""
    try:
        make_state_directory("--state", layout.state)
    except SettingError as error:
        raise SettingError(error.setting, error.found, f"{error.allowed}: pass --state DIR") from error
    lock = ProcessLock(layout.lock)
    if not lock.try_acquire():
        raise AlreadyRunningError(
            f"{layout.source} is being mirrored by another process ({lock.rival}), with its state in {layout.state};"
            " stop that one first, or see it with: treecast status"
        )
    try:
        _wait_for_leftovers([layout.producer_state, *(place.state for place in layout.replicas)])
        yield
    finally:
        lock.release()


def _wait_for_leftovers(states: list[Path]) -> None:
    deadline = time.monotonic() + LEFTOVER_SECONDS
    for state in states:
        while is_answering(state):
            if time.monotonic() > deadline:
                raise AlreadyRunningError(
                    f"a process of an earlier mirror still runs; see: treecast status --state {state}"
                )
            time.sleep(_POLL_SECONDS)
