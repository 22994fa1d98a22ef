"""The consumer as a process: opens state and target, resolves what a crash left, and follows the stream until it is told to stop.

The main thread owns state and target; the broker's threads only wake it.
"""

import logging
import secrets
import threading
import time
from contextlib import ExitStack
from typing import Any

from common.board import Board
from common.errors import AlreadyRunningError, HaltError, NoRoomError
from common.messages import NONCE_BYTES, ReplicaState, Report
from common.orders import Orders, Verb
from common.settings import ConsumeSettings
from common.transport.broker import open_broker
from common.transport.ports import Broker, Outgoing, Phase, Publisher, Route, Subscriber
from common.transport.urls import shown
from common.version import program_version
from common.wire.codec import encode
from common.wire.versions import FORMAT
from consumer.alarming import Alarming, Seen
from consumer.apply import Applier
from consumer.asking import Asking
from consumer.following import Follower, Parts
from consumer.gathering import Gathering
from consumer.large import Large
from consumer.opening import Stopping, open_replica
from consumer.questions import Identity, Questions
from consumer.reporting import ReportClock
from consumer.room import Patience
from consumer.scrubbing import Scrub
from consumer.spool import Spool
from consumer.state import State
from consumer.target import Target
from consumer.values import Reason

log = logging.getLogger("treecast")

WAIT_SECONDS = 0.25
"""The longest time the loop waits for a message before it looks at its clocks again."""
WORK_SECONDS = 0.002
"""The same while a thread works on a large content: something will come of it soon."""
ASK_AGAIN_FOR_QUEUE_SECONDS = 1.0
ASK_SECONDS = 0.05
"""How often it is looked at what to ask while messages come without a pause."""
CLOSE_SECONDS = 1.5
"""For each of the two ports, one after the other: with a broker that hangs, a stop still takes less than 5 s."""
TELL_SECONDS = 0.25
"""How old what status shows may be while there is no news to report, as in a first copy."""
SPOOL_NAME = "since.db"
PROBLEMS_REPORTED = 20
PROBLEM_LIMIT_CHARACTERS = 500
"""Of each: a path may be long, a report may not."""
ASIDE_KEPT_SECONDS = 7 * 24 * 3600
PRUNE_SECONDS = 3600.0
NO_ROOM_SECONDS = 5.0
"""Between two tries to open a replica without room."""


def run(settings: ConsumeSettings, stop: threading.Event, board: Board, orders: Orders) -> None:
    """Keep the target level with the master until `stop` is set.

    Raises StoppedError (adoption needed, not our target, another consumer), SettingError and StateError at the start. A
    HaltError later stops applying and gives the subscription up; it is raised when `stop` is set.
    """
    log.info(
        "treecast %s: replica %s of tree %s, target %s, broker %s",
        program_version(), settings.replica, settings.tree, settings.target, shown(settings.broker),
    )  # fmt: skip
    with ExitStack() as parts:
        try:
            state, target = _open_patiently(settings, stop, board, parts)
        except Stopping:
            return
        broker = _open_broker(settings)
        publisher = broker.publisher(wake=_ignore, declare=False)
        parts.callback(publisher.close, CLOSE_SECONDS)
        subscriber = broker.replica_subscriber(settings.replica, wake=_ignore)
        parts.callback(subscriber.close, CLOSE_SECONDS)
        replica = Replica(
            settings, state, Applier(target, state, board), publisher, subscriber, board, stop=stop, orders=orders
        )
        replica.follow()


def _open_patiently(
    settings: ConsumeSettings, stop: threading.Event, board: Board, parts: ExitStack
) -> tuple[State, Target]:
    """State and target, opened again and again while there is no room to open them. Raises as `open_replica`."""
    while True:
        with ExitStack() as attempt:
            try:
                opened = open_replica(settings, stop, board, attempt, lambda: _open_broker(settings))
            except NoRoomError as error:
                board.alarm("no-room", f"{error}; nothing is lost, it goes on by itself when there is room")
            else:
                board.clear("no-room")
                parts.push(attempt.pop_all())
                return opened
        board.tick("consumer")
        if stop.wait(NO_ROOM_SECONDS):
            raise Stopping


def _open_broker(settings: ConsumeSettings) -> Broker:
    password = settings.broker_password.get_secret_value() if settings.broker_password is not None else None
    return open_broker(settings.broker, settings.tree, password=password, limits=settings.queue_limit)


def _ignore() -> None:
    """The loop waits in `receive`, and looks at everything else at least four times a second."""


