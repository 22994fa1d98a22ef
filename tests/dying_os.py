"""An `os` whose process dies, or whose disk fails, at any change of a disk. It stands in for `os` in the rooms that touch disks.

A process that was killed does nothing more: from its death on every change raises, also in what cleans up behind an error.
"""

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from consumer import aside, barrier, clearing, descriptors, filling, reserve, shelf, stage, store, swap, target, walking

CHANGES = frozenset({
    "rename", "mkdir", "unlink", "rmdir", "symlink", "link", "write", "ftruncate", "utime", "chmod", "fchmod", "fsync"
})  # fmt: skip
"""The calls that change a disk, beside `open` for creating."""
ROOMS = (aside, clearing, descriptors, filling, reserve, shelf, stage, store, swap, target, walking)


class DyingOs:
    """Gives what `os` gives. `before_each` is called before each change with its name and its arguments, and may raise.
    `refuses`: asked before each change with its name and the whole paths it touches, whether they cannot be changed."""

    def __init__(self) -> None:
        self.before_each: Callable[..., None] = _nothing
        self.refuses: Callable[[str, list[str]], bool] | None = None

    def install(self, patch: pytest.MonkeyPatch) -> None:
        """From now on the consumer's rooms see this instead of `os`."""
        for room in (*ROOMS, barrier):
            patch.setattr(room, "os", self)
        sync_all = barrier._syncfs

        def syncfs(descriptor: int) -> int:
            try:
                self.before_each("fsync")
            except OSError:
                return -1
            return int(sync_all(descriptor)) if sync_all is not None else 0

        patch.setattr(barrier, "_syncfs", syncfs)

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name == "open":
            return self._open
        if name not in CHANGES:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self.before_each(name, *args)
            if self.refuses is not None and self.refuses(name, _paths(name, args, kwargs)):
                raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
            return real(*args, **kwargs)

        return call

    def _open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        if flags & os.O_CREAT:
            self.before_each("open", path)
        return os.open(path, flags, *args, **kwargs)


def _paths(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[str]:
    """The paths that a call changes: descriptors become the paths they stand for."""
    if name == "rename":
        return [_path(args[0], kwargs.get("src_dir_fd")), _path(args[1], kwargs.get("dst_dir_fd"))]
    return [_path(args[1] if name == "symlink" else args[0], kwargs.get("dir_fd"))]


def _path(name: Any, above: int | None) -> str:
    if isinstance(name, int):
        return os.readlink(f"/proc/self/fd/{name}")
    return os.path.join(os.readlink(f"/proc/self/fd/{above}") if above is not None else "", os.fsdecode(name))


class Countdown:
    """Dies at the n-th change from now, and stays dead until `revive`."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error
        self._is_dead = False
        self.left: int | None = None
        """Changes until it dies; None: it lives."""

    def __call__(self, *_: Any) -> None:
        if self._is_dead:
            raise self._error
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                self._is_dead = True
                raise self._error

    def revive(self) -> None:
        """The next process."""
        self._is_dead, self.left = False, None


class Failing:
    """Each change of these kinds fails with this error as long as `is_on`, from the n-th on; with `at`, only at this name."""

    def __init__(self, number: int, *names: str, nth: int = 1, at: bytes = b"") -> None:
        self.is_on = True
        self.struck = 0
        self._number = number
        self._names = names
        self._left = nth
        self._at = at

    def __call__(self, name: str, *args: Any) -> None:
        if not self.is_on or (self._names and name not in self._names) or (self._at and self._at not in args):
            return
        self._left -= 1
        if self._left <= 0:
            self.struck += 1
            raise OSError(self._number, os.strerror(self._number))


def _nothing(*_: Any) -> None:
    return None
