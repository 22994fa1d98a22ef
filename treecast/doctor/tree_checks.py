"""Does: the checks of a producer's source and of a consumer's target, with the kernel's limits against the tree."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from common.errors import SettingError
from common.patterns import Patterns
from common.settings import ConsumeSettings, ProduceSettings
from consumer.holding import check_root
from consumer.opening import STATE_NAME
from consumer.owners import appearance_of
from consumer.stagefiles import Age
from consumer.starting import DiskSeen, StateSeen, decide_start
from producer.journal_schema import JOURNAL_NAME
from treecast.doctor import filesystems, kernel, limits, sampling
from treecast.doctor.access import judge_appearance, judge_reading, judge_root, judge_start, judge_writing
from treecast.doctor.case import Case, Check
from treecast.doctor.disks import (
    is_shared_kind,
    judge_mount,
    judge_probe,
    judge_room,
    mount_of,
    mounts_below,
)
from treecast.doctor.findings import Finding, quoted
from treecast.doctor.machine import judge_watch
from treecast.doctor.probe import probe

ROOM_BYTES = 64 << 20
"""Beside the largest file: contents of a batch, the reserve, what is kept of large files that went."""


def _source(case: Case) -> Iterator[Finding]:
    settings = case.produce
    assert settings is not None
    refusal = _refusal_of_root(settings.source)
    here = quoted(str(settings.source))
    needed = "a directory that is there, mounted, and may be listed"
    yield judge_root("source", str(settings.source), refusal, needed, f"ls -ld {here}; findmnt -T {here}")
    if refusal:
        return
    yield from _mount(case, "source", is_written=False)
    patterns = Patterns(settings.exclude)
    sample, counted = sampling.try_reading(settings.source, patterns)
    yield judge_reading(str(settings.source), sample, case.user)
    known = filesystems.known_by_journal(settings.state / JOURNAL_NAME)
    size = limits.TreeSize(known.directories, True, "the journal") if known is not None else counted
    yield from _watching(case, settings, size)


def _watching(case: Case, settings: ProduceSettings, size: limits.TreeSize) -> Iterator[Finding]:
    from producer.watch.choice import shared_file_system

    refusal = kernel.try_inotify() if settings.watch in {"auto", "inotify"} else ""
    shared = shared_file_system(os.fsencode(settings.source)) or ""
    below = mounts_below(case.mounts(), os.path.realpath(settings.source))
    others = tuple(f"{one.point} ({one.kind})" for one in below if is_shared_kind(one.kind))
    yield from judge_watch(settings.watch, refusal, shared, others)
    if settings.watch == "scan":
        return
    yield limits.judge_watches(_lowest(case, limits.WATCHES, limits.WATCHES_HERE), size)
    yield limits.judge_instances(_lowest(case, limits.INSTANCES, limits.INSTANCES_HERE), refusal)
    yield limits.judge_events(kernel.sysctl(limits.EVENTS, case.proc), size)


def _lowest(case: Case, *keys: str) -> limits.Limit:
    return limits.lowest(*(limits.Limit(key, kernel.sysctl(key, case.proc)) for key in keys))


def _target(case: Case) -> Iterator[Finding]:
    settings = case.consume
    assert settings is not None
    refusal, needed = _refusal_of_target(settings.target)
    todo = f"install -d -o {quoted(case.user)} -m 755 {quoted(str(settings.target))}"
    yield judge_root("target", str(settings.target), refusal, needed, "" if settings.target.exists() else todo)
    if refusal:
        return
    yield from _mount(case, "target", is_written=True)
    known = filesystems.known_by_state(settings.state / STATE_NAME)
    yield _start(settings, known)
    yield from judge_probe(str(settings.target), probe(settings.target), sets_group=settings.group is not None)
    patterns = Patterns(settings.protect)
    yield judge_writing(str(settings.target), sampling.try_writing(settings.target, patterns), case.user)
    yield judge_appearance(_refusal_of_owners(settings))
    largest_bytes = known.largest_bytes if known is not None else 0
    what = "the largest file once more, and what is staged beside it"
    room = filesystems.room(settings.target)
    yield from judge_room("target", str(settings.target), room, largest_bytes + ROOM_BYTES, what)


def _start(settings: ConsumeSettings, known: filesystems.Known | None) -> Finding:
    mark = filesystems.mark_of(settings.target)
    is_empty = mark is not None or sampling.is_empty(settings.target, Patterns(settings.protect))
    state_mark, is_released = (known.mark, known.is_released) if known is not None else ("", False)
    seen = StateSeen(settings.tree, state_mark, Age(0, b""), is_released)
    start = decide_start(DiskSeen(mark, is_empty=is_empty), seen, adopt=settings.adopt)
    return judge_start(str(settings.target), str(settings.state), start, mark, tree=settings.tree)


def _mount(case: Case, name: str, *, is_written: bool) -> Iterator[Finding]:
    mount = mount_of(case.mounts(), os.path.realpath(case.root))
    yield from judge_mount(name, str(case.root), mount, is_written=is_written)


def _refusal_of_root(root: Path) -> str:
    try:
        os.scandir(root).close()
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _refusal_of_target(target: Path) -> tuple[str, str]:
    """Why it may be no target, and what is allowed."""
    try:
        check_root(target)
    except SettingError as error:
        return "it may be no target", error.allowed
    return _refusal_of_root(target), "a directory that may be listed"


def _refusal_of_owners(settings: ConsumeSettings) -> str:
    try:
        appearance_of(settings)
    except SettingError as error:
        return f"{error.setting} is {error.found}, which needs {error.allowed}"
    return ""


PRODUCE_CHECKS: Mapping[str, Check] = {"source": _source}
CONSUME_CHECKS: Mapping[str, Check] = {"target": _target}
