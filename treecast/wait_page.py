"""Decides what `treecast wait` prints, and with which exit code. Asks nobody."""

from collections.abc import Mapping
from typing import Any

from common.codes import DONE, FAILED, STOPPED
from treecast.fleet_page import Moment, replica_line
from treecast.status_page import counted

NAMED = 3


def line(found: Mapping[str, Any], seconds: float, at: Moment) -> str:
    """The one line: "9 of 10 at 481,223 in 0.4 s; fra7 gone since 14:02"."""
    if found.get("have") is None and not found["why"]:
        return f"not yet: the master waits for {found['waits_for']}, after {seconds:.1f} s{_paths(found)}"
    told = [_count(found, seconds)] if found.get("have") is not None else []
    if found["held"] and found.get("have") is not None:
        told.append(f"{counted(found['held'], 'delete')} held on the master (treecast hold show)")
    elif found["why"] and (found["needs_person"] or found.get("have") is None or not found.get("missing")):
        told.append(found["why"])
    told += _missing(found, at)
    if found["problem_count"]:
        names = ", ".join(found["problems"][:NAMED])
        paths = counted(found["problem_count"], "path")
        told.append(f"{paths} on the master cannot be carried: {names} (treecast status --problems)")
    return "; ".join(told)


def _count(found: Mapping[str, Any], seconds: float) -> str:
    sequence = found["position"][1]
    return f"{found['have']:,} of {found['of']:,} at {sequence:,} in {seconds:.1f} s"


def _missing(found: Mapping[str, Any], at: Moment) -> list[str]:
    missing: Mapping[str, Any] = found.get("missing") or {}
    lines = [f"{name} {_state(one, at)}" for name, one in list(missing.items())[:NAMED]]
    more = found["of"] - found["have"] - len(lines) if missing else 0
    return [*lines, *([f"and {more:,} more"] if more > 0 else [])]


def _state(one: Mapping[str, Any], at: Moment) -> str:
    if one["word"] == "equal":  # it lacks nothing older than a second
        return "is about to take it"
    return replica_line(one, at, float("inf"), is_short=True)


def _paths(found: Mapping[str, Any]) -> str:
    if not found["paths"]:
        return ""
    return f", {found['paths']:,} paths, among them {', '.join(found['named'][:NAMED])}"


def exit_code(found: Mapping[str, Any]) -> int:
    """0: they all have it, and nothing was left out; 4: a person is needed; else 1."""
    if found["is_done"]:
        return FAILED if found["problem_count"] else DONE
    return STOPPED if found["needs_person"] else FAILED
