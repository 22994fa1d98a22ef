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
from common.messages import NONCE_BYTES, CommandVerb, ReplicaState
from common.orders import Orders, Verb
from common.places import check_apart
from common.settings import ConsumeSettings
from common.transport.broker import open_broker
from common.transport.ports import Broker, Outgoing, Phase, Publisher, Route, Subscriber
from common.transport.urls import shown
from common.version import program_version
from common.wire.codec import encode
from consumer.ages import Clocks
from consumer.apply import Applier
from consumer.asking import Asking
from consumer.change_log import SETTING as CHANGE_LOG_SETTING
from consumer.change_log import ChangeLog
from consumer.errands import Errands
from consumer.following import Follower, Parts
from consumer.gathering import Gathering
from consumer.heeding import Heeding
from consumer.hooking import Hooks
from consumer.large import Large
from consumer.opening import Stopping, open_replica
from consumer.pruning import Pruning
from consumer.questions import Identity, Questions
from consumer.reporting import ReportClock
from consumer.room import Patience
from consumer.scrubbing import Scrub
from consumer.spool import Spool
from consumer.state import State
from consumer.target import Target
from consumer.telling import Links, Telling
from consumer.trying import Trying
from consumer.withholding import Withholding

log = logging.getLogger("treecast")

WAIT_SECONDS = 0.25
"""The longest time the loop waits for a message before it looks at its clocks again."""
WORK_SECONDS = 0.01
"""The same while a thread works on a large content: something will come of it soon."""
ASK_AGAIN_FOR_QUEUE_SECONDS = 1.0
ASK_SECONDS = 0.05
"""How often it is looked at what to ask while messages come without a pause."""
CLOSE_SECONDS = 1.5
"""For each of the two ports, one after the other: with a broker that hangs, a stop still takes less than 5 s."""
TELL_SECONDS = 0.25
"""How old what status shows may be while there is no news to report, as in a first copy."""
SPOOL_NAME = "since.db"
ROOM_SECONDS = 0.5
"""So long between two tries of a step that has no room something is removed that is to go anyway."""
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
        change_log = _open_change_log(settings, board, parts)
        try:
            state, target = _open_patiently(settings, stop, board, parts)
        except Stopping:
            return
        broker = _open_broker(settings)
        publisher = broker.publisher(wake=_ignore, declare=False)
        parts.callback(publisher.close, CLOSE_SECONDS)
        subscriber = broker.replica_subscriber(settings.replica, wake=_ignore)
        parts.callback(subscriber.close, CLOSE_SECONDS)
        applier = Applier(target, state, board, change_log)
        replica = Replica(settings, state, applier, publisher, subscriber, board, stop=stop, orders=orders)
        replica.follow()


