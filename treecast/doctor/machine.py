"""Decides about the machine, its clock and its programs. Values in, findings out; asks nobody."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from treecast.doctor.findings import Finding, Severity, note, quoted, warning, well
from treecast.status_page import duration

CLOCK_SECONDS = 5.0


def judge_clock(is_synchronised: bool | None) -> Finding:
    """None: the kernel does not tell. Nothing depends on a clock but times that people read."""
    if is_synchronised is False:
        found = "the kernel says that nothing keeps this clock right; nothing depends on it but times in logs"
        return note("clock", found, "NTP", "timedatectl set-ntp true")
    return well("clock", "synchronised" if is_synchronised else "whether it is synchronised is not told")


def judge_clock_difference(ahead_seconds: float | None) -> Finding:
    """How far this clock is before the broker's; None: nobody told."""
    if ahead_seconds is None or abs(ahead_seconds) <= CLOCK_SECONDS:
        return well("clock-broker", "as the broker's" if ahead_seconds is not None else "the broker tells no time")
    where = "ahead of" if ahead_seconds > 0 else "behind"
    found = f"{duration(abs(ahead_seconds))} {where} the broker's; nothing depends on it but times in logs"
    return note("clock-broker", found, "NTP on both", "timedatectl set-ntp true")


@dataclass(frozen=True, slots=True)
class Versions:
    """What is installed here. `wire`: the format that is written, and the lowest that is read."""

    program: str
    wire: str
    python: str
    libraries: Mapping[str, str]


def judge_versions(versions: Versions) -> Finding:
    """For a report to somebody else."""
    libraries = ", ".join(f"{name} {version}" for name, version in versions.libraries.items())
    told = f"treecast {versions.program}, wire format {versions.wire}, Python {versions.python}, {libraries}"
    return well("versions", told)


def judge_process(status: Mapping[str, Any] | None, version: str, unit: str, state: str) -> Iterator[Finding]:
    """`status`: what the running process says; None where none answers."""
    if status is None:
        yield well("process", f"none answers in {state}")
        return
    told = f"{status.get('pid')}, version {status.get('version')}, up {duration(status.get('uptime_seconds') or 0)}"
    if status.get("version") != version:
        found, needed = f"process {told}, while {version} is installed", "a restart"
        yield warning("process", found, needed, f"systemctl restart {unit}")
    else:
        yield well("process", f"process {told}, {status.get('state')}")
    yield from _troubles(status, state)


def _troubles(status: Mapping[str, Any], state: str) -> Iterator[Finding]:
    """What the running process itself complains of."""
    see = f"treecast status --state {quoted(state)}"
    for alarm in status.get("alarms") or []:
        yield Finding(Severity.WARNING, f"alarm-{alarm.get('kind')}", str(alarm.get("detail")), "", see)
    if problems := status.get("problem_count"):
        first = (status.get("problems") or [{}])[0]
        found = f"{problems:,} paths cannot be carried, such as {first.get('path')}: {first.get('problem')}"
        yield warning("problems", found, "a look at each; the rest goes on", see)


def judge_watch(kind: str, refusal: str, shared: str, below: tuple[str, ...]) -> Iterator[Finding]:
    """Which watcher a producer would choose. `shared`: the file system that others write too, "" for none; `below`: mounts of
    such in the tree, with their kind; `refusal`: why the kernel gives no watch."""
    scan_often = "echo TREECAST_SCAN_INTERVAL=5m >> /etc/treecast/produce.env && systemctl restart treecast-produce"
    if kind == "scan":
        yield note("watch", "scans alone, as TREECAST_WATCH says", "a watcher, for changes within seconds")
    elif kind == "observer":
        yield note("watch", "watchdog; it loses events without a word when much happens at once, scans stand in")
    elif refusal:
        yield warning("watch", f"scans alone: {refusal}", "inotify, for changes within seconds")
    elif shared:
        found = f"inotify, but the source is on {shared}: what other hosts change is not told"
        yield warning(
            "watch", found, "a producer where the files are written, or scans more often than hourly", scan_often
        )
    else:
        yield well("watch", "inotify, on a file system of this machine")
    if below:
        found = f"in the source are mounts that others may write to: {', '.join(below)}"
        yield warning("watch-mounts", found, "scans more often than hourly, if they do", scan_often)
