"""Decides what answers make of a replica: which may be merged, and what merging them changes. The rules of docs/agreement.md.

No disk, no database, no clock. A merge is never ahead of the stream, takes whole buckets only, and leaves what was told later.
A since answer is a bucket answer for each bucket that it covers, shortened by what we have already.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from common.digests import bucket_digest, content_digest
from common.entries import Entry, Event, Position
from common.messages import BodyAnswer, BucketRows, Same, Since, TooOld
from common.names import escape
from consumer import agreement, excluding
from consumer.agreement import Decided, Decision, Drop, Wait
from consumer.gathering import Slice
from consumer.holds import LET_GO, Judge
from consumer.values import Row, Stale, Standing, Step, Told, Unmet, View

Merged = Same | BucketRows | BodyAnswer
"""Answers that are merged whole, several in one step."""
Answer = Merged | Since | TooOld


def is_ahead(standing: Standing, answer: Answer) -> bool:
    """An answer is never merged ahead of the stream: it waits until the stream has reached its position."""
    return answer.at > standing.sequence


def is_whole(answer: BucketRows) -> bool:
    """The rows hash to the bucket digest that the answer states."""
    return bucket_digest(answer.lineage.salt, ((r.path, r.entry) for r in answer.rows if r.entry)) == answer.digest


def refuses(standing: Standing, answer: Answer) -> Drop | Wait | None:
    """Why an answer cannot be merged, or cannot yet; None when it can. Whether its question is open was asked before."""
    if agreement.is_fenced(standing, answer.lineage):
        return Drop("fenced")
    if answer.lineage.epoch != standing.epoch:
        return Drop("other-epoch")
    if agreement.is_of_another_lineage(standing, answer.lineage):
        return Drop("other-instance", f"another producer answers in epoch {answer.lineage.epoch}")
    if standing.is_forked:
        return Drop("fork")
    if not isinstance(answer, TooOld) and is_ahead(standing, answer):
        return Wait()
    if isinstance(answer, BucketRows) and not is_whole(answer):
        return Drop("torn-answer", f"the rows of bucket {answer.bucket} do not hash to its digest")
    if isinstance(answer, BodyAnswer) and content_digest(answer.content) != answer.digest:
        return Drop("body-mismatch", f"the content that came for {escape(answer.path)} does not match its digest")
    return None


def merge(standing: Standing, view: View, answers: Sequence[Merged], judge: Judge = LET_GO) -> Decision:
    """Several answers, each of which `refuses` passed, in one step: all of them tell what is true at our position.

    A bucket is levelled once: an answer that finds its bucket level, or is from before its floor, does nothing.
    """
    same: set[int] = set()
    news: dict[int, dict[bytes, Told]] = {}
    for answer in answers:
        if isinstance(answer, Same):
            same.update(b for b in answer.buckets if may_level(standing, same | news.keys(), b, answer))
        elif isinstance(answer, BucketRows) and may_level(standing, same | news.keys(), answer.bucket, answer):
            news[answer.bucket] = _merge_bucket(standing, view, answer)
    patterns = excluding.patterns_after(standing, view, same | news.keys(), _joined(news))
    if patterns is None:
        news = {bucket: told for bucket, told in news.items() if not excluding.removes(told)}
    levelled, want = same | news.keys(), excluding.keeping(view, _joined(news), patterns)
    for answer in answers:
        if isinstance(answer, BodyAnswer):
            _merge_body(view, answer, want)
    released = max((answer.released for answer in answers if not isinstance(answer, BodyAnswer)), default=0)
    return _levelling(agreement.learned(standing, released), view, levelled, want, judge)


def _joined(news: Mapping[int, Mapping[bytes, Told]]) -> dict[bytes, Told]:
    return {path: told for of_bucket in news.values() for path, told in of_bucket.items()}


def _levelling(
    standing: Standing, view: View, levelled: Collection[int], want: Mapping[bytes, Told], judge: Judge
) -> Decision:
    """One step: what is wanted is placed, and these buckets are level."""
    if not levelled and not want:
        return Drop("no-news")
    stale = {bucket: row for bucket, row in standing.stale.items() if bucket not in levelled}
    return agreement.conclude(
        standing, view, Step(replace(standing, stale=stale), want=want, levelled=frozenset(levelled)), judge
    )


def may_level(standing: Standing, levelled: Collection[int], bucket: int, answer: Answer) -> bool:
    """Whether this answer may bring this bucket level."""
    stale = standing.stale.get(bucket)
    return stale is not None and bucket not in levelled and agreement.floor_allows(stale, standing.epoch, answer.at)


def _merge_bucket(standing: Standing, view: View, answer: BucketRows) -> dict[bytes, Told]:
    """What one bucket answer makes known and new: all the bucket holds there, and nothing else."""
    rows = {event.path: event for event in answer.rows}
    gone = view.in_buckets([answer.bucket]) - rows.keys()
    return _news(view, [*answer.rows, *(Event(path, None) for path in gone)], Position(standing.epoch, answer.at))


def merge_slice(standing: Standing, view: View, part: Slice, judge: Judge = LET_GO) -> Decision:
    """One slice of a since answer that is whole: the buckets among these that it covers are level, with its rows in them."""
    levelled = {b for b in part.buckets if _may_level_since(standing, b, part)}
    rows = [row for row in part.rows if view.bucket_of(row.path) in levelled]
    learned = agreement.learned(standing, part.released)
    want = _news(view, rows, Position(standing.epoch, part.at))
    patterns = excluding.patterns_after(standing, view, levelled, want)
    if patterns is None and excluding.removes(want):
        return Drop("patterns-unknown")
    return _levelling(learned, view, levelled, excluding.keeping(view, want, patterns), judge)


def _may_level_since(standing: Standing, bucket: int, part: Slice) -> bool:
    stale = standing.stale.get(bucket)
    return stale is not None and covers(stale, part.base) and agreement.floor_allows(stale, standing.epoch, part.at)


def covers(stale: Stale, base: int) -> bool:
    """Whether an answer from this base names every change since the bucket was last level."""
    return stale.base is not None and stale.base >= base


def forget_bases(standing: Standing, reach: int) -> Decision:
    """The log does not go back behind `reach`: bases below it serve no question any more."""
    lost = {bucket: row._replace(base=None) for bucket, row in standing.stale.items() if is_too_old(row, reach)}
    return Decided(Step(replace(standing, stale={**standing.stale, **lost}))) if lost else Drop("no-news")


def is_too_old(stale: Stale, reach: int) -> bool:
    """Whether a bucket's base is from before what the log still has."""
    return stale.base is not None and stale.base < reach


