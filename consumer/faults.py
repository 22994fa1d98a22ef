"""Decides what an error of the operating system means: for the whole disk, or for one path only. Touches no disk."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from common.errors import HaltError, NoRoomError
from common.names import escape

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
_UNSOUND = frozenset({
    errno.EIO, errno.EROFS, errno.ESTALE, errno.ENODEV, errno.ENXIO, errno.EUCLEAN, errno.ESHUTDOWN, errno.ENOTCONN,
    errno.EBADF,
})  # fmt: skip

NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""A component of the path is missing, or is no directory: what the walk by descriptors meets."""
DIRECTORY_IN_THE_WAY = frozenset({errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY})


def raise_if_general(error: OSError, doing: str) -> None:
    """Raise NoRoomError or HaltError if the error says something of the whole disk; return if only of one path.

    `doing`: what was tried, for a person.
    """
    if error.errno in _NO_ROOM:
        raise NoRoomError(f"no room while {doing}: {error.strerror}") from error
    if error.errno in _UNSOUND:
        raise HaltError(
            f"the target's disk cannot be trusted: {error.strerror} while {doing}. Check the disk, then restart"
        ) from error


@contextmanager
def during(doing: str) -> Iterator[None]:
    """Errors of the system as ours, where none of them is about one path. `doing`: what is tried, for a person."""
    try:
        yield
    except OSError as error:
        raise_if_general(error, doing)
        raise HaltError(f"the target cannot be used: {error.strerror} while {doing}") from error


def explain(path: bytes, error: OSError | ValueError) -> str:
    """What went wrong at one path, in one printable line."""
    why = error.strerror if isinstance(error, OSError) else str(error)
    return f"{escape(path)}: {why}"
