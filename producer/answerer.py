"""The port between the loop and whoever makes answers, and the values that cross it. Knows neither of them.

The loop hands questions in, as they came, and takes whole messages out, to publish them behind the batches. An answer may show a
position at which the journal stood later than the loop knows, or an epoch that is over: the loop judges that (`may_publish`).
"""

from typing import NamedTuple, Protocol

from common.messages import Lineage


class Made(NamedTuple):
    """Answers to one question, encoded: `answers` of them, one behind another. `kind`: a short word for figures; `at`: the latest
    position that they speak of; `asked_ns`: the question's own time; `waited_seconds`: from hearing the question until each
    answer was made, added up."""

    kind: str
    replica: str
    epoch: int
    at: int
    asked_ns: int
    waited_seconds: float
    message: bytes
    answers: int = 1


class Doubted(NamedTuple):
    """A path whose content in the source is not the one that the index names: it should be looked at again."""

    path: bytes


class Alarming(NamedTuple):
    """An alarm to raise: its kind and its text."""

    kind: str
    text: str


class Noted(NamedTuple):
    """A sentence for the log."""

    text: str


Said = Made | Doubted | Alarming | Noted


def size_of(said: Said) -> int:
    """How many bytes go to the broker for it."""
    return len(said.message) if isinstance(said, Made) else 0


class Answerer(Protocol):
    """Makes answers. Owned by one thread; `now`: seconds of a steady clock."""

    def ask(self, question: bytes, now: float) -> None:
        """A question as it came, decoded before and found to be of our epoch. It may be lost: replicas ask again."""

    def forget(self, replica: str, now: float) -> None:
        """Drop what this replica asked, as far as it is not answered yet."""

    def take(self, room_bytes: float, now: float) -> list[Said]:
        """What there is to say now, at most one message over the room. Without room, nothing. Call it once a round."""

    def wait_seconds(self) -> float | None:
        """In how many seconds `take` should be called although nothing wakes the loop; None: a wake comes."""

    def close(self) -> None:
        """End. Idempotent."""


def may_publish(made: Made, lineage: Lineage, sequence: int) -> bool:
    """Whether an answer belongs to the epoch that is on, and speaks of a batch that was handed to the publisher before.

    `lineage`, `sequence`: of the journal as the loop knows it. The loop journals a batch and hands it over in one go, and takes
    answers only after that, so whatever was read from the journal before is behind its batch. This holds it for certain.
    """
    return made.epoch == lineage.epoch and made.at <= sequence
