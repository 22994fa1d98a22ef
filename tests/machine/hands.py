"""Somebody who edits a tree on a simulated disk, as any program may: nothing here knows the product or a law."""

from dataclasses import dataclass

from tests.machine.disk import DIRECTORY, FILE, SYMLINK, Disk, Inode


@dataclass
class Hand:
    """Somebody who edits a tree on a disk, without regard for anybody. What it does is durable at once, or when it is synced."""

    disk: Disk
    top: Inode
    is_durable: bool = True

    def find(self, path: bytes) -> Inode | None:
        """What stands there."""
        inode: Inode | None = self.top
        for name in path.split(b"/"):
            inode = inode.names.get(name) if inode is not None else None
        return inode

    def above(self, path: bytes) -> Inode | None:
        """The directory that it lies in, if that is one."""
        directory = path.rpartition(b"/")[0]
        inode = self.find(directory) if directory else self.top
        return inode if inode is not None and inode.kind == DIRECTORY else None

    def put(self, path: bytes, kind: int, mode: int, content: bytes = b"") -> None:
        """A new thing at a name, in the place of what is there, as a rename does it."""
        above = self.above(path)
        if above is None:
            return
        self.remove(path)
        inode = self.disk.new(kind, mode, content)
        self._link(above, path, inode)

    def write(self, path: bytes, content: bytes) -> None:
        """Into the file that is there."""
        inode = self.find(path)
        if inode is not None and inode.kind == FILE:
            inode.content = content
            inode.mtime_ns = self.disk.now_ns()
            self._altered(inode)

    def set(self, path: bytes, *, mode: int | None = None, mtime_ns: int | None = None) -> None:
        """Mode or time of what is there; nothing of a symlink."""
        inode = self.find(path)
        if inode is not None and inode.kind != SYMLINK:
            inode.mode = mode if mode is not None else inode.mode
            inode.mtime_ns = mtime_ns if mtime_ns is not None else inode.mtime_ns
            self._altered(inode)

    def rot(self, path: bytes) -> None:
        """One byte is another, and nothing tells."""
        inode = self.find(path)
        if inode is not None and inode.kind == FILE and inode.content:
            inode.content = bytes([inode.content[0] ^ 1]) + inode.content[1:]
            inode.save()
            self.disk.changes += 1

    def remove(self, path: bytes) -> None:
        """With all that is in it."""
        above, inode = self.above(path), self.find(path)
        if above is None or inode is None:
            return
        for name in list(inode.names):
            self.remove(path + b"/" + name)
        removed = inode if inode.kind == DIRECTORY else None
        self.disk.change((above, path.rpartition(b"/")[2], None), removed=removed)
        self._sync()

    def rename(self, path: bytes, to: bytes) -> None:
        """With all that is in it; what stands at the other name goes."""
        above, inode = self.above(path), self.find(path)
        if above is None or inode is None or path == to or _is_below(to, path) or _is_below(path, to):
            return
        to_above = self.above(to)
        if to_above is None:
            return
        self.remove(to)
        self.disk.change((above, path.rpartition(b"/")[2], None), (to_above, to.rpartition(b"/")[2], inode))
        self._sync()

    def _link(self, above: Inode, path: bytes, inode: Inode) -> None:
        self.disk.change((above, path.rpartition(b"/")[2], inode))
        self._sync()

    def _altered(self, inode: Inode) -> None:
        self.disk.altered(inode)
        if self.is_durable:
            inode.save()

    def _sync(self) -> None:
        if self.is_durable:
            self.disk.sync_last()


def _is_below(path: bytes, directory: bytes) -> bool:
    return path.startswith(directory + b"/")
