"""Does: compares this replica with an epoch on trial, beside everything else, and tells what it came to in reports.

The producer asks for it, because it cannot vouch for its journal. Digests are asked for, then the rows of the buckets that
differ, in the trial's epoch, and counted; nothing is merged, nothing is followed. Owned by the loop's thread.
"""

import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from common.digests import bucket_of
from common.errors import NoRoomError
from common.messages import NONCE_BYTES, Ask, BucketRows, Downstream, Same, Trial
from common.names import PATTERNS_PATH
from consumer import merging
from consumer.asking import Asking, Wants
from consumer.rekeyed import Rekeyed, remove
from consumer.state import State
from consumer.tables import ALL_STALE
from consumer.trials import SILENCE_SECONDS, Counts, is_for_us, is_same, patterns_in
from consumer.values import Row

log = logging.getLogger("treecast")

FILE_NAME = "trial.db"
"""Beside the state."""

Send = Callable[[int, bytes, Ask], None]
"""Sends a question: its epoch, its nonce, what is asked."""


class _Ours(Protocol):
    """The index by the trial's buckets."""

    def bucket_digest(self, bucket: int) -> bytes: ...
    def rows_of_bucket(self, bucket: int) -> dict[bytes, Row]: ...


class _Comparison:
    """One comparison in progress, or done."""

    def __init__(self, trial: Trial, state: State, place: Path, now: float) -> None:
        self.trial = trial
        self.heard_at = now
        self.counts = Counts()
        self.left = dict(ALL_STALE)
        self.asking = Asking(lambda: secrets.token_bytes(NONCE_BYTES))
        self._patterns = state.patterns
        self._patterns_bucket = bucket_of(trial.lineage.salt, PATTERNS_PATH)
        is_ours = state.standing().salt == trial.lineage.salt
        self.copy = None if is_ours else Rekeyed(state.path, place, trial.lineage.salt)
        self._ours: _Ours = state if self.copy is None else self.copy

    @property
    def is_copying(self) -> bool:
        return self.copy is not None and not self.copy.is_complete

    @property
    def is_done(self) -> bool:
        return not self.left

    def wants(self) -> Wants:
        """The patterns come first: they say what would stay."""
        first = self._patterns_bucket if self._patterns_bucket in self.left else None
        return Wants(self.left, self._ours.bucket_digest, lambda limit, after: {}, with_contents=False, first=first)

    def expects(self, answer: Same | BucketRows) -> bool:
        return answer.lineage == self.trial.lineage and self.asking.expects(answer)

    def take(self, answer: Same | BucketRows, now: float) -> None:
        self.heard_at = now
        self.asking.answered(answer, now)
        if isinstance(answer, Same):
            self.left = {bucket: stale for bucket, stale in self.left.items() if bucket not in set(answer.buckets)}
        elif merging.is_whole(answer) and self.left.pop(answer.bucket, None) is not None:
            self._patterns = patterns_in(answer.rows) or self._patterns
            self.counts.add_bucket(self._ours.rows_of_bucket(answer.bucket), answer.rows, self._patterns)

    def close(self) -> None:
        if self.copy is not None:
            self.copy.close()


class Trying:
    """See the module. `now`: monotonic seconds."""

    def __init__(self, state: State, send: Send) -> None:
        self._state = state
        self._send = send
        self._place = state.path.with_name(FILE_NAME)
        self._comparison: _Comparison | None = None
        remove(self._place)

    @property
    def is_busy(self) -> bool:
        """Whether there is more to do without waiting for anybody."""
        return self._comparison is not None and self._comparison.is_copying

    @property
    def news(self) -> str:
        """Whatever makes a report worth sending at once."""
        one = self._comparison
        return "" if one is None else f"{one.trial.lineage.epoch} {one.trial.digest.hex()} {one.is_done}"

    def details(self) -> dict[str, Any]:
        """What a report says of it."""
        one = self._comparison
        if one is None:
            return {}
        told: dict[str, Any] = {"trial_epoch": one.trial.lineage.epoch, "trial_digest": one.trial.digest.hex()}
        if one.is_done:
            counts = one.counts
            told |= {
                "trial_creates": counts.creates,
                "trial_modifies": counts.modifies,
                "trial_deletes": counts.deletes,
            }
        return told

    def take(self, message: Downstream, now: float) -> bool:
        """Take in what belongs to a trial. False: it is somebody else's."""
        if isinstance(message, Trial):
            self._hear(message, now)
            return True
        one = self._comparison
        if one is None or not isinstance(message, Same | BucketRows) or not one.expects(message):
            return False
        one.take(message, now)
        if one.is_done:
            log.info("compared with epoch %d, which is on trial: %s", message.lineage.epoch, one.counts)
        return True

    def step(self, now: float, *, may_ask: bool) -> None:
        """What is to be done now, in a moment: a portion of the index, or questions."""
        one = self._comparison
        if one is None:
            return
        if not is_for_us(one.trial, self._state.standing()) or now - one.heard_at >= SILENCE_SECONDS:
            self.close()
            return
        try:
            if one.is_copying and one.copy is not None:
                one.copy.fill()
                return
        except NoRoomError as error:
            log.warning("a trial is not compared: %s", error)
            self.close()
            return
        if may_ask:
            for nonce, ask in one.asking.next(one.wants(), now) if one.left else ():
                self._send(one.trial.lineage.epoch, nonce, ask)

    def close(self) -> None:
        """Forget it. Idempotent."""
        if self._comparison is not None:
            self._comparison.close()
            self._comparison = None

    def _hear(self, trial: Trial, now: float) -> None:
        one = self._comparison
        if not is_for_us(trial, self._state.standing()):
            return
        if one is not None and is_same(one.trial, trial):
            one.heard_at = now
            return
        self.close()
        try:
            self._comparison = _Comparison(trial, self._state, self._place, now)
        except NoRoomError as error:
            log.warning("a trial is not compared: %s", error)
