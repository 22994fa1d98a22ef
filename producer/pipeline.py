"""The producer's loop: hear, scan, compare, close, cut, and hand over to the stream; heartbeats and answers in between.

It puts the parts together and decides when each has its turn; what each does, it knows from their names only. Everything here
happens on one thread; `step` is one round, so that tests can drive it.
"""

from collections.abc import Callable

from common.board import Board
from common.errors import NoRoomError, RootGoneError
from common.holds import NO_HOLD, HoldLimit
from common.names import PATTERNS_PATH
from common.transport.ports import Publisher, Subscriber
from producer import batching, numbering
from producer.answerer import Answerer
from producer.closing import close
from producer.comparing import Comparer
from producer.dirty import DirtySet
from producer.epochs import HELD_LIMIT_SECONDS
from producer.excluding import PublishedPatterns
from producer.finding import Finding, MakeWatch
from producer.first_comparison import FirstComparison
from producer.hashing import HashingThread
from producer.holds import Holds, Released
from producer.journal import Journal
from producer.leading import Leading, Parts
from producer.membership import READY_FLOOR
from producer.rounds import Round
from producer.source import Source
from producer.stream import Stream
from producer.telling import Facts, Telling
from producer.tracing import Tracing
from producer.upstream import Upstream
from producer.values import Change
from producer.vouching import REPLICAS_SPEAK_SECONDS
from producer.waiting import Waiting

AGAIN_SECONDS = 0.01
"""How soon to look again at what waits for its directory; the delay grows."""
NO_ROOM_SECONDS = 1.0
ROOT_DOUBT_SECONDS = 0.2
_NO_DIRECTORY = "the directory above it cannot be carried"


