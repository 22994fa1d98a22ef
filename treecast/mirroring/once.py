"""Does: brings the replicas of a mirror level, once, and says what came of each."""

import time
from dataclasses import dataclass
from typing import Protocol

from common.codes import FAILED, STOPPED
from common.entries import Position
from common.errors import NoRoomError, StoppedError
from treecast.mirroring.child import Child
from treecast.mirroring.layout import ReplicaPlace
from treecast.mirroring.processes import Processes
from treecast.mirroring.releasing import Releasing, held_paths
from treecast.mirroring.standing import Goal, Level, Look, Reaching, Room, look_at
from treecast.mirroring.stopping import StopRequests

EAGER_SECONDS = 3.0
"""A small tree is level within this time: until then it is asked often."""
_EAGER_POLL_SECONDS, _POLL_SECONDS = 0.025, 0.1


@dataclass(frozen=True, slots=True)
class ReplicaResult:
    """What came of one replica. `seconds`: from the start until it was level. `failure`: why it is not, if it failed."""

    place: ReplicaPlace
    level: Level
    look: Look
    seconds: float
    failure: str = ""
    code: int = 0

    @property
    def exit_code(self) -> int:
        """What it makes of the command's exit code."""
        if self.failure or self.level is Level.HALTED or self.look.held:
            return self.code or STOPPED
        return 0 if self.level is Level.PROVED and not self.look.problem_count else FAILED


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a whole run."""

    producer: Look
    position: Position
    replicas: tuple[ReplicaResult, ...]
    seconds: float
    held_paths: tuple[str, ...] = ()
    """The first ones of those that the producer holds."""

    @property
    def exit_code(self) -> int:
        """Of the command: the replica's that needs a person most, or 4 for what is held, else 1 where there is a problem."""
        worst = max([STOPPED if self.producer.held else 0, *(one.exit_code for one in self.replicas)])
        return worst or (FAILED if self.producer.problem_count else 0)


class Progress(Protocol):
    """Shows how far it is. Called often."""

    def show(self, producer: Look, replicas: list[Look]) -> None:
        """Everything as it is now."""


def bring_level(
    processes: Processes, requests: StopRequests, progress: Progress, releasing: Releasing, release_command: str
) -> Result:
    """Wait until every replica is level with everything that was in the source, or failed; what is held stays as it is.

    `release_command`: what a person types to let it go.

    Raises ChildEndedError when the producer ended, StoppedError when it may publish nothing, NoRoomError when its own disk stays
    full; what a signal asks for.
    """
    run = _Run(processes)
    while True:
        requests.raise_if_any()
        now = time.monotonic()
        producer = processes.look_at_producer()
        is_released = releasing.release_producer(producer)
        if not is_released:
            check_source(producer, release_command)
        if run.room.is_full(producer, now):
            raise NoRoomError(_no_room_words(producer))
        if not is_released:
            run.goal.see(producer, now)
        looks = run.look(now)
        releasing.release_replicas(looks)
        progress.show(producer, looks)
        if run.is_done:
            return run.result(producer, now, held_paths(processes, producer))
        time.sleep(_EAGER_POLL_SECONDS if now - run.began < EAGER_SECONDS else _POLL_SECONDS)


class _Run:
    def __init__(self, processes: Processes) -> None:
        self.began = time.monotonic()
        self.goal = Goal()
        self.room = Room()
        self._children = list(zip(processes.layout.replicas, processes.consumers, strict=True))
        self._reaching = [Reaching() for _ in self._children]
        self._results: dict[int, ReplicaResult] = {}

    @property
    def is_done(self) -> bool:
        return len(self._results) == len(self._children)

    def look(self, now: float) -> list[Look]:
        """Ask those that are not done; note those that are."""
        looks = []
        for number, (place, child) in enumerate(self._children):
            done = self._results.get(number)
            look = done.look if done is not None else look_at_child(child)
            if done is None:
                self._judge(number, place, child, look, now)
            looks.append(look)
        return looks

    def _judge(self, number: int, place: ReplicaPlace, child: Child, look: Look, now: float) -> None:
        failure = child.failure()
        level = self._reaching[number].judge(look, self.goal.position, now)
        seconds = now - self.began
        if failure is not None:
            self._results[number] = ReplicaResult(place, level, look, seconds, failure.why, failure.code)
        elif level is not Level.NOT_YET:
            self._results[number] = ReplicaResult(place, level, look, seconds, *_why_not(level, look))

    def result(self, producer: Look, now: float, held: tuple[str, ...]) -> Result:
        replicas = tuple(self._results[number] for number in range(len(self._children)))
        return Result(producer, self.goal.position or producer.position, replicas, now - self.began, held)


def _why_not(level: Level, look: Look) -> tuple[str, int]:
    """Why a replica that runs is not level, "" where it is, and the exit code for it."""
    if level is Level.NO_ROOM:
        return _no_room_words(look), FAILED
    return look.alarms.get("halt", ""), STOPPED if level is Level.HALTED else 0


def _no_room_words(look: Look) -> str:
    """Its alarm without the promise to go on by itself: this command ends it."""
    return f"{look.alarms['no-room'].partition(';')[0]}. Make room and run this again"


def look_at_child(child: Child) -> Look:
    """How a consumer stands; as one that has said nothing where it does not answer."""
    return look_at(child.status())


def check_source(producer: Look, release_command: str) -> None:
    """Raises StoppedError when the producer holds everything back: nothing will ever become level."""
    if "source-missing" in producer.alarms:
        raise StoppedError(f"{producer.alarms['source-missing']}. Bring it back, then run this again")
    if "trial" in producer.alarms:
        what = producer.alarms["trial"].partition(";")[0]
        raise StoppedError(
            f"{what}. Bring the right files back and run this again; if the source is right: {release_command}"
        )
    if "source-empty" in producer.alarms:
        what = producer.alarms["source-empty"].partition(";")[0]
        raise StoppedError(
            f"{what}. Bring them back and run this again; if it was emptied on purpose: {release_command}"
        )