def _open_change_log(settings: ConsumeSettings, board: Board, parts: ExitStack) -> ChangeLog | None:
    """The change log, if there is to be one. Raises SettingError."""
    if settings.change_log is None:
        return None
    check_apart(CHANGE_LOG_SETTING, settings.change_log, settings.target)
    change_log = ChangeLog(settings.change_log, settings.log_format, board)
    parts.callback(change_log.close)
    return change_log


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
        self._pruning = Pruning(settings.aside, applier.target.shelf, state.shelf, board)
        self._publisher = publisher
        self._subscriber = subscriber
        self._board = board
        self._stop = stop
        self._large = Large(state, applier.target, board)
        self._asking = Asking(lambda: secrets.token_bytes(NONCE_BYTES))
        whose = Identity(settings.tree, settings.replica)
        self._questions = Questions(whose, state, self._asking, publisher, subscriber)
        self._trying = Trying(state, self._questions.send_in)
        withholding = Withholding(settings.hold, state, board, time.monotonic, time.time)
        gathering = Gathering(Spool(state.path.with_name(SPOOL_NAME)))
        self._reports = ReportClock()
        self._errands = Errands()
        heeding = Heeding(settings.replica, settings.ready_max_lag_seconds, board, time.monotonic)
        heeding.verbs = {CommandVerb.PROVE: self._prove, CommandVerb.SCRUB: self._scrub_for}
        self._asked_for_queue_at = self._told_at = self._asked_at = 0.0
        parts = Parts(
            state, applier, self._large, subscriber, self._asking, gathering, self._trying, withholding, heeding, board
        )
        self._follower = Follower(whose, parts, Patience(stop, time.monotonic, self._while_there_is_no_room))
        self._scrub = Scrub(settings.scrub_interval_seconds, state, applier.target, board, self._follower.put_right)
        self._hooks = Hooks(settings, state, board, time.monotonic)
        links = Links(subscriber, publisher)
        self._telling = Telling(
            settings,
            state,
            self._follower,
            board,
            links,
            large=self._large,
            heeding=heeding,
            details=self._details,
            more=self._more,
        )
        self._handlers: dict[str, Verb] = {**self._scrub.verbs, "scrub": self._scrub_now, **withholding.verbs}

    def follow(self) -> None:
        """Until stopped."""
        self._telling.show_old_problems()
        try:
            with self._scrub.running(self._follower.patiently):
                while not self._stop.is_set():
                    self._round()
        except Stopping:
            return
        except HaltError as error:
            self._halt(error)
            raise
        finally:
            self._large.close()
            self._trying.close()
            self._pruning.close()
            self._hooks.close()

    def _round(self) -> None:
        """One message, or none for a while; answers are merged when enough have come together."""
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
        self._trying.step(time.monotonic(), may_ask=self._questions.is_open)
        self._hooks.turn()

    def _scrub_now(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Whoever wants everything looked at may have put right what kept a path from its place."""
        self._follower.retry_at_once()
        return self._scrub.verbs["scrub"](arguments)

    def _prove(self, nonce: bytes) -> None:
        self._errands.prove(nonce, time.monotonic())

    def _scrub_for(self, nonce: bytes) -> None:
        self._errands.scrub(nonce, self._scrub_now({})["run"])

    def _details(self) -> dict[str, Any]:
        """What a report says beside how the replica stands."""
        errands = self._errands.details(self._state.tree_digest, time.monotonic())
        return {**self._scrub.details(), **self._trying.details(), **self._hooks.details(), **errands}

    def _more(self) -> tuple[object, ...]:
        return self._trying.news, self._errands.count, self._scrub.news

    def _bring_large(self) -> None:
        """Large contents go on beside everything else, as far as can be without waiting."""
        # What goes makes room first; then each large content looks after its room itself.
        makes_room = self._follower.has_no_room_for_contents and self._state.standing().stale
        may_ask = self._questions.may_ask and not makes_room
        decided = self._large.step(time.monotonic(), self._questions.send if may_ask else None)
        if decided is not None:
            self._follower.place(decided)

    def _check_held(self) -> None:
        link = self._subscriber.link
        if self._telling.alarming.is_held(link, time.monotonic()):
            raise AlreadyRunningError(
                f"another consumer has the queue of the replica {self._settings.replica!r}: {link.detail or 'who is not known'};"
                " stop that one, or give this one a name of its own: treecast consume --replica NAME"
            )

    def _prune(self) -> None:
        """What stood aside too long goes for good, a little in each round."""
        self._pruning.turn(time.monotonic(), Clocks(time.time(), self._follower.master_unix_seconds))

    def _while_there_is_no_room(self) -> None:
        """It may come of what is to go anyway."""
        self._speak()
        until = time.monotonic() + ROOM_SECONDS
        self._prune()
        while self._pruning.is_busy and time.monotonic() < until:
            self._prune()

    def _pause_seconds(self) -> float:
        if self._scrub.has_news or self._trying.is_busy or self._pruning.is_busy:
            return 0.0
        now = time.monotonic()
        dues = [self._reports.due_at(self._telling.news()), self._follower.due_at(), self._asking.due_at()]
        longest = WORK_SECONDS if self._large.is_busy else WAIT_SECONDS
        return max(0.0, min([longest, *(due - now for due in dues if due is not None)]))

    def _halt(self, error: HaltError) -> None:
        """Applying stops, the subscription is given up, and it says so until a person comes."""
        self._telling.is_halted = True
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
            self._ask(is_silent=False)

    def _ask(self, *, is_silent: bool = True) -> None:
        self._asked_at = time.monotonic()
        self._questions.ask(
            self._asked_at,
            not_before=self._follower.ask_from,
            with_contents=not self._follower.has_no_room_for_contents,
            is_merging=self._follower.is_merging,
            is_silent=is_silent,
        )

    # -- reports, and what the board shows
    def _speak(self) -> None:
        """Tell the board, and report when that is due."""
        news, now = self._telling.news(), time.monotonic()
        needs_queue = (
            news.word is ReplicaState.NO_QUEUE and now - self._asked_for_queue_at >= ASK_AGAIN_FOR_QUEUE_SECONDS
        )
        is_due = self._reports.is_due(news, now) or needs_queue
        if is_due or now - self._told_at >= TELL_SECONDS:
            self._telling.tell_board(news, now)
            self._told_at = now
        if not is_due:
            return
        if needs_queue:
            self._asked_for_queue_at = now
        # Who holds the queue speaks for this replica.
        if self._subscriber.link.phase is not Phase.HELD:
            self._publisher.publish(Outgoing(Route.UPSTREAM, encode(self._telling.report(news, time.time_ns()))))
        self._reports.sent(news, now)
