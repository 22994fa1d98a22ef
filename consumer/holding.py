"""Opens and holds the directory that is to be a target: which paths may be one, and that only one process has it.

The hold is a flock on the directory itself, so nothing is written into a target that may turn out not to be ours.
"""

import errno
import fcntl
import os
import pwd
import stat
import time
from pathlib import Path

from common.errors import AlreadyRunningError, HaltError, SettingError
from consumer.descriptors import LIST
from consumer.faults import during, raise_if_general

SETTING = "TREECAST_TARGET"
_TRIES = 10
_PAUSE_SECONDS = 0.02
"""Between tries: systemd-tmpfiles and the like hold a directory for a moment."""
_FIRST_PERSON = 1000


def open_root(path: Path) -> int:
    """A descriptor of the target's root, held by this process alone until it is closed. Writes nothing.

    Raises SettingError for what no target may be, AlreadyRunningError when another process holds it; NoRoomError and HaltError
    where the disk fails.
    """
    check_root(path)
    try:
        root = os.open(path, LIST)
    except OSError as error:
        raise_if_general(error, f"opening {path}")
        raise SettingError(SETTING, str(path), f"a directory that can be read ({error.strerror})") from error
    try:
        _hold(root, path)
    except BaseException:
        os.close(root)
        raise
    return root


def check_root(path: Path) -> None:
    """Raises SettingError for what no target may be: no directory, a symlink, the whole system, somebody's home. Looks only."""
    if not path.is_absolute():
        raise SettingError(SETTING, str(path), "an absolute path")
    try:
        seen = os.lstat(path)
    except OSError as error:
        raise_if_general(error, f"looking at {path}")
        raise SettingError(SETTING, str(path), f"a directory that exists ({error.strerror})") from error
    if stat.S_ISLNK(seen.st_mode):
        raise SettingError(SETTING, str(path), f"a directory, not a symlink; say {os.path.realpath(path)}")
    if not stat.S_ISDIR(seen.st_mode):
        raise SettingError(SETTING, str(path), "a directory")
    real = Path(os.path.realpath(path))
    if real == Path("/"):
        raise SettingError(SETTING, str(path), "a directory of its own, not the whole system")
    if real in _homes():
        raise SettingError(SETTING, str(path), "a directory of its own, not somebody's home directory")


def _homes() -> set[Path]:
    """The home directories of people and of root; accounts of services may live anywhere."""
    homes = [account.pw_dir for account in pwd.getpwall() if account.pw_uid == 0 or account.pw_uid >= _FIRST_PERSON]
    return {Path(os.path.realpath(home)) for home in [*homes, os.path.expanduser("~")] if home.startswith("/")}


def _hold(root: int, path: Path) -> None:
    for _ in range(_TRIES):
        try:
            fcntl.flock(root, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise SettingError(SETTING, str(path), f"a file system that has locks ({error.strerror})") from error
            time.sleep(_PAUSE_SECONDS)
        else:
            return
    raise AlreadyRunningError(f"another consumer{_rival(root)} has the target {path}; stop it first")


def _rival(root: int) -> str:
    """Who holds it, as far as the system tells."""
    inode = os.fstat(root).st_ino
    try:
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return ""
    for fields in (line.split() for line in lines):
        if len(fields) >= 6 and fields[1] == "FLOCK" and fields[5].endswith(f":{inode}"):
            return f" (process {fields[4]})"
    return ""


def check_is_here(root: int, path: Path) -> None:
    """Raises HaltError where the directory at the path is not the one that is held any more: another one is mounted there; as
    `during` where the disk fails."""
    with during(f"looking at {path}"):
        ours = os.fstat(root)
    try:
        there = os.lstat(path)
    except OSError as error:
        raise HaltError(f"the target {path} is gone: {error.strerror}. Bring it back, then restart") from error
    if (ours.st_dev, ours.st_ino) != (there.st_dev, there.st_ino):
        raise HaltError(f"the target {path} is another directory than at the start. Bring it back, then restart")
