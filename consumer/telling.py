"""What a consumer tells of itself: its board, and the reports that go to the producer. Decides nothing.

It reads state, links and follower of the one thread that owns them, and calls it.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from common.board import Board
from common.entries import Position
from common.labels import labels_text
from common.messages import ReplicaState, Report
from common.settings import ConsumeSettings
from common.transport.ports import Phase, Publisher, Subscriber
from common.version import program_version
from common.wire.versions import FORMAT
from consumer.alarming import Alarming, Seen
from consumer.following import Follower
from consumer.heeding import Heeding
from consumer.large import Large
from consumer.progress import Left, Told
from consumer.state import State
from consumer.values import Reason

log = logging.getLogger("treecast")

PROBLEMS_REPORTED = 20
PROBLEM_LIMIT_CHARACTERS = 500
"""Of each: a path may be long, a report may not."""


class News(NamedTuple):
    """Whatever makes a report worth sending at once."""

    position: Position
    is_agreed: bool
    word: ReplicaState
    more: tuple[object, ...] = ()


@dataclass(frozen=True, slots=True)
class Links:
    """How this replica hears, and how it speaks."""

    queue: Subscriber
    upstream: Publisher


class Telling:
    """See the module."""

    def __init__(  # noqa: PLR0913 - what it tells of
        self,
        settings: ConsumeSettings,
        state: State,
        follower: Follower,
        board: Board,
        links: Links,
        *,
        large: Large,
        heeding: Heeding,
        details: Callable[[], dict[str, Any]],
        more: Callable[[], tuple[object, ...]] = tuple,
    ) -> None:
        """`details`: what else a report says. `more`: what else makes one worth sending at once."""
        self._settings = settings
        self._state = state
        self._follower = follower
        self._board = board
        self._links = links
        self.alarming = Alarming()
        self._large = large
        self._details = details
        self._more = more
        self._heeding = heeding
        self._sync: Told | None = None
        self._said: tuple[ReplicaState, int] | None = None
        self.is_halted = False

    def news(self) -> News:
        """How it stands now."""
        standing = self._state.standing()
        missing = self._state.count_unmet().get(Reason.BODY, 0)
        came_bytes = self._large.came_bytes
        self._heeding.turn(standing, missing=missing, came_bytes=came_bytes, could_serve=self._could_serve)
        more = (self._heeding.news, *self._more())
        return News(standing.position, self._follower.is_agreed(), self._word(), more)

    @property
    def _could_serve(self) -> bool:
        """Whether it may be relied on, however far behind it is."""
        return self._state.first_copy_complete and not self.is_halted

    def report(self, news: News, unix_ns: int) -> Report:
        """What the producer is told."""
        standing, unmet = self._state.standing(), self._state.count_unmet()
        details: dict[str, Any] = {f"unmet_{reason}": count for reason, count in unmet.items()}
        problems = [text[:PROBLEM_LIMIT_CHARACTERS] for text in self._board.problem_texts(PROBLEMS_REPORTED)]
        if self._settings.labels:
            details["labels"] = labels_text(self._settings.labels)
        if self._settings.ephemeral:
            details["ephemeral"] = True
        details |= {
            "ready": self._board.is_ready,
            "entries": self._state.counts.entries,
            "problems": problems,
            **self._heeding.details(),
            **self._details(),
        }
        if standing.is_forked:
            details["forked"] = True
        if self._sync is not None and self._sync.seconds_left is not None:
            details["seconds_left"] = round(self._sync.seconds_left, 1)
        return Report(
            self._settings.tree,
            self._settings.replica,
            standing.instance or bytes(16),
            news.position,
            news.is_agreed,
            news.word,
            len(standing.stale),
            program_version(),
            FORMAT,
            unix_ns,
            details,
        )

    def tell_board(self, news: News, now: float) -> None:
        """What status, metrics and alarms are read from; `now` in monotonic seconds."""
        state, board, counts = self._state, self._board, self._state.counts
        standing, unmet = state.standing(), state.count_unmet()
        left = Left(len(standing.stale), unmet.get(Reason.BODY, 0), self._follower.received_share)
        self._sync = self._follower.progress.see(left, now) if standing.epoch else None
        board.is_ready = self._could_serve and not self._heeding.is_resting
        queue = self._links.queue.link
        board.tell(
            state=str(news.word),
            position={"epoch": news.position.epoch, "sequence": news.position.sequence},
            agreed=news.is_agreed,
            sync=asdict(self._sync) if self._sync is not None else None,
            stale_buckets=left.buckets,
            unmet={str(reason): count for reason, count in unmet.items()},
            entries=counts.entries,
            files=counts.files,
            first_copy_complete=state.first_copy_complete,
            readiness={
                "behind_seconds": round(self._heeding.behind_seconds, 1),
                "resting": self._heeding.is_resting,
                "wants_rest": self._heeding.wants_rest,
            },
            link={"phase": str(queue.phase), "detail": queue.detail},
            dirty=0,
            unconfirmed=0,
        )
        board.gauge("position", news.position.sequence)
        board.gauge("epoch", news.position.epoch)
        board.gauge("agreed", float(news.is_agreed))
        board.gauge("entries", counts.entries)
        board.gauge("stale_buckets", left.buckets)
        for reason in Reason:
            board.gauge("unmet_paths", unmet.get(reason, 0), label=str(reason))
        seconds_left = self._sync.seconds_left if self._sync is not None else 0.0
        board.gauge("sync_seconds_left", seconds_left if seconds_left is not None else math.nan)
        self._judge_alarms(left, now)
        self._say_turn(news, left)

    def show_old_problems(self) -> None:
        """Those that the state remembers from an earlier process."""
        for path, unmet in self._state.unmet_paths(1000, Reason.PROBLEM).items():
            self._board.problem(path, unmet.detail)

    def _say_turn(self, news: News, left: Left) -> None:
        """One line in the log for each: another epoch is followed, a sync begins or is over, it waits, or goes on."""
        turn = (news.word, news.position.epoch)
        if turn == self._said:
            return
        self._said = turn
        log.info(
            "%s at %d.%d: %d buckets to compare, %d contents to fetch",
            news.word, *news.position, left.buckets, left.contents,
        )  # fmt: skip

    def _word(self) -> ReplicaState:
        if self.is_halted:
            return ReplicaState.HALTED
        if self._links.queue.link.phase is Phase.MISSING:
            return ReplicaState.NO_QUEUE
        if self._follower.is_short_of_room:
            return ReplicaState.WAITING
        standing = self._state.standing()
        if not standing.epoch:
            return ReplicaState.STARTING
        return ReplicaState.COPYING if standing.stale else ReplicaState.FOLLOWING

    def _judge_alarms(self, left: Left, now: float) -> None:
        lacks = self._state.standing().epoch and not self.is_halted
        lacking = (left.buckets, self._large.count_missing()) if lacks else (0, 0)
        links, age = self._links, self._board.heartbeat_age_seconds()
        is_short = self._follower.is_short_of_room
        came = (self._large.came_bytes, left.received)
        seen = Seen(age, links.queue.link, links.upstream.link, lacking, is_short, *came)
        for kind, detail in self.alarming.judge(seen, now).items():
            if detail:
                self._board.alarm(kind, detail)
            else:
                self._board.clear(kind)
