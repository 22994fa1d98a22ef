"""Decides what `treecast status` prints of one process, and with which exit code. Asks nobody."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from common.codes import DONE, FAILED, STOPPED
from common.errors import SettingError
from common.labels import Selector
from treecast import fleet_page
from treecast.fleet_page import Moment
from treecast.status_page import counted, page, problem_words

MAX_LAG_SECONDS = 120.0
"""Where a process does not tell its own limit."""
_STOPPED_ALARMS = frozenset({"fork", "halt", "hold"})


def selected(status: Mapping[str, Any], selector: Selector, names: Sequence[str] | None = None) -> dict[str, Any]:
    """The status with those replicas alone that the selector picks, and that have these names where any are told; counted anew.

    Raises SettingError for a name that no replica of the fleet has.
    """
    if "replicas" not in status or not (selector.conditions or names):
        return dict(status)
    if unknown := sorted(set(names or ()) - set(status["replicas"])):
        raise SettingError("ID", unknown[0], "a replica of this fleet; see: treecast replica list")
    replicas = {
        name: one
        for name, one in status["replicas"].items()
        if selector.picks(one["labels"]) and (not names or name in names)
    }
    equal = [one["position"]["sequence"] for one in replicas.values() if one["word"] == "equal"]
    at = min(equal, default=(status.get("position") or {}).get("sequence", 0))
    return {**status, "replicas": replicas, "equal": len(equal), "of": len(replicas), "equal_at": at}


def without_counted(found: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without consumers whose producer is here too: they have a line in the fleet."""
    trees = {one["tree"] for one in found if "replicas" in one}
    return [one for one in found if one["role"] == "producer" or one["tree"] not in trees]


def report(status: Mapping[str, Any], at: Moment, *, is_all: bool = False, has_problems: bool = False) -> str:
    """What a person reads. Beside the master: the fleet first, then the producer."""
    return "\n".join(_lines(status, at, is_all=is_all, has_problems=has_problems))


def _lines(status: Mapping[str, Any], at: Moment, *, is_all: bool, has_problems: bool) -> Iterator[str]:
    if "replicas" in status:
        yield fleet_page.sentence(status, at)
        yield from fleet_page.lines(status, at, is_all=is_all, limit_seconds=_limit(status))
    if has_problems:
        yield from _problems(status)
    else:
        yield page(status)


def _problems(status: Mapping[str, Any]) -> Iterator[str]:
    here = [f"  {one['path']}: {problem_words(one['path'], one['problem'])}" for one in status.get("problems", [])]
    there = list(fleet_page.problems(status)) if "replicas" in status else []
    name = "on the master" if status["role"] == "producer" else f"at {status.get('replica')}"
    more = status.get("problem_count", 0) - len(here)
    yield f"{counted(status.get('problem_count', 0), 'problem')} {name}"
    yield from here
    if more > 0:
        yield f"  and {more:,} more"
    if there:
        yield "on replicas"
        yield from there


def code_of(status: Mapping[str, Any]) -> int:
    """0: all well; 1: someone is behind the limit, or this replica is; 4: a person is needed."""
    if "replicas" in status:
        return fleet_page.exit_code(status, status, _limit(status))
    if any(alarm["kind"] in _STOPPED_ALARMS for alarm in status.get("alarms") or ()) or _is_holding(status):
        return STOPPED
    return DONE if status["role"] == "producer" or status.get("agreed") else FAILED


def _is_holding(status: Mapping[str, Any]) -> bool:
    return bool((status.get("unmet") or {}).get("held"))


def _limit(status: Mapping[str, Any]) -> float:
    return float(status.get("max_lag_seconds", MAX_LAG_SECONDS))
