"""Does: has the lead, and an epoch that is announced: before that, nothing is numbered and no heartbeat is sent.

Asks `epochs` who leads and `vouching` whether the journal may be believed, and does what they say: a new epoch is drawn, the
index reopened, a replica tried, the epoch announced. Knows the journal, the stream and what replicas say; not how the index is
filled.
"""

import logging
import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from common.board import Board
from common.entries import Position
from common.errors import AlreadyRunningError, StoppedError
from common.holds import HoldLimit
from common.transport.ports import Phase, Subscriber
from producer import announced
from producer.announced import Doubt, Wish
from producer.epochs import HELD_LIMIT_SECONDS, Lead, Standing
from producer.journal import Journal
from producer.stream import Stream, begin_epoch
from producer.upstream import Upstream
from producer.vouching import REPLICAS_SPEAK_SECONDS, Act, Seen, Verdict, Vouching

log = logging.getLogger("treecast")

ALARM = "trial"
TAKE_OVER_ALARM = "take-over"
WAIT_SECONDS = 0.1
"""How soon to judge again while the epoch is not announced; what replicas say comes with a wake."""


class Parts(NamedTuple):
    """What a lead is had with; all of it belongs to the loop's thread."""

    journal: Journal
    stream: Stream
    upstream: Upstream
    subscriber: Subscriber
    board: Board


