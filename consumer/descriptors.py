"""The few operations on open descriptors that Python does not give as one call. Knows no tree.

Where the system has O_PATH, a directory or file is held by a descriptor that opens nothing: no permission on it is needed,
a fifo does not block, a device is not driven. What such a descriptor cannot do goes through its name in /proc.
"""

import os
from collections.abc import Iterator

HAS_PATH_ONLY = hasattr(os, "O_PATH")
HOLD = (os.O_PATH if HAS_PATH_ONLY else os.O_RDONLY | os.O_NONBLOCK) | os.O_NOFOLLOW | os.O_CLOEXEC
"""Hold whatever stands at a name; of a symlink, the link itself (where there is O_PATH)."""
HOLD_DIRECTORY = HOLD | os.O_DIRECTORY
LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

CHUNK_BYTES = 1 << 20


def change_mode(held: int, mode: int) -> None:
    """chmod what a descriptor holds, and nothing else. Never give it a symlink's."""
    os.chmod(_name(held), mode)


def change_owner(held: int, uid: int, gid: int) -> None:
    """chown what a descriptor holds, and nothing else; -1 leaves one as it is. Never give it a symlink's."""
    os.chown(_name(held), uid, gid)


def change_time(held: int, mtime_ns: int) -> None:
    """Set the mtime (and atime) of what a descriptor holds."""
    os.utime(_name(held), ns=(mtime_ns, mtime_ns))


def reopen(held: int) -> int:
    """A descriptor to read from, of the regular file or directory that one holds."""
    return os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_CLOEXEC) if HAS_PATH_ONLY else os.dup(held)


def chunks(descriptor: int) -> Iterator[bytes]:
    """What is left to read, piece by piece."""
    while piece := os.read(descriptor, CHUNK_BYTES):
        yield piece


def write_all(descriptor: int, content: bytes) -> None:
    """Write everything, also where the system takes it in pieces."""
    written = os.write(descriptor, content)
    while written < len(content):
        written += os.write(descriptor, content[written:])


def read_small(name: bytes, directory: int) -> bytes | None:
    """The content of a small regular file in a directory, None if it is not there."""
    try:
        descriptor = os.open(name, READ, dir_fd=directory)
    except FileNotFoundError:
        return None
    try:
        return b"".join(chunks(descriptor))
    finally:
        os.close(descriptor)


def _name(held: int) -> str | int:
    return f"/proc/self/fd/{held}" if HAS_PATH_ONLY else held
