"""Decides how a process's status reads for a person. Knows the words of the board; asks nobody."""

from collections.abc import Iterator, Mapping
from typing import Any

PROBLEMS_SHOWN = 20

_LEFT_OUT = frozenset(
    {
        "role", "tree", "replica", "state", "ready", "problems", "problem_count", "alarms",
        "figures", "version", "pid", "uptime_seconds", "state_directory", "position", "agreed",
    }
)  # fmt: skip
_FIGURES = (("dirty", "dirty_paths"), ("unconfirmed", "unconfirmed_batches"), ("stale buckets", "stale_buckets"))


def page(status: Mapping[str, Any]) -> str:
    """The page: one fact per line, alarms and problems last."""
    return "\n".join(_lines(status))


def _lines(status: Mapping[str, Any]) -> Iterator[str]:
    name = f" {status['replica']}" if status.get("replica") else ""
    yield f"{status['role']}{name} of tree {status['tree']}: {status['state']}"
    for label, value in _facts(status):
        yield f"  {label:<15} {value}"
    for alarm in status.get("alarms", []):
        yield f"  ALARM {alarm['kind']}: {alarm['detail']}"
    problems = status.get("problems", [])
    for problem in problems[:PROBLEMS_SHOWN]:
        yield f"  problem at {problem['path']}: {problem['problem']}"
    more = status.get("problem_count", 0) - min(len(problems), PROBLEMS_SHOWN)
    if more > 0:
        yield f"  and {more} more problems; see: treecast status --json"


def _facts(status: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    figures = status.get("figures", {})
    yield "position", _text(status.get("position", figures.get("position", "none yet")))
    if "agreed" in status:
        yield "agreed", _text(status["agreed"])
    for label, name in _FIGURES:
        if name in figures:
            yield label, _text(figures[name])
    for key, value in status.items():
        if key not in _LEFT_OUT:
            yield key.replace("_", " "), _text(value)
    yield "ready", _text(status.get("ready", False))
    yield "problems", _text(status.get("problem_count", 0))
    yield (
        "running",
        f"pid {status.get('pid')}, version {status.get('version')}, up {duration(status.get('uptime_seconds', 0))}",
    )
    yield "state directory", _text(status.get("state_directory", ""))


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"
    if isinstance(value, list | tuple):
        return ", ".join(_text(one) for one in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(one)}" for key, one in value.items())
    return str(value)


def duration(seconds: float) -> str:
    """A time as a person says it: "42 s", "3 min 5 s", "2 h 10 min", "5 d 3 h"."""
    whole = int(seconds)
    for above, below, size in (("d", "h", 86_400), ("h", "min", 3600), ("min", "s", 60)):
        if whole >= size:
            rest = whole % size // {"h": 3600, "min": 60, "s": 1}[below]
            return f"{whole // size} {above} {rest} {below}"
    return f"{whole} s"
