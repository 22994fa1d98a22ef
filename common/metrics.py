"""Decides which metrics there are: one table, and the samples that a board's figures make. Knows no HTTP.

Base units, `_total` on counters, no path in a label. Whatever is in the table without a label is there from the start, but for
what one role alone can tell.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

PREFIX = "treecast_"

MetricKind = Literal["gauge", "counter"]


class Metric(NamedTuple):
    """One metric. `name` without the prefix, as the board has it; `values` of its label that are there from the start.

    `is_always`: 0 is said before there is a value; otherwise nothing is, for 0 would be taken for a fact.
    """

    name: str
    kind: MetricKind
    meaning: str
    label: str = ""
    values: tuple[str, ...] = ()
    is_always: bool = True


class Sample(NamedTuple):
    """One value of a metric; `label_value` "" for a metric without a label."""

    label_value: str
    value: float


POSITION = Metric("position", "gauge", "Last sequence that was numbered (producer) or durably applied (consumer).")
AGREED = Metric("agreed", "gauge", "1 when this replica is proved equal at its position (producer: when it leads).")
DIRTY_PATHS = Metric("dirty_paths", "gauge", "Paths that are not looked at yet, or wait for room.")
HELD_PATHS = Metric("held_paths", "gauge", "Paths whose delete is held on the master until a person releases it.")
UNCONFIRMED = Metric("unconfirmed_batches", "gauge", "Batches that the broker has not confirmed yet.")
OVERFLOWS = Metric("watch_overflows_total", "counter", "How often the watcher lost events, which a scan then found.")
HEARTBEAT_AGE = Metric("heartbeat_age_seconds", "gauge", "Age of the leading producer's last sign of life.")
PROBLEMS = Metric("problems", "gauge", "Paths that fail; the rest goes on.")
ALARM = Metric("alarm", "gauge", "1 while an alarm of this kind is on.", "kind")
REFUSED = Metric("refused_total", "counter", "Messages that were refused.", "reason")
EVENTS_PUBLISHED = Metric("events_published_total", "counter", "Events that were numbered.")
BYTES_PUBLISHED = Metric("bytes_published_total", "counter", "Bytes of batches that were numbered, as sent.")
EVENTS_APPLIED = Metric("events_applied_total", "counter", "Events that were durably applied.")
STALE_BUCKETS = Metric("stale_buckets", "gauge", "Buckets of 4,096 that are not known to be level.")
UNMET_PATHS = Metric(
    "unmet_paths", "gauge", "Published, but not so on this disk yet.", "reason", ("body", "problem", "held", "released")
)
SYNC_KINDS = ("digests", "buckets", "since", "contents")
SYNC_BYTES = Metric("sync_bytes_total", "counter", "Bytes of answers to this replica, as sent.", "kind", SYNC_KINDS)
SYNC_PATHS = Metric("sync_paths_total", "counter", "Paths that answers told this replica of.", "kind", SYNC_KINDS)
SYNC_SECONDS_LEFT = Metric(
    "sync_seconds_left",
    "gauge",
    "How long the sync that runs will take at its rate; 0 when none runs, NaN when unknown.",
)
GAPS = Metric("gaps_total", "counter", "Holes in the stream that were not filled in time, and were synced.")
DIVERGENCES = Metric("divergences_total", "counter", "Times that the tree digest was not the published one.")
FORKS = Metric("forks_total", "counter", "Times that two different batches had one position.")
SET_ASIDE = Metric("foreign_set_aside_total", "counter", "Foreign paths that were moved aside.")
LARGE_FETCHED = Metric("large_bytes_fetched_total", "counter", "Bytes of large contents that came in parts.")
LARGE_COPIED = Metric("large_bytes_copied_total", "counter", "Bytes of large contents that the replica's tree had.")
ASIDE_BYTES = Metric("aside_bytes", "gauge", "Bytes on the disk of what was set aside and is still kept.")
SCANS = Metric("scans_total", "counter", "Scans of the whole source that were finished.")
CATCH_UP_WINDOW = Metric(
    "catch_up_window_seconds",
    "gauge",
    "Producer: how long a replica may be away, at the rate of changes of late, and surely catch up by what changed since. "
    "The age of the oldest change of this epoch that the log holds and one answer takes along; while there is room for more, "
    "in proportion. At most 2592000, also when nothing changes. After longer it compares buckets.",
    is_always=False,
)
HOOK_PENDING = Metric(
    "hook_pending_seconds",
    "gauge",
    "How long the oldest change waits that the hook of this replica was not told of; 0 when none waits.",
    is_always=False,
)
HOOK_RUNS = Metric(
    "hook_runs_total", "counter", "Runs of the hook of this replica.", "result", ("ok", "failed", "timeout")
)
DRIFT_KINDS = (
    "added", "bit-rot", "edited", "kind", "link-target", "missing", "mode", "mtime", "owner", "truncated", "unreadable",
)  # fmt: skip
SCRUB_FINDINGS = Metric("scrub_findings_total", "counter", "What scrubs found on this disk.", "kind", DRIFT_KINDS)
SCRUB_REPAIRED = Metric("scrub_repaired_total", "counter", "What scrubs found and was put right.", "kind", DRIFT_KINDS)
SCRUB_PROGRESS = Metric("scrub_progress_ratio", "gauge", "How much of the disk the scrub under way has read, 0 to 1.")
SCRUB_SUCCESS = Metric(
    "scrub_last_success_timestamp_seconds",
    "gauge",
    "Unix time when the disk was last read again whole.",
    is_always=False,
)
COMPARE_FINDINGS = Metric(
    "compare_findings_total",
    "counter",
    "Files whose content differs from what was published, though nothing else does.",
)
COMPARE_PROGRESS = Metric(
    "compare_progress_ratio", "gauge", "How much of the source the comparison under way has read, 0 to 1."
)
COMPARE_SUCCESS = Metric(
    "compare_last_success_timestamp_seconds",
    "gauge",
    "Unix time when all contents were last compared.",
    is_always=False,
)
UNANSWERABLE = Metric("unanswerable_total", "counter", "Answers that could not be written.", "reason")
ANSWER_KINDS = ("same", "bucket", "since", "body", "part")
ANSWERS = Metric("answers_total", "counter", "Answers to replicas' questions.", "kind", ANSWER_KINDS)
ANSWER_BYTES = Metric("answer_bytes_total", "counter", "Bytes of answers, as sent.", "kind", ANSWER_KINDS)
ANSWER_WAITS = Metric(
    "answer_wait_seconds_total", "counter", "How long questions waited for their answers, summed.", "kind", ANSWER_KINDS
)

METRICS: tuple[Metric, ...] = (
    POSITION,
    AGREED,
    DIRTY_PATHS,
    HELD_PATHS,
    UNCONFIRMED,
    OVERFLOWS,
    HEARTBEAT_AGE,
    PROBLEMS,
    ALARM,
    REFUSED,
    EVENTS_PUBLISHED,
    BYTES_PUBLISHED,
    EVENTS_APPLIED,
    STALE_BUCKETS,
    UNMET_PATHS,
    SYNC_BYTES,
    SYNC_PATHS,
    SYNC_SECONDS_LEFT,
    GAPS,
    DIVERGENCES,
    FORKS,
    SET_ASIDE,
    LARGE_FETCHED,
    LARGE_COPIED,
    ASIDE_BYTES,
    SCANS,
    CATCH_UP_WINDOW,
    HOOK_PENDING,
    HOOK_RUNS,
    SCRUB_FINDINGS,
    SCRUB_REPAIRED,
    SCRUB_PROGRESS,
    SCRUB_SUCCESS,
    COMPARE_FINDINGS,
    COMPARE_PROGRESS,
    COMPARE_SUCCESS,
    UNANSWERABLE,
    ANSWERS,
    ANSWER_BYTES,
    ANSWER_WAITS,
)


def samples(metric: Metric, figures: Mapping[tuple[str, str], float]) -> list[Sample]:
    """The metric's samples out of a board's figures, (name, label) to value; 0 where nothing was counted yet."""
    if not metric.label:
        is_there = metric.is_always or (metric.name, "") in figures
        return [Sample("", figures.get((metric.name, ""), 0.0))] if is_there else []
    found = dict.fromkeys(metric.values, 0.0)
    found.update({label: value for (name, label), value in figures.items() if name == metric.name and label})
    return [Sample(label, value) for label, value in sorted(found.items())]
