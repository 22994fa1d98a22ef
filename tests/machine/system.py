"""An `os` whose disks are in memory: descriptors, links, permissions, errors as Linux has them. Stands in for `os`.

An absolute path begins with a disk's name: `/one/target` lies on the disk "one", and `/` there is that disk's own root. What is
not simulated is not there: a room that begins to use another call of `os` fails at once, and the call is added here.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from tests.machine.disk import DIRECTORY, FILE, PAGE_BYTES, SYMLINK, Disk, Inode
from tests.machine.looking import DirectoryEntry, Opened, Room, Told, check_open, error_of, there, told, walk

AS_THEY_ARE = frozenset({
    "fsencode", "fsdecode", "fspath", "strerror", "path", "stat_result", "DirEntry", "SEEK_SET", "SEEK_END", "getpid", "sep",
    "PathLike", "geteuid", "getuid", "getegid", "getgroups",
})  # fmt: skip


class SimulatedOs:
    """Gives what the rooms use of `os`, on these disks."""

    def __init__(self) -> None:
        self.disks: dict[bytes, Disk] = {}
        self._opened: dict[int, Opened] = {}
        self._numbers = count(1000)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("O_") or name in AS_THEY_ARE:
            return getattr(os, name)
        raise AttributeError(f"os.{name} is not simulated: add it to {__name__}")

    def begin(self, disks: dict[bytes, Disk]) -> None:
        """Another world: nothing is open."""
        self.disks = disks
        self._opened.clear()

    def forget_process(self, disk: Disk) -> None:
        """A process of this machine ended: what it had open is closed."""
        for number in [number for number, opened in self._opened.items() if opened.disk is disk]:
            del self._opened[number]

    # -- descriptors
    def open(self, path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        held = self._held_by_name(path)
        if held is not None:
            return self._new(held.disk, held.inode, flags)
        disk, above, name, inode = self._find(path, dir_fd, follow=not flags & os.O_NOFOLLOW)
        if flags & os.O_CREAT:
            if inode is not None and flags & os.O_EXCL:
                raise error_of(errno.EEXIST, path)
            if inode is None:
                return self._create(disk, above, name, flags, mode)
        disk.fault("open")
        inode = there(inode, path)
        if flags & os.O_DIRECTORY and inode.kind != DIRECTORY:
            raise error_of(errno.ENOTDIR, path)
        if inode.kind == SYMLINK and not flags & os.O_PATH:
            raise error_of(errno.ELOOP, path)
        if not flags & os.O_PATH:
            check_open(disk, inode, flags, path)
        return self._new(disk, inode, flags)

    def _create(self, disk: Disk, above: Inode, name: bytes, flags: int, mode: int) -> int:
        self._may_change(disk, above, "create")
        inode = disk.new(FILE, mode & 0o7777 & ~disk.umask)
        disk.change((above, name, inode))
        return self._new(disk, inode, flags)

    def _new(self, disk: Disk, inode: Inode, flags: int) -> int:
        number = next(self._numbers)
        self._opened[number] = Opened(disk, inode, flags)
        return number

    def close(self, descriptor: int) -> None:
        # What a dead process left to close is closed already; and numbers never come again.
        self._opened.pop(descriptor, None)

    def dup(self, descriptor: int) -> int:
        opened = self._of(descriptor)
        opened.disk.fault("dup")
        return self._new(opened.disk, opened.inode, opened.flags)

    def read(self, descriptor: int, length: int) -> bytes:
        opened = self._of(descriptor)
        opened.disk.glance()
        opened.disk.fault("read")
        if opened.inode.kind != FILE:
            raise error_of(errno.EISDIR)
        piece = opened.inode.content[opened.offset : opened.offset + length]
        opened.offset += len(piece)
        return piece

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        opened = self._of(descriptor)
        opened.disk.glance()
        opened.disk.fault("read")
        return opened.inode.content[offset : offset + length]

    def write(self, descriptor: int, content: bytes) -> int:
        opened = self._of(descriptor)
        self._step(opened.disk, "write", len(content))
        inode, at = opened.inode, opened.offset
        before = inode.content[:at].ljust(at, b"\0")
        inode.lost.difference_update(range(at // PAGE_BYTES, -(-(at + len(content)) // PAGE_BYTES)))
        inode.content = before + bytes(content) + inode.content[at + len(content) :]
        opened.offset += len(content)
        inode.mtime_ns = opened.disk.now_ns()
        opened.disk.altered(inode)
        return len(content)

    def lseek(self, descriptor: int, offset: int, how: int) -> int:
        opened = self._of(descriptor)
        opened.offset = offset + (len(opened.inode.content) if how == os.SEEK_END else 0)
        return opened.offset

    def ftruncate(self, descriptor: int, length: int) -> None:
        opened = self._of(descriptor)
        self._step(opened.disk, "truncate")
        opened.inode.content = opened.inode.content[:length].ljust(length, b"\0")
        opened.disk.altered(opened.inode)

    def posix_fallocate(self, descriptor: int, offset: int, length: int) -> None:
        self._step(self._of(descriptor).disk, "fallocate", length)

    # -- looking
    def fstat(self, descriptor: int) -> Told:
        opened = self._of(descriptor)
        opened.disk.glance()
        opened.disk.fault("stat")
        return told(opened.disk, opened.inode)

    def stat(self, path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Told:
        if isinstance(path, int):
            return self.fstat(path)
        disk, _, _, inode = self._find(path, dir_fd, follow=follow_symlinks)
        disk.fault("stat")
        return told(disk, there(inode, path))

    def lstat(self, path: Any, *, dir_fd: int | None = None) -> Told:
        return self.stat(path, dir_fd=dir_fd, follow_symlinks=False)

    def readlink(self, path: Any, *, dir_fd: int | None = None) -> bytes:
        disk, _, _, inode = self._find(path, dir_fd, follow=False)
        disk.fault("readlink")
        if there(inode, path).kind != SYMLINK:
            raise error_of(errno.EINVAL, path)
        assert inode is not None
        return inode.content

    def listdir(self, path: int) -> list[str]:
        opened = self._of(path)
        opened.disk.glance()
        opened.disk.fault("list")
        return [os.fsdecode(name) for name in opened.inode.names]

    @contextmanager
    def scandir(self, descriptor: int) -> Iterator[Iterator[DirectoryEntry]]:
        opened = self._of(descriptor)
        opened.disk.glance()
        opened.disk.fault("open")
        yield self._listed(opened)

    @staticmethod
    def _listed(opened: Opened) -> Iterator[DirectoryEntry]:
        for name, inode in list(opened.inode.names.items()):
            opened.disk.fault("list")
            yield DirectoryEntry(os.fsdecode(name), opened.disk, inode)

    def fstatvfs(self, descriptor: int) -> Room:
        disk = self._of(descriptor).disk
        disk.fault("stat")
        free = 1 << 40 if disk.room is None else max(0, disk.room)
        return Room(free, 1, 1 << 20, 1 << 20)

    # -- names
    def mkdir(self, path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        disk, above, name, inode = self._find(path, dir_fd, follow=False)
        if inode is not None:
            raise error_of(errno.EEXIST, path)
        self._may_change(disk, above, "mkdir")
        disk.change((above, name, disk.new(DIRECTORY, mode & 0o7777 & ~disk.umask)))

    def rmdir(self, path: Any, *, dir_fd: int | None = None) -> None:
        disk, above, name, inode = self._find(path, dir_fd, follow=False)
        if there(inode, path).kind != DIRECTORY:
            raise error_of(errno.ENOTDIR, path)
        assert inode is not None
        if inode.names:
            raise error_of(errno.ENOTEMPTY, path)
        self._may_change(disk, above, "rmdir")
        disk.change((above, name, None), removed=inode)

    def unlink(self, path: Any, *, dir_fd: int | None = None) -> None:
        disk, above, name, inode = self._find(path, dir_fd, follow=False)
        if there(inode, path).kind == DIRECTORY:
            raise error_of(errno.EISDIR, path)
        self._may_change(disk, above, "unlink")
        disk.change((above, name, None))

    def symlink(self, target: Any, path: Any, *, dir_fd: int | None = None) -> None:
        disk, above, name, inode = self._find(path, dir_fd, follow=False)
        if inode is not None:
            raise error_of(errno.EEXIST, path)
        self._may_change(disk, above, "symlink")
        disk.change((above, name, disk.new(SYMLINK, 0o777, os.fsencode(target))))

    def link(
        self,
        path: Any,
        to: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
        follow_symlinks: bool = True,
    ) -> None:
        _, _, _, inode = self._find(path, src_dir_fd, follow=False)
        disk, above, name, other = self._find(to, dst_dir_fd, follow=False)
        if there(inode, path).kind == DIRECTORY:
            raise error_of(errno.EPERM, path)
        if other is not None:
            raise error_of(errno.EEXIST, to)
        self._may_change(disk, above, "link")
        disk.change((above, name, inode))

    def rename(self, path: Any, to: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None) -> None:
        disk, above, name, inode = self._find(path, src_dir_fd, follow=False)
        to_disk, to_above, to_name, other = self._find(to, dst_dir_fd, follow=False)
        inode = there(inode, path)
        if to_disk is not disk:
            raise error_of(errno.EXDEV, path)
        if other is not None and other is not inode:
            if other.kind == DIRECTORY and inode.kind != DIRECTORY:
                raise error_of(errno.EISDIR, to)
            if other.kind != DIRECTORY and inode.kind == DIRECTORY:
                raise error_of(errno.ENOTDIR, to)
            if other.names:
                raise error_of(errno.ENOTEMPTY, to)
        self._may_change(disk, to_above, None)
        if inode.kind == DIRECTORY and above is not to_above and not disk.is_root_user and not inode.mode & 0o200:
            raise error_of(errno.EACCES, path)
        self._may_change(disk, above, "rename")
        if other is inode:
            return
        removed = other if other is not None and other.kind == DIRECTORY else None
        disk.change((above, name, None), (to_above, to_name, inode), removed=removed)

    replace = rename

    # -- modes and times
    def chmod(self, path: Any, mode: int, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> None:
        held = self._held_by_name(path)
        if held is not None:
            self._set_mode(held, mode)
            return
        disk, _, _, inode = self._find(path, dir_fd, follow=follow_symlinks)
        self._set_mode(Opened(disk, there(inode, path), 0), mode)

    def fchmod(self, descriptor: int, mode: int) -> None:
        self._set_mode(self._of(descriptor), mode)

    def _set_mode(self, opened: Opened, mode: int) -> None:
        self._step(opened.disk, "chmod")
        opened.inode.mode = mode & 0o7777
        opened.disk.altered(opened.inode)

    def utime(self, path: Any, *, ns: tuple[int, int], dir_fd: int | None = None) -> None:
        opened = self._of(path) if isinstance(path, int) else self._held_by_name(path)
        assert opened is not None
        self._step(opened.disk, "utime")
        opened.inode.mtime_ns = ns[1]
        opened.disk.altered(opened.inode)

    # -- syncs
    def fsync(self, descriptor: int) -> None:
        opened = self._of(descriptor)
        try:
            self._step(opened.disk, "fsync")
        except OSError:
            opened.disk.fail_sync([opened.inode])
            raise
        opened.disk.sync(opened.inode)

    fdatasync = fsync

    def syncfs(self, descriptor: int) -> int:
        """What the barrier finds in libc."""
        disk = self._of(descriptor).disk
        try:
            self._step(disk, "syncfs")
        except OSError:
            disk.fail_sync(disk.inodes())
            return -1
        disk.sync_all()
        return 0

    # -- inside
    def _of(self, descriptor: int) -> Opened:
        opened = self._opened.get(descriptor)
        if opened is None:
            raise error_of(errno.EBADF)
        return opened

    def _held_by_name(self, path: Any) -> Opened | None:
        if isinstance(path, int):
            return self._of(path)
        if isinstance(path, str) and path.startswith("/proc/self/fd/"):
            return self._of(int(path[14:]))
        return None

    def _step(self, disk: Disk, what: str, size: int = 1) -> None:
        disk.step(what)
        disk.fault(what)
        if disk.room is not None:
            disk.room -= size
            if disk.room < 0 and what in {"write", "create", "mkdir", "symlink", "link", "fallocate"}:
                disk.room += size
                raise error_of(errno.ENOSPC)

    def _may_change(self, disk: Disk, above: Inode, what: str | None) -> None:
        if not disk.is_root_user and above.mode & 0o300 != 0o300:
            raise error_of(errno.EACCES)
        if what is not None:
            self._step(disk, what)

    def _find(self, path: Any, dir_fd: int | None, *, follow: bool) -> tuple[Disk, Inode, bytes, Inode | None]:
        """Disk, the directory above, the last name there, and what that leads to."""
        raw = os.fsencode(path) if not isinstance(path, bytes) else path
        if not raw:
            raise error_of(errno.ENOENT, path)
        if raw.startswith(b"/"):
            _, name, raw = (raw + b"/").split(b"/", 2)
            disk = self.disks[name]
            start = disk.root
        else:
            assert dir_fd is not None, f"{raw!r} is relative to nothing"
            opened = self._of(dir_fd)
            disk, start = opened.disk, opened.inode
        disk.glance()
        if b"\0" in raw:
            raise ValueError("embedded null byte")
        return (disk, *walk(disk, start, raw, follow))
