"""Decides how a process's status reads for a person. Knows the words of the board; asks nobody."""

from collections.abc import Iterator, Mapping
from typing import Any

PROBLEMS_SHOWN = 20

FOREVER_SECONDS = 10 * 365 * 86_400

_FIRST = ("position", "agreed", "dirty", "unconfirmed")
_LABELS = {"entries": "paths"}
_PLACED = frozenset(
    {
        *_FIRST, "role", "tree", "replica", "state", "ready", "problems", "problem_count", "alarms", "broker", "equal",
        "equal_at", "figures", "max_lag_seconds", "of", "scrub", "sync", "version", "pid", "uptime_seconds", "state_directory",
        "replicas", "link", "hook", "readiness", "in_service", "deaf",
    }
)  # fmt: skip


def page(status: Mapping[str, Any]) -> str:
    """The page: one fact per line, alarms and problems last."""
    return "\n".join(_lines(status))


def _lines(status: Mapping[str, Any]) -> Iterator[str]:
    name = f" {status['replica']}" if status.get("replica") else ""
    yield f"{status['role']}{name} of tree {status['tree']}: {status['state']}"
    for label, value in _facts(status):
        yield f"  {label:<20} {value}"
    for alarm in status.get("alarms", []):
        yield f"  ALARM {alarm['kind']}: {alarm['detail']}"
    problems = status.get("problems", [])
    for problem in problems[:PROBLEMS_SHOWN]:
        yield f"  problem at {problem['path']}: {problem_words(problem['path'], problem['problem'])}"
    more = status.get("problem_count", 0) - min(len(problems), PROBLEMS_SHOWN)
    if more > 0:
        yield f"  and {counted(more, 'more problem')}; see: treecast status --json"


def counted(count: int, one: str) -> str:
    """So many of something: "1 bucket to compare", "2 buckets to compare"; the first word but "more" has the s."""
    words = one.split(" ")
    at = 1 if words[0] == "more" else 0
    many = [*words[:at], f"{words[at]}s", *words[at + 1 :]]
    return f"{count:,} {one if count == 1 else ' '.join(many)}"


def problem_words(path: str, why: str) -> str:
    """Why a path fails, without the path itself, which some reasons begin with."""
    return why.removeprefix(f"{path}: ")


def _facts(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    first = [key for key in _FIRST if key != "agreed" or status["role"] != "producer"]
    for key in (*first, *(key for key in status if key not in _PLACED)):
        yield _LABELS.get(key, key.replace("_", " ")), _text(status.get(key))
    if status.get("sync"):
        yield "sync", sync_words(status["sync"])
    if status.get("scrub"):
        yield "scrub", scrub_words(status["scrub"])
    if status.get("hook"):
        yield "hook", hook_words(status["hook"])
    link = status.get("link") or {}
    yield "broker", " ".join(str(word) for word in (link.get("phase"), link.get("detail")) if word) or "none yet"
    yield "ready", ready_words(status)
    yield "problems", _text(status.get("problem_count", 0))
    yield (
        "process",
        f"{status.get('pid')}, version {status.get('version')}, up {duration(status.get('uptime_seconds', 0))}",
    )
    yield "state directory", _text(status.get("state_directory"))


def sync_words(sync: Mapping[str, Any]) -> str:
    """How far a sync is: what is left, what has come, how fast, how long it still takes."""
    left = [(sync["buckets_left"], "bucket to compare"), (sync["contents_left"], "content to fetch")]
    words = [counted(count, what) for count, what in left if count]
    words.append(f"{counted(sync['paths'], 'path')} and {shown_size(sync['size_bytes'])} so far")
    return ", ".join([*words, *pace_words(sync)])


def pace_words(sync: Mapping[str, Any]) -> list[str]:
    """The rate and the time left, as far as they are known."""
    words = []
    if sync.get("bytes_per_second"):
        words.append(f"{shown_size(sync['bytes_per_second'])}/s")
    if sync.get("seconds_left") is not None:
        words.append(f"about {duration(sync['seconds_left'])} left")
    return words


def shown_size(size_bytes: float) -> str:
    """A size as a person says it: "512 B", "1.5 MB"."""
    size, units = float(size_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.0f} {units[0]}" if units[0] == "B" or size >= 99.5 else f"{size:.1f} {units[0]}"


def scrub_words(scrub: Mapping[str, Any]) -> str:
    """How the re-reading of a replica's disk stands."""
    words = {"resting": "resting", "waiting": "waiting for buckets to be level", "repairing": "repairing"}
    state = words.get(scrub["state"], f"{scrub['ratio']:.0%} read")
    found = ", ".join(f"{count:,} {kind}" for kind, count in scrub["findings"].items())
    problems = f", {scrub['problems']:,} cannot be read" if scrub["problems"] else ""
    return f"{state}; found: {found or 'nothing'}{problems}"


def ready_words(status: Mapping[str, Any]) -> str:
    """Whether a process may be relied on; of a replica also whether it is behind, of a producer how many replicas may be."""
    words, here, fleet = [_text(status.get("ready"))], status.get("readiness") or {}, status.get("in_service") or {}
    if here.get("wants_rest"):
        words.append(f"behind for {duration(here['behind_seconds'])}")
        words.append(
            "out of service until it is not" if here["resting"] else "still in service: too few others are ready"
        )
    if fleet.get("members"):
        words.append(f"{fleet['ready']:,} of {fleet['members']:,} replicas ready")
    if fleet.get("resting"):
        words.append(f"{len(fleet['resting']):,} may be out of service, being behind")
    return ", ".join(words)


def hook_words(hook: Mapping[str, Any]) -> str:
    """What a replica's hook does, and how long something waits for it."""
    waits = hook["pending_seconds"]
    words = ["runs" if hook["running"] else "waits for its next run" if waits else "nothing waits"]
    if waits:
        words.append(f"changes since {duration(waits)}")
    if hook["failures"]:
        words.append(f"failed {hook['failures']:,} times in a row: {hook['last']}")
    return ", ".join(words)


def time_left(details: Mapping[str, Any]) -> list[str]:
    """What a replica says of its sync, which is somebody else's word: only a number is shown."""
    seconds = details.get("seconds_left")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < FOREVER_SECONDS:
        return []
    return [f"about {duration(seconds)} left"]


def _text(value: object) -> str:
    match value:
        case None:
            return "none yet"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.1f}"
        case {"epoch": epoch, "sequence": sequence}:
            return f"{sequence:,} of epoch {epoch}"
        case Mapping():
            return ", ".join(f"{key} {_text(one)}" for key, one in value.items()) or "none"
        case list() | tuple():
            return ", ".join(_text(one) for one in value) or "none"
    return str(value)


def duration(seconds: float) -> str:
    """A time as a person says it: "42 s", "3 min 5 s", "2 h 10 min", "5 d 3 h"."""
    whole = int(seconds)
    for above, below, size in (("d", "h", 86_400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= size:
            rest = whole % size // {"h": 3600, "min": 60, "s": 1}[below]
            return f"{whole // size} {above} {rest} {below}"
    return f"{whole} s"