class Pipeline:
    """See the module. `now`: seconds of a steady clock, the same for every step."""

    def __init__(  # noqa: PLR0913 - what it puts together
        self,
        journal: Journal,
        source: Source,
        board: Board,
        *,
        publisher: Publisher,
        subscriber: Subscriber,
        answerer: Answerer,
        make_watch: MakeWatch,
        leader: str,
        scan_interval_seconds: float | None = None,
        wire_pin: int | None = None,
        wake: Callable[[], None] = lambda: None,
        bandwidth_bytes: int | None = None,
        ready_floor: float = READY_FLOOR,
        hold: HoldLimit = NO_HOLD,
        held_limit_seconds: float = HELD_LIMIT_SECONDS,
    ) -> None:
        self._journal = journal
        self._board = board
        self._publisher = publisher
        self._dirty = DirtySet()
        self._comparer = Comparer(source, journal, self._dirty, board, HashingThread(wake))
        self.holds = Holds(journal, hold, self._dirty, board, hint=self._comparer.hint)
        self._stream = Stream(journal, publisher, board, leader=leader)
        self._upstream = Upstream(
            journal,
            self._stream,
            answerer,
            board,
            publisher=publisher,
            subscriber=subscriber,
            doubt=self.reread,
            bandwidth_bytes=bandwidth_bytes,
            ready_floor=ready_floor,
        )
        self._finding = Finding(
            source,
            journal,
            self._dirty,
            self._comparer,
            board,
            make_watch=make_watch,
            told_entries=self._upstream.fleet.most_entries,
            scan_interval_seconds=scan_interval_seconds,
        )
        self.members, self.commanding = self._upstream.members, self._upstream.commanding
        self._telling = Telling(board, publisher, subscriber, self._upstream, wire_pin=wire_pin)
        parts = Parts(journal, self._stream, self._upstream, subscriber, board)
        self.leading = Leading(parts, hold, reopen=self._begin_anew, held_limit_seconds=held_limit_seconds)
        self._linger = batching.Linger()
        self._round = Round(self._dirty)
        passed = (self._finding, self._dirty, self._comparer, self._round)
        self.waiting = Waiting(journal, *passed, self.holds)
        self._first_comparison = FirstComparison(self.waiting)
        self.tracing = Tracing(source, board, self._stream.stages, journal, *passed)
        self._paused_until = self._now = float("-inf")
        self._patterns = PublishedPatterns(source.patterns, journal.entry)
        self._excludes = source.excludes

    # -- one round of the loop

    def step(self, now: float) -> float:
        """One round. Returns for how many seconds nothing needs to be done unless something wakes the loop.

        Raises AlreadyRunningError when another leads; StateError and HaltError when the journal cannot be used.
        """
        self._board.tick("pipeline")
        self._now = now
        try:
            self.leading.judge(now)
            self.members.tend(now)
            if self._is_live:
                self._stream.beat(now, self.members.in_service)
            self._finding.hear(now)
            self._comparer.hear_hashed(now)
            self.waiting.step(now, is_live=self._is_live)
            self._compare_first(now)
            self._finding.scan(now)
            self._work(now)
            self.holds.tend(self._finding, now)
            if now >= self._paused_until:
                self._board.clear("no-room")
        except NoRoomError as error:
            self._board.alarm("no-room", str(error))
            self._pause(now, NO_ROOM_SECONDS)
        except RootGoneError:
            self._finding.check_root(now)
            self._pause(now, ROOT_DOUBT_SECONDS)
        if self.leading.may_answer:
            self._upstream.answer(now)
        wait_seconds = self._wait_seconds(now)
        self._tell(now, is_idle=wait_seconds > 0)
        return wait_seconds

    def _compare_first(self, now: float) -> None:
        """Before the source was compared with it, nobody is told what is in the index, but by batches."""
        if not self._is_live:
            self._first_comparison.give_up()
        elif not self.leading.is_whole and self._first_comparison.is_over(now, is_anew=self.leading.was_second):
            self.leading.note_whole()

    def _work(self, now: float) -> None:
        """Build the base, or number the next batch. Whatever fails for lack of room is looked at again."""
        try:
            changes: list[Change] = []
            if now >= self._paused_until:
                if self._takes_base:
                    self._build_base(now)
                elif self._is_live and self._stream.has_room():
                    changes = self._next_batch(now)
            if changes:
                self.holds.note(changes, now)
            if self._stream.exchange(changes, now, self._round.seen(changes)) is not None:
                self._linger.left(now)
        except NoRoomError:
            self._round.give_up()
            raise

    # -- from hints to changes

    @property
    def may_reread(self) -> bool:
        """Whether the whole source is in the index, and above doubt."""
        return self._journal.is_base_complete and self._finding.may_publish

    def reread(self, path: bytes) -> None:
        """The source may have another content than was published, or none: the watch may have lost a change. Read it again.

        Not where the root is in doubt: then no content is there, and all is compared anyway when it is back.
        """
        if self._finding.may_publish and path not in self._comparer.problems and path != PATTERNS_PATH:
            self._comparer.hint(path, self._now, force=True)

    def _build_base(self, now: float) -> None:
        """What is found goes into the index without an event, until the whole tree is in it."""
        if not self._finding.may_build or self._may_be_lost(now):
            return
        while changes := self._patterns.changes():
            self._journal.commit_base(numbering.apply(self._journal.stand, changes))
        self._begin_round(now, with_bodies=False)
        taken = len(self._round.taken)
        while changes := self._round.cut():
            self._journal.commit_base(numbering.apply(self._journal.stand, changes))
        self._finding.took_for_base(taken, now)
        is_found = self._journal.is_base_complete and self._finding.is_scan_complete
        if is_found and not self._dirty.ready(now) and not len(self._comparer.unhashed):
            self.leading.note_whole()

    def _begin_anew(self) -> None:
        """What was found belongs to an index that is made anew."""
        self._round.give_up()
        self._finding.begin_anew()
        self.holds.begin_anew()

    def _may_be_lost(self, now: float) -> bool:
        """A tree of nothing that no journal knows may be one whose disk is missing, and its journal's too: before it is
        announced, and every replica emptied, the replicas have time to say what they hold."""
        if self._journal.stand.entries or self._dirty.ready(now) or self._journal.held.is_emptied:
            return False
        if self.leading.led_seconds(now) < REPLICAS_SPEAK_SECONDS:
            return True
        # Where there are files, and all are excluded, the disk is there.
        return self._finding.is_root_empty and self._upstream.fleet.most_entries() > 0

    def _next_batch(self, now: float) -> list[Change]:
        """The changes of the next batch; none when nothing changed, or when it is worth waiting for more."""
        if not self._round.is_open:
            if self._finding.may_publish and (changes := self._patterns.changes()):
                return changes
            ready = self._dirty.ready(now)
            if not ready or not self._finding.may_publish or self._linger.wait_seconds(now, ready) > 0:
                return []
            self._begin_round(now, with_bodies=True)
        return self._round.cut()

    def _begin_round(self, now: float, *, with_bodies: bool) -> None:
        compared = self._comparer.compare(now, with_bodies=with_bodies)
        self._round.begin(compared.taken, compared.seen)
        # After the looks: what they did not find is believed only if the root is still there and not empty.
        if compared.takes_away and not self._is_root_sound(now, is_base=not with_bodies):
            self._round.give_up()
            return
        if compared.identities:
            self._journal.remember(compared.identities)
        self._linger.weighed(len(compared.changes), compared.raw_bytes)
        judged = self.holds.judge_compared(compared, self._finding, now) if with_bodies else compared.changes
        closed = close(judged, self._journal, self._excludes)
        for change, ancestor in closed.waiting:
            self._comparer.hint(ancestor, now)
            self._comparer.look_again(change.path, now, AGAIN_SECONDS, _NO_DIRECTORY)
        waiting = frozenset(change.path for change, _ in closed.waiting)
        self._round.settles = lambda: compared.told - waiting
        self._round.cut_from(batching.cut(closed.ordered))

    def _is_root_sound(self, now: float, *, is_base: bool) -> bool:
        self._finding.check_root(now)
        return self._finding.may_build if is_base else self._finding.may_publish

    def _pause(self, now: float, seconds: float) -> None:
        self._paused_until = now + seconds

    # -- what is held

    def release(self, now: float) -> Released:
        """A person says that what is held is meant, that an empty source was emptied on purpose, and vouches for the tree."""
        released = self.holds.release(now, is_emptied=self._finding.is_empty)
        if released.is_emptied or self.leading.word == "doubting":
            self.leading.approve()
        self._finding.check_root(now)
        self._stream.beat_soon()
        return released

    # -- what the loop needs to know of itself

    @property
    def _is_live(self) -> bool:
        """Whether this process leads, and what it says about its tree holds."""
        return self.leading.is_live and self._journal.is_base_complete

    @property
    def _takes_base(self) -> bool:
        """Whether what is found goes into the index without an event."""
        return not self._journal.is_base_complete or self.leading.takes_base

    @property
    def _is_quiet(self) -> bool:
        """Whether everything that is known to have changed is published and confirmed."""
        is_found = self._finding.is_scan_complete and not self._finding.is_scanning and self._finding.may_publish
        is_sent = (
            self._is_looked_at
            and not self.holds.is_feeding
            and self.holds.is_judged
            and self._publisher.in_flight()[0] == 0
        )
        return is_found and is_sent and self._is_live

    @property
    def _is_looked_at(self) -> bool:
        """Whether nothing waits to be looked at, hashed or cut."""
        return not len(self._dirty) and not len(self._comparer.unhashed) and not self._round.is_open

    def _wait_seconds(self, now: float) -> float:
        times = [self._finding.wait_seconds(now)]
        if self._is_live:
            times.append(self._stream.wait_seconds(now))
        if now < self._paused_until:
            times.append(self._paused_until - now)
        elif not self._takes_base:
            times.append(self._wait_for_batch(now))
        elif self._finding.may_build:
            times.append(self._or_long(self._dirty.next_due(now)))
        if self.leading.may_answer and (answers_seconds := self._upstream.wait_seconds()) is not None:
            times.append(answers_seconds)
        if (judge_seconds := self.leading.wait_seconds()) is not None:
            times.append(judge_seconds)
        return max(0.0, min(times))

    def _wait_for_batch(self, now: float) -> float:
        """When the next batch could be made; room and the lead come with a wake."""
        if not self._is_live or not self._stream.has_room():
            return batching.LINGER_SECONDS * 20
        if self._round.is_open:
            return 0.0
        if not self._finding.may_publish:
            return batching.LINGER_SECONDS * 20
        due = self._dirty.next_due(now)
        return self._linger.wait_seconds(now, self._dirty.ready(now)) if due == 0.0 else self._or_long(due)

    def _or_long(self, seconds: float | None) -> float:
        return seconds if seconds is not None else batching.LINGER_SECONDS * 40

    # -- the end, and the world

    def _tell(self, now: float, *, is_idle: bool) -> None:
        is_quiet = self._is_quiet
        if not self._telling.is_due(now, is_idle=is_idle, is_quiet=is_quiet):
            return
        facts = Facts(
            stand=self._journal.stand,
            dirty=len(self._dirty),
            leads=self.leading.leads,
            unannounced=self.leading.word,
            is_base_complete=self._journal.is_base_complete,
            is_scan_complete=self._finding.is_scan_complete,
            is_scanning=self._finding.is_scanning,
            is_believed=self._finding.may_build,
            is_quiet=is_quiet,
            held=self.holds.total,
            catch_up_window_seconds=self._journal.catch_up_window_seconds,
        )
        self._telling.tell(facts, now)

    def close(self) -> None:
        """End the watch and the hashing. What is not published is found again at the next start. Idempotent."""
        self.members.close()
        self.holds.close()
        self._finding.close_watch()
        self._comparer.forget_hashed()
