"""Decides what a re-read disk shows: in what a path differs from the index, and what to make of that. Knows no disk.

The rule is docs/agreement.md's "scrub": only what is in a level bucket and not unmet; the index does not change, so drift costs
no base. A file that differs is unmet until its body comes; the rest is put right by place.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from common.digests import DIGEST_BYTES
from common.entries import Entry, Kind, file_entry
from consumer import agreement
from consumer.agreement import Decided, Decision, Drop
from consumer.appearance import AS_PUBLISHED, LEFT, Appearance
from consumer.values import Drift, ForeignPolicy, Standing, Step, Told, View

UNREAD = bytes(DIGEST_BYTES)
"""The digest of a content that was not read, because its size told enough: no content's."""


class Inode(NamedTuple):
    """What tells, without reading, that a file is the one that was read."""

    device: int
    number: int
    ctime_ns: int


class Seen(NamedTuple):
    """What stands at a path of the disk. `entry` None: nothing. Its mode may have bits that no tree carries.

    `owner`: user and group. `is_strange`: something that no tree carries (a fifo, a name that is too long); `entry` then says
    nothing more. `why`: it could not be read, and nothing is known of it. `is_busy`: it changed while it was read.
    """

    entry: Entry | None
    inode: Inode | None = None
    owner: tuple[int, int] = (LEFT, LEFT)
    is_strange: bool = False
    is_busy: bool = False
    why: str = ""


ABSENT = Seen(None)
STRANGE = Seen(file_entry(0, 0, 0, UNREAD), is_strange=True)


def drift_at(wanted: Entry | None, seen: Seen, appearance: Appearance = AS_PUBLISHED) -> Drift | None:
    """In what the disk differs from how the entry shows here; None where it does not, and where it could not be read."""
    found = seen.entry
    if seen.why or (wanted is None and found is None):
        return None
    if wanted is None:
        return Drift.ADDED
    if found is None:
        return Drift.MISSING
    if seen.is_strange or found.kind != wanted.kind:
        return Drift.KIND
    return _content_drift(wanted, found) or _looks_drift(wanted, seen, found, appearance)


def _content_drift(wanted: Entry, found: Entry) -> Drift | None:
    if found.digest == wanted.digest:
        return None
    if wanted.kind is Kind.SYMLINK:
        return Drift.LINK_TARGET
    if found.size < wanted.size:
        return Drift.TRUNCATED
    is_hidden = found.size == wanted.size and found.mtime_ns == wanted.mtime_ns
    return Drift.BIT_ROT if is_hidden else Drift.EDITED


def _looks_drift(wanted: Entry, seen: Seen, found: Entry, appearance: Appearance) -> Drift | None:
    if wanted.kind is not Kind.SYMLINK and found.mode != appearance.mode(wanted):
        return Drift.MODE
    if found.mtime_ns != wanted.mtime_ns:
        return Drift.MTIME
    return Drift.OWNER if _has_other_owner(wanted, seen, appearance) else None


def _has_other_owner(wanted: Entry, seen: Seen, appearance: Appearance) -> bool:
    try:
        shown = appearance.of(wanted)
    except OSError:  # nobody of that name is here: a problem already, where the owner was to be set
        return False
    return any(asked not in (LEFT, has) for asked, has in zip((shown.uid, shown.gid), seen.owner, strict=True))


def in_question(standing: Standing, view: View, paths: Collection[bytes]) -> list[bytes]:
    """Those of these paths that a scrub may judge: in level buckets, and not unmet: of those we know already."""
    unmet = view.unmet(paths)
    return [path for path in paths if is_judged(standing, view.bucket_of(path)) and path not in unmet]


def is_judged(standing: Standing, bucket: int) -> bool:
    """Whether the index knows what the disk should show in this bucket. In a stale one a difference may be our ignorance."""
    return bucket not in standing.stale


def judged(drift: Mapping[bytes, Drift], foreign: ForeignPolicy) -> dict[bytes, Drift]:
    """What of it is to be put right: additions that are kept here are none."""
    return {path: found for path, found in drift.items() if found is not Drift.ADDED or foreign != "keep"}


def put_right(
    standing: Standing, view: View, drift: Mapping[bytes, Drift], foreign: ForeignPolicy = "aside"
) -> Decision:
    """One step for what drifted, as it was seen just now against this index. Directories, modes, times and absences are placed; a
    file that differs becomes unmet, for want of its body."""
    paths = in_question(standing, view, drift)
    rows = view.rows(paths)
    want = {path: Told(rows[path].entry, rows[path].at) if path in rows else Told(None, None) for path in paths}
    if not want:
        return Drop("no-news")
    step = Step(standing, want=want, drift={path: drift[path] for path in want})
    decision = agreement.conclude(standing, view, step)
    if foreign != "delete" or not isinstance(decision, Decided):
        return decision
    added = {path for path, found in drift.items() if found is Drift.ADDED}
    return replace(decision, plan=replace(decision.plan, foreign=decision.plan.foreign - added))