class Replica:
    """The loop of one consumer."""

    def __init__(  # noqa: PLR0913 - what it puts together
        self,
        settings: ConsumeSettings,
        state: State,
        applier: Applier,
        publisher: Publisher,
        subscriber: Subscriber,
        board: Board,
        *,
        stop: threading.Event,
        orders: Orders,
    ) -> None:
        self._orders = orders
        self._settings = settings
        self._state = state
        self._applier = applier
        self._prune_at = 0.0
        self._publisher = publisher
        self._subscriber = subscriber
        self._board = board
        self._stop = stop
        self._large = Large(state, applier.target, board)
        self._asking = Asking(lambda: secrets.token_bytes(NONCE_BYTES))
        whose = Identity(settings.tree, settings.replica)
        self._questions = Questions(whose, state, self._asking, publisher, subscriber)
        spool = Spool(state.path.with_name(SPOOL_NAME))
        self._reports = ReportClock()
        self._alarming = Alarming()
        self._asked_for_queue_at = self._told_at = self._asked_at = 0.0
        self._is_halted = False
        self._follower = Follower(
            whose,
            Parts(state, applier, self._large, subscriber, self._asking, Gathering(spool), board),
            Patience(stop, time.monotonic, self._speak),
        )
        self._scrub = Scrub(settings.scrub_interval_seconds, state, applier.target, board, self._follower.put_right)
        self._handlers: dict[str, Verb] = {**self._scrub.verbs}

    def follow(self) -> None:
        """Until stopped."""
        self._show_old_problems()
        try:
            with self._scrub.running():
                while not self._stop.is_set():
                    self._round()
        except Stopping:
            return
        except HaltError as error:
            self._halt(error)
            raise
        finally:
            self._large.close()

    def _round(self) -> None:
        """One message, or none for a while; answers that came together are merged once nothing more is waiting."""
        self._board.tick("consumer")
        self._check_held()
        self._orders.serve(self._handlers)
        delivery = self._subscriber.receive(0.0)
        if delivery is None:
            self._follower.merge()
            self._follower.tick(time.monotonic())
            self._scrub.turn()
            self._ask()
            self._speak()
            self._prune()
            delivery = self._subscriber.receive(self._pause_seconds())
        if delivery is not None:
            self._follower.take(delivery)
            self._follower.tick(time.monotonic())
            self._scrub.turn()
            self._ask_ahead()
            self._speak()
        self._bring_large()

    def _bring_large(self) -> None:
        """Large contents go on beside everything else, as far as can be without waiting."""
        may_ask = self._questions.may_ask and not self._follower.has_no_room_for_contents
        decided = self._large.step(time.monotonic(), self._questions.send if may_ask else None)
        if decided is not None:
            self._follower.place(decided)

    def _check_held(self) -> None:
        link = self._subscriber.link
        if self._alarming.is_held(link, time.monotonic()):
            raise AlreadyRunningError(
                f"another consumer has the queue of the replica {self._settings.replica!r}: {link.detail or 'who is not known'};"
                " stop that one, or give this one a name of its own: treecast consume --replica NAME"
            )

    def _prune(self) -> None:
        """What was set aside over a week ago goes for good, if the master's clock says so too: one that jumped must not decide
        that. Looked at each hour."""
        now = time.monotonic()
        if now >= self._prune_at and self._follower.master_unix_seconds:
            self._prune_at = now + PRUNE_SECONDS
            unix_seconds = min(time.time(), self._follower.master_unix_seconds)
            self._applier.prune_aside(unix_seconds - ASIDE_KEPT_SECONDS)

    def _pause_seconds(self) -> float:
        if self._scrub.has_news:
            return 0.0
        now = time.monotonic()
        dues = [self._reports.due_at(self._news()), self._follower.due_at(), self._asking.due_at()]
        longest = WORK_SECONDS if self._large.is_busy else WAIT_SECONDS
        return max(0.0, min([longest, *(due - now for due in dues if due is not None)]))

    def _halt(self, error: HaltError) -> None:
        """Applying stops, the subscription is given up, and it says so until a person comes."""
        self._is_halted = True
        self._board.alarm("halt", str(error))
        self._subscriber.close(CLOSE_SECONDS)
        while not self._stop.is_set():
            self._board.tick("consumer")
            self._speak()
            self._stop.wait(WAIT_SECONDS)

    # -- questions
    def _ask_ahead(self) -> None:
        """While answers come without a pause too: what is asked next must be on its way before the last of them is here."""
        if self._asking.open and time.monotonic() >= self._asked_at + ASK_SECONDS:
            self._ask()

    def _ask(self) -> None:
        self._asked_at = time.monotonic()
        self._questions.ask(
            self._asked_at,
            not_before=self._follower.ask_from,
            with_contents=not self._follower.has_no_room_for_contents,
            is_merging=self._follower.is_merging,
        )

    # -- reports, and what the board shows
    def _state_word(self) -> ReplicaState:
        if self._is_halted:
            return ReplicaState.HALTED
        if self._subscriber.link.phase is Phase.MISSING:
            return ReplicaState.NO_QUEUE
        if self._follower.is_short_of_room:
            return ReplicaState.WAITING
        standing = self._state.standing()
        if not standing.epoch:
            return ReplicaState.STARTING
        return ReplicaState.COPYING if standing.stale else ReplicaState.FOLLOWING

    def _news(self) -> tuple[Any, ...]:
        return (self._state.standing().position, self._follower.is_agreed(), self._state_word())

    def _speak(self) -> None:
        """Tell the board, and report when that is due."""
        news, now = self._news(), time.monotonic()
        needs_queue = news[2] is ReplicaState.NO_QUEUE and now - self._asked_for_queue_at >= ASK_AGAIN_FOR_QUEUE_SECONDS
        is_due = self._reports.is_due(news, now) or needs_queue
        if is_due or now - self._told_at >= TELL_SECONDS:
            self._tell_board(*news)
            self._told_at = now
        if not is_due:
            return
        if needs_queue:
            self._asked_for_queue_at = now
        # Who holds the queue speaks for this replica.
        if self._subscriber.link.phase is not Phase.HELD:
            self._publisher.publish(Outgoing(Route.UPSTREAM, encode(self._report(*news))))
        self._reports.sent(news, now)

    def _report(self, position: Any, agreed: bool, word: ReplicaState) -> Report:
        standing, unmet = self._state.standing(), self._state.count_unmet()
        details: dict[str, Any] = {f"unmet_{reason}": count for reason, count in unmet.items()}
        problems = [text[:PROBLEM_LIMIT_CHARACTERS] for text in self._board.problem_texts(PROBLEMS_REPORTED)]
        details |= {"entries": self._state.counts.entries, "problems": problems, **self._scrub.details()}
        instance = standing.instance or bytes(16)
        return Report(
            self._settings.tree,
            self._settings.replica,
            instance,
            position,
            agreed,
            word,
            len(standing.stale),
            program_version(),
            FORMAT,
            time.time_ns(),
            details,
        )

    def _tell_board(self, position: Any, agreed: bool, word: ReplicaState) -> None:
        state, board = self._state, self._board
        standing, unmet, counts = state.standing(), state.count_unmet(), state.counts
        board.is_ready = state.first_copy_complete and not self._is_halted
        board.tell(
            state=str(word),
            position={"epoch": position.epoch, "sequence": position.sequence},
            agreed=agreed,
            stale_buckets=len(standing.stale),
            unmet={str(reason): count for reason, count in unmet.items()},
            entries=counts.entries,
            files=counts.files,
            first_copy_complete=state.first_copy_complete,
            link={"phase": str(self._subscriber.link.phase), "detail": self._subscriber.link.detail},
            dirty=0,
            unconfirmed=0,
        )
        board.gauge("position", position.sequence)
        board.gauge("agreed", float(agreed))
        board.gauge("stale_buckets", len(standing.stale))
        for reason in Reason:
            board.gauge("unmet_paths", unmet.get(reason, 0), label=str(reason))
        self._judge_alarms()

    def _judge_alarms(self) -> None:
        standing, missing = self._state.standing(), self._state.count_unmet().get(Reason.BODY, 0)
        lacking = (len(standing.stale), missing) if standing.epoch and not self._is_halted else (0, 0)
        age = self._board.heartbeat_age_seconds()
        seen = Seen(
            age,
            self._subscriber.link,
            self._publisher.link,
            lacking,
            self._follower.is_short_of_room,
            self._large.came_bytes,
        )
        for kind, detail in self._alarming.judge(seen, time.monotonic()).items():
            if detail:
                self._board.alarm(kind, detail)
            else:
                self._board.clear(kind)

    def _show_old_problems(self) -> None:
        for path, unmet in self._state.unmet_paths(1000, Reason.PROBLEM).items():
            self._board.problem(path, unmet.detail)