def _news(view: View, rows: Collection[Event], at: Position) -> dict[bytes, Told]:
    """What these rows, true at this position, make known and new; what was told later stays."""
    paths = [row.path for row in rows]
    ours, tombs, unmet = view.rows(paths), view.tombs(paths), view.unmet(paths)
    want = {}
    for path, entry, body, keep in rows:
        if stays_ours(agreement.told(ours.get(path), tombs.get(path)), at):
            continue
        if differs(ours.get(path), entry) or path in unmet:
            want[path] = Told(entry, at, body, keep)
    return want


def stays_ours(told_at: Position, answer_at: Position) -> bool:
    """What a live event told later than the answer stays."""
    return told_at > answer_at


def differs(ours: Row | None, theirs: Entry | None) -> bool:
    """Whether the index has something else."""
    return (ours.entry if ours is not None else None) != theirs


def _merge_body(view: View, answer: BodyAnswer, want: dict[bytes, Told]) -> None:
    """A content for a path that is unmet; it must be what the index has there now."""
    path = answer.path
    if path in want:
        planned = want[path]
        if planned.entry is not None and planned.body is None and planned.entry.digest == answer.digest:
            want[path] = planned._replace(body=answer.content)
        return
    row = view.rows([path]).get(path)
    if row is not None and is_wanted(row.entry, answer, view.unmet([path])):
        want[path] = Told(row.entry, row.at, answer.content)


def is_wanted(entry: Entry, answer: BodyAnswer, unmet: Mapping[bytes, Unmet]) -> bool:
    """Whether this content is missing at its path, and is what the index has there NOW."""
    return answer.path in unmet and content_digest(answer.content) == entry.digest


def place_stored(standing: Standing, view: View, path: bytes, digest: bytes) -> Decision:
    """A large content lies whole in the store: place it where it is missing, if that is what the index knows to be there NOW.

    What is only guessed there may contradict what is known above it, and says nothing of the master.
    """
    row = view.rows([path]).get(path)
    if row is None or row.entry.digest != digest or path not in view.unmet([path]):
        return Drop("no-news")
    if not agreement.is_known(standing, view, path):
        return Drop("no-news")
    return agreement.conclude(standing, view, Step(standing, want={path: Told(row.entry, row.at, is_stored=True)}))


def retry(standing: Standing, view: View, paths: Collection[bytes]) -> Decision:
    """Place again what a problem or a hold that is released left unmet, as far as it is known: directories and absences at once;
    a file becomes unmet for want of its body."""
    known = agreement.known_ones(standing, view, paths)
    rows = view.rows(known)
    want = {path: Told(rows[path].entry, rows[path].at) if path in rows else Told(None, None) for path in known}
    if not want:
        return Drop("no-news")
    return agreement.conclude(standing, view, Step(standing, want=want))
