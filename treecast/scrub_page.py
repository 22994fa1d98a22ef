"""Decides how the scrubs of a fleet read, while they run and when they are over, and which exit code that is. Asks nobody.

It reads what `scrub-look` of a producer tells.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from common.codes import DONE, FAILED
from treecast.fleet_page import LISTED, Moment

_RUNNING = ("asked", "running")
_LOST = {
    "halted": "halted: a person is needed there",
    "silent": "did not begin within a minute",
    "lost": "was started again, and nobody knows what came of it; ask again",
}


def progress(found: Mapping[str, Any]) -> str:
    """One line, for however many: "12 of 300 done, 280 at 41% on average, 8 not begun; 3 found, 2 repaired"."""
    replicas = list(found["replicas"].values())
    running = [one for one in replicas if one["word"] == "running"]
    ended = [one for one in replicas if one["word"] not in _RUNNING]
    failed = sum(one["word"] != "done" for one in ended)
    told = [f"{len(ended) - failed:,} of {len(replicas):,} done"]
    if running:
        told.append(f"{len(running):,} at {sum(one['ratio'] for one in running) / len(running):.0%} on average")
    if waiting := len(replicas) - len(running) - len(ended):
        told.append(f"{waiting:,} not begun")
    if failed:
        told.append(f"{failed:,} lost")
    return f"{', '.join(told)}; {_findings(replicas).total():,} found, {_repaired(replicas):,} repaired"


def report(found: Mapping[str, Any], at: Moment) -> list[str]:
    """The lines at the end: the sum, and each replica where something was found, a problem remains, or that is lost."""
    replicas: Mapping[str, Any] = found["replicas"]
    if not replicas:
        return ["no replica was asked: the fleet has none, or none with these labels"]
    done = [one for one in replicas.values() if one["word"] == "done"]
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(_findings(done).items())) or "nothing"
    read = f"{sum(one['paths'] for one in done):,} paths, {sum(one['bytes'] for one in done) / 1e6:,.1f} MB"
    first = f"{len(done):,} of {len(replicas):,} replicas scrubbed: {read} in {found['seconds']:,.1f} s"
    return [first, f"found: {kinds}; {_repaired(done):,} repaired{_problems(done)}", *_lines(replicas, at)]


def _problems(done: list[Mapping[str, Any]]) -> str:
    count = sum(one["problems"] for one in done)
    return f"; {count:,} problems remain: treecast status --problems lists them" if count else ""


def _lines(replicas: Mapping[str, Any], at: Moment) -> Iterator[str]:
    lost = [name for name, one in replicas.items() if one["word"] != "done"]
    bad = [name for name, one in replicas.items() if one["word"] == "done" and one["problems"]]
    found = [name for name, one in replicas.items() if name not in bad and one["word"] == "done" and one["findings"]]
    told = [*lost, *bad, *found]
    width = max((len(name) for name in told[:LISTED]), default=0)
    for name in told[:LISTED]:
        yield f"  {name:<{width}}  {_line(replicas[name], at)}"
    if len(told) > LISTED:
        yield f"  and {len(told) - LISTED:,} more; all of them: treecast scrub --json"


def _line(one: Mapping[str, Any], at: Moment) -> str:
    if one["word"] == "gone":
        return f"gone since {at(one['heard'])}" if one["heard"] else "never heard of"
    if one["word"] != "done":
        return _LOST.get(one["word"], "not done yet")
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(one["findings"].items())) or "nothing"
    problems = f"; {one['problems']:,} problems remain" if one["problems"] else ""
    return f"found {kinds}; {one['repaired']:,} repaired{problems}"


def _findings(replicas: list[Mapping[str, Any]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for one in replicas:
        total.update(one["findings"])
    return total


def _repaired(replicas: list[Mapping[str, Any]]) -> int:
    return sum(one["repaired"] for one in replicas)


def exit_code(found: Mapping[str, Any]) -> int:
    """0: all that were asked are done, and nothing is left wrong; else 1."""
    replicas = found["replicas"].values()
    is_well = all(one["word"] == "done" and not one["problems"] for one in replicas)
    return DONE if replicas and is_well else FAILED
