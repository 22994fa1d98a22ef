"""How a simulated disk is looked at: what stat tells, what scandir gives, where a path leads. Changes nothing."""

import errno
import os
from dataclasses import dataclass
from typing import NamedTuple

from tests.machine.disk import DIRECTORY, FILE, SYMLINK, Disk, Inode

LINKS_LIMIT = 40


class Told(NamedTuple):
    """What stat tells."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_uid: int = 0
    st_gid: int = 0
    st_blocks: int = 0

    @property
    def st_mtime(self) -> float:
        return self.st_mtime_ns / 1e9


class Room(NamedTuple):
    """What statvfs tells."""

    f_bavail: int
    f_frsize: int
    f_files: int
    f_favail: int
    f_blocks: int = 1 << 30


@dataclass(slots=True)
class Opened:
    """An open descriptor."""

    disk: Disk
    inode: Inode
    flags: int
    offset: int = 0


class DirectoryEntry:
    """One name that scandir gives."""

    __slots__ = ("_disk", "_inode", "name")

    def __init__(self, name: str, disk: Disk, inode: Inode) -> None:
        self.name = name
        self._disk = disk
        self._inode = inode

    def stat(self, *, follow_symlinks: bool = True) -> Told:
        """As lstat; a name that went meanwhile still tells what it was, as a cached one does."""
        self._disk.glance()
        self._disk.fault("stat")
        assert not follow_symlinks
        return told(self._disk, self._inode)

    def inode(self) -> int:
        return self._inode.number

    def is_dir(self, *, follow_symlinks: bool = True) -> bool:
        return self._inode.kind == DIRECTORY

    def is_file(self, *, follow_symlinks: bool = True) -> bool:
        return self._inode.kind == FILE

    def is_symlink(self) -> bool:
        return self._inode.kind == SYMLINK


def told(disk: Disk, inode: Inode) -> Told:
    """As fstat."""
    size = 4096 if inode.kind == DIRECTORY else len(inode.content)
    number = inode.number
    mode = inode.kind | inode.mode
    return Told(mode, number, hash(disk.name) & 0xFFFF, inode.links, size, inode.mtime_ns, inode.ctime_ns)


def error_of(number: int, path: object = None) -> OSError:
    """As the system raises it."""
    return OSError(number, os.strerror(number), path)


def there(inode: Inode | None, path: object) -> Inode:
    """What stands there; an error as the system has it when nothing does."""
    if inode is None:
        raise error_of(errno.ENOENT, path)
    return inode


def check_open(disk: Disk, inode: Inode, flags: int, path: object) -> None:
    """Whether this may be opened so. Raises OSError."""
    if inode.kind == DIRECTORY and flags & (os.O_WRONLY | os.O_RDWR):
        raise error_of(errno.EISDIR, path)
    needed = 0o200 if flags & os.O_WRONLY else 0o400
    if not disk.is_root_user and not inode.mode & needed:
        raise error_of(errno.EACCES, path)


def walk(disk: Disk, here: Inode, path: bytes, follow: bool, links: int = 0) -> tuple[Inode, bytes, Inode | None]:
    """The directory above, the last name there, and what that leads to, if anything. Raises OSError."""
    names = [name for name in path.split(b"/") if name and name != b"."]
    if not names:
        if path and not disk.is_root_user and not here.mode & 0o100:
            raise error_of(errno.EACCES, path)
        return here, b".", here
    for place, name in enumerate(names):
        if here.kind != DIRECTORY:
            raise error_of(errno.ENOTDIR, path)
        if not disk.is_root_user and not here.mode & 0o100:
            raise error_of(errno.EACCES, path)
        if len(name) > 255:
            raise error_of(errno.ENAMETOOLONG, path)
        is_last = place == len(names) - 1
        inode = here.names.get(name)
        if inode is not None and inode.kind == SYMLINK and (follow or not is_last):
            if links > LINKS_LIMIT:
                raise error_of(errno.ELOOP, path)
            # Links here are absolute on their disk, or lie beside what they lead to.
            start = disk.root if inode.content.startswith(b"/") else here
            _, _, inode = walk(disk, start, inode.content, True, links + 1)
        if is_last:
            return here, name, inode
        if inode is None:
            raise error_of(errno.ENOENT, path)
        here = inode
    raise AssertionError
