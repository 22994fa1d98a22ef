"""Does: reads one regular file at a name in an open directory. Knows no tree: what the result proves, the caller decides."""

import errno
import os
import stat

OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""How a file of the master's is opened: through no link, never waiting for a fifo's other end."""


def read_file(above: int, name: bytes, limit_bytes: int) -> tuple[bytes, os.stat_result]:
    """A regular file's content, at most one byte over its size, and what fstat said before. Raises OSError; ENXIO for what is no
    regular file any more, or has grown over the limit."""
    try:
        file = os.open(name, OPEN_FILE, dir_fd=above)
    except OSError as error:
        # A symlink took its place: this name is not absent.
        raise OSError(errno.ENXIO, "no file any more") if error.errno == errno.ELOOP else error from error
    try:
        found = os.fstat(file)
        if not stat.S_ISREG(found.st_mode) or found.st_size > limit_bytes:
            raise OSError(errno.ENXIO, "no such file any more")
        content = os.read(file, found.st_size + 1)
        while 0 < len(content) < found.st_size:
            more = os.read(file, found.st_size + 1 - len(content))
            if not more:
                break
            content += more
        return content, found
    finally:
        os.close(file)
