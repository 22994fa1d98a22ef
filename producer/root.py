"""Opens the root of the master's tree and says whether it is still the one that is open. It knows nothing of what is below.

A root that is missing, or whose place another directory took, must never read as an empty tree.
"""

import os

from common.errors import RootGoneError
from common.names import NOBODYS_AT_ROOT
from producer.guard import Root, RootIdentity


def open_root(path: str | bytes) -> int:
    """A descriptor of the source's root, for the caller to close. The path may be, or lead through, a symlink: it is followed
    here, and nowhere below. Raises RootGoneError when it is missing, no directory, or cannot be listed."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RootGoneError(_words(error)) from error


def check_root(root_fd: int, root_path: str | bytes | None) -> None:
    """Raises RootGoneError unless the open root still exists and, where its path is given, is what the path leads to."""
    try:
        here = os.fstat(root_fd)
        there = os.stat(root_path) if root_path is not None else here
    except OSError as error:
        raise RootGoneError(_words(error)) from error
    if here.st_nlink == 0:
        raise RootGoneError("it was deleted")
    if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
        raise RootGoneError("another directory took its place")


def root_state(path: str | bytes) -> Root:
    """What the guard needs to know of the root. What is nobody's does not count as content."""
    try:
        root_fd = open_root(path)
    except RootGoneError as error:
        return Root(None, why=str(error))
    try:
        found = os.fstat(root_fd)
        with os.scandir(root_fd) as listing:
            is_empty = all(os.fsencode(entry.name) in NOBODYS_AT_ROOT for entry in listing)
    except OSError as error:
        return Root(None, why=_words(error))
    finally:
        os.close(root_fd)
    return Root(RootIdentity(found.st_dev, found.st_ino), is_empty)


def _words(error: OSError) -> str:
    return (os.strerror(error.errno) if error.errno else str(error)).lower()
