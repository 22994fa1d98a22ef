"""Does: tries on a target's disk what a consumer does there: a file that is staged and renamed, and one made in its place.

Both have a name that no tree carries and every consumer passes over, are empty, and are gone at once. No lock is taken; a
stage that is not there yet is made for that moment only.
"""

import grp
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from common.names import STAGE_NAME
from consumer.descriptors import CREATE, LIST
from consumer.stagefiles import new_trial_name
from treecast.doctor.disks import Appearance, Probed

_LABEL, _ACL = "security.selinux", "system.posix_acl_access"


def probe(target: Path) -> Probed:
    """What a file looks like either way, or why it cannot be."""
    try:
        root = os.open(target, LIST)
    except OSError as error:
        return Probed(None, None, _words(error, "it cannot be opened"))
    try:
        with _stage(root) as stage:
            staged = _staged(root, stage)
        in_place = _made(root)
    except OSError as error:
        return Probed(None, None, _words(error, "nothing can be staged there"))
    finally:
        os.close(root)
    return Probed(staged, in_place, group=_group_name(in_place.gid))


@contextmanager
def _stage(root: int) -> Iterator[int]:
    """A descriptor of the stage; one that was made for this goes again, unless somebody has begun to use it."""
    is_ours = False
    with suppress(FileExistsError):
        os.mkdir(STAGE_NAME, 0o700, dir_fd=root)
        is_ours = True
    try:
        stage = os.open(STAGE_NAME, LIST, dir_fd=root)
        try:
            yield stage
        finally:
            os.close(stage)
    finally:
        if is_ours:
            with suppress(OSError):
                os.rmdir(STAGE_NAME, dir_fd=root)


def _staged(root: int, stage: int) -> Appearance:
    name = new_trial_name()
    _create(name, stage)
    try:
        os.rename(name, name, src_dir_fd=stage, dst_dir_fd=root)
    except OSError:
        _remove(name, stage)
        raise
    return _appearance_and_gone(name, root)


def _made(root: int) -> Appearance:
    name = new_trial_name()
    _create(name, root)
    return _appearance_and_gone(name, root)


def _create(name: bytes, directory: int) -> None:
    os.close(os.open(name, CREATE, 0o644, dir_fd=directory))


def _appearance_and_gone(name: bytes, directory: int) -> Appearance:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            label = _attribute(descriptor, _LABEL).rstrip(b"\0").decode("utf-8", "backslashreplace")
            return Appearance(os.fstat(descriptor).st_gid, label, _attribute(descriptor, _ACL))
        finally:
            os.close(descriptor)
    finally:
        _remove(name, directory)


def _attribute(descriptor: int, name: str) -> bytes:
    """Empty where there is none, or the system knows none."""
    try:
        return os.getxattr(descriptor, name)
    except (OSError, AttributeError):
        return b""


def _remove(name: bytes, directory: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _words(error: OSError, what: str) -> str:
    return f"{what}: {(os.strerror(error.errno) if error.errno else str(error)).lower()}"
