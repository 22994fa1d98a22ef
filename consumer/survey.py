"""Looks at what stands on the target's disk: counts it, reads it all, or reads some paths. Changes nothing and follows no link.

What is nobody's at the root, or protected, is not seen. Kinds that no tree carries (fifo, device, socket) are never opened.
"""

import os
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from hashlib import blake2b

from common.digests import DIGEST_BYTES, content_digest
from common.entries import Entry, directory_entry, file_entry, symlink_entry
from common.names import NOBODYS_AT_ROOT, ROOT, basename, is_path, join, parent
from consumer.clearing import Protects
from consumer.descriptors import READ, chunks
from consumer.faults import NOT_THERE, raise_if_general
from consumer.stagefiles import is_trial_name
from consumer.values import Found
from consumer.walking import Directories

Pulse = Callable[[], None]
"""Called now and then: a sign of life. What it raises ends the work."""

UNREADABLE = bytes(DIGEST_BYTES)
"""The digest of a content that could not be read: equal to no content's, so a sync replaces it."""


@dataclass(slots=True)
class Survey:
    """How much stands on a target that could be part of a tree; `others`: of kinds or with names that no tree carries."""

    files: int = 0
    directories: int = 0
    symlinks: int = 0
    others: int = 0

    @property
    def is_empty(self) -> bool:
        return not (self.files or self.directories or self.symlinks or self.others)

    def __str__(self) -> str:
        others = f", {self.others} of other kinds" if self.others else ""
        return f"{self.files} files, {self.directories} directories, {self.symlinks} symlinks{others}"


def count(root: int, protects: Protects | None, *, only_first: bool = False) -> Survey:
    """Count what stands here. `only_first`: stop at the first, to tell an empty target from a full one."""
    survey = Survey()
    for _, seen in walk(root, protects):
        kind = stat.S_IFMT(seen.st_mode) if seen is not None else 0
        survey.files += kind == stat.S_IFREG
        survey.directories += kind == stat.S_IFDIR
        survey.symlinks += kind == stat.S_IFLNK
        survey.others += kind not in {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}
        if only_first and not survey.is_empty:
            break
    return survey


def no_pulse() -> None:
    """Nobody waits for a sign of life."""


def scan(root: int, protects: Protects | None, others: list[bytes], pulse: Pulse = no_pulse) -> Iterator[Found]:
    """Everything with its digest, a directory before what is in it. Into `others` goes what no tree can carry.

    `pulse` is called while a large file is read too.

    Raises HaltError where the disk fails, NoRoomError without descriptors.
    """
    directories = Directories(root)
    try:
        for path, seen in walk(root, protects):
            entry = _entry(directories, path, seen, pulse) if seen is not None else None
            if entry is not None:
                yield Found(path, entry)
            else:
                others.append(path)
    finally:
        directories.tighten()
        directories.close()


def look(root: int, paths: Collection[bytes], protects: Protects | None, pulse: Pulse = no_pulse) -> dict[bytes, Entry]:
    """What stands at these paths, without those where nothing is that a tree carries, and without protected ones.

    `pulse` is called for each, and while a large file is read.
    """
    directories = Directories(root)
    found: dict[bytes, Entry] = {}
    try:
        for path in sorted(paths):
            pulse()
            try:
                seen = os.lstat(basename(path), dir_fd=directories.open(parent(path)))
            except OSError as error:
                raise_if_general(error, "looking at the target")
                continue
            if protects is not None and protects(path, stat.S_ISDIR(seen.st_mode)):
                continue
            entry = _entry(directories, path, seen, pulse)
            if entry is not None:
                found[path] = entry
    finally:
        directories.tighten()
        directories.close()
    return found


def walk(root: int, protects: Protects | None) -> Iterator[tuple[bytes, os.stat_result | None]]:
    """Every path with its lstat, a directory before what is in it; None for a name that no tree can hold."""
    directories = Directories(root)
    pending = [ROOT]
    try:
        while pending:
            here = pending.pop()
            for path, seen in _list(directories, here):
                is_directory = stat.S_ISDIR(seen.st_mode)
                if protects is not None and protects(path, is_directory):
                    continue
                if not is_path(path):
                    yield path, None
                    continue
                yield path, seen
                if is_directory:
                    pending.append(path)
    finally:
        directories.tighten()
        directories.close()


def _list(directories: Directories, here: bytes) -> list[tuple[bytes, os.stat_result]]:
    found: list[tuple[bytes, os.stat_result]] = []
    try:
        descriptor = directories.listed(here)
        try:
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if here != ROOT or not _is_nobodys(name):
                        _append(found, join(here, name), entry)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise_if_general(error, "listing a directory of the target")
        # One that cannot be listed, or went meanwhile: what is in it is not known, and a sync will tell.
    return sorted(found, key=lambda pair: pair[0])


def _is_nobodys(name: bytes) -> bool:
    return name in NOBODYS_AT_ROOT or is_trial_name(name)


def _append(found: list[tuple[bytes, os.stat_result]], path: bytes, entry: "os.DirEntry[str]") -> None:
    try:
        found.append((path, entry.stat(follow_symlinks=False)))
    except FileNotFoundError:
        return


def _entry(directories: Directories, path: bytes, seen: os.stat_result, pulse: Pulse = no_pulse) -> Entry | None:
    """The entry of what stands at a path, None for what no tree carries or what went meanwhile."""
    try:
        if stat.S_ISDIR(seen.st_mode):
            return directory_entry(seen.st_mode)
        if stat.S_ISLNK(seen.st_mode):
            target = os.readlink(basename(path), dir_fd=directories.open(parent(path)))
            return symlink_entry(len(target), content_digest(target))
        if stat.S_ISREG(seen.st_mode):
            return _file(directories, path, pulse)
    except OSError as error:
        raise_if_general(error, "reading the target")
        if error.errno not in NOT_THERE and stat.S_ISREG(seen.st_mode):
            return file_entry(seen.st_mode, seen.st_mtime_ns, seen.st_size, UNREADABLE)
    return None


def _file(directories: Directories, path: bytes, pulse: Pulse) -> Entry | None:
    descriptor = os.open(basename(path), READ, dir_fd=directories.open(parent(path)))
    try:
        now = os.fstat(descriptor)
        if not stat.S_ISREG(now.st_mode):
            return None
        digest, size = blake2b(digest_size=DIGEST_BYTES), 0
        for piece in chunks(descriptor):
            pulse()
            digest.update(piece)
            size += len(piece)
        return file_entry(now.st_mode, now.st_mtime_ns, size, digest.digest())
    finally:
        os.close(descriptor)
