"""The stage: `.treecast/` at the target's root, where content is written before it is swapped in. Knows files, not trees.

It holds the mark, the plan, the position, a reserve of room and the directories `stage/` and `aside/`; all of it is private
(0700).
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from common.entries import Entry, Kind
from common.names import STAGE_NAME
from consumer.appearance import AS_PUBLISHED, Appearance, Shown
from consumer.descriptors import (
    CREATE,
    HOLD,
    LIST,
    change_mode,
    change_owner,
    change_time,
    reopen,
    write_all,
)
from consumer.faults import explain, raise_if_general
from consumer.reserve import NO_ROOM, Reserve
from consumer.stagefiles import (
    Age,
    Mark,
    encode_age,
    encode_mark,
    encode_plan,
    is_trial_name,
    new_trial_name,
)
from consumer.store import Store
from consumer.values import Put, Reason, Touch, Unmet

STAGE = b"stage"
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
MARK, PLAN, POSITION = b"mark", b"plan", b"position"
NEXT_POSITION = b"position.next"
_NEXT = b".next"
_OWNER_OPENS = 0o600
"""A file with none of these bits can be opened by its owner for no barrier: it is synced where it is written."""


def staged_name(number: int) -> bytes:
    """The name of the n-th content of a plan in `stage/`."""
    return b"%x" % number


class Stage:
    """An open stage. Methods raise OSError; what that means is the caller's business."""

    def __init__(self, root: int, appearance: Appearance = AS_PUBLISHED) -> None:
        """Opens it, and makes what is missing of it. `root`: descriptor of the target."""
        self._appearance = appearance
        with suppress(FileExistsError):
            os.mkdir(STAGE_NAME, 0o700, dir_fd=root)
        self.home = os.open(STAGE_NAME, LIST, dir_fd=root)
        os.fchmod(self.home, 0o700)
        with suppress(FileExistsError):
            os.mkdir(STAGE, 0o700, dir_fd=self.home)
        self.contents = os.open(STAGE, LIST, dir_fd=self.home)
        self.reserve = Reserve(self.home)
        self.store = Store(self.home)
        self._root = root
        self._is_dirty = True
        self._kept_back = 0o777
        """Mode bits that a new file here does not get by itself: umask, or the directory's default ACL."""

    def close(self) -> None:
        """Let go of all descriptors."""
        self.store.close()
        os.close(self.contents)
        os.close(self.home)

    def try_rename(self) -> None:
        """A trial: a file from the stage into the root and back. Raises OSError where that does not work.

        Only a rename tells: device numbers are equal on both sides of a bind mount, and quotas cut a file system in two.
        """
        self._remove_old_trials()
        name = new_trial_name()
        descriptor = os.open(name, CREATE, 0o777, dir_fd=self.contents)
        try:
            self._kept_back = 0o777 & ~os.fstat(descriptor).st_mode
        finally:
            os.close(descriptor)
        os.rename(name, name, src_dir_fd=self.contents, dst_dir_fd=self._root)
        os.unlink(name, dir_fd=self._root)

    def _remove_old_trials(self) -> None:
        """A process that was killed in the middle of its trial leaves an empty file at the root."""
        for name in filter(is_trial_name, map(os.fsencode, os.listdir(self._root))):
            seen = os.lstat(name, dir_fd=self._root)
            if stat.S_ISREG(seen.st_mode) and not seen.st_size:
                os.unlink(name, dir_fd=self._root)

    # -- the small files
    def save_mark(self, mark: Mark) -> None:
        """Write the mark, durable."""
        self._save(MARK, encode_mark(mark))

    def save_age(self, age: Age) -> None:
        """Write the position in one go, durable."""
        self._save(POSITION, encode_age(age))

    def remove_plan(self) -> None:
        """The plan is finished. Idempotent."""
        with suppress(FileNotFoundError):
            os.unlink(PLAN, dir_fd=self.home)
        self.reserve.make()

    def remove_all(self) -> None:
        """Everything goes but `aside`."""
        self._is_dirty = True
        self.clean()
        self.reserve.remove()
        self.store.remove_all()
        for name in (PLAN, POSITION, MARK, NEXT_POSITION, *(name + _NEXT for name in (PLAN, POSITION, MARK))):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self.home)
        os.rmdir(STAGE, dir_fd=self.home)

    def _save(self, name: bytes, content: bytes) -> None:
        self._write_with_reserve(name + _NEXT, content)
        self._sync(name + _NEXT)
        os.rename(name + _NEXT, name, src_dir_fd=self.home, dst_dir_fd=self.home)
        os.fsync(self.home)

    def _write_with_reserve(self, name: bytes, content: bytes) -> None:
        try:
            self._write(name, content)
        except OSError as error:
            if error.errno not in NO_ROOM or not self.reserve.give():
                raise
            self._write(name, content)

    def _write(self, name: bytes, content: bytes) -> None:
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.home)
        descriptor = os.open(name, CREATE, 0o600, dir_fd=self.home)
        try:
            write_all(descriptor, content)
        finally:
            os.close(descriptor)

    def _sync(self, name: bytes) -> None:
        descriptor = os.open(name, _READ, dir_fd=self.home)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    # -- contents
    def write(self, contents: Iterable[Put | Touch]) -> dict[bytes, Unmet]:
        """Write every new content under its number. Returns the paths that cannot be written, and why.

        An error of the whole disk is raised as NoRoomError or HaltError, after everything written was removed again.
        """
        self.clean()
        self._is_dirty = True
        failed: dict[bytes, Unmet] = {}
        for number, put in enumerate(contents):
            try:
                if type(put) is Put:
                    self._write_content(b"%x" % number, put)
            except (OSError, ValueError) as error:
                self._fail(error)
                failed[put.path] = Unmet(Reason.PROBLEM, explain(put.path, error))
        return failed

    def _write_content(self, name: bytes, put: Put) -> None:
        entry, body = put.entry, put.body
        shown = self._appearance.of(entry)
        if body is None:
            self._take_stored(name, entry, shown)
            return
        if entry.kind == Kind.SYMLINK:
            os.symlink(body, name, dir_fd=self.contents)
            if shown.has_owner:
                os.chown(name, shown.uid, shown.gid, dir_fd=self.contents, follow_symlinks=False)
            return
        mode = shown.mode
        descriptor = os.open(name, CREATE, mode, dir_fd=self.contents)
        try:
            if os.write(descriptor, body) < len(body):
                os.lseek(descriptor, 0, os.SEEK_SET)
                write_all(descriptor, body)
            if shown.has_owner:
                os.fchown(descriptor, shown.uid, shown.gid)
            if mode & self._kept_back:
                os.fchmod(descriptor, mode)
            os.utime(descriptor, ns=(entry.mtime_ns, entry.mtime_ns))
            if not mode & _OWNER_OPENS:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _take_stored(self, name: bytes, entry: Entry, shown: Shown) -> None:
        """A large content, which was hashed and made durable before: only its mode, owner and time are still to be made so."""
        self.store.link_out(entry.digest, self.contents, name)
        held = os.open(name, HOLD, dir_fd=self.contents)
        try:
            change_mode(held, 0o600)
            descriptor = reopen(held)
            try:
                if shown.has_owner:
                    change_owner(held, shown.uid, shown.gid)
                change_mode(held, shown.mode)
                change_time(held, entry.mtime_ns)
                if not shown.mode & _OWNER_OPENS:
                    os.fsync(descriptor)
            finally:
                os.close(descriptor)
        finally:
            os.close(held)

    def _fail(self, error: OSError | ValueError) -> None:
        if isinstance(error, OSError):
            try:
                raise_if_general(error, "staging a content")
            except Exception:
                with suppress(OSError):
                    self.clean()
                raise

    def write_plan(
        self, number: int, paths: Iterable[bytes], age: Age, *, over_a_left_one: bool, only_removes: bool
    ) -> None:
        """Write the plan and the position that its swap will leave. The old plan stands until the new one is whole.

        `only_removes`: it makes room, and so may take the reserve.
        `over_a_left_one`: names were moved for the old plan already; it must not be gone before the new one is durable.
        """
        write = self._write_with_reserve if only_removes else self._write
        try:
            write(NEXT_POSITION, encode_age(age))
            write(PLAN + _NEXT, encode_plan(number, frozenset(paths)))
            if over_a_left_one:
                self._sync(PLAN + _NEXT)
            os.rename(PLAN + _NEXT, PLAN, src_dir_fd=self.home, dst_dir_fd=self.home)
        except OSError as error:
            self._fail(error)
            raise

    def swap_position(self) -> None:
        """The position that was written with the plan is the disk's from now on."""
        os.rename(NEXT_POSITION, POSITION, src_dir_fd=self.home, dst_dir_fd=self.home)

    def staged(self, contents: Iterable[Put | Touch], failed: Mapping[bytes, Unmet]) -> Iterator[int]:
        """A descriptor of everything that must be durable before the swap, to be closed by the caller one by one."""
        for number, put in enumerate(contents):
            if not isinstance(put, Put) or put.entry.kind != Kind.FILE or put.path in failed:
                continue
            mode = self._appearance.mode(put.entry)
            if mode & _OWNER_OPENS:
                how = _READ if mode & 0o400 else _WRITE
                yield os.open(staged_name(number), how, dir_fd=self.contents)
        for name in (PLAN, NEXT_POSITION):
            yield os.open(name, _READ, dir_fd=self.home)
        yield os.dup(self.contents)
        yield os.dup(self.home)

    def clean(self) -> None:
        """Empty `stage/`. Cheap when nothing is left there."""
        if self._is_dirty:
            for name in os.listdir(self.contents):
                os.unlink(name, dir_fd=self.contents)
            self._is_dirty = False

    def swapped_all(self) -> None:
        """Nothing is left of what was written: every content was renamed into its place."""
        self._is_dirty = False
