"""Does: the directories that a process needs beside its tree: where its state lies by default, made, checked; where it is found.

Knows no setting's value rules and opens no file in them. Every refusal is a SettingError that names the setting as told.
"""

import contextlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from common.errors import SettingError

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ncpfs"})
"""SQLite's locks and its shared memory cannot be trusted there."""
SYSTEM_STATE = Path("/var/lib/treecast")
SYSTEM_RUN = Path("/run/treecast")

_MOUNTS = Path("/proc/self/mountinfo")


def default_state(tree: str, holder: str, environ: Mapping[str, str]) -> tuple[Path, str]:
    """Where the state of `holder` ("producer" or a replica's name) lies unless told, and why there, for a person."""
    given = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    if given:
        return Path(given), "default ($STATE_DIRECTORY)"
    return state_root() / tree / holder, "default"


def state_root() -> Path:
    """The system's state directory of ours for root, else the user's."""
    if os.geteuid() == 0:
        return SYSTEM_STATE
    import platformdirs

    return platformdirs.user_state_path("treecast")


def make_state_directory(setting: str, directory: Path) -> Path:
    """The directory itself, made with mode 0700 where it is missing, as is what is above it. Idempotent."""
    try:
        _make_private(directory)
    except OSError as error:
        raise SettingError(setting, str(directory), f"a directory that can be made ({error.strerror})") from error
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise SettingError(setting, str(directory), "a directory that this user may read and write")
    kind = file_system_of(directory)
    if kind in NETWORK_FILE_SYSTEMS:
        raise SettingError(setting, str(directory), f"a directory on a disk of this machine, not on {kind}")
    return directory


def _make_private(directory: Path) -> None:
    if directory.is_dir():
        return
    if directory.parent != directory:
        _make_private(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)


def check_directory(setting: str, directory: Path) -> Path:
    """The directory itself. Raises SettingError when it is not there, is none, or may not be listed."""
    try:
        is_directory = stat.S_ISDIR(directory.stat().st_mode)
    except OSError as error:
        raise SettingError(setting, str(directory), f"a directory that is there ({error.strerror})") from error
    if not is_directory:
        raise SettingError(setting, str(directory), "a directory")
    if not os.access(directory, os.R_OK | os.X_OK):
        raise SettingError(setting, str(directory), "a directory that this user may read")
    return directory


def check_apart(setting: str, ours: Path, root: Path) -> None:
    """Raises SettingError when one of the two lies in the other, by real paths: what is ours would replicate itself."""
    real_ours, real_root = Path(os.path.realpath(ours)), Path(os.path.realpath(root))
    if real_ours.is_relative_to(real_root) or real_root.is_relative_to(real_ours):
        raise SettingError(setting, str(ours), f"a place outside {root}, and not above it")


def file_system_of(directory: Path) -> str:
    """The type of the file system that holds the directory, "" where it cannot be told."""
    try:
        device = directory.stat().st_dev
        mounts = _MOUNTS.read_text("utf-8", "surrogateescape")
    except OSError:
        return ""
    return file_system_type(mounts, f"{os.major(device)}:{os.minor(device)}")


def file_system_type(mounts: str, device: str) -> str:
    """The type of a device ("major:minor") in the text of a mountinfo file, "" when it is not there."""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) > 2 and fields[2] == device:
            return after.partition(" ")[0]
    return ""


def run_directories(environ: Mapping[str, str]) -> list[Path]:
    """Where running processes leave a link to their state, most wanted first; none of them need exist."""
    found = []
    user = environ.get("XDG_RUNTIME_DIR", "")
    if user.startswith("/"):
        found.append(Path(user) / "treecast")
    if os.geteuid() == 0:
        found.append(SYSTEM_RUN)
    # In a container with a read-only root there may be no directory for temporary files at all.
    with contextlib.suppress(FileNotFoundError):
        found.append(Path(tempfile.gettempdir()) / f"treecast-{os.geteuid()}")
    return found


def make_run_directory(environ: Mapping[str, str]) -> Path | None:
    """The first of the run directories that is, or can be made, this user's own; None when there is no such place."""
    for directory in run_directories(environ):
        try:
            directory.mkdir(mode=0o700, exist_ok=True)
        except OSError:
            continue
        if is_own_directory(directory):
            return directory
    return None


def is_own_directory(directory: Path) -> bool:
    """Whether it is a directory, no link, that this user owns and nobody else may write to: a shared one could lie to us."""
    try:
        found = directory.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
