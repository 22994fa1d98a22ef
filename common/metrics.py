"""Decides which metrics there are: one table. Knows no HTTP, and not how a value is told.

Base units, `_total` on counters, no path in a label. Whatever is in the table without a label is there from the start, but for
what one role alone can tell.
"""

from common.figures import Metric

PREFIX = "treecast_"

POSITION = Metric("position", "gauge", "Last sequence that was numbered (producer) or durably applied (consumer).")
AGREED = Metric("agreed", "gauge", "1 when this replica is proved equal at its position (producer: when it leads).")
ENTRIES = Metric("entries", "gauge", "Paths of the tree that are in the index here.")
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
STAGES = (
    "seen_to_published",
    "published_to_confirmed",
    "published_to_delivered",
    "delivered_to_visible",
    "visible_to_durable",
)
STAGE_SECONDS = Metric(
    "stage_seconds",
    "histogram",
    "How long live changes take, stage by stage; what a sync brings is not in it. Each event counts, with the time of its batch. "
    "Producer: seen_to_published from the first hint at the oldest path in the batch (of what was still being written or hashed: "
    "from when it was not) until the broker's client has it; "
    "published_to_confirmed until the producer hears that the broker has it. Replica: published_to_delivered from the "
    "producer's clock to the replica's, when it begins with the batch (at least 0; it holds only while the two clocks agree); "
    "delivered_to_visible until its files stand under their names (but for large contents, which are fetched apart); "
    "visible_to_durable until that survives a power cut.",
    "stage",
)
UNCONFIRMED_BYTES = Metric("unconfirmed_bytes", "gauge", "Bytes of batches that the broker has not confirmed yet.")
UNCONFIRMED_AGE = Metric(
    "unconfirmed_age_seconds",
    "gauge",
    "How long the oldest batch waits for the broker's confirm; 0 when none does.",
)
LEADING = Metric(
    "leading",
    "gauge",
    "1 while this producer leads its tree: it holds the upstream queue. Of each tree, one producer does.",
    is_always=False,
)
LISTENING = Metric(
    "listening",
    "gauge",
    "1 while replicas can be heard: this producer holds the upstream queue, and the broker takes what they say. While it is 0, "
    "what is told of replicas is what was heard last, and their lags grow.",
    is_always=False,
)
EPOCH = Metric("epoch", "gauge", "The epoch that is published (producer) or followed (consumer); 0: none.")
READY = Metric("ready", "gauge", "1 while /readyz says so.")
PROBLEM_KINDS = ("busy", "disk", "kind", "name", "other", "permission", "size", "time")
PROBLEM_PATHS = Metric("problem_paths", "gauge", "Paths that fail, by what they fail for.", "kind", PROBLEM_KINDS)
PROBLEM_AGE = Metric(
    "problem_age_seconds", "gauge", "For how long the oldest problem has been there; 0: there is none."
)
BYTES_RECEIVED = Metric(
    "bytes_received_total", "counter", "Bytes of messages that this replica took from its queue, answers too."
)
SCAN_SUCCESS = Metric(
    "scan_last_success_timestamp_seconds",
    "gauge",
    "Unix time when the whole source was last scanned.",
    is_always=False,
)
SCAN_INTERVAL = Metric(
    "scan_interval_seconds", "gauge", "The pause until the next scan of the whole source.", is_always=False
)
SCRUB_INTERVAL = Metric(
    "scrub_interval_seconds",
    "gauge",
    "Within what time the whole disk is to be read again; not there where that is off.",
    is_always=False,
)
COMPARE_INTERVAL = Metric(
    "compare_interval_seconds",
    "gauge",
    "Within what time all contents of the source are to be compared; not there where that is off.",
    is_always=False,
)
MAX_LAG = Metric(
    "max_lag_seconds", "gauge", "Beyond this a replica is called behind (TREECAST_MAX_LAG).", is_always=False
)

# What the producer tells of the fleet; see fleet_figures in producer/.
REPLICAS_LISTED = 1000
"""So many replicas are told of one by one, the first by name."""
REPLICA_POSITION = Metric(
    "replica_position", "gauge", "Sequence up to which the replica applied, as it reported.", is_table=True
)
REPLICA_LAG = Metric(
    "replica_lag_seconds",
    "gauge",
    "Age of the oldest event that the replica has not reported durable, by the producer's clock alone; +Inf: it cannot be told, "
    "for the replica follows what was never published here.",
    is_table=True,
)
REPLICA_STATE = Metric("replica_state", "gauge", "1 for the word that says how the replica stands.", is_table=True)
REPLICA_HEARD = Metric(
    "replica_heard_seconds",
    "gauge",
    "How long the replica has said nothing while it could have been heard.",
    is_table=True,
)
REPLICA_PROBLEMS = Metric("replica_problems", "gauge", "Paths that fail there, as it reported.", is_table=True)
REPLICA_INFO = Metric(
    "replica_info", "gauge", "Version and newest wire format of the replica; always 1.", is_table=True
)
REPLICA_LABELS = Metric(
    "replica_labels", "gauge", "The labels of the replica, each with `label_` before its key; always 1.", is_table=True
)
REPLICAS = Metric("replicas", "gauge", "How many replicas of the roster stand so.", is_table=True)
REPLICAS_BEHIND = Metric(
    "replicas_behind", "gauge", "Replicas of the roster that are behind the limit, or silent.", is_table=True
)
REPLICAS_UNLISTED = Metric(
    "replicas_unlisted", "gauge", f"Replicas beyond the {REPLICAS_LISTED} that are told of one by one.", is_table=True
)

ANSWER_KINDS = ("same", "bucket", "since", "body", "part")
ANSWERS = Metric("answers_total", "counter", "Answers to replicas' questions.", "kind", ANSWER_KINDS)
ANSWER_BYTES = Metric("answer_bytes_total", "counter", "Bytes of answers, as sent.", "kind", ANSWER_KINDS)
ANSWER_WAITS = Metric(
    "answer_wait_seconds_total", "counter", "How long questions waited for their answers, summed.", "kind", ANSWER_KINDS
)

METRICS: tuple[Metric, ...] = (
    POSITION,
    AGREED,
    ENTRIES,
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
    ANSWERS,
    ANSWER_BYTES,
    ANSWER_WAITS,
    STAGE_SECONDS,
    UNCONFIRMED_BYTES,
    UNCONFIRMED_AGE,
    LEADING,
    LISTENING,
    EPOCH,
    READY,
    PROBLEM_PATHS,
    PROBLEM_AGE,
    BYTES_RECEIVED,
    SCAN_SUCCESS,
    SCAN_INTERVAL,
    SCRUB_INTERVAL,
    COMPARE_INTERVAL,
    MAX_LAG,
    REPLICA_POSITION,
    REPLICA_LAG,
    REPLICA_STATE,
    REPLICA_HEARD,
    REPLICA_PROBLEMS,
    REPLICA_INFO,
    REPLICA_LABELS,
    REPLICAS,
    REPLICAS_BEHIND,
    REPLICAS_UNLISTED,
)