class Leading:
    """See the module. Owned by one thread; `now`: seconds of a steady clock."""

    def __init__(
        self,
        parts: Parts,
        limit: HoldLimit,
        *,
        reopen: Callable[[], None],
        held_limit_seconds: float = HELD_LIMIT_SECONDS,
    ) -> None:
        """`reopen`: told that the index is to be made anew from the source."""
        self._journal, self._stream, self._upstream, self._subscriber, self._board = parts
        self._reopen_source = reopen
        self._lead = Lead(held_limit_seconds)
        self._vouching = Vouching(limit)
        self.is_whole = False
        """Whether the source was compared with the index, whole, since nobody else could publish."""
        self.was_second = False
        """Whether another has led, or published, and the source was not compared since our epoch was announced: from then on
        nobody follows the other."""
        self._since: float | None = None
        self._hears_since: float | None = None
        self.standing = Standing.WAITS

    # -- how it stands

    @property
    def leads(self) -> bool:
        """Whether this process may publish, as far as others are concerned."""
        return self.standing in (Standing.LEADS, Standing.TAKES_OVER) and not self._lead.has_seen_another

    @property
    def is_live(self) -> bool:
        """Whether it leads, its epoch is announced, and what an earlier run left was handed over."""
        return self.leads and self._journal.is_announced and self._stream.is_caught_up

    @property
    def may_answer(self) -> bool:
        """Whether questions are answered: once the source was compared with the index; also while a replica compares."""
        return (self.is_live and self.is_whole) or (self.standing is Standing.LEADS and self._vouching.is_comparing)

    @property
    def takes_base(self) -> bool:
        """Whether what is found in the source goes into the index without an event: until the index is vouched for, but not
        while a replica compares with it."""
        return not self._journal.announced.is_vouched and not self._vouching.is_comparing

    @property
    def word(self) -> str:
        """What keeps the epoch from being announced, for a person; "" for nothing."""
        if self._journal.is_announced or not self._journal.is_base_complete or not self.leads:
            return ""
        if self._vouching.is_comparing:
            return "comparing"
        return "doubting" if self._journal.announced.doubt is not None else "hearing"

    @property
    def waits_for(self) -> str:
        """What it waits for before it is live, in words; "" where it is."""
        link = self._subscriber.link
        if self.is_live:
            return ""
        if not link.is_open:
            return "another producer, which leads," if link.phase is Phase.HELD else f"the broker ({link.phase.value})"
        return "the word of replicas on its journal" if self.word else "its first scan"

    def led_seconds(self, now: float) -> float:
        """For how long it has led; 0 before it did."""
        return 0.0 if self._since is None else now - self._since

    def wait_seconds(self) -> float | None:
        """How soon to look again; None: there is an epoch, and the source was compared."""
        is_settled = self._journal.is_announced and self.is_whole
        return None if is_settled or self.standing is Standing.WAITS else WAIT_SECONDS

    # -- in a round

    def judge(self, now: float) -> None:
        """Who leads; what came upstream; whether the epoch may be announced. Raises AlreadyRunningError when another leads for
        over a minute, or at the proof that another has taken over."""
        link = self._subscriber.link
        self.standing = self._lead.judge(link, now)
        if self.standing is Standing.YIELDS:
            raise AlreadyRunningError(
                f"another producer leads the tree {self._board.tree!r}: {link.detail or 'its name is not known'}; "
                "stop that one first, then: treecast produce; or publish in its place: treecast epoch start --take-over"
            )
        if link.phase is Phase.HELD and self._journal.announced.wish is Wish.TAKE_OVER:
            self._take_over(now)
        self._tell_take_over(link.detail, now)
        if self.standing is Standing.WAITS:
            if not self._journal.is_announced:
                self._vouching.begin_anew()
            return
        self._since = now if self._since is None else self._since
        if self.standing is Standing.LEADS:
            self._hear(now)
        if not self._journal.is_announced and self._stream.call():
            self._carry_out(self._vouching.judge(self._seen(), now))
        if self._journal.is_announced:
            self._stream.catch_up()

    def note_whole(self) -> None:
        """The whole source is in the index, as of now."""
        self.is_whole = True
        if self._journal.is_announced:
            self.was_second = False

    def _hear(self, now: float) -> None:
        """A new epoch where another may have published since ours was drawn: before it is heard what replicas say of that one."""
        if self._lead.has_seen_another:
            self._draw_anew()
            self._lead.has_seen_another = False
            self._hears_since = None
            self.was_second = True
            self._compare_anew()
        self._hears_since = now if self._hears_since is None else self._hears_since
        self._upstream.hear(now, may_vouch=now - self._hears_since >= REPLICAS_SPEAK_SECONDS)
        if self._upstream.is_outdone:
            self._upstream.is_outdone = False
            self._draw_anew()

    def _compare_anew(self) -> None:
        """What was found of the source before may be older than what another published meanwhile: a base is scanned for again."""
        self.is_whole = False
        if not self._journal.announced.is_vouched:
            self._reopen_source()

    def _draw_anew(self) -> None:
        begin_epoch(self._journal)
        self._vouching.begin_anew()

    def _seen(self) -> Seen:
        journal, value = self._journal, self._journal.announced
        return Seen(
            journal.stand.lineage,
            journal.stand.digest,
            Position(value.epoch, journal.stand.sequence),
            value.instance,
            value.is_vouched,
            is_base_whole=self.is_whole and journal.is_base_complete,
            is_approved=value.wish is Wish.START,
            is_doubted=value.doubt is not None,
            takes_over=self.standing is Standing.TAKES_OVER,
            members=self._upstream.members.known(),
            heard=self._upstream.fleet.reports(),
        )

    def _carry_out(self, verdict: Verdict) -> None:
        match verdict.act:
            case Act.REOPEN:
                log.warning(
                    "replicas hold more than this journal knows of: it was restored or copied, and is made anew"
                )
                self._reopen()
            case Act.ANNOUNCE:
                self._announce(verdict.is_released)
            case Act.TRY:
                self._stream.try_with(verdict.replica)
            case Act.DOUBT:
                self._doubt(verdict)
        if self._journal.announced.doubt is not None:
            self._board.alarm(ALARM, self._doubt_text(self._journal.announced.doubt))

    def _announce(self, is_released: bool | None) -> None:
        self._journal.announce(is_released=is_released)
        self.is_whole = self.is_whole and not self.was_second
        self._stream.beat_now()
        self._board.clear(ALARM)
        log.info("epoch %d is announced", self._journal.stand.lineage.epoch)

    def _doubt(self, verdict: Verdict) -> None:
        found = verdict.compared
        assert found is not None
        doubt = Doubt(found.replica, found.creates, found.modifies, found.deletes, verdict.limit)
        self._journal.note(replace(self._journal.announced, doubt=doubt))

    def _doubt_text(self, doubt: Doubt) -> str:
        state = shlex.quote(str(self._journal.path.parent))
        return (
            f"the journal does not know what was published, and the source is not what replica {doubt.replica} holds:"
            f" {doubt.creates:,} creates, {doubt.modifies:,} modifies and {doubt.deletes:,} deletes, more than {doubt.limit:,};"
            " nothing is published. Bring the right files back, and it goes on by itself; or, if the source is right:"
            f" treecast epoch start --state {state}"
        )

    # -- taking over

    def _reopen(self) -> None:
        self.is_whole, self.was_second = False, True
        self._vouching.begin_anew()
        self._journal.reopen()
        self._reopen_source()

    def _take_over(self, now: float) -> None:
        """What the journal knows is older than what the other published: what is in the source counts."""
        if self._lead.is_taking_over:
            return
        self._lead.take_over(now)
        self._lead.has_seen_another, self.was_second = False, True
        self.standing = Standing.TAKES_OVER
        begin_epoch(self._journal)
        if self._journal.announced.is_vouched:
            self._reopen()
        else:
            self._compare_anew()

    def _tell_take_over(self, leader: str, now: float) -> None:
        if self.standing is Standing.TAKES_OVER and self._lead.held_too_long(now):
            self._board.alarm(
                TAKE_OVER_ALARM,
                f"the producer whose place was taken still hears the replicas: {leader or 'its name is not known'};"
                " stop it: before that, no question of a replica is answered",
            )
        else:
            self._board.clear(TAKE_OVER_ALARM)

    # -- what a person asks

    def start(self, now: float, *, takes_over: bool) -> str:
        """A person wants a new epoch now, from the source as it is. Returns what is done: "begun", "approved", "taken over".

        Raises StoppedError when another leads, and its place is not to be taken.
        """
        link = self._subscriber.link
        if self.standing is not Standing.LEADS and link.phase is Phase.HELD and not self._lead.is_taking_over:
            if not takes_over:
                raise StoppedError(
                    f"another producer leads the tree {self._board.tree!r}: {link.detail or 'its name is not known'};"
                    " stop that one first, or publish in its place: treecast epoch start --take-over"
                )
            self._journal.note(self._journal.announced.wishing(Wish.TAKE_OVER))
            return "taken over"
        if not self._journal.is_announced:
            self.approve()
            return "approved"
        begin_epoch(self._journal)
        self._announce(None)
        return "begun"

    def approve(self) -> None:
        """A person says that the source is right, whatever replicas hold."""
        if not self._journal.is_announced:
            leads = self.standing is Standing.LEADS
            self._journal.note(self._journal.announced.wishing(Wish.START, leads=leads))

    def told(self) -> dict[str, Any]:
        """How the epoch stands, for a person. `since`: unix seconds, None where no epoch was announced yet."""
        value, stand, fleet = self._journal.announced, self._journal.stand, self._upstream.fleet
        link = self._subscriber.link
        return {
            "tree": stand.lineage.tree,
            "sequence": stand.sequence,
            "released": stand.released,
            **announced.told(value),
            "epoch": stand.lineage.epoch,
            "instance": stand.lineage.instance.hex(),
            "announced": self._journal.is_announced,
            "standing": self.standing.value,
            "leader": link.detail if link.phase is Phase.HELD else "",
            "forked": fleet.forked(stand.lineage, stand.sequence),
            "highest_epoch": max(self._journal.highest_epoch, fleet.highest_epoch()),
        }
