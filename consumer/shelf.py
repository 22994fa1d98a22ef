"""Does: what stands aside, looked at, measured and removed for good, in small pieces of work.

Knows `aside/` in a stage; not why something was set aside, nor when it goes. What cannot be removed stays, for the next time.
However much stands there, a piece of work is a few system calls, and little of it is in memory.
"""

import os
import stat
from collections.abc import Generator, Iterator
from functools import partial

from common.names import basename, join, parent
from consumer.ages import is_condemned, is_label
from consumer.aside import ASIDE
from consumer.descriptors import HOLD, LIST
from consumer.faults import during, raise_if_general
from consumer.lane import Lane
from consumer.walking import Directories

_BLOCK_BYTES = 512
REMOVED_AT_ONCE = 64
LARGE_BYTES = 16 * 1024 * 1024
"""The room of a file from this size on is given back by a thread: that takes long."""
MEASURED_DEPTH = 64
"""What lies deeper is not counted: a descriptor is held for each directory on the way."""


class Shelf:
    """The `aside/` of one stage. Methods raise NoRoomError and HaltError; what fails at one place is no error."""

    def __init__(self, home: int) -> None:
        """`home`: a descriptor of the stage, which stays the caller's."""
        self._home = home
        self._lane: Lane[None] = Lane("aside")
        self.has_condemned = True
        """Whether something may stand there that goes as soon as there is a moment for it: an earlier run may have left it."""

    def close(self) -> None:
        """End the thread. Idempotent."""
        self._lane.close()

    def labels(self) -> list[bytes]:
        """What we set aside and stands there now."""
        with during("looking at what stands aside"):
            return [name for name in list_aside(self._home) if is_label(name)]

    def condemned(self) -> list[bytes]:
        """What stands there only until there is a moment to remove it."""
        self.has_condemned = False
        return [label for label in self.labels() if is_condemned(label)]

    def remove_condemned(self) -> None:
        """All of it, however long that takes."""
        for label in self.condemned():
            for _ in self.remove(label):
                continue

    def free_bytes(self) -> int:
        """How much room the file system has for us."""
        with during("asking for the room on the disk"):
            room = os.fstatvfs(self._home)
        return room.f_bavail * room.f_frsize

    def remove(self, label: bytes) -> Generator[None, None, bool]:
        """Remove it for good, with all that is in it, a piece with each step. False: something could not be removed.

        Nothing is held open from one step to the next: what a person takes out of it meanwhile is not followed there.
        """
        here = join(ASIDE, label)
        while here != ASIDE:
            try:
                here = self._remove_some(here)
            except FileNotFoundError:
                here = parent(here)
            except OSError as error:
                raise_if_general(error, "removing what was set aside long ago")
                return False
            yield
        return True

    def measure(self, label: bytes) -> Generator[None, None, int]:
        """How much room it takes, in bytes, as far as it can be read; an entry with each step."""
        total = 0
        try:
            above = os.open(ASIDE, LIST, dir_fd=self._home)
            try:
                for seen in _below(label, above, MEASURED_DEPTH):
                    total += seen.st_blocks * _BLOCK_BYTES
                    yield
            finally:
                os.close(above)
        except OSError as error:
            raise_if_general(error, "measuring what was set aside")
        return total

    def _remove_some(self, here: bytes) -> bytes:
        """Some of what is in a directory, and itself when it is empty. Returns the directory to go on with."""
        directories = Directories(self._home)
        try:
            directories.loosen(here)
            listed = directories.listed(here)
            try:
                below, is_empty = self._unlink_some(listed)
            finally:
                os.close(listed)
            if below:
                return join(here, below)
            if not is_empty:
                return here
            directories.forget(here)
            os.rmdir(basename(here), dir_fd=directories.open(parent(here)))
            return parent(here)
        finally:
            directories.close()

    def _unlink_some(self, directory: int) -> tuple[bytes, bool]:
        """Until a directory is found, whose name is returned, or there was enough; and whether there is nothing more."""
        count = 0
        with os.scandir(directory) as entries:
            for entry in entries:
                seen = entry.stat(follow_symlinks=False)
                if stat.S_ISDIR(seen.st_mode):
                    return os.fsencode(entry.name), False
                self._unlink(directory, entry.name, seen.st_blocks * _BLOCK_BYTES)
                count += 1
                if count == REMOVED_AT_ONCE:
                    return b"", False
        return b"", True

    def _unlink(self, directory: int, name: str, size_bytes: int) -> None:
        if size_bytes < LARGE_BYTES:
            os.unlink(name, dir_fd=directory)
            return
        # What is held open keeps its room until it is closed.
        held = os.open(name, HOLD, dir_fd=directory)
        try:
            os.unlink(name, dir_fd=directory)
        finally:
            self._lane.done()
            self._lane.do(partial(os.close, held))


def list_aside(home: int) -> list[bytes]:
    """What stands aside now, by name."""
    try:
        shelf = os.open(ASIDE, LIST, dir_fd=home)
    except FileNotFoundError:
        return []
    try:
        return [os.fsencode(name) for name in os.listdir(shelf)]
    finally:
        os.close(shelf)


def _below(name: bytes | str, above: int, depth: int) -> Iterator[os.stat_result]:
    """Everything in a directory, however deep; what cannot be listed is left out."""
    try:
        directory = os.open(name, LIST, dir_fd=above)
    except OSError as error:
        raise_if_general(error, "measuring what was set aside")
        return
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                seen = entry.stat(follow_symlinks=False)
                yield seen
                if stat.S_ISDIR(seen.st_mode) and depth:
                    yield from _below(entry.name, directory, depth - 1)
    finally:
        os.close(directory)
