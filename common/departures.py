"""Decides which paths went lately and count: those that were in the tree ten minutes before they went, and are absent now.

A path that came back counts no more. Nor does one whose content came elsewhere within ten minutes, before or after it went: a
move. Each content that came stands in for one that went. Times are seconds of a steady clock of the caller's.

What happens is only written down, some 24 bytes each; it is gone through, once and in its order, when somebody must know
exactly. So a tree in which little is deleted pays nothing for it. Paths and contents are told apart by their hashes of 64 bits.
"""

from array import array
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, takewhile
from typing import NamedTuple

from common.entries import Entry

WINDOW_SECONDS = 600.0
LOG_LIMIT = 1_000_000
"""So much is written down at most before it is gone through."""
ARRIVALS_LIMIT = 250_000
"""So many paths are known at most to have come lately. The oldest are forgotten first: then a move may count, never less."""
_SAMPLE_SECONDS = 5.0

Difference = tuple[bytes, Entry | None, Entry | None]
"""A path, what was there, what is there now."""


class Departed(NamedTuple):
    """A delete: the path, and the digest of what was there (nothing for a directory)."""

    path: bytes
    digest: bytes


class _Came(NamedTuple):
    """What came to a path last, and when; `born_at`: when the path came to be, before everything where it was there."""

    content: int
    at: float
    born_at: float


class _Verdict(NamedTuple):
    """Whether a delete counts, and how many contents that came it uses up."""

    counts: bool
    uses: int


_WENT, _CAME, _CHANGED = 0, 1, 2
_ALWAYS = float("-inf")


