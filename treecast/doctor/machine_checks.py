"""Does: the checks of the machine that both roles have: who looks, versions, clock, descriptors, the state directory."""

import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from common.places import NETWORK_FILE_SYSTEMS
from common.version import program_version
from common.wire.versions import FORMAT, LOWEST_WRITTEN
from treecast.doctor import filesystems, kernel
from treecast.doctor.access import Who, judge_root, judge_who
from treecast.doctor.case import Case, Check
from treecast.doctor.disks import judge_mount, judge_room, judge_state_kind, mount_of
from treecast.doctor.findings import Finding, quoted
from treecast.doctor.limits import judge_descriptors
from treecast.doctor.machine import Versions, judge_clock, judge_process, judge_versions

STATE_BYTES = 256 << 20
"""What journal or state of a tree of a million paths takes, about."""
_LIBRARIES = ("pika", "orjson", "pydantic")


def _versions(_: Case) -> Iterator[Finding]:
    libraries = {"SQLite": sqlite3.sqlite_version} | {name: _installed(name) for name in _LIBRARIES}
    wire = f"{FORMAT} (writes {LOWEST_WRITTEN} to {FORMAT})"
    yield judge_versions(Versions(program_version(), wire, platform.python_version(), libraries))


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def _process(case: Case) -> Iterator[Finding]:
    yield from judge_process(case.status, program_version(), case.unit, str(case.settings.state))


def _who(case: Case) -> Iterator[Finding]:
    state = case.settings.state
    who = Who(case.user, filesystems.owner_of(state))
    environment_file = f"/etc/treecast/{case.unit.removeprefix('treecast-')}.env"
    yield judge_who(who, f"treecast doctor --state {quoted(str(state))}", environment_file)


def _clock(_: Case) -> Iterator[Finding]:
    yield judge_clock(kernel.is_clock_synchronised())


def _descriptors(case: Case) -> Iterator[Finding]:
    yield judge_descriptors(*kernel.open_files_limit(case.pid, case.proc))


def _state(case: Case) -> Iterator[Finding]:
    state = case.settings.state
    place = filesystems.nearest_there(state)
    refusal = "" if _may_write(place) else f"{case.user} may not write to {place}"
    todo = f"install -d -o {quoted(case.user)} -m 700 {quoted(str(state))}"
    yield judge_root("state", str(state), refusal, "a directory of this user's own", todo)
    mount = mount_of(case.mounts(), str(place))
    kind = mount.kind if mount is not None else ""
    yield judge_state_kind(str(state), kind, is_network=kind in NETWORK_FILE_SYSTEMS)
    yield from judge_mount("state", str(state), mount, is_written=True)
    yield from judge_room("state", str(state), filesystems.room(state), STATE_BYTES, "the state of a million paths")


def _may_write(place: Path) -> bool:
    return place.is_dir() and os.access(place, os.R_OK | os.W_OK | os.X_OK)


CHECKS: Mapping[str, Check] = {
    "versions": _versions,
    "process": _process,
    "user": _who,
    "clock": _clock,
    "descriptors": _descriptors,
    "state": _state,
}
