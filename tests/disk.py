"""For tests of the replica's disk: trees as dicts, entries of contents, and one call that carries a plan out."""

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

from common.digests import content_digest
from common.entries import Entry, file_entry, symlink_entry
from consumer.clearing import Protects
from consumer.stagefiles import Age, new_mark, new_token
from consumer.target import Target
from consumer.values import MakeDirectory, Outcome, Plan, Put

MTIME_NS = 1_600_000_000_123_456_789


def file_put(path: bytes, body: bytes, mode: int = 0o644, mtime_ns: int = MTIME_NS) -> Put:
    """Write this file."""
    return Put(path, file_entry(mode, mtime_ns, len(body), content_digest(body)), body)


def link_put(path: bytes, target: bytes) -> Put:
    """Make this symlink."""
    return Put(path, symlink_entry(len(target), content_digest(target)), target)


def make(path: bytes, mode: int = 0o755) -> MakeDirectory:
    """Make this directory."""
    return MakeDirectory(path, mode)


def taken(path: Path, protects: Protects | None = None) -> Target:
    """A target that is ours, in a directory that is made if it is missing."""
    path.mkdir(exist_ok=True, parents=True)
    target = Target.open(path, protects)
    target.take(new_mark("tree", "one"))
    target.settle(Age(0, b""))
    return target


def paths_of(plan: Plan) -> frozenset[bytes]:
    """Every path that a plan names."""
    made = {directory.path for directory in plan.directories}
    return frozenset({*plan.clear, *plan.remove, *made, *(put.path for put in plan.contents)})


def carry_out(target: Target, number: int = 1, **parts: Any) -> Outcome:
    """A plan of these parts, through both barriers, finished."""
    return run(target, Plan(**parts), number)


def run(target: Target, plan: Plan, number: int = 1) -> Outcome:
    """A plan, with all its paths as touched, through both barriers, finished."""
    plan = replace(plan, touched=paths_of(plan))
    staged = target.stage(plan, number, new_token())
    target.barrier(staged)
    outcome = target.swap(plan, staged)
    target.names_barrier()
    target.finish_plan()
    return outcome


def read_tree(root: Path) -> dict[bytes, tuple[object, ...]]:
    """What stands below a directory, our stage aside: kind, mode, mtime of files, content. Opens nothing but regular files."""
    found: dict[bytes, tuple[object, ...]] = {}
    top = os.fsencode(root)
    for here, directories, files in os.walk(top):
        if here == top and b".treecast" in directories:
            directories.remove(b".treecast")
        for name in [*directories, *files]:
            full = os.path.join(here, name)
            found[os.path.relpath(full, top)] = _read(full)
    return found


def _read(full: bytes) -> tuple[object, ...]:
    seen = os.lstat(full)
    mode = stat.S_IMODE(seen.st_mode)
    if stat.S_ISDIR(seen.st_mode):
        return ("directory", mode)
    if stat.S_ISLNK(seen.st_mode):
        return ("symlink", os.readlink(full))
    if stat.S_ISREG(seen.st_mode):
        return ("file", mode, seen.st_mtime_ns, Path(os.fsdecode(full)).read_bytes())
    return ("other", stat.S_IFMT(seen.st_mode))


def as_read(entry: Entry, body: bytes) -> tuple[object, ...]:
    """What `read_tree` shows for an entry with this content."""
    if entry.is_directory:
        return ("directory", entry.mode)
    if entry.kind == 3:
        return ("symlink", body)
    return ("file", entry.mode, entry.mtime_ns, body)
