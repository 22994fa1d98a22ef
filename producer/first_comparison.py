"""Does: leads the first comparison of the source with the index, in a run whose index was not made from the source.

What the journal says may be older than what was published: it was copied, or restored, and nobody who knows better was heard.
Knows the waits for the source; not what depends on it.
"""

from producer.barriers import Step
from producer.waiting import Waiting
from producer.waits import Wanted

STUCK_SECONDS = 5.0
"""So long it waits for paths of which nothing more can be told: a file that is written all the time, or long to be hashed."""


class FirstComparison:
    """See the module. Owned by one thread; `now`: seconds of a steady clock."""

    def __init__(self, waiting: Waiting) -> None:
        self._waiting = waiting
        self._ticket: int | None = None
        self._left: tuple[Step, int] | None = None
        self._left_since = 0.0

    def is_over(self, now: float, *, is_anew: bool) -> bool:
        """Whether all that the first scan and the watch found is journaled, as far as that can be told. Ask in each round: the
        first time it begins. `is_anew`: what was found before counts for nothing, another published meanwhile."""
        wait = self._waiting.look(self._ticket, now) if self._ticket is not None else None
        if wait is None:
            self._ticket = self._waiting.begin_first(Wanted() if is_anew else None, now)
            return False
        left = wait.barrier.step, wait.barrier.waiting
        if left != self._left:
            self._left, self._left_since = left, now
        is_stuck = wait.barrier.step is Step.PATHS and now - self._left_since >= STUCK_SECONDS
        if wait.barrier.step is not Step.DONE and not is_stuck:
            return False
        self.give_up()
        return True

    def give_up(self) -> None:
        """The next one begins from the start. Idempotent."""
        if self._ticket is not None:
            self._waiting.forget(self._ticket)
        self._ticket = self._left = None
