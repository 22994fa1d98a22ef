"""Decides how the trace of one path reads for a person. Asks nobody; `at`: says unix seconds as a person there reads them.

It reads what the verb `trace` of a producer tells, or a journal alone, as JSON (`producer.trace_orders`).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from treecast.fleet_page import Moment
from treecast.status_page import duration

Stamp = Callable[[float], str]
"""The exact time of unix seconds, with its offset."""

NAMED = 10
_GOES = frozenset({"delete", "exclude"})
BRIEF_SECONDS = 60.0


def page(found: Mapping[str, Any], stamp: Stamp, at: Moment) -> str:
    """The page: how it stands, then each change with its times and who has it, newest last."""
    return "\n".join(_lines(found, stamp, at))


def _lines(found: Mapping[str, Any], stamp: Stamp, at: Moment) -> Iterator[str]:
    yield f"{found['path']}: {'; '.join(_now(found['now'], stamp))}"
    if not found["is_running"]:
        yield "  no producer runs here: told by its journal alone, so not who has it"
    for change in found["changes"]:
        yield _change(change, stamp)
        yield from (f"  {line}" for line in _of_change(change, found, at))
    if not found["changes"]:
        yield "  no change of it is in the log; what the first scan found is none"
    if found["read_back_to"] is not None:
        yield f"  the log was read back to {stamp(found['read_back_to'])} only: it is long; see: treecast log"


def _now(now: Mapping[str, Any], stamp: Stamp) -> Iterator[str]:
    entry = now["entry"]
    if entry is None:
        yield "not published: absent on replicas"
    else:
        size = f", {entry['size']:,} bytes" if entry["kind"] != "directory" else ""
        time = f", modified {stamp(entry['mtime'])}" if entry["kind"] == "file" else ""
        yield f"published as {entry['kind']}{size}, mode {entry['mode']}{time}"
    if now.get("excluded"):
        yield f"excluded by the pattern {now['excluded']}"
    yield from (now[key] for key in ("pending", "hashing") if now.get(key))
    if now.get("held"):
        yield _HELD[now["held"]]
    if now.get("problem"):
        yield f"PROBLEM: {now['problem']}"
    if now.get("scanning"):
        yield "a scan is under way"


_HELD = {
    "held": "its delete is held until a person releases it: treecast hold release",
    "released": "its delete was held, and is released",
    "free": "its delete was held, and may go",
}


def _change(change: Mapping[str, Any], stamp: Stamp) -> str:
    kind, size = ("old_kind", "old_size") if change["what"] in _GOES else ("kind", "size")
    shown = "" if change[kind] == "directory" else f" of {change[size]:,} bytes"
    return f"{stamp(change['numbered'])} {change['epoch']}.{change['sequence']} {change['what']} {change[kind]}{shown}"


def _of_change(change: Mapping[str, Any], found: Mapping[str, Any], at: Moment) -> Iterator[str]:
    if change["is_remembered"]:
        yield ", ".join(_times(change))
    elif found["is_running"]:
        yield "older than what is remembered: only when it was journaled is known"
    if "has" not in change:
        return
    verb = "dropped by" if change["what"] in _GOES else "at"
    yield f"{verb} {_count(len(change['has']), found['of'])}"
    lacks: Mapping[str, Any] = change["lacks"]
    yield from (f"not {name}: {_why(one, at)}" for name, one in list(lacks.items())[:NAMED])
    if len(lacks) > NAMED:
        yield f"and not {len(lacks) - NAMED:,} more; see: treecast trace --json"


def _times(change: Mapping[str, Any]) -> Iterator[str]:
    numbered = change["numbered"]
    yield f"seen {_seconds(numbered - change['seen'])} before"
    for key in ("published", "confirmed"):
        yield f"{key} {_seconds(change[key] - numbered)} after" if change[key] is not None else f"not {key} yet"


def _seconds(seconds: float) -> str:
    return f"{max(0.0, seconds):.3f} s" if seconds < BRIEF_SECONDS else duration(seconds)


def _count(has: int, of: int) -> str:
    if not of:
        return "no replica: there is none yet"
    return f"all {of:,}" if has == of else f"{has:,} of {of:,}"


def _why(one: Mapping[str, Any], at: Moment) -> str:
    if one["why"]:
        return str(one["why"])
    if one["word"] == "gone":
        return f"gone since {at(one['heard'])}"
    return {"new": "never heard of", "equal": "about to take it"}.get(one["word"], str(one["word"]))
