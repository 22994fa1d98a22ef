"""The store of large contents: `large/` in the stage. Knows names, links and room; what is in a file is others' to prove.

`<hex of the digest>` is ours alone: a content that is being fetched or copied, or is whole. `<hex>.link` is another name of a
file of the tree, kept before the tree gives it up; it is never written to. Nothing here is a content before it was hashed as a
whole: so nothing needs to survive a crash, and whatever does is of use. Used from one thread; others are given descriptors that
are theirs.
"""

import errno
import os
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from common.digests import DIGEST_BYTES
from common.errors import NoRoomError
from common.names import basename, parent
from consumer.descriptors import LIST
from consumer.faults import raise_if_general
from consumer.keeping import Kept
from consumer.values import Keep
from consumer.walking import Directories

LARGE = b"large"
_LINK = b".link"
_AWAY = b"away-"
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS})
_FILE = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

Identity = tuple[int, ...]
"""What tells one file from another, whatever it is called."""


class Store:
    """An open store. Methods raise OSError where they do not say otherwise."""

    def __init__(self, home: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Opens it, and makes what is missing of it; what no content is called goes. `home`: descriptor of the stage."""
        with suppress(FileExistsError):
            os.mkdir(LARGE, 0o700, dir_fd=home)
        self._home = home
        self._clock = clock
        self._directory = os.open(LARGE, LIST, dir_fd=home)
        self._kept: dict[bytes, Kept] = {}
        self._away = 0
        for name in sorted(map(os.fsencode, os.listdir(self._directory))):
            with suppress(IsADirectoryError, PermissionError):
                self._take_in(name)

    def close(self) -> None:
        """Let go of all descriptors."""
        os.close(self._directory)

    def remove_all(self) -> None:
        """It goes, with everything in it."""
        for name in os.listdir(self._directory):
            os.unlink(name, dir_fd=self._directory)
        self._kept.clear()
        os.rmdir(LARGE, dir_fd=self._home)

    # -- what is there
    def kept(self) -> list[Kept]:
        """All that is there, oldest first."""
        return list(self._kept.values())

    def has_link(self, digest: bytes) -> bool:
        """Whether a file that should have this content was kept."""
        return _link_name(digest) in self._kept

    def size(self, digest: bytes) -> int:
        """How much is there of a content that is ours alone."""
        try:
            return os.lstat(_name(digest), dir_fd=self._directory).st_size
        except FileNotFoundError:
            return 0

    def identity(self, digest: bytes) -> Identity | None:
        """What tells, without reading, that a content of ours is the one that was proved."""
        try:
            return identity_of(os.lstat(_name(digest), dir_fd=self._directory))
        except FileNotFoundError:
            return None

    def free_bytes(self) -> int:
        """How much room the file system has for us."""
        free = os.fstatvfs(self._directory)
        return free.f_bavail * free.f_frsize

    # -- keeping
    def keep(self, root: int, keeps: tuple[Keep, ...]) -> None:
        """Link files of the tree into the store, as far as that can be done: it only saves fetching. Raises HaltError."""
        directories = Directories(root, may_loosen=False)
        try:
            for keep in keeps:
                try:
                    self._link(directories, keep)
                except OSError as error:
                    _raise_if_unsound(error)
        finally:
            directories.close()

    def _link(self, directories: Directories, keep: Keep) -> None:
        name, above = _link_name(keep.digest), directories.open(parent(keep.path))
        seen = os.lstat(basename(keep.path), dir_fd=above)
        if name in self._kept or not stat.S_ISREG(seen.st_mode) or seen.st_size != keep.size:
            return
        # RACE: something else may take its place before the link. It is hashed before it is used, and never written to.
        os.link(basename(keep.path), name, src_dir_fd=above, dst_dir_fd=self._directory, follow_symlinks=False)
        self._kept[name] = Kept(name, keep.digest, keep.size, self._clock(), is_link=True)

    def put_away(self, kept: list[Kept]) -> Callable[[], None]:
        """These are here no more. Returns the work that gives their room back: it takes long for large files, and any thread may
        do it, once, also when the store is closed. What stays goes at a start."""
        away = []
        for one in kept:
            self._away += 1
            name = _AWAY + b"%d" % self._away
            with suppress(FileNotFoundError):
                os.rename(one.name, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
                away.append(name)
            self._kept.pop(one.name, None)
        return partial(_remove, away, os.dup(self._directory))

    def drop_link(self, digest: bytes) -> None:
        """What was kept of this content goes. Idempotent."""
        self._drop(_link_name(digest))

    def drop_content(self, digest: bytes) -> None:
        """What is ours of this content goes: it was placed, or is not what it should be. Idempotent."""
        self._drop(_name(digest))

    def let_go(self, digest: bytes) -> None:
        """No file of the tree shall have another name here. Idempotent."""
        self.drop_link(digest)
        with suppress(FileNotFoundError):
            if os.lstat(_name(digest), dir_fd=self._directory).st_nlink > 1:
                self.drop_content(digest)

    def drop_placed(self) -> None:
        """What a crash left of contents that were placed. Only while nothing is staged."""
        for kept in [kept for kept in self._kept.values() if not kept.is_link]:
            if os.lstat(kept.name, dir_fd=self._directory).st_nlink > 1:
                self._drop(kept.name)

    def drop_links(self) -> bool:
        """Everything that was kept goes, to make room. True if there was something."""
        links = [kept for kept in self._kept.values() if kept.is_link]
        for kept in links:
            self._drop(kept.name)
        return bool(links)

    def _drop(self, name: bytes) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._directory)
        self._kept.pop(name, None)

    # -- for those who write and hash
    def open_content(self, digest: bytes, size: int) -> int:
        """A descriptor of a content that is ours alone, to read and to write; made if it is missing."""
        name = _name(digest)
        descriptor = os.open(name, _FILE, 0o600, dir_fd=self._directory)
        if os.fstat(descriptor).st_nlink > 1:
            # It was placed: what is left is another name of a file of the tree.
            os.close(descriptor)
            os.unlink(name, dir_fd=self._directory)
            descriptor = os.open(name, _FILE | os.O_EXCL, 0o600, dir_fd=self._directory)
        self._kept[name] = Kept(name, digest, size, self._clock(), is_link=False)
        return descriptor

    def open_link(self, digest: bytes) -> int:
        """A descriptor of a kept file, to read only."""
        return os.open(_link_name(digest), _READ, dir_fd=self._directory)

    def take_link(self, digest: bytes, proved: Identity) -> bool:
        """A kept file, which no other name leads to any more, is ours alone now. False: what is kept is not what was proved."""
        name, link = _name(digest), _link_name(digest)
        with suppress(FileNotFoundError):
            seen = os.lstat(link, dir_fd=self._directory)
            if identity_of(seen) == proved and seen.st_nlink == 1:
                os.rename(link, name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
                self._kept[name] = self._kept.pop(link)._replace(name=name, is_link=False, since=self._clock())
                return True
        return False

    def link_out(self, digest: bytes, directory: int, name: bytes) -> None:
        """Give a whole content a name in the stage. Ours stays until it was placed; where there are no links, it moves."""
        try:
            os.link(_name(digest), name, src_dir_fd=self._directory, dst_dir_fd=directory, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            os.rename(_name(digest), name, src_dir_fd=self._directory, dst_dir_fd=directory)

    def _take_in(self, name: bytes) -> None:
        """Something that an earlier run left."""
        digest = _digest(name.removesuffix(_LINK))
        seen = os.lstat(name, dir_fd=self._directory)
        is_link = name.endswith(_LINK)
        if digest is None or not stat.S_ISREG(seen.st_mode):
            os.unlink(name, dir_fd=self._directory)
            return
        self._kept[name] = Kept(name, digest, seen.st_size, self._clock(), is_link)


def _remove(names: list[bytes], directory: int) -> None:
    """The descriptor is closed here."""
    try:
        for name in names:
            with suppress(OSError):
                os.unlink(name, dir_fd=directory)
    finally:
        os.close(directory)


def identity_of(seen: os.stat_result) -> Identity:
    """Inode and size: times and mode change when it is placed, and nobody but us writes here."""
    return seen.st_ino, seen.st_size


def _raise_if_unsound(error: OSError) -> None:
    with suppress(NoRoomError):
        raise_if_general(error, "keeping a large content")


def _name(digest: bytes) -> bytes:
    return digest.hex().encode()


def _link_name(digest: bytes) -> bytes:
    return _name(digest) + _LINK


def _digest(name: bytes) -> bytes | None:
    try:
        digest = bytes.fromhex(name.decode())
    except ValueError:
        return None
    return digest if len(digest) == DIGEST_BYTES and _name(digest) == name else None
