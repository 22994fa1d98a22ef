"""Decides whether a disk serves: its kind, its mount, its room, and how what is staged appears to readers. Touches no disk."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from treecast.doctor.findings import Finding, Severity, error, note, quoted, warning, well
from treecast.status_page import shown_size

FORGETS = frozenset({"tmpfs", "ramfs"})
SHARED_KINDS = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "virtiofs", "afs", "gpfs", "lustre", "ocfs2", "gfs2"}
)
"""Others may write there without a word to this kernel; so may whoever is behind a `fuse`."""
INODES_LEAST = 10_000
NONE_LEFT_BYTES = 16 << 20
"""With less than that nothing can be staged, and no database grows."""
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A line of mountinfo."""

    point: str
    kind: str
    options: frozenset[str]


def parse_mounts(text: str) -> list[Mount]:
    """Mountinfo as values, in its order: of two at one point the later hides the earlier. A line that is none is left out."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if len(fields) >= 6 and len(rest) >= 3:
            options = frozenset([*fields[5].split(","), *rest[2].split(",")])
            found.append(Mount(_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]), rest[0], options))
    return found


def mount_of(mounts: list[Mount], path: str) -> Mount | None:
    """The mount that holds a real path."""
    holding = [one for one in mounts if _is_at_or_below(path, one.point)]
    longest = max((len(one.point) for one in holding), default=0)
    return next((one for one in reversed(holding) if len(one.point) == longest), None)


def mounts_below(mounts: list[Mount], path: str) -> list[Mount]:
    """The mounts strictly below a real path."""
    return [one for one in mounts if one.point != path and _is_at_or_below(one.point, path)]


def is_shared_kind(kind: str) -> bool:
    """Whether a file system of this kind may change without a word to this kernel."""
    return kind in SHARED_KINDS or kind == "fuse" or kind.startswith("fuse.")


def _is_at_or_below(path: str, above: str) -> bool:
    return path == above or path.startswith(above.rstrip("/") + "/")


def judge_mount(name: str, path: str, mount: Mount | None, *, is_written: bool) -> Iterator[Finding]:
    """How the file system at `path` is mounted. `is_written`: whether we write there."""
    if mount is None:
        yield well(f"{name}-mount", f"{path}: its mount is not told")
        return
    told = f"{path} is on {mount.kind}, mounted at {mount.point}"
    if is_written and "ro" in mount.options:
        yield error(f"{name}-mount", f"{told}, read-only", "a disk that can be written to", _remount(mount, "rw"))
    elif "strictatime" in mount.options:
        needed = "relatime: every read, those of a scrub too, writes a time"
        yield note(f"{name}-mount", f"{told}, with strictatime", needed, _remount(mount, "relatime"))
    else:
        yield well(f"{name}-mount", told)


def _remount(mount: Mount, option: str) -> str:
    return f"mount -o remount,{option} {quoted(mount.point)}"


def judge_state_kind(path: str, kind: str, *, is_network: bool) -> Finding:
    """SQLite's locks hold on a local disk only, and what a reboot takes away must be compared anew."""
    if is_network:
        needed = "a directory on a disk of this machine: TREECAST_STATE"
        return error("state-disk", f"{path} is on {kind}, where locks cannot be trusted", needed)
    if kind in FORGETS:
        needed = "a disk that keeps it: after a restart of the machine everything is compared anew"
        return warning("state-disk", f"{path} is on {kind}", needed)
    return well("state-disk", f"{path} is on {kind or 'a file system that is not told'}")


@dataclass(frozen=True, slots=True)
class Room:
    """What a file system has left for this user. `inodes` None: it counts none."""

    free_bytes: int
    inodes: int | None


def judge_room(name: str, path: str, room: Room, needed_bytes: int, what: str) -> Iterator[Finding]:
    """`what`: what needs so much, in words."""
    found = f"{shown_size(room.free_bytes)} free for {path}"
    needed = f"{shown_size(needed_bytes)}: {what}"
    todo = f"df -h {quoted(path)}; du -xh --max-depth=1 {quoted(path)} | sort -h | tail"
    if room.free_bytes < NONE_LEFT_BYTES:
        yield error(f"{name}-room", found, needed, todo)
    elif room.free_bytes < needed_bytes:
        yield warning(f"{name}-room", found, needed, todo)
    else:
        yield well(f"{name}-room", found)
    if room.inodes is not None and room.inodes < INODES_LEAST:
        severity = Severity.ERROR if room.inodes == 0 else Severity.WARNING
        counted = f"{room.inodes:,} inodes free for {path}"
        yield Finding(severity, f"{name}-inodes", counted, f"{INODES_LEAST:,} at least", f"df -i {quoted(path)}")


@dataclass(frozen=True, slots=True)
class Appearance:
    """What a reader's rights may hang on, of one file. `label`: SELinux's, "" where there is none. `acl`: beyond the mode."""

    gid: int
    label: str
    acl: bytes


@dataclass(frozen=True, slots=True)
class Probed:
    """A file that was staged and renamed, and one that was made in its place; or why that was not possible."""

    staged: Appearance | None
    in_place: Appearance | None
    refusal: str = ""
    group: str = ""
    """The name of the group that a file made in place has."""


def judge_probe(target: str, probed: Probed, *, sets_group: bool) -> Iterator[Finding]:
    """Whether readers will see what is staged as they see what is made in place. `sets_group`: TREECAST_GROUP is given."""
    if probed.staged is None or probed.in_place is None:
        needed = "a directory that this user may write to, in one file system with its .treecast"
        yield error(
            "stage", f"{target}: {probed.refusal}", needed, f"ls -ld {quoted(target)}; findmnt -T {quoted(target)}"
        )
        return
    differences = list(_differences(target, probed.staged, probed.in_place, probed.group, sets_group=sets_group))
    yield from differences or [
        well("stage", "a staged file is renamed into place, and appears as one that was made there")
    ]


def _differences(
    target: str, staged: Appearance, in_place: Appearance, group: str, *, sets_group: bool
) -> Iterator[Finding]:
    stage = f"{target.rstrip('/')}/.treecast"
    if staged.label != in_place.label:
        found = f"a staged file has the SELinux label {staged.label or 'none'}, one made in place {in_place.label}"
        todo = f"chcon -R --reference={quoted(target)} {quoted(stage)}"
        yield warning("label", found, "one label, or readers may be refused", todo)
    if staged.acl != in_place.acl:
        found = f"{target} has a default ACL, and a staged file misses it"
        directories = " ".join(quoted(f"{stage}/{one}") for one in ("stage", "large"))
        todo = f"getfacl -cd {quoted(target)} | setfacl -d -M- {directories}"
        yield warning("acl", found, "the same default ACL on the stage, or readers may be refused", todo)
    if staged.gid != in_place.gid and not sets_group:
        found = f"{target} is setgid: a file made in place belongs to the group {group}, a staged one does not"
        todo = f"echo TREECAST_GROUP={quoted(group)} >> /etc/treecast/consume.env && systemctl restart treecast-consume"
        yield warning("group", found, "TREECAST_GROUP, or readers of that group may be refused", todo)