class Departures:
    """See the module. Owned by one thread."""

    def __init__(self, departed: Iterable[Departed] = (), *, entries: int = 0, now: float = 0.0) -> None:
        """`departed`: what is known to have gone before a restart: it went just now. `entries`: those of the tree now."""
        self.is_frozen = False
        """While a hold is on, what went stays counted: time alone must not end it."""
        gone = {hash(path): (hash(digest), now) for path, digest in departed}
        self._begin(gone, entries + len(gone), now)

    def _begin(self, gone: dict[int, tuple[int, float]], entries: int, now: float) -> None:
        self._log: deque[tuple[float, array[int]]] = deque()
        self._logged = self._logged_gone = 0
        self._came: dict[int, _Came] = {}
        self._spare: Counter[int] = Counter()
        self._gone = gone
        self._samples = deque([(now, entries)])

    # -- writing down

    def note(self, differences: Iterable[Difference], entries: int, now: float) -> None:
        """These changes were made, in this order; now the tree has so many entries."""
        chunk: array[int] = array("q")
        went = 0
        for path, old, new in differences:
            if new is None:
                if old is not None:
                    went += 1
                    chunk.extend((hash(path), hash(old.digest), _WENT))
            elif old is None or old.digest != new.digest:
                chunk.extend((hash(path), hash(new.digest), _CAME if old is None else _CHANGED))
        if chunk:
            self._log.append((now, chunk))
            self._logged += len(chunk) // 3
            self._logged_gone += went
        self._sample(entries, now)
        self._shorten(now)

    def forget(self, entries: int, now: float) -> None:
        """What went until now was meant: it counts no more. `entries`: what the tree has when all of it is gone."""
        self._begin({}, entries, now)

    def _sample(self, entries: int, now: float) -> None:
        if now - self._samples[-1][0] >= _SAMPLE_SECONDS:
            self._samples.append((now, entries))
        while len(self._samples) > 1 and self._samples[1][0] <= now - WINDOW_SECONDS:
            self._samples.popleft()

    def _shorten(self, now: float) -> None:
        """Drop what matters to nobody any more: what came up to a window before the oldest that may still count."""
        if self._logged > LOG_LIMIT:
            self.settle(now)
        while self._log and self._log[0][0] <= now - 2 * WINDOW_SECONDS:
            if self.is_frozen:
                self.settle(now)
                return
            chunk = self._log.popleft()[1]
            self._logged -= len(chunk) // 3
            self._logged_gone -= chunk[2::3].count(_WENT)

    # -- asking

    @property
    def gone(self) -> int:
        """How many count, as of the last `settle`."""
        return len(self._gone)

    def at_most(self, now: float) -> int:
        """Not more than so many count. Costs nothing."""
        if not self._log:  # what came back within the window must be seen before that has passed
            self._expire(now)
        return len(self._gone) + self._logged_gone

    def entries_before(self, now: float) -> int:
        """How many entries the tree had when the window began, or when somebody first looked."""
        self._sample(self._samples[-1][1], now)
        return self._samples[0][1]

    def is_gone(self, path: bytes) -> bool:
        """Whether this path counts, as of the last `settle`."""
        return hash(path) in self._gone

    def counted(self, pending: Iterable[Departed], now: float) -> Iterator[tuple[Departed, bool]]:
        """Of each of these, whether it would count if they went now, in this order. As of the last `settle`."""
        used: Counter[int] = Counter()
        for departed in pending:
            content = hash(departed.digest)
            spare = self._spare[content] - used[content]
            verdict = _judge(self._came.get(hash(departed.path)), spare, now)
            if verdict.uses:
                used[content] += verdict.uses
            yield departed, verdict.counts

    # -- going through what was written down

    def settle(self, now: float) -> None:
        """Go through all that was written down. Idempotent."""
        gone_of: dict[int, list[int]] = {}
        for path, (content, _) in self._gone.items():
            gone_of.setdefault(content, []).append(path)
        while self._log:
            at, chunk = self._log.popleft()
            self._expire(at)
            for path, content, what in zip(chunk[0::3], chunk[1::3], chunk[2::3], strict=True):
                if what == _WENT:
                    self._go(path, content, at, gone_of)
                else:
                    self._come(path, content, at, gone_of, is_new=what == _CAME)
        self._logged = self._logged_gone = 0
        self._expire(now)

    def _go(self, path: int, content: int, at: float, gone_of: dict[int, list[int]]) -> None:
        verdict = _judge(self._came.pop(path, None), self._spare[content], at)
        self._use(content, verdict.uses)
        if verdict.counts:
            self._gone[path] = (content, at)
            gone_of.setdefault(content, []).append(path)

    def _come(self, path: int, content: int, at: float, gone_of: dict[int, list[int]], *, is_new: bool) -> None:
        before = self._came.pop(path, None)
        if before is not None:
            self._use(before.content, 1)
        born_at = at if is_new else before.born_at if before is not None else _ALWAYS
        back = self._gone.pop(path, None)
        if back is not None:
            born_at = _ALWAYS
            if back[0] == content:
                return
        elif self._find_gone(content, gone_of):
            return
        self._came[path] = _Came(content, at, born_at)
        self._spare[content] += 1
        if len(self._came) > ARRIVALS_LIMIT:
            self._forget_came(list(islice(self._came, ARRIVALS_LIMIT // 10)))

    def _find_gone(self, content: int, gone_of: dict[int, list[int]]) -> bool:
        """Whether something counts that had this content: it was moved, and counts no more."""
        paths = gone_of.get(content, [])
        while paths:
            path = paths.pop()
            if self._gone.get(path, (None,))[0] == content:
                del self._gone[path]
                return True
        return False

    def _use(self, content: int, count: int) -> None:
        left = self._spare[content] - count
        if left > 0:
            self._spare[content] = left
        else:
            self._spare.pop(content, None)

    def _expire(self, now: float) -> None:
        since = now - WINDOW_SECONDS
        self._forget_came([path for path, _ in takewhile(lambda row: row[1].at <= since, self._came.items())])
        if not self.is_frozen:
            for path in [path for path, _ in takewhile(lambda row: row[1][1] <= since, self._gone.items())]:
                del self._gone[path]

    def _forget_came(self, paths: Sequence[int]) -> None:
        for path in paths:
            self._use(self._came.pop(path).content, 1)


def _judge(came: _Came | None, spare: int, now: float) -> _Verdict:
    """Of a path that goes. `came`: what came to it lately. `spare`: how often its content came and stands in for nothing."""
    if came is not None and came.born_at > now - WINDOW_SECONDS:
        # It was not there when the window began; but what was moved to it may have counted on it.
        return _Verdict(spare == 0, min(1, spare))
    needs = 1 if came is None else 2  # what came to itself is not elsewhere
    return _Verdict(spare < needs, min(needs, spare))
